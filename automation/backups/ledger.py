"""The ledger: what is known of every recovery point, folded from all runs and listings. Pure.

A proof is believed for twice the time after which its level is due again. A failed proof of a point or of a
repository suspends every proof of that store, until each of its parts was read well after it (L2) or a person
clears the store; the point itself stays unproven until it is proven anew.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from automation.backups.entries import Entry
from automation.backups.resources import Resource
from automation.model.backup_evidence import (
    CanaryRefused,
    DoubtCleared,
    Figures,
    LocksLengthened,
    NotImmutable,
    PointProven,
    ProofFailed,
    RepositoryChecked,
    TakeFailed,
)
from automation.model.recovery_points import Level, Proof, RecoveryPoint, Status

SHELF_LIVES = 2.0
COPIES_DEEP = 10

Place = tuple[str, str]  # resource and store


class Taken(NamedTuple):
    """A point that a run of ours made."""

    resource: str
    store: str
    point: str
    claimed_at: datetime
    began_at: datetime
    at: datetime
    status: Status
    figures: Figures
    seconds: float
    manifest: str
    run_id: str
    source: str


class Appeared(NamedTuple):
    """Between which times a point came to be; without `after`: nobody had looked before."""

    after: datetime | None
    by: datetime

    def observed(self, claimed_at: datetime) -> datetime:
        """Give the time in between that is nearest to the one it claims."""
        if self.after is not None and claimed_at < self.after:
            return self.after
        return min(claimed_at, self.by)


class Checked(NamedTuple):
    """A good look at a repository."""

    at: datetime
    run_id: str
    found: RepositoryChecked

    @property
    def part(self) -> int:
        """The part that was read; the whole is part 1 of 1."""
        return max(self.found.part, 1)

    @property
    def subject(self) -> tuple[bool, int, int]:
        """What it looked at: a later look at the same takes its place."""
        return self.found.level >= Level.L2, self.found.parts, self.part


class Coverage(NamedTuple):
    """Of how many parts a repository is read, and when each was read well last."""

    parts: int
    read: Mapping[int, datetime]

    @property
    def whole_since(self) -> datetime | None:
        """Since when every part was read; None: not every one was."""
        return min(self.read.values()) if len(self.read) == self.parts else None


class Failed(NamedTuple):
    """A proof or a backup job that failed."""

    at: datetime
    run_id: str
    found: ProofFailed | TakeFailed

    @property
    def words(self) -> str:
        """What was found, and by which run."""
        said = self.found.found if isinstance(self.found, ProofFailed) else self.found.faults
        return f"{'; '.join(said)} (run {self.run_id}, {self.at:%Y-%m-%d %H:%M} UTC)"


class Cleared(NamedTuple):
    """A person's word on doubts."""

    at: datetime
    found: DoubtCleared


