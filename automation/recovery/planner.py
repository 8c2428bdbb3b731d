"""Compile a drill: watch, wait for steady state, break, declare, recover, check, measure. Pure."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from automation.model.actions import (
    AwaitFailed,
    AwaitGood,
    AwaitReady,
    AwaitStreaming,
    CollectWitness,
    CutLink,
    DarkenSite,
    Declare,
    FailSite,
    PartitionSite,
    Probe,
    RunChecks,
    StartWitness,
    Wait,
)
from automation.model.catalog import (
    AwsPilotLight,
    Catalog,
    Manual,
    Playbooks,
    PostgresqlStandby,
    Redeploy,
    RestoreFromBackup,
    Service,
    Strategy,
    Vendor,
    VmReplica,
)
from automation.model.environment import Environment, Inventory
from automation.model.errors import ConfigError, PreflightError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Mode, Plan, Step
from automation.model.replicas import Cloud
from automation.model.restorable import Restorable
from automation.model.secrets import SecretRef
from automation.recovery.audits import ask_copies, ask_originals, hosts_recovered, hosts_replaced, with_copies
from automation.recovery.completing import Draft, complete
from automation.recovery.spec import DarkSite, Drill, DrillFault, Failover, LinkCut, PowerLoss, RecoveryPlan
from automation.recovery.strategies import (
    aws_pilot_light,
    manual,
    playbooks,
    postgresql_standby,
    redeploy,
    restore_from_backup,
    vendor,
    vm_replica,
)
from automation.recovery.strategies.scope import Accepted, Scope, cutover_ids, is_moved
from automation.recovery.writes import count_writes

STEADY_PROBES = 10


class City(NamedTuple):
    """All that is known of an environment when a plan is made."""

    environment: Environment
    inventory: Inventory
    catalog: Catalog
    clusters: Mapping[str, PostgresqlCluster]
    restorables: Mapping[str, Restorable] = MappingProxyType({})
    secrets: Mapping[str, SecretRef] = MappingProxyType({})
    cloud: Cloud = Cloud()
    walk_s: float = 0.0  # of baseline.yml; 0: there is none, and no host is asked how it is secured


def compile_drill(drill: Drill, plan: RecoveryPlan, city: City, *, declared_by: str) -> Plan:
    """Make the plan of a drill.

    Raises:
        ConfigError: the drill names a site or service that does not exist, or recovers nothing.
        PreflightError: what must be observed first was not, or the plan's limits forbid it.
    """
    city = _silenced(drill, city)
    services = affected_services(drill, plan, city.catalog)
    if not probe_ids(services):
        raise ConfigError(
            f"{drill.name}: no service has a probe, so no outage would be seen; nothing was done"
        )
    watch = _watch(city, services)
    steady = _steady_state(drill, city, services)
    asked = with_copies(services, city.inventory)
    originals = ask_originals(city.walk_s, hosts_replaced(asked, city.inventory))
    faults = _faults(drill, tuple(step.id for step in steady), tuple(step.id for step in originals))
    alarm = _alarm(drill, city, services, faults[-1].id, declared_by)
    recovery = recover(city, services, alarm[-1].id, mode="exercise")
    proof = _judge(drill, plan, city, services, recovery)
    copies = ask_copies(
        city.walk_s,
        hosts_recovered(asked, city.inventory),
        needs=("clients-good",),
        after=tuple(step.id for step in proof),
    )
    steps = (watch, *steady, *originals, *faults, *alarm, *recovery, *proof, *copies)
    draft = Draft(drill.name, city.environment.name, "exercise", steps, services, alarm[-1].id)
    return complete(draft, plan, city.catalog.services, city.inventory)


def _silenced(drill: Drill, city: City) -> City:
    """See which vCenters and regions the drill's own faults take: what stands there does not answer then."""
    lost = {fault.site for fault in drill.faults if isinstance(fault, PowerLoss | DarkSite)}
    known = city.environment.lab.simulators.values() if city.environment.lab else ()
    taken = [site for one in known for site in one.places if site in lost]
    silent = tuple(dict.fromkeys((*city.cloud.silent, *taken)))
    return city._replace(cloud=city.cloud.model_copy(update={"silent": silent}))


def affected_services(drill: Drill | Failover, plan: RecoveryPlan, catalog: Catalog) -> dict[str, Service]:
    """Give the plan's services whose primary site is lost, lowest tier first."""
    if drill.site not in catalog.sites:
        raise ConfigError(f"{drill.name}: there is no site {drill.site!r}; nothing was touched")
    if unknown := [
        name for name in (*plan.services.named, *drill.objectives) if name not in catalog.services
    ]:
        raise ConfigError(f"{drill.name}: there is no service {unknown[0]!r}; nothing was touched")
    chosen = {
        name: service
        for name, service in catalog.services.items()
        if service.primary == drill.site and plan.services.chooses(name, service)
    }
    if not chosen:
        raise ConfigError(f"{drill.name} recovers no service: none that it chooses is at {drill.site}")
    return dict(sorted(chosen.items(), key=lambda item: (item[1].tier, item[0])))


