"""What everybody asks first, answered from a report: broken, out, lost, safe, to be done. Pure."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from automation.model.base import format_duration
from automation.recovery.objectives import Loss
from automation.recovery.report import Answer, Report, ServiceResult
from automation.recovery.report_copies import answer_copies
from automation.recovery.report_findings import urgency
from automation.recovery.report_isolated_words import answer_isolated
from automation.recovery.report_review import Finding
from automation.recovery.report_words import count, format_target, listing, name_fault, reasons, utc
from automation.recovery.tabletop import TabletopRecord, clock

SHOWN = 3


def answer(report: Report, findings: Sequence[Finding]) -> tuple[Answer, ...]:
    """Answer the questions of a recovery; a run that recovers nothing has fewer."""
    if report.table is not None:
        return (*_of_table(report.table), _to_be_done(report, findings))
    if report.isolated is not None:
        told = (*answer_isolated(report, report.isolated), *answer_copies(report.copies))
        return (*told, _to_be_done(report, findings))
    if not report.services and not report.faults and report.declaration is None and not report.promotions:
        return (_what_it_did(report), _to_be_done(report, findings))
    return (
        _what_broke(report),
        _how_long(report),
        _what_was_lost(report),
        Answer(question="Was it safe?", text=report.safety.text, more=_fenced(report)),
        *answer_copies(report.copies),
        _to_be_done(report, findings),
    )


def _of_table(table: TabletopRecord) -> Iterator[Answer]:
    played = f"{count(len(table.injects), 'inject')} about {table.exercised.partition(', digest')[0]}."
    present = (f"At the table: {'; '.join(table.present.splitlines())}.",) if table.present else ()
    yield Answer(question="What was played?", text=played, more=present)
    wrong = [one for one in table.injects if one.handled is False]
    lines = tuple(f"{one.to}, {clock(one.at_s)}: {one.event} Said: {one.said or 'nothing'}" for one in wrong)
    text = (
        f"{count(len(wrong), 'inject')}." if wrong else "Nothing: every inject that was played was handled."
    )
    yield Answer(question="What was not done as expected?", text=text, more=lines[:SHOWN])


def stopped_as_it_must(report: Report) -> bool:
    """Whether it is a drill that is met by not coming to its end."""
    return report.verdict == "met" and report.run_status != "succeeded"


def _what_it_did(report: Report) -> Answer:
    ends = {step.status for step in report.steps}
    counted = [
        f"{sum(step.status == status for step in report.steps)} {status.replace('-', ' ')}"
        for status in ("succeeded", "failed", "unfinished", "taken-back", "not-started")
        if status in ends
    ]
    changed = sum(step.effect != "read" and step.status == "succeeded" for step in report.steps)
    return Answer(
        question="What did it do?",
        text=f"{count(len(report.steps), 'step')}: {', '.join(counted) or 'none'}.",
        more=(f"{changed} of those that succeeded may change something; the others only look.",),
    )


def _what_broke(report: Report) -> Answer:
    declared = report.declaration
    told = f"{', '.join(declared.sites)} was declared lost: {declared.reason}" if declared else ""
    broken = [name_fault(one) for one in report.faults]
    if broken:
        text = f"{listing(broken)}, put there by this exercise"
        text = text[0].upper() + text[1:]
        return Answer(
            question="What broke?",
            text=f"{text}.",
            more=(f"{utc(report.faults[0].at)}.", *([f"{told}."] if told else [])),
        )
    if declared:
        by = f"Declared by {declared.declared_by}, {utc(declared.declared_at)}."
        return Answer(question="What broke?", text=f"{told}.", more=(by,))
    return Answer(question="What broke?", text="Nothing was broken or declared lost.")


def _how_long(report: Report) -> Answer:
    question = "How long were clients out?"
    rows = sorted(
        (row for row in report.services if row.outage.rta_s is not None),
        key=lambda row: row.outage.rta_s or 0.0,
        reverse=True,
    )
    if not rows:
        why = reasons([row.outage for row in report.services]) or "no client was watched"
        if stopped_as_it_must(report):
            why = "this drill must stop before anything is recovered, so it brought nobody back"
        return Answer(question=question, text=f"Not measured: {why}.", more=_since_declared(report))
    lines = [
        f"{row.title}: {_out(row)}{_unattended(row, report)} (target {format_target(row.rto_s)})"
        for row in rows
    ]
    more = (f"{len(rows) - SHOWN} more services were out for no longer.",) if len(rows) > SHOWN else ()
    unknown = len(report.services) - len(rows)
    if unknown:
        more = (*more, f"Not measured: {count(unknown, 'service')}.")
    return Answer(question=question, text="; ".join(lines[:SHOWN]) + ".", more=more)


def _out(row: ServiceResult) -> str:
    if row.outage.status == "none-seen":
        return "no outage seen"
    seconds = format_duration(row.outage.rta_s or 0.0)
    return f"over {seconds}, and not back" if row.outage.status == "not-recovered" else seconds


def _unattended(row: ServiceResult, report: Report) -> str:
    """Say how much of an outage passed while nobody ran the run: its controller was gone, or it waited."""
    if row.outage.first_failed_at is None or not row.outage.rta_s:
        return ""
    length = timedelta(seconds=row.outage.rta_s)
    began = row.outage.client_good_at - length if row.outage.client_good_at else row.outage.first_failed_at
    ended = began + length
    idle = sum(
        max(0.0, (min(one.until_at, ended) - max(one.from_at, began)).total_seconds())
        for one in report.standstills
    )
    return f", of which {format_duration(idle)} nobody ran the run" if idle else ""


def _since_declared(report: Report) -> tuple[str, ...]:
    declared, served = report.marks.declared_at, report.served_again_at
    if declared is None or served is None:
        return ()
    took = format_duration((served - declared).total_seconds())
    return (f"From the declaration until the witness saw clients served: {took}.",)


def _what_was_lost(report: Report) -> Answer:
    question = "What was lost?"
    measured = [row for row in report.services if row.loss.status == "measured"]
    if not measured:
        why = reasons([row.loss for row in report.services]) or "no write was numbered"
        return Answer(question=question, text=f"Not measured: {why}.")
    aged = tuple(_aged(row) for row in measured if row.loss.is_by_age)
    ledgers = {row.loss for row in measured if row.loss.acknowledged}  # those who write to one share its own
    if not ledgers:
        return Answer(question=question, text=aged[0], more=aged[1:])
    acknowledged = sum(loss.acknowledged for loss in ledgers)
    missing = sum(len(loss.missing) for loss in ledgers)
    if not missing:
        nothing = "No counted write" if aged else "Nothing"
        text = f"{nothing}: all {acknowledged} acknowledged writes are there."
        return Answer(question=question, text=text, more=(*_doubt(measured), *aged))
    oldest = format_duration(max(loss.rpa_s or 0.0 for loss in ledgers))
    text = f"{missing} of {acknowledged} acknowledged writes; the oldest was made {oldest} before the loss."
    more = (*_where(measured), *_shared(measured), *_doubt(measured), *aged)
    return Answer(question=question, text=text, more=more)


def _aged(row: ServiceResult) -> str:
    """Say how much of a service is gone of which no write was counted: what its point did not hold."""
    if not row.loss.rpa_s:
        return (
            f"{row.title}: nothing that is known, it came back as it was at the loss; no write was counted."
        )
    age = format_duration(row.loss.rpa_s)
    return f"{row.title}: what was written in the last {age} before the loss; no write was counted."


def _where(rows: Sequence[ServiceResult]) -> tuple[str, ...]:
    """Where the missing writes can still be found; services that share a ledger are told once."""
    once = {row.loss: row for row in rows if row.loss.missing}
    return tuple(
        f"{row.found_on_lost_primary} of them stand on the lost primary's disk and are listed in "
        f"artifacts/{row.exports[-1]}."
        if row.found_on_lost_primary
        else "Nobody has looked for them on the lost primary's disk."
        for row in once.values()
        if row.found_on_lost_primary is None or row.exports
    )


def _shared(rows: Sequence[ServiceResult]) -> tuple[str, ...]:
    """Say of which services the missing writes are the same ones."""
    together: dict[Loss, list[str]] = {}
    for row in rows:
        if row.loss.missing:
            together.setdefault(row.loss, []).append(row.title)
    return tuple(
        f"{listing(titles)} share one store: these are the same writes, counted once."
        for titles in together.values()
        if len(titles) > 1
    )


def _doubt(rows: Sequence[ServiceResult]) -> tuple[str, ...]:
    doubtful = sum(loss.in_doubt_present + loss.in_doubt_absent for loss in {row.loss for row in rows})
    return (f"{count(doubtful, 'write')} had no certain answer.",) if doubtful else ()


def _fenced(report: Report) -> tuple[str, ...]:
    servers = dict.fromkeys(one.server for one in report.fences)
    return tuple(
        f"{server}: {'; '.join(one.read_back for one in report.fences if one.server == server)}."
        for server in list(servers)[:SHOWN]
    )


def _to_be_done(report: Report, findings: Sequence[Finding]) -> Answer:
    open_ = sorted((one for one in findings if not one.closed), key=urgency)
    urgent = [one for one in open_ if one.severity == "high"] or [one for one in open_ if one.id != "review"]
    shown = (urgent or open_)[:SHOWN]
    lines = tuple(f"{one.owner}, {_by(one)}: {one.observation} {one.act}" for one in shown)
    rest = len(open_) - len(shown)
    also = (f"{count(rest, 'more open finding')} in the improvement plan.",) if rest else ()
    if not open_:
        return Answer(question="What must be done, by whom?", text="Nothing is open.")
    high = sum(one.severity == "high" for one in open_)
    text = f"{count(len(open_), 'finding')} open, {high} of high severity."
    return Answer(question="What must be done, by whom?", text=text, more=(*lines, *also))


def _by(one: Finding) -> str:
    return "now" if one.due <= one.start else f"by {one.due.isoformat()}"
