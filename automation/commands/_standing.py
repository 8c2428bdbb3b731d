"""Where every service is primary now, and what is said of it: declarations, fences, suspicions, runs."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from automation.commands._kept import KeptSeen, list_kept
from automation.commands._names import NameServerSeen, look_at_names
from automation.commands._runs import RunRow, list_runs
from automation.commands._session import Session, actor
from automation.model.actions import BlockServer, ClearSuspicion, PowerOffServer
from automation.model.base import Model
from automation.model.catalog import (
    AwsPilotLight,
    Playbooks,
    PostgresqlStandby,
    Redeploy,
    RestoreFromBackup,
    Service,
    VmReplica,
    load_catalog,
)
from automation.model.errors import AdapterError, ConfigError, PreflightError
from automation.model.evidence import Declaration, Suspicion, SuspicionCleared
from automation.model.plan import Plan, Step

RECOVERIES = ("exercise", "failover", "planned-migration", "failback")
FENCED = "off and blocked"
NOT_LOOKED_AT = "not looked at"


class NodeSeen(Model):
    """One host of a service: what its provider and, for a database, what it says itself."""

    host: str
    site: str
    role: str
    fence: str = ""
    why: str = ""


class ServiceStanding(Model):
    """Where a service is now, and whether anybody may doubt it."""

    service: str
    primary: str
    nodes: tuple[NodeSeen, ...]
    suspicion: Suspicion | None


class LastRun(Model):
    """A drill or failover of the environment, and how it ended."""

    run_id: str
    name: str
    mode: str
    status: str
    verdict: str


class Standing(Model):
    """All services, what was declared, and the last drill and failover."""

    environment: str
    services: tuple[ServiceStanding, ...]
    names: tuple[NameServerSeen, ...]
    kept: tuple[KeptSeen, ...] = ()
    declarations: Mapping[str, Declaration]
    last: tuple[LastRun, ...]


def look_around(session: Session) -> Standing:
    """Look at every host of every service, side by side; changes nothing."""
    from automation.adapters.declaration import list_declarations, list_suspicions

    catalog = load_catalog(session.environment.folder / "services.yml")
    suspicions = list_suspicions(session.state)
    fences = _fences(session)
    with ThreadPoolExecutor(max_workers=16) as pool:
        rows = pool.map(
            lambda item: _standing(session, item[0], item[1], suspicions.get(item[0]), fences),
            catalog.services.items(),
        )
        services = tuple(rows)
    return Standing(
        environment=session.environment.name,
        services=services,
        names=look_at_names(session, catalog),
        kept=list_kept(session),
        declarations=list_declarations(session.state),
        last=tuple(_last_runs(session)),
    )


def clear(session: Session, service: str, reason: str) -> SuspicionCleared:
    """Look at both databases of a suspected service, and end the suspicion if one alone can be written.

    Raises:
        ConfigError: no such service, or no reason.
        PreflightError: nothing is suspected, a node cannot be looked at, or both can be written.
    """
    from automation.adapters.declaration import list_suspicions

    catalog = load_catalog(session.environment.folder / "services.yml")
    if service not in catalog.services or not reason.strip():
        what = "--reason is empty" if service in catalog.services else f"there is no service {service!r}"
        raise ConfigError(f"{what}; nothing was changed", hint=", ".join(catalog.services))
    suspicion = list_suspicions(session.state).get(service)
    if suspicion is None:
        raise PreflightError(f"no split brain of {service} is suspected; nothing was changed")
    known, seen_at = catalog.services[service], datetime.now(UTC)
    seen = _see_clear(session, service, known)
    action = ClearSuspicion(
        service=service,
        suspected_by=suspicion.run_id,
        since=suspicion.since,
        seen=seen,
        seen_at=seen_at,
        reason=reason,
        cleared_by=actor(),
    )
    step = Step(id="clear", service=service, run=action, why="a person has looked at both databases")
    plan = Plan(name="clear", environment=session.environment.name, mode="apply", steps=(step,))

    def look_again() -> None:
        if (now := _see_clear(session, service, known)) != seen:
            raise PreflightError(f"{'; '.join(now)}: not as it was a moment ago; {service} stays suspected")

    finished = session.run(plan, look=look_again)
    finished.raise_for_status()
    path = session.state / "suspicions" / "cleared" / f"{finished.folder.name}.json"
    return SuspicionCleared.model_validate_json(path.read_bytes())


def _see_clear(session: Session, name: str, service: Service) -> tuple[str, ...]:
    """Look at the databases of a service, and say what each is.

    Raises:
        PreflightError: not one alone can be written to.
    """
    standing = _standing(session, name, service, None, _fences(session))
    _refuse_unclear(standing, session.environment.name)
    return tuple(
        f"{node.host}: {node.role}{', ' if node.fence else ''}{node.fence}" for node in standing.nodes
    )


def _refuse_unclear(standing: ServiceStanding, env: str) -> None:
    """One node serves writes and no other can: everything else stays suspected.

    A node that says nothing counts as shut out by two means and no less; one that says it is a primary can
    be written to, whatever its fence is.
    """
    unseen = [node for node in standing.nodes if node.role == "no answer" and node.fence != FENCED]
    if unseen:
        raise PreflightError(
            f"{unseen[0].host} cannot be looked at ({unseen[0].why}); {standing.service} stays suspected",
            hint="somebody at its site must switch it off, or bring its management back",
        )
    writable = [node.host for node in standing.nodes if node.role == "primary"]
    if len(writable) != 1:
        found = " and ".join(writable) or "none"
        fence_it = f"./inv dr.fence --env {env} --service {standing.service} --site SITE"
        raise PreflightError(
            f"{found} can be written to, and it must be one alone; {standing.service} stays suspected",
            hint=f"fence the one that is wrong: {fence_it}",
        )


def fence(session: Session, service: str, site: str) -> NodeSeen:
    """Fence the host of a suspected service at one site by two means, if the other one serves.

    Raises:
        ConfigError: no such service or site.
        PreflightError: the service is not suspected, or its other database does not serve.
        StepFailed: a means failed; the service stays suspected.
    """
    from automation.adapters.declaration import list_suspicions

    catalog = load_catalog(session.environment.folder / "services.yml")
    known = catalog.services.get(service)
    if known is None or not known.hosts_at(site):
        raise ConfigError(f"service {service!r} has no host at {site!r}; nothing was changed")
    if service not in list_suspicions(session.state):
        raise PreflightError(f"no split brain of {service} is suspected; nothing was changed")
    standing = _standing(session, service, known, None, _fences(session))
    if not any(node.role == "primary" and node.site != site for node in standing.nodes):
        raise PreflightError(
            f"{service} is written to at no other site than {site}: fencing it there would stop it; "
            "nothing was changed"
        )
    host = known.hosts_at(site)[0]
    actions: tuple[PowerOffServer | BlockServer, ...] = (PowerOffServer(host=host), BlockServer(host=host))
    steps = tuple(
        Step(
            id=f"fence-{number}", service=service, run=action, why=f"{host} must take no write", timeout_s=20
        )
        for number, action in enumerate(actions, start=1)
    )
    plan = Plan(name="fence", environment=session.environment.name, mode="apply", steps=steps)
    session.run(plan).raise_for_status()
    return _node(session, known, site, host, _fences(session).get(host, ""))


# --- looking ---------------------------------------------------------------------------------------


def _standing(
    session: Session, name: str, service: Service, suspicion: Suspicion | None, fences: Mapping[str, str]
) -> ServiceStanding:
    nodes = tuple(
        _node(session, service, site, host, fences.get(host, "")) for site, host in _places(service)
    )
    serving = [node for node in nodes if node.role in ("primary", "runs")]
    looked = isinstance(service.strategy, PostgresqlStandby | RestoreFromBackup | Redeploy)
    primary = " and ".join(f"{node.site} ({node.host})" for node in serving) or (
        "nowhere" if looked else NOT_LOOKED_AT
    )
    return ServiceStanding(service=name, primary=primary, nodes=nodes, suspicion=suspicion)


def _places(service: Service) -> list[tuple[str, str]]:
    """Every site with a host that the service's strategy names there."""
    strategy = service.strategy
    if isinstance(strategy, PostgresqlStandby | RestoreFromBackup | Redeploy | VmReplica):
        return list(strategy.hosts.items())
    if isinstance(strategy, Playbooks | AwsPilotLight):
        return [(site, host) for site, hosts in strategy.hosts.items() for host in hosts]
    return []


