"""A run that is stopped anywhere and resumed ends as if it had not been stopped."""

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.executor import execute
from automation.engine.fold import Folded, fold
from automation.engine.journal import Journal, read_journal
from automation.model.actions import Promote, Wait
from automation.model.errors import AdapterError
from automation.model.plan import Plan, Step
from automation.model.records import Event, Outcome, Progress
from tests.fakes.lives import Fate, live, read_fold


class World:
    """Effects by step, each there or not; they outlive the controller that asked for them."""

    def __init__(self, failing: frozenset[str], looks: bool) -> None:
        self.failing = failing
        self.looks = looks
        self.effects: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.lock = threading.Lock()

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        def perform(step: Step, ctx: RunContext) -> Outcome:
            with self.lock:
                if cut() is Fate.LOST:
                    return Outcome(changed=False, summary="nobody hears this")
                self.calls[step.id] += 1
                if step.id in self.failing:
                    raise AdapterError("no")
                changed = not self.effects[step.id]
                self.effects[step.id] = 1
                return Outcome(changed=changed, summary="done")

        def verify(step: Step, ctx: RunContext) -> Progress:
            if self.looks and self.effects[step.id]:
                return Progress(state="done", outcome=Outcome(changed=True, summary="was done"))
            return Progress(state="not_done")

        return Work(perform=perform, verify=verify)


def end_state(folder: Path, world: World) -> tuple[str, set[str], set[str], set[str]]:
    folded = read_fold(folder)
    assert folded.closed is not None
    done = {name for name, count in world.effects.items() if count}
    return folded.closed.status, set(folded.succeeded), set(folded.failed), done


def step(name: str, *needs: str, **more: object) -> Step:
    return Step.model_validate({"id": name, "run": Wait(seconds=0), "why": "test", "needs": needs, **more})


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Small plans of every shape; no halt, after which it is chance what had started already."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 5)))]
    steps = []
    for index, name in enumerate(names):
        earlier = st.lists(st.sampled_from(names[:index]), unique=True) if index else st.just([])
        needs = draw(earlier)
        after = tuple(other for other in draw(earlier) if other not in needs)
        steps.append(step(name, *needs, after=after, on_failure=draw(st.sampled_from(["pause", "continue"]))))
    limits = {"total": draw(st.integers(1, 3)), "per_host": 4}
    return Plan.model_validate(
        {"name": "t", "environment": "lab", "mode": "apply", "steps": draw(st.permutations(steps)),
         "limits": limits}
    )  # fmt: skip


