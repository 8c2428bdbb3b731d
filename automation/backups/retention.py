"""Which recovery points are kept, why, and which may go. Pure, and fast: 1,000,000 points in a second."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import compress
from operator import attrgetter, gt, neg
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.periods import period_of
from automation.backups.rules import ALL, RetentionPolicy, Rule
from automation.model.errors import ConfigError
from automation.model.recovery_points import RecoveryPoint

OF_KIND = {
    None: "point",
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "yearly": "year",
}


class PolicyError(ConfigError):
    """These points cannot be decided on; nothing was touched."""


class Reason(NamedTuple):
    """Why a point is kept: the rule, and its place among those that the rule keeps."""

    rule: str
    place: int = 0
    words: str = ""

    def __str__(self) -> str:
        return f"{self.rule} {self.place}{self.words}" if self.place else self.words


class Kept(NamedTuple):
    """A point that stays."""

    point: RecoveryPoint
    reasons: tuple[Reason, ...]


class RuleUse(NamedTuple):
    """What one rule keeps, as places in the counted points, newest first."""

    rule: Rule
    places: tuple[int, ...]
    oldest: bool  # the last of them is kept only because the rule has room
    cutoff: float | None  # of a rule by time: what is not later is not looked at


@dataclass(frozen=True)
class Retention:
    """Every point of one resource in one copy exactly once: kept or expired, each newest first."""

    policy: RetentionPolicy
    now: datetime
    counted: tuple[RecoveryPoint, ...]
    uses: tuple[RuleUse, ...]
    kept: tuple[Kept, ...]
    expired: tuple[RecoveryPoint, ...]

    @property
    def anchor(self) -> RecoveryPoint | None:
        """The newest point that counts; spans of time are counted back from it."""
        return self.counted[0] if self.counted else None

    @cached_property
    def reasons(self) -> dict[str, tuple[Reason, ...]]:
        """Why each kept point is kept, by id."""
        return {kept.point.id: kept.reasons for kept in self.kept}

    def why(self, point: RecoveryPoint) -> str:
        """Say in a sentence why a point is kept, or why it may go."""
        if reasons := self.reasons.get(point.id):
            return "; ".join(map(str, reasons))
        if point.status != "ok":
            return f"{point.status}, and a good point is newer"
        if deadline := legal_deadline(self.policy, self.now):
            age = self.policy.keep.delete_after
            if age is not None and point.claimed_at.timestamp() <= deadline:
                return f"older than {age.age.words}; {age.approve} must agree"
        said = "; ".join(self._passed_over(use, point) for use in self.uses)
        return said or "older than a snapshot of a VM may be, or more than its chain may have"

    def _passed_over(self, use: RuleUse, point: RecoveryPoint) -> str:
        at = point.claimed_at.timestamp()
        if use.cutoff is not None and at <= use.cutoff:
            return f"{use.rule.name}: not within {use.rule.span.words if use.rule.span else ''} of the newest"
        if use.rule.kind is not None:
            end = period_of(use.rule.kind, at, ZoneInfo(self.policy.tz)).end
            newer = next((p for p in reversed(use.places) if self._order(p) >= self._key(point)), None)
            if newer is not None and self.counted[newer].claimed_at.timestamp() < end:
                return f"{use.rule.name}: {self.counted[newer].id} is newer in that {OF_KIND[use.rule.kind]}"
        return f"{use.rule.name}: {len(use.places)} newer ones are kept"

    def _order(self, place: int) -> tuple[float, str]:
        return self._key(self.counted[place])

    def _key(self, point: RecoveryPoint) -> tuple[float, str]:
        return point.claimed_at.timestamp(), point.id


def decide(points: Sequence[RecoveryPoint], policy: RetentionPolicy, *, now: datetime) -> Retention:
    """Split recovery points into kept and expired, with a reason for each.

    Pure: reads no clock and no store.

    Args:
        points: one resource in one copy, any order; ids unique.
        policy: counts are calendar periods in `policy.tz`, not ages; empty periods do not count.
        now: aware; a point later than this is kept and fills no period.

    Returns:
        Every point exactly once, newest first; of equal times the greater id is the newer.

    Raises:
        PolicyError: an id stands twice, or the points are of more than one resource or copy.

    Source: period rule of restic's forget since 0.16 (its manual, "Removing snapshots"), but for time
    zones, the hour of the clock change, ties and points of the future; weeks are ISO 8601.
    """
    columns = _newest_first(points)
    _check(columns)
    listed, stamps = columns.points, columns.stamps
    uncounted = _uncounted(columns, policy, now)
    places = [n for n in range(len(listed)) if n not in uncounted] if uncounted else range(len(listed))
    counted = tuple([listed[place] for place in places]) if uncounted else tuple(listed)
    times = [-stamps[place] for place in places] if uncounted else list(map(neg, stamps))
    zone = ZoneInfo(policy.tz)
    uses = tuple([_apply(rule, times, counted, policy, zone) for rule in policy.keep.counted()])
    reasons = _reasons(uses, counted, policy)
    deadline = legal_deadline(policy, now)
    if deadline is not None:
        reasons = {place: why for place, why in reasons.items() if times[place] < -deadline}
    stay = {places[place]: tuple(why) for place, why in reasons.items()}
    for place in uncounted:
        if why := _stays(listed[place], counted, policy, now):
            stay[place] = (Reason("not counted", words=why),)
    return Retention(
        policy=policy,
        now=now,
        counted=counted,
        uses=uses,
        kept=tuple([Kept(listed[place], stay[place]) for place in sorted(stay)]),
        expired=tuple(compress(listed, _mask(len(listed), stay))),
    )


def distrust(point: RecoveryPoint, policy: RetentionPolicy, now: datetime) -> str:
    """Say why a point's own time is not believed; empty: it is."""
    if point.claimed_at > now:
        return "its time is in the future"
    if point.claimed_at.timestamp() < 0:
        return "its time is before 1970"
    if point.observed_at is not None:
        skew = abs((point.observed_at - point.claimed_at).total_seconds())
        if skew > policy.max_skew.about_s:
            seen = point.observed_at.astimezone(ZoneInfo(policy.tz)).strftime("%Y-%m-%d %H:%M")
            return f"it was first seen {seen}, more than {policy.max_skew.words} from the time it claims"
    return ""


