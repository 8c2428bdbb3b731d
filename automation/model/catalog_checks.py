"""What one file's model cannot see: whether sites, services and hosts hang together. Pure."""

from collections.abc import Iterator, Mapping
from datetime import date
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from automation.model.base import format_duration
from automation.model.environment import Inventory
from automation.model.refusals import Where, near
from automation.model.services import Service, ServiceProbe, Site
from automation.model.strategy import (
    AwsPilotLight,
    Playbooks,
    PostgresqlStandby,
    Redeploy,
    RestoreFromBackup,
    Vendor,
    VmReplica,
)

MOST_CYCLES = 20
Database = PostgresqlStandby | RestoreFromBackup
OnOneHost = Database | Redeploy | VmReplica
OnHosts = Playbooks | AwsPilotLight
Thing = tuple[str, str, str]  # kind; where; name


class Finding(NamedTuple):
    """One fault of a catalog: the path of its key, and what to do."""

    where: Where
    message: str


class Declared(NamedTuple):
    """All names that a catalog declares; those of faulty entries too, so that no fault makes others."""

    sites: tuple[str, ...]
    services: tuple[str, ...]


def check_catalog(services: Mapping[str, Service], declared: Declared) -> Iterator[Finding]:
    """Find what does not hang together among the services."""
    for name, service in services.items():
        for key, message in _check_service(service, services, declared):
            yield Finding(("services", name, *key), message)
    yield from _cycles(services)
    yield from _shared(services)


def check_hosts(
    sites: Mapping[str, Site], services: Mapping[str, Service], inventory: Inventory
) -> Iterator[Finding]:
    """Find hosts that the inventory does not have, or has at another site."""
    for name, site in sites.items():
        yield from _check_host(("sites", name, "dns_server"), site.dns_server, name, inventory)
    for name, service in services.items():
        for key, site_name, host in _named_hosts(service):
            yield from _check_host(("services", name, *key), host, site_name, inventory)


def check_acceptances(services: Mapping[str, Service], today: date) -> Iterator[Finding]:
    """Find accepted risks whose acceptance has ended."""
    for name, service in services.items():
        if isinstance(service.strategy, Vendor) and service.strategy.review_by < today:
            where = ("services", name, "strategy", "review_by")
            who = service.strategy.accepted_by
            yield Finding(where, f"the acceptance has ended; let {who} look at the risk and set a new day")


def _check_service(
    service: Service, services: Mapping[str, Service], declared: Declared
) -> Iterator[Finding]:
    yield from _check_sites(service, declared.sites)
    yield from _check_objectives(service)
    yield from _check_strategy(service)
    yield from _check_dependencies(service, services, declared.services)
    for name, probe in service.probes.items():
        for key, message in _check_probe(probe, service, services, declared.services):
            yield Finding(("probes", name, key), message)


def _check_sites(service: Service, sites: tuple[str, ...]) -> Iterator[Finding]:
    for key, site in (("primary", service.primary), ("recovery", service.recovery)):
        if site not in sites:
            yield Finding((key,), f"there is no site {site!r}; {near(site, sites)}")
    for site in service.stands_on:
        if site not in sites:
            yield Finding(("stands_on", site), f"there is no site {site!r}; {near(site, sites)}")
    if service.primary == service.recovery and not isinstance(service.strategy, Vendor):
        yield Finding(
            ("recovery",),
            "is the primary site: losing it loses both; name another, or use strategy vendor, "
            "which names the accepted risk",
        )


def _check_objectives(service: Service) -> Iterator[Finding]:
    if service.mtd_s is None:
        return
    mtd, rto = format_duration(service.mtd_s), format_duration(service.rto_s)
    if service.rto_s > service.mtd_s:
        yield Finding(("rto",), f"{rto} is over the MTD of {mtd}; shorten the RTO or agree on a longer MTD")
    elif service.rto_s + service.wrt_s > service.mtd_s:
        wrt = format_duration(service.wrt_s)
        yield Finding(
            ("wrt",), f"RTO {rto} and WRT {wrt} together are over the MTD of {mtd}; shorten one of them"
        )


