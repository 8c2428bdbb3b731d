"""Freezes: when a plan is not run, until when, and that a real failover is not held back by them."""

from datetime import UTC, datetime

import pytest

from automation.model.errors import PreflightError
from automation.recovery.freezes import frozen, refuse_frozen
from automation.recovery.spec import RecoveryPlan
from tests.recovery.mixed import plan_of

PAYROLL = {
    "name": "payroll",
    "rrule": "FREQ=MONTHLY;BYMONTHDAY=14,28",
    "for": "24 h",
    "tz": "America/New_York",
    "reason": "pay leaves",
}


def freezing(**words: object) -> RecoveryPlan:
    return plan_of(freezes=[{**PAYROLL, **words}])


def at(month: int, day: int, hour: int) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def ends(plan: RecoveryPlan, now: datetime, mode: str = "exercise") -> list[datetime]:
    return [one.until for one in frozen(plan, mode, now)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (at(11, 14, 4), []),
        (at(11, 14, 5), [at(11, 15, 5)]),
        (at(11, 15, 4), [at(11, 15, 5)]),
        (at(11, 15, 5), []),
    ],
    ids=["a minute to midnight there", "its beginning", "its last hour", "its end"],
)
def test_a_freeze_is_read_on_its_own_clock(now: datetime, until: list[datetime]) -> None:
    assert ends(freezing(), now) == until


def test_a_freeze_over_a_change_of_the_clocks_lasts_as_long_as_it_says() -> None:
    plan = freezing(rrule="FREQ=YEARLY;BYMONTH=11;BYMONTHDAY=1")
    assert ends(plan, at(11, 1, 12)) == [at(11, 2, 4)]


def test_stretches_that_touch_end_together() -> None:
    plan = freezing(rrule="FREQ=MONTHLY;BYMONTHDAY=14,15,16", tz="UTC")
    assert ends(plan, at(11, 14, 1)) == [at(11, 17, 0)]


def test_a_real_failover_is_held_back_only_where_the_freeze_says_so() -> None:
    now = at(11, 14, 12)
    refuse_frozen(freezing(), "failover", now)
    with pytest.raises(PreflightError, match="payroll"):
        refuse_frozen(freezing(modes=["failover"]), "failover", now)


def test_a_refusal_names_the_freeze_why_and_until_when() -> None:
    words = r"freeze 'payroll' \(pay leaves\) is in force until 2026-11-15 00:00 EST.*nothing was changed"
    with pytest.raises(PreflightError, match=words) as refused:
        refuse_frozen(freezing(), "exercise", at(11, 14, 12))
    assert refused.value.exit_code == 4


@pytest.mark.parametrize(
    "words", [{"tz": "Norfolk"}, {"rrule": "every month"}, {"for": "0 s"}, {"modes": []}], ids=str
)
def test_a_freeze_that_means_nothing_is_refused(words: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="freezes"):
        freezing(**words)
