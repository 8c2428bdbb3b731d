"""How far a run had come when its controller was killed, and after which step that is."""

import json
from pathlib import Path
from random import Random

import pytest

from automation.commands._controller import Killing, pick_step, read_steps
from automation.model.actions import AwaitReady, PowerOffServer
from automation.model.errors import AutomationError
from automation.model.plan import Plan, Step

PLAN = Plan(
    name="p",
    environment="lab",
    mode="apply",
    steps=(
        *(Step(id=f"look-{number}", run=AwaitReady(host="pg-a"), why="w") for number in range(9)),
        Step(id="db/fence", run=PowerOffServer(host="pg-a"), why="w"),
    ),
)


def line(kind: str, step: str = "") -> str:
    return json.dumps({"body": {"kind": kind, **({"step": step} if step else {})}}) + "\n"


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_journal_that_was_cut_off_still_says_what_was_under_way(journal: Path) -> None:
    told = [line("run-opened"), line("step-started", "a"), line("step-ended", "a"), line("step-started", "b")]
    journal.write_text("".join(told) + '{"body":{"kind":"step-en')
    seen = read_steps(journal)
    assert (seen.under_way, seen.ended, seen.closed) == ({"b"}, {"a"}, False)


def test_a_step_that_failed_and_began_again_is_under_way(journal: Path) -> None:
    journal.write_text(line("step-started", "a") + line("step-ended", "a") + line("step-started", "a"))
    assert read_steps(journal).under_way == {"a"}


@pytest.mark.parametrize(
    ("kinds", "closed"),
    [
        (["run-opened", "run-closed"], True),
        (["run-opened", "run-closed", "run-sealed"], True),
        (["run-opened", "run-closed", "run-sealed", "run-resumed"], False),
        (["run-opened"], False),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_run_is_closed_until_it_goes_on(kinds: list[str], closed: bool, journal: Path) -> None:
    journal.write_text("".join(line(kind) for kind in kinds))
    assert read_steps(journal).closed is closed


def test_a_run_without_a_journal_has_come_nowhere(journal: Path) -> None:
    assert read_steps(journal) == (set(), set(), False)


def test_a_kill_that_is_aimed_comes_after_that_step() -> None:
    assert {pick_step(PLAN, Killing(Random(seed), aim="/fence")) for seed in range(9)} == {"db/fence"}


def test_a_kill_that_is_aimed_at_nothing_is_an_error() -> None:
    with pytest.raises(AutomationError, match="no step that ends in /promote"):
        pick_step(PLAN, Killing(Random(1), aim="/promote"))


def test_every_second_kill_comes_after_what_changes_something() -> None:
    picked = [pick_step(PLAN, Killing(Random(seed))) for seed in range(200)]
    assert 80 < picked.count("db/fence") < 140
    assert len(set(picked)) == len(PLAN.steps)
