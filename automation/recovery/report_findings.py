"""What a run shows must be mended: findings by rule, and what people have said of them since. Pure.

A finding's id follows from what it is about, so it stays the same when a report is made again; what people
say of it (owner, due date, status) stands in a file beside the run, and the last word counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from automation.model.base import format_duration
from automation.recovery.report import Report, ServiceResult, StepResult
from automation.recovery.report_copies import found_copies
from automation.recovery.report_isolated_words import found_isolated
from automation.recovery.report_review import Element, Finding, FindingUpdate
from automation.recovery.report_words import count, format_rpa, format_rta, format_target, listing, reasons
from automation.recovery.tabletop import TabletopRecord

COORDINATOR = "dr-coordinator"
DUE_DAYS = {"high": 30, "medium": 90, "low": 180}
REVIEW_DAYS = 30
# More steps than this with the same trouble are one finding.
APART = 5
REVIEW = "review"


def find(report: Report) -> tuple[Finding, ...]:
    """Derive every finding of a report; the review of the report itself comes last."""
    day = (report.ended_at or report.started_at).date()
    if report.table is not None:
        return (*_of_table(report.table, day), *_of_evidence(report, day), _review(day))
    found = [
        *_of_run(report, day),
        *_of_safety(report, day),
        *(one for row in report.services for one in _of_service(row, report, day)),
        *_of_measuring(report, day),
        *_of_steps(report, day),
        *_of_names(report, day),
        *_of_checks(report, day),
        *_of_witness(report, day),
        *_of_people(report, day),
        *_of_evidence(report, day),
        *_of_isolation(report, day),
        *_of_copies(report, day),
    ]
    reviewed = (_review(day),) if report.mode != "apply" else ()
    return (*sorted(found, key=urgency), *reviewed)


def urgency(one: Finding) -> tuple[int, date]:
    """Order findings as they are to be taken up: the graver first, then what is due sooner."""
    return ("high", "medium", "low").index(one.severity), one.due


def _of_table(table: TabletopRecord, day: date) -> Iterator[Finding]:
    """What players did not do as expected is theirs to practise; what is open is the coordinator's."""
    for one in table.injects:
        if one.handled is False:
            was = f"{one.event} Expected: {one.expect} Said: {one.said or 'nothing'}"
            act = "Practise it, or change the plan."
            yield _make(day, f"table-{one.step}", "medium", (was, act), owner=one.to, element="training")
    for number, question in enumerate(table.open_questions, start=1):
        yield _make(day, f"question-{number}", "medium", (question, "Answer it in the plan."))


def apply(findings: Sequence[Finding], updates: Iterable[FindingUpdate]) -> tuple[Finding, ...]:
    """Lay what people said over the findings, in the order in which they said it; new ones go last."""
    known = {one.id: one for one in findings}
    for update in updates:
        before = known.get(update.id) or _added(update)
        words = update.model_dump(exclude={"at", "by", "id"}, exclude_none=True)
        known[update.id] = before.model_copy(
            update={**words, "changed_by": update.by, "changed_at": update.at}
        )
    return tuple(known.values())


def _added(update: FindingUpdate) -> Finding:
    """A finding that a person saw and no rule did."""
    day = update.at.date()
    return _make(day, update.id, "medium", (update.observation or "", update.act or "to be decided"))


def _make(
    day: date,
    name: str,
    severity: str,
    words: tuple[str, str],
    *,
    owner: str = COORDINATOR,
    element: Element = "planning",
) -> Finding:
    return Finding.model_validate(
        {
            "id": name,
            "severity": severity,
            "observation": words[0],
            "act": words[1],
            "element": element,
            "owner": owner,
            "start": day,
            "due": day + timedelta(days=DUE_DAYS[severity]),
        }
    )


def _review(day: date) -> Finding:
    words = ("Nobody has reviewed this report yet.", "Review the results and close this line (CP-4 b).")
    made = _make(day, REVIEW, "medium", words, element="exercises")
    return made.model_copy(update={"due": day + timedelta(days=REVIEW_DAYS)})


# --- the run -------------------------------------------------------------------------------------


def _of_run(report: Report, day: date) -> Iterator[Finding]:
    go_on = f"./inv run.resume --env {report.environment} --run {report.run_id}"
    left = sum(step.status == "not-started" for step in report.steps)
    if report.run_status == "open":
        act = f"If nobody runs it: {go_on}, or run.abort."
        words = ("The run is not closed: it goes on, or its controller is gone.", act)
        yield _make(day, "run-open", "high", words)
    elif report.run_status == "aborted":
        words = (f"The run was given up; steps not started: {left}.", "Decide what takes its place.")
        yield _make(day, "run-aborted", "medium", words)
    elif report.run_status != "succeeded" and report.verdict != "met":
        words = (
            f"The run ended {report.run_status}; steps not started: {left}.",
            f"Mend the cause, then {go_on}.",
        )
        yield _make(day, f"run-{report.run_status}", "high", words)


