"""Audits one after the other: what they counted, what changed between them, and where that is drawn."""

from datetime import timedelta

import pytest

from automation.baseline.trend import FAILED_PX, LABEL_PX, MOST, Look, change, draw, look, spread
from automation.baseline.verdicts import Assessment, State, Verdict
from tests.baseline.examples import NOW

ROOT, BANNER = "lin.ssh.root-login", "lin.ssh.banner"


def assess(subject: str, **states: State) -> Assessment:
    names = {"root": (ROOT, "high"), "banner": (BANNER, "low")}
    verdicts = tuple(
        Verdict.model_validate(
            {"control": names[name][0], "subject": subject, "severity": names[name][1], "state": state}
        )
        for name, state in states.items()
    )
    return Assessment(subject=subject, profile="standard", judged_at=NOW, collected_at=NOW, verdicts=verdicts)


def seen(days: int, *assessments: Assessment) -> Look:
    then = [one.model_copy(update={"collected_at": NOW + timedelta(days=days)}) for one in assessments]
    found = look(f"run-{days}", then, {one.subject for one in then})
    assert found is not None
    return found


def test_only_the_hosts_that_are_asked_for_are_counted() -> None:
    both = (assess("web", root="fail", banner="unknown"), assess("db", root="fail", banner="error"))
    found = look("run-1", both, {"web", "gone"})
    assert found is not None
    assert (found.failed, found.unknown, found.subjects) == (1, 1, frozenset({"web"}))
    assert look("run-1", both, {"gone"}) is None
    assert seen(1, *both).severities == {"high": 2, "low": 1}


def test_what_changed_is_told_of_hosts_that_both_judged() -> None:
    before = seen(0, assess("web", root="fail", banner="pass"), assess("old", root="fail"))
    after = seen(1, assess("web", root="pass", banner="fail"), assess("new", root="fail"))
    found = change([before, after])
    assert found is not None
    assert found.new == ((BANNER, "web"),)
    assert found.gone == ((ROOT, "web"),)
    assert found.hosts == 1
    assert change([after]) is None


@pytest.mark.parametrize("number", [0, 1, MOST, MOST + 1, 40, 365])
def test_of_many_some_are_chosen_with_the_first_and_the_last(number: int) -> None:
    names = [f"{one:03}" for one in range(number)]
    chosen = spread(names)
    assert len(chosen) == min(number, MOST)
    assert list(chosen) == sorted(set(chosen))
    if names:
        assert (chosen[0], chosen[-1]) == (names[0], names[-1])


def test_the_highest_column_fills_its_place_and_nothing_leaves_the_drawing() -> None:
    drawing = draw(
        [
            seen(0, assess("web", root="fail", banner="fail"), assess("db", root="fail", banner="unknown")),
            seen(5, assess("web", root="pass", banner="fail")),
            seen(9, assess("web", root="pass", banner="pass")),
        ]
    )
    first, second, third = drawing.columns
    assert [(one.kind, one.height) for one in first.blocks] == [
        ("severe", FAILED_PX * 2 / 3),
        ("low", FAILED_PX / 3),
        ("still", 36),
    ]
    assert first.blocks[1].y == LABEL_PX
    assert (second.failed, len(second.blocks)) == ("1", 1)
    assert third.blocks == ()
    assert [one.tick for one in drawing.columns] == ["11-22", "11-27", "12-01"]
    for column in drawing.columns:
        assert 0 <= column.x < column.x + column.width <= 100
        for block in column.blocks:
            assert LABEL_PX <= block.y <= block.y + block.height <= drawing.height_px


def test_many_columns_have_few_labels_and_a_day_has_times() -> None:
    many = [seen(day, assess("web", root="pass")) for day in range(MOST)]
    ticks = [one.tick for one in draw(many).columns]
    assert (len([one for one in ticks if one]), ticks[-1]) == (6, "12-03")
    assert [one.tick for one in draw(many[:2]).columns] == ["12:00", "12:00"]


def test_where_nothing_failed_nothing_is_drawn_and_nothing_is_divided_by_it() -> None:
    (column,) = draw([seen(0, assess("web", root="pass"))]).columns
    assert (column.blocks, column.failed) == ((), "0")