def _check_strategy(service: Service) -> Iterator[Finding]:
    strategy = service.strategy
    if isinstance(strategy, OnOneHost | OnHosts):
        for site in dict.fromkeys((service.primary, service.recovery)):
            if site not in strategy.hosts:
                yield Finding(("strategy", "hosts"), f"names no host at site {site}; add one")
        for site in strategy.hosts:
            if site not in (service.primary, service.recovery):
                yield Finding(
                    ("strategy", "hosts", site), "is neither its primary nor its recovery site; delete it"
                )
    if isinstance(strategy, OnOneHost) and len(set(strategy.hosts.values())) < len(strategy.hosts):
        yield Finding(("strategy", "hosts"), "one host stands at two sites; name the host of each")
    if isinstance(strategy, OnOneHost | AwsPilotLight) and not service.endpoints:
        yield Finding(("endpoints",), "is missing; name what clients reach: a failover moves these names")
    if isinstance(strategy, VmReplica):
        yield from _check_replicated(strategy)
    if isinstance(strategy, AwsPilotLight):
        yield from _check_pilot(service, strategy)


def _check_replicated(strategy: VmReplica) -> Iterator[Finding]:
    seen: set[str] = set()
    for group, vms in enumerate(strategy.vms):
        for number, vm in enumerate(vms):
            if vm in seen:
                yield Finding(
                    ("strategy", "vms", group, number), f"{vm} stands in two boot groups; delete one"
                )
            seen.add(vm)
    for here, there in strategy.networks.items():
        if here != there and there in strategy.networks:
            yield Finding(
                ("strategy", "networks", here),
                f"leads to {there}, which leads on: a VM could not come home; name each network once",
            )
    if strategy.test_network in strategy.networks.values():
        yield Finding(
            ("strategy", "test_network"),
            f"{strategy.test_network} is a network of production too; name an isolated port group",
        )


def _check_pilot(service: Service, strategy: AwsPilotLight) -> Iterator[Finding]:
    for site, hosts in strategy.hosts.items():
        if len(set(hosts)) < len(hosts):
            yield Finding(("strategy", "hosts", site), "names an instance twice; delete one")
        if 0 < len(hosts) < strategy.scale:
            yield Finding(
                ("strategy", "scale"),
                f"is {strategy.scale}, and {site} has {len(hosts)} instances; name more, or scale less",
            )
        if not hosts:
            yield Finding(("strategy", "hosts", site), "names no instance; name one at least")
    if not strategy.zone and not strategy.city_dns:
        yield Finding(
            ("strategy", "city_dns"), "is false, and no zone is named: nothing would move its names"
        )
    for site in strategy.database:
        if site not in (service.primary, service.recovery):
            yield Finding(
                ("strategy", "database", site), "is neither its primary nor its recovery site; delete it"
            )
    if strategy.database and service.primary not in strategy.database:
        yield Finding(("strategy", "database"), f"names none at {service.primary}; name the one that serves")


def _check_dependencies(
    service: Service, services: Mapping[str, Service], declared: tuple[str, ...]
) -> Iterator[Finding]:
    for number, name in enumerate(service.depends_on):
        other = services.get(name)
        if other is None:
            if name not in declared:
                yield Finding(("depends_on", number), f"there is no service {name!r}; {near(name, declared)}")
        elif other.rto_s > service.rto_s:
            late, early = format_duration(other.rto_s), format_duration(service.rto_s)
            yield Finding(
                ("depends_on", number),
                f"{name} may take {late} (its RTO), this service has {early}; "
                f"shorten the RTO of {name} or lengthen this one",
            )


def _check_probe(
    probe: ServiceProbe, service: Service, services: Mapping[str, Service], declared: tuple[str, ...]
) -> Iterator[tuple[str, str]]:
    if probe.endpoint not in service.endpoints:
        known = near(probe.endpoint, tuple(service.endpoints))
        yield "endpoint", f"the service has no endpoint {probe.endpoint!r}; {known}"
    given = {"stored_in": probe.stored_in, "database": probe.database, "query": probe.query}
    for key, value in given.items():
        if probe.kind == "http-write" and value is None:
            yield key, "is missing; an http-write probe needs it, so that writes can be counted"
        if probe.kind != "http-write" and value is not None:
            yield key, f"is for http-write probes, not {probe.kind}; delete it"
    if probe.stored_in is None or probe.kind != "http-write":
        return
    if probe.stored_in not in declared:
        yield "stored_in", f"there is no service {probe.stored_in!r}; {near(probe.stored_in, declared)}"
    elif probe.stored_in in services:
        strategy = services[probe.stored_in].strategy
        if not isinstance(strategy, Database):
            yield "stored_in", f"is recovered by {strategy.kind}; writes are counted in databases"


