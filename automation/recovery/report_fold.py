"""Fold a run's plan, journal and artifacts into its report. Pure.

Every time and verdict of the report comes from here, and from nothing but what was written down: the plan
and what it is about, the journal, the witness's record and the lists of writes. What people said of the
findings since stands in a file of its own and is laid over them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from automation.model.actions import CopyReplica, CreateInstance, StartWitness
from automation.model.copies import CopiesCompared
from automation.model.evidence import (
    ChecksRun,
    Declaration,
    DnsChange,
    Fault,
    FenceProof,
    Promotion,
    ServerState,
    WritesExported,
)
from automation.model.plan import Plan
from automation.model.records import Event, RunClosed, RunSealed
from automation.recovery.audits import is_audit
from automation.recovery.kinds import FENCE, POWER
from automation.recovery.report import EvidenceState, FenceResult, Report, ServiceResult
from automation.recovery.report_answers import answer
from automation.recovery.report_clouds import copied_row, with_copies, with_points
from automation.recovery.report_copies import judge_copies
from automation.recovery.report_exercise import review
from automation.recovery.report_findings import apply, find
from automation.recovery.report_isolated import fold_isolated, isolated_probes, isolated_rows
from automation.recovery.report_isolated_words import describe_isolated, judge_isolated
from automation.recovery.report_measure import (
    Seen,
    all_of,
    changes_by_service,
    describe_measurement,
    ledgers_of,
    milestones,
    read_witness,
    served_again,
    service_results,
    view_probes,
)
from automation.recovery.report_people import Signed, deviations, signatures
from automation.recovery.report_review import FindingUpdate, Review
from automation.recovery.report_safety import judge_safety
from automation.recovery.report_steps import RunLog, step_results
from automation.recovery.report_subject import Subject
from automation.recovery.tabletop import fold_tabletop
from automation.recovery.verdicts import judge_run, judge_table

SHARED_KERNEL = (
    "shared-kernel: the lab's hosts share one kernel and one clock; this says nothing about "
    "durability under power loss, boot or kernel settings"
)
TODAYS_TARGETS = (
    "targets: this run kept none, so those of today's files are shown; they may have been others on its day"
)


OF_THE_RUN = ("stopped", "resumed", "given-up")


class SealSeen(NamedTuple):
    """What a check of the record found, outside of the journal itself."""

    key: str = ""
    sealed_files: int = 0
    checked: bool = False
    faults: tuple[str, ...] = ()


class Facts(NamedTuple):
    """What a report is folded from; `read` gives an artifact's text, or None when there is none."""

    subject: Subject
    plan: Plan
    events: Sequence[Event]
    read: Callable[[str], str | None]
    signed: Mapping[str, Signed] = {}
    seal: SealSeen = SealSeen()
    updates: Sequence[FindingUpdate] = ()
    copies: CopiesCompared | None = None


def fold_report(facts: Facts) -> Report:
    """Fold a run's journal and artifacts into its report; an unfinished run gives an honest one."""
    log = RunLog(facts.events)
    marks = milestones(facts.plan, log)
    history, changes = read_witness(log, facts.read), changes_by_service(facts.plan)
    ledgers = ledgers_of(facts.subject.services)
    seen = Seen(facts.subject, facts.plan, log, history, marks, facts.read, changes, ledgers)
    watches = any(isinstance(step.run, StartWitness) for step in facts.plan.steps)
    rows = _rows(seen)
    watches = watches or any(isinstance(step.run, CopyReplica | CreateInstance) for step in facts.plan.steps)
    bare = _bare(facts, seen, rows if watches else ())
    findings = apply(find(bare), facts.updates)
    return bare.model_copy(
        update={"answers": answer(bare, findings), "review": review(bare, facts.subject, findings)}
    )


def _rows(seen: Seen) -> tuple[ServiceResult, ...]:
    """One row a service; of VMs and instances, the recovery point and the provider say what no client saw."""
    if seen.plan.mode == "test-failover":
        return tuple(copied_row(seen, row) for row in isolated_rows(seen))
    return tuple(with_points(seen, row) for row in service_results(seen))


def _bare(facts: Facts, seen: Seen, rows: Sequence[ServiceResult]) -> Report:
    """The report without what is derived from it: answers, findings, the after-action report."""
    fields = {
        **_of_run(facts, seen.log),
        **_of_recovery(facts, seen, rows),
        **_of_people(facts, seen.log),
        "answers": (),
        "review": NOTHING_YET,
    }
    return Report.model_validate(fields)


def _of_run(facts: Facts, log: RunLog) -> dict[str, object]:
    """Which run it is, where and when it ran, and what vouches for the record."""
    subject, opened, sources = facts.subject, log.opened, _sources(log)
    declaration = next(iter(all_of(log, Declaration)), None)
    said = f"{', '.join(declaration.sites)} lost: {declaration.reason}" if declaration else ""
    today = () if subject.kept else (TODAYS_TARGETS,)
    return {
        "name": subject.name or opened.plan_name,
        "title": subject.title or said or opened.plan_name,
        "kind": _kind(opened.mode, declaration),
        "environment": opened.environment,
        "mode": opened.mode,
        "site": subject.site,
        "run_id": opened.run_id,
        "actor": opened.actor,
        "node": opened.node,
        "version": opened.version,
        "plan_digest": opened.plan_digest,
        "inventory_digest": subject.inventory_digest,
        "timezone": subject.timezone,
        "run_status": log.status,
        "started_at": facts.events[0].at,
        "ended_at": _ended_at(log),
        "source": "simulated" if sources.get("simulated") else "real",
        "sources": sources,
        "limits": (*((SHARED_KERNEL,) if subject.lab else ()), *today),
        "evidence": _evidence(log, facts.seal),
    }


