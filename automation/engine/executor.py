"""The executor: steps start as soon as what they wait for has ended.

Invariant: a step's start is in the journal, synced, before its effect begins, and its end before anything
that waits for it starts. Threads carry effects; only the loop of `execute` decides and only it writes the
journal. A run that is resumed looks first at every step whose end is not written down; and before a step that
cannot be taken back, or that brings up what is to serve, what must hold at its moment is done again, however
long ago it succeeded: the declaration, the fences, their proof. What is done again and fails holds back what
stands on it, nothing else; what follows a takeover does not wait for it. A fence is lifted in the same way:
its guard, the look at the old primary, is done again by a resume and after a person's answer.
"""

import time
from collections import deque
from contextlib import suppress
from heapq import heappop, heappush
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Literal

from automation.engine.attempt import Message, Work, attempt
from automation.engine.context import RunContext
from automation.engine.fold import Folded, fold
from automation.engine.holding import MOVES, Again, is_grave, is_renewed, pauses, plan_again
from automation.engine.hooks import Hooks
from automation.engine.journal import Journal
from automation.engine.schedule import Schedule
from automation.model.actions import CiteDeclaration
from automation.model.errors import AutomationError
from automation.model.plan import Gate, Plan, Step
from automation.model.records import (
    Body,
    Failure,
    Outcome,
    RunClosed,
    RunStatus,
    StepEnded,
    StepRetried,
    StepStarted,
    StepVerified,
)

# An adapter keeps the step's time limit itself; this is how much later the executor gives up on it.
GRACE_S = 5.0
# How long a stop waits for the steps that run, before it leaves them to the resume.
STOP_LIMIT_S = 30.0
BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0

STOP = Message("", "stop")


def execute(
    plan: Plan,
    ctx: RunContext,
    journal: Journal,
    *,
    folded: Folded | None = None,
    hooks: Hooks | None = None,
    work: Work | None = None,
    messages: SimpleQueue[Message] | None = None,
) -> RunClosed:
    """Run a plan to its end, or to where it cannot go on; every effect is journalled.

    Args:
        folded: what the journal says already; None for a new run.
        messages: where a signal may put STOP, twice to leave what runs; None when nobody will.

    Returns:
        The closing record. `paused`: a failure or a gate holds back what depends on it; `halted`: nothing
        new may start; `interrupted`: a stop was asked for.

    Raises:
        AutomationError: the journal cannot be written; nothing was started since.
    """
    execution = _Execution(plan, ctx, journal, folded or fold(()), hooks or Hooks())
    execution.work = work or Work()
    execution.messages = messages or SimpleQueue()
    return execution.run()


def in_doubt(plan: Plan, folded: Folded) -> tuple[Step, ...]:
    """Steps of a resumed run whose effect may or may not be there, in plan order."""
    unsure = {name for name, failure in folded.failed.items() if failure.transient or not failure.known}
    return tuple(s for s in plan.steps if s.id in folded.started or (s.id in unsure and not _passed(s)))


def may_be_settled_done(step: Step) -> bool:
    """Whether a person may ever say that it is done; all else is looked at or done again."""
    return step.run.irreversible or step.run.effect == "destroy"


def _passed(step: Step) -> bool:
    return step.on_failure == "continue"