def legal_deadline(policy: RetentionPolicy, now: datetime) -> float | None:
    """Give the instant at or before which the policy's `delete_after` ends all keeping."""
    if policy.keep.delete_after is None:
        return None
    return policy.keep.delete_after.age.before(now, ZoneInfo(policy.tz)).timestamp()


def _mask(length: int, left_out: Iterable[int]) -> bytearray:
    mask = bytearray(b"\x01") * length
    for place in left_out:
        mask[place] = 0
    return mask


class _Columns(NamedTuple):
    """Points, newest first, and what is read of them, read in one pass: memory is what takes the time."""

    points: Sequence[RecoveryPoint]
    stamps: list[float]
    ids: Sequence[str] = ()
    resources: Sequence[str] = ()
    copies: Sequence[str] = ()
    statuses: Sequence[str] = ()
    claimed: Sequence[datetime] = ()
    seen: Sequence[datetime | None] = ()


_read = attrgetter("id", "resource", "copy_name", "status", "claimed_at", "observed_at")


def _newest_first(points: Sequence[RecoveryPoint]) -> _Columns:
    """Put points in order; a store mostly lists them in it already, or just the other way round."""
    if not points:
        return _Columns((), [])
    columns = tuple(zip(*map(_read, points), strict=True))
    stamps = [at.timestamp() for at in columns[4]]
    if all(map(gt, stamps, stamps[1:])):
        return _Columns(points, stamps, *columns)
    pairs = sorted(zip(stamps, columns[0], range(len(points)), strict=True), reverse=True)
    places = [place for _, _, place in pairs]
    moved = ([column[place] for place in places] for column in columns)
    return _Columns([points[place] for place in places], [at for at, _, _ in pairs], *moved)