def _of_recovery(facts: Facts, seen: Seen, rows: Sequence[ServiceResult]) -> dict[str, object]:
    """What was broken, done and measured, and the verdict over it."""
    plan, log, marks = facts.plan, seen.log, seen.marks
    steps, fences = step_results(plan, log), tuple(_fences(plan, log))
    again_at, checks = served_again(log, marks), next(iter(all_of(log, ChecksRun)), None)
    stops = facts.subject.expect != "recovered"
    since = marks.declared_at
    served_s = (again_at - since).total_seconds() if again_at and since else None
    safety = judge_safety(plan, log, fences)
    borne = safety.verdict == "borne"
    own = tuple(step for step in steps if not is_audit(step.id))  # what those ask is judged apart
    verdict, headline = judge_run(plan, log, own, rows, checks, stops=stops, served_s=served_s, borne=borne)
    if plan.mode == "tabletop" and log.closed is not None:
        verdict, headline = judge_table(fold_tabletop(plan, facts.events))
    measurement = describe_measurement(seen.history, facts.subject.sustained)
    isolated, probes = fold_isolated(plan, log, facts.read), view_probes(seen)
    if isolated is not None:
        isolated = with_copies(seen, isolated)
        verdict, headline = judge_isolated(verdict, headline, isolated, own, rows)
        measurement, probes = describe_isolated(measurement, isolated), isolated_probes(probes, rows)
    verdict, headline = judge_copies(verdict, headline, facts.copies, plan.mode)
    return {
        "isolated": isolated,
        "copies": facts.copies,
        "verdict": verdict,
        "headline": headline,
        "marks": marks,
        "served_again_at": again_at,
        "faults": all_of(log, Fault),
        "declaration": next(iter(all_of(log, Declaration)), None),
        "services": tuple(rows),
        "steps": steps,
        "fences": fences,
        "proofs": all_of(log, FenceProof),
        "promotions": all_of(log, Promotion),
        "safety": safety,
        "dns": all_of(log, DnsChange),
        "exported": all_of(log, WritesExported),
        "checks": checks,
        "measurement": measurement,
        "probes": probes,
    }


def _of_people(facts: Facts, log: RunLog) -> dict[str, object]:
    """Who agreed to what, and all that went another way than planned."""
    table = facts.plan.mode == "tabletop"
    told = deviations(log)
    return {
        "signatures": () if table else signatures(facts.plan, log, facts.signed),
        "table": fold_tabletop(facts.plan, facts.events) if table else None,
        # At a table, answers are the exercise itself.
        "deviations": tuple(one for one in told if one.kind in OF_THE_RUN) if table else told,
        "standstills": log.standstills(),
    }


NOTHING_YET = Review(
    exercise="",
    level="",
    scenario="",
    scope="",
    participants=(),
    objectives=(),
    strengths=(),
    findings=(),
    controls=(),
    evaluator="",
    reviewed_by="",
    reviewed_at=None,
    next_due=None,
    next_level="",
)


def _kind(mode: str, declaration: Declaration | None) -> str:
    kinds = {
        "apply": "Change",
        "exercise": "Exercise",
        "failover": "Failover",
        "failback": "Failback",
        "planned-migration": "Planned migration",
        "test-failover": "Test failover",
        "tabletop": "Tabletop exercise",
        "walkthrough": "Walk-through",
        "readiness": "Readiness look",
    }
    exercise = declaration is not None and declaration.exercise
    return "Exercise" if exercise else kinds.get(mode, mode)


def _ended_at(log: RunLog) -> datetime | None:
    ends = [event.at for event in log.events if isinstance(event.body, RunClosed)]
    return ends[-1] if log.closed else None


def _fences(plan: Plan, log: RunLog) -> Iterator[FenceResult]:
    """What each fence's own step read back; fences run side by side and may not see each other yet."""
    seen = dict(log.evidence)
    for step in plan.steps:
        state = seen.get(step.id)
        one = log.log(step.id)
        if one.status != "succeeded" or not isinstance(step.run, FENCE):
            continue
        if not isinstance(state, ServerState):
            continue
        read_back = f"network {state.network}"
        if isinstance(step.run, POWER):
            read_back = f"power {state.power}, autostart {'on' if state.autostart else 'off'}"
        yield FenceResult(
            step=step.id, server=state.server, read_back=read_back, source=state.source, at=one.ended_at
        )


def _sources(log: RunLog) -> dict[str, int]:
    known = [(one, getattr(one, "source", None)) for _, one in log.evidence]
    found = Counter(
        str(source)
        for one, source in known
        if source == "simulated" or isinstance(one, ServerState | FenceProof)
    )
    return dict(sorted(found.items()))


def _evidence(log: RunLog, seal: SealSeen) -> EvidenceState:
    seals = [event.body for event in log.events if isinstance(event.body, RunSealed)]
    last = log.events[-1]
    sealed = isinstance(last.body, RunSealed)
    return EvidenceState(
        events=len(log.events),
        head=last.hash,
        seals=len(seals),
        sealed=sealed,
        sealed_at=last.at if sealed else None,
        seal_key=seal.key if sealed else "",
        files=seal.sealed_files,
        checked=seal.checked,
        faults=seal.faults,
    )
