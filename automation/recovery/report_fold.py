"""Fold a drill's plan, journal and artifacts into its report. Pure.

Every time and verdict of the report comes from here, and from nothing but what was written down.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, TypeVar

from automation.model.actions import AwaitFailed, BlockServer, PowerOffServer
from automation.model.base import Model
from automation.model.catalog import Service
from automation.model.evidence import (
    ChecksRun,
    CommandOutput,
    Declaration,
    DnsChange,
    Evidence,
    Fault,
    FenceProof,
    Promotion,
    ServerState,
    Source,
    WitnessRecord,
    WritesListed,
)
from automation.model.plan import Plan
from automation.model.records import Event, RunClosed, RunOpened, RunResumed, StepEnded, StepStarted
from automation.recovery.history import History, ProbeRecord, read_history
from automation.recovery.objectives import (
    Loss,
    Milestones,
    Outage,
    at_ns,
    judge_rpo,
    judge_rto,
    measure_loss,
    measure_outage,
)
from automation.recovery.planner import rpo_s, rto_s
from automation.recovery.report import (
    DrillReport,
    FenceResult,
    Measurement,
    ProbeView,
    ServiceResult,
    StepResult,
    Stretch,
)
from automation.recovery.spec import Drill, Failover
from automation.recovery.verdicts import WORST_FIRST, judge, judge_stop
from automation.recovery.writes import old_writes_artifact, writes_artifact

SHARED_KERNEL = (
    "shared-kernel: the lab's hosts share one kernel and one clock; this says nothing about "
    "durability under power loss, boot or kernel settings"
)
_E = TypeVar("_E", bound=Model)


class DrillFacts(NamedTuple):
    """What a report is folded from; `read` gives an artifact's text, or None when there is none."""

    drill: Drill | Failover
    services: Mapping[str, Service]
    plan: Plan
    events: Sequence[Event]
    sustained: int
    lab: bool
    read: Callable[[str], str | None]


def fold_report(facts: DrillFacts) -> DrillReport:
    """Fold a drill's journal and artifacts into its report; an unfinished run gives an honest one."""
    folded = _Fold(facts.events)
    steps = tuple(folded.step(step.id, step.service, step.why) for step in facts.plan.steps)
    marks = _milestones(facts.plan, folded)
    history = _history(folded, facts.read)
    rows = tuple(_service(facts, folded, history, marks, name) for name in facts.services)
    checks = next(iter(folded.all(ChecksRun)), None)
    stops = isinstance(facts.drill, Drill) and facts.drill.expect == "stopped-before-promotion"
    verdict, headline = judge_stop(facts.plan, steps) if stops else judge(rows, steps, checks, folded.closed)
    opened = folded.opened
    return DrillReport(
        drill=facts.drill.name,
        title=facts.drill.title,
        verdict=verdict,
        headline=headline,
        environment=opened.environment,
        mode=opened.mode,
        run_id=opened.run_id,
        actor=opened.actor,
        node=opened.node,
        version=opened.version,
        plan_digest=opened.plan_digest,
        run_status=folded.closed.status if folded.closed else "open",
        started_at=facts.events[0].at,
        ended_at=facts.events[-1].at if folded.closed else None,
        source="simulated" if "simulated" in folded.sources() else "real",
        limits=(SHARED_KERNEL,) if facts.lab else (),
        marks=marks,
        faults=folded.all(Fault),
        declaration=next(iter(folded.all(Declaration)), None),
        services=rows,
        steps=steps,
        fences=tuple(_fences(facts.plan, folded)),
        proofs=folded.all(FenceProof),
        promotions=folded.all(Promotion),
        dns=folded.all(DnsChange),
        checks=checks,
        measurement=_measurement(history, facts.sustained),
        probes=tuple(view_probe(name, history) for name in sorted(history.probes)),
    )