def _of_isolation(report: Report, day: date) -> Iterator[Finding]:
    if report.isolated is not None:
        for name, severity, was, act in found_isolated(report.isolated):
            yield _make(day, name, severity, (was, act), element="exercises")


def _of_copies(report: Report, day: date) -> Iterator[Finding]:
    for one in found_copies(report.copies, report.environment):
        yield _make(day, one.name, one.severity, (one.seen, one.act), element="equipment")


def _of_safety(report: Report, day: date) -> Iterator[Finding]:
    if report.safety.verdict not in ("borne", "unsafe", "not-known"):
        return
    look = f"./inv dr.status --env {report.environment}"
    act = f"Look at both databases ({look}), shut the wrong one out (dr.fence), end the doubt (dr.clear)."
    made = _make(day, "split-brain", "high", (report.safety.text, act))
    yield made.model_copy(update={"due": day})  # two databases drift apart with every write


def _of_steps(report: Report, day: date) -> Iterator[Finding]:
    if report.verdict == "met" and report.run_status != "succeeded":
        return  # it had to stop there
    failed = [step for step in report.steps if step.status == "failed"]
    unfinished = [step for step in report.steps if step.status == "unfinished"]
    retried = [step for step in report.steps if step.retries or _failed_before(step)]
    severity = "medium" if report.run_status == "succeeded" else "high"
    act = "Find out why, mend it, and exercise it again."
    yield from _apart_or_together(_Trouble("step", "did not succeed", severity, act), failed, day)
    look = f"Look at it, then ./inv run.resume --env {report.environment} --run {report.run_id}."
    begun = _Trouble("unfinished", "began and has no end", "high", look)
    yield from _apart_or_together(begun, unfinished, day)
    if retried:
        names = listing([step.id for step in retried])
        words = (f"{count(len(retried), 'step')} did not succeed the first time: {names}.", "Find out why.")
        yield _make(day, "tried-again", "low", words, element="equipment")


def _failed_before(step: StepResult) -> bool:
    return any(one.status == "failed" for one in step.earlier)


class _Trouble(NamedTuple):
    """What several steps have in common."""

    name: str
    word: str
    severity: str
    act: str


def _apart_or_together(trouble: _Trouble, steps: list[StepResult], day: date) -> Iterator[Finding]:
    if len(steps) > APART:
        was = f"{len(steps)} steps {trouble.word}: {listing([step.id for step in steps])}."
        yield _make(day, f"{trouble.name}s", trouble.severity, (was, trouble.act), element="equipment")
        return
    for step in steps:
        said = f"{step.id} {trouble.word}{': ' + step.text if step.text else '.'}"
        yield _make(
            day, f"{trouble.name}-{step.id}", trouble.severity, (said, trouble.act), element="equipment"
        )


# --- services ------------------------------------------------------------------------------------


def _of_service(row: ServiceResult, report: Report, day: date) -> Iterator[Finding]:
    name, owner = row.service, row.owner
    if row.rto_verdict == "missed":
        did = "took" if report.isolated is not None else "was out for"
        was = f"{row.title} {did} {format_rta(row.outage)}; its target is {format_target(row.rto_s)}."
        act = "Shorten the recovery, or set the target anew."
        if row.outage.status == "not-recovered":
            seen = format_duration(row.outage.rta_s or 0.0)
            was = f"{row.title} was not back when the record ended, {seen} after it failed."
            act = "Bring it back, then see why this run did not."
        yield _make(day, f"rto-{name}", "high", (was, act), owner=owner)
    if row.rpo_verdict == "missed":
        was = f"{row.title} lost writes: {format_rpa(row.loss)}; its target is {format_target(row.rpo_s)}."
        act = "Replicate closer, or set the target anew."
        if report.isolated is not None:
            behind, allowed = format_rpa(row.loss), format_target(row.rpo_s)
            was = f"From backup alone, {row.title} would lose {behind}; its target is {allowed}."
            act = "Archive more often, or set a target of its own for a recovery from backup."
        yield _make(day, f"rpo-{name}", "high", (was, act), owner=owner, element="equipment")
    if row.loss.missing and _keeps(row, report):
        where = f" They are listed in artifacts/{row.exports[-1]}." if row.found_on_lost_primary else ""
        was = f"Acknowledged writes of {row.title} that are missing: {len(row.loss.missing)}.{where}"
        yield _make(
            day, f"lost-{name}", "high", (was, "Enter them again, or tell those concerned."), owner=owner
        )
    yield from _of_seen(row, day)


def _keeps(row: ServiceResult, report: Report) -> bool:
    """Of services that answer for the same writes, the first one's owner is asked."""
    return next(one for one in report.services if one.loss == row.loss) == row


