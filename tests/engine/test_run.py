"""A run as a whole: gates, retries, decisions of people, its folder on a bad disk, what goes on beside it."""

import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

import automation
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.finished import Finished
from automation.engine.fold import Folded
from automation.engine.hooks import Hooks
from automation.engine.journal import Journal, read_journal
from automation.engine.run import Decision, abort_run, make_run_folder, resume_run, run_plan
from automation.model.actions import Action, PowerOffServer, Promote, ProveRefused, SuspectSplitBrain, Wait
from automation.model.errors import AdapterError, OutcomeUnknown, PreflightError, StepFailed
from automation.model.plan import PLAN_FORMAT, Gate, Plan, Step
from automation.model.records import (
    Body,
    Event,
    GateAnswered,
    Outcome,
    Progress,
    RunClosed,
    RunResumed,
    RunSealed,
    StepRetried,
    StepSettled,
)
from tests.engine.conftest import in_folder

DONE = Outcome(changed=True, summary="done")
GATE = Gate(role="dr-coordinator", ask="Is the building empty?")


def step(name: str, *needs: str, **more: object) -> Step:
    return Step.model_validate(
        {"id": name, "run": Wait(seconds=0), "why": "test", "needs": needs, **more}
    )  # fmt: skip


def make_plan(*steps: Step, **more: object) -> Plan:
    words = {"name": "test", "environment": "lab", "mode": "apply", "steps": steps, **more}
    return Plan.model_validate(words)


class Counting:
    """Counts attempts; each name fails with the errors given to it, one an attempt."""

    def __init__(self, **errors: list[Exception]) -> None:
        self.errors = errors
        self.calls: Counter[str] = Counter()
        self.work = Work(perform=self.perform)

    def perform(self, step: Step, ctx: RunContext) -> Outcome:
        self.calls[step.id] += 1
        if errors := self.errors.get(step.id):
            raise errors.pop(0)
        return DONE


