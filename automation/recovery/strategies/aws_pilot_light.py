"""Fence the old region, make its database anew in the other one, launch one instance, move names, scale out.

Invariant: neither the database nor an instance is brought up before the proof of the fence; names move when
one instance runs on the database, and the others are launched then.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from automation.model.actions import (
    CreateInstance,
    PromoteReplica,
    ReleaseInstance,
    RestoreDatabase,
    SwapRecord,
)
from automation.model.catalog import AwsPilotLight, Service
from automation.model.errors import PreflightError
from automation.model.plan import Step
from automation.model.replicas import DatabaseSeen, ImageSeen, PilotSeen
from automation.model.servers import ServerSpec
from automation.recovery.strategies import cloud_fencing
from automation.recovery.strategies.fencing import accept
from automation.recovery.strategies.scope import Scope

ASSUMED = "observed when the plan is made"
UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
LAUNCH_TIMEOUT_S = 900.0
DATABASE_TIMEOUT_S = 3600.0


def compile_failover(scope: Scope, strategy: AwsPilotLight) -> tuple[Step, ...]:
    """Give the steps that bring one service up in its other region.

    Raises:
        PreflightError: nobody looked at what stands ready there, there is no image or no copy of its
            database, an instance is not declared, or nothing fences the old region.
    """
    service = scope.service
    old = cloud_fencing.instances(
        scope, strategy.hosts[service.primary], strategy.database_at(service.primary)
    )
    fences = cloud_fencing.fence(scope, old)
    answers = (scope.names_answer(),) if strategy.city_dns else ()
    before = (*fences, *accept(scope), *answers)
    needs = tuple(step.id for step in before if step not in fences[:-1])
    database = tuple(bring_database(scope, strategy, needs))
    hosts = strategy.hosts[service.recovery][: strategy.scale]
    first = bring_up(scope, hosts[0], (*needs, *(step.id for step in database), *scope.ready))
    names = swap_names(scope, strategy, (first[-1].id,))
    return (*before, *database, *first, *names, *_scale(scope, strategy, hosts, names))


# --- the database ----------------------------------------------------------------------------------


def bring_database(scope: Scope, strategy: AwsPilotLight, needs: tuple[str, ...]) -> Iterator[Step]:
    """Promote the replica of the region, else restore its newest snapshot; nothing without a database.

    Raises:
        PreflightError: there is neither, or a database that is no replica has the name.
    """
    if not strategy.database:
        return
    seen, site = _pilot(scope), scope.service.recovery
    if seen.replica is not None:
        run: PromoteReplica | RestoreDatabase = PromoteReplica(
            site=site, database=seen.replica.id, expect_source=seen.replica.of
        )
        why = f"{seen.replica.id} becomes a database of its own (point of no return); {_told(seen.replica)}"
        yield _database(scope, "promote", run, why, needs)
        return
    _refuse_standing(scope, seen)
    point = _snapshot(scope, seen)
    name = strategy.database_at(site)
    assert point.at is not None
    network = network_of(scope, strategy.hosts[site][0])
    run = RestoreDatabase(site=site, database=name, snapshot=point.id, taken_at=point.at, network=network)
    yield _database(scope, "restore", run, f"{name} is made of snapshot {point.id}; {_told(point)}", needs)


def _database(
    scope: Scope, what: str, run: PromoteReplica | RestoreDatabase, why: str, needs: tuple[str, ...]
) -> Step:
    return Step(
        id=scope.step_id(what),
        service=scope.name,
        run=run,
        why=why,
        needs=needs,
        timeout_s=DATABASE_TIMEOUT_S,
        on_failure="halt",
    )


def network_of(scope: Scope, host: str) -> str:
    """Name the network in which a database of these instances is restored: their first one.

    Raises:
        PreflightError: the instance declares none.
    """
    networks = spec_of(scope, host).networks
    if networks:
        return networks[0]
    if scope.mode == "walkthrough":
        return "of-its-instances"
    raise PreflightError(
        f"{host} of {scope.name} declares no network, so its database has none; nothing was changed",
        hint=f"give {host} server_networks in the inventory",
    )


def _refuse_standing(scope: Scope, seen: PilotSeen) -> None:
    """See that no database has the name of what would be restored: it may hold what no other does."""
    if seen.standing:
        raise PreflightError(
            f"{scope.name}: database {seen.standing} at {seen.site} is no replica of the one that serves, "
            "and has the name under which a snapshot would be restored; nothing was changed",
            hint="see what it holds, and rename it at AWS: it is never overwritten; then "
            f"./inv dr.readiness --env {scope.environment.name} --site {scope.service.primary}",
        )


def _snapshot(scope: Scope, seen: PilotSeen) -> DatabaseSeen:
    if seen.snapshot is None or seen.snapshot.at is None:
        raise PreflightError(
            f"{scope.name}: {seen.site} has neither a replica nor a snapshot of its database; "
            "nothing was changed",
            hint=f"copy one there: ./inv backup.run --env {scope.environment.name}",
        )
    return seen.snapshot


def _told(point: DatabaseSeen) -> str:
    if point.at is None or point.at == UNKNOWN:
        return "how far it reaches is observed when the plan is made"
    return f"it holds all up to {point.at:%Y-%m-%d %H:%M:%S} UTC"


def _pilot(scope: Scope) -> PilotSeen:
    """What was seen to stand ready; in a walkthrough, a replica that nobody has seen.

    Raises:
        PreflightError: nobody looked.
    """
    seen = scope.cloud.pilots.get(scope.name)
    if seen is None:
        raise PreflightError(
            f"nobody looked at what stands ready of {scope.name} at {scope.service.recovery}: it cannot be "
            "planned; nothing was changed"
        )
    return seen


def assume_pilot(service: Service, strategy: AwsPilotLight) -> PilotSeen:
    """What a walkthrough reads aloud in the place of what nobody has looked at."""
    of = strategy.database_at(service.primary)
    made = strategy.database.get(service.recovery, "")
    return PilotSeen(
        site=service.recovery,
        image=ImageSeen(id=ASSUMED, name=strategy.images, at=UNKNOWN),
        replica=DatabaseSeen(id=made, of=of, at=None) if made else None,
        snapshot=DatabaseSeen(id=ASSUMED, of=of, at=UNKNOWN) if of else None,
        seen_at=UNKNOWN,
    )


# --- instances and names ---------------------------------------------------------------------------


def bring_up(scope: Scope, host: str, needs: tuple[str, ...]) -> tuple[Step, Step]:
    """Launch one declared instance, or start it: freed of the block that an unfinished move left on it."""
    free = Step(
        id=scope.step_id(f"release-{host}"),
        service=scope.name,
        run=ReleaseInstance(host=host, site=scope.service.recovery, absent_is_free=True),
        why=f"{host} may be cut off since its service left it; it is to serve again, on a database of now",
        needs=needs,
        timeout_s=120,
        on_failure="halt",
    )
    return free, launch(scope, host, (*needs, free.id))


def launch(scope: Scope, host: str, needs: tuple[str, ...]) -> Step:
    """Launch one declared instance from the image that was seen.

    Raises:
        PreflightError: there is no image, or the instance is not declared.
    """
    spec = spec_of(scope, host)
    return Step(
        id=scope.step_id(f"launch-{host}"),
        service=scope.name,
        run=CreateInstance(host=host, site=scope.service.recovery, spec=spec),
        why=f"{host} is launched from {_pilot_image(scope)}",
        needs=needs,
        timeout_s=LAUNCH_TIMEOUT_S,
        on_failure="halt",
    )


def spec_of(scope: Scope, host: str) -> ServerSpec:
    """Give an instance as it is declared, to be made of the image that was seen.

    Raises:
        PreflightError: there is no image, or the instance is not declared.
    """
    spec, image = scope.cloud.specs.get(host), _pilot(scope).image
    if spec is None and scope.mode == "walkthrough":
        spec = ServerSpec(name=host, provider="aws", site=scope.service.recovery)
    if spec is None:
        raise PreflightError(
            f"{host} of {scope.name} is not declared as a server of provider aws; nothing was changed",
            hint=f"give {host} server_provider: aws, server_size and server_networks in the inventory",
        )
    if image is None:
        raise PreflightError(
            f"{scope.name}: {scope.service.recovery} has no image to launch from; nothing was changed",
            hint=f"./inv backup.run --env {scope.environment.name} makes one and copies it there",
        )
    return spec.model_copy(update={"image": image.id})


def _pilot_image(scope: Scope) -> str:
    image = _pilot(scope).image
    if image is None or image.at == UNKNOWN:
        return f"the newest image that is good, {ASSUMED}"
    return f"{image.name} ({image.id}), made {image.at:%Y-%m-%d %H:%M} UTC"


def swap_names(scope: Scope, strategy: AwsPilotLight, needs: tuple[str, ...]) -> tuple[Step, ...]:
    """Move every name to the first instance: in the city's DNS, in Route 53, or in both."""
    service = scope.service
    own = scope.swaps(needs) if strategy.city_dns else ()
    if not strategy.zone:
        return own
    old = _addresses(scope, strategy.hosts[service.primary][: strategy.scale])
    new = _addresses(scope, strategy.hosts[service.recovery][:1])
    return (*own, *_records(scope, strategy, "route53", (old, new), needs))


