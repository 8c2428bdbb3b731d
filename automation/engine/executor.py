"""The executor: steps start as soon as what they wait for has ended.

Invariant: a step's start is in the journal, synced, before its effect begins, and
its end before anything that waits for it starts. Threads carry effects; only the
loop of `execute` decides and only it writes the journal.
"""

import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Thread

from automation.engine.context import RunContext
from automation.engine.dispatch import perform
from automation.engine.journal import Journal
from automation.model.errors import AdapterError, AutomationError, OutcomeUnknown
from automation.model.logs import redact
from automation.model.plan import Plan, Step
from automation.model.records import (
    Event,
    Failure,
    Outcome,
    RunClosed,
    RunStatus,
    StepEnded,
    StepStarted,
)

# An adapter keeps the step's time limit itself; this is how much later the executor gives up on it.
GRACE_S = 5.0
MAX_PARALLEL = 32

Perform = Callable[[Step, RunContext], Outcome]


@dataclass
class _State:
    """Where a run stands; everything in it can be folded from the journal."""

    waiting: dict[str, Step]
    running: dict[str, float] = field(default_factory=dict)
    succeeded: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    passed_over: set[str] = field(default_factory=set)
    halted: bool = False
    interrupted: bool = False

    def ready(self) -> list[Step]:
        """Steps that may start now, in plan order."""
        if self.halted or self.interrupted:
            return []
        good = self.succeeded | self.passed_over
        ended = good | self.failed
        return [s for s in self.waiting.values() if good.issuperset(s.needs) and ended.issuperset(s.after)]


def _perform(step: Step, ctx: RunContext) -> Outcome:
    return perform(step.run, ctx)


def execute(
    plan: Plan,
    ctx: RunContext,
    journal: Journal,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    perform: Perform = _perform,
) -> RunClosed:
    """Run a plan to its end, or to where it cannot go on; every effect is journalled.

    Returns:
        The closing record. `paused`: a failure holds back what depends on it;
        `halted`: a step with `on_failure: halt` failed; `interrupted`: Ctrl-C.
    """
    state = _State(waiting={step.id: step for step in plan.steps})
    ended: Queue[StepEnded] = Queue()
    while True:
        try:
            _start_ready(state, ctx, journal, ended, on_event, perform)
            if not state.running:
                break
            _take_end(plan, state, ended, journal, on_event)
        except KeyboardInterrupt:
            if state.interrupted:
                raise
            state.interrupted = True
            ctx.progress(
                "", "interrupted: no new step starts; waiting for those that run (Ctrl-C again to leave them)"
            )
    closed = RunClosed(status=_status(state), not_started=tuple(state.waiting))
    on_event(journal.append(closed))
    return closed


def _status(state: _State) -> RunStatus:
    if state.interrupted and state.waiting:
        return "interrupted"
    if state.halted:
        return "halted"
    return "paused" if state.failed or state.waiting else "succeeded"


def _start_ready(
    state: _State,
    ctx: RunContext,
    journal: Journal,
    ended: Queue[StepEnded],
    on_event: Callable[[Event], None],
    perform: Perform,
) -> None:
    for step in state.ready()[: MAX_PARALLEL - len(state.running)]:
        del state.waiting[step.id]
        state.running[step.id] = time.monotonic() + step.timeout_s + GRACE_S
        on_event(journal.append(StepStarted(step=step.id)))
        Thread(target=_run_step, args=(step, ctx, ended, perform), name=step.id, daemon=True).start()


def _run_step(step: Step, ctx: RunContext, ended: Queue[StepEnded], perform: Perform) -> None:
    """Perform one step and hand its end to the loop; the outer edge around one action."""
    try:
        outcome = perform(step, ctx.for_step(step.id, step.timeout_s))
        ended.put(StepEnded(step=step.id, status="succeeded", outcome=outcome))
    except Exception as exc:
        failure = _failure(exc)
        if failure.error not in _EXPECTED:
            with suppress(Exception):  # nobody may be there to read it; the end must be told all the same
                ctx.say(traceback.format_exc())
        failure = failure.model_copy(update={"message": redact(failure.message, ctx.resolved)})
        ended.put(StepEnded(step=step.id, status="failed", failure=failure))


_EXPECTED = frozenset(
    {"AdapterError", "StepFailed", "OutcomeUnknown", "NotMet", "ConfigError", "PreflightError"}
)


def _failure(exc: Exception) -> Failure:
    known = isinstance(exc, AutomationError) and not isinstance(exc, OutcomeUnknown)
    return Failure(
        error=type(exc).__name__,
        message=str(exc) or repr(exc),
        hint=exc.hint if isinstance(exc, AutomationError) else None,
        known=known,
        transient=isinstance(exc, AdapterError) and exc.transient,
    )


def _take_end(
    plan: Plan, state: _State, ended: Queue[StepEnded], journal: Journal, on_event: Callable[[Event], None]
) -> None:
    """Wait for the next step to end, or give up on one that is past its limit."""
    deadline = min(state.running.values())
    try:
        end = ended.get(timeout=max(0.0, min(deadline - time.monotonic(), 1.0)))
    except Empty:
        late = [name for name, limit in state.running.items() if limit <= time.monotonic()]
        if not late:
            return
        end = _given_up(plan.step(late[0]))
    if end.step not in state.running:
        return  # given up on before: its late answer changes nothing that was journalled
    on_event(journal.append(end))
    del state.running[end.step]
    _settle(plan.step(end.step), end, state)


def _given_up(step: Step) -> StepEnded:
    failure = Failure(
        error="OutcomeUnknown",
        message=f"step {step.id} ({step.run.do}): no answer within {step.timeout_s:g} s; "
        + ("nothing was changed by it" if step.run.effect == "read" else "state unknown"),
        known=step.run.effect == "read",
    )
    return StepEnded(step=step.id, status="failed", failure=failure)


def _settle(step: Step, end: StepEnded, state: _State) -> None:
    if end.status == "succeeded":
        state.succeeded.add(step.id)
    elif step.on_failure == "continue":
        state.passed_over.add(step.id)
    else:
        state.failed.add(step.id)
        state.halted = state.halted or step.on_failure == "halt"