class _Execution:
    """One process's share of a run."""

    work: Work
    messages: SimpleQueue[Message]

    def __init__(self, plan: Plan, ctx: RunContext, journal: Journal, folded: Folded, hooks: Hooks) -> None:
        self.plan, self.ctx, self.journal, self.folded, self.hooks = plan, ctx, journal, folded, hooks
        passed = [name for name in folded.failed if name in plan.by_id and _passed(plan.step(name))]
        self.schedule = Schedule(plan, succeeded=folded.succeeded, passed_over=passed)
        self.running: dict[str, float] = {}
        self.delayed: list[tuple[float, str]] = []
        self.deadlines: dict[str, float] = {}
        self.gated: set[str] = set()
        self.questions: deque[Step] = deque()
        self.asking: str | None = None
        self.looking: set[str] = set()
        self.halted = False
        self.stopping: float | None = None

    def run(self) -> RunClosed:
        resumed = bool(self.folded.once)
        try:
            if resumed:
                self._let_go(self._again())
            doubtful = in_doubt(self.plan, self.folded)
            for step in doubtful:
                self.schedule.occupy(step)
                self._launch(step, "verified")
            looked_at = {step.id for step in doubtful if self._stands_on_looks(step)}
            self.looking = set(looked_at)
            while self.looking and (self.stopping is None or time.monotonic() < self.stopping):
                self._take()
            if resumed and self.stopping is None and not self.halted:
                again = self._again()
                self._let_go(again)
                self._repeat(again)
            while self._start_ready():
                self._take()
            closed = RunClosed(
                status=self._status(), not_started=self.schedule.waiting, gates=tuple(sorted(self.gated))
            )
            self._append(closed)
        except AutomationError:
            self._let_end()
            raise
        return closed

    def _again(self) -> Again:
        return plan_again(self.plan, self.folded, waiting=self.schedule.waiting, running=self.running)

    def _let_go(self, again: Again) -> None:
        """End what had to hold for what is done by now, in whatever state an earlier resume left it.

        To do it again would find another world: a replica that is none any more, a fence of what serves now.
        """
        for name in sorted(again.over):
            said = {"changed": False, "summary": "it held for what is done by now; it was not done again"}
            outcome = self._earlier(name).model_copy(update=said)
            self._append(StepEnded(step=name, status="succeeded", outcome=outcome))
            self.schedule.give_up(name)
            self.schedule.end(name, good=True)

    def _earlier(self, name: str) -> Outcome:
        """Give how a step ended that was good once, with what it saw then."""
        ends = (event.body for event in reversed(self.journal.events) if isinstance(event.body, StepEnded))
        outcomes = (end.outcome for end in ends if end.step == name and end.outcome is not None)
        return next(outcomes, Outcome(changed=False, summary=""))

    def _repeat(self, again: Again) -> None:
        """Have all done again that must hold when a step starts which takes over or cannot be taken back."""
        needs = {name: before for name, before in again.needs.items() if name not in again.over}
        self.schedule.repeat(again.steps, needs)

    def _stands_on_looks(self, step: Step) -> bool:
        """Whether it is begun again only when all is looked at: what a move needed may be over by then."""
        may_be_over = step.run.holds and (self.plan.mode in MOVES or step.run.effect == "read")
        behind_fence = any(is_renewed(self.plan.step(name)) for name in step.needs)
        return is_grave(self.plan, step) or may_be_over or behind_fence

    def _guards(self, step: Step) -> set[str]:
        return {name for name in step.needs if self.plan.step(name).run.guards}

    def _append(self, body: Body) -> None:
        event = self.journal.append(body)
        self.folded.add(event)
        with suppress(Exception):  # a terminal that is gone, or a view with a fault, stops no run
            self.hooks.on_event(event)

    def _status(self) -> RunStatus:
        left = bool(self.schedule.waiting or self.running or self.delayed)
        if self.stopping is not None and left:
            return "interrupted"
        if self.halted:
            return "halted"
        stuck = [name for name in self.folded.failed if not _passed(self.plan.step(name))]
        return "paused" if stuck or left else "succeeded"

    # --- starting -----------------------------------------------------------------------------

    def _start_ready(self) -> bool:
        """Start what may start; say whether there is anything left to wait for."""
        if self.stopping is not None:
            return bool(self.running) and time.monotonic() < self.stopping
        if not self.halted:
            while (step := self.schedule.take()) is not None:
                self._start(step)
        return bool(self.running or ((self.asking or self.delayed) and not self.halted))

    def _start(self, step: Step) -> None:
        if step.gate is not None and not self._is_open(step, step.gate):
            self.schedule.hold_back(step)
            self.gated.add(step.id)
            self._ask(step)
            return
        self._append(StepStarted(step=step.id))
        self._launch(step, "performed")

    def _is_open(self, step: Step, gate: Gate) -> bool:
        """Whether a gate was answered yes; where a plan wants signatures, by one of the gate's role."""
        answer = self.folded.gates.get(step.id)
        if answer is None or answer.answer == "no":
            return False
        return self.plan.approvals is None or gate.role in answer.roles

    def _launch(self, step: Step, kind: Literal["performed", "verified"]) -> None:
        now = time.monotonic()
        end = self.deadlines.setdefault(step.id, now + step.timeout_s)
        self.running[step.id] = max(end, now) + GRACE_S
        ctx = self.ctx.for_step(step.id, max(1.0, end - now), self.folded.attempt(step.id))
        put, work = self.messages.put, self.work

        def carry() -> None:
            put(attempt(step, ctx, kind, work))

        Thread(target=carry, name=step.id, daemon=True).start()

    def _ask(self, step: Step) -> None:
        """Put a gate's question to a person, if there is one; other steps go on meanwhile."""
        if self.hooks.ask is not None and self.plan.approvals is None:
            self.questions.append(step)
            self._ask_next()

    def _ask_next(self) -> None:
        """Ask one thing at a time: an answer must not be taken for that of another gate."""
        ask, put = self.hooks.ask, self.messages.put
        if ask is None or self.asking or not self.questions or self.halted or self.stopping is not None:
            return
        step = self.questions.popleft()

        def carry() -> None:
            answer = None
            try:
                answer = ask(step)
            finally:  # whatever became of the question: the next one waits for it
                put(Message(step.id, "answered", answer=answer))

        self.asking = step.id
        Thread(target=carry, name=f"{step.id} gate", daemon=True).start()

    # --- what comes back ----------------------------------------------------------------------

    def _take(self) -> None:
        """Wait for the next message, the end of a wait, or a step that is past its limit."""
        now = time.monotonic()
        waits = [] if self.halted or self.stopping is not None else [when for when, _ in self.delayed[:1]]
        until = min([now + 1.0, *self.running.values(), *waits])
        try:
            message = self.messages.get(timeout=max(0.0, until - now))
        except Empty:
            self._on_time(time.monotonic())
            return
        if message.kind == "stop":
            self._on_stop()
        elif message.kind == "answered":
            self._on_answered(message)
        elif message.step in self.running:  # else given up on before: a late answer changes nothing
            del self.running[message.step]
            step = self.plan.step(message.step)
            if message.kind == "verified":
                self._on_verified(step, message)
            else:
                self._on_performed(step, message)

    def _on_time(self, now: float) -> None:
        if self.delayed and self.delayed[0][0] <= now and self.stopping is None and not self.halted:
            self._launch(self.plan.step(heappop(self.delayed)[1]), "performed")
            return
        for name in [name for name, limit in self.running.items() if limit <= now]:
            del self.running[name]
            self.looking.discard(name)
            self._fail(self.plan.step(name), _given_up(self.plan.step(name)))

    def _on_stop(self) -> None:
        now = time.monotonic()
        if self.stopping is None:
            self.stopping = now + STOP_LIMIT_S
            names = ", ".join(sorted(self.running)) or "nothing"
            self.ctx.progress(
                "", f"stopping: no new step starts; waiting for {names} (once more to leave them)"
            )
        else:
            self.stopping = now

    def _on_answered(self, message: Message) -> None:
        self.asking = None
        self._ask_next()
        if message.answer is None:
            return
        self._append(message.answer)
        step = self.plan.step(message.step)
        if message.answer.answer == "yes":
            self.gated.discard(step.id)
            self._free(step)
        else:
            self.gated.discard(step.id)
            self.schedule.give_up(step.id)
            self._conclude(step, Failure(error="StepFailed", message=_declined(step, message.answer.by)))

    def _free(self, step: Step) -> None:
        """Let a step start that was answered for; its guards look again, whatever time the answer took."""
        guards = self._guards(step)
        if not guards:
            self.schedule.free(step.id)
            return
        for name in guards:
            self.deadlines.pop(name, None)
        self.schedule.precede(guards, step.id)

    def _on_verified(self, step: Step, message: Message) -> None:
        self.looking.discard(step.id)
        progress = message.progress
        if progress is None:
            why = message.failure.message if message.failure else ""
            self._append(StepVerified(step=step.id, progress="unknown", why=why))
            self._fail(step, _unknown(step, why))
            return
        self._append(StepVerified(step=step.id, progress=progress.state, why=progress.why))
        if progress.outcome is not None:
            self._append(StepEnded(step=step.id, status="succeeded", outcome=progress.outcome))
            self._succeed(step)
        elif progress.state == "unknown":
            self._fail(step, _unknown(step, progress.why))
        elif self.halted or self.stopping is not None:
            self.schedule.put_back(step)
        elif progress.state == "not_done" and self._stands_on_looks(step):
            self.deadlines.pop(step.id, None)
            self.schedule.put_back(step)  # what must hold at its moment comes first
        else:
            self.deadlines.pop(step.id, None)
            if progress.state == "not_done":
                self._append(StepStarted(step=step.id))
            self._launch(step, "performed")

    def _on_performed(self, step: Step, message: Message) -> None:
        failure = message.failure
        if failure is None:
            self._append(StepEnded(step=step.id, status="succeeded", outcome=message.outcome))
            self._succeed(step)
        elif (wait_s := self._retry_after(step, failure)) is not None:
            tried = self.folded.started.get(step.id, 0) + 1
            self._append(StepRetried(step=step.id, attempt=tried, failure=failure, wait_s=wait_s))
            heappush(self.delayed, (time.monotonic() + wait_s, step.id))
        else:
            self._fail(step, failure)

    def _retry_after(self, step: Step, failure: Failure) -> float | None:
        tried = self.folded.started.get(step.id, 0)
        wait_s = min(BACKOFF_S * 2**tried, LONGEST_BACKOFF_S)
        in_time = time.monotonic() + wait_s < self.deadlines[step.id]
        may = self.stopping is None and not self.halted
        return wait_s if failure.transient and tried < step.retries and in_time and may else None

    # --- ends ---------------------------------------------------------------------------------

    def _succeed(self, step: Step) -> None:
        self.schedule.release(step)
        self.schedule.end(step.id, good=True)

    def _fail(self, step: Step, failure: Failure) -> None:
        self.schedule.release(step)
        self._conclude(step, failure)

    def _conclude(self, step: Step, failure: Failure) -> None:
        alone = pauses(self.plan, self.folded, step)
        if alone and not _passed(step):
            hint = _way_out(self.plan, self.ctx.run_id, step, failure)
            failure = failure.model_copy(update={"hint": hint})
        self._append(StepEnded(step=step.id, status="failed", failure=failure))
        self.schedule.end(step.id, good=_passed(step))
        grave = not failure.known and may_be_settled_done(step)
        self.halted = self.halted or grave or (step.on_failure == "halt" and not alone)

    def _let_end(self) -> None:
        """Wait for what runs; its ends cannot be written down, so the resume looks at it."""
        limit = time.monotonic() + STOP_LIMIT_S
        while self.running and time.monotonic() < limit:
            try:
                message = self.messages.get(timeout=1.0)
            except Empty:
                continue
            if message.kind == "stop":
                return
            self.running.pop(message.step, None)


