"""The executor: order, parallel steps, failures, limits; the journal before the effect."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.executor import execute
from automation.engine.journal import Journal, read_journal
from automation.model.actions import Wait
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.plan import Plan, Step
from automation.model.records import Outcome, StepEnded, StepStarted

DONE = Outcome(changed=True, summary="done")


def make_plan(*steps: Step) -> Plan:
    return Plan(name="test", environment="lab", mode="apply", steps=steps)


def step(name: str, *needs: str, **settings: object) -> Step:
    return Step.model_validate(
        {"id": name, "run": Wait(seconds=0), "why": "test", "needs": needs, **settings}
    )


class Performer:
    """Notes which step runs; fails those it is told to."""

    def __init__(self, journal: Path, failures: dict[str, Exception] | None = None) -> None:
        self.journal = journal
        self.failures = failures or {}
        self.order: list[str] = []

    def __call__(self, step: Step, ctx: RunContext) -> Outcome:
        started = [e.body.step for e in read_journal(self.journal) if isinstance(e.body, StepStarted)]
        assert step.id in started, "the effect began before its start was in the journal"
        self.order.append(step.id)
        if step.id in self.failures:
            raise self.failures[step.id]
        return DONE


def run(plan: Plan, ctx: RunContext, **failures: Exception) -> tuple[str, Performer, tuple[str, ...]]:
    journal = Journal(ctx.state / "journal.jsonl")
    performer = Performer(journal.path, failures)
    closed = execute(plan, ctx, journal, work=Work(perform=performer))
    journal.close()
    return closed.status, performer, closed.not_started


def test_a_step_starts_after_what_it_needs(context: RunContext) -> None:
    status, performer, _ = run(make_plan(step("c", "b"), step("b", "a"), step("a")), context)
    assert (status, performer.order) == ("succeeded", ["a", "b", "c"])


def test_independent_steps_run_at_the_same_time(context: RunContext) -> None:
    meeting = threading.Barrier(2, timeout=10)

    def meet(step: Step, ctx: RunContext) -> Outcome:
        meeting.wait()
        return DONE

    journal = Journal(context.state / "journal.jsonl")
    assert (
        execute(make_plan(step("a"), step("b")), context, journal, work=Work(perform=meet)).status
        == "succeeded"
    )


def test_a_pause_holds_back_only_what_depends_on_the_failure(context: RunContext) -> None:
    plan = make_plan(step("a"), step("b", "a"), step("x"), step("y", "x"))
    status, performer, waiting = run(plan, context, a=AdapterError("no"))
    assert (status, set(performer.order), waiting) == ("paused", {"a", "x", "y"}, ("b",))


def test_after_a_halt_nothing_new_starts(context: RunContext) -> None:
    plan = make_plan(step("a", on_failure="halt"), step("x", after=("a",)))
    status, performer, waiting = run(plan, context, a=AdapterError("no"))
    assert (status, performer.order, waiting) == ("halted", ["a"], ("x",))


def test_continue_lets_what_needs_the_failed_step_go_on(context: RunContext) -> None:
    plan = make_plan(step("a", on_failure="continue"), step("b", "a"))
    status, performer, _ = run(plan, context, a=AdapterError("no"))
    assert (status, performer.order) == ("succeeded", ["a", "b"])


def test_after_orders_and_does_not_need(context: RunContext) -> None:
    plan = make_plan(step("a"), step("b", after=("a",)))
    status, performer, _ = run(plan, context, a=AdapterError("no"))
    assert (status, performer.order) == ("paused", ["a", "b"])


def ends(ctx: RunContext) -> dict[str, StepEnded]:
    events = read_journal(ctx.state / "journal.jsonl")
    return {event.body.step: event.body for event in events if isinstance(event.body, StepEnded)}


@pytest.mark.parametrize(("error", "known"), [(AdapterError("no"), True), (OutcomeUnknown("?"), False)])
def test_a_failure_says_whether_its_effect_is_known(
    context: RunContext, error: Exception, known: bool
) -> None:
    run(make_plan(step("a")), context, a=error)
    failure = ends(context)["a"].failure
    assert failure is not None
    assert failure.known is known


def test_a_step_past_its_limit_is_given_up(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automation.engine.executor.GRACE_S", 0.0)
    release = threading.Event()

    def hang(step: Step, ctx: RunContext) -> Outcome:
        release.wait(30)
        return DONE

    journal = Journal(context.state / "journal.jsonl")
    closed = execute(
        make_plan(step("a", timeout_s=0.05), step("b", "a")), context, journal, work=Work(perform=hang)
    )
    release.set()
    assert (closed.status, closed.not_started) == ("paused", ("b",))


def test_a_resolved_secret_never_reaches_the_journal(context: RunContext) -> None:
    (context.state / "password").write_text("correct-horse-battery")

    def leak(step: Step, ctx: RunContext) -> Outcome:
        from automation.model.secrets import SecretRef

        raise AdapterError(f"login with {ctx.secret(SecretRef(file='password'))} failed")

    journal = Journal(context.state / "journal.jsonl")
    execute(make_plan(step("a")), context, journal, work=Work(perform=leak))
    text = journal.path.read_text()
    assert "correct-horse-battery" not in text
    assert "[redacted]" in text


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Small plans of every shape: each step may need or follow any earlier one."""
    names = [f"s{number}" for number in range(draw(st.integers(1, 6)))]
    steps = []
    for index, name in enumerate(names):
        earlier = st.lists(st.sampled_from(names[:index]), unique=True) if index else st.just([])
        needs = draw(earlier)
        after = [other for other in draw(earlier) if other not in needs]
        rule = draw(st.sampled_from(["pause", "halt", "continue"]))
        steps.append(step(name, *needs, after=tuple(after), on_failure=rule))
    return make_plan(*draw(st.permutations(steps)))


@given(plan=plans(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_step_runs_twice_or_before_what_it_waits_for(
    plan: Plan, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    failing = data.draw(st.sets(st.sampled_from([s.id for s in plan.steps])))
    journal = Journal(folder / "journal.jsonl")
    ctx = RunContext("r", None, None, folder, folder, folder, None, lambda s, t: None)  # type: ignore[arg-type]
    performer = Performer(journal.path, {name: AdapterError("no") for name in failing})
    closed = execute(plan, ctx, journal, work=Work(perform=performer))
    journal.close()
    assert len(performer.order) == len(set(performer.order))
    assert set(performer.order) | set(closed.not_started) == {s.id for s in plan.steps}
    passable = {s.id for s in plan.steps if s.id not in failing or s.on_failure == "continue"}
    for name in performer.order:
        assert set(plan.step(name).needs) <= passable
        assert all(performer.order.index(w) < performer.order.index(name) for w in plan.waits_for[name])


def test_a_step_that_fails_without_a_listener_still_ends(context: RunContext) -> None:
    def gone(step: str, text: str) -> None:
        raise BrokenPipeError

    def defect(step: Step, ctx: RunContext) -> Outcome:
        raise ZeroDivisionError

    journal = Journal(context.state / "journal.jsonl")
    work = Work(perform=defect)
    closed = execute(make_plan(step("a")), replace(context, progress=gone), journal, work=work)
    assert closed.status == "paused"
