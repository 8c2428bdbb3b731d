"""Recurrence rules: what a calendar could follow is accepted, all else is refused with an example."""

from datetime import UTC, datetime

import pytest

from automation.model.recurrence import check_rrule, last_start, next_start

PAYROLL = "DTSTART:20260102T000000 FREQ=WEEKLY;INTERVAL=2;BYDAY=FR"


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=MONTHLY;BYMONTHDAY=14,28",
        "RRULE:FREQ=YEARLY;BYMONTH=4;BYMONTHDAY=15",
        "FREQ=YEARLY;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8",
        "FREQ=DAILY",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        PAYROLL,
    ],
)
def test_a_calendars_rule_is_accepted_as_it_stands(rule: str) -> None:
    assert check_rrule(rule) == rule


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("", "no recurrence rule"),
        ("every friday", "give one rule"),
        ("FREQ=SOMETIMES", "needs FREQ"),
        ("FREQ=SECONDLY", "needs FREQ"),
        ("FREQ=WEEKLY", "from when"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=FR", "from when"),
        ("FREQ=DAILY;COUNT=3", "from when"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=WEEKLY;BYDAY=XX", "invalid 'BYDAY'"),
        ("FREQ=MONTHLY;BYMONTHDAY=99", "never happens"),
        ("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "never happens"),
        ("FREQ=DAILY;UNTIL=19990101T000000", "never happens"),
        ("DTSTART:soon FREQ=DAILY", "no recurrence rule"),
        ("FREQ=DAILY;BYHOUR=77", "hour"),
        ("FREQ=DAILY;" * 30, "at most"),
        ("FREQ=MONTHLY;BYMONTHDAY", "no recurrence rule"),
    ],
)
def test_what_no_calendar_could_follow_is_refused(rule: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_rrule(rule)


def test_a_fortnight_is_counted_from_its_beginning() -> None:
    at = datetime(2026, 1, 29, 12, tzinfo=UTC)
    assert last_start(PAYROLL, at) == datetime(2026, 1, 16, tzinfo=UTC)
    assert next_start(PAYROLL, at) == datetime(2026, 1, 30, tzinfo=UTC)


def test_a_start_is_its_own_latest_start() -> None:
    midnight = datetime(2026, 3, 14, tzinfo=UTC)
    assert last_start("FREQ=MONTHLY;BYMONTHDAY=14", midnight) == midnight


def test_a_rule_that_has_not_begun_has_no_start() -> None:
    assert last_start(PAYROLL, datetime(2025, 12, 31, tzinfo=UTC)) is None
