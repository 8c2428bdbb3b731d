"""Looking at backups: what every store holds now, where primaries and devices are, what the ledger knows."""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.backups.copies import bucket_of, login_of
from automation.backups.ledger import Ledger
from automation.backups.places import repository
from automation.backups.proof_steps import stanza
from automation.backups.resources import DeviceConfig, Postgresql, PostgresqlDump
from automation.backups.sighting import ArchiverSeen, Observed, StoreSeen, entries, news, observe
from automation.backups.spec import Backups, load_backups
from automation.backups.stores import AwsStore, PgbackrestStore, ResticStore, VsphereStore
from automation.backups.taking import Places
from automation.commands._clouds import look_at_cloud, simulated_stores
from automation.commands._ledger import FOLDER, note, read_ledger
from automation.commands._session import Session, actor
from automation.model.catalog import Catalog, PostgresqlStandby, load_catalog
from automation.model.errors import AdapterError, ConfigError
from automation.model.recovery_points import RecoveryPoint

FILE = "backups.yml"
LOOKS = "looks.json"
AT_ONCE = 16
# Fuller than this, a store may not take the next backup.
FULL_PERCENT = 98


class Area(NamedTuple):
    """All that commands on backups work with, as it was at one time."""

    backups: Backups
    catalog: Catalog
    ledger: Ledger
    observed: Observed


def load_area(session: Session) -> tuple[Backups, Catalog]:
    """Read what an environment says of its backups and services.

    Raises:
        ConfigError: it says nothing of backups, or its files have faults.
    """
    path = session.environment.folder / FILE
    if not path.is_file():
        raise ConfigError(
            f"{session.environment.name} has no {FILE}; nothing was touched",
            hint=f"write {path}; inventories/example-city/{FILE} shows one",
        )
    return load_backups(path), load_catalog(session.environment.folder / "services.yml")


def look(session: Session, resources: Iterable[str] = ()) -> Area:
    """Look at the stores of some resources, or of all, side by side; the ledger learns what is new there.

    A store that cannot be looked at has a problem, and nothing is said of what it holds.

    Raises:
        ConfigError: the files have faults, or there is no such resource.
    """
    backups, catalog = load_area(session)
    wanted = choose(backups, resources)
    at = datetime.now(UTC)
    seen = _list_stores(session, backups, wanted)
    ledger = ledger_of(session, backups)
    found = tuple(news(ledger, seen, _read_looks(session.state), at))
    if found:
        name = f"look-{at:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        # Of now: what a person clears while a store is still being listed is not what that listing shows.
        note(session.state, entries(found, name, actor(), datetime.now(UTC)))
        ledger = ledger_of(session, backups)
    _keep_looks(session.state, [key for one in seen if not one.problem for key in one.looked_at], at)
    return Area(backups, catalog, ledger, observe(backups, ledger, seen, at))


def ledger_of(session: Session, backups: Backups, now: datetime | None = None) -> Ledger:
    """Read the ledger; what a simulator showed of a store that is real now does not count.

    Args:
        now: aware; none: the time of this machine.

    Raises:
        PreflightError: it cannot be read or written.
    """
    return read_ledger(session.state, now, simulated_stores(session, backups))


def choose(backups: Backups, resources: Iterable[str]) -> tuple[str, ...]:
    """Give the resources that are named, each once, or all.

    Raises:
        ConfigError: there is no such resource.
    """
    named = tuple(dict.fromkeys(filter(None, resources)))
    for name in named:
        if name not in backups.resources:
            known = ", ".join(backups.resources)
            raise ConfigError(
                f"there is no resource {name!r}; nothing was touched", hint=f"--resource {known}"
            )
    return named or tuple(backups.resources)


def rpo_of(backups: Backups, catalog: Catalog, resource: str) -> float:
    """Give what may be lost of a resource: its own RPO, else its service's.

    Raises:
        ConfigError: its service is not in the catalog.
    """
    spec = backups.resources[resource]
    if spec.rpo_s is not None:
        return spec.rpo_s
    service = catalog.services.get(spec.service or "")
    if service is None:
        raise ConfigError(
            f"{FILE}: {resource} belongs to {spec.service}, which is no service; nothing was touched",
            hint="name a service of services.yml, or give the resource an rpo of its own",
        )
    return service.rpo_s


def find_places(session: Session, area: Area, resources: Iterable[str]) -> Places:
    """Find the primary of each database now, and the devices of each resource, side by side."""
    named = tuple(resources)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(named, pool.map(lambda name: _place(session, area, name), named), strict=True))
    return Places(
        primaries={name: place for name, place in found.items() if isinstance(place, str)},
        devices={name: place for name, place in found.items() if isinstance(place, tuple)},
        unknown={name: str(place) for name, place in found.items() if isinstance(place, AdapterError)},
    )


def look_at_archiving(
    session: Session, backups: Backups, catalog: Catalog, resources: Iterable[str]
) -> dict[str, ArchiverSeen]:
    """Ask the primary of each database whose WAL is archived how that goes, side by side."""
    named = tuple(name for name in resources if backups.resources[name].take.wal)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda name: _archiver(session, backups, catalog, name), named)
        return dict(zip(named, found, strict=True))


