"""What clients saw during a run, service by service and probe by probe. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, takewhile
from typing import NamedTuple, TypeVar

from automation.model.actions import AwaitFailed, Demote, ShutDownVm, StopInstance, StopUnit
from automation.model.base import Model
from automation.model.catalog import Service
from automation.model.evidence import (
    CommandOutput,
    Declaration,
    Fault,
    ProbesSeen,
    WitnessRecord,
    WritesExported,
    WritesListed,
)
from automation.model.plan import Plan
from automation.model.records import ApprovalRecorded, OverrideRecorded, StepStarted
from automation.recovery.history import History, ProbeRecord, read_history
from automation.recovery.objectives import (
    Loss,
    Milestones,
    Outage,
    at_ns,
    find_outage,
    judge_rpo,
    judge_rto,
    measure_loss,
    measure_outage,
)
from automation.recovery.report import Measurement, ProbeView, ServiceResult, Stretch
from automation.recovery.report_steps import RunLog
from automation.recovery.report_subject import Subject
from automation.recovery.verdicts import WORST_FIRST
from automation.recovery.writes import old_writes_artifact, writes_artifact

_E = TypeVar("_E", bound=Model)
Read = Callable[[str], str | None]


class Seen(NamedTuple):
    """All that a measurement is made from."""

    subject: Subject
    plan: Plan
    log: RunLog
    history: History
    marks: Milestones
    read: Read
    changes: Mapping[str, Sequence[str]]
    ledgers: Mapping[str, Mapping[str, str]]


def all_of(log: RunLog, kind: type[_E]) -> tuple[_E, ...]:
    """Give the evidence of one kind, of the last end of each step."""
    return tuple(one for _, one in log.evidence if isinstance(one, kind))


def milestones(plan: Plan, log: RunLog) -> Milestones:
    """Give the moments at which an outage is cut into its parts."""
    pauses = [
        log.log(step.id).started_at
        for step in plan.steps
        if isinstance(step.run, StopUnit | Demote | ShutDownVm | StopInstance)
        and "clients-good" not in plan.stands_on(step.id)
    ]
    faults = [*(fault.at for fault in all_of(log, Fault)), *(at for at in pauses if at)]
    detections = [log.log(step.id).ended_at for step in plan.steps if isinstance(step.run, AwaitFailed)]
    declaration = next(iter(all_of(log, Declaration)), None)
    before = takewhile(lambda event: not isinstance(event.body, StepStarted), log.events)
    agreed = [event.at for event in before if isinstance(event.body, ApprovalRecorded | OverrideRecorded)]
    return Milestones(
        fault_at=min(faults, default=None),
        last_fault_at=max(faults, default=None),
        detected_at=next((at for at in detections if at), None),
        declared_at=declaration.declared_at if declaration else None,
        approved_at=max(agreed, default=None),
        run_ended_at=None
        if plan.mode == "test-failover"  # nothing is moved there
        else _last_end(chain.from_iterable(changes_by_service(plan).values()), log),
    )


def served_again(log: RunLog, marks: Milestones) -> datetime | None:
    """When the run itself saw sustained good probes, after it was declared."""
    seen = [one.at for one in all_of(log, ProbesSeen) if one.verdict == "good"]
    since = marks.declared_at
    return max((at for at in seen if since is not None and at > since), default=None)


def changes_by_service(plan: Plan) -> dict[str, list[str]]:
    """Give the steps that change something, of each service."""
    found: dict[str, list[str]] = {}
    for step in plan.steps:
        if step.service and step.run.effect == "change":
            found.setdefault(step.service, []).append(step.id)
    return found


def _last_end(steps: Iterable[str], log: RunLog) -> datetime | None:
    """When the last of some steps had ended; None unless all of them succeeded."""
    logs = [log.log(step) for step in steps]
    done = [one.ended_at for one in logs if one.ended_at]
    return max(done, default=None) if all(one.status == "succeeded" for one in logs) else None


def read_witness(log: RunLog, read: Read) -> History:
    """Give what the witness wrote, on the control node's clock; empty without a record."""
    record = next(iter(all_of(log, WitnessRecord)), None)
    lines = read(record.file) if record else None
    if record is None or lines is None:
        return History()
    return read_history(
        lines.splitlines(), offset_s=record.clock_offset_s, uncertainty_s=record.clock_uncertainty_s
    )


# --- services ------------------------------------------------------------------------------------


def service_results(seen: Seen) -> tuple[ServiceResult, ...]:
    """Give one row for each service that the run is about."""
    return tuple(_service(seen, name) for name in seen.subject.services)