class _Fold:
    """A journal by step."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.opened = next(event.body for event in events if isinstance(event.body, RunOpened))
        self.closed = _closing(events)
        self.started = {event.body.step: event.at for event in events if isinstance(event.body, StepStarted)}
        self.ended = {event.body.step: event.at for event in events if isinstance(event.body, StepEnded)}
        self.ends = {event.body.step: event.body for event in events if isinstance(event.body, StepEnded)}

    def step(self, name: str, service: str | None, why: str) -> StepResult:
        started_at, end = self.started.get(name), self.ends.get(name)
        status: Literal["unfinished", "not-started"] = "unfinished" if started_at else "not-started"
        ended_at = self.ended.get(name)
        return StepResult(
            id=name,
            service=service,
            why=why,
            status=end.status if end else status,
            started_at=started_at,
            ended_at=ended_at,
            seconds=(ended_at - started_at).total_seconds() if started_at and ended_at else None,
            text=_text(end) if end else "",
        )

    def evidence(self) -> tuple[Evidence, ...]:
        ends = (end.outcome or end.failure for end in self.ends.values())
        return tuple(one.evidence for one in ends if one is not None and one.evidence is not None)

    def all(self, kind: type[_E]) -> tuple[_E, ...]:
        return tuple(one for one in self.evidence() if isinstance(one, kind))

    def sources(self) -> set[Source]:
        return {one.source for one in self.evidence() if isinstance(one, ServerState | FenceProof)}


def _closing(events: Sequence[Event]) -> RunClosed | None:
    """The closing record that stands: a run that was resumed since is open until it closes again."""
    closed: RunClosed | None = None
    for event in events:
        if isinstance(event.body, RunClosed | RunResumed):
            closed = event.body if isinstance(event.body, RunClosed) else None
    return closed


def _text(end: StepEnded) -> str:
    return end.outcome.summary if end.outcome else end.failure.message if end.failure else ""


def _fences(plan: Plan, folded: _Fold) -> Iterator[FenceResult]:
    """What each fence's own step read back; fences run side by side and may not see each other yet."""
    for step in plan.steps:
        end = folded.ends.get(step.id)
        state = end.outcome.evidence if end and end.outcome else None
        if not isinstance(state, ServerState) or not isinstance(step.run, PowerOffServer | BlockServer):
            continue
        read_back = f"network {state.network}"
        if isinstance(step.run, PowerOffServer):
            read_back = f"power {state.power}, autostart {'on' if state.autostart else 'off'}"
        yield FenceResult(step=step.id, server=state.server, read_back=read_back, source=state.source)


# --- measuring -----------------------------------------------------------------------------------


def _milestones(plan: Plan, folded: _Fold) -> Milestones:
    faults = [fault.at for fault in folded.all(Fault)]
    detections = [folded.ended.get(step.id) for step in plan.steps if isinstance(step.run, AwaitFailed)]
    declaration = next(iter(folded.all(Declaration)), None)
    return Milestones(
        fault_at=min(faults, default=None),
        last_fault_at=max(faults, default=None),
        detected_at=next((at for at in detections if at), None),
        declared_at=declaration.declared_at if declaration else None,
        run_ended_at=_last_change(plan, folded, {step.service for step in plan.steps}),
    )


def _last_change(plan: Plan, folded: _Fold, services: set[str | None]) -> datetime | None:
    """When the last step that changed one of these services had ended; None unless all of them did."""
    changes = [
        step.id
        for step in plan.steps
        if step.service and step.service in services and step.run.effect == "change"
    ]
    done = [folded.ended[name] for name in changes if name in folded.ends]
    succeeded = all(name in folded.ends and folded.ends[name].status == "succeeded" for name in changes)
    return max(done, default=None) if succeeded else None


def _history(folded: _Fold, read: Callable[[str], str | None]) -> History:
    record = next(iter(folded.all(WitnessRecord)), None)
    lines = read(record.file) if record else None
    if record is None or lines is None:
        return History()
    return read_history(
        lines.splitlines(), offset_s=record.clock_offset_s, uncertainty_s=record.clock_uncertainty_s
    )


