"""Looking at the providers of an environment: what is there, what is denied, what past runs left."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

from automation.backups.resources import VsphereSnapshots
from automation.backups.spec import Backups, load_backups
from automation.backups.stores import servers_of
from automation.commands._provider_runs import Past, read_past
from automation.commands._session import Session
from automation.model.errors import AdapterError
from automation.model.observations import ObservedLab
from automation.model.servers import NetworkSpec, ProviderView, ServerSpec
from automation.provisioning.compiling import simulator_of
from automation.provisioning.composing import Seen, declare, places_of, take_for_empty
from automation.provisioning.decisions import Declared
from automation.provisioning.spec import load_networks, require_servers

AT_ONCE = 8
BASELINE = "baseline.yml"


class Around(NamedTuple):
    """What an environment declares at its providers, what is there, and what past runs left."""

    declared: Declared
    seen: Seen
    past: Past


def look_around(session: Session, lab: ObservedLab | None) -> Around:
    """Look at every provider that the environment declares something of, side by side; changes nothing.

    Args:
        lab: the environment's lab as it is; none: it is no lab.

    Raises:
        ConfigError: networks.yml or the inventory's servers have faults.
    """
    environment = session.environment
    specs = {name: spec for name, spec in session.inventory.specs.items() if spec.provider != "nspawn"}
    networks = load_networks(environment) if specs or environment.providers else {}
    declared = declare(environment, session.inventory, networks)
    if not (specs or declared.networks or environment.lab):
        return Around(declared, Seen(), read_past(session.state))
    require_servers(environment, session.inventory.specs, networks)
    past = read_past(session.state)
    declared = replace(
        declared,
        retiring={name: leave.since for name, leave in past.leaves.items()},
        fenced=past.fenced,
        trusted=_trusted(session),
    )
    seen = _look(session, declared, lab) if specs or declared.networks else Seen()
    return Around(declared, seen, past)


def _look(session: Session, declared: Declared, lab: ObservedLab | None) -> Seen:
    lost = lost_sites(lab)
    unreached = {place: lost[place[1]] for place in places_of(declared) if place[1] in lost}
    places = [place for place in places_of(declared) if place not in unreached]
    asleep = {place for place in places if _sleeps(session, place, lab)}
    awake = [place for place in places if place not in asleep]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda place: _ask(session, declared, place), awake))
    now = datetime.now(UTC)
    views = [answer for answer in answers if isinstance(answer, ProviderView)]
    silent = {
        place: str(answer)
        for place, answer in zip(awake, answers, strict=True)
        if isinstance(answer, AdapterError)
    }
    unseen = {f"{kind} at {site}": why for (kind, site), why in (unreached | silent).items()}
    return Seen(
        views=(*views, *(take_for_empty(place, now) for place in sorted(asleep))),
        unseen=unseen,
        saved=saved_hosts(session),
        no_baseline="" if (session.environment.folder / BASELINE).is_file() else f"there is no {BASELINE}",
        keyless=_is_keyless(session),
        assumed=frozenset(asleep),
    )


def lost_sites(lab: ObservedLab | None) -> Mapping[str, str]:
    """Give the sites of a lab whose providers answer nobody before they are healed, and why."""
    if lab is None or not lab.running:
        return {}
    dark = {site: f"the management of site {site} is silent: lab.heal returns it" for site in lab.dark_sites}
    return dark | {site: f"site {site} has no power: lab.heal returns it" for site in lab.failed_sites}


def _sleeps(session: Session, place: tuple[str, str], lab: ObservedLab | None) -> bool:
    """Whether a provider is a simulator of the lab that does not run yet: the plan starts it."""
    if lab is None:
        return False
    name = simulator_of(session.environment, session.environment.provider(*place))
    return bool(name) and not (lab.running and name in lab.simulators)


def _ask(session: Session, declared: Declared, place: tuple[str, str]) -> ProviderView | AdapterError:
    kind, site = place
    specs = [one for one in declared.servers.values() if (one.provider, one.site) == place]
    networks = [one for one in declared.networks.values() if (one.provider, one.site) == place]
    try:
        return _LOOKS[kind](session, site, specs, networks)
    except AdapterError as exc:
        return exc


def _look_at_aws(
    session: Session, site: str, specs: Sequence[ServerSpec], networks: Sequence[NetworkSpec]
) -> ProviderView:
    from automation.adapters import aws

    return aws.look(session.environment, site, session.state, specs, networks)


def _look_at_vsphere(
    session: Session, site: str, specs: Sequence[ServerSpec], networks: Sequence[NetworkSpec]
) -> ProviderView:
    from automation.adapters import vsphere

    return vsphere.look(session.environment, site, session.state, specs, networks)


# A provider's library is loaded only where something of it is declared.
_LOOKS: Mapping[str, Callable[..., ProviderView]] = {"aws": _look_at_aws, "vsphere": _look_at_vsphere}


def _is_keyless(session: Session) -> bool:
    """Whether the automation user has no key yet; one that the city keeps itself is there, or an error."""
    environment = session.environment
    return environment.ssh.key_file is None and not environment.ssh_key(session.state).is_file()


def _trusted(session: Session) -> frozenset[str] | None:
    """Name the hosts whose key is pinned; None where the city keeps known_hosts itself."""
    environment = session.environment
    if environment.ssh.known_hosts is not None:
        return None
    path = environment.known_hosts(session.state)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return frozenset(name for line in lines if line.strip() for name in line.split()[0].split(","))


# --- what is saved ----------------------------------------------------------------------------------


def saved_hosts(session: Session) -> frozenset[str]:
    """Name the hosts of which backups.yml saves anything; a VM's rollback guards save nothing."""
    backups = _backups(session)
    if backups is None:
        return frozenset()
    return frozenset(
        host
        for name, one in backups.resources.items()
        if not isinstance(one.source, VsphereSnapshots)
        for host in hosts_of(session, backups, name)
    )


def resources_of(session: Session, host: str) -> tuple[str, ...]:
    """Name the resources of backups.yml that are about a host, rollback guards of a VM as well."""
    backups = _backups(session)
    if backups is None:
        return ()
    return tuple(name for name in backups.resources if host in hosts_of(session, backups, name))


def guards_of(session: Session, resources: Iterable[str]) -> tuple[str, ...]:
    """Name those of some resources that are a VM's rollback guards: they go with it, and are no backup."""
    backups = _backups(session)
    if backups is None:
        return ()
    return tuple(name for name in resources if isinstance(backups.resources[name].source, VsphereSnapshots))


def kept_on(session: Session, host: str) -> tuple[str, ...]:
    """Name the stores of backups.yml that a host keeps or looks after; scratch, where points are restored."""
    backups = _backups(session)
    if backups is None:
        return ()
    server = session.inventory.servers.get(host)
    names = {host, *((server.address,) if server else ())}
    stores = [name for name, store in backups.stores.items() if names & servers_of(store)]
    return (*stores, *(["scratch"] if host == backups.scratch else []))


def hosts_of(session: Session, backups: Backups, resource: str) -> Sequence[str]:
    """Name the hosts that a resource saves something of: its source's, in whatever words that has."""
    source = backups.resources[resource].source
    group = getattr(source, "group", "")
    named = (getattr(source, key, "") for key in ("host", "server", "vm"))
    lists = (getattr(source, key, ()) for key in ("servers", "devices"))
    members = session.inventory.groups.get(group, ()) if group else ()
    return [*filter(None, named), *(host for one in lists for host in one), *members]


def _backups(session: Session) -> Backups | None:
    path = session.environment.folder / "backups.yml"
    return load_backups(path) if path.is_file() else None
