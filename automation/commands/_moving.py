"""Preparing and running planned moves: a migration, a failback, and the drills of both."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from automation.commands._command import ROOT, progress
from automation.commands._drill import check_hosts, plan_for, refuse_suspected
from automation.commands._moved import conclude_move
from automation.commands._replicas import look_at_pilots
from automation.commands._session import Session
from automation.commands._told_weaker import told_weaker
from automation.commands._whereabouts import locate, observe_pairs, waiting_databases
from automation.model.base import parse_duration_s
from automation.model.catalog import Catalog, Service, load_catalog
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Mode, Plan
from automation.recovery.failback import compile_failback
from automation.recovery.freezes import refuse_frozen
from automation.recovery.migration import compile_migration
from automation.recovery.planner import City
from automation.recovery.report_subject import Subject, Target
from automation.recovery.spec import Drill, Objective, RecoveryPlan, Switch, load_drill
from automation.recovery.turning import choose_at, concerned, databases, refuse_split

FENCED = ("off", False, "blocked")
PAUSE = "30 s"


class PreparedMove(NamedTuple):
    """A planned move with its plan, made from what was observed a moment ago; `services` are turned."""

    switch: Switch
    services: Mapping[str, Service]
    plan: Plan
    left: tuple[str, ...]


def ask_migration(site: str, plan: str, pause: str = PAUSE) -> Switch:
    """Give a migration as it is asked for on the command line."""
    return Switch(
        name=f"migrate-{site}",
        title=f"Planned migration away from {site}",
        plan=plan,
        site=site,
        pause_s=_pause_s(pause),
    )


def ask_failback(site: str, plan: str, pause: str = PAUSE, rebuild: str = "rewind") -> Switch:
    """Give a failback as it is asked for on the command line."""
    if rebuild not in ("rewind", "basebackup"):
        raise ConfigError(
            f"--rebuild {rebuild} is none; nothing was touched", hint="--rebuild rewind, or basebackup"
        )
    asked = ask_migration(site, plan, pause)
    title = f"Failback to {site}"
    return asked.model_copy(update={"name": f"failback-{site}", "title": title, "rebuild": rebuild})


def switch_of(drill: Drill) -> Switch:
    """Give the planned move that a drill exercises."""
    return Switch(
        name=drill.name,
        title=drill.title,
        plan=drill.plan,
        site=drill.site,
        pause_s=drill.pause_s,
        objectives=drill.objectives,
    )


def prepare_migration(session: Session, switch: Switch) -> PreparedMove:
    """See where everything runs, and compile the way to the other site; changes nothing.

    Raises:
        ConfigError: a file or a flag has faults.
        PreflightError: a site is not well, nothing runs there, or a freeze is in force.
    """
    recovery, catalog = _load(session, switch, "planned-migration")
    at = locate(session, concerned(switch.site, recovery, catalog))
    services, left = _choose(session, switch, recovery, catalog, at)
    clusters = observe_pairs(session, services)
    for name, (service, strategy) in databases(services).items():
        if not clusters[strategy.hosts[service.recovery]].in_recovery:
            raise PreflightError(
                f"{strategy.hosts[service.recovery]} of {name} is no standby; nothing was changed",
                hint=f"./inv dr.status --env {session.environment.name}",
            )
    cloud = look_at_pilots(session, services)
    city = City(session.environment, session.inventory, catalog, clusters, cloud=cloud)
    plan = compile_migration(switch, recovery, city, services, waiting_databases(session, services))
    return PreparedMove(switch, services, plan, left)


def prepare_failback(session: Session, switch: Switch) -> PreparedMove:
    """See what is fenced at home and what serves away, and compile the way home; changes nothing.

    Raises:
        ConfigError: a file or a flag has faults.
        PreflightError: nothing is to be brought home, home is not well, or a freeze is in force.
    """
    recovery, catalog = _load(session, switch, "failback")
    if switch.site not in catalog.sites:
        raise ConfigError(
            f"there is no site {switch.site!r}; nothing was touched", hint=", ".join(catalog.sites)
        )
    lost = catalog.sites[switch.site].dns_server
    at = locate(session, concerned(switch.site, recovery, catalog), but=(lost,))
    services = _away(session, switch, recovery, catalog, at)
    fenced = _fenced(session, switch.site)
    home = [strategy.hosts[service.recovery] for service, strategy in databases(services).values()]
    clusters = observe_pairs(session, services, but=[host for host in home if host in fenced])
    cloud = look_at_pilots(session, services)
    city = City(session.environment, session.inventory, catalog, clusters, cloud=cloud)
    return PreparedMove(switch, services, compile_failback(switch, recovery, city, services, fenced), ())


def moves(drill: str) -> bool:
    """Whether a drill is a planned move, which breaks nothing."""
    return load_drill(ROOT, drill).mode in ("planned-migration", "failback")


def prepare_drilled(session: Session, name: str) -> PreparedMove:
    """Prepare the planned move of a drill, whichever it is; changes nothing."""
    drill = load_drill(ROOT, name)
    prepare = prepare_failback if drill.mode == "failback" else prepare_migration
    return prepare(session, switch_of(drill))


def run_move(session: Session, prepared: PreparedMove, *, json: bool = False) -> int:
    """Run a planned move to its end, taken back if it fails before the promotion; give the exit code.

    Raises:
        StepFailed: it stopped; whether it was taken back is said.
        OutcomeUnknown: a promotion may or may not have happened.
        NotMet: moved, but checks, losses or the pause were not as announced.
    """
    if prepared.left:
        progress(f"not moved by steps, by people or a vendor: {', '.join(prepared.left)}")
    for line in told_weaker(session, prepared.services):
        progress(line)
    finished = session.run(prepared.plan, subject=subject_of_move(prepared, session))
    return conclude_move(session, finished, json=json)


def subject_of_move(prepared: PreparedMove, session: Session) -> Subject:
    """Say what a move is about: the announced pause is its RTO, and it may lose nothing."""
    switch = prepared.switch
    return Subject(
        name=switch.name,
        title=switch.title,
        recovery_plan=switch.plan,
        site=switch.site,
        services=prepared.services,
        targets={name: _target(switch, name) for name in prepared.services},
        cadence=plan_for(session, switch.plan).exercise,
    )


def _target(switch: Switch, name: str) -> Target:
    own = switch.objectives.get(name, Objective())
    return Target(rto_s=switch.pause_s if own.rto_s is None else own.rto_s, rpo_s=own.rpo_s or 0.0)


def _load(session: Session, switch: Switch, mode: Mode) -> tuple[RecoveryPlan, Catalog]:
    recovery = plan_for(session, switch.plan)
    refuse_frozen(recovery, mode, datetime.now(UTC))
    catalog = load_catalog(session.environment.folder / "services.yml")
    check_hosts(catalog, session)
    return recovery, catalog


def _choose(
    session: Session, switch: Switch, recovery: RecoveryPlan, catalog: Catalog, at: Mapping[str, str]
) -> tuple[dict[str, Service], tuple[str, ...]]:
    services, left = choose_at(switch.site, recovery, catalog, at)
    refuse_suspected(session, services)
    refuse_split(catalog.services, services, at)
    return services, left


def _away(
    session: Session, switch: Switch, recovery: RecoveryPlan, catalog: Catalog, at: Mapping[str, str]
) -> dict[str, Service]:
    """The services whose home is a site and that run at their other one.

    Raises:
        PreflightError: there is none, or they run at several sites.
    """
    others = {
        at[name]
        for name, service in catalog.services.items()
        if switch.site in (service.primary, service.recovery) and at.get(name, switch.site) != switch.site
    }
    if len(others) != 1:
        found = f"they run at {', '.join(sorted(others))}" if others else "none runs elsewhere"
        raise PreflightError(
            f"no services of one site come home to {switch.site}: {found}; nothing was changed"
        )
    services, _ = choose_at(others.pop(), recovery, catalog, at)
    home = {name: one for name, one in services.items() if one.recovery == switch.site}
    refuse_suspected(session, home)
    refuse_split(catalog.services, home, at)
    return home


def _fenced(session: Session, site: str) -> frozenset[str]:
    """Name the hosts of a site that are off, kept off and blocked, by its management.

    Outside of a lab there is none of ours: what stands at providers is looked at there.

    Raises:
        PreflightError: the site has no power, or its management does not answer.
    """
    from automation.adapters import nspawn

    if session.environment.lab is None:
        return frozenset()
    shown = nspawn.describe(session.state, session.environment)
    state = shown.sites.get(site)
    if state is None or state.power == "failed" or state.network == "down" or state.management == "down":
        env = session.environment.name
        raise PreflightError(
            f"site {site} is not well: power, network and management must be back; nothing was changed",
            hint=f"./inv lab.status --env {env}, then ./inv lab.heal --env {env} --site {site} --fault FAULT",
        )
    return frozenset(
        name
        for name, server in shown.servers.items()
        if server.site == site and (server.power, server.autostart, server.network) == FENCED
    )


def _pause_s(text: str) -> float:
    try:
        return float(str(parse_duration_s(text)))
    except ValueError as exc:
        raise ConfigError(f"--pause: {exc}; nothing was touched") from exc
