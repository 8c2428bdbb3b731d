"""Spans of the calendar, as people write them: 36 hours, 7 days, 12 months, 7 years. Pure."""

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

LONGEST_DAYS = 200 * 366
_UNITS = {
    "minute": (0, 0, 60),
    "hour": (0, 0, 3600),
    "day": (0, 1, 0),
    "week": (0, 7, 0),
    "month": (1, 0, 0),
    "quarter": (3, 0, 0),
    "year": (12, 0, 0),
}
_WORDS = re.compile(rf"([0-9]{{1,9}})\s+({'|'.join(_UNITS)})s?")
_EXAMPLE = "write for example 36 hours, 7 days, 5 weeks, 12 months or 7 years"


class Span(NamedTuple):
    """A length of time; months and days are of the calendar, seconds are absolute."""

    months: int = 0
    days: int = 0
    seconds: int = 0
    words: str = ""

    def before(self, at: datetime, zone: ZoneInfo) -> datetime:
        """Give the instant this long before another, in UTC.

        Days and months are counted on the wall clock of the zone; a day that the month does not have
        is its last one: 31 March less 1 month is 28 or 29 February.
        """
        return self._moved(at, zone, -1)

    def after(self, at: datetime, zone: ZoneInfo) -> datetime:
        """Give the instant this long after another, in UTC."""
        return self._moved(at, zone, 1)

    @property
    def about_s(self) -> float:
        """Roughly how long it is: 30.44 days a month."""
        return self.months * 30.44 * 86400 + self.days * 86400.0 + self.seconds

    def _moved(self, at: datetime, zone: ZoneInfo, sign: int) -> datetime:
        try:
            if not self.months and not self.days:
                return at.astimezone(UTC) + timedelta(seconds=sign * self.seconds)
            wall = at.astimezone(zone)
            years, month = divmod(wall.year * 12 + wall.month - 1 + sign * self.months, 12)
            day = min(wall.day, calendar.monthrange(years, month + 1)[1])
            moved = wall.replace(year=years, month=month + 1, day=day) + timedelta(days=sign * self.days)
            return moved.astimezone(UTC) + timedelta(seconds=sign * self.seconds)
        except (OverflowError, ValueError):
            return datetime.max.replace(tzinfo=UTC) if sign > 0 else datetime.min.replace(tzinfo=UTC)


def parse_span(value: object) -> Span:
    """Read one number and one whole word; letters, signs, zero and what overflows are refused."""
    if isinstance(value, Span):
        return value
    match = _WORDS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{str(value)[:40]!r} is no length of time; {_EXAMPLE}")
    count, (months, days, seconds) = int(match[1]), _UNITS[match[2]]
    span = Span(count * months, count * days, count * seconds, match[0])
    if not count:
        raise ValueError(f"{match[0]!r} is no time at all; {_EXAMPLE}, or leave the key out")
    if span.about_s > LONGEST_DAYS * 86400:
        raise ValueError(f"{match[0]!r} is longer than 200 years; {_EXAMPLE}")
    return span


CalendarSpan = Annotated[
    Span,
    BeforeValidator(parse_span),
    PlainSerializer(lambda span: span.words, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^\s*{_WORDS.pattern}\s*$",
            "examples": ["36 hours", "7 days", "5 weeks", "12 months", "7 years"],
        }
    ),
]