@pytest.fixture(scope="module")
def no_sync() -> object:
    """Leave the disk alone; that every event is synced has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fdatasync", lambda descriptor: None)
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@given(plan=plans(), data=st.data())
@settings(max_examples=20, deadline=None)
def test_stopped_at_any_event_and_resumed_a_run_ends_the_same(
    plan: Plan, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, no_sync: object
) -> None:
    failing = frozenset(data.draw(st.sets(st.sampled_from([s.id for s in plan.steps]))))
    looks = data.draw(st.booleans())
    whole = tmp_path_factory.mktemp("whole")
    unstopped = World(failing, looks)
    assert live(plan, whole, unstopped)
    events = list(read_journal(whole / "journal.jsonl"))
    for boundary in range(len(events)):
        for fate in (Fate.LOST, Fate.DONE):
            folder, world = tmp_path_factory.mktemp("stopped"), World(failing, looks)
            if not live(plan, folder, world, until=after(boundary), fate=fate):
                again = data.draw(st.integers(1, 4), label="events until it is killed again")
                live(plan, folder, world, until=after(boundary + again), fate=fate)
                done = set(read_fold(folder).succeeded)
                world.calls.clear()
                live(plan, folder, world)
                assert not done & set(world.calls), "a completed step was done again"
            assert end_state(folder, world) == end_state(whole, unstopped)
            assert max(world.effects.values(), default=1) == 1
            folded_twice(folder)


def after(sequence: int) -> Callable[[Event], bool]:
    return lambda event: event.sequence >= sequence


def folded_twice(folder: Path) -> None:
    """Events that come again, in place or later, change nothing."""
    events = list(read_journal(folder / "journal.jsonl"))
    once = fold(events)
    assert fold([event for event in events for _ in range(2)]) == once
    assert fold([*events, *events]) == once


def renumbered(events: list[Event]) -> list[Event]:
    return [event.model_copy(update={"sequence": number}) for number, event in enumerate(events)]


def test_an_end_written_twice_is_one_end(tmp_path: Path) -> None:
    plan = Plan(name="t", environment="lab", mode="apply", steps=(step("a"), step("b", "a")))
    world = World(frozenset(), looks=True)
    assert live(plan, tmp_path, world)
    events = list(read_journal(tmp_path / "journal.jsonl"))
    doubled = fold(renumbered([event for event in events for _ in range(2)]))
    assert (doubled.succeeded, doubled.failed, doubled.started) == (fold(events).succeeded, {}, {})


def killed_in(folder: Path, plan: Plan, *, effect: bool) -> World:
    """A controller that died in the first step, its effect there or not."""
    world = World(frozenset(), looks=True)
    fate = Fate.DONE if effect else Fate.LOST
    assert not live(plan, folder, world, until=after(0), fate=fate)
    return world


def resume(folder: Path, plan: Plan, work: Work) -> Folded:
    journal = Journal(folder / "journal.jsonl")
    ctx = RunContext("r", None, None, folder, folder, folder, None, lambda s, t: None)  # type: ignore[arg-type]
    execute(plan, ctx, journal, folded=fold(journal.events), work=work)
    journal.close()
    return fold(read_journal(journal.path))


def test_a_step_found_done_is_not_called_again(tmp_path: Path) -> None:
    plan = Plan(name="t", environment="lab", mode="apply", steps=(step("a"),))
    world = killed_in(tmp_path, plan, effect=True)
    assert "a" in resume(tmp_path, plan, world.work(lambda: None)).succeeded
    assert world.calls["a"] == 1


def test_a_step_found_running_is_joined_without_a_second_start(tmp_path: Path) -> None:
    plan = Plan(name="t", environment="lab", mode="apply", steps=(step("a"),))
    world = killed_in(tmp_path, plan, effect=False)
    work = Work(perform=world.work(lambda: None).perform, verify=lambda s, c: Progress(state="in_progress"))
    assert "a" in resume(tmp_path, plan, work).succeeded
    kinds = [event.body.kind for event in read_journal(tmp_path / "journal.jsonl")]
    assert kinds.count("step-started") == 1


def test_a_step_whose_effect_is_unknown_waits_for_a_person(tmp_path: Path) -> None:
    promote = Promote(host="pg-b", cluster="15/main", expect_system_identifier="1", expect_timeline=1)
    steps = (step("a", run=promote), step("b", "a"))
    plan = Plan(name="t", environment="lab", mode="apply", steps=steps)
    world = killed_in(tmp_path, plan, effect=False)
    work = Work(
        perform=world.work(lambda: None).perform,
        verify=lambda s, c: Progress(state="unknown", why="nobody answers"),
    )
    folded = resume(tmp_path, plan, work)
    assert (folded.failed["a"].error, folded.failed["a"].known) == ("OutcomeUnknown", False)
    assert world.calls["a"] == 0
    assert "--not-done a" in (folded.failed["a"].hint or "")


def test_a_failed_step_is_tried_again(tmp_path: Path) -> None:
    plan = Plan(name="t", environment="lab", mode="apply", steps=(step("a"), step("b", "a")))
    world = World(frozenset({"a"}), looks=True)
    assert live(plan, tmp_path, world)
    world.failing = frozenset()
    assert live(plan, tmp_path, world)
    assert end_state(tmp_path, world) == ("succeeded", {"a", "b"}, set(), {"a", "b"})
