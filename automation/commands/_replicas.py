"""What stands ready of services in vCenters and regions: looked at before a plan is made; changes nothing."""

from collections.abc import Mapping
from datetime import UTC, datetime

from automation.commands._session import Session
from automation.model.actions import LookAtReplicas
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.errors import AdapterError, PreflightError
from automation.model.replicas import Cloud, PilotSeen, ReplicasSeen
from automation.provisioning.spec import load_networks
from automation.recovery.ages import tell

_STEP = "replicas"


def look_at_clouds(session: Session, services: Mapping[str, Service], *, primaries: bool = False) -> Cloud:
    """See what VMs, images and databases of services stand ready at their recovery sites.

    Of a pilot light it is seen, too, which of its instances are not at the primary site.

    Args:
        primaries: see whether the vCenter or region of each primary site answers, too: what does not
            fences nothing.

    Raises:
        PreflightError: one at a recovery site does not answer, or lacks a VM's files.
    """
    ours = {n: s for n, s in services.items() if isinstance(s.strategy, VmReplica | AwsPilotLight)}
    if not ours:
        return Cloud(specs=session.inventory.specs)
    replicas = {name: _replicas(session, name, service) for name, service in ours.items()}
    pilots = {name: _pilot(session, name, service) for name, service in ours.items()}
    silent, absent = _primaries(session, ours, every=primaries)
    cloud = Cloud(
        replicas={name: seen for name, seen in replicas.items() if seen is not None},
        pilots={name: seen for name, seen in pilots.items() if seen is not None},
        specs=session.inventory.specs,
        networks=load_networks(session.environment),
        silent=silent if primaries else (),
        absent=absent,
    )
    for name in ours:
        session.say(tell(cloud, name, datetime.now(UTC)))
    return cloud


def look_at_pilots(session: Session, services: Mapping[str, Service]) -> Cloud:
    """See what stands ready of pilot lights that are moved, and which instances are in both regions.

    Args:
        services: turned: each runs at its primary and moves to its recovery site.

    Raises:
        PreflightError: one of the regions does not answer.
    """
    ours = {n: s for n, s in services.items() if isinstance(s.strategy, AwsPilotLight)}
    cloud = look_at_clouds(session, ours)
    sites = dict.fromkeys(site for one in ours.values() for site in (one.primary, one.recovery))
    instances = {name: id_ for site in sites for name, id_ in _instances(session, site).items()}
    return cloud.model_copy(update={"instances": instances})


def _instances(session: Session, site: str) -> Mapping[str, str]:
    from automation.adapters import aws

    try:
        return aws.look_at_instances(session.environment, site, session.state)
    except AdapterError as exc:
        raise PreflightError(
            f"cannot see which instances are at {site}: {exc}; nothing was changed", hint=exc.hint
        ) from exc


def _replicas(session: Session, name: str, service: Service) -> ReplicasSeen | None:
    from automation.adapters import vsphere

    strategy = service.strategy
    if not isinstance(strategy, VmReplica):
        return None
    look = LookAtReplicas(site=service.recovery, datastore=strategy.datastore, vms=strategy.all_vms)
    try:
        seen = vsphere.look_at_replicas(look, session.context(_STEP)).evidence
    except AdapterError as exc:
        raise _not_ready(name, service, exc) from exc
    assert isinstance(seen, ReplicasSeen)
    return seen


def _pilot(session: Session, name: str, service: Service) -> PilotSeen | None:
    from automation.adapters import aws

    strategy = service.strategy
    if not isinstance(strategy, AwsPilotLight):
        return None
    databases = (strategy.database_at(service.primary), strategy.database_at(service.recovery))
    environment, state = session.environment, session.state
    try:
        return aws.look_at_pilot(environment, service.recovery, state, strategy.images, databases)
    except AdapterError as exc:
        raise _not_ready(name, service, exc) from exc


def _not_ready(name: str, service: Service, exc: AdapterError) -> PreflightError:
    return PreflightError(
        f"cannot see what stands ready of {name} at {service.recovery}: {exc}; nothing was changed",
        hint=exc.hint,
    )


def _primaries(
    session: Session, services: Mapping[str, Service], *, every: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the sites whose vCenter or region does not answer, and the instances that one which does lacks."""
    from automation.adapters import aws, vsphere

    silent, absent = dict[str, None](), dict[str, None]()
    for service in services.values():
        strategy, site = service.strategy, service.primary
        if not every and isinstance(strategy, VmReplica):
            continue
        looks = vsphere.look if isinstance(strategy, VmReplica) else aws.look
        try:
            seen = looks(session.environment, site, session.state, (), ())
        except AdapterError as exc:
            if every:
                session.say(f"{site} does not answer, so it fences nothing: {exc}")
            silent[site] = None
            continue
        if isinstance(strategy, AwsPilotLight):
            there = {one.name for one in seen.servers if one.owner == session.environment.name}
            absent |= dict.fromkeys(name for name in strategy.hosts[site] if name not in there)
    return tuple(silent), tuple(absent)