@dataclass
class Ledger:
    """Everything that was noted, by resource and store; made by `folding.fold` alone."""

    takes: dict[Place, dict[str, Taken]] = field(default_factory=lambda: defaultdict(dict))
    appeared: dict[Place, dict[str, Appeared]] = field(default_factory=lambda: defaultdict(dict))
    origins: dict[Place, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))
    copied_at: dict[Place, datetime] = field(default_factory=dict)
    gone: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    missed: dict[Place, dict[str, datetime]] = field(default_factory=lambda: defaultdict(dict))
    deleted_at: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    reclaimed_at: dict[str, datetime] = field(default_factory=dict)
    checks: dict[str, list[Checked]] = field(default_factory=lambda: defaultdict(list))
    proven: dict[Place, list[tuple[Entry, PointProven]]] = field(default_factory=lambda: defaultdict(list))
    failed_proofs: dict[str, list[Failed]] = field(default_factory=lambda: defaultdict(list))
    failed_takes: dict[str, list[Failed]] = field(default_factory=lambda: defaultdict(list))
    marks: dict[Place, dict[str, datetime]] = field(default_factory=dict)
    accepted: dict[Place, str] = field(default_factory=dict)
    canaries: dict[str, CanaryRefused] = field(default_factory=dict)
    canaries_at: dict[str, datetime] = field(default_factory=dict)
    unlocked: dict[str, NotImmutable] = field(default_factory=dict)
    lengthened: dict[str, LocksLengthened] = field(default_factory=dict)
    cleared: list[Cleared] = field(default_factory=list)
    suspensions: dict[str, Failed] = field(default_factory=dict)

    # --- points ------------------------------------------------------------------------------------

    def taken(self, resource: str, store: str) -> tuple[Taken, ...]:
        """Give the points that runs of ours made there, oldest first."""
        return tuple(sorted(self.takes.get((resource, store), {}).values(), key=lambda one: one.at))

    def origin(self, resource: str, store: str, point: str) -> Taken | None:
        """Give the job that made a point, also where it was copied from another store; None: not ours."""
        for _ in range(COPIES_DEEP):
            if (taken := self.takes.get((resource, store), {}).get(point)) is not None:
                return taken
            if (before := self.origins.get((resource, store), {}).get(point)) is None:
                return None
            store, point = before
        return None

    def when_appeared(self, resource: str, store: str, point: str) -> Appeared | None:
        """Say between which times a point came to be, of a copy those of what was copied."""
        found = None
        for _ in range(COPIES_DEEP):
            found = self.appeared.get((resource, store), {}).get(point, found)
            if (before := self.origins.get((resource, store), {}).get(point)) is None:
                return found
            store, point = before
        return found

    def known(self, resource: str, store: str) -> frozenset[str]:
        """Give the points that should be there: that were seen, and that nothing of ours deleted."""
        there = self.appeared.get((resource, store), {}).keys()
        return frozenset(there - self.gone.get((resource, store), set()))

    def given_up(self, resource: str, store: str, source: str) -> tuple[str, ...]:
        """Give the points of a source that rotation deleted from a copy: to copy them again is in vain."""
        place = resource, store
        gone = self.gone.get(place, set()) - self.missed.get(place, {}).keys()
        origins = self.origins.get(place, {})
        return tuple(sorted(origins[one][1] for one in gone & origins.keys() if origins[one][0] == source))

    # --- proofs ------------------------------------------------------------------------------------

    def coverage(self, store: str) -> Coverage:
        """Say how much of a repository was read, and when, in as many parts as it is read now."""
        reads = [one for one in self.checks.get(store, ()) if one.found.level >= Level.L2]
        if not reads:
            return Coverage(1, {})
        parts = reads[-1].found.parts
        return Coverage(parts, {one.part: one.at for one in reads if one.found.parts == parts})

    def suspended(self, store: str) -> str:
        """Say why no proof of a store is believed; empty: they are."""
        failed = self.suspensions.get(store)
        return failed.words if failed is not None else ""

    def proofs(self, resource: str, store: str, spec: Resource) -> tuple[Proof, ...]:
        """Give every proof of a resource's points in a store, oldest first, with its shelf life."""
        doubt = self.suspended(store)
        there = self.appeared.get((resource, store), {}).keys()
        found = [*self._single(resource, store), *self._of_repository(store, there)]
        bad = self._bad(resource, store)
        good = [one for one in found if one.point not in bad or one.at > bad[one.point]]
        return tuple(
            one.model_copy(
                update={
                    "expires": one.at + timedelta(seconds=shelf_life_s(spec, one.level)),
                    "suspended": doubt,
                }
            )
            for one in sorted(good, key=lambda one: (one.at, one.point))
        )

    def _single(self, resource: str, store: str) -> Iterable[Proof]:
        for entry, found in self.proven.get((resource, store), ()):
            yield Proof(
                point=found.point,
                level=found.level,
                at=entry.at,
                expires=entry.at,
                seconds=max(found.seconds, 0.0),
                size_bytes=max(found.size_bytes, 0),
                by=entry.run_id,
                evidence="; ".join(found.found),
                source=found.source,
            )

    def _of_repository(self, store: str, wanted: Set[str]) -> Iterable[Proof]:
        """L1 of the last look; L2 of the points that were there when each part was read last."""
        looks = self.checks.get(store, [])
        if looks:
            named = wanted & set(looks[-1].found.points)
            yield from (_proof(point, Level.L1, looks[-1:]) for point in sorted(named))
        parts = self.coverage(store).parts
        read = [one for one in looks if one.found.level >= Level.L2 and one.found.parts == parts]
        if len(read) == parts:
            named = wanted & set.intersection(*(set(one.found.points) for one in read))
            yield from (_proof(point, Level.L2, read) for point in sorted(named))

    def found_bad(self, resource: str, store: str) -> frozenset[str]:
        """Name the points of which a proof failed, and none held since."""
        last = {found.point: entry.at for entry, found in self.proven.get((resource, store), ())}
        failed = self._bad(resource, store).items()
        return frozenset(point for point, at in failed if point not in last or last[point] <= at)

    def _bad(self, resource: str, store: str) -> dict[str, datetime]:
        failed = (one for one in self.failed_proofs.get(store, ()) if isinstance(one.found, ProofFailed))
        return {
            one.found.point: one.at
            for one in failed
            if isinstance(one.found, ProofFailed) and one.found.point and one.found.resource in ("", resource)
        }


def shelf_life_s(resource: Resource, level: Level) -> float:
    """Say for how long a proof is believed: twice the time after which its level is due again.

    A level that is never due by itself lives as long as the nearest one below it that is, or else above.
    """
    rules = sorted(resource.verify, key=lambda rule: (rule.level, -rule.every.about_s))
    below = [rule for rule in rules if rule.level <= level]
    return SHELF_LIVES * (below[-1] if below else rules[0]).every.about_s


def dress(point: RecoveryPoint, ledger: Ledger, taken_there: Mapping[datetime, Taken]) -> RecoveryPoint:
    """Give a listed point with what the ledger knows of it: when it came to be, and whether it is whole.

    Args:
        taken_there: the jobs of the store that this one copies, by the time that their points claim: a copy
            that was cut off before it was written down is known by it.
    """
    origin = ledger.origin(point.resource, point.copy_name, point.id) or taken_there.get(point.claimed_at)
    appeared = ledger.when_appeared(point.resource, point.copy_name, point.id)
    if origin is not None:
        appeared = Appeared(origin.began_at, origin.at)
    changes: dict[str, object] = {}
    if appeared is not None:
        changes["observed_at"] = appeared.observed(point.claimed_at)
    if origin is not None and origin.status != "ok" and point.status == "ok":
        changes["status"] = origin.status
    return point.model_copy(update=changes) if changes else point


def _proof(point: str, level: Level, checks: list[Checked]) -> Proof:
    """A proof by looks at the whole repository; it is as old as the oldest of them."""
    return Proof(
        point=point,
        level=level,
        at=checks[0].at,
        expires=checks[0].at,
        seconds=sum(max(one.found.seconds, 0.0) for one in checks),
        size_bytes=sum(max(one.found.size_bytes, 0) for one in checks),
        by=checks[-1].run_id,
        source="simulated" if any(one.found.source == "simulated" for one in checks) else "real",
    )