def _cycles(services: Mapping[str, Service]) -> Iterator[Finding]:
    """Give every cycle of dependencies once, with its whole chain."""
    needs = {
        name: [other for other in service.depends_on if other in services]
        for name, service in services.items()
    }
    for _ in range(MOST_CYCLES):
        try:
            TopologicalSorter(needs).prepare()
            return
        except CycleError as exc:
            chain = exc.args[1][::-1]  # each one now needs the next; the first is the last too
        name, other = chain[0], chain[1]
        number = services[name].depends_on.index(other)
        yield Finding(
            ("services", name, "depends_on", number),
            f"services wait for each other: {' -> '.join(chain)}; take one of these dependencies out",
        )
        needs[name].remove(other)


def _shared(services: Mapping[str, Service]) -> Iterator[Finding]:
    """Find what two services would move or promote, each on its own."""
    names: dict[str, str] = {}
    owners: dict[Thing, str] = {}
    for name, service in services.items():
        for key, endpoint in service.endpoints.items():
            first = names.setdefault(endpoint.name, name)
            if first != name:
                yield Finding(
                    ("services", name, "endpoints", key, "name"),
                    f"{endpoint.name} is a name of {first} too; give each service its own",
                )
        told = dict[tuple[Where, str], str]()
        for where, thing, words in _owned(service):
            first = owners.setdefault(thing, name)
            if first != name:
                told.setdefault((where, words), first)
        for (where, words), first in told.items():
            yield Finding(("services", name, "strategy", *where), f"{first} {words}")


def _owned(service: Service) -> Iterator[tuple[Where, Thing, str]]:
    """What a service fences and moves as its own: its key, the thing, and what to say if another does."""
    strategy, sites = service.strategy, (service.primary, service.recovery)
    if isinstance(strategy, Database):
        for site, host in strategy.hosts.items():
            cluster = strategy.cluster
            words = f"promotes cluster {cluster} of {host} too; declare the database once and depend on it"
            yield ("hosts", site), ("cluster", host, cluster), words
    elif isinstance(strategy, VmReplica):
        for group, vms in enumerate(strategy.vms):
            for number, vm in enumerate(vms):
                words = f"moves VM {vm} too; declare it once and depend on that service"
                for site in sites:
                    yield ("vms", group, number), ("VM", site, vm), words
    elif isinstance(strategy, AwsPilotLight):
        yield from _owned_in_regions(strategy, sites)


def _owned_in_regions(strategy: AwsPilotLight, sites: tuple[str, str]) -> Iterator[tuple[Where, Thing, str]]:
    for site, hosts in strategy.hosts.items():
        for number, host in enumerate(hosts):
            words = f"stops and starts {host} too; give each service instances of its own"
            yield ("hosts", site, number), ("instance", site, host), words
    for site in sites if strategy.database else ():
        name = strategy.database_at(site)
        where = ("database", site) if site in strategy.database else ("database",)
        words = f"promotes database {name} of {site} too; declare it once and depend on that service"
        yield where, ("database", site, name), words


def _named_hosts(service: Service) -> Iterator[tuple[Where, str, str]]:
    """Every host that a service names: the key's path, the site, the host."""
    strategy = service.strategy
    if isinstance(strategy, OnOneHost):
        for site, host in strategy.hosts.items():
            yield ("strategy", "hosts", site), site, host
    elif isinstance(strategy, OnHosts):
        for site, hosts in strategy.hosts.items():
            for number, host in enumerate(hosts):
                yield ("strategy", "hosts", site, number), site, host
    for site, hosts in service.stands_on.items():
        for number, host in enumerate(hosts):
            yield ("stands_on", site, number), site, host


def _check_host(where: Where, host: str, site: str, inventory: Inventory) -> Iterator[Finding]:
    server = inventory.servers.get(host)
    if server is None:
        known = near(host, tuple(inventory.servers))
        yield Finding(where, f"host {host!r} is not in the inventory; {known}")
    elif not server.site:
        yield Finding(
            where,
            f"nobody says at which site host {host} stands; give its group a site in `site_of_group` of "
            f"environment.yml, or the host `server_site: {site}`",
        )
    elif server.site != site:
        yield Finding(where, f"host {host} stands at {server.site} in the inventory, not at {site}; mend one")
