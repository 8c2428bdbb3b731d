"""Preparing, running and judging a drill: shared by dr, demo and the campaign."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.commands._command import ROOT, print_json
from automation.commands._copy_baselines import walk_of
from automation.commands._foretold import foretell, keep
from automation.commands._observations import forget_positions, keep_position
from automation.commands._onlooker import Story
from automation.commands._replicas import look_at_clouds
from automation.commands._report import make_report, write_report
from automation.commands._restorable import find_restorables, role_secrets
from automation.commands._session import Session, actor
from automation.engine.finished import Finished
from automation.model.actions import AwaitReady, Declare, RestoreDisks, SaveDisks
from automation.model.catalog import Catalog, PostgresqlStandby, Service, load_catalog
from automation.model.errors import AdapterError, ConfigError, NotMet, PreflightError
from automation.model.evidence import Declaration
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan, Step
from automation.recovery.freezes import refuse_frozen
from automation.recovery.planner import City, affected_services, compile_drill
from automation.recovery.report import Report
from automation.recovery.report_subject import Subject, subject_of
from automation.recovery.spec import Drill, Failover, RecoveryPlan, load_drill, load_plan


class Prepared(NamedTuple):
    """A drill with its plan, made from what was observed a moment ago."""

    drill: Drill
    services: Mapping[str, Service]
    plan: Plan


def prepare_drill(session: Session, name: str) -> Prepared:
    """Load a drill, observe the databases it will recover, compile its plan; changes nothing.

    Raises:
        ConfigError: a file has faults.
        PreflightError: a database could not be observed, or is not what the plan needs; a freeze is in force.
    """
    drill = load_drill(ROOT, name)
    plan = plan_for(session, drill.plan)
    refuse_frozen(plan, "exercise", datetime.now(UTC))
    catalog = load_catalog(session.environment.folder / "services.yml")
    check_hosts(catalog, session)
    services = affected_services(drill, plan, catalog)
    refuse_suspected(session, services)
    city = City(
        session.environment,
        session.inventory,
        catalog,
        _observe(session, services),
        find_restorables(session, services),
        role_secrets(session),
        look_at_clouds(session, services),
        walk_s=walk_of(session),
    )
    return Prepared(drill, services, compile_drill(drill, plan, city, declared_by=actor()))


def plan_for(session: Session, name: str) -> RecoveryPlan:
    """Load a recovery plan that is written for this environment.

    Raises:
        ConfigError: its file has faults, or it is for another environment.
    """
    plan, here = load_plan(ROOT, name), session.environment.name
    if plan.environments and here not in plan.environments:
        raise ConfigError(
            f"plan {name} is written for {', '.join(plan.environments)}, not for {here}; nothing was touched",
            hint="--plan takes the name of a file of drtests/plans, or add this environment to it",
        )
    return plan


class PreparedFailover(NamedTuple):
    """A real failover with its plan."""

    drill: Failover
    services: Mapping[str, Service]
    plan: Plan


def check_hosts(catalog: Catalog, session: Session) -> None:
    """See that every host a catalog names is in the inventory.

    Raises:
        ConfigError: names the first that is not.
    """
    for site in catalog.sites.values():
        session.inventory.server(site.dns_server)
    for service in catalog.services.values():
        for host in (host for site in catalog.sites for host in service.hosts_at(site)):
            session.inventory.server(host)


def refuse_suspected(session: Session, services: Mapping[str, Service]) -> None:
    """See that nobody doubts how many primaries a service has.

    Raises:
        PreflightError: one is SPLIT_BRAIN_SUSPECTED.
    """
    from automation.adapters.declaration import list_suspicions

    for name, suspicion in list_suspicions(session.state).items():
        if name in services:
            raise PreflightError(
                f"{name} is SPLIT_BRAIN_SUSPECTED since {suspicion.since:%Y-%m-%d %H:%M} UTC "
                f"(run {suspicion.run_id}: {suspicion.reason}); nothing was changed",
                hint=f"./inv dr.clear --env {session.environment.name} --service {name} --reason '...'",
            )


def _observe(session: Session, services: Mapping[str, Service]) -> dict[str, PostgresqlCluster]:
    from automation.adapters import postgresql

    seen = {}
    for service in services.values():
        if isinstance(service.strategy, PostgresqlStandby):
            host = service.strategy.hosts[service.recovery]
            try:
                seen[host] = postgresql.observe(host, service.strategy.cluster, session.remote(host))
            except AdapterError as exc:
                hint = f"./inv lab.status --env {session.environment.name}"
                raise PreflightError(f"cannot observe {host}: {exc}; nothing was changed", hint=hint) from exc
            _keep_position(session, service, service.strategy)
    return seen


def _keep_position(session: Session, service: Service, strategy: PostgresqlStandby) -> None:
    """Note how far the primary has written; one that is silent is a matter of the drill's own steps."""
    from automation.adapters import postgresql

    host = strategy.hosts[service.primary]
    with suppress(AdapterError):
        keep_position(session.state, postgresql.observe_primary(host, strategy.cluster, session.remote(host)))


