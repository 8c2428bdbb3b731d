"""The after-action report of a run: what was exercised, how it is rated, what the standards ask. Pure."""

from collections.abc import Iterator, Sequence

from automation.recovery.rebuilt import IsolatedResult
from automation.recovery.report import Report
from automation.recovery.report_copies import equivalent_controls, rate_copies
from automation.recovery.report_findings import REVIEW, next_due
from automation.recovery.report_isolated_words import isolation_in_words, strengths_isolated
from automation.recovery.report_review import (
    ControlRow,
    Finding,
    Participant,
    RatedObjective,
    Rating,
    Review,
)
from automation.recovery.report_subject import Subject
from automation.recovery.report_words import (
    count,
    format_rpa,
    format_rta,
    format_target,
    listing,
    name_fault,
)
from automation.recovery.tabletop import TabletopRecord

_SP_800_53 = "NIST SP 800-53 Rev. 5"
_CAPABILITY = "Infrastructure systems"
_COORDINATION = "Operational coordination"
_AGREED = {"approval": "approved", "override": "bore a risk", "gate": "answered a gate"}
_SAFE: dict[str, Rating] = {"safe": "P", "borne": "M", "unsafe": "U", "not-known": "U"}
_LEVELS = {
    "exercise": (
        "functional exercise: failover of real parts; SP 800-34 asks it of moderate impact",
        "failover",
    ),
    "failover": ("a real event, not an exercise", "failover"),
    "failback": ("a planned return to the first site", "failover"),
    "planned-migration": ("a planned move to the other site", "failover"),
    "test-failover": ("functional exercise on an isolated copy", "test-failover"),
    "tabletop": ("tabletop: talked through, nothing run; SP 800-34 asks it of low impact", "tabletop"),
    "walkthrough": ("walk-through: the steps were shown, nothing run", "tabletop"),
    "readiness": ("a look: everything that only reads", "readiness"),
}


def review(report: Report, subject: Subject, findings: Sequence[Finding]) -> Review:
    """Give the after-action report and improvement plan of a run."""
    level, due_level = _LEVELS.get(report.mode, ("no exercise: a change of servers or settings", ""))
    if report.mode == "failover" and subject.lab:
        level = "a real failover command, run in a lab: no real site was lost"
    cadence = subject.cadence.model_dump(by_alias=True)
    reviewed = next((one for one in findings if one.id == REVIEW and one.closed), None)
    return Review(
        exercise=report.title,
        level=level,
        scenario=_scenario(report),
        scope=_scope(report, subject),
        participants=tuple(_participants(report)),
        objectives=tuple(_objectives(report)),
        strengths=tuple(_strengths(report)),
        findings=tuple(findings),
        controls=tuple(_controls(report, subject, findings)) if due_level else (),
        evaluator="not named in the record",
        reviewed_by=reviewed.changed_by if reviewed else "",
        reviewed_at=reviewed.changed_at if reviewed else None,
        next_due=next_due(report.ended_at, cadence[due_level]) if due_level else None,
        next_level=due_level,
    )


def _scenario(report: Report) -> str:
    faults = [name_fault(fault) for fault in report.faults]
    if faults:
        return f"{report.title}: {', then '.join(faults)}."
    return f"{report.declaration.reason}." if report.declaration else f"{report.title}."


def _scope(report: Report, subject: Subject) -> str:
    if report.table is not None:
        return f"{_exercised(report.table)}, environment {report.environment}."
    services = [row.title for row in report.services] or sorted(
        {s.service for s in report.steps if s.service}
    )
    plan = f" by recovery plan {subject.recovery_plan}" if subject.recovery_plan else ""
    site = f" of site {report.site}" if report.site else ""
    return f"{listing(services, 8) or 'no service'}{site}, environment {report.environment}{plan}."


def _exercised(table: TabletopRecord) -> str:
    return table.exercised.partition(", digest")[0]


def _participants(report: Report) -> Iterator[Participant]:
    parts: dict[str, list[str]] = {report.actor: ["started the run"]}
    for line in report.table.present.splitlines() if report.table else ():
        parts.setdefault(line, []).append("was at the table")
    if report.declaration:
        parts.setdefault(report.declaration.declared_by, []).append("declared the loss")
    for signed in report.signatures:
        role = f" as {', '.join(signed.roles)}" if signed.roles else ""
        did = _AGREED.get(signed.kind, "authorised")
        parts.setdefault(signed.person, []).append(f"{did}{role}")
    for one in report.deviations:
        if one.kind in ("resumed", "settled", "given-up"):
            parts.setdefault(one.by, []).append({"resumed": "took it up again"}.get(one.kind, one.kind))
    for person, done in parts.items():
        yield Participant(person=person, part=", ".join(dict.fromkeys(done)))


