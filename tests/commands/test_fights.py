"""Fights over the settings of accounts and vCenters, by the journals of the runs that made the calls."""

from datetime import UTC, datetime, timedelta

import pytest

from automation.baseline.planner import ENFORCE, UNDO
from automation.commands._enforced import list_fights
from automation.commands._session import Session
from automation.model.baseline_evidence import CallsMade
from automation.model.provider_settings import SavedCall
from tests.commands.test_baseline_enforce import leave, session

__all__ = ("session",)
ACCOUNT, CONTROL = "111122223333", "aws.s3.public-access"
MADE = SavedCall(control=CONTROL, call="block_public_access", before=False, after=True)
BACK = MADE.model_copy(update={"before": True, "after": False})


def leave_calls(
    session: Session, plan: str, days_ago: float, saved: SavedCall, subject: str = ACCOUNT
) -> None:
    at = datetime.now(UTC) - timedelta(days=days_ago)
    run = f"{at:%Y%m%d-%H%M%S}-{plan[9:13]}"
    leave(session, run, at, plan, CallsMade(subject=subject, saved=(saved,)))


def fought_over(session: Session) -> list[tuple[str, str]]:
    return [(one.control, one.host) for one in list_fights(session.state, datetime.now(UTC))]


def test_calls_that_are_made_again_and_again_are_a_fight(session: Session) -> None:
    for days in (1, 2, 3):
        leave_calls(session, ENFORCE, days, MADE)
    assert fought_over(session) == [(CONTROL, ACCOUNT)]


@pytest.mark.parametrize(
    ("subject", "fights"), [(ACCOUNT, 0), ("444455556666", 1)], ids=["this account", "another"]
)
def test_a_call_that_people_took_back_is_no_fight(session: Session, subject: str, fights: int) -> None:
    for days in (1, 2, 3):
        leave_calls(session, ENFORCE, days, MADE)
    leave_calls(session, UNDO, 1.5, BACK, subject)
    assert len(fought_over(session)) == fights


def test_what_is_changed_back_after_an_undoing_counts_again(session: Session) -> None:
    for days in (1, 2, 3, 4):
        leave_calls(session, ENFORCE, days, MADE)
    leave_calls(session, UNDO, 3.5, BACK)
    assert fought_over(session) == [(CONTROL, ACCOUNT)]
