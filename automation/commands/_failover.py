"""Preparing and running a real failover: who declared it, what was seen, what must be signed."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.commands._command import progress
from automation.commands._copy_baselines import walk_in_a_failover
from automation.commands._drill import PreparedFailover, about, check_hosts, plan_for, refuse_suspected
from automation.commands._ending import conclude
from automation.commands._foretold import foretell, keep
from automation.commands._observations import last_position
from automation.commands._replicas import look_at_clouds
from automation.commands._restorable import find_restorables, role_secrets
from automation.commands._session import Session
from automation.commands._whereabouts import turn_those_at
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.model.base import format_duration
from automation.model.catalog import Catalog, PostgresqlStandby, Service, load_catalog
from automation.model.errors import AdapterError, AutomationError, ConfigError, PreflightError
from automation.model.evidence import DECLARATION_LIVES, Declaration
from automation.model.observations import PostgresqlCluster, StandbyPosition
from automation.model.restorable import Restorable
from automation.recovery.ages import Aged, too_old
from automation.recovery.failover import compile_failover
from automation.recovery.freezes import refuse_frozen
from automation.recovery.lag import Lag, format_limit, judge_lag
from automation.recovery.planner import City, affected_services
from automation.recovery.spec import Failover

# A declaration older than this was about another day.


class Asked(NamedTuple):
    """A failover as it was asked for on the command line."""

    plan: str
    site: str
    accept_unfenced: bool = False
    accept_lag: bool = False
    reason: str = ""


def prepare_failover(session: Session, asked: Asked) -> PreparedFailover:
    """Find the declaration, look at the standbys, compare with what was last seen; changes nothing.

    Raises:
        ConfigError: a file or a flag has faults.
        PreflightError: nothing is declared, a standby is not what it must be, or it lags too far; or the
            plan names a freeze that holds back even this.
    """
    if asked.accept_unfenced and not asked.reason.strip():
        raise ConfigError("--accept-unfenced needs --reason: it stands in every record; nothing was touched")
    recovery = plan_for(session, asked.plan)
    refuse_frozen(recovery, "failover", datetime.now(UTC))
    catalog = load_catalog(session.environment.folder / "services.yml")
    check_hosts(catalog, session)
    catalog = turn_those_at(session, catalog, asked.site)
    wanted = Failover(plan=asked.plan, site=asked.site, title="", declaration="none")
    services = affected_services(wanted, recovery, catalog)
    refuse_suspected(session, services)
    run_id, declaration = live_declaration(session, asked.site, datetime.now(UTC))
    standbys = _observe(session, services)
    lags = _lags(session, services, standbys)
    restorables = find_restorables(session, services)
    cloud = look_at_clouds(session, services, primaries=True)
    accepted = _accept_lag(session, asked, lags, services) | _accept_age(asked, restorables, services)
    accepted |= _accept_aged(asked, too_old(services, cloud, declaration.declared_at))
    failover = Failover(
        plan=asked.plan,
        site=asked.site,
        title=declaration.reason,
        declaration=run_id,
        accept_unfenced=asked.reason if asked.accept_unfenced else "",
        accept_lag=accepted,
    )
    city = _city(session, catalog, standbys)
    city = city._replace(restorables=restorables, secrets=role_secrets(session), cloud=cloud)
    plan = compile_failover(failover, recovery, city)
    for name, lag in lags.items():
        progress(f"{name}: lag of the standby: {lag.words}")
    return PreparedFailover(failover, services, plan)


def run_failover(session: Session, asked: Asked, *, json: bool = False) -> int:
    """Run a failover to its end, and say in words where it stands; give the exit code.

    Raises:
        PreflightError: refused, or approvals are missing: nothing was changed.
        StepFailed: it stopped; whether before or after a promotion is said.
        OutcomeUnknown: a promotion may or may not have happened.
        NotMet: recovered, and clients or checks say otherwise.
    """
    prepared = prepare_failover(session, asked)
    expected = foretell(session, prepared.drill, prepared.services, prepared.plan)
    finished = session.run(prepared.plan, subject=keep(about(prepared), expected))
    return conclude(session, finished, json=json)


# --- the declaration -----------------------------------------------------------------------------


def live_declaration(session: Session, site: str, now: datetime) -> tuple[str, Declaration]:
    """Give the newest declaration that a failover of a site may stand on, and the run that recorded it.

    Raises:
        PreflightError: there is none, it is too old, or a failover has used it up.
    """
    from automation.adapters.declaration import list_declarations

    env = session.environment.name
    hint = f"./inv dr.declare --env {env} --site {site} --reason '...'"
    known = list_declarations(session.state)
    live = [run for run, one in known.items() if site in one.sites and not one.exercise]
    if not live:
        raise PreflightError(f"nobody has declared {site} lost; nothing was changed", hint=hint)
    run = live[-1]
    if now - known[run].declared_at > DECLARATION_LIVES:
        at = f"{known[run].declared_at:%Y-%m-%d %H:%M} UTC"
        raise PreflightError(f"the loss of {site} was declared at {at}, too long ago", hint=hint)
    if used := _used_by(session.state, run):
        raise PreflightError(
            f"declaration {run} was carried out by run {used}; nothing was changed",
            hint=f"if {site} is lost again: {hint}",
        )
    return run, known[run]


def _used_by(state: Path, declaration: str) -> str | None:
    """Name the failover that carried a declaration out to its end."""
    for folder in sorted((state / "runs").glob("*/")):
        if _cites(folder / "plan.json", declaration) and _has_succeeded(folder / "journal.jsonl"):
            return folder.name
    return None


def _cites(plan: Path, declaration: str) -> bool:
    """Whether a plan, of whatever version, stands on a declaration."""
    if not plan.is_file() or declaration not in (text := plan.read_text()):
        return False
    runs = [step["run"] for step in json.loads(text)["steps"]]
    return any(run["do"] == "declaration.cite" and run["declaration"] == declaration for run in runs)


def _has_succeeded(journal: Path) -> bool:
    """A journal that was cut off or damaged tells of no end; the guards of each step still hold."""
    try:
        closed = fold(read_journal(journal)).closed
    except (AutomationError, OSError):
        return False
    return closed is not None and closed.status == "succeeded"


# --- what is looked at first ----------------------------------------------------------------------


def _observe(session: Session, services: Mapping[str, Service]) -> dict[str, StandbyPosition]:
    from automation.adapters import postgresql

    seen = {}
    for name, service in services.items():
        if isinstance(service.strategy, PostgresqlStandby):
            host = service.strategy.hosts[service.recovery]
            try:
                seen[name] = postgresql.observe_standby(host, service.strategy.cluster, session.remote(host))
            except AdapterError as exc:
                raise PreflightError(
                    f"cannot observe {host}, the standby of {name}: {exc}; nothing was changed",
                    hint=f"bring {host} back, or recover {name} from a backup",
                ) from exc
    return seen


def _lags(
    session: Session, services: Mapping[str, Service], standbys: Mapping[str, StandbyPosition]
) -> dict[str, Lag]:
    lags = {}
    for name, standby in standbys.items():
        service = services[name]
        strategy = service.strategy
        assert isinstance(strategy, PostgresqlStandby)
        primary = last_position(session.state, strategy.hosts[service.primary])
        lags[name] = judge_lag(primary, standby, rpo_s=service.rpo_s, max_lag_bytes=strategy.max_lag_bytes)
    return lags


def _accept_lag(
    session: Session, asked: Asked, lags: Mapping[str, Lag], services: Mapping[str, Service]
) -> dict[str, str]:
    """Refuse a standby that lacks more than the RPO allows, or nobody knows how much, unless it was asked
    to be accepted; one of another cluster is never accepted.
    """
    for name, lag in lags.items():
        if lag.verdict == "another-cluster":
            raise PreflightError(
                f"the standby of {name} is another cluster: {lag.reason}; nothing was changed",
                hint=f"recover {name} from a backup",
            )
    risky = {name: lag for name, lag in lags.items() if lag.verdict != "within"}
    if risky and not asked.accept_lag:
        name, lag = next(iter(risky.items()))
        strategy = services[name].strategy
        assert isinstance(strategy, PostgresqlStandby)
        allowed = format_limit(services[name].rpo_s, strategy.max_lag_bytes)
        how_far = lag.words if lag.verdict == "over" else f"behind by what is {lag.words}"
        raise PreflightError(
            f"the standby of {name} is {how_far}; allowed: {allowed}; nothing was changed",
            hint=f"to lose that much, two people must sign for it: ./inv dr.failover "
            f"--env {session.environment.name} --plan {asked.plan} --site {asked.site} --accept-lag",
        )
    return {name: lag.observed for name, lag in risky.items()}


def _accept_age(
    asked: Asked, restorables: Mapping[str, Restorable], services: Mapping[str, Service]
) -> dict[str, str]:
    """Refuse a copy that is further behind than the RPO allows, unless it was asked to be accepted."""
    accepted = {}
    for name, one in restorables.items():
        behind, store = one.behind_s, one.kept.of.store
        if behind is not None and behind <= services[name].rpo_s:
            continue
        words = (
            f"{store} ends {format_duration(behind)} before now" if behind is not None else "holds nothing"
        )
        if behind is None or not asked.accept_lag:
            allowed = format_duration(services[name].rpo_s)
            raise PreflightError(
                f"{name} would be restored from backup, and {words}; allowed: {allowed}; nothing was changed",
                hint="to lose that much, two people must sign for it: --accept-lag",
            )
        accepted[name] = words
    return accepted


def _accept_aged(asked: Asked, aged: Iterable[Aged]) -> dict[str, str]:
    """Refuse VMs or a database that are older than they may be, unless it was asked to be accepted."""
    accepted = {}
    for one in aged:
        if not asked.accept_lag:
            raise PreflightError(
                f"what stands ready of {one.service} is {one.observed}; allowed: {one.allowed}; "
                "nothing was changed",
                hint="to lose that much, two people must sign for it: --accept-lag",
            )
        accepted[one.service] = one.observed
    return accepted


def _city(session: Session, catalog: Catalog, standbys: Mapping[str, StandbyPosition]) -> City:
    clusters = {
        seen.host: PostgresqlCluster(
            host=seen.host,
            system_identifier=seen.system_identifier,
            timeline=seen.timeline,
            in_recovery=seen.in_recovery,
        )
        for seen in standbys.values()
    }
    walk_s = walk_in_a_failover(session)
    return City(session.environment, session.inventory, catalog, clusters, walk_s=walk_s)
