"""Where services run now: where their names lead, and what their databases say of themselves."""

from collections.abc import Collection, Mapping
from contextlib import suppress

from automation.commands._session import Session
from automation.model.catalog import AwsPilotLight, Catalog, Service
from automation.model.errors import AdapterError, PreflightError
from automation.model.observations import PostgresqlCluster
from automation.recovery.strategies.scope import is_moved
from automation.recovery.turning import databases, turn

Answers = dict[str, tuple[str, ...]]


def locate(session: Session, catalog: Catalog, *, but: Collection[str] = ()) -> dict[str, str]:
    """Give the site to which each service's names lead, by every DNS server but some.

    A service without a name, or one that people or a vendor move, is left out.

    Raises:
        PreflightError: a server does not answer, or they do not agree.
    """
    servers = [
        name for name in dict.fromkeys(s.dns_server for s in catalog.sites.values()) if name not in but
    ]
    told = {server: _ask(session, server, catalog) for server in servers}
    found = {}
    for name, service in catalog.services.items():
        for endpoint in service.endpoints.values() if is_moved(service) else ():
            if _is_in_zone_alone(service):
                found[name] = _ask_zone(session, name, service, endpoint.name)
                continue
            answers = {server: answer[endpoint.name] for server, answer in told.items()}
            found[name] = _agree(session, name, service, endpoint.name, answers)
    return found


def turn_those_at(session: Session, catalog: Catalog, site: str) -> Catalog:
    """Give the catalog as it is after planned moves to a site: services whose names lead there run there.

    Asked are the DNS servers of other sites, or their regions for names that Route 53 alone has, because this
    one may be lost; silence changes nothing.
    """
    moved = {name: one for name, one in catalog.services.items() if one.recovery == site and is_moved(one)}
    there = {name for name, one in moved.items() if _zone_leads_to(session, name, one, site)}
    for server in {s.dns_server for name, s in catalog.sites.items() if name != site} if moved else ():
        with suppress(PreflightError):
            told = _ask(session, server, catalog)
            there |= {name for name, one in moved.items() if _leads_to(session, one, site, told)}
    turned = {name: turn(one) if name in there else one for name, one in catalog.services.items()}
    return catalog.model_copy(update={"services": turned})


def _zone_leads_to(session: Session, name: str, service: Service, site: str) -> bool:
    """Whether Route 53 alone has its names, and all lead to a site; a zone that nobody can ask is told."""
    if not _is_in_zone_alone(service):
        return False
    names = [endpoint.name for endpoint in service.endpoints.values()]
    try:
        return bool(names) and all(_ask_zone(session, name, service, n, but=site) == site for n in names)
    except PreflightError as exc:
        session.say(f"{name} is taken to be at {service.primary}, its primary site: {exc}")
        return False


def _leads_to(session: Session, service: Service, site: str, told: Answers) -> bool:
    host = session.inventory.server(service.hosts_at(site)[0])
    names = service.city_names
    return bool(names) and all(told[name] == (host.address,) for name in names)


def _ask(session: Session, server: str, catalog: Catalog) -> Answers:
    from automation.adapters import dns
    from automation.model.actions import LookAtRecords
    from automation.model.evidence import RecordsSeen

    names = {name for one in catalog.services.values() for name in one.city_names}
    look = LookAtRecords(names=tuple(sorted(names)), servers=(server,), required=(server,))
    try:
        seen = dns.look_at_records(look, session.context("whereabouts")).evidence
    except AdapterError as exc:
        raise PreflightError(
            f"DNS server {server} does not answer: {exc}; nothing was changed",
            hint=f"bring it back; if its site was lost: ./inv dr.failback --env {session.environment.name} "
            f"--site {session.inventory.server(server).site}",
        ) from exc
    assert isinstance(seen, RecordsSeen)
    return {name: record.addresses for name, record in seen.answers[server].items()}


def _is_in_zone_alone(service: Service) -> bool:
    """Whether its names are in Route 53, and not in the city's own DNS."""
    return isinstance(service.strategy, AwsPilotLight) and not service.strategy.city_dns


def _ask_zone(session: Session, name: str, service: Service, endpoint: str, *, but: str = "") -> str:
    """Give the site to which a name leads in Route 53, which a region that answers is asked for.

    Args:
        but: site whose region may be lost, and is not asked.

    Raises:
        PreflightError: no region answers, or it leads to neither site's instances.
    """
    from automation.adapters import aws

    strategy, told = service.strategy, ""
    assert isinstance(strategy, AwsPilotLight)
    for asked in (site for site in (service.recovery, service.primary) if site != but):
        try:
            found = aws.look_at_record(session.environment, asked, session.state, strategy.zone, endpoint)
        except AdapterError as exc:
            told = str(exc)
            continue
        for site in (service.primary, service.recovery):
            hosts = strategy.hosts[site][: strategy.scale]
            addresses = [session.inventory.server(host).address for host in hosts]
            if found in (tuple(sorted(addresses)), (*addresses[:1],)):  # the first one serves alone at first
                return site
        told = f"{endpoint} leads to {', '.join(found) or 'nowhere'}"
        break
    raise PreflightError(
        f"{endpoint} of {name} leads to the instances of neither site: {told}; nothing was changed",
        hint="see where it should lead; the names of a half-done move are moved by resuming its run",
    )


def _agree(session: Session, name: str, service: Service, endpoint: str, answers: Answers) -> str:
    if len(set(answers.values())) != 1:
        shown = "; ".join(f"{server}: {', '.join(told) or 'none'}" for server, told in answers.items())
        raise PreflightError(
            f"the DNS servers do not agree where {endpoint} of {name} is ({shown}); nothing was changed",
            hint="the one that missed a failover is reconciled by lab.heal or dr.failback",
        )
    addresses = next(iter(answers.values()))
    for site in (service.primary, service.recovery):
        if addresses == tuple(session.inventory.server(host).address for host in service.hosts_at(site)[:1]):
            return site
    raise PreflightError(
        f"{endpoint} of {name} leads to {', '.join(addresses) or 'nowhere'}, which is neither of its hosts; "
        "nothing was changed"
    )


def observe_pairs(
    session: Session, services: Mapping[str, Service], *, but: Collection[str] = ()
) -> dict[str, PostgresqlCluster]:
    """Read who each database of these services is, by host; those of `but` cannot be asked.

    Raises:
        PreflightError: one does not answer.
    """
    from automation.adapters import postgresql

    seen = {}
    for name, (service, strategy) in databases(services).items():
        for site in (service.primary, service.recovery):
            host = strategy.hosts[site]
            if host in but:
                continue
            try:
                seen[host] = postgresql.observe(host, strategy.cluster, session.remote(host))
            except AdapterError as exc:
                raise PreflightError(
                    f"cannot observe {host} of {name}: {exc}; nothing was changed",
                    hint=f"./inv dr.status --env {session.environment.name}",
                ) from exc
    return seen


def waiting_databases(session: Session, services: Mapping[str, Service]) -> frozenset[str]:
    """Name the databases whose commits wait for their standby."""
    from automation.adapters import postgresql

    return frozenset(
        name
        for name, (service, strategy) in databases(services).items()
        if postgresql.is_synchronous(
            strategy.hosts[service.primary],
            strategy.cluster,
            session.remote(strategy.hosts[service.primary]),
        )
    )