def _records(
    scope: Scope,
    strategy: AwsPilotLight,
    what: str,
    change: tuple[tuple[str, ...], tuple[str, ...]],
    needs: tuple[str, ...],
) -> Iterator[Step]:
    old, new = change
    for endpoint_id, endpoint in scope.service.endpoints.items():
        run = SwapRecord(
            site=scope.service.recovery,
            zone=strategy.zone,
            name=endpoint.name,
            old=old,
            new=new,
            half=old[:1] if len(old) > 1 else (),
        )
        yield Step(
            id=scope.step_id(f"{what}-{endpoint_id}"),
            service=scope.name,
            run=run,
            why=f"clients find {scope.name} by {endpoint.name}; an address that is not the old one stops it",
            needs=needs,
            timeout_s=120,
        )


def _scale(
    scope: Scope, strategy: AwsPilotLight, hosts: Sequence[str], names: Sequence[Step]
) -> Iterator[Step]:
    """Launch the others once clients are served; their addresses join the first one's."""
    served = tuple(step.id for step in names)
    more = [bring_up(scope, host, served) for host in hosts[1:]]
    for steps in more:
        yield from steps
    if more and strategy.zone:
        yield from join_names(scope, strategy, hosts, tuple(launched.id for _, launched in more))


def join_names(
    scope: Scope, strategy: AwsPilotLight, hosts: Sequence[str], needs: tuple[str, ...]
) -> Iterator[Step]:
    """Let the names in Route 53 lead to all instances, once they led to the first one."""
    change = (_addresses(scope, hosts[:1]), _addresses(scope, hosts))
    yield from _records(scope, strategy, "scaled", change, needs)


def _addresses(scope: Scope, hosts: Sequence[str]) -> tuple[str, ...]:
    return tuple(scope.inventory.server(host).address for host in hosts)
