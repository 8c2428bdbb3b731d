"""When a backup is due: by the wall clock of the policy's zone, safe over changes of the clock. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.resources import Take
from automation.backups.spec import Backups
from automation.backups.verifying import is_due
from automation.model.recovery_points import RecoveryPoint

Type = Literal["full", "diff"]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_AHEAD_DAYS = 8


class Due(NamedTuple):
    """Whether a backup is due now, which, since or from when, in words."""

    now: bool
    type: Type
    at: datetime | None
    why: str


def judge(take: Take, points: Sequence[RecoveryPoint], now: datetime, zone: ZoneInfo) -> Due:
    """Say whether a resource is due in one store.

    Args:
        take: when it is taken.
        points: of the resource in the store, any order; a good one that depends on none is a full one.
        now: aware.
        zone: of the policy, whose wall clock is meant.
    """
    if take.on_demand:
        return Due(False, "full", None, "taken when it is asked for")
    good = [point for point in points if point.status == "ok" and point.claimed_at <= now]
    last = max((point.claimed_at for point in good), default=None)
    if take.full is None:
        return _single(take, last, now, zone)
    last_full = max((point.claimed_at for point in good if not point.depends_on), default=None)
    if last_full is None:
        return Due(True, "full", now, "there is no full backup")
    wanted = last_time(take.full, now, zone)
    if wanted is not None and last_full < wanted:
        return Due(True, "full", wanted, f"full is due since {_words(wanted, zone)}")
    wanted = last_time(take.diff, now, zone) if take.diff else None
    if wanted is not None and last is not None and last < wanted:
        return Due(True, "diff", wanted, f"diff is due since {_words(wanted, zone)}")
    return _not_yet(take, last, now, zone)


def _single(take: Take, last: datetime | None, now: datetime, zone: ZoneInfo) -> Due:
    if last is None:
        return Due(True, "full", now, "there is no point yet")
    if take.every is not None and is_due(last, take.every, now, zone):
        return Due(
            True, "full", now, f"the last one is of {_words(last, zone)}, one is due every {take.every.words}"
        )
    wanted = last_time(take.at, now, zone) if take.at else None
    if wanted is not None and last < wanted:
        return Due(True, "full", wanted, f"due since {_words(wanted, zone)}")
    return _not_yet(take, last, now, zone)


def _not_yet(take: Take, last: datetime | None, now: datetime, zone: ZoneInfo) -> Due:
    at, kind = next_due(take, last, now, zone)
    return Due(False, kind, at, f"next due {_words(at, zone)}" if at else "not due")


def next_due(
    take: Take, last: datetime | None, now: datetime, zone: ZoneInfo
) -> tuple[datetime | None, Type]:
    """Give when the next one comes, and its type; what is overdue comes now."""
    times: list[tuple[datetime, Type]] = []
    if take.every is not None:
        times.append((max(take.every.after(last, zone), now) if last else now, "full"))
    for when, kind in ((take.at, "full"), (take.full, "full"), (take.diff, "diff")):
        if when is not None and (found := next_time(when, now, zone)) is not None:
            times.append((found, "diff" if kind == "diff" else "full"))
    # On the day of a full one no diff is taken beside it: it comes first of equal times.
    return min(times, key=lambda one: (one[0], one[1] != "full"), default=(None, "full"))


def longest_gap_s(take: Take, now: datetime, zone: ZoneInfo) -> float:
    """Give the longest time between two backups as the schedule has them."""
    if take.every is not None:
        return take.every.about_s
    times = sorted(
        {
            at
            for when in (take.at, take.full, take.diff)
            if when is not None
            for at in _times(when, now, zone, range(2 * _AHEAD_DAYS))
        }
    )
    gaps = [(later - at).total_seconds() for at, later in pairwise(times)]
    return max(gaps, default=7 * 86400.0)


def gap_s(backups: Backups, resource: str, now: datetime) -> float:
    """Give the longest time between two backups of a resource, as its schedule has them."""
    return longest_gap_s(backups.resources[resource].take, now, ZoneInfo(backups.tz))


def last_time(when: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """Give the last time at or before now of `daily 01:00`, `mon,thu 23:30`, in UTC."""
    return max((at for at in _times(when, now, zone, range(-_AHEAD_DAYS, 2)) if at <= now), default=None)


def next_time(when: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """Give the first time after now, in UTC."""
    return min((at for at in _times(when, now, zone, range(-1, _AHEAD_DAYS)) if at > now), default=None)


def _times(when: str, now: datetime, zone: ZoneInfo, days: range) -> Iterator[datetime]:
    """Give the times of days around today, one a day: a time that the clock leaves out comes later."""
    names, _, clock = when.partition(" ")
    at = time.fromisoformat(clock)
    wanted = _DAYS if names == "daily" else names.split(",")
    today: date = now.astimezone(zone).date()
    for number in days:
        day = today + timedelta(days=number)
        if _DAYS[day.weekday()] in wanted:
            yield datetime.combine(day, at, zone).astimezone(UTC)


def _words(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%a %Y-%m-%d %H:%M}"