@pytest.fixture
def ctx(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.setattr("automation.engine.executor.BACKOFF_S", 0.01)
    make_run_folder(context.state, "r1")
    return in_folder(context, "r1")


def bodies(ctx: RunContext) -> list[Body]:
    return [event.body for event in read_journal(ctx.artifacts.parent / "journal.jsonl")]


def run(plan: Plan, ctx: RunContext, work: Work | None = None, **hooks: object) -> Finished:
    return run_plan(
        plan, ctx, actor="first", work=work or Counting().work, hooks=Hooks(**hooks)  # type: ignore[arg-type]
    )  # fmt: skip


def resume(ctx: RunContext, *decisions: Decision, work: Work | None = None) -> Finished:
    return resume_run(ctx, actor="second", decisions=decisions, work=work or Counting().work)


def test_a_view_with_a_fault_stops_no_run(ctx: RunContext) -> None:
    def draw(event: Event) -> None:
        raise ValueError("I/O operation on closed file")

    assert run(make_plan(step("a"), step("b", "a")), ctx, on_event=draw).closed.status == "succeeded"


# --- gates ----------------------------------------------------------------------------------------


def answer(step: str, said: str) -> GateAnswered:
    return GateAnswered.model_validate({"step": step, "answer": said, "by": "coordinator"})


def test_a_gate_holds_back_only_what_depends_on_it(ctx: RunContext) -> None:
    counting = Counting()
    finished = run(make_plan(step("a", gate=GATE), step("b", "a"), step("x")), ctx, counting.work)
    assert (finished.closed.status, finished.closed.gates) == ("paused", ("a",))
    assert counting.calls == {"x": 1}


def test_without_a_person_the_run_ends_with_the_command_that_answers(ctx: RunContext) -> None:
    with pytest.raises(StepFailed, match="waiting for a person's answer: a") as error:
        run(make_plan(step("a", gate=GATE)), ctx).raise_for_status()
    assert "./inv run.resume --env lab --run r1 --gate a --answer yes" in str(error.value.hint)


def test_yes_lets_it_start_on_the_terminal_or_later(ctx: RunContext) -> None:
    asked = run(make_plan(step("a", gate=GATE), step("b", "a")), ctx, ask=lambda one: answer(one.id, "yes"))
    assert asked.closed.status == "succeeded"


def test_one_question_is_put_at_a_time(ctx: RunContext) -> None:
    open_, most = [0], [0]

    def ask(one: Step) -> GateAnswered:
        open_[0] += 1
        most[0] = max(most[0], open_[0])
        time.sleep(0.05)
        open_[0] -= 1
        return answer(one.id, "yes")

    plan = make_plan(*(step(name, gate=GATE) for name in "abc"))
    assert run(plan, ctx, ask=ask).closed.status == "succeeded"
    assert most == [1]


def test_a_halted_run_waits_for_no_answer(ctx: RunContext) -> None:
    asked, never = threading.Event(), threading.Event()

    def ask(one: Step) -> None:
        asked.set()
        never.wait(20)

    def perform(step: Step, ctx: RunContext) -> Outcome:
        asked.wait(10)
        raise AdapterError("no")

    began = time.monotonic()
    plan = make_plan(step("a", gate=GATE), step("x", on_failure="halt"))
    assert run(plan, ctx, Work(perform=perform), ask=ask).closed.status == "halted"
    assert time.monotonic() - began < 10
    never.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_question_that_cannot_be_put_leaves_its_gate_open_and_the_next_is_put(ctx: RunContext) -> None:
    def ask(one: Step) -> GateAnswered:
        if one.id == "a":
            raise RuntimeError("no terminal")
        return answer(one.id, "yes")

    finished = run(make_plan(step("a", gate=GATE), step("b", gate=GATE)), ctx, ask=ask)
    assert (finished.closed.status, finished.closed.gates) == ("paused", ("a",))


def test_yes_given_to_the_resume_lets_it_start(ctx: RunContext) -> None:
    run(make_plan(step("a", gate=GATE), step("b", "a")), ctx)
    assert resume(ctx, answer("a", "yes")).closed.status == "succeeded"


def test_no_is_a_failure_that_may_be_asked_again(ctx: RunContext) -> None:
    counting = Counting()
    plan = make_plan(step("a", gate=GATE), step("b", "a"))
    finished = run(plan, ctx, counting.work, ask=lambda one: answer(one.id, "no"))
    assert (finished.closed.status, dict(counting.calls)) == ("paused", {})
    assert resume(ctx, answer("a", "yes"), work=counting.work).closed.status == "succeeded"


def test_where_signatures_are_wanted_only_a_signed_answer_of_the_role_opens_a_gate(ctx: RunContext) -> None:
    counting = Counting()
    plan = make_plan(step("a", gate=GATE), approvals={"roles": ["dr-coordinator"]})
    asked = run(plan, ctx, counting.work, ask=lambda one: answer(one.id, "yes"))
    assert asked.closed.gates == ("a",), "nobody is asked on the terminal"
    with pytest.raises(PreflightError, match="a signature of role dr-coordinator"):
        resume(ctx, answer("a", "yes"))
    forged = run_again(ctx, [answer("a", "yes")], counting.work)
    assert (forged.closed.gates, dict(counting.calls)) == (("a",), {})
    signed = answer("a", "yes").model_copy(update={"roles": ("dr-coordinator",)})
    assert run_again(ctx, [signed], counting.work).closed.status == "succeeded"


def run_again(ctx: RunContext, admitted: Sequence[Body], work: Work) -> Finished:
    return resume_run(ctx, actor="second", work=work, hooks=Hooks(admit=lambda plan, folded: admitted))


# --- retries --------------------------------------------------------------------------------------


def lost() -> AdapterError:
    return AdapterError("connection lost", transient=True)


def test_a_transient_error_is_tried_again_and_each_attempt_is_written_down(ctx: RunContext) -> None:
    counting = Counting(a=[lost(), lost()])
    assert run(make_plan(step("a", retries=2)), ctx, counting.work).closed.status == "succeeded"
    assert counting.calls["a"] == 3
    retried = [body for body in bodies(ctx) if isinstance(body, StepRetried)]
    assert [body.attempt for body in retried] == [1, 2]
    assert retried[1].wait_s == 2 * retried[0].wait_s


@pytest.mark.parametrize(
    ("errors", "attempts"),
    [([AdapterError("no")], 1), ([OutcomeUnknown("?")], 1), ([lost(), lost()], 2)],
    ids=["not transient", "unknown", "more than the retries"],
)
def test_nothing_else_is_tried_again(ctx: RunContext, errors: list[Exception], attempts: int) -> None:
    counting = Counting(a=errors)
    assert run(make_plan(step("a", retries=1)), ctx, counting.work).closed.status == "paused"
    assert counting.calls["a"] == attempts


# --- what a person found ---------------------------------------------------------------------------


PROMOTE = Promote(host="pg-b", cluster="15/main", expect_system_identifier="1", expect_timeline=1)
FENCE = PowerOffServer(host="pg-a")
PROOF = ProveRefused(
    host="witness", server="pg-a", address="10.77.1.20", port=5432, reachable=("10.77.2.20:22",), means=()
)
MARK = SuspectSplitBrain(
    service="payments-db", hosts=("pg-a", "pg-b"), observed="x", roles=("a", "b"), reason="x"
)


def stopped_in_doubt(ctx: RunContext, action: Action = PROMOTE) -> None:
    run(make_plan(step("a", run=action), step("b", "a")), ctx, Counting(a=[OutcomeUnknown("?")]).work)


UNKNOWN = Work(verify=lambda step, ctx: Progress(state="unknown", why="dark"))


@pytest.mark.parametrize(("found", "attempts"), [("done", 0), ("not_done", 1)])
def test_a_person_settles_what_nobody_can_see(ctx: RunContext, found: str, attempts: int) -> None:
    stopped_in_doubt(ctx)
    counting = Counting()
    work = replace(UNKNOWN, perform=counting.perform)
    assert resume(ctx, work=work).closed.status == "halted"
    words = {"step": "a", "progress": found, "by": "second", "reason": "looked at it"}
    finished = resume(ctx, StepSettled.model_validate(words), work=work)
    assert (finished.closed.status, counting.calls["a"]) == ("succeeded", attempts)


def test_what_is_not_in_doubt_cannot_be_settled(ctx: RunContext) -> None:
    stopped_in_doubt(ctx)
    with pytest.raises(PreflightError, match="not in doubt"):
        resume(ctx, StepSettled(step="b", progress="done", by="second", reason="x"))


@pytest.mark.parametrize("error", [OutcomeUnknown("?"), AdapterError("no vantage", transient=True)])
@pytest.mark.parametrize("action", [FENCE, PROOF, MARK], ids=lambda action: action.do)
def test_a_fence_its_proof_and_the_mark_are_never_done_because_somebody_says_so(
    ctx: RunContext, action: Action, error: Exception
) -> None:
    run(make_plan(step("a", run=action), step("b", "a")), ctx, Counting(a=[error]).work)
    counting = Counting()
    settled = StepSettled(step="a", progress="done", by="second", reason="x")
    for _ in range(2):
        with pytest.raises(PreflightError, match="not done because somebody says so"):
            resume(ctx, settled, work=replace(UNKNOWN, perform=counting.perform))
        with pytest.raises(PreflightError, match="not done because somebody says so"):
            abort_run(ctx, actor="second", reason="x", undo=False, decisions=[settled])
        assert resume(ctx, work=UNKNOWN).closed.status == "paused", "an unknown look changes nothing of it"
    assert counting.calls == {}


def test_what_was_not_looked_at_in_vain_is_not_settled_as_done(ctx: RunContext) -> None:
    stopped_in_doubt(ctx)
    settled = StepSettled(step="a", progress="done", by="second", reason="x")
    with pytest.raises(PreflightError, match="a resume looks at it"):
        resume(ctx, settled)


def test_an_attempt_after_a_known_failure_has_a_number_of_its_own(ctx: RunContext) -> None:
    seen: list[int] = []

    def perform(step: Step, ctx: RunContext) -> Outcome:
        seen.append(ctx.attempt)
        raise AdapterError("no") if len(seen) == 1 else AdapterError("lost", transient=True)

    run(make_plan(step("a")), ctx, Work(perform=perform))
    resume(ctx, work=Work(perform=perform))
    resume(ctx, work=Work(perform=perform))
    assert seen == [1, 2, 2], "only a failure whose state is known makes a new unit"


# --- plan and folder --------------------------------------------------------------------------------


def test_a_plan_that_was_changed_is_not_resumed(ctx: RunContext) -> None:
    stopped_in_doubt(ctx)
    path = ctx.artifacts.parent / "plan.json"
    path.write_text(path.read_text().replace('"why": "test"', '"why": "other"', 1))
    with pytest.raises(PreflightError, match="was changed after it was opened"):
        resume(ctx)


def test_a_plan_of_another_format_is_not_resumed_and_says_which_can(ctx: RunContext) -> None:
    stopped_in_doubt(ctx)
    path = ctx.artifacts.parent / "plan.json"
    path.write_text(path.read_text().replace(f'"format": {PLAN_FORMAT}', '"format": 1'))
    with pytest.raises(PreflightError, match="of plan format 1") as error:
        resume(ctx)
    assert f"version {automation.__version__}" in str(error.value.hint)


def test_a_disk_without_room_refuses_before_anything(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automation.engine.run.MIN_FREE_BYTES", 2**60)
    with pytest.raises(PreflightError, match="nothing was changed"):
        make_run_folder(context.state, "r2")


def test_a_disk_that_fills_up_starts_nothing_more_and_the_run_goes_on_later(
    ctx: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting()
    plan = make_plan(step("a"), step("b", "a"), step("c", "b"))
    full = threading.Event()
    real = Journal._write

    def write(journal: Journal, line: bytes) -> None:
        if full.is_set() or b'"step-started","step":"b"' in line:
            full.set()
            monkeypatch.setattr("os.write", lambda fd, data: _short(fd, data))
        real(journal, line)

    def _short(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "_write", write)
    with pytest.raises(StepFailed, match="No space left on device") as error:
        run(plan, ctx, counting.work)
    assert "--run r1" in str(error.value.hint)
    assert counting.calls == {"a": 1}
    monkeypatch.undo()
    assert resume(ctx, work=counting.work).closed.status == "succeeded"
    assert counting.calls == {"a": 1, "b": 1, "c": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_small_disk_that_is_full_leaves_a_run_that_goes_on_when_there_is_room(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automation.engine.run.MIN_FREE_BYTES", 0)
    runs = context.state / "runs"
    runs.mkdir()
    counting = Counting()
    names = [f"s{number}" for number in range(300)]
    plan = make_plan(*(step(name, *names[max(0, index - 1) : index]) for index, name in enumerate(names)))
    mount = ["mount", "-t", "tmpfs", "-o"]
    subprocess.run([*mount, "size=128k,mode=0700", "none", str(runs)], check=True)
    try:
        make_run_folder(context.state, "r1")
        ctx = in_folder(context, "r1")
        with pytest.raises(StepFailed, match="No space left on device"):
            run(plan, ctx, counting.work)
        done = sum(counting.calls.values())
        assert 0 < done < len(names)
        with pytest.raises(StepFailed, match="No space left on device"):
            resume(ctx, work=counting.work)
        subprocess.run([*mount, "remount,size=4m", "none", str(runs)], check=True)
        assert resume(ctx, work=counting.work).closed.status == "succeeded"
    finally:
        subprocess.run(["umount", str(runs)], check=True)
    twice = [name for name, count in counting.calls.items() if count > 1]
    assert len(twice) <= 1, "only a step whose end could not be written down is run again"
    assert set(counting.calls) == set(names)


def test_a_torn_line_is_cut_off_kept_and_noted(ctx: RunContext) -> None:
    counting = Counting(b=[AdapterError("no")])
    run(make_plan(step("a"), step("b", "a")), ctx, counting.work)
    path = ctx.artifacts.parent / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert resume(ctx, work=counting.work).closed.status == "succeeded"
    (resumed,) = (body for body in bodies(ctx) if isinstance(body, RunResumed))
    assert resumed.torn_bytes == len((ctx.artifacts.parent / "journal.torn").read_bytes()) > 0
    assert counting.calls["a"] == 1


# --- seams ------------------------------------------------------------------------------------------


def test_a_run_that_is_not_admitted_starts_nothing_and_can_be_resumed(ctx: RunContext) -> None:
    counting = Counting()

    def refuse(plan: Plan, folded: Folded) -> Sequence[Body]:
        raise PreflightError("not approved; nothing was changed")

    with pytest.raises(PreflightError, match="not approved"):
        run(make_plan(step("a")), ctx, counting.work, admit=refuse)
    assert counting.calls == {}
    closed = bodies(ctx)[-1]
    assert isinstance(closed, RunClosed)
    assert (closed.status, closed.not_started) == ("paused", ("a",))
    assert resume(ctx, work=counting.work).closed.status == "succeeded"


def test_the_seal_is_the_last_line_and_covers_the_closing(ctx: RunContext) -> None:
    def seal(head: str) -> RunSealed:
        return RunSealed(head=head, signer="node", signed="{}", signature="s")

    run(make_plan(step("a")), ctx, seal=seal)
    *_, closed, sealed = read_journal(ctx.artifacts.parent / "journal.jsonl")
    assert isinstance(sealed.body, RunSealed)
    assert sealed.body.head == closed.hash


def test_the_heads_are_left_elsewhere_while_it_runs_and_a_failure_to_do_so_stops_nothing(
    ctx: RunContext,
) -> None:
    seen: list[tuple[int, str]] = []
    told = threading.Event()

    def beat(length: int, head: str) -> None:
        seen.append((length, head))
        if len(seen) == 2:
            told.set()
        raise AdapterError("the witness's host is away")

    def perform(step: Step, ctx: RunContext) -> Outcome:
        told.wait(10)
        return DONE

    plan = make_plan(step("a"))
    finished = run(plan, ctx, Work(perform=perform), on_heartbeat=beat, heartbeat_s=0.02)
    assert finished.closed.status == "succeeded"
    hashes = [event.hash for event in read_journal(ctx.artifacts.parent / "journal.jsonl")]
    assert all(hashes[length - 1] == head for length, head in seen)
    assert "the witness's host is away" in (ctx.artifacts.parent / "progress.log").read_text()


def test_progress_is_kept_with_its_step_and_without_secrets(ctx: RunContext) -> None:
    from automation.model.secrets import SecretRef

    (ctx.state / "password").write_text("correct-horse-battery")

    def perform(step: Step, ctx: RunContext) -> Outcome:
        ctx.say(f"logging in with {ctx.secret(SecretRef(file='password'))}")
        return DONE

    run(make_plan(step("a")), ctx, Work(perform=perform))
    (line,) = (ctx.artifacts.parent / "progress.log").read_text().splitlines()
    assert line.split("\t")[1:] == ["a", "logging in with [redacted]"]


def test_a_fault_is_refused_outside_a_lab() -> None:
    from automation.engine.run import refuse_faults
    from automation.model.actions import FailSite
    from automation.model.errors import ConfigError
    from automation.model.plan import Plan, Step

    step = Step(id="fault", run=FailSite(site="city-hall"), why="test")
    plan = Plan(name="test", environment="city", mode="exercise", steps=(step,))
    refuse_faults(plan, "lab")
    with pytest.raises(ConfigError, match="no lab"):
        refuse_faults(plan, "production")