def rpo_s(drill: Drill | Failover, name: str, service: Service) -> float:
    """The RPO that counts: a drill's own, else the catalog's."""
    own = drill.objectives.get(name)
    return service.rpo_s if own is None or own.rpo_s is None else own.rpo_s


def rto_s(drill: Drill | Failover, name: str, service: Service) -> float:
    """The RTO that counts: a drill's own, else the catalog's."""
    own = drill.objectives.get(name)
    return service.rto_s if own is None or own.rto_s is None else own.rto_s


def list_probes(services: Mapping[str, Service]) -> tuple[Probe, ...]:
    """Give every probe of the services as the witness runs it."""
    return tuple(
        Probe(
            id=f"{name}/{probe_id}",
            kind=probe.kind,
            name=service.endpoints[probe.endpoint].name,
            port=service.endpoints[probe.endpoint].port,
            path=probe.path,
            expect_status=probe.expect_status,
        )
        for name, service in services.items()
        for probe_id, probe in service.probes.items()
    )


def probe_ids(services: Mapping[str, Service]) -> tuple[str, ...]:
    """Name every probe of the services."""
    return tuple(f"{name}/{probe}" for name, service in services.items() for probe in service.probes)


def recovery_site(services: Mapping[str, Service]) -> str:
    """The site where the services are recovered, of those first that steps of ours move."""
    return next(iter(moved(services).values())).recovery


def moved(services: Mapping[str, Service]) -> Mapping[str, Service]:
    """The services that steps of ours move; all of them where people and vendors recover everything."""
    own = {name: service for name, service in services.items() if is_moved(service)}
    return own or services


def seen_well(services: Mapping[str, Service]) -> Mapping[str, Service]:
    """The services that are waited for together; what people recover takes its own time.

    Where none of those has a probe, all are.
    """
    own = moved(services)
    return own if probe_ids(own) else services


def cutovers(services: Mapping[str, Service]) -> tuple[str, ...]:
    """Ids of the steps after which clients reach services at their recovery site."""
    return tuple(step for name, service in services.items() for step in cutover_ids(name, service))


def hosts_of_recovery(services: Mapping[str, Service]) -> set[str]:
    """Every host on which services that steps of ours move stand at their recovery site."""
    return {
        host
        for service in services.values()
        if is_moved(service)
        for host in service.hosts_at(service.recovery)
    }


def _watch(city: City, services: Mapping[str, Service]) -> Step:
    witness = city.environment.witness
    return Step(
        id="witness/start",
        run=StartWitness(
            host=witness.host,
            probes=list_probes(services),
            beat_s=witness.beat_s,
            timeout_s=witness.timeout_s,
        ),
        why="only a client's view from outside both sites measures an outage",
    )


def _steady_state(drill: Drill, city: City, services: Mapping[str, Service]) -> tuple[Step, ...]:
    probes = Step(
        id="steady/clients",
        run=AwaitGood(host=city.environment.witness.host, probes=probe_ids(services), count=STEADY_PROBES),
        why="an outage can be measured only from a service that is well",
        needs=("witness/start",),
        timeout_s=60,
    )
    standbys = (
        Step(
            id=f"steady/{name}",
            service=name,
            run=_streaming(drill, city, name, service, service.strategy),
            why="a standby that lags or is not there is no recovery site",
            needs=("witness/start",),
            timeout_s=60,
        )
        for name, service in services.items()
        if isinstance(service.strategy, PostgresqlStandby)
    )
    hosts = sorted(hosts_of_recovery(services) & city.inventory.standing.keys())
    replicas = (
        Step(
            id=f"steady/{name}",
            service=name,
            run=vm_replica.look_at(service, service.strategy),
            why="VMs whose files are not at the other site cannot be brought up there",
            needs=("witness/start",),
            timeout_s=60,
        )
        for name, service in services.items()
        if isinstance(service.strategy, VmReplica)
    )
    reached = (
        Step(
            id=f"steady/reach-{host}",
            run=AwaitReady(host=host),
            why="recovery begins on a connection that is open already",
            timeout_s=15,
        )
        for host in hosts
    )
    return (probes, *standbys, *replicas, *reached)


def _streaming(
    drill: Drill, city: City, name: str, service: Service, strategy: PostgresqlStandby
) -> AwaitStreaming:
    standby = strategy.hosts[service.recovery]
    if standby not in city.clusters:
        raise PreflightError(f"{standby} was not observed: {name} cannot be planned; nothing was changed")
    return AwaitStreaming(
        primary=strategy.hosts[service.primary],
        standby=standby,
        cluster=strategy.cluster,
        expect_system_identifier=city.clusters[standby].system_identifier,
        max_lag_bytes=strategy.max_lag_bytes,
        synchronous=rpo_s(drill, name, service) == 0,
    )


