"""Moments as people write them: what is not one moment alone is refused."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.backups.moments import parse_moment

NEW_YORK = ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 22, 8, 5, tzinfo=UTC)  # 03:05 there


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("02:10", "2026-11-22T07:10:00"),
        ("2:10", "2026-11-22T07:10:00"),
        ("today 02:10:30", "2026-11-22T07:10:30"),
        ("yesterday 14:00", "2026-11-21T19:00:00"),
        ("2026-07-04 14:00", "2026-07-04T18:00:00"),
        ("2026-07-04T14:00", "2026-07-04T18:00:00"),
        ("2026-07-04T14:00:00Z", "2026-07-04T14:00:00"),
        ("2026-07-04T14:00:00.250+02:00", "2026-07-04T12:00:00.250000"),
    ],
)
def test_a_time_without_an_offset_is_of_the_policys_zone(text: str, utc: str) -> None:
    assert parse_moment(text, NEW_YORK, NOW) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


def test_latest_is_no_moment_but_the_end() -> None:
    assert parse_moment("latest", NEW_YORK, NOW) is None


@pytest.mark.parametrize("text", ["14:00", "2027-01-01T00:00:00Z"])
def test_what_is_still_to_come_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="still to come"):
        parse_moment(text, NEW_YORK, NOW)


@pytest.mark.parametrize(
    "text", ["", "2026-11-21", "noon", "25:00", "14", "last week", "2026-02-30 10:00", "-5m"]
)
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="write latest, 14:00"):
        parse_moment(text, NEW_YORK, NOW)


def test_the_hour_that_comes_twice_must_be_told_apart() -> None:
    with pytest.raises(ValueError, match=r"came twice.*2026-11-01T01:30:00-0400 or 2026-11-01T01:30:00-0500"):
        parse_moment("2026-11-01 01:30", NEW_YORK, NOW)
    assert parse_moment("2026-11-01T01:30:00-04:00", NEW_YORK, NOW) == datetime(
        2026, 11, 1, 5, 30, tzinfo=UTC
    )


def test_the_hour_that_was_skipped_is_refused() -> None:
    with pytest.raises(ValueError, match="was skipped"):
        parse_moment("2026-03-08 02:30", NEW_YORK, NOW)


@given(st.integers(60, 300 * 86400))
def test_what_is_said_with_its_offset_is_understood_as_it_was_meant(ago_s: int) -> None:
    at = (NOW - timedelta(seconds=ago_s)).astimezone(NEW_YORK)
    understood = parse_moment(at.isoformat(), NEW_YORK, NOW)
    assert understood.timestamp() == at.timestamp()  # Python compares no hour that comes twice
