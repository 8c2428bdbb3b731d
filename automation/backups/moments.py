"""Moments as people write them, at three in the morning: 14:00, yesterday 14:00, 2026-11-21 14:00. Pure."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_CLOCK = re.compile(r"(?:(today|yesterday|\d{4}-\d\d-\d\d)[ T]+)?(\d{1,2}:\d\d(?::\d\d)?)")
_EXAMPLE = "write latest, 14:00, yesterday 14:00, 2026-11-21 14:00, or 2026-11-21T14:00:00-05:00"


def parse_moment(text: str, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Read a moment; None for `latest`.

    Args:
        zone: of times without an offset.
        now: aware.

    Raises:
        ValueError: it is no moment, not one alone (the hour that comes twice in autumn), or still to come.
    """
    said = text.strip()
    if said == "latest":
        return None
    at = _read(said, zone, now)
    if at > now:
        raise ValueError(
            f"{said} is {at.astimezone(zone):%Y-%m-%d %H:%M %Z}, which is still to come; {_EXAMPLE}"
        )
    return at


def _read(said: str, zone: ZoneInfo, now: datetime) -> datetime:
    match = _CLOCK.fullmatch(said)
    try:
        if match is None:
            at = datetime.fromisoformat(said)
            if at.tzinfo is None or len(said) <= len("2026-11-21"):
                raise ValueError
            return at.astimezone(UTC)
        clock = time.fromisoformat(match[2].zfill(5) if match[2].count(":") == 1 else match[2].zfill(8))
        return _on_the_wall(datetime.combine(_day(match[1], zone, now), clock), zone)
    except AmbiguousTime:
        raise
    except ValueError:
        raise ValueError(f"{said[:40]!r} is no moment; {_EXAMPLE}") from None


class AmbiguousTime(ValueError):
    """A time that the clock on the wall shows twice, or never."""


def _day(word: str | None, zone: ZoneInfo, now: datetime) -> date:
    today = now.astimezone(zone).date()
    if word in (None, "today"):
        return today
    return today - timedelta(days=1) if word == "yesterday" else date.fromisoformat(str(word))


def _on_the_wall(wall: datetime, zone: ZoneInfo) -> datetime:
    """Give the instant at which the clock of a zone shows this, where there is exactly one."""
    first = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first == second:
        return first
    if first.astimezone(zone).replace(tzinfo=None) != wall:
        raise AmbiguousTime(
            f"{wall:%Y-%m-%d %H:%M} was skipped by the clocks of {zone.key}; give another time"
        )
    offsets = " or ".join(f"{at.astimezone(zone):%Y-%m-%dT%H:%M:%S%z}" for at in (first, second))
    raise AmbiguousTime(f"{wall:%Y-%m-%d %H:%M} came twice in {zone.key}; write {offsets}")
