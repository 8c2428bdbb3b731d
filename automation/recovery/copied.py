"""Compile a test failover of VMs or instances: copies in an isolated network, seen, and gone again. Pure.

Invariant: nothing is copied before the proof that its network leads nowhere; a replica is only read, that of
a database is not promoted; what is made is removed whatever becomes of the rest, by name and by its run's
mark, and what was listed before the first step is listed again after the last.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from automation.model.actions import (
    Action,
    CopyReplica,
    CreateInstance,
    ListRegion,
    ListVcenter,
    LookAtRecords,
    LookAtReplicas,
    PowerOnVm,
    ProvePortGroup,
    ProveSubnet,
    RemoveCopy,
    RemoveDatabase,
    RemoveInstance,
    RestoreDatabase,
)
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step
from automation.recovery.completing import Draft, complete
from automation.recovery.planner import City
from automation.recovery.proving_copies import Provable, prove_points
from automation.recovery.spec import Drill, RecoveryPlan
from automation.recovery.strategies import aws_pilot_light
from automation.recovery.strategies.scope import Scope
from automation.recovery.strategies.vm_replica import BOOT_TIMEOUT_S

SUFFIX = "-test"
Copied = VmReplica | AwsPilotLight


class Scene(NamedTuple):
    """A test failover of copies while it is compiled."""

    drill: Drill
    city: City
    services: dict[str, Service]
    listed: tuple[str, ...]


def compile_copied(
    drill: Drill, plan: RecoveryPlan, city: City, provable: Mapping[str, Provable] | None = None
) -> Plan:
    """Make the plan of a test failover of VMs or instances.

    Args:
        provable: by service, the resources of backups.yml whose points the test proves; none: of none.

    Raises:
        ConfigError: its file names what is not there, or what is recovered some other way.
        PreflightError: a network is not declared isolated, or nobody looked at what is copied.
    """
    services = copied_services(drill, city)
    before = tuple(_list_all(city, services, "before"))
    scene = Scene(drill, city, services, tuple(step.id for step in before))
    made: list[Step] = []
    removed: list[Step] = []
    for name, service in services.items():
        scope = _scope(scene, name)
        if isinstance(service.strategy, VmReplica):
            steps = tuple(_copy_vms(scope, service.strategy, scene.listed))
        else:
            assert isinstance(service.strategy, AwsPilotLight)
            copies = tuple(_copy_instances(scope, service.strategy, scene.listed))
            steps = (*copies, *prove_points(scope, copies, (provable or {}).get(name, Provable())))
        made += steps
        removed += _remove(steps)
    after = tuple(_again(before, _list_all(city, services, "after"), removed))
    steps = (*before, *made, *after, *removed)
    proofs = [step.id for step in made if isinstance(step.run, ProvePortGroup | ProveSubnet)]
    draft = Draft(drill.name, city.environment.name, "test-failover", steps, services, proofs[0])
    return complete(draft, plan, city.catalog.services, city.inventory)


def copied_services(drill: Drill, city: City) -> dict[str, Service]:
    """Give the services that a test failover copies, in its order.

    Raises:
        ConfigError: one is not there, is not of the lost site, or is recovered some other way.
    """
    assert drill.copies is not None
    found = {}
    for name in drill.copies.services:
        service = city.catalog.services.get(name)
        if service is None or service.primary != drill.site:
            where = (
                "there is no such service" if service is None else f"its primary site is {service.primary}"
            )
            raise ConfigError(f"{drill.name}: {name}: {where}; nothing was touched")
        if not isinstance(service.strategy, Copied):
            raise ConfigError(
                f"{drill.name}: {name} is recovered by {service.strategy.kind}: copies are of VMs and "
                "instances; nothing was touched",
                hint="databases and what runs on them are rebuilt by `isolation`",
            )
        found[name] = service
    return found


def _scope(scene: Scene, name: str) -> Scope:
    city = scene.city
    return Scope(
        name,
        scene.services[name],
        city.catalog,
        city.inventory,
        city.environment,
        city.clusters,
        scene.listed[0],
        (),
        mode="test-failover",
        secrets=city.secrets,
        cloud=city.cloud,
    )


# --- what is there before, and after ---------------------------------------------------------------


def _list_all(city: City, services: dict[str, Service], when: str) -> Iterator[Step]:
    why = (
        "a drill leaves everything as it was" if when == "before" else "what is not as it was, is a leftover"
    )
    for what, run in _looks(city, services):
        yield Step(id=f"{when}/{what}", run=run, why=why, timeout_s=120, on_failure="halt")


def _looks(city: City, services: dict[str, Service]) -> Iterator[tuple[str, Action]]:
    names = tuple(name for service in services.values() for name in service.city_names)
    servers = tuple(dict.fromkeys(site.dns_server for site in city.catalog.sites.values()))
    if names:
        yield "names", LookAtRecords(names=names, servers=servers, required=servers)
    seen = set()
    for service in services.values():
        for site in (service.primary, service.recovery):
            if site not in seen:
                seen.add(site)
                is_vm = isinstance(service.strategy, VmReplica)
                yield f"all-{site}", ListVcenter(site=site) if is_vm else ListRegion(site=site)


def _again(before: Sequence[Step], after: Iterator[Step], removed: Sequence[Step]) -> Iterator[Step]:
    """Looks stand first: what is cleaned up after an abort is done from the last step to the first."""
    for step, earlier in zip(after, before, strict=True):
        ends = tuple(one.id for one in removed)
        yield step.model_copy(
            update={"needs": (earlier.id,), "after": ends, "cleanup": True, "on_failure": "pause"}
        )


# --- copies of VMs ---------------------------------------------------------------------------------


def _copy_vms(scope: Scope, strategy: VmReplica, listed: tuple[str, ...]) -> Iterator[Step]:
    site = scope.service.recovery
    proof = _prove(scope, ProvePortGroup(site=site, name=strategy.test_network), listed)
    look = Step(
        id=scope.step_id("replica"),
        service=scope.name,
        run=LookAtReplicas(site=site, datastore=strategy.datastore, vms=strategy.all_vms),
        why="how old the replicas are is what a loss would cost now",
        needs=(proof.id,),
        timeout_s=60,
        on_failure="halt",
    )
    copies = tuple(_copy_vm(scope, strategy, vm, look.id) for vm in strategy.all_vms)
    yield from (proof, look, *copies)
    before = tuple(step.id for step in copies)
    for group in strategy.vms:
        started = tuple(_boot(scope, vm, before) for vm in group)
        before = tuple(step.id for step in started)
        yield from started


def _copy_vm(scope: Scope, strategy: VmReplica, vm: str, needs: str) -> Step:
    run = CopyReplica(
        host=vm + SUFFIX,
        of=vm,
        site=scope.service.recovery,
        datastore=strategy.datastore,
        network=strategy.test_network,
    )
    return Step(
        id=scope.step_id(f"copy-{vm}"),
        service=scope.name,
        run=run,
        why=f"a test writes on a copy: the replica of {vm} stays as it is, and goes on being one",
        needs=(needs,),
        timeout_s=3600,
        on_failure="halt",
    )


def _boot(scope: Scope, vm: str, needs: tuple[str, ...]) -> Step:
    return Step(
        id=scope.step_id(f"power-on-{vm}"),
        service=scope.name,
        run=PowerOnVm(host=vm + SUFFIX, site=scope.service.recovery),
        why="up is what says so by its tools and has its address",
        needs=needs,
        timeout_s=BOOT_TIMEOUT_S,
    )


# --- copies of instances ---------------------------------------------------------------------------


def _copy_instances(scope: Scope, strategy: AwsPilotLight, listed: tuple[str, ...]) -> Iterator[Step]:
    site, network = scope.service.recovery, strategy.test_network
    _refuse_open(scope, network)
    proof = _prove(scope, ProveSubnet(site=site, name=network), listed)
    yield proof
    needs: tuple[str, ...] = (proof.id,)
    if strategy.database:
        restore = _restore(scope, strategy, proof.id)
        yield restore
        needs = (*needs, restore.id)
    for host in strategy.hosts[site][: strategy.scale]:
        spec = aws_pilot_light.spec_of(scope, host).model_copy(
            update={"name": host + SUFFIX, "networks": (network,), "address": ""}
        )
        yield Step(
            id=scope.step_id(f"launch-{host}"),
            service=scope.name,
            run=CreateInstance(host=host + SUFFIX, site=site, spec=spec),
            why=f"{host} as it is declared, from the image that a failover would take",
            needs=needs,
            timeout_s=aws_pilot_light.LAUNCH_TIMEOUT_S,
        )


def _restore(scope: Scope, strategy: AwsPilotLight, needs: str) -> Step:
    """Restore a snapshot: to promote the replica would spend it."""
    seen = scope.cloud.pilots.get(scope.name)
    point = seen.snapshot if seen else None
    if point is None or point.at is None:
        raise PreflightError(
            f"{scope.name}: {scope.service.recovery} has no snapshot of its database to test with; "
            "nothing was changed",
            hint=f"copy one there: ./inv backup.run --env {scope.environment.name}",
        )
    name = strategy.database.get(scope.service.recovery) or strategy.database[scope.service.primary]
    run = RestoreDatabase(
        site=scope.service.recovery,
        database=name + SUFFIX,
        snapshot=point.id,
        taken_at=point.at,
        network=strategy.test_network,
    )
    return Step(
        id=scope.step_id("restore"),
        service=scope.name,
        run=run,
        why=f"a test restores {point.id}, and leaves the replica what it is",
        needs=(needs,),
        timeout_s=aws_pilot_light.DATABASE_TIMEOUT_S,
    )


def _refuse_open(scope: Scope, name: str) -> None:
    network = scope.cloud.networks.get(name)
    if network is None or not network.isolated:
        how = "is not declared" if network is None else "is not declared isolated"
        raise ConfigError(
            f"{scope.name}: network {name} {how}; nothing was touched",
            hint="networks.yml: isolated: true, in a VPC of its own",
        )


def _prove(scope: Scope, run: ProvePortGroup | ProveSubnet, listed: tuple[str, ...]) -> Step:
    return Step(
        id=scope.step_id("isolated"),
        service=scope.name,
        run=run,
        why="a copy of production must reach nothing of it",
        needs=listed,
        timeout_s=60,
        on_failure="halt",
    )


# --- gone again ------------------------------------------------------------------------------------


def _remove(made: Sequence[Step]) -> Iterator[Step]:
    """Remove what was made, whatever became of the rest; the machines before the database they run on."""
    ends = tuple(step.id for step in made)
    for step in made:
        run: Action
        if isinstance(step.run, CopyReplica):
            run, what = RemoveCopy(host=step.run.host, site=step.run.site), step.run.host
        elif isinstance(step.run, CreateInstance):
            run, what = RemoveInstance(host=step.run.host, site=step.run.site), step.run.host
        elif isinstance(step.run, RestoreDatabase):
            run, what = RemoveDatabase(site=step.run.site, database=step.run.database), step.run.database
        else:
            continue
        yield Step(
            id=f"{step.service}/remove-{what.lower().replace('_', '-')}",
            service=step.service,
            run=run,
            why="nothing of a drill stays: no machine, no disk, no copy of the city's data",
            after=ends,
            timeout_s=600,
            cleanup=True,
        )
