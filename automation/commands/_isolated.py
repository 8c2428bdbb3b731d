"""Preparing and running a test failover: what can be restored, the run, its cleanup whatever happens."""

import secrets
from datetime import UTC, datetime

from automation.commands._backups import load_area
from automation.commands._command import ROOT
from automation.commands._copy_baselines import walk_of
from automation.commands._drill import Prepared, about, check_hosts, leave_report, plan_for
from automation.commands._provable import provable_of
from automation.commands._replicas import look_at_clouds
from automation.commands._restorable import find_source, role_secrets
from automation.commands._session import Session
from automation.engine.finished import Finished
from automation.model.catalog import PostgresqlStandby, RestoreFromBackup, load_catalog
from automation.model.errors import NotMet, StepFailed
from automation.recovery.copied import compile_copied, copied_services
from automation.recovery.freezes import refuse_frozen
from automation.recovery.isolated import compile_isolated, isolated_services
from automation.recovery.isolation import Given
from automation.recovery.moments import tell
from automation.recovery.planner import City
from automation.recovery.report import Report
from automation.recovery.spec import Drill, load_drill

SEED_BITS = 32


def is_isolated(drill: str) -> bool:
    """Whether a drill is a test failover: on a copy, in isolation."""
    return load_drill(ROOT, drill).mode == "test-failover"


def prepare_isolated(session: Session, name: str) -> Prepared:
    """Look at what can be restored, draw the moment, compile the drill; changes nothing.

    Raises:
        ConfigError: a file has faults.
        PreflightError: a copy cannot be looked at or holds nothing, or a freeze is in force.
    """
    drill = load_drill(ROOT, name)
    if drill.copies is not None:
        return _prepare_copied(session, drill)
    assert drill.isolation is not None
    recovery = plan_for(session, drill.plan)
    refuse_frozen(recovery, "test-failover", datetime.now(UTC))
    backups, catalog = load_area(session)
    check_hosts(catalog, session)
    city = City(session.environment, session.inventory, catalog, {}, walk_s=walk_of(session))
    services = isolated_services(drill, city)
    given = Given(
        sources={
            service: find_source(session, backups, service, one, drill.isolation.store)
            for service, one in services.items()
            if isinstance(one.strategy, PostgresqlStandby | RestoreFromBackup)
        },
        secrets=role_secrets(session),
        seed=secrets.randbits(SEED_BITS),
    )
    for service, source in given.sources.items():
        session.say(f"{service}: {tell(source.restorable)}")
    return Prepared(drill, services, compile_isolated(drill, recovery, city, given))


def _prepare_copied(session: Session, drill: Drill) -> Prepared:
    """Look at what would be copied, and compile the drill; changes nothing."""
    recovery = plan_for(session, drill.plan)
    refuse_frozen(recovery, "test-failover", datetime.now(UTC))
    catalog = load_catalog(session.environment.folder / "services.yml")
    check_hosts(catalog, session)
    city = City(session.environment, session.inventory, catalog, {})
    services = copied_services(drill, city)
    city = city._replace(secrets=role_secrets(session), cloud=look_at_clouds(session, services))
    provable = provable_of(session, services)
    return Prepared(drill, services, compile_copied(drill, recovery, city, provable))


def run_isolated(session: Session, name: str, *, json: bool = False) -> Report:
    """Run a test failover, remove what it made whatever happened, write its report.

    Raises:
        NotMet: an objective or a check was not met, or something was left behind.
        StepFailed: it stopped part-way; what it made is removed.
    """
    prepared = prepare_isolated(session, name)
    finished = session.run(prepared.plan, subject=about(prepared))
    return finish_isolated(session, prepared, finished, json=json)


def finish_isolated(
    session: Session, prepared: Prepared, finished: Finished, *, json: bool = False
) -> Report:
    """Clean up a test failover that did not come to its end, write its report, raise its error.

    One that a person stopped is left as it is: it goes on by `run.resume`, or ends by `run.abort`.

    Raises:
        NotMet: an objective or a check was not met, or something was left behind.
        StepFailed: it stopped part-way; what it made is removed.
    """
    stopped = finished.closed.status in ("paused", "halted") and not finished.closed.gates
    if stopped:
        session.say("the drill stopped: what it made is removed")
        session.abort(finished.folder.name, reason="a drill that stops cleans up after itself", undo=False)
    report = leave_report(session, prepared, finished.folder, json=json)
    if stopped:
        raise StepFailed(
            f"drill {prepared.drill.name}: {report.headline}",
            hint=f"mend that, then run it again; the report is {finished.folder / 'report.html'}",
        )
    finished.raise_for_status()
    if report.verdict != "met":
        raise NotMet(
            f"drill {prepared.drill.name}: {report.headline}",
            hint=f"the report is {finished.folder / 'report.html'}",
        )
    return report
