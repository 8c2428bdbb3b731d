"""How restic and borg decide: to prove our planner beside theirs, and to show what a change of tools changes.

Nothing is deleted by these rules. They repeat what those programs do, disasters included; their counts may
be zero or negative, and periods are read from wall clocks that can go back.

Source: internal/restic/snapshot_policy.go of restic 0.14.0 and 0.16.5; borg/helpers/misc.py and do_prune in
borg/archiver.py of borg 1.4.5. Our own wording; where equal times leave their order open, the greater id
is the newer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.rules import Tag, Zone
from automation.model.base import Model
from automation.model.recovery_points import RecoveryPoint

Dialect = Literal["restic-0.14", "restic-0.16", "borg-1.4"]
Label = Callable[[datetime], object]

LABELS: Mapping[str, Label] = {
    "secondly": lambda wall: wall.replace(microsecond=0, tzinfo=None, fold=0),
    "minutely": lambda wall: wall.replace(second=0, microsecond=0, tzinfo=None, fold=0),
    "hourly": lambda wall: (wall.year, wall.month, wall.day, wall.hour),
    "daily": lambda wall: (wall.year, wall.month, wall.day),
    "weekly": lambda wall: wall.isocalendar()[:2],
    "monthly": lambda wall: (wall.year, wall.month),
    "quarterly": lambda wall: (wall.year, (wall.month - 1) // 3),
    "yearly": lambda wall: wall.year,
}
_RESTIC = ("hourly", "daily", "weekly", "monthly", "yearly")
_BORG = ("secondly", "minutely", *_RESTIC[:4], "quarterly", "yearly")


class GoSpan(Model):
    """A duration as restic reads `1y5m7d2h`."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0


class OldRules(Model):
    """The rules of another program: restic's and borg's flags by their names, without `keep-`."""

    last: int = 0
    minutely: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    quarterly: int = 0
    yearly: int = 0
    within: GoSpan = GoSpan()
    within_hourly: GoSpan = GoSpan()
    within_daily: GoSpan = GoSpan()
    within_weekly: GoSpan = GoSpan()
    within_monthly: GoSpan = GoSpan()
    within_yearly: GoSpan = GoSpan()
    tags: tuple[tuple[Tag, ...], ...] = ()
    tz: Zone = "UTC"

    @property
    def is_empty(self) -> bool:
        """Whether no rule is given, as those programs see it."""
        return self == OldRules(tz=self.tz)


class OldDecision(NamedTuple):
    """Ids that the other program would keep, with the rules that keep each; all others it deletes."""

    kept: Mapping[str, tuple[str, ...]]
    removed: tuple[str, ...]


def decide_as(
    dialect: Dialect, points: Sequence[RecoveryPoint], rules: OldRules, *, now: datetime
) -> OldDecision:
    """Decide as another program does; `rules.tz` is the zone of the machine that would run it."""
    ordered = sorted(points, key=lambda point: (point.claimed_at, point.id), reverse=True)
    if dialect == "borg-1.4":
        kept = _borg(ordered, rules, now)
    elif rules.is_empty or not ordered:
        kept = {point.id: ("policy is empty",) for point in ordered}
    else:
        kept = _restic(ordered, rules, now, newer=dialect == "restic-0.16")
    return OldDecision(kept, tuple(point.id for point in ordered if point.id not in kept))


# --- restic ---------------------------------------------------------------------------------------


class _Bucket:
    """One rule of restic, and the period that it kept last."""

    def __init__(self, name: str, label: Label | None, count: int, cutoff: datetime | None = None) -> None:
        self.name, self.label, self.count, self.cutoff = name, label, count, cutoff
        self.last: object = None

    def takes(self, point: RecoveryPoint, place: int, *, oldest: bool) -> bool:
        """Whether it keeps this point; it remembers that it did."""
        if self.count == 0 or (self.cutoff is not None and not point.claimed_at > self.cutoff):
            return False
        label = self.label(point.claimed_at) if self.label else place
        if label == self.last and not oldest:
            return False
        self.last = label
        self.count -= self.count > 0
        return True