def _check(columns: _Columns) -> None:
    if len(set(columns.ids)) != len(columns.points):
        raise PolicyError("a recovery point stands twice in what was listed; nothing was decided")
    owners = set(columns.resources), set(columns.copies)
    if any(len(names) > 1 for names in owners):
        named = ", ".join(name for names in owners for name in sorted(names)[:3])
        raise PolicyError(f"points of several resources or copies ({named}) cannot be decided on together")


def _uncounted(columns: _Columns, policy: RetentionPolicy, now: datetime) -> set[int]:
    """Give the places of the points that fill no period: not whole, or of a time that is not believed."""
    stamps, limit = columns.stamps, now.timestamp()
    most = timedelta(seconds=policy.max_skew.about_s)
    least = -most
    found = {
        place
        for place, (seen, claimed) in enumerate(zip(columns.seen, columns.claimed, strict=True))
        if seen is not None and not least <= seen - claimed <= most
    }
    if stamps and (stamps[0] > limit or stamps[-1] < 0):
        found |= {place for place, at in enumerate(stamps) if not 0 <= at <= limit}
    if set(columns.statuses) - {"ok"}:
        found |= {place for place, status in enumerate(columns.statuses) if status != "ok"}
    return found


def _stays(
    point: RecoveryPoint, counted: Sequence[RecoveryPoint], policy: RetentionPolicy, now: datetime
) -> str:
    """Say why a point that fills no period is kept all the same; empty: it may go."""
    if why := distrust(point, policy, now):
        return f"{why}; fills no period"
    if point.status == "running":
        return "it is being written"
    if not counted or point.claimed_at > counted[0].claimed_at:
        return f"{point.status}, and no good point is newer; fills no period"
    return ""


def _apply(
    rule: Rule,
    times: Sequence[float],
    counted: Sequence[RecoveryPoint],
    policy: RetentionPolicy,
    zone: ZoneInfo,
) -> RuleUse:
    """Walk from period to period; `times` are negative seconds, so that the newest is the first."""
    end, cutoff, budget = len(times), None, rule.most
    if rule.span is not None and counted:
        cutoff = rule.span.before(counted[0].claimed_at, zone).timestamp()
        end, budget = bisect_left(times, -cutoff), ALL
    places = _walk(rule, times[:end] if end < len(times) else times, budget or 0, zone)
    room = budget == ALL or len(places) < (budget or 0)
    oldest = len(times) - 1
    adds = policy.keep.keep_oldest and room and oldest < end and oldest >= 0 and places[-1] != oldest
    return RuleUse(rule, (*places, oldest) if adds else tuple(places), adds, cutoff)


def _walk(rule: Rule, times: Sequence[float], budget: int, zone: ZoneInfo) -> list[int]:
    if rule.kind is None:
        return list(range(len(times) if budget == ALL else min(budget, len(times))))
    places: list[int] = []
    place = 0
    while place < len(times) and len(places) != budget:
        places.append(place)
        place = bisect_right(times, -period_of(rule.kind, -times[place], zone).start, lo=place + 1)
    return places


def _reasons(
    uses: Sequence[RuleUse], counted: Sequence[RecoveryPoint], policy: RetentionPolicy
) -> dict[int, list[Reason]]:
    reasons: dict[int, list[Reason]] = {}
    for use in uses:
        name, of = use.rule.name, _out_of(use.rule)
        for number, place in enumerate(use.places, start=1):
            reasons.setdefault(place, []).append(Reason(name, number, of))
        if use.oldest:
            reasons[use.places[-1]][-1] = Reason(name, words=f"the oldest, while {name} has room")
    if policy.keep.tagged:
        wanted = [(frozenset(tags), f"tagged {', '.join(tags)}") for tags in policy.keep.tagged]
        for place, point in enumerate(counted):
            for tags, words in wanted:
                if point.tags and tags <= set(point.tags):
                    reasons.setdefault(place, []).append(Reason("tagged", words=words))
    return reasons


def _out_of(rule: Rule) -> str:
    if rule.span is not None:
        return f" within {rule.span.words}"
    return " of all" if rule.most == ALL else f" of {rule.most}"
