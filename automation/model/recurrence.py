"""When something comes back: rules of RFC 5545, as calendars write them."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

if TYPE_CHECKING:
    from dateutil.rrule import rrule

LONGEST = 200
_ANCHOR = datetime(2000, 1, 1)  # noqa: DTZ001 - a rule speaks of the wall clock of whoever asks
_LATE_YEAR = 9999 - 28  # in 28 years every weekday meets every date
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
_EXAMPLE = "write for example FREQ=MONTHLY;BYMONTHDAY=14,28"


def check_rrule(text: str) -> str:
    """Give the rule back if a calendar could follow it.

    Raises:
        ValueError: no rule, one that never happens, or one that needs a beginning (DTSTART) and has none.
    """
    words = text.split()
    if len(text) > LONGEST or not words:
        raise ValueError(f"is no recurrence rule of at most {LONGEST} characters; {_EXAMPLE}")
    started = words[0].upper().startswith("DTSTART:")
    if len(words) != 1 + started:
        raise ValueError(f"give one rule, after DTSTART:... if it needs a beginning; {_EXAMPLE}")
    parts = _parts(words[-1])
    _check_parts(parts, started)
    if not _happens(text):
        raise ValueError(f"never happens: no day fits all of its parts; {_EXAMPLE}")
    return text


def last_start(rule: str, at: datetime) -> datetime | None:
    """Give the latest start at or before a time; None if the rule has not begun.

    Args:
        at: aware; the rule is read on this time's own wall clock.
    """
    found = _parse(rule).before(at.replace(tzinfo=None), inc=True)
    return found.replace(tzinfo=at.tzinfo) if found else None


def next_start(rule: str, at: datetime) -> datetime | None:
    """Give the first start after a time; None if the rule has ended. `at` is aware."""
    found = _parse(rule).after(at.replace(tzinfo=None))
    return found.replace(tzinfo=at.tzinfo) if found else None


def starts_after(rule: str, at: datetime) -> Iterator[datetime]:
    """Give the starts after a time, one after the other; `at` is aware. A rule may go on for ever."""
    for found in _parse(rule).xafter(at.replace(tzinfo=None)):
        yield found.replace(tzinfo=at.tzinfo)


Rrule = Annotated[
    str,
    AfterValidator(check_rrule),
    Field(description="recurrence rule of RFC 5545: FREQ=MONTHLY;BYMONTHDAY=14,28", max_length=LONGEST),
]


def _parts(words: str) -> dict[str, str]:
    rule = words.upper().removeprefix("RRULE:")
    pairs = [part.partition("=") for part in rule.split(";")]
    if any(not sign or not value for _, sign, value in pairs):
        raise ValueError(f"is no recurrence rule; {_EXAMPLE}")
    return {name: value for name, _, value in pairs}


def _check_parts(parts: dict[str, str], started: bool) -> None:
    if parts.get("FREQ") not in _FREQUENCIES:
        raise ValueError(f"needs FREQ, one of {', '.join(_FREQUENCIES)}; {_EXAMPLE}")
    interval = parts.get("INTERVAL", "1")
    if not interval.isdecimal() or not 1 <= int(interval) <= 366:
        raise ValueError("INTERVAL is a number from 1 to 366")
    counted = int(interval) > 1 or "COUNT" in parts
    bare = parts["FREQ"] != "DAILY" and not any(name.startswith("BY") for name in parts)
    if not started and (counted or bare):
        raise ValueError(
            "does not say from when it is counted; write DTSTART:20260102T000000 and a space before the rule"
        )


def _parse(text: str) -> "rrule":
    from dateutil.rrule import rrule, rrulestr

    try:
        found = rrulestr(text, dtstart=_ANCHOR, ignoretz=True)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as exc:
        raise ValueError(f"is no recurrence rule ({exc}); {_EXAMPLE}") from exc
    if not isinstance(found, rrule):
        raise ValueError(f"give one rule; {_EXAMPLE}")
    return found


def _happens(text: str) -> bool:
    """Say whether any day fits; dateutil looks for one up to the year 9999, so the look begins near it."""
    found = _parse(text)
    begin, until = found._dtstart, found._until
    if until is not None and until < begin:
        return False
    late = found.replace(dtstart=begin.replace(year=_LATE_YEAR, day=min(begin.day, 28)), until=None)
    return next(iter(late), None) is not None