def _of_measuring(report: Report, day: date) -> Iterator[Finding]:
    """What nobody could say; a drill that must stop before recovery has nothing to measure."""
    if report.verdict == "met":
        return
    out = [row for row in report.services if row.outage.status == "not-measured" and _is_watched(row)]
    lost = [row for row in report.services if row.loss.status == "not-measured" and _is_counted(row)]
    if out or lost:
        titles = listing([row.title for row in report.services if row in out or row in lost])
        what = " and ".join([*(["recovery time"] if out else []), *(["lost writes"] if lost else [])])
        why = reasons([*(row.outage for row in out), *(row.loss for row in lost)])
        words = (f"Not measured for {titles}: {what} ({why}).", "Have a witness watch before the next loss.")
        yield _make(day, "not-measured", "medium", words, element="equipment")


def _is_watched(row: ServiceResult) -> bool:
    return not row.outage.reason.startswith("no probe watches")


def _is_counted(row: ServiceResult) -> bool:
    return not row.loss.reason.startswith("no probe writes")


def _of_seen(row: ServiceResult, day: date) -> Iterator[Finding]:
    name, owner = row.service, row.owner
    if not _is_watched(row):
        words = (
            f"No probe watches {row.title}: nobody can say how long clients are out.",
            "Declare a probe.",
        )
        yield _make(day, f"probe-{name}", "medium", words, owner=owner)
    if row.outage.brownout_s:
        was = f"{row.title} answered some and failed others for {format_duration(row.outage.brownout_s)}."
        yield _make(day, f"brownout-{name}", "low", (was, "Find out which clients met it."), owner=owner)
    if row.outage.failed_afterwards:
        was = f"{count(row.outage.failed_afterwards, 'probe')} of {row.title} failed after it was back."
        yield _make(day, f"unsteady-{name}", "low", (was, "Find out why."), owner=owner, element="equipment")
    if row.loss.refused_present:
        was = f"Writes of {row.title} that were refused and yet kept: {len(row.loss.refused_present)}."
        act = "Look for what clients entered twice."
        yield _make(day, f"refused-{name}", "medium", (was, act), owner=owner)


# --- what stands around --------------------------------------------------------------------------


def _of_names(report: Report, day: date) -> Iterator[Finding]:
    servers = sorted({server for change in report.dns for server in change.reconcile})
    for server in servers:
        names = [change.name for change in report.dns if server in change.reconcile]
        was = f"{server} was not reached and still has the old address of {listing(names)}."
        act = f"Reconcile {server} before it answers clients again: dr.reconcile --server {server} does."
        yield _make(day, f"names-{server}", "medium", (was, act), element="equipment")


def _of_checks(report: Report, day: date) -> Iterator[Finding]:
    if report.checks is None:
        return
    if report.checks.failed:
        was = f"{count(report.checks.failed, 'check')} of the recovered services failed: "
        was += listing(report.checks.failures)
        yield _make(day, "checks", "high", (was, "Mend the service."), element="equipment")
    if report.checks.skipped:
        was = f"Checks that were skipped: {report.checks.skipped}."
        yield _make(day, "checks-skipped", "low", (was, "Say why, or run them."))


def _of_witness(report: Report, day: date) -> Iterator[Finding]:
    seen = report.measurement
    if not seen.witness_host:
        return
    trouble = [
        *([f"missed {count(seen.missed_beats, 'beat')}"] if seen.missed_beats else []),
        *([f"was started {seen.witness_starts} times"] if seen.witness_starts > 1 else []),
        *([] if seen.ended_in_order else ["did not end in good order"]),
    ]
    if trouble:
        was = f"The witness on {seen.witness_host} {' and '.join(trouble)}: times are less certain."
        yield _make(day, "witness", "low", (was, "Give its host more room."), element="equipment")


def _of_people(report: Report, day: date) -> Iterator[Finding]:
    lost = [one for one in report.deviations if one.kind == "resumed" and "controller was gone" in one.text]
    if lost:
        times = "once" if len(lost) == 1 else f"{len(lost)} times"
        was = f"The controller of the run was gone {times}, and a person took it up again."
        act = "Find out why; practise run.resume."
        yield _make(day, "controller", "medium", (was, act), element="training")
    settled = [one for one in report.deviations if one.kind == "settled"]
    if settled:
        steps = listing([one.step for one in settled])
        was = f"People had to say how {count(len(settled), 'step')} stood: {steps}."
        yield _make(day, "settled", "medium", (was, "Make these steps able to tell."), element="planning")


def _of_evidence(report: Report, day: date) -> Iterator[Finding]:
    if report.evidence.faults:
        was = f"The record does not hold: {listing(report.evidence.faults)}."
        act = f"./inv run.verify --env {report.environment} --run {report.run_id}"
        yield _make(day, "evidence", "high", (was, act))
    elif report.run_status not in ("open",) and not report.evidence.sealed:
        was = "The run is closed and not sealed: nobody can prove later that its record is whole."
        yield _make(day, "unsealed", "medium", (was, "See why the control node could not sign."))


def next_due(ended_at: datetime | None, every_s: float) -> date | None:
    """When the same level of exercise is due again; None for a run that has not ended."""
    return (ended_at + timedelta(seconds=every_s)).date() if ended_at else None
