"""In which waves an enforcement changes subjects, and which services are looked at meanwhile."""

from collections.abc import Collection, Iterator, Mapping

from automation.baseline.enforcement import Enforced
from automation.baseline.planner import Beside, Watch
from automation.baseline.settings import Baseline
from automation.baseline.waves import MOST_APART, City, plan_waves, role_of, telling_groups
from automation.commands._session import Session
from automation.model.catalog import Catalog, find_catalog
from automation.recovery.planner import list_probes


def waves_of(
    session: Session, settings: Baseline, changing: Mapping[str, Enforced]
) -> tuple[tuple[str, ...], ...]:
    """Put hosts into waves; accounts and vCenters come after them, one at a time."""
    hosts = [name for name, one in changing.items() if one.platform == "linux"]
    others = sorted(name for name, one in changing.items() if one.platform != "linux")
    return (*plan_waves(hosts, city_of(session, settings)), *((name,) for name in others))


def city_of(session: Session, settings: Baseline) -> City:
    """Say which hosts stand in for each other: by the catalog, and where it says nothing by their groups."""
    servers, groups = session.inventory.servers, session.inventory.groups
    sites = {name: one.site for name, one in servers.items()}
    telling = telling_groups(groups, sites)
    roles = {name: role_of(one.groups, telling) for name, one in servers.items()}
    catalog = find_catalog(session.environment.folder)
    declared = tuple(_stand_ins(catalog))
    known = frozenset().union(*declared)
    shared = [
        frozenset(name for name in members if name not in known)
        for group, members in sorted(telling.items())
        if group not in settings.together
    ]
    services = catalog.services.values()
    return City(
        sites=sites,
        apart=(*declared, *(group for group in shared if 1 < len(group) <= MOST_APART)),
        rivals=frozenset(
            frozenset((one.primary, one.recovery)) for one in services if one.primary != one.recovery
        ),
        roles=roles,
        spare=frozenset(host for one in services for host in one.hosts_at(one.recovery)),
        large=tuple(group for group in shared if len(group) > MOST_APART),
    )


def _stand_ins(catalog: Catalog) -> Iterator[frozenset[str]]:
    for one in catalog.services.values():
        yield frozenset((*one.hosts_at(one.primary), *one.hosts_at(one.recovery)))
    yield frozenset(site.dns_server for site in catalog.sites.values())


def watch_of(session: Session, changing: Mapping[str, Beside]) -> Watch | None:
    """Give what tells whether services stay well: probes that write nothing, of those that could suffer."""
    catalog = find_catalog(session.environment.folder)
    servers = {host for name, there in changing.items() for host in (name, *there.servers)}
    services = {name: catalog.services[name] for name in affected(catalog, servers)}
    probes = tuple(one for one in list_probes(services) if one.kind != "http-write")
    witness = session.environment.witness
    if not probes:
        return None
    return Watch(witness.host, probes, witness.beat_s, witness.timeout_s, witness.sustained)


def affected(catalog: Catalog, servers: Collection[str]) -> tuple[str, ...]:
    """Name the services that stand on servers, or on a service that does; all, where names are told there."""
    if any(site.dns_server in servers for site in catalog.sites.values()):
        return tuple(catalog.services)
    found = {
        name
        for name, one in catalog.services.items()
        if set(servers) & {*one.hosts_at(one.primary), *one.hosts_at(one.recovery)}
    }
    while more := {name for name, one in catalog.services.items() if found & set(one.depends_on)} - found:
        found |= more
    return tuple(name for name in catalog.services if name in found)
