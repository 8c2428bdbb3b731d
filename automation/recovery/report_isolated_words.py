"""What people are told of a test failover: answers, findings, the verdict, how it was measured. Pure."""

from collections.abc import Iterator, Sequence

from automation.model.base import format_duration, format_size
from automation.recovery.rebuilt import IsolatedResult, Rebuilt
from automation.recovery.report import (
    Answer,
    Measurement,
    Report,
    ReportVerdict,
    ServiceResult,
    StepResult,
)
from automation.recovery.report_words import count, format_target, listing

SHOWN = 5
METHOD = (
    "RTA (recovery time actual): from the start of the step that makes the isolated server to the end of the "
    "first of {sustained} good probes in a row, seen from a client on that server itself, by the names that "
    "clients use, which lead to the copy there. Detection, declaration and the move of names are not in it.",
    "RPA (recovery point actual): the age of the last commit that this copy held when the plan was made, "
    "which is what a loss of the primary at that moment would have cost. The restore itself went to a moment "
    "that was drawn; PostgreSQL met a later commit there, so every commit up to that moment is in it.",
    "Leftovers: servers, trusted host keys, clusters with their slots, folders, names and every file of "
    "every archive were listed before the first step and after the last. WAL that production itself archived "
    "meanwhile, of a history that was there before, is no leftover and is counted apart.",
)
METHOD_OF_COPIES = (
    "RTA (recovery time actual): from the start of the first step that makes a copy to when the provider "
    "said that the last one ran: a VM by its tools and its address, an instance by its state. No client is "
    "inside. Detection, declaration and the move of names are not in it.",
    "RPA (recovery point actual): from the moment whose data the copies hold to the start of the test, which "
    "is what a loss at that moment would have cost.",
    "Leftovers: everything at the providers of both sites, and all names, were listed before the first step "
    "and after the last; what others changed there meanwhile is listed as a difference, too.",
)


def describe_isolated(measurement: Measurement, result: IsolatedResult) -> Measurement:
    """Say how a test failover was measured."""
    if result.copies:
        return measurement.model_copy(update={"method": METHOD_OF_COPIES})
    method = tuple(line.format(sustained=measurement.sustained or "so many") for line in METHOD)
    return measurement.model_copy(update={"method": method})


def judge_isolated(
    verdict: ReportVerdict,
    headline: str,
    result: IsolatedResult,
    steps: Sequence[StepResult],
    rows: Sequence[ServiceResult],
) -> tuple[ReportVerdict, str]:
    """Give the verdict with what the audit found: a drill that leaves something behind has failed."""
    audit = result.audit
    if verdict == "open":
        return verdict, headline
    headline = _measured(rows, result) if verdict in ("missed", "not-measured") else headline
    if bad := next((step for step in steps if step.status == "failed"), None):
        headline = f"It stopped at {bad.id}: {bad.text.rstrip('.')}."
    if audit.leftovers:
        told = "; ".join(one.words for one in audit.leftovers[:SHOWN])
        more = f"; and {len(audit.leftovers) - SHOWN} more" if len(audit.leftovers) > SHOWN else ""
        return "failed", f"Not everything is as it was: {told}{more}. {headline}"
    if audit.not_listed_again or (verdict in ("met", "missed") and not audit.compared):
        told = listing(list(audit.not_listed_again)) or "nothing was listed"
        return "failed", f"Nobody looked afterwards whether everything is as it was: {told}. {headline}"
    if verdict in ("met", "missed", "not-measured") and not result.is_proven:
        return "failed", f"Nothing proves that {result.server} was isolated. {headline}"
    if verdict == "failed" and audit.clean:
        return verdict, f"{headline} What it made is removed, and everything is as it was."
    if verdict == "met":
        how = "Brought up on copies" if result.copies else "Rebuilt from backup"
        return verdict, f"{how} in isolation, and everything is as it was. {_summary(result)}".rstrip()
    return verdict, headline


def _measured(rows: Sequence[ServiceResult], result: IsolatedResult) -> str:
    how = "Brought up on copies" if result.copies else "Rebuilt from backup"
    missed = [f"{row.service} (RTO)" for row in rows if row.rto_verdict == "missed"]
    missed += [f"{row.service} (RPO)" for row in rows if row.rpo_verdict == "missed"]
    if missed:
        return f"{how} in isolation. Missed: {listing(missed, 8)}."
    return f"Not measured in part: {listing([row.service for row in rows if row.verdict == 'not-measured'])}."


def _summary(result: IsolatedResult) -> str:
    return " ".join(f"{_what(one)}." for one in result.rebuilt)


# --- answers -------------------------------------------------------------------------------------


