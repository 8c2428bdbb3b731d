"""What can be restored of a database now: which moments a copy reaches, and how well it is proven."""

from collections.abc import Mapping
from datetime import UTC, datetime

from automation.backups.proof_steps import stanza
from automation.backups.resources import Postgresql
from automation.backups.spec import Backups
from automation.backups.stores import PgbackrestStore
from automation.commands._backups import ledger_of, load_area
from automation.commands._clouds import simulated_stores
from automation.commands._session import Session
from automation.model.catalog import RestoreFromBackup, Service
from automation.model.errors import AdapterError, ConfigError, PreflightError
from automation.model.recovery_points import Proof
from automation.model.restorable import Backup, Copy, Moments, Restorable
from automation.model.secrets import SecretRef
from automation.provisioning.planner import needed_secrets
from automation.recovery.isolation import Source
from automation.recovery.moments import tell


def find_restorables(session: Session, services: Mapping[str, Service]) -> dict[str, Restorable]:
    """Look at the copy of every service that is restored from backup, and say what it holds.

    Raises:
        ConfigError: it is not saved by pgBackRest, or not there.
        PreflightError: a copy cannot be looked at.
    """
    found: dict[str, Restorable] = {}
    for name, service in services.items():
        if isinstance(service.strategy, RestoreFromBackup):
            backups, _ = load_area(session)
            source = find_source(session, backups, name, service, service.strategy.store)
            found[name] = source.restorable
            session.say(f"{name}: {tell(source.restorable)}")
    return found


def role_secrets(session: Session) -> dict[str, SecretRef]:
    """Name the secrets that roles are given."""
    return {name: SecretRef(file=f"secrets/{name}") for name in needed_secrets(session.environment)}


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
        simulated=store in simulated_stores(session, backups),
    )


def _best_proof(session: Session, backups: Backups, resource: str, store: str) -> Proof | None:
    """The highest proof that counts today, of those the newest."""
    now = datetime.now(UTC)
    proofs = ledger_of(session, backups).proofs(resource, store, backups.resources[resource])
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