def database_hosts(backups: Backups, catalog: Catalog, resource: str) -> tuple[str, ...]:
    """Give the hosts on which the primary of a database may be: those of its service, else its own."""
    spec = backups.resources[resource]
    source = spec.source
    if not isinstance(source, Postgresql | PostgresqlDump):
        return ()
    service = catalog.services.get(spec.service or "")
    strategy = service.strategy if service else None
    if isinstance(strategy, PostgresqlStandby) and source.host in strategy.hosts.values():
        return tuple(strategy.hosts.values())
    return (source.host,)


# --- looking ---------------------------------------------------------------------------------------


def _place(session: Session, area: Area, name: str) -> str | tuple[str, ...] | AdapterError | None:
    from automation.adapters.postgresql import find_primary

    source = area.backups.resources[name].source
    if isinstance(source, DeviceConfig):
        return source.names(session.inventory)
    if not isinstance(source, Postgresql | PostgresqlDump):
        return None
    try:
        return find_primary(database_hosts(area.backups, area.catalog, name), source.cluster, session.remote)
    except AdapterError as exc:
        return exc


def _archiver(session: Session, backups: Backups, catalog: Catalog, name: str) -> ArchiverSeen:
    from automation.adapters.postgresql import find_primary, observe_archiving

    source = backups.resources[name].source
    assert isinstance(source, Postgresql)
    try:
        host = find_primary(database_hosts(backups, catalog, name), source.cluster, session.remote)
        found = observe_archiving(host, source.cluster, session.remote(host))
    except AdapterError as exc:
        return ArchiverSeen(problem=" ".join(str(exc).split()))
    return ArchiverSeen(archiving=found)


def _list_stores(session: Session, backups: Backups, resources: Sequence[str]) -> tuple[StoreSeen, ...]:
    wanted = tuple(dict.fromkeys(store for name in resources for store in backups.resources[name].to))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return tuple(pool.map(lambda store: _list_store(session, backups, store), wanted))


def _list_store(session: Session, backups: Backups, store: str) -> StoreSeen:
    """List all of a store at its keeper; of one of pgBackRest the points of each resource in it."""
    known = backups.stores[store]
    if isinstance(known, AwsStore | VsphereStore):
        return look_at_cloud(session, backups, store)
    try:
        points = _restic_points(session, backups, store) if isinstance(known, ResticStore) else ()
        owners: tuple[str, ...] = ()
        if not isinstance(known, ResticStore):
            owners = tuple(name for name, one in backups.resources.items() if store in one.to)
            points = tuple(
                point for name in owners for point in _stanza_points(session, backups, store, name)
            )
    except AdapterError as exc:
        return StoreSeen(store=store, problem=str(exc))
    locks, why_not = _locks(session, backups, store)
    return StoreSeen(
        store=store,
        points=points,
        resources=owners,
        locked_until=locks,
        locks_problem=why_not,
        disk_full=_is_full(session, backups, store),
    )


def _restic_points(session: Session, backups: Backups, store: str) -> tuple[RecoveryPoint, ...]:
    from automation.adapters import restic

    known = backups.stores[store]
    assert isinstance(known, ResticStore)
    host = known.keeper.host
    return restic.list_points(session.remote(host), repository(backups, store, host))


def _stanza_points(
    session: Session, backups: Backups, store: str, resource: str
) -> tuple[RecoveryPoint, ...]:
    from automation.adapters import pgbackrest

    known = backups.stores[store]
    assert isinstance(known, PgbackrestStore)
    return pgbackrest.list_points(session.remote(known.keeper.host), stanza(backups, store), resource)


def _locks(session: Session, backups: Backups, store: str) -> tuple[Mapping[str, datetime], str]:
    """Read until when a store itself keeps each point; where it cannot be read, what is declared counts."""
    from automation.adapters.object_store import locks_of

    known = backups.stores[store]
    url = bucket_of(known)
    if known.lock is None or not url:
        return {}, ""
    try:
        return locks_of(url, login_of(known), session.context("look")).points, ""
    except AdapterError as exc:
        return {}, str(exc)


def _is_full(session: Session, backups: Backups, store: str) -> bool:
    """Whether the disk of a repository on its keeper has hardly any room; of others nobody knows."""
    known = backups.stores[store]
    if not isinstance(known, ResticStore):
        return False
    path = known.kept_at.partition(f"@{known.keeper.host}:")[2] or known.kept_at
    if not path.startswith("/"):
        return False
    with suppress(AdapterError, ValueError, IndexError):
        argv = ["df", "--output=pcent", path]
        done = session.remote(known.keeper.host).run(["sudo", "-n", *argv], timeout_s=15.0)
        return int(done.stdout.split()[-1].rstrip("%")) >= FULL_PERCENT
    return False


# --- when a store was looked at ---------------------------------------------------------------------


def _read_looks(state: Path) -> dict[str, datetime]:
    """Read when each store was looked at last; without it, as if nobody ever had."""
    try:
        found = json.loads((state / FOLDER / LOOKS).read_text())
        return {str(store): datetime.fromisoformat(at) for store, at in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _keep_looks(state: Path, stores: Iterable[str], at: datetime) -> None:
    looks = {store: when.isoformat() for store, when in _read_looks(state).items()}
    looks |= {store: at.isoformat() for store in stores}
    path = state / FOLDER / LOOKS
    with suppress(OSError):  # on a full disk the time of a new point is known less well
        draft = path.with_suffix(f".{secrets.token_hex(3)}")
        draft.write_text(json.dumps(looks))
        draft.replace(path)