def _faults(drill: Drill, needs: tuple[str, ...], after: tuple[str, ...]) -> tuple[Step, ...]:
    """Give the drill's faults one after the other; none begins before the steps of `after` have ended."""
    steps: list[Step] = []
    for number, fault in enumerate(drill.faults, start=1):
        before = (steps[-1].id,) if steps else needs
        if fault.wait_s:
            wait = Wait(seconds=fault.wait_s)
            steps.append(
                Step(
                    id=f"fault/{number}-wait",
                    run=wait,
                    why="the drill's own timing",
                    needs=before,
                    after=() if steps else after,
                    timeout_s=fault.wait_s + 10,
                )
            )
            before = (steps[-1].id,)
        steps.append(
            Step(
                id=f"fault/{number}-{fault.fault}",
                run=_fault_action(fault),
                why=f"the drill: {drill.title}",
                needs=before,
                after=() if steps else after,
                timeout_s=20,
                on_failure="halt",
            )
        )
    return tuple(steps)


def _fault_action(fault: DrillFault) -> FailSite | PartitionSite | DarkenSite | CutLink:
    if isinstance(fault, LinkCut):
        return CutLink(sites=fault.between)
    if isinstance(fault, PowerLoss):
        return FailSite(site=fault.site)
    return DarkenSite(site=fault.site) if isinstance(fault, DarkSite) else PartitionSite(site=fault.site)


def _alarm(
    drill: Drill, city: City, services: Mapping[str, Service], fault: str, declared_by: str
) -> tuple[Step, Step]:
    detect = Step(
        id="detect",
        run=AwaitFailed(
            host=city.environment.witness.host, probes=probe_ids(services), count=drill.detect_after
        ),
        why="the alarm is what clients see, not what the drill did",
        needs=(fault,),
        timeout_s=120,
    )
    declare = Step(
        id="declare",
        run=Declare(sites=(drill.site,), reason=drill.title, exercise=True, declared_by=declared_by),
        why="a failover between sites is declared, never automatic",
        needs=("detect",),
    )
    return detect, declare


def recover(
    city: City,
    services: Mapping[str, Service],
    declared: str,
    accepted: Mapping[str, Accepted] | None = None,
    mode: Mode = "failover",
) -> tuple[Step, ...]:
    """Give the steps of every service's strategy; all of them wait for the step `declared`."""
    steps: list[Step] = []
    for name, service in services.items():
        ready = tuple(
            step
            for other in service.depends_on
            if other in services
            for step in cutover_ids(other, services[other])
        )
        scope = Scope(
            name,
            service,
            city.catalog,
            city.inventory,
            city.environment,
            city.clusters,
            declared,
            ready,
            (accepted or {}).get(name, Accepted()),
            mode,
            city.restorables,
            city.secrets,
            city.cloud,
        )
        steps += _compile(scope, service.strategy)
    return tuple(steps)


def _compile(scope: Scope, strategy: Strategy) -> tuple[Step, ...]:
    match strategy:
        case PostgresqlStandby():
            return postgresql_standby.compile_failover(scope, strategy)
        case RestoreFromBackup():
            return restore_from_backup.compile_failover(scope, strategy)
        case Redeploy():
            return redeploy.compile_failover(scope, strategy)
        case VmReplica():
            return vm_replica.compile_failover(scope, strategy)
        case AwsPilotLight():
            return aws_pilot_light.compile_failover(scope, strategy)
        case Playbooks():
            return playbooks.compile_failover(scope, strategy)
        case Manual():
            return manual.compile_failover(scope, strategy)
        case Vendor():
            return vendor.compile_failover(scope, strategy)


def _judge(
    drill: Drill, plan: RecoveryPlan, city: City, services: Mapping[str, Service], recovery: tuple[Step, ...]
) -> tuple[Step, ...]:
    witness, seen = city.environment.witness, seen_well(services)
    good = Step(
        id="clients-good",
        run=AwaitGood(host=witness.host, probes=probe_ids(seen), count=witness.sustained),
        why="recovered is what clients see, sustained",
        needs=cutovers(seen),
        timeout_s=max(rto_s(drill, name, service) for name, service in seen.items()) + 60,
    )
    checks = Step(
        id="checks",
        run=RunChecks(paths=plan.checks, services=tuple(seen), site=recovery_site(services)),
        why="good probes are not yet a right service",
        needs=("clients-good",),
        timeout_s=300,
    )
    collect = Step(
        id="witness/collect",
        run=CollectWitness(host=witness.host),
        why="the witness's record is the measurement",
        needs=("witness/start",),
        after=("checks", *(step.id for step in recovery)),
        timeout_s=120,
        cleanup=True,
    )
    counted = count_writes(services, inspect_old_primary=drill.inspect_old_primary)
    return (good, checks, collect, *counted)