def _restic(
    ordered: Sequence[RecoveryPoint], rules: OldRules, now: datetime, *, newer: bool
) -> dict[str, tuple[str, ...]]:
    past = [point for point in ordered if point.claimed_at < now]
    latest = past[0].claimed_at if past else datetime.min.replace(tzinfo=UTC)
    buckets = [*_counted(rules, newer=newer), *_within(rules, latest)]
    kept = {}
    for place, point in enumerate(ordered):
        oldest = newer and place == len(ordered) - 1
        reasons = [f"tags {','.join(tags)}" for tags in rules.tags if set(tags) <= set(point.tags)]
        reasons += [bucket.name for bucket in buckets if bucket.takes(point, place, oldest=oldest)]
        if reasons:
            kept[point.id] = tuple(reasons)
    return kept


def _counted(rules: OldRules, *, newer: bool) -> list[_Bucket]:
    """Give the rules by count; before 0.16 a negative one keeps nothing, since then -1 keeps all."""
    named = (("last", None), *((name, LABELS[name]) for name in _RESTIC))
    counts = ((name, label, int(getattr(rules, name))) for name, label in named)
    return [
        _Bucket(name, label, count) for name, label, count in counts if count > 0 or (newer and count == -1)
    ]


def _within(rules: OldRules, latest: datetime) -> list[_Bucket]:
    spans: list[tuple[str, Label | None, GoSpan]] = [("within", None, rules.within)]
    spans += [(f"within-{name}", LABELS[name], getattr(rules, f"within_{name}")) for name in _RESTIC]
    return [
        _Bucket(name, label, -1, _go_before(latest, span, ZoneInfo(rules.tz)))
        for name, label, span in spans
        if span != GoSpan()
    ]


def _go_before(at: datetime, span: GoSpan, local: ZoneInfo) -> datetime:
    """Subtract as Go does: dates overflow into the next month, hours wrap round at 64 bits.

    A time whose offset is the machine's own at that moment is counted on the machine's wall clock.
    """
    offset = at.utcoffset() or timedelta()
    try:
        is_local = bool(offset) and at.astimezone(local).utcoffset() == offset
        zone = local if is_local else timezone(offset)
        month = at.year * 12 + at.month - 1 - span.years * 12 - span.months
        first = datetime(month // 12, month % 12 + 1, 1) + timedelta(days=at.day - 1 - span.days)  # noqa: DTZ001
        wall = datetime.combine(first, at.time())
        moved = _go_instant(wall, zone)
        return moved + timedelta(microseconds=_wrapped_ns(-span.hours) // 1000)
    except (OverflowError, ValueError):
        return datetime.min.replace(tzinfo=UTC)


def _go_instant(wall: datetime, zone: ZoneInfo | timezone) -> datetime:
    """Find the instant of a wall clock: twice the offset is looked up, first as if the clock were UTC's."""
    as_utc = wall.replace(tzinfo=UTC)
    first = as_utc.astimezone(zone).utcoffset() or timedelta()
    if not first:
        return as_utc
    second = (as_utc - first).astimezone(zone).utcoffset() or timedelta()
    return as_utc - second


def _wrapped_ns(hours: int) -> int:
    ns = hours * 3_600_000_000_000
    return (ns + 2**63) % 2**64 - 2**63


# --- borg -----------------------------------------------------------------------------------------


def _borg(ordered: Sequence[RecoveryPoint], rules: OldRules, now: datetime) -> dict[str, tuple[str, ...]]:
    kept: dict[str, tuple[str, ...]] = {}
    if hours := _borg_hours(rules.within):
        target = now - timedelta(hours=hours)
        kept |= {point.id: ("within",) for point in ordered if point.claimed_at > target}
    zone = ZoneInfo(rules.tz)
    good = [point for point in ordered if point.status == "ok"]
    for name in _BORG:
        count = rules.last if name == "secondly" else int(getattr(rules, name))
        if count:
            _borg_split(name, count, [(p.id, p.claimed_at.astimezone(zone)) for p in good], kept)
    return kept


def _borg_split(
    name: str, count: int, archives: Sequence[tuple[str, datetime]], kept: dict[str, tuple[str, ...]]
) -> None:
    """Keep the newest of each period that no earlier rule keeps; below the count, the oldest too."""
    last: object = None
    own = 0
    for archive, wall in archives:
        period = LABELS[name](wall)
        if period != last:
            last = period
            if archive not in kept:
                kept[archive] = (name,)
                own += 1
                if own == count:
                    return
    if archives and own < count and archives[-1][0] not in kept:
        kept[archives[-1][0]] = (f"{name}[oldest]",)


def _borg_hours(span: GoSpan) -> int:
    """Count as borg does: a month has 31 days, a year 365."""
    return ((span.years * 365 + span.months * 31 + span.days) * 24) + span.hours
