"""What a look at the stores shows: every resource's points there, what is new, and what is gone. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from automation.backups.entries import Entry, Noted, PointsMissed, PointsSeen
from automation.backups.ledger import Ledger, Taken, dress
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore
from automation.model.base import Model
from automation.model.observations import Archiving
from automation.model.recovery_points import RecoveryPoint

Place = tuple[str, str]


class StoreSeen(Model):
    """What one store listed; with a problem nothing is known of it, and it is never taken for empty."""

    store: str
    points: tuple[RecoveryPoint, ...] = ()
    problem: str = ""
    resources: tuple[str, ...] = ()  # whose points were asked for; none: of all
    locked_until: Mapping[str, datetime] = {}
    locks_problem: str = ""
    disk_full: bool = False
    alarms: tuple[str, ...] = ()  # what is wrong there beside points: a chain of snapshots that is too long

    @property
    def looked_at(self) -> tuple[str, ...]:
        """What the time of this look is kept under, until the next one."""
        return tuple(f"{self.store}/{name}" for name in self.resources) or (self.store,)

    def tells_of(self, resource: str) -> bool:
        """Whether it says what there is of a resource."""
        return not self.problem and (not self.resources or resource in self.resources)


class ArchiverSeen(Model):
    """What the primary of a database says of its archiving; with a problem nothing is known of it."""

    archiving: Archiving | None = None
    problem: str = ""


@dataclass(frozen=True)
class Observed:
    """Every store of an environment, at one time; `places` has the points of resource and store, dressed.

    `archivers` has what was asked of the primaries, by resource.
    """

    at: datetime
    stores: Mapping[str, StoreSeen]
    places: Mapping[Place, tuple[RecoveryPoint, ...]] = field(default_factory=dict)
    archivers: Mapping[str, ArchiverSeen] = field(default_factory=dict)

    def points(self, resource: str, store: str) -> tuple[RecoveryPoint, ...] | None:
        """Give a resource's points in a store, newest first; None: the store could not be looked at."""
        seen = self.stores.get(store)
        if seen is None or not seen.tells_of(resource):
            return None
        return self.places.get((resource, store), ())

    def problem(self, store: str) -> str:
        """Say why a store could not be looked at."""
        seen = self.stores.get(store)
        return seen.problem if seen is not None else "it was not looked at"

    def find(self, prefix: str) -> tuple[RecoveryPoint, ...]:
        """Give every point whose id begins so, in every store."""
        found = (point for points in self.places.values() for point in points)
        return tuple(point for point in found if point.id.startswith(prefix))


def observe(backups: Backups, ledger: Ledger, stores: Iterable[StoreSeen], at: datetime) -> Observed:
    """Put listings beside what the ledger knows: when each point came to be, if it is whole, its lock."""
    seen = {one.store: one for one in stores}
    places: dict[Place, list[RecoveryPoint]] = defaultdict(list)
    for one in seen.values():
        jobs = {name: _jobs(backups, ledger, name, one.store) for name in {p.resource for p in one.points}}
        for point in one.points:
            dressed = dress(point, ledger, jobs[point.resource])
            places[point.resource, one.store].append(_locked(dressed, one, backups))
    ordered = {
        place: tuple(sorted(points, key=lambda point: (point.claimed_at, point.id), reverse=True))
        for place, points in places.items()
    }
    return Observed(at, seen, ordered)


def news(
    ledger: Ledger, stores: Sequence[StoreSeen], looks: Mapping[str, datetime], at: datetime
) -> Iterator[Noted]:
    """Give what listings show that the ledger does not have: points never seen, and points that are gone.

    What was missed and is there again is seen anew, so that it can be missed again; that doubt stays.

    Args:
        looks: when each store was looked at before, by `looked_at`; without one, nobody ever had.
        at: when the look began; what came to be since is not missed.
    """
    for seen in stores:
        if seen.problem:
            continue
        listed: dict[str, set[str]] = defaultdict(set)
        for point in seen.points:
            listed[point.resource].add(point.id)
        known = {resource for resource, store in ledger.appeared if store == seen.store}
        for resource in sorted({*listed, *known, *seen.resources}):
            if not seen.tells_of(resource):
                continue
            before = ledger.appeared.get((resource, seen.store), {})
            back = ledger.missed.get((resource, seen.store), {}).keys() - ledger.known(resource, seen.store)
            new = sorted(listed[resource] - (before.keys() - back))
            if new:
                since = looks.get(f"{seen.store}/{resource}" if seen.resources else seen.store)
                yield PointsSeen(resource=resource, store=seen.store, points=tuple(new), since=since)
            there = ledger.known(resource, seen.store) - listed[resource]
            missed = sorted(point for point in there if before[point].by < at)
            if missed:
                yield PointsMissed(resource=resource, store=seen.store, points=tuple(missed))


def entries(found: Iterable[Noted], name: str, actor: str, at: datetime) -> tuple[Entry, ...]:
    """Make lines of the ledger of what a look showed; the name is of this look alone."""
    return tuple(
        Entry(at=at, run_id=name, sequence=number, actor=actor, noted=noted)
        for number, noted in enumerate(found)
    )


def strangers(backups: Backups, observed: Observed) -> Mapping[Place, int]:
    """Count points of resources that `backups.yml` does not have there: nothing of ours touches them."""
    return {
        (resource, store): len(points)
        for (resource, store), points in sorted(observed.places.items())
        if resource not in backups.resources or store not in backups.resources[resource].to
    }


def _jobs(backups: Backups, ledger: Ledger, resource: str, store: str) -> Mapping[datetime, Taken]:
    """Give the jobs of the stores that a store copies, by the time that their points claim."""
    return {
        taken.claimed_at: taken
        for origin in _origins(backups, store)
        for taken in ledger.takes.get((resource, origin), {}).values()
    }


def _origins(backups: Backups, store: str) -> tuple[str, ...]:
    """Give the stores whose points a store took over, the nearest first."""
    found: list[str] = []
    while (store := backups.copied_by(store)) and store not in found:
        found.append(store)
    return tuple(found)


def _locked(point: RecoveryPoint, seen: StoreSeen, backups: Backups) -> RecoveryPoint:
    """Say until when a point cannot be deleted: what the store says, else what it is declared to do."""
    known = backups.stores.get(seen.store)
    lock = known.lock if known is not None else None
    until = seen.locked_until.get(point.id)
    unread = seen.locks_problem or (not seen.locked_until and not isinstance(known, AwsStore))
    if until is None and lock is not None and unread:
        until = lock.span.after(point.claimed_at, ZoneInfo(backups.tz))
    return point if until is None else point.model_copy(update={"locked_until": until})
