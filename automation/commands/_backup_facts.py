"""Section `backups` of a host's facts: no host can tell it, so the control node adds it from its ledger.

It is added when facts are judged, as the ledger knew it when they were collected; so facts of last year are
judged by the backups of last year.
How far WAL reaches only its store knows, so a database is as old as its newest backup, full or differential.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from automation.backups.ledger import Ledger
from automation.backups.resources import EbsSnapshots, Files, MachineImage
from automation.backups.spec import Backups
from automation.commands._backups import FILE, database_hosts, load_area
from automation.commands._clouds import simulated_stores
from automation.commands._ledger import ledger_as_of
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.catalog import Catalog
from automation.model.errors import AutomationError
from automation.model.facts import Facts
from automation.model.recovery_points import Level

SECTION = "backups"
# From here on something was restored, and not only read.
RESTORED = Level.L3
_HOUR_S, _DAY_S = 3600, 86400


class Saved(Model):
    """One resource: the ages of its newest whole point and of its last restore; none: that never was."""

    name: str
    age_h: float | None
    restored_days: float | None


class OnHost(Model):
    """What of a host is declared to be saved, and how that stands."""

    expected: bool
    resources: tuple[Saved, ...]


class Declared(NamedTuple):
    """What is declared to be saved, and what was known of it at a time."""

    backups: Backups
    catalog: Catalog
    ledger: Ledger
    at: datetime


def add_backups(session: Session, collected: Sequence[Facts], at: datetime) -> tuple[Facts, ...]:
    """Give facts of one run with what was known of backups when it ended; of what is no host, as they are.

    Args:
        at: when the control node had them, for the ledger is kept by its clock; a host's own may be wrong.
    """
    if not any(facts.platform == "linux" for facts in collected):
        return tuple(collected)
    try:
        found: Declared | str = _declared(session, at)
    except AutomationError as exc:
        found = " ".join(str(exc).split())
    return tuple(_with(facts, found) for facts in collected)


def backups_of(host: str, declared: Declared) -> OnHost:
    """Say which resources lie on a host, and the ages of their newest whole point and restore. Pure."""
    names = [name for name in declared.backups.resources if host in _hosts(declared, name)]
    return OnHost(expected=bool(names), resources=tuple(_resource(declared, name) for name in names))


def _declared(session: Session, at: datetime) -> Declared | str:
    if not (session.environment.folder / FILE).is_file():
        return f"there is no {FILE}: nobody declared what is saved"
    backups, catalog = load_area(session)
    ledger = ledger_as_of(session.state, at, simulated_stores(session, backups))
    if ledger is None:
        return "the ledger of backups begins later than these facts"
    return Declared(backups, catalog, ledger, at)


def _with(facts: Facts, found: Declared | str) -> Facts:
    if facts.platform != "linux" or SECTION in facts.sections:
        return facts
    if isinstance(found, str):
        return facts.model_copy(update={"unknown": {**facts.unknown, SECTION: found}})
    unknown = {name: why for name, why in facts.unknown.items() if name != SECTION}
    sections = {**facts.sections, SECTION: backups_of(facts.subject, found).model_dump(mode="json")}
    return facts.model_copy(update={"sections": sections, "unknown": unknown})


def _hosts(declared: Declared, resource: str) -> tuple[str, ...]:
    """Name the hosts whose data it is; snapshots that only guard a change save nothing."""
    source = declared.backups.resources[resource].source
    match source:
        case Files(host=host):
            return (host,)
        case EbsSnapshots(servers=servers):
            return servers
        case MachineImage(server=server):
            return (server,)
    return database_hosts(declared.backups, declared.catalog, resource)


def _resource(declared: Declared, name: str) -> Saved:
    return Saved(
        name=name,
        age_h=_age(declared, max(_points(declared, name), default=None), _HOUR_S),
        restored_days=_age(declared, max(_restores(declared, name), default=None), _DAY_S),
    )


def _age(declared: Declared, moment: datetime | None, unit_s: int) -> float | None:
    return None if moment is None else round((declared.at - moment).total_seconds() / unit_s, 1)


def _points(declared: Declared, name: str) -> Iterator[datetime]:
    """Give the times of the points that are whole and still there, in whichever copy."""
    ledger = declared.ledger
    for store in declared.backups.resources[name].to:
        bad = ledger.found_bad(name, store)
        for point in ledger.known(name, store) - bad:
            origin = ledger.origin(name, store, point)
            if origin is not None and origin.status == "ok":
                yield origin.claimed_at


def _restores(declared: Declared, name: str) -> Iterator[datetime]:
    spec = declared.backups.resources[name]
    for store in spec.to:
        for proof in declared.ledger.proofs(name, store, spec):
            if proof.level >= RESTORED and not proof.suspended:
                yield proof.at
