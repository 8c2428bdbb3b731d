"""What a move from another tool changes, said in a sentence."""

from datetime import timedelta

import pytest

from automation.backups.dialects import Dialect, OldRules, decide_as
from automation.backups.differences import compare_with
from automation.backups.retention import decide
from tests.backups.points import NOW, dailies, make_policy

RULES = {"daily": 7, "weekly": 4, "monthly": 12, "yearly": 3}
YEARS = dailies(3 * 365)
SHORT = dailies(45)
PAUSED = [*dailies(1), *dailies(3 * 365, until=NOW - timedelta(days=39))]


@pytest.mark.parametrize(
    ("dialect", "points", "kept"),
    [
        ("restic-0.14", YEARS, 21),
        ("restic-0.16", YEARS, 21),
        ("borg-1.4", YEARS, 26),
        ("restic-0.14", PAUSED, 20),
        ("restic-0.16", PAUSED, 20),
        ("borg-1.4", PAUSED, 26),
        ("restic-0.14", SHORT, 10),
        ("restic-0.16", SHORT, 11),
        ("borg-1.4", SHORT, 13),
    ],
)
def test_the_same_numbers_keep_different_points_in_each_tool(
    dialect: Dialect, points: list[object], kept: int
) -> None:
    found = decide_as(dialect, points, OldRules.model_validate(RULES), now=NOW)  # type: ignore[arg-type]
    assert abs(len(found.kept) - kept) <= 1  # the day of the week on which the history ends makes one


def test_a_difference_names_the_points() -> None:
    old = decide_as("borg-1.4", YEARS, OldRules.model_validate(RULES), now=NOW)
    new = decide(YEARS, make_policy("UTC", **RULES), now=NOW)
    said = compare_with(old.kept, new)
    assert said.old == len(old.kept)
    assert said.new == len(new.kept)
    assert str(said).startswith(f"your old rule kept {said.old}, this one keeps {said.new}: no longer ")
    assert said.only_new == ()
    assert {point.id for point in said.only_old} == set(old.kept) - {kept.point.id for kept in new.kept}
    assert str(compare_with([kept.point.id for kept in new.kept], new)).endswith(": the same")