def run_drill(
    session: Session, name: str, *, json: bool = False, story: Callable[[Plan], Story] | None = None
) -> Report:
    """Run a drill, write its report beside its journal, print the result.

    Args:
        story: makes what is told, instead of a line a step, of the drill's plan.

    Raises:
        NotMet: an objective or a check was not met.
        StepFailed: the run stopped part-way; the report says how far it came.
    """
    prepared, finished = play_drill(session, name, story=story)
    return finish_drill(session, prepared, finished, json=json)


def play_drill(
    session: Session, name: str, *, story: Callable[[Plan], Story] | None = None
) -> tuple[Prepared, Finished]:
    """Run a drill to its end, whatever that is; nothing is judged yet."""
    prepared = prepare_drill(session, name)
    expected = foretell(session, prepared.drill, prepared.services, prepared.plan)
    told = story(prepared.plan) if story else None
    finished = session.run(prepared.plan, subject=keep(about(prepared), expected), story=told)
    return prepared, finished


def finish_drill(session: Session, prepared: Prepared, finished: Finished, *, json: bool = False) -> Report:
    """Write the report of a drill that has ended, print its result, raise its error.

    Raises:
        NotMet: an objective or a check was not met.
        StepFailed: the run stopped part-way, and that was not what the drill expects.
    """
    report = leave_report(session, prepared, finished.folder, json=json)
    if prepared.drill.expect == "recovered":
        finished.raise_for_status()
    if report.verdict != "met":
        raise NotMet(
            f"drill {prepared.drill.name}: {report.headline}",
            hint=f"the report is {finished.folder / 'report.html'}",
        )
    return report


def leave_report(
    session: Session, prepared: "Prepared | PreparedFailover", folder: Path, *, json: bool = False
) -> Report:
    """Fold a run into its report, leave it beside the journal, and print the result."""
    from automation.commands._render import print_result

    report = report_drill(session, prepared, folder)
    page = write_report(report, folder)
    if json:
        print_json(report)
    else:
        print_result(report)
    session.say(f"report: {page}")
    return report


def report_drill(session: Session, prepared: "Prepared | PreparedFailover", folder: Path) -> Report:
    """Fold a run's journal and artifacts into its report; a failover's own folder says what it was about."""
    subject = about(prepared) if isinstance(prepared, Prepared) else None
    return make_report(session, folder, subject=subject)


def about(prepared: "Prepared | PreparedFailover") -> Subject:
    """Say what a run is about: its services and targets, as they are now."""
    cadence = load_plan(ROOT, prepared.drill.plan).exercise
    return subject_of(prepared.drill, prepared.services, cadence)


def declare_site(session: Session, site: str, reason: str, *, exercise: bool) -> Declaration:
    """Record a declaration as a run of one step."""
    catalog = load_catalog(session.environment.folder / "services.yml")
    if site not in catalog.sites:
        raise ConfigError(f"there is no site {site!r}; nothing was recorded", hint=", ".join(catalog.sites))
    if not reason.strip():
        raise ConfigError("--reason is empty; nothing was recorded")
    action = Declare(sites=(site,), reason=reason, exercise=exercise, declared_by=actor())
    step = Step(id="declare", run=action, why="a failover begins with a person who says so")
    plan = Plan(
        name="declare",
        environment=session.environment.name,
        mode="exercise" if exercise else "failover",
        steps=(step,),
    )
    finished = session.run(plan)
    finished.raise_for_status()
    return Declaration.model_validate_json(
        (session.state / "declarations" / f"{finished.folder.name}.json").read_bytes()
    )


def save_disks(session: Session, name: str) -> None:
    """Keep a named copy of all disks of the lab, in good order."""
    _lab_step(session, SaveDisks(name=name), "to come back to this state in seconds")


def restore_disks(session: Session, name: str) -> None:
    """Put a named copy of all disks back; every fault and fence made since is gone with it."""
    _lab_step(session, RestoreDisks(name=name), "every drill begins from the same state")
    forget_positions(session.state)


def _lab_step(session: Session, action: SaveDisks | RestoreDisks, why: str) -> None:
    """Act on all disks of a lab, then wait until every host answers again."""
    session.environment.require_lab()
    first = Step(id="disks", run=action, why=why, timeout_s=300)
    ready = (
        Step(id=f"ready/{host}", run=AwaitReady(host=host), why="up is what answers", needs=("disks",))
        for host in session.inventory.standing
    )
    plan = Plan(name=action.do, environment=session.environment.name, mode="apply", steps=(first, *ready))
    session.run(plan, narrate=lambda event: None).raise_for_status()
