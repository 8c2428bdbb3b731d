"""Giving a run up: undo in reverse, never under what cannot be taken back; cleanup that can be run again."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.engine.run import abort_run, make_run_folder, resume_run, run_plan
from automation.model.actions import BlockServer, PowerOnVm, Promote, UnblockServer, Wait
from automation.model.errors import AdapterError, PreflightError
from automation.model.evidence import ServerState
from automation.model.plan import Mode, Plan, Step
from automation.model.records import Outcome, Progress, ProgressState, StepUndone
from tests.engine.conftest import in_folder

DONE = Outcome(changed=True, summary="done")
WAIT, UNDO = Wait(seconds=0), Wait(seconds=0)
PROMOTE = Promote(host="pg-b", cluster="15/main", expect_system_identifier="1", expect_timeline=1)


def step(name: str, *needs: str, **more: object) -> Step:
    return Step.model_validate({"id": name, "run": WAIT, "why": "test", "needs": needs, **more})


def make_plan(*steps: Step) -> Plan:
    return Plan(name="test", environment="lab", mode="apply", steps=steps)


class Notes:
    """What was done and taken back, in order; fails what it is told to."""

    def __init__(self, *failing: str) -> None:
        self.failing = set(failing)
        self.said: list[str] = []
        self.work = Work(perform=self._note(""), undo=self._note("undo "))

    def _note(self, word: str) -> Callable[[Step, RunContext], Outcome]:
        def note(step: Step, ctx: RunContext) -> Outcome:
            self.said.append(word + step.id)
            if word + step.id in self.failing:
                raise AdapterError("no")
            return DONE

        return note


@pytest.fixture
def ctx(context: RunContext) -> RunContext:
    make_run_folder(context.state, "r1")
    return in_folder(context, "r1")


def run(plan: Plan, ctx: RunContext, notes: Notes) -> str:
    return run_plan(plan, ctx, actor="first", work=notes.work).closed.status


def abort(ctx: RunContext, notes: Notes, *, undo: bool = True) -> str:
    notes.said.clear()
    return abort_run(ctx, actor="second", reason="test", undo=undo, work=notes.work).closed.status


def test_what_has_begun_is_taken_back_last_first(ctx: RunContext) -> None:
    notes = Notes("c")
    plan = make_plan(step("a", undo=UNDO), step("b", "a", undo=UNDO), step("c", "b", undo=UNDO))
    assert run(plan, ctx, notes) == "paused"
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["undo c", "undo b", "undo a"]


def test_without_undo_only_the_cleanup_runs(ctx: RunContext) -> None:
    notes = Notes("b")
    plan = make_plan(step("a", undo=UNDO), step("b", "a"), step("x", "b", cleanup=True), step("y", "b"))
    run(plan, ctx, notes)
    assert abort(ctx, notes, undo=False) == "aborted"
    assert notes.said == ["x"]


def test_cleanup_that_fails_is_run_again_by_another_abort_and_nothing_else_is(ctx: RunContext) -> None:
    notes = Notes("b", "x")
    plan = make_plan(
        step("a", undo=UNDO), step("b", "a"), step("x", "b", cleanup=True), step("y", "b", cleanup=True)
    )
    run(plan, ctx, notes)
    assert abort(ctx, notes) == "paused"
    assert notes.said == ["undo a", "y", "x"]
    notes.failing.clear()
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["x"]


def test_cleanup_that_may_fail_is_tried_and_holds_no_abort_up(ctx: RunContext) -> None:
    notes = Notes("b", "x")
    record = step("x", "b", cleanup=True).model_copy(update={"on_failure": "continue"})
    plan = make_plan(step("a"), step("b", "a"), record, step("y", "b", cleanup=True))
    run(plan, ctx, notes)
    assert abort(ctx, notes, undo=False) == "aborted"
    assert notes.said == ["y", "x"]


def test_a_step_in_doubt_is_taken_back_too_because_an_undo_looks_first(ctx: RunContext) -> None:
    notes = Notes()

    def lost(step: Step, ctx: RunContext) -> Outcome:
        raise AdapterError("connection lost", transient=True, unknown=True)

    plan = make_plan(step("a", run=BlockServer(host="pg-a"), undo=UnblockServer(host="pg-a")), step("b", "a"))
    run_plan(plan, ctx, actor="first", work=Work(perform=lost))
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["undo a"]


def test_what_never_began_is_not_cleaned_up(ctx: RunContext) -> None:
    notes = Notes("a")
    plan = make_plan(step("a"), step("b", "a"), step("x", "b", cleanup=True), step("y", cleanup=True))
    notes.failing.add("y")
    run(plan, ctx, notes)
    notes.failing.clear()
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["y"]


def test_an_undo_that_fails_stops_those_before_it_and_is_tried_again(ctx: RunContext) -> None:
    notes = Notes("c", "undo b")
    plan = make_plan(step("a", undo=UNDO), step("b", "a", undo=UNDO), step("c", "b"))
    run(plan, ctx, notes)
    assert abort(ctx, notes) == "paused"
    assert notes.said == ["undo b"]
    notes.failing.clear()
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["undo b", "undo a"]


def test_a_fence_is_never_lifted_after_the_promotion_that_stands_on_it(ctx: RunContext) -> None:
    notes = Notes("swap")
    fence = step("fence", run=BlockServer(host="pg-a"), undo=UnblockServer(host="pg-a"))
    plan = make_plan(
        fence,
        step("promote", "fence", run=PROMOTE),
        step("swap", "promote"),
        step("other", undo=UNDO),
    )
    run(plan, ctx, notes)
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["undo other"]


@pytest.mark.parametrize(
    ("seen", "ends", "undone"),
    [("done", "aborted", []), ("unknown", "paused", []), ("not_done", "aborted", ["undo fence"])],
)
def test_a_promotion_that_is_said_to_have_failed_is_looked_at_before_its_fence_is_lifted(
    seen: str, ends: str, undone: list[str], ctx: RunContext
) -> None:
    notes = Notes("promote")
    progress = Progress.model_validate({"state": seen, "outcome": DONE if seen == "done" else None})
    notes.work = replace(notes.work, verify=lambda step, ctx: progress)
    block = BlockServer(host="pg-a")
    plan = make_plan(
        step("fence", run=block, undo=UnblockServer(host="pg-a")), step("promote", "fence", run=PROMOTE)
    )
    assert run(plan, ctx, notes) == "paused"
    assert abort(ctx, notes) == ends
    assert notes.said == undone


def test_an_aborted_run_is_not_resumed_and_not_aborted_twice(ctx: RunContext) -> None:
    notes = Notes("a")
    run(make_plan(step("a")), ctx, notes)
    assert abort(ctx, notes) == "aborted"
    with pytest.raises(PreflightError, match="given up"):
        resume_run(ctx, actor="first", work=notes.work)
    with pytest.raises(PreflightError, match="nothing to abort"):
        abort(ctx, notes)


def test_a_plan_that_was_changed_is_not_carried_out_by_an_abort(ctx: RunContext) -> None:
    notes = Notes("b")
    run(make_plan(step("a", undo=UNDO), step("b", "a")), ctx, notes)
    path = ctx.artifacts.parent / "plan.json"
    path.write_text(path.read_text().replace('"why": "test"', '"why": "other"', 1))
    with pytest.raises(PreflightError, match="was changed after it was opened"):
        abort(ctx, notes)
    assert notes.said == []


def test_a_machine_that_may_not_change_the_environment_aborts_nothing(ctx: RunContext) -> None:
    notes = Notes("b")
    run(make_plan(step("a", undo=UNDO), step("b", "a")), ctx, notes)
    elsewhere = ctx.environment.model_copy(update={"control_nodes": ("another-node",)})
    with pytest.raises(PreflightError, match="no control node"):
        abort(replace(ctx, environment=elsewhere), notes)
    assert notes.said == []


def test_each_undo_is_written_down_before_and_after(ctx: RunContext, tmp_path: Path) -> None:
    notes = Notes("b")
    run(make_plan(step("a", undo=UNDO), step("b", "a")), ctx, notes)
    abort(ctx, notes)
    bodies = [event.body for event in read_journal(ctx.artifacts.parent / "journal.jsonl")]
    kinds = [body.kind for body in bodies]
    assert kinds.index("undo-started") + 1 == kinds.index("step-undone")
    assert [body.step for body in bodies if isinstance(body, StepUndone)] == ["a"]
    assert fold(read_journal(ctx.artifacts.parent / "journal.jsonl")).undone == {"a"}


POWER_ON = PowerOnVm(host="gis-db-a", site="eoc")


@pytest.mark.parametrize("mode", ["planned-migration", "failback"])
def test_a_move_takes_nothing_back_that_a_vm_stands_on_which_was_powered_on(
    mode: Mode, ctx: RunContext
) -> None:
    notes = Notes("second")
    steps = (
        step("register-1", undo=UNDO),
        step("register-2", undo=UNDO),
        step("first", "register-1", run=POWER_ON),
        step("second", "first", "register-2"),
    )
    run(make_plan(*steps).model_copy(update={"mode": mode}), ctx, notes)
    notes.work = replace(notes.work, verify=lambda step, ctx: Progress(state="not_done"))  # it is off by now
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["undo register-2"]


@pytest.mark.parametrize(
    ("state", "status", "taken_back"),
    [("not_done", "aborted", ["undo register"]), ("done", "aborted", []), ("unknown", "paused", [])],
)
def test_a_vm_whose_power_on_failed_is_looked_at_before_a_move_is_taken_back(
    state: ProgressState, status: str, taken_back: list[str], ctx: RunContext
) -> None:
    notes = Notes("on")
    plan = make_plan(step("register", undo=UNDO), step("on", "register", run=POWER_ON))
    run(plan.model_copy(update={"mode": "planned-migration"}), ctx, notes)
    progress = Progress(state=state, outcome=DONE if state == "done" else None)
    notes.work = replace(notes.work, verify=lambda step, ctx: progress)
    assert abort(ctx, notes) == status
    assert notes.said == taken_back


def test_a_test_s_vm_is_taken_back_though_it_was_powered_on(ctx: RunContext) -> None:
    notes = Notes("looked")
    plan = make_plan(step("register", undo=UNDO), step("on", "register", run=POWER_ON), step("looked", "on"))
    run(plan.model_copy(update={"mode": "test-failover"}), ctx, notes)
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["undo register"]


ON = ServerState(server="gis-db-a", power="on", autostart=False, network="connected")


def silent(ctx: RunContext, mode: Mode) -> Notes:
    """Give a run whose VM was powered on and whose tools do not answer."""
    notes, noted = Notes(), Notes().work

    def perform(step: Step, ctx: RunContext) -> Outcome:
        if isinstance(step.run, PowerOnVm):
            raise AdapterError("it gave no address", transient=True, evidence=ON)
        return noted.perform(step, ctx)

    look = Progress(state="in_progress", why="its tools are silent")
    notes.work = replace(notes.work, perform=perform, verify=lambda step, ctx: look)
    plan = make_plan(step("register", undo=UNDO), step("on", "register", run=POWER_ON))
    run(plan.model_copy(update={"mode": mode}), ctx, notes)
    return notes


@pytest.mark.parametrize("mode", ["planned-migration", "failback"])
@pytest.mark.parametrize("undo", [True, False])
def test_a_vm_that_is_on_and_silent_is_kept_by_a_move_that_is_given_up(
    undo: bool, mode: Mode, ctx: RunContext
) -> None:
    notes = silent(ctx, mode)
    assert abort(ctx, notes, undo=undo) == "aborted"
    assert notes.said == []


def test_a_vm_that_is_off_at_the_first_look_is_kept_too(ctx: RunContext) -> None:
    notes = silent(ctx, "planned-migration")
    notes.work = replace(notes.work, verify=lambda step, ctx: Progress(state="not_done"))
    assert abort(ctx, notes) == "aborted"
    assert notes.said == []


def test_a_test_whose_vm_stays_silent_can_be_given_up(ctx: RunContext) -> None:
    notes = silent(ctx, "test-failover")
    assert abort(ctx, notes) == "aborted"
    assert notes.said == ["undo register"]
