"""How far a standby is behind: what was seen is compared, what was not is never guessed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.model.observations import PrimaryPosition, StandbyPosition
from automation.recovery.lag import judge_lag

SEEN = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)
MIB = 2**20


def primary(written: int = 100 * MIB, **changes: object) -> PrimaryPosition:
    known = {"host": "pg-a", "system_identifier": "7", "timeline": 1, "in_recovery": False, "at": SEEN}
    return PrimaryPosition.model_validate({**known, "written_bytes": written, **changes})


def standby(received: int = 100 * MIB, behind_s: float | None = 0, **changes: object) -> StandbyPosition:
    replayed_at = None if behind_s is None else SEEN - timedelta(seconds=behind_s)
    known = {
        "host": "pg-b",
        "system_identifier": "7",
        "timeline": 1,
        "in_recovery": True,
        "streaming": False,
        "replayed_bytes": received,
        "replayed_at": replayed_at,
        "at": SEEN + timedelta(minutes=1),
    }
    return StandbyPosition.model_validate({**known, "received_bytes": received, **changes})


@pytest.mark.parametrize(
    ("seen", "found", "verdict"),
    [
        (primary(), standby(), "within"),
        (primary(), standby(received=200 * MIB, behind_s=None), "within"),
        (primary(), standby(behind_s=3600), "within"),
        (primary(), standby(received=99 * MIB, behind_s=4), "within"),
        (primary(), standby(received=99 * MIB, behind_s=6), "over"),
        (primary(), standby(received=80 * MIB, behind_s=1), "over"),
        (primary(), standby(received=99 * MIB, behind_s=None), "over"),
        (None, standby(), "not-known"),
        (primary(timeline=2), standby(), "not-known"),
        (primary(system_identifier="8"), standby(), "another-cluster"),
        (primary(), standby(at=SEEN + timedelta(minutes=10)), "within"),
        (primary(), standby(at=SEEN + timedelta(minutes=11)), "not-known"),
        (primary(), standby(at=SEEN + timedelta(days=30), streaming=True), "within"),
    ],
    ids=[
        "all that was seen",
        "came further since",
        "idle for an hour, and has all",
        "behind within both limits",
        "too old",
        "too many bytes",
        "behind since nobody knows when",
        "the primary was never seen",
        "another timeline",
        "another cluster",
        "seen lately",
        "seen long ago, and cut off",
        "seen long ago, and streaming",
    ],
)
def test_a_standby_is_held_against_what_was_last_seen(
    seen: PrimaryPosition | None, found: StandbyPosition, verdict: str
) -> None:
    assert judge_lag(seen, found, rpo_s=5, max_lag_bytes=16 * MIB).verdict == verdict


@given(st.integers(1, 10**9), st.floats(0, 10**6))
def test_an_rpo_of_zero_allows_no_byte(missing: int, behind_s: float) -> None:
    lag = judge_lag(
        primary(2 * 10**9), standby(2 * 10**9 - missing, behind_s + 0.001), rpo_s=0, max_lag_bytes=10**9
    )
    assert lag.verdict == "over"


def test_the_value_that_is_signed_names_bytes_and_seconds() -> None:
    lag = judge_lag(primary(), standby(99 * MIB, 12.34), rpo_s=5, max_lag_bytes=16 * MIB)
    assert lag.observed == "1048576 bytes and 12.3 s behind"
    assert "what the primary had at 2026-11-21 03:14:00 UTC" in lag.words


def test_an_old_look_is_signed_for_with_its_age_and_what_was_known_then() -> None:
    lag = judge_lag(primary(), standby(at=SEEN + timedelta(days=30)), rpo_s=5, max_lag_bytes=16 * MIB)
    assert lag.observed.startswith("not known: pg-a was last seen 720")
    assert lag.observed.endswith("pg-b does not stream and was then 0 bytes and 0.0 s behind")
    assert lag.words == lag.observed


def test_a_long_rpo_makes_a_look_live_longer() -> None:
    found = standby(at=SEEN + timedelta(minutes=50))
    assert judge_lag(primary(), found, rpo_s=3600, max_lag_bytes=16 * MIB).verdict == "within"
