"""The hour, day, week, month, quarter or year of a zone that holds an instant. Pure.

A period is a stretch of real time from one start to the next. The hour that comes twice in autumn is two
periods; a day whose midnight comes twice, or never, is one, and no day is entered again.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

Kind = Literal["hourly", "daily", "weekly", "monthly", "quarterly", "yearly"]
KINDS: tuple[Kind, ...] = ("hourly", "daily", "weekly", "monthly", "quarterly", "yearly")


class Period(NamedTuple):
    """A stretch of time in seconds since 1970, its end not included."""

    start: float
    end: float


def period_of(kind: Kind, instant: float, zone: ZoneInfo) -> Period:
    """Give the period of a zone that holds an instant, both in seconds since 1970."""
    wall = datetime.fromtimestamp(instant, zone)
    if kind == "hourly":
        return _hour_of(instant, wall, zone)
    first = _FIRST[kind](wall.date())
    found = _span(kind, first, zone)
    while found.end <= instant:  # the clock went back over midnight: the next day has begun already
        first = _NEXT[kind](first)
        found = _span(kind, first, zone)
    return found


def _hour_of(instant: float, wall: datetime, zone: ZoneInfo) -> Period:
    since = wall.minute * 60 + wall.second + wall.microsecond / 1e6
    start = float(round(instant - since))
    change = _change_within(start, zone)
    if change is None:
        return Period(start, start + 3600)
    return Period(change, start + 3600) if change <= instant else Period(start, change)


@lru_cache(maxsize=65536)
def _change_within(start: float, zone: ZoneInfo) -> float | None:
    """Give the second at which the clock is changed in the hour from here, if it is."""
    low, high = start, start + 3599
    before = _offset(low, zone)
    if _offset(high, zone) == before:
        return None
    while high - low > 1:
        middle = float((low + high) // 2)
        low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
    return high


def _offset(instant: float, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(instant, zone).utcoffset()


@lru_cache(maxsize=65536)
def _span(kind: Kind, first: date, zone: ZoneInfo) -> Period:
    return Period(_midnight(first, zone), _midnight(_NEXT[kind](first), zone))


def _midnight(day: date, zone: ZoneInfo) -> float:
    """Give the first instant of a day; where midnight is skipped, the instant at which it is."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).timestamp()


def _next_month(first: date) -> date:
    return (first + timedelta(days=32)).replace(day=1)


_FIRST: dict[str, Callable[[date], date]] = {
    "daily": lambda day: day,
    "weekly": lambda day: day - timedelta(days=day.weekday()),  # ISO weeks begin on Monday
    "monthly": lambda day: day.replace(day=1),
    "quarterly": lambda day: day.replace(month=day.month - (day.month - 1) % 3, day=1),
    "yearly": lambda day: day.replace(month=1, day=1),
}
_NEXT: dict[str, Callable[[date], date]] = {
    "daily": lambda first: first + timedelta(days=1),
    "weekly": lambda first: first + timedelta(days=7),
    "monthly": _next_month,
    "quarterly": lambda first: _next_month(_next_month(_next_month(first))),
    "yearly": lambda first: first.replace(year=first.year + 1),
}
