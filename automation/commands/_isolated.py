"""Preparing and running a test failover: what can be restored, the run, its cleanup whatever happens."""

import secrets
from datetime import UTC, datetime

from automation.backups.proof_steps import stanza
from automation.backups.resources import Postgresql
from automation.backups.spec import Backups, PgbackrestStore
from automation.commands._backups import load_area
from automation.commands._command import ROOT
from automation.commands._drill import Prepared, about, check_hosts, leave_report, plan_for
from automation.commands._ledger import read_ledger
from automation.commands._session import Session
from automation.engine.finished import Finished
from automation.model.catalog import PostgresqlStandby, RestoreFromBackup, Service
from automation.model.environment import SecretRef
from automation.model.errors import AdapterError, ConfigError, NotMet, PreflightError, StepFailed
from automation.model.recovery_points import Proof
from automation.model.restorable import Backup, Copy, Moments, Restorable
from automation.provisioning.planner import needed_secrets
from automation.recovery.freezes import refuse_frozen
from automation.recovery.isolated import compile_isolated, isolated_services
from automation.recovery.isolation import Given, Source
from automation.recovery.moments import tell
from automation.recovery.planner import City
from automation.recovery.report import Report
from automation.recovery.spec import load_drill

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
    assert drill.isolation is not None
    recovery = plan_for(session, drill.plan)
    refuse_frozen(recovery, "test-failover", datetime.now(UTC))
    backups, catalog = load_area(session)
    check_hosts(catalog, session)
    city = City(session.environment, session.inventory, catalog, {})
    services = isolated_services(drill, city)
    given = Given(
        sources={
            service: find_source(session, backups, service, one, drill.isolation.store)
            for service, one in services.items()
            if isinstance(one.strategy, PostgresqlStandby | RestoreFromBackup)
        },
        secrets={one: SecretRef(file=f"secrets/{one}") for one in needed_secrets(session.environment)},
        seed=secrets.randbits(SEED_BITS),
    )
    for service, source in given.sources.items():
        session.say(f"{service}: {tell(source.restorable)}")
    return Prepared(drill, services, compile_isolated(drill, recovery, city, given))


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


# --- what can be restored -------------------------------------------------------------------------


def find_source(session: Session, backups: Backups, name: str, service: Service, store: str) -> Source:
    """Look at the copy of a database that is restored from, and name every copy of it.

    Raises:
        ConfigError: it is not saved by pgBackRest, or not there.
        PreflightError: the copy cannot be looked at.
    """
    resource = _resource(backups, name, service)
    stores = [one for one in backups.resources[resource].to if _is_pgbackrest(backups, one)]
    if store not in stores:
        raise ConfigError(
            f"{resource} is not saved to {store}; nothing was touched", hint=f"one of: {', '.join(stores)}"
        )
    copies = tuple(_copy(backups, one) for one in stores)
    return Source(look_at_copy(session, backups, resource, store), copies)


def look_at_copy(session: Session, backups: Backups, resource: str, store: str) -> Restorable:
    """See which moments a copy reaches, and how well it is proven; changes nothing.

    Raises:
        PreflightError: its keeper does not answer, or the repository cannot be read.
    """
    from automation.adapters import pgbackrest

    copy = _copy(backups, store)
    remote, seen_at = session.remote(copy.keeper), datetime.now(UTC)
    try:
        points = pgbackrest.list_points(remote, copy.of, resource)
        window = pgbackrest.look_at_window(remote, copy.of)
    except AdapterError as exc:
        raise PreflightError(
            f"cannot look at {store} on {copy.keeper}: {exc}; nothing was changed", hint=exc.hint
        ) from exc
    best = _best_proof(session, backups, resource, store)
    return Restorable(
        resource=resource,
        kept=copy,
        site=backups.stores[store].site,
        backups=tuple(Backup(label=one.id, at=one.claimed_at) for one in points if one.status == "ok"),
        moments=tuple(Moments(first=one.first, last=one.last) for one in window.spans),
        seen_at=seen_at,
        level=best.level if best else None,
        proven_at=best.at if best else None,
        restore_s=best.seconds if best else None,
        size_bytes=best.size_bytes if best else 0,
    )


def _best_proof(session: Session, backups: Backups, resource: str, store: str) -> Proof | None:
    """The highest proof that counts today, of those the newest."""
    now = datetime.now(UTC)
    proofs = read_ledger(session.state).proofs(resource, store, backups.resources[resource])
    current = [one for one in proofs if one.is_current(now)]
    return max(current, key=lambda one: (one.level, one.at), default=None)


def _resource(backups: Backups, name: str, service: Service) -> str:
    if isinstance(service.strategy, RestoreFromBackup):
        return service.strategy.resource
    found = [
        resource
        for resource, one in backups.resources.items()
        if one.service == name and isinstance(one.source, Postgresql)
    ]
    if len(found) != 1:
        many = f"{len(found)} resources are of it" if found else "no resource of backups.yml is of it"
        raise ConfigError(f"{name} cannot be restored: {many}, kind postgresql; nothing was touched")
    return found[0]


def _copy(backups: Backups, store: str) -> Copy:
    kept = backups.stores[store]
    assert isinstance(kept, PgbackrestStore)
    return Copy(of=stanza(backups, store), keeper=kept.keeper.host)


def _is_pgbackrest(backups: Backups, store: str) -> bool:
    return isinstance(backups.stores[store], PgbackrestStore)
