"""Compile a test failover: services rebuilt from backup on an isolated server, checked, and gone again. Pure.

Invariant: nothing is brought onto the server, and nothing is restored, before the proof that it is isolated;
the server is removed whatever becomes of the rest, and what was listed before the first step is listed again
after the last. Nothing here names a production host but to look at it.
"""

from collections.abc import Iterator, Sequence

from automation.model.actions import (
    AwaitGood,
    CollectWitness,
    LookAtRestored,
    ProveService,
    RemoveServer,
    RestoreCluster,
    RunChecks,
    StartUnit,
    StartWitness,
)
from automation.model.catalog import Redeploy, Service
from automation.model.errors import ConfigError
from automation.model.plan import Plan, Step
from automation.recovery import moments
from automation.recovery.audits import ask_copies, ask_originals, hosts_replaced
from automation.recovery.completing import Draft, complete
from automation.recovery.isolation import (
    CREATE,
    LOOPBACK,
    PREPARE,
    PROOF,
    REMOVE,
    Database,
    Given,
    Scene,
    list_all,
    refuse_server,
    set_up,
)
from automation.recovery.planner import City, list_probes, probe_ids
from automation.recovery.spec import Drill, RecoveryPlan

WITNESS, GOOD, CHECKS, COLLECT = "witness/start", "clients-good", "checks", "witness/collect"


def compile_isolated(drill: Drill, plan: RecoveryPlan, city: City, given: Given) -> Plan:
    """Make the plan of a test failover.

    Args:
        given: its sources by service; the moment is drawn here, from its seed.

    Raises:
        ConfigError: its files name what is not there, or what cannot be rebuilt this way.
        PreflightError: nothing of ours isolates that server, nothing can be restored, or limits forbid it.
    """
    assert drill.isolation is not None
    services = isolated_services(drill, city)
    server = city.inventory.server(drill.isolation.host)
    scene = Scene(drill, drill.isolation, city, services, given, server)
    refuse_server(scene)
    before = tuple(list_all(scene, "before"))
    made = set_up(scene, tuple(step.id for step in before))
    rebuilt = tuple(_rebuild(scene))
    judged = _judge(scene, plan)
    originals = ask_originals(city.walk_s, hosts_replaced(services, city.inventory))
    proofs = tuple(step.id for step in judged if step.id != GOOD)
    copies = ask_copies(city.walk_s, (server.name,), needs=(GOOD,), after=proofs)
    ended = _end(scene, before, (*made, *rebuilt, *judged, *copies))
    steps = (*before, *originals, *made, *rebuilt, *judged, *copies, *ended)
    draft = Draft(drill.name, city.environment.name, "test-failover", steps, services, PROOF)
    return complete(draft, plan, city.catalog.services, city.inventory)


def isolated_services(drill: Drill, city: City) -> dict[str, Service]:
    """Give the services that a test failover rebuilds, in its order.

    Raises:
        ConfigError: one is not there, is not of the lost site, or is rebuilt some other way.
    """
    assert drill.isolation is not None
    found = {}
    for name in drill.isolation.services:
        service = city.catalog.services.get(name)
        if service is None or service.primary != drill.site:
            where = (
                "there is no such service" if service is None else f"its primary site is {service.primary}"
            )
            raise ConfigError(f"{drill.name}: {name}: {where}; nothing was touched")
        if not isinstance(service.strategy, Database | Redeploy):
            raise ConfigError(
                f"{drill.name}: {name} is recovered by {service.strategy.kind}: it cannot be rebuilt on an "
                "isolated server; nothing was touched"
            )
        found[name] = service
    if not probe_ids(found):
        raise ConfigError(f"{drill.name}: no service has a probe, so nobody would see it served")
    return found


# --- services on it ------------------------------------------------------------------------------


def _rebuild(scene: Scene) -> Iterator[Step]:
    host = scene.server.name
    ready: list[str] = []
    witness = scene.city.environment.witness
    yield Step(
        id=WITNESS,
        run=StartWitness(
            host=host,
            probes=list_probes(scene.services),
            beat_s=witness.beat_s,
            timeout_s=witness.timeout_s,
        ),
        why="served is what a client inside sees, by the names that clients use",
        needs=(PROOF,),
        timeout_s=30,
    )
    for name, service in scene.services.items():
        match service.strategy:
            case Redeploy():
                yield _start(scene, name, service.strategy, tuple(ready))
                ready.append(f"{name}/start")
            case _:
                yield from _restore(scene, name, service)
                ready.append(f"{name}/restored")