def answer_isolated(report: Report, result: IsolatedResult) -> Iterator[Answer]:
    """Answer what everybody asks of a test failover."""
    rebuilt = tuple(f"{_what(one)}{_how(one)}." for one in result.rebuilt)
    source = "copies of what stands ready" if result.copies else "from backup"
    text = f"{listing([row.title for row in report.services]) or 'Nothing'} on {result.server}, {source}."
    yield Answer(question="What was rebuilt, and from what?", text=text, more=rebuilt)
    rows = [row for row in report.services if row.outage.rta_s is not None]
    lines = [
        f"{row.title}: {format_duration(row.outage.rta_s or 0.0)} (target {format_target(row.rto_s)})"
        for row in rows
    ]
    told = "; ".join(lines) or "not measured: nothing served a client inside"
    took = tuple(
        f"The restore of {one.resource} alone: {format_duration(one.restore_s)} for "
        f"{format_size(one.size_bytes or 0)}."
        for one in result.rebuilt
        if one.restore_s is not None
    )
    yield Answer(question="How long did it take until it served?", text=f"{told}.", more=took)
    losses = [
        f"{row.service}: the last {format_duration(row.loss.rpa_s)}"
        for row in report.services
        if result.copies and row.loss.rpa_s is not None
    ]
    losses += [
        f"{one.service}: the last {format_duration(one.behind_s)}"
        for one in result.rebuilt
        if one.behind_s is not None
    ]
    yield Answer(
        question="What would a real loss have cost?",
        text=f"{'; '.join(losses) or 'Not known'}, if the site had been lost when this was planned.",
        more=tuple(_archives(one) for one in result.rebuilt if one.archive_mode),
    )
    yield Answer(question="Could it touch production?", text=isolation_in_words(result), more=_tried(result))
    yield Answer(question="Is everything as it was?", text=_audited(result), more=_left(result))


def _what(one: Rebuilt) -> str:
    at = f" as of {one.asked_at:%Y-%m-%d %H:%M:%S} UTC" if one.asked_at else ""
    return f"{one.service}{at}, from backup {one.point} in {one.store}"


def _how(one: Rebuilt) -> str:
    last = f"; the last commit in it is of {one.reached_at:%H:%M:%S} UTC" if one.reached_at else ""
    return f"{last}; proven at L5" if one.proven else f"{last}; not proven: its service was not judged good"


def _archives(one: Rebuilt) -> str:
    return f"The copy of {one.service} had archive_mode {one.archive_mode} and {one.slots} replication slots."


def isolation_in_words(result: IsolatedResult) -> str:
    """Say whether it could touch production, and on what that rests."""
    proof = result.proof
    if result.networks:
        seen = (f"{one.name} at {one.site}: {listing(list(one.seen))}" for one in result.networks)
        told = "; ".join(dict.fromkeys(seen))  # services may share one
        simulated = " (simulated)" if any(one.source == "simulated" for one in result.networks) else ""
        return f"No: its network leads nowhere, as its provider reads it back{simulated}. {told}."
    if proof is None:
        return f"Not proven: nobody tried what {result.server} could reach."
    return (
        f"No: from inside {result.server}, {count(len(proof.refused), 'place')} of production did not "
        f"answer, all of which answered {proof.vantage} in the same moment; it reached "
        f"{listing(list(proof.reached))}."
    )


def _tried(result: IsolatedResult) -> tuple[str, ...]:
    if result.proof is None:
        return ()
    refused = tuple(f"{what}: {how}" for what, how in result.proof.refused.items())
    hosts = listing(list(result.proof.kept_out))
    return (f"Out of reach: {'; '.join(refused)}.", f"{hosts} could not reach it.")


def _audited(result: IsolatedResult) -> str:
    audit = result.audit
    if audit.not_listed_again or not audit.compared:
        return "Not known: not everything was listed again."
    if audit.leftovers:
        return f"No: {count(len(audit.leftovers), 'thing')} of {audit.compared} differ."
    return f"Yes: all of {audit.compared} things that were listed before are as they were."


def _left(result: IsolatedResult) -> tuple[str, ...]:
    audit = result.audit
    own = tuple(
        f"Production itself archived {count(number, 'WAL file')} into {where} meanwhile."
        for where, number in audit.grown.items()
    )
    return (*(f"{one.words}." for one in audit.leftovers[:SHOWN]), *own)


def strengths_isolated(result: IsolatedResult) -> Iterator[str]:
    """Say what went well beside the objectives."""
    if result.networks:
        yield "Its network was proved to lead nowhere before anything was copied into it."
    if result.proof is not None:
        yield "Its isolation was proved, from inside and from outside, before anything was restored."
    if result.audit.clean:
        yield f"All of {result.audit.compared} things that were listed before are as they were."
    for one in result.rebuilt:
        if one.proven:
            yield f"Backup {one.point} in {one.store} is proven at L5: a service ran on it and was checked."


# --- findings ------------------------------------------------------------------------------------


def found_isolated(result: IsolatedResult) -> Sequence[tuple[str, str, str, str]]:
    """Give findings: name, severity, what was seen, what to do."""
    found = [
        (f"leftover-{number}", "high", f"Left behind: {one.words}.", "Remove it, and find out what left it.")
        for number, one in enumerate(result.audit.leftovers, start=1)
    ]
    if result.audit.not_listed_again:
        names = listing(list(result.audit.not_listed_again))
        found.append(
            ("not-audited", "high", f"Not listed again after the drill: {names}.", "Look at it by hand.")
        )
    found += [
        (
            f"not-proven-{one.service}",
            "medium",
            f"{one.point} in {one.store} is not proven by this drill.",
            "Mend what stopped it, and run the drill again.",
        )
        for one in result.rebuilt
        if not one.proven
    ]
    return found