# --- objectives ----------------------------------------------------------------------------------


def _objectives(report: Report) -> Iterator[RatedObjective]:
    if report.isolated is not None:
        yield _apart(report, report.isolated)
    elif report.services:
        yield _coordination(report)
    rebuilt = report.isolated is not None
    challenged = _challenged(report)
    for row in report.services:
        yield RatedObjective(
            capability=_CAPABILITY,
            objective=f"{row.title} {'is rebuilt and serves' if rebuilt else 'serves clients again'}",
            criterion=f"within {format_target(row.rto_s)} (RTO)",
            result=format_rta(row.outage),
            rating=_rate(row.rto_verdict, row.service in challenged, row.outage.status == "not-recovered"),
        )
        yield RatedObjective(
            capability=_CAPABILITY,
            objective=f"{row.title} {'has a recent copy' if rebuilt else 'keeps what it acknowledged'}",
            criterion=f"at most {format_target(row.rpo_s)} lost (RPO)",
            result=format_rpa(row.loss),
            rating=_rate(row.rpo_verdict, bool(row.loss.missing), gone=False),
        )
    yield from rate_copies(report.copies)


def _rate(verdict: str, challenged: bool, gone: bool) -> Rating:
    if verdict == "not-measured":
        return "-"
    if verdict == "met":
        return "S" if challenged else "P"
    return "U" if gone else "M"


def _challenged(report: Report) -> frozenset[str]:
    """Services on whose way a person had to step in, or a step did not go as planned; all, for the run."""
    stepped_in = any(one.kind in ("resumed", "settled") for one in report.deviations)
    troubled = {one.step for one in report.deviations}
    hit = {step.service for step in report.steps if step.service and (stepped_in or step.id in troubled)}
    return frozenset(hit)


def _apart(report: Report, result: IsolatedResult) -> RatedObjective:
    """A test is apart from production: proved so, and nothing of it stays."""
    clean = result.audit.clean and result.proof is not None
    return RatedObjective(
        capability=_COORDINATION,
        objective="Production is not touched",
        criterion="isolation proved before anything is restored; everything is as it was afterwards",
        result=isolation_in_words(result),
        rating="P" if clean else "U" if result.audit.leftovers else "-",
    )


def _coordination(report: Report) -> RatedObjective:
    rating = _SAFE.get(report.safety.verdict, "-")
    if report.safety.verdict == "nothing-promoted":
        rating = "P" if report.verdict == "met" else "-"
    return RatedObjective(
        capability=_COORDINATION,
        objective="Never two primaries",
        criterion="two fences and their proof before every promotion",
        result=report.safety.text,
        rating=rating,
    )


def _strengths(report: Report) -> Iterator[str]:
    met = [row.title for row in report.services if row.verdict == "met"]
    if met:
        yield f"Every objective was met for {listing(met)}."
    if report.safety.verdict == "safe":
        yield "The old primary was fenced and proved before anything was promoted."
    if report.isolated is not None:
        yield from strengths_isolated(report.isolated)
    elif report.safety.verdict == "nothing-promoted" and report.verdict == "met":
        yield "What could not be fenced was not replaced: the run stopped by itself."
    measured = [row for row in report.services if row.loss.status == "measured"]
    counted = any(row.loss.acknowledged for row in measured)
    if counted and not any(row.loss.missing for row in measured):
        yield "No acknowledged write was lost."
    if report.checks and not report.checks.failed and report.checks.passed:
        yield f"All {report.checks.passed} checks of the recovered services passed."
    if (copies := report.copies) and copies.compared and not copies.weaker and not copies.not_compared:
        yield "What was recovered is no weaker than what it was recovered from."
    seal = report.evidence
    if seal.sealed and seal.checked and seal.seal_key and seal.files and not seal.faults:
        yield "The record is sealed by the control node's key."


# --- what the standards ask ----------------------------------------------------------------------


