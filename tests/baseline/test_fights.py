"""Fights: what is fixed again and again is told, and what was fixed in one run counts once."""

from datetime import timedelta

import pytest

from automation.baseline.fights import Change, find_fights
from tests.baseline.examples import NOW

LOGIN = "lin.ssh.root-login"


def changes(*days_ago: float, host: str = "web", control: str = LOGIN) -> list[Change]:
    return [Change(control, host, f"run-{days}", NOW - timedelta(days=days)) for days in days_ago]


@pytest.mark.parametrize(
    ("made", "fights"),
    [
        ([*changes(1, 2, 3)], 1),
        ([*changes(1, 2)], 0),
        ([*changes(1, 2, 8)], 0),
        ([*changes(1, 2), *changes(3, host="db")], 0),
        ([*changes(1, 2), *changes(3, control="lin.sudo.log")], 0),
        ([*changes(1), *changes(1), *changes(1)], 0),
        ([*changes(1, 2, -1)], 0),
    ],
    ids=["thrice", "twice", "long ago", "another host", "another control", "one run", "of the future"],
)
def test_three_runs_within_seven_days_are_a_fight(made: list[Change], fights: int) -> None:
    assert len(list(find_fights(made, NOW))) == fights


def test_a_fight_names_its_runs() -> None:
    (fight,) = find_fights(changes(3, 1, 2), NOW)
    assert (fight.control, fight.host, fight.runs) == (LOGIN, "web", ("run-1", "run-2", "run-3"))
    assert "3 times within 7 days" in fight.words