def _service(seen: Seen, name: str) -> ServiceResult:
    service, target = seen.subject.services[name], seen.subject.targets[name]
    own = seen.marks.model_copy(update={"run_ended_at": _last_end(seen.changes.get(name, ()), seen.log)})
    probes = [f"{name}/{probe}" for probe in service.probes]
    outage = measure_outage(seen.history, probes, own, sustained=seen.subject.sustained)
    loss = _loss(seen, outage, name)
    verdicts = (judge_rto(outage, target.rto_s), judge_rpo(loss, target.rpo_s))
    return ServiceResult(
        service=name,
        title=service.title,
        owner=service.owner,
        tier=service.tier,
        rto_s=target.rto_s,
        rpo_s=target.rpo_s,
        mtd_s=service.mtd_s,
        wrt_s=service.wrt_s,
        predicted_s=target.predicted_s,
        outage=outage,
        loss=loss,
        rto_verdict=verdicts[0],
        rpo_verdict=verdicts[1],
        verdict=next(word for word in WORST_FIRST if word in verdicts),
        found_on_lost_primary=_found_on_lost_primary(seen, loss, name),
        exports=_exports(seen, name),
    )


def ledgers_of(services: Mapping[str, Service]) -> dict[str, dict[str, str]]:
    """Ids of the probes whose writes each service takes or keeps, each with the service that it watches."""
    found: dict[str, dict[str, str]] = {}
    for owner, service in services.items():
        for probe_id, probe in service.probes.items():
            for name in {owner, probe.stored_in or owner} if probe.kind == "http-write" else ():
                found.setdefault(name, {})[f"{owner}/{probe_id}"] = owner
    return found


def _loss(seen: Seen, outage: Outage, name: str) -> Loss:
    ledgers = seen.ledgers.get(name, {})
    listed = {one.file for one in all_of(seen.log, WritesListed)}
    present: set[str] | None = set()
    for owner in sorted(set(ledgers.values())):
        file = writes_artifact(owner)
        text = seen.read(file) if file in listed else None
        present = None if present is None or text is None else present | set(text.splitlines())
    lost_at = max((fault.at for fault in all_of(seen.log, Fault)), default=outage.first_failed_at)
    return measure_loss(seen.history, ledgers, present, lost_at)


def _found_on_lost_primary(seen: Seen, loss: Loss, name: str) -> int | None:
    """How many of the missing writes the lost primary's own disk holds; None when nobody looked."""
    texts = [seen.read(file) for file in _old_lists(seen, name)]
    held = {line for text in texts if text for line in text.splitlines()}
    return len(held & set(loss.missing)) if texts else None


def _old_lists(seen: Seen, name: str) -> list[str]:
    files = {one.file for one in all_of(seen.log, CommandOutput) if one.exit_code == 0}
    owners = sorted(set(seen.ledgers.get(name, {}).values()))
    return [old_writes_artifact(owner) for owner in owners if old_writes_artifact(owner) in files]


def _exports(seen: Seen, name: str) -> tuple[str, ...]:
    """Artifacts that list the writes of a service: those kept, exported, and found on the lost primary."""
    listed = {one.file for one in all_of(seen.log, WritesListed)}
    owners = sorted(set(seen.ledgers.get(name, {}).values()))
    kept = [writes_artifact(owner) for owner in owners if writes_artifact(owner) in listed]
    exported = [one for one in all_of(seen.log, WritesExported) if one.service in owners and one.count]
    rows = [one.export or one.references for one in exported]
    return (*kept, *rows, *_old_lists(seen, name))


# --- probes --------------------------------------------------------------------------------------


def view_probes(seen: Seen) -> tuple[ProbeView, ...]:
    """Give what every probe saw."""
    return tuple(view_probe(name, seen) for name in sorted(seen.history.probes))


def view_probe(name: str, seen: Seen) -> ProbeView:
    """Join probes that follow each other with the same verdict into stretches, and find the outage."""
    records = seen.history.probes[name]
    groups: list[list[ProbeRecord]] = []
    for record in records:
        if groups and groups[-1][-1].good == record.good and groups[-1][-1].seq + 1 == record.seq:
            groups[-1].append(record)
        else:
            groups.append([record])
    found = find_outage(records, seen.marks, seen.subject.sustained)
    return ProbeView(
        probe=name,
        stretches=tuple(_stretch(group) for group in groups),
        out_from=at_ns(found.failed.start_ns) if found.failed else None,
        out_until=at_ns(found.good.end_ns) if found.good else None,
        down_from=at_ns(found.down_ns[0]) if found.down_ns else None,
        down_until=at_ns(found.down_ns[1]) if found.down_ns else None,
    )


def _stretch(group: Sequence[ProbeRecord]) -> Stretch:
    return Stretch(
        good=group[0].good,
        from_at=at_ns(group[0].start_ns),
        until_at=at_ns(group[-1].end_ns),
        probes=len(group),
        errors=tuple(sorted({one.error for one in group if one.error})),
    )


# --- the method ----------------------------------------------------------------------------------


def describe_measurement(history: History, sustained: int) -> Measurement:
    """Say how it was measured, with the clock and its resolution."""
    where = history.host
    if not where:
        return NOT_MEASURED
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


NOT_MEASURED = Measurement(
    method=("Nothing was measured from a client's chair: this run has no record of a witness.",),
    witness_host="",
    beat_s=0.0,
    timeout_s=0.0,
    sustained=0,
    clock_offset_s=0.0,
    clock_uncertainty_s=0.0,
    missed_beats=0,
    witness_starts=0,
    ended_in_order=False,
    resolver="",
)