def _controls(report: Report, subject: Subject, findings: Sequence[Finding]) -> Iterator[ControlRow]:
    recovered = bool(report.promotions or report.dns) and report.run_status == "succeeded"
    if report.isolated is not None:
        recovered = report.run_status == "succeeded" and all(one.proven for one in report.isolated.rebuilt)
        yield _backup_tested(report.isolated, recovered)
    yield from _sp_800_34(report, recovered)
    yield from _cp_4(report, findings, recovered)
    yield from equivalent_controls(report.copies, _SP_800_53)
    named: dict[str, list[str]] = {}
    for name, service in subject.services.items():
        for control in service.controls:
            named.setdefault(control, []).append(name)
    for control, services in named.items():
        shown = "shown" if report.verdict == "met" else "in part"
        yield _row(control, "named in the catalog", shown, f"services {listing(services)}")


def _row(source: str, asks: str, shown: str, how: str) -> ControlRow:
    return ControlRow.model_validate({"source": source, "asks": asks, "shown": shown, "how": how})


def _backup_tested(result: IsolatedResult, recovered: bool) -> ControlRow:
    points = listing([f"{one.point} in {one.store}" for one in result.rebuilt]) or "none"
    how = f"services ran on what was restored from {points}" if recovered else "no service was judged good"
    asks = "test backup information for reliability and integrity"
    return _row(f"{_SP_800_53} CP-9(1)", asks, "shown" if recovered else "not shown", how)


def _sp_800_34(report: Report, recovered: bool) -> Iterator[ControlRow]:
    source = "NIST SP 800-34 Rev. 1, 3.5"
    told = report.declaration is not None
    yield _row(
        source,
        "notification procedures",
        "in part" if told else "not shown",
        "declared by a person or a drill; contacts were not called by this run",
    )
    yield _row(
        source,
        "recovery on an alternate platform",
        "shown" if recovered else "not shown",
        _where_recovered(report) if recovered else "no service was recovered to its end",
    )
    seen = bool(report.served_again_at)
    yield _row(
        source,
        "internal and external connectivity",
        "shown" if seen else "not shown",
        "a client's host reached the services by name" if seen else "no client was seen served",
    )
    load = "only probes were sent, no load" if report.measurement.witness_host else "nothing was sent"
    yield _row(source, "performance with the alternate equipment", "not shown", load)
    home = report.mode == "failback" and recovered
    yield _row(
        source,
        "return to normal operations",
        "shown" if home else "not shown",
        "services were brought home" if home else "failback is an exercise of its own",
    )


def _where_recovered(report: Report) -> str:
    if report.isolated is not None:
        return "services ran at the recovery site on an isolated server, from backup"
    return "services moved to the other site"


def _cp_4(report: Report, findings: Sequence[Finding], recovered: bool) -> Iterator[ControlRow]:
    source = f"{_SP_800_53} CP-4; CJIS Security Policy CP-4"
    through = report.run_status == "succeeded" or report.verdict == "met"
    yield _row(
        f"{source} a",
        "test the plan, at least yearly",
        "shown" if through and report.mode != "readiness" else "in part",
        f"plan {report.plan_digest[:12]}, run {report.run_id}{'' if through else ', not to its end'}",
    )
    reviewed = next((one for one in findings if one.id == REVIEW), None)
    done = reviewed is not None and reviewed.closed
    yield _row(
        f"{source} b",
        "review the results",
        "shown" if done else "not shown",
        f"reviewed by {reviewed.changed_by}" if reviewed and done else "this report waits for its review",
    )
    todo = [one for one in findings if one.id != REVIEW]
    open_ = sum(not one.closed for one in todo)
    all_open = sum(not one.closed for one in findings)
    waits = ", the review of this report among them" if all_open > open_ else ""
    yield _row(
        f"{source} c",
        "initiate corrective actions, if needed",
        "shown" if not open_ else "in part",
        f"{count(len(findings), 'finding')}, {all_open} open{waits}",
    )
    yield _row(
        f"{_SP_800_53} CP-4(2)",
        "test at the alternate processing site",
        "shown" if recovered else "not shown",
        _where_recovered(report) if recovered else "it did not serve",
    )
    talk = report.mode in ("tabletop", "walkthrough")
    how = "people talked, nothing was run" if talk else "this run and its record"
    yield _row(f"{_SP_800_53} CP-4(3)", "test by automated means", "not shown" if talk else "shown", how)
    counted = report.isolated is None and any(row.loss.status == "measured" for row in report.services)
    yield _row(
        f"{_SP_800_53} CP-10(2)",
        "transaction recovery",
        "shown" if counted else "not shown",
        "every acknowledged write was counted" if counted else "writes were not counted",
    )