def _given_up(step: Step) -> Failure:
    known = step.run.effect == "read"
    return Failure(
        error="OutcomeUnknown",
        message=f"step {step.id} ({step.run.do}): no answer within {step.timeout_s:g} s; "
        + ("nothing was changed by it" if known else "state unknown"),
        hint=None if known else "resume the run: it looks first how far the step came",
        known=known,
    )


def _unknown(step: Step, why: str) -> Failure:
    settle = f"--done {step.id} or --not-done {step.id}, and --reason"
    return Failure(
        error="OutcomeUnknown",
        message=f"step {step.id} ({step.run.do}) began and its end is not written down: {why}; state unknown",
        hint=f"look at it, then resume with {settle}" if may_be_settled_done(step) else "resume the run",
        known=False,
    )


def _way_out(plan: Plan, run_id: str, step: Step, failure: Failure) -> str:
    """Say what can be done when what must hold before a takeover cannot be done again."""
    env, runs = plan.environment, [one.run for one in plan.steps]
    site = next((run.site for run in runs if isinstance(run, CiteDeclaration)), None)
    told = failure.hint or f"mend it, then ./inv run.resume --env {env} --run {run_id}"
    if plan.mode != "failover" or site is None or isinstance(step.run, CiteDeclaration):
        return told
    return (
        f"{told}; if it cannot be mended, give this run up and fail over anew what has not come up: "
        f"./inv run.abort --env {env} --run {run_id} --reason '...', then "
        f"./inv dr.failover --env {env} --site {site} --accept-unfenced --reason '...'"
    )


def _declined(step: Step, by: str) -> str:
    asked = step.gate.ask if step.gate else ""
    return f"{by} answered no to {asked!r}; nothing was changed by it"
