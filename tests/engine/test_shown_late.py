"""A promotion that AWS shows only after a resume has looked: the run comes to its end all the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import read_journal
from automation.model.actions import Action, AwaitReplica, PromoteReplica
from automation.model.errors import AdapterError
from automation.model.plan import Plan, Step
from automation.model.records import Outcome, Progress, StepEnded, StepStarted
from tests.engine.test_pilot_walk import PLANS, Regions, yes
from tests.fakes.lives import Fate, live, read_fold

each_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Slow(Regions):
    """Regions where a promotion shows only after so many looks at it; what was promoted is no replica."""

    def __init__(self, plan: Plan, looks: int) -> None:
        super().__init__(plan)
        self.looks = looks

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        def verify(step: Step, ctx: RunContext) -> Progress:
            if not isinstance(step.run, PromoteReplica):
                return Progress(state="not_done")
            self.looks -= 1
            if self.looks >= 0 or self.copies[step.run.database]:
                return Progress(state="not_done", why="it is a replica")
            return Progress(state="done", outcome=Outcome(changed=True, summary="promoted"))

        return replace(super().work(cut), verify=verify)

    def do_to_database(self, run: Action) -> None:
        if isinstance(run, AwaitReplica | PromoteReplica) and not self.copies[run.database]:
            raise AdapterError(f"database {run.database} is no replica; nothing was changed")
        super().do_to_database(run)


def promoting(plan: Plan) -> Step:
    return next(step for step in plan.steps if isinstance(step.run, PromoteReplica))


def waits(plan: Plan) -> set[str]:
    """What waits for the replica before its promotion."""
    under = (plan.step(name) for name in plan.stands_on(promoting(plan).id))
    return {step.id for step in under if isinstance(step.run, AwaitReplica)}


def cut_off(plan: Plan, folder: Path, looks: int) -> Slow:
    """Kill the controller right after its promotion was taken."""
    regions, name = Slow(plan, looks), promoting(plan).id
    live(
        plan,
        folder,
        regions,
        until=lambda event: isinstance(event.body, StepStarted) and event.body.step == name,
        fate=Fate.LOST,
        ask=yes,
    )
    regions.do(promoting(plan).run)
    return regions


@each_plan
def test_a_wait_that_failed_because_the_promotion_was_done_is_not_begun_again(
    plan: Plan, tmp_path: Path
) -> None:
    regions = cut_off(plan, tmp_path, looks=1)
    assert live(plan, tmp_path, regions, ask=yes)
    (failed,) = read_fold(tmp_path).failed  # the look was too early
    assert failed in waits(plan)
    journal = len(list(read_journal(tmp_path / "journal.jsonl")))
    for _ in range(3):
        live(plan, tmp_path, regions, ask=yes)
    closed = read_fold(tmp_path).closed
    assert closed is not None
    assert closed.status == "succeeded"
    later = list(read_journal(tmp_path / "journal.jsonl"))[journal:]
    again = [event.body.step for event in later if isinstance(event.body, StepStarted)]
    assert not waits(plan) & set(again)
    ends = [e.body for e in later if isinstance(e.body, StepEnded) and e.body.step == failed]
    assert [end.outcome.summary for end in ends if end.outcome] == [
        "it held for what is done by now; it was not done again"
    ]


@each_plan
def test_what_a_killed_resume_began_again_is_not_launched_beside_a_promotion_that_shows(
    plan: Plan, tmp_path: Path
) -> None:
    regions = cut_off(plan, tmp_path, looks=1)
    live(
        plan,
        tmp_path,
        regions,
        until=lambda event: isinstance(event.body, StepStarted) and event.body.step in waits(plan),
        ask=yes,
    )
    assert live(plan, tmp_path, regions, ask=yes)
    closed = read_fold(tmp_path).closed
    assert closed is not None
    assert closed.status == "succeeded"
