"""Fights: what is fixed again and again is told, and what was fixed in one run counts once."""

from datetime import timedelta

import pytest

from automation.baseline.fights import Change, TakenBack, find_fights, without_undone
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


@pytest.mark.parametrize(
    ("undone", "left"),
    [
        ([(LOGIN, "web", 0)], {"run-3", "run-2"}),
        ([(LOGIN, "web", 1.5)], {"run-3", "run-1"}),
        ([(LOGIN, "web", 0.2), (LOGIN, "web", 0.1)], {"run-3"}),
        ([(LOGIN, "web", 4)], {"run-3", "run-2", "run-1"}),
        ([(LOGIN, "db", 0)], {"run-3", "run-2", "run-1"}),
        ([("lin.sudo.log", "web", 0)], {"run-3", "run-2", "run-1"}),
    ],
    ids=["the last", "one between", "two", "before all", "of another host", "of another control"],
)
def test_an_undoing_takes_back_the_newest_change_before_it(
    undone: list[tuple[str, str, float]], left: set[str]
) -> None:
    backs = [TakenBack(control, host, NOW - timedelta(days=days)) for control, host, days in undone]
    assert {one.run for one in without_undone(changes(1, 2, 3), backs)} == left


def test_what_one_run_changed_twice_for_a_control_is_taken_back_at_once() -> None:
    back = TakenBack(LOGIN, "web", NOW)
    assert without_undone([*changes(1), *changes(1)], [back]) == []
