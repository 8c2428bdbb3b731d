"""Readiness of what a service comes back from: replicated VMs, a pilot light, backups and their proofs. Pure.

What a simulator shows or proved says so: it proves nothing of what is real.
"""

from collections.abc import Iterator
from datetime import datetime

from pydantic import AwareDatetime

from automation.model.actions import LookAtPilot
from automation.model.base import Model, format_duration
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.recovery_points import Level
from automation.model.replicas import PilotSeen, ReplicasSeen
from automation.model.servers import Source
from automation.recovery.readiness_findings import Finding, amiss, well


class Proven(Model):
    """How far the points are proven that a service would be brought back from, and how far they must be."""

    service: str
    resource: str
    store: str
    demanded: Level
    limit_s: float
    by_drill: bool = False
    at: AwareDatetime | None = None
    by: str = ""
    best: Level | None = None
    suspended: str = ""
    source: Source = "real"


def look_at_pilot(service: Service, strategy: AwsPilotLight) -> LookAtPilot:
    """Give the look at what of a service stands ready in its other region."""
    return LookAtPilot(
        site=service.recovery,
        images=strategy.images,
        database=strategy.database_at(service.primary),
        replica=strategy.database_at(service.recovery),
    )


def judge_replicas(name: str, strategy: VmReplica, seen: ReplicasSeen) -> Finding:
    """Judge how old replicated VMs are."""
    if seen.oldest is None:
        said = f"{seen.datastore} at {seen.site} shows no files of {', '.join(seen.missing)}"
        act = "see that the storage replicates, and that the vCenter of the recovery site answers"
        return amiss("replica", name, said, act)
    behind_s = max(0.0, (seen.seen_at - seen.oldest).total_seconds())
    told = " (simulated: nothing is proven of a real vCenter)" if seen.source == "simulated" else ""
    said = f"{format_duration(behind_s)} old; allowed: {format_duration(strategy.max_lag_s)}{told}"
    if behind_s > strategy.max_lag_s:
        return amiss(
            "replica", name, said, "let the storage catch up; until then a failover needs signatures"
        )
    return well("replica", name, said)


# --- pilot lights ----------------------------------------------------------------------------------


def judge_pilot(name: str, strategy: AwsPilotLight, seen: PilotSeen, *, env: str) -> Iterator[Finding]:
    """Judge whether there is something to launch, and what a loss would cost now."""
    told = " (simulated: nothing is proven of real AWS)" if seen.source == "simulated" else ""
    run = f"./inv backup.run --env {env} --resource {strategy.images}"
    if seen.image is None:
        said = f"{seen.site} has no whole image of {strategy.images} to launch from{told}"
        yield amiss("image", name, said, f"{run}, and see that it is copied to {seen.site}")
    else:
        age = format_duration(max(0.0, (seen.seen_at - seen.image.at).total_seconds()))
        yield well("image", name, f"{seen.image.name} ({seen.image.id}) at {seen.site}, {age} old{told}")
    if strategy.database or seen.image is not None:
        yield _judge_point(name, strategy, seen, told)


def _judge_point(name: str, strategy: AwsPilotLight, seen: PilotSeen, told: str) -> Finding:
    """What counts is what a failover takes: the replica, else the snapshot, without a database the image."""
    database = seen.replica or seen.snapshot
    if seen.standing:
        said = f"database {seen.standing} at {seen.site} is no replica, and has the name of one{told}"
        act = "see what it holds, and rename it at AWS: a failover restores over nothing, and is refused"
        return amiss("point", name, said, act)
    if strategy.database and database is None:
        said = f"{seen.site} has neither a replica nor a whole snapshot of its database{told}"
        return amiss("point", name, said, f"make the replica again, or copy a snapshot to {seen.site}")
    of = "the replica" if seen.replica else "the snapshot" if seen.snapshot else "the image"
    of = f"{of} {database.id}" if database else of
    if seen.point_at is None:
        said = f"nobody knows how far behind {of} is{told}"
        act = "see the ReplicaLag of it in CloudWatch; until then a failover needs signatures"
        return amiss("point", name, said, act)
    behind_s = max(0.0, (seen.seen_at - seen.point_at).total_seconds())
    allowed = format_duration(strategy.max_lag_s)
    said = f"a loss now would cost {format_duration(behind_s)}, by {of}; allowed: {allowed}{told}"
    if behind_s > strategy.max_lag_s:
        return amiss("point", name, said, "let it catch up; until then a failover needs signatures")
    return well("point", name, said)


# --- proofs ----------------------------------------------------------------------------------------


def judge_proof(proven: Proven, now: datetime, *, env: str) -> Finding:
    """Hold the last proof of what a service is brought back from to what its policy demands."""
    check, what = "proof", f"{proven.resource} in {proven.store}"
    told = " (simulated)" if proven.source == "simulated" else ""
    if proven.suspended:
        said = f"no proof of {what} is believed: {proven.suspended}"
        return amiss(check, proven.service, said, f"./inv backup.status --env {env} says what to clear")
    if proven.at is None:
        best = f"; its best is {proven.best.name}" if proven.best is not None else ""
        said = f"{what} was never proven at {proven.demanded.name}{best}"
        return amiss(check, proven.service, said, _prove(proven, env))
    age_s, allowed = max(0.0, (now - proven.at).total_seconds()), format_duration(proven.limit_s)
    level = proven.best if proven.best is not None else proven.demanded
    said = f"{what}: {level.name} {format_duration(age_s)} ago by {proven.by}{told}; allowed: {allowed}"
    if age_s > proven.limit_s:
        return amiss(check, proven.service, said, _prove(proven, env))
    return well(check, proven.service, said)


def _prove(proven: Proven, env: str) -> str:
    if proven.by_drill:
        return f"a test failover of {proven.service} proves it: ./inv dr.drill --env {env} --drill DRILL"
    where = f"--resource {proven.resource} --store {proven.store} --level {proven.demanded.name}"
    return f"./inv backup.verify --env {env} {where}"