def _node(session: Session, service: Service, site: str, host: str, fence: str) -> NodeSeen:
    from automation.adapters import postgresql, systemd

    strategy = service.strategy
    try:
        if isinstance(strategy, PostgresqlStandby | RestoreFromBackup):
            seen = postgresql.observe(host, strategy.cluster, session.remote(host))
            role = "standby" if seen.in_recovery else "primary"
        elif isinstance(strategy, Redeploy):
            role = "runs" if systemd.is_active(strategy.unit, session.remote(host)) else "does not run"
        else:
            role = NOT_LOOKED_AT
    except AdapterError as exc:
        return NodeSeen(host=host, site=site, role="no answer", fence=fence, why=str(exc))
    return NodeSeen(host=host, site=site, role=role, fence=fence)


def _fences(session: Session) -> dict[str, str]:
    """What the provider of each server says holds it off; a site whose management is silent says nothing."""
    from automation.adapters import nspawn

    if session.environment.lab is None:
        return {}
    shown = nspawn.describe(session.state, session.environment)
    dark = {name for name, site in shown.sites.items() if site.management == "down"}
    found = {}
    for name, server in shown.servers.items():
        means = (
            []
            if server.site in dark
            else [
                *(["off"] if server.power == "off" and not server.autostart else []),
                *(["blocked"] if server.network == "blocked" else []),
            ]
        )
        if means:
            found[name] = " and ".join(means)
    return found


# --- what was run ----------------------------------------------------------------------------------


def _last_runs(session: Session) -> list[LastRun]:
    """The newest drill and the newest failover."""
    rows = [row for row in list_runs(session.environment.name) if row.mode in RECOVERIES]
    newest = [
        next((row for row in rows if row.mode == mode and row.plan != "declare"), None) for mode in RECOVERIES
    ]
    return [_last(session.state, row) for row in newest if row is not None]


def _last(state: Path, row: RunRow) -> LastRun:
    path = state / "runs" / row.run_id / "report.json"
    # The one word of it that every version's report has.
    verdict = str(json.loads(path.read_bytes())["headline"]) if path.exists() else ""
    return LastRun(run_id=row.run_id, name=row.plan, mode=row.mode, status=row.status, verdict=verdict)
