"""A tabletop: injects in their order, what was said and how long it took, and what is open in the end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from automation.commands._table import ask_table
from automation.engine.attempt import Work
from automation.engine.journal import read_journal
from automation.model.errors import ConfigError
from automation.model.plan import Plan, Step
from automation.model.records import GateAnswered
from automation.recovery.failover import compile_walkthrough
from automation.recovery.planner import City
from automation.recovery.spec import load_plan
from automation.recovery.tabletop import (
    Tabletop,
    TabletopRecord,
    compile_tabletop,
    fold_tabletop,
    load_tabletop,
)
from tests.fakes.lives import Fate, live
from tests.recovery.conftest import REPOSITORY

STORY = {
    "name": "fire",
    "title": "Fire",
    "objectives": ["who declares is known"],
    "players": ["dr-coordinator", "communications"],
    "injects": [
        {
            "at": "0 min",
            "happens": "Smoke.",
            "to": "dr-coordinator",
            "expect": "declares",
            "steps": ["payments-db/promote"],
        },
        {"at": "30 min", "happens": "The press calls.", "to": "communications", "expect": "gives a number"},
    ],
}


class Talk:
    """A world in which people only talk; anything done to a server is an error."""

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        return Work()


@pytest.fixture
def walkthrough(city: City) -> Plan:
    return compile_walkthrough("city", load_plan(REPOSITORY, "city"), city, "city-hall")


@pytest.fixture
def plan(walkthrough: Plan) -> Plan:
    return compile_tabletop(Tabletop.model_validate(STORY), walkthrough)


def played(plan: Plan, folder: Path, *lines: str) -> tuple[TabletopRecord, str]:
    """Play at a terminal into which these lines are typed, and give the record and what was shown."""
    typed: Iterator[str] = iter(f"{line}\n" for line in lines)
    shown: list[str] = []

    def ask(step: Step) -> GateAnswered | None:
        return ask_table(step, "alex", lambda: next(typed, ""), shown.append)

    live(plan, folder, Talk(), ask=ask)
    return fold_tabletop(plan, tuple(read_journal(folder / "journal.jsonl"))), "".join(shown)


WHOLE = (
    "Alex (dr-coordinator)",
    "Sam (communications)",
    "",
    "I declare it.",
    "",
    "yes",
    "We say nothing.",
    "",
    "maybe",
    "no",
    "Who may speak at night?",
    "",
)


def with_opening(plan: Plan, folder: Path) -> None:
    """What run_plan writes before the first step."""
    from automation.engine.journal import Journal
    from automation.model.records import RunOpened

    journal = Journal(folder / "journal.jsonl")
    journal.append(
        RunOpened(
            run_id="r",
            plan_format=plan.format,
            plan_name=plan.name,
            plan_digest=plan.digest,
            environment="lab",
            mode="tabletop",
            actor="alex",
            node="n",
            version="0",
        )
    )
    journal.close()


def test_what_was_said_at_the_table_stands_in_the_record(plan: Plan, tmp_path: Path) -> None:
    with_opening(plan, tmp_path)
    record, _ = played(plan, tmp_path, *WHOLE)
    assert record.present == "Alex (dr-coordinator)\nSam (communications)"
    assert [(one.handled, one.said, one.by) for one in record.injects] == [
        (True, "I declare it.", "alex"),
        (False, "We say nothing.", "alex"),
    ]
    assert record.open_questions == ("Who may speak at night?",)
    assert record.finished


def test_every_answer_has_its_time(plan: Plan, tmp_path: Path) -> None:
    with_opening(plan, tmp_path)
    record, _ = played(plan, tmp_path, *WHOLE)
    first, second = record.injects
    assert first.told_at is not None
    assert first.answered_at is not None
    assert second.told_at is not None
    assert first.told_at <= first.answered_at <= second.told_at
    assert second.took_s is not None


def test_what_was_not_done_as_expected_is_a_finding(plan: Plan, tmp_path: Path) -> None:
    with_opening(plan, tmp_path)
    record, _ = played(plan, tmp_path, *WHOLE)
    assert record.findings == (
        "communications at T+30 min: The press calls. Expected: gives a number Said: We say nothing.",
    )


def test_what_is_expected_is_shown_after_the_answer_alone(plan: Plan, tmp_path: Path) -> None:
    with_opening(plan, tmp_path)
    _, before = played(plan, tmp_path, *WHOLE[:4])
    assert "Smoke." in before
    assert "declares" not in before
    (tmp_path / "again").mkdir()
    with_opening(plan, tmp_path / "again")
    _, after = played(plan, tmp_path / "again", *WHOLE[:5])
    assert "the plan says: payments-db/promote: pg-b becomes the one writable primary" in after
    assert "expected: declares" in after


def test_one_that_is_broken_off_goes_on_at_the_inject_that_nobody_answered(
    plan: Plan, tmp_path: Path
) -> None:
    with_opening(plan, tmp_path)
    record, _ = played(plan, tmp_path, *WHOLE[:6])
    assert (record.finished, record.injects[1].handled) == (False, None)
    record, shown = played(plan, tmp_path, *WHOLE[6:])
    assert record.finished
    assert "Smoke." not in shown


def test_a_record_names_the_plan_that_was_talked_through(
    plan: Plan, walkthrough: Plan, tmp_path: Path
) -> None:
    with_opening(plan, tmp_path)
    record, _ = played(plan, tmp_path)
    assert record.exercised == f"failover-city-hall, 14 steps, digest {walkthrough.digest}"


def test_a_tabletop_does_nothing_but_ask(plan: Plan) -> None:
    assert {step.run.do.partition(".")[0] for step in plan.steps} == {"people"}
    assert {step.run.effect for step in plan.steps} == {"read"}


@pytest.mark.parametrize("name", sorted(p.stem for p in (REPOSITORY / "drtests/tabletops").glob("*.yml")))
def test_the_tabletops_of_this_repository_can_be_played(walkthrough: Plan, name: str) -> None:
    assert compile_tabletop(load_tabletop(REPOSITORY, name), walkthrough).mode == "tabletop"


def test_an_inject_about_a_step_that_is_not_there_is_refused(walkthrough: Plan) -> None:
    story = {**STORY, "injects": [{**STORY["injects"][0], "steps": ["pay/none"]}]}  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="has no step 'pay/none'"):
        compile_tabletop(Tabletop.model_validate(story), walkthrough)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"at": "1 h"}, "told after a later one"), ({"to": "mayor"}, "not at the table")],
    ids=["order", "absent"],
)
def test_a_story_that_cannot_be_told_is_refused(change: dict[str, str], words: str) -> None:
    first, second = STORY["injects"]
    with pytest.raises(ValueError, match=words):
        Tabletop.model_validate({**STORY, "injects": [{**first, **change}, second]})  # type: ignore[dict-item]


def test_a_tabletop_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no flood\.yml in tabletops") as refused:
        load_tabletop(REPOSITORY, "flood")
    assert "night-fire" in str(refused.value.hint)