def _service(
    facts: DrillFacts, folded: _Fold, history: History, marks: Milestones, name: str
) -> ServiceResult:
    service = facts.services[name]
    own = marks.model_copy(update={"run_ended_at": _last_change(facts.plan, folded, {name})})
    probes = [f"{name}/{probe}" for probe in service.probes]
    outage = measure_outage(history, probes, own, sustained=facts.sustained)
    loss = _loss(facts, folded, history, outage, name)
    rto, rpo = rto_s(facts.drill, name, service), rpo_s(facts.drill, name, service)
    verdicts = (judge_rto(outage, rto), judge_rpo(loss, rpo))
    return ServiceResult(
        service=name,
        title=service.title,
        owner=service.owner,
        tier=service.tier,
        rto_s=rto,
        rpo_s=rpo,
        outage=outage,
        loss=loss,
        rto_verdict=verdicts[0],
        rpo_verdict=verdicts[1],
        verdict=next(word for word in WORST_FIRST if word in verdicts),
        found_on_lost_primary=_found_on_lost_primary(facts, folded, loss, name),
    )


def _ledgers(services: Mapping[str, Service], name: str) -> dict[str, str]:
    """Ids of the probes whose writes a service takes or keeps, each with the service that it watches."""
    return {
        f"{owner}/{probe_id}": owner
        for owner, service in services.items()
        for probe_id, probe in service.probes.items()
        if probe.kind == "http-write" and name in (owner, probe.stored_in)
    }


def _loss(facts: DrillFacts, folded: _Fold, history: History, outage: Outage, name: str) -> Loss:
    ledgers = _ledgers(facts.services, name)
    listed = {one.file for one in folded.all(WritesListed)}
    present: set[str] | None = set()
    for owner in sorted(set(ledgers.values())):
        file = writes_artifact(owner)
        text = facts.read(file) if file in listed else None
        present = None if present is None or text is None else present | set(text.splitlines())
    lost_at = max((fault.at for fault in folded.all(Fault)), default=outage.first_failed_at)
    return measure_loss(history, ledgers, present, lost_at)


def _found_on_lost_primary(facts: DrillFacts, folded: _Fold, loss: Loss, name: str) -> int | None:
    """How many of the missing writes the lost primary's own disk holds; None when nobody looked."""
    files = {one.file for one in folded.all(CommandOutput) if one.exit_code == 0}
    texts = [
        facts.read(old_writes_artifact(owner))
        for owner in set(_ledgers(facts.services, name).values())
        if old_writes_artifact(owner) in files
    ]
    held = {line for text in texts if text for line in text.splitlines()}
    return len(held & set(loss.missing)) if texts else None


def _measurement(history: History, sustained: int) -> Measurement:
    where = history.host or "the vantage host"
    return Measurement(
        method=(
            "RTA (recovery time actual): from the start of the first probe that failed at or after the loss "
            f"(one under way counts from its start) to the end of the first of {sustained} good probes in a "
            f"row, seen from {where} by the names that clients use, resolved anew for every probe.",
            "RPA (recovery point actual): numbered writes that were acknowledged to the client and are "
            "missing at the new primary; in seconds, from the oldest of them to the loss. Writes without "
            "a certain answer are in doubt and are counted apart.",
            f"Clock: within the outage, the monotonic clock of {where}; it is "
            f"{history.offset_s * 1000:+.1f} ms (at most {history.uncertainty_s * 1000:.1f} ms wrong) from "
            "the control node's, on which the steps are timed.",
        ),
        witness_host=history.host,
        beat_s=history.beat_s,
        timeout_s=history.timeout_s,
        sustained=sustained,
        clock_offset_s=history.offset_s,
        clock_uncertainty_s=history.uncertainty_s,
        missed_beats=history.missed_beats,
        witness_starts=history.starts,
        ended_in_order=history.ended_in_order,
        resolver=history.resolver,
    )


def view_probe(name: str, history: History) -> ProbeView:
    """Join probes that follow each other with the same verdict into stretches."""
    groups: list[list[ProbeRecord]] = []
    for record in history.probes[name]:
        if groups and groups[-1][-1].good == record.good and groups[-1][-1].seq + 1 == record.seq:
            groups[-1].append(record)
        else:
            groups.append([record])
    return ProbeView(probe=name, stretches=tuple(_stretch(group) for group in groups))


def _stretch(group: Sequence[ProbeRecord]) -> Stretch:
    return Stretch(
        good=group[0].good,
        from_at=at_ns(group[0].start_ns),
        until_at=at_ns(group[-1].end_ns),
        probes=len(group),
        errors=tuple(sorted({one.error for one in group if one.error})),
    )
