"""What a recovery of VMs or instances cost: by the point it came back to, by the provider's times. Pure.

RPA: from the moment whose data the machines or the database hold to the loss. RTA is what a client saw; where
no witness measured it, from the loss, or the start of a test, to when the provider said that the last machine
ran. Which of both counts stands in the row's reason, and so does `simulated`.
"""

from collections.abc import Iterator
from datetime import datetime

from automation.model.actions import CopyReplica, CreateInstance, PowerOnVm, RestoreDatabase, StartInstance
from automation.model.catalog import AwsPilotLight, VmReplica
from automation.model.evidence import Fault
from automation.model.replicas import DatabaseChange, NetworkProven, ReplicasSeen
from automation.recovery.objectives import Loss, Outage, judge_rpo, judge_rto
from automation.recovery.rebuilt import IsolatedResult
from automation.recovery.report import ServiceResult
from automation.recovery.report_measure import Seen, all_of
from automation.recovery.verdicts import WORST_FIRST

CLOUD = VmReplica | AwsPilotLight
RUNS = PowerOnVm | CreateInstance | StartInstance


def with_points(seen: Seen, row: ServiceResult) -> ServiceResult:
    """Give a row with what the recovery point says of its loss, and the provider of its outage."""
    strategy = seen.subject.services[row.service].strategy
    if not isinstance(strategy, CLOUD):
        return row
    outage, loss = row.outage, row.loss
    lost_at = max((fault.at for fault in all_of(seen.log, Fault)), default=None)
    lost_at = lost_at or outage.first_failed_at or seen.marks.declared_at or seen.marks.fault_at
    if outage.status == "not-measured":
        outage = _by_provider(seen, row.service, lost_at)
    if loss.status == "not-measured":
        loss = _by_point(seen, row.service, lost_at)
    return _judged(row, outage, loss)


def copied_row(seen: Seen, row: ServiceResult) -> ServiceResult:
    """Give a row of a test on copies: from the first step that made one, to when the last one ran."""
    strategy = seen.subject.services[row.service].strategy
    if not isinstance(strategy, CLOUD):
        return row
    made = [
        seen.log.log(step.id).started_at
        for step in seen.plan.steps
        if step.service == row.service
        and isinstance(step.run, CopyReplica | RestoreDatabase | CreateInstance)
    ]
    began = min((at for at in made if at is not None), default=None)
    return _judged(row, _by_provider(seen, row.service, began), _by_point(seen, row.service, began))


def _judged(row: ServiceResult, outage: Outage, loss: Loss) -> ServiceResult:
    verdicts = (judge_rto(outage, row.rto_s), judge_rpo(loss, row.rpo_s))
    return row.model_copy(
        update={
            "outage": outage,
            "loss": loss,
            "rto_verdict": verdicts[0],
            "rpo_verdict": verdicts[1],
            "verdict": next(word for word in WORST_FIRST if word in verdicts),
        }
    )


def _by_provider(seen: Seen, name: str, since: datetime | None) -> Outage:
    """From the loss to when the provider said that the last machine of a service ran."""
    steps = [s for s in seen.plan.steps if s.service == name and isinstance(s.run, RUNS)]
    ended = [seen.log.log(step.id) for step in steps]
    done = [one.ended_at for one in ended if one.status == "succeeded" and one.ended_at is not None]
    if since is None or not steps or len(done) < len(steps):
        return Outage(status="not-measured", reason="no client watched, and not every machine came up")
    own = {step.id for step in steps}
    sources = {str(getattr(one, "source", "real")) for step, one in seen.log.evidence if step in own}
    return Outage(
        status="measured",
        rta_s=max(0.0, (max(done) - since).total_seconds()),
        first_failed_at=since,
        client_good_at=max(done),
        resolution_s=0.0,
        reason=f"RTA by the provider: until it said that the last machine ran{_told(sources)}",
    )


def _by_point(seen: Seen, name: str, lost_at: datetime | None) -> Loss:
    """From the point that a service came back to, to its loss."""
    points = list(_points(seen, name))
    known = [at for at, _ in points if at is not None]
    if not points or len(known) < len(points) or lost_at is None:
        why = "nobody knows how old what it came back from is" if points else "it keeps nothing but its image"
        return Loss(status="not-measured", reason=why)
    oldest = min(known)
    behind_s = max(0.0, (lost_at - oldest).total_seconds())
    told = _told({source for _, source in points})
    reason = f"RPA by the recovery point of {oldest:%Y-%m-%d %H:%M:%S} UTC{told}"
    return Loss(status="measured", rpa_s=behind_s, reason=reason)


def _points(seen: Seen, name: str) -> Iterator[tuple[datetime | None, str]]:
    own = {step.id for step in seen.plan.steps if step.service == name}
    for step, evidence in seen.log.evidence:
        if step not in own or step.startswith("steady/"):
            continue
        if isinstance(evidence, ReplicasSeen):
            yield evidence.oldest, evidence.source
        elif isinstance(evidence, DatabaseChange) and evidence.verb in ("promoted", "restored"):
            yield evidence.point_at, evidence.source


def _told(sources: set[str]) -> str:
    return " (simulated)" if "simulated" in sources else ""


# --- a test on copies --------------------------------------------------------------------------------


def with_copies(seen: Seen, result: IsolatedResult) -> IsolatedResult:
    """Give a test's result with the machines that it copied, and the networks that lead nowhere."""
    made = [s.run for s in seen.plan.steps if isinstance(s.run, CopyReplica | CreateInstance)]
    if not made:
        return result
    return result.model_copy(
        update={
            "copies": tuple(run.host for run in made),
            "networks": all_of(seen.log, NetworkProven),
            "server": ", ".join(run.host for run in made),
        }
    )