def _restore(scene: Scene, name: str, service: Service) -> Iterator[Step]:
    assert isinstance(service.strategy, Database)
    source = scene.given.sources[name].restorable
    random = scene.isolation.moment == "random"
    target = moments.draw_moment(source, scene.given.seed) if random else moments.newest_moment(source)
    cluster, host = _cluster(name, service.strategy), scene.server.name
    drawn = f"drawn with seed {scene.given.seed}" if random else "the newest that can be reached"
    yield Step(
        id=f"{name}/restore",
        service=name,
        run=RestoreCluster(
            host=host,
            resource=source.resource,
            of=source.kept.of,
            cluster=cluster,
            point=target.backup.label,
            until=target.until,
            port=next(iter(service.endpoints.values())).port,
            listen=LOOPBACK,
        ),
        why=f"{target}; {drawn}",
        needs=(PROOF, PREPARE),
        timeout_s=max(600.0, 3 * (source.restore_s or 0.0)),
    )
    yield Step(
        id=f"{name}/restored",
        service=name,
        run=LookAtRestored(host=host, cluster=cluster, until=target.until, behind_s=source.behind_s),
        why="a copy that archives, or feeds a standby, poisons what it was made from",
        needs=(f"{name}/restore",),
        timeout_s=30,
        on_failure="halt",
    )


def _cluster(name: str, strategy: Database) -> str:
    """The restored cluster beside none: of the same version, under a name that says what it is."""
    return f"{strategy.cluster.partition('/')[0]}/restored_{name.replace('-', '_')}"


def _start(scene: Scene, name: str, strategy: Redeploy, ready: Sequence[str]) -> Step:
    return Step(
        id=f"{name}/start",
        service=name,
        run=StartUnit(host=scene.server.name, unit=strategy.unit),
        why=f"{name} runs on the copy, its links out cut by {scene.isolation.prepare}",
        needs=(PREPARE, *ready),
        timeout_s=60,
    )


# --- judged, and gone ----------------------------------------------------------------------------


def _judge(scene: Scene, plan: RecoveryPlan) -> tuple[Step, ...]:
    witness, host = scene.city.environment.witness, scene.server.name
    served = tuple(_served(name, service) for name, service in scene.services.items())
    good = Step(
        id=GOOD,
        run=AwaitGood(host=host, probes=probe_ids(scene.services), count=witness.sustained),
        why="rebuilt is what a client inside sees, sustained",
        needs=(WITNESS, *served),
        timeout_s=120,
    )
    checks = Step(
        id=CHECKS,
        run=RunChecks(
            paths=scene.isolation.checks,
            services=tuple(scene.services),
            site=scene.server.site,
            host=host,
        ),
        why="good probes are not yet a right service",
        needs=(GOOD,),
        timeout_s=300,
    )
    return (good, checks, *_prove(scene))


def _served(name: str, service: Service) -> str:
    return f"{name}/start" if isinstance(service.strategy, Redeploy) else f"{name}/restored"


def _prove(scene: Scene) -> Iterator[Step]:
    for name, service in scene.services.items():
        if not isinstance(service.strategy, Database):
            continue
        source = scene.given.sources[name].restorable
        restore = next(step.run for step in _restore(scene, name, service))
        assert isinstance(restore, RestoreCluster)
        assert restore.point is not None
        yield Step(
            id=f"{name}/proven",
            service=name,
            run=ProveService(
                host=scene.server.name,
                resource=source.resource,
                store=source.kept.of.store,
                point=restore.point,
                cluster=restore.cluster,
                services=tuple(scene.services),
                until=restore.until,
                simulated=source.simulated,
            ),
            why="a service that was recovered from it is the best proof of a backup (L5)",
            needs=(CHECKS,),
            timeout_s=30,
        )


def _end(scene: Scene, before: Sequence[Step], done: Sequence[Step]) -> tuple[Step, ...]:
    """Remove the server and look again, whatever became of the rest.

    Looks stand first: what is cleaned up after an abort is done from the last step to the first.
    """
    host = scene.server.name
    again = tuple(
        step.model_copy(
            update={
                "needs": (earlier.id,),
                "after": (REMOVE,),
                "cleanup": True,
                "on_failure": "pause",
            }
        )
        for step, earlier in zip(list_all(scene, "after"), before, strict=True)
    )
    collect = Step(
        id=COLLECT,
        run=CollectWitness(host=host),
        why="the witness's record is the measurement, and goes with the server otherwise",
        needs=(WITNESS,),
        after=tuple(step.id for step in done if step.id != WITNESS),
        timeout_s=60,
        cleanup=True,
        on_failure="continue",  # no record is worth the server that it is on
    )
    remove = Step(
        id=REMOVE,
        run=RemoveServer(host=host),
        why="nothing of a drill stays: no server, no disk, no key, no copy of the city's data",
        after=(CREATE, COLLECT, *(step.id for step in done if step.id not in (CREATE, WITNESS))),
        timeout_s=60,
        cleanup=True,
    )
    return (*again, remove, collect)
