"""What a test failover showed: what was rebuilt, how long it took, what would be lost, what stayed. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from automation.model.actions import CreateIsolated, LookAtRestored, ProveService, RestoreCluster
from automation.model.backup_evidence import PointRestored
from automation.model.drill_evidence import IsolatedServer, IsolationProof, Listing, RestoredSeen
from automation.model.evidence import DnsRecord, RecordsSeen
from automation.model.plan import Plan, Step
from automation.recovery.history import ProbeRecord
from automation.recovery.leftovers import Audit, Seen, audit, read_items
from automation.recovery.objectives import Loss, Outage, at_ns, judge_rpo, judge_rto
from automation.recovery.rebuilt import IsolatedResult, Rebuilt
from automation.recovery.report import ProbeView, ServiceResult
from automation.recovery.report_measure import Read, all_of
from automation.recovery.report_measure import Seen as Measured
from automation.recovery.report_steps import RunLog
from automation.recovery.verdicts import WORST_FIRST


def fold_isolated(plan: Plan, log: RunLog, read: Read) -> IsolatedResult | None:
    """Give what a test failover left behind in its journal and artifacts; None for a run of another mode."""
    if plan.mode != "test-failover":
        return None
    create = next((s.run for s in plan.steps if isinstance(s.run, CreateIsolated)), None)
    return IsolatedResult(
        server=create.host if create else "",
        reaches=tuple(create.reach) if create else (),
        read_back=next(iter(all_of(log, IsolatedServer)), None),
        proof=next(iter(all_of(log, IsolationProof)), None),
        rebuilt=tuple(_rebuilt(plan, log)),
        audit=_audit(log, read),
    )


def _rebuilt(plan: Plan, log: RunLog) -> Iterator[Rebuilt]:
    seen = {one.cluster: one for one in all_of(log, RestoredSeen)}
    restored = {one.to: one for one in all_of(log, PointRestored)}
    for step in plan.steps:
        if not isinstance(step.run, RestoreCluster) or step.service is None:
            continue
        run, look, made = step.run, seen.get(step.run.cluster), restored.get(step.run.cluster)
        yield Rebuilt(
            service=step.service,
            resource=run.resource,
            store=run.of.store,
            point=run.point or "",
            asked_at=run.until,
            reached_at=look.reached_at if look else None,
            restore_s=made.seconds if made else None,
            size_bytes=made.size_bytes if made else None,
            archive_mode=look.archive_mode if look else "",
            slots=look.slots if look else None,
            behind_s=_behind(plan, run.cluster),
            proven=_is_proven(plan, log, step),
        )


def _behind(plan: Plan, cluster: str) -> float | None:
    looks = [step.run for step in plan.steps if isinstance(step.run, LookAtRestored)]
    return next((one.behind_s for one in looks if one.cluster == cluster), None)


def _is_proven(plan: Plan, log: RunLog, restore: Step) -> bool:
    return any(
        isinstance(step.run, ProveService)
        and step.service == restore.service
        and log.log(step.id).status == "succeeded"
        for step in plan.steps
    )


# --- what stayed ---------------------------------------------------------------------------------


def _audit(log: RunLog, read: Read) -> Audit:
    found: dict[str, dict[str, Seen]] = {"before": {}, "after": {}}
    for step, evidence in log.evidence:
        when, _, what = step.partition("/")
        if when in found and isinstance(evidence, Listing):
            items = read_items(read(evidence.file) or "") if evidence.file else evidence.items
            found[when][what] = Seen(evidence, items)
        elif when in found and isinstance(evidence, RecordsSeen):
            found[when][what] = _names(evidence)
    return audit(found["before"], found["after"])


def _names(records: RecordsSeen) -> Seen:
    items = {
        f"{name} at {server}": _address(record)
        for server, answers in records.answers.items()
        for name, record in answers.items()
    }
    items |= {f"name server {server}": f"silent: {why}" for server, why in records.silent.items()}
    return Seen(Listing(of="names", where="name servers"), items)


def _address(record: DnsRecord) -> str:
    return ", ".join(record.addresses) or "no address"


# --- how long, and how much ----------------------------------------------------------------------


def isolated_rows(seen: Measured) -> tuple[ServiceResult, ...]:
    """Give one row a service: from the first step that made its server to sustained good answers inside."""
    began = _began(seen.plan, seen.log)
    return tuple(_row(seen, name, began) for name in seen.subject.services)


def _row(seen: Measured, name: str, began: datetime | None) -> ServiceResult:
    service, target = seen.subject.services[name], seen.subject.targets[name]
    probes = [f"{name}/{probe}" for probe in service.probes]
    outage = _outage(seen, name, probes, began)
    loss = _loss(seen, name)
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
        outage=outage,
        loss=loss,
        rto_verdict=verdicts[0],
        rpo_verdict=verdicts[1],
        verdict=next(word for word in WORST_FIRST if word in verdicts),
    )


def _began(plan: Plan, log: RunLog) -> datetime | None:
    create = next((step.id for step in plan.steps if isinstance(step.run, CreateIsolated)), None)
    return log.log(create).started_at if create else None


def _outage(seen: Measured, name: str, probes: Sequence[str], began: datetime | None) -> Outage:
    if began is None or not probes:
        why = "nothing was made" if began is None else "no probe watches this service"
        return Outage(status="not-measured", reason=why)
    goods = [_first_sustained(seen.history.probes.get(one, ()), seen.subject.sustained) for one in probes]
    if not all(seen.history.probes.get(one) for one in probes):
        return Outage(status="not-measured", reason="the witness inside left no record of it")
    known = [at_ns(one.end_ns) for one in goods if one is not None]
    if len(known) < len(probes):
        return Outage(status="not-measured", reason="no client inside saw it served")
    good_at = max(*known, *_opened(seen, name))
    return Outage(
        status="measured",
        rta_s=(good_at - began).total_seconds(),
        first_failed_at=began,
        client_good_at=good_at,
        resolution_s=seen.history.beat_s,
    )


def _opened(seen: Measured, name: str) -> Iterator[datetime]:
    """When its own database was seen open: one that still replays answers clients already."""
    for step in seen.plan.steps:
        ended_at = seen.log.log(step.id).ended_at
        if isinstance(step.run, LookAtRestored) and step.service == name and ended_at is not None:
            yield ended_at


def isolated_probes(views: Sequence[ProbeView], rows: Sequence[ServiceResult]) -> tuple[ProbeView, ...]:
    """Say of each probe from when until when its service was being rebuilt."""
    spans = {row.service: (row.outage.first_failed_at, row.outage.client_good_at) for row in rows}
    return tuple(_rebuilding(view, *spans.get(view.probe.partition("/")[0], (None, None))) for view in views)


def _rebuilding(view: ProbeView, began: datetime | None, good_at: datetime | None) -> ProbeView:
    if began is None or good_at is None:
        return view
    ends = {"out_from": began, "out_until": good_at, "down_from": began, "down_until": good_at}
    return view.model_copy(update=ends)


def _first_sustained(records: Sequence[ProbeRecord], sustained: int) -> ProbeRecord | None:
    """The first of the first so many good probes in a row."""
    first, count, expected = None, 0, 0
    for record in records:
        follows = record.good and count > 0 and record.seq == expected
        first, count = (first, count + 1) if follows else (record, 1) if record.good else (None, 0)
        expected = record.seq + 1
        if count >= sustained:
            return first
    return None


def _loss(seen: Measured, name: str) -> Loss:
    """What a loss of the primary at the moment of planning would have cost, from that copy alone."""
    own = _stands_on(seen, name)
    looks = [s for s in seen.plan.steps if isinstance(s.run, LookAtRestored) and s.service in own]
    behind = [step.run.behind_s for step in looks if isinstance(step.run, LookAtRestored)]
    known = [one for one in behind if one is not None]
    if not known or len(known) < len(looks):
        return Loss(status="not-measured", reason="nobody looked how far the copy was behind")
    if not all(seen.log.log(step.id).status == "succeeded" for step in looks):
        return Loss(status="not-measured", reason="nothing was restored")
    return Loss(status="measured", rpa_s=max(known))


def _stands_on(seen: Measured, name: str) -> set[str]:
    services, found, open_ = seen.subject.services, set[str](), [name]
    while open_:
        one = open_.pop()
        if one in services and one not in found:
            found.add(one)
            open_ += services[one].depends_on
    return found
