"""Giving a run up: look at what has no end, take steps back in reverse, clean up.

Invariant: nothing is taken back that an irreversible step which has succeeded, or may have, stands on: to
lift the fence of an old primary after a promotion would make two. In a move the same holds for a VM that was
powered on where it goes to, or failed while it was seen to be on: clients may have written to it, also if it
is off by now. One thing at a time, each journalled before and after, so that an abort that was cut off or
failed is simply run again.
"""

from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Literal

from automation.engine.attempt import Message, Work, attempt
from automation.engine.context import RunContext
from automation.engine.executor import in_doubt
from automation.engine.fold import Folded
from automation.engine.holding import serves_by_power
from automation.model.plan import Plan, Step
from automation.model.records import (
    Body,
    Failure,
    Outcome,
    Progress,
    RunClosed,
    StepEnded,
    StepStarted,
    StepUndone,
    StepVerified,
    UndoStarted,
)

Append = Callable[[Body], None]


def abort(
    plan: Plan,
    ctx: RunContext,
    folded: Folded,
    append: Append,
    work: Work,
    messages: SimpleQueue[Message],
) -> RunClosed:
    """Do all that giving up asks for, until a stop is asked for.

    Returns:
        `aborted`: all of it is done. `interrupted`: a stop came between. `paused`: something could not be
        taken back, cleaned up or looked at; another abort tries that again. A cleanup that may fail (a record
        that was never begun cannot be fetched) is tried and holds nothing up.
    """
    stopped = False
    for act in _acts(plan, ctx, folded, append, work):
        stopped = stopped or _stop_wanted(messages)
        if stopped:
            break
        act()
    kept = tuple(s.id for s in plan.steps if s.id not in folded.succeeded and s.id not in folded.failed)
    if stopped:
        return RunClosed(status="interrupted", not_started=kept)
    dirty = [step for step in _dirty(plan, folded) if step.on_failure != "continue"]
    left = folded.undo_failed or _open(plan, folded) or dirty
    return RunClosed(status="paused" if left else "aborted", not_started=kept)


def _stop_wanted(messages: SimpleQueue[Message]) -> bool:
    try:
        messages.get_nowait()
    except Empty:
        return False
    return True


def _acts(
    plan: Plan, ctx: RunContext, folded: Folded, append: Append, work: Work
) -> Iterator[Callable[[], None]]:
    for step in _unsure(plan, folded):
        yield lambda step=step: _look(step, ctx, folded, append, work)  # type: ignore[misc]
    if folded.aborting is not None and folded.aborting.undo:
        for step in _undoable(plan, folded):
            yield lambda step=step: _undo(step, ctx, append, work)  # type: ignore[misc]
            if step.id in folded.undo_failed:
                break  # what came before may be what keeps this one safe
    for step in reversed(_dirty(plan, folded)):
        yield lambda step=step: _clean(step, ctx, folded, append, work)  # type: ignore[misc]


def _unsure(plan: Plan, folded: Folded) -> tuple[Step, ...]:
    """What is looked at first: what is in doubt; before an undo also what is said to have failed for good.

    An irreversible step whose failure was told wrong would otherwise have its fences lifted under it, and so
    would a VM of a move that runs: its power-on fails also when its tools do not answer in time.
    """
    undo = folded.aborting is not None and folded.aborting.undo
    declined = {name for name, gate in folded.gates.items() if gate.answer == "no"}  # these never began
    ended = folded.failed.keys() - declined if undo else set[str]()
    unsure = {step.id for step in plan.steps if step.id in ended and _is_point(plan, step)}
    unsure |= {step.id for step in in_doubt(plan, folded)}
    return tuple(step for step in plan.steps if step.id in unsure)


def _open(plan: Plan, folded: Folded) -> list[Step]:
    """What holds an abort up: whether it is done is not known, or it may come to be and cannot be taken back.

    A VM that is on and whose tools stay silent holds none up: what it stands on is kept.
    """
    known = {name for name, failure in folded.failed.items() if failure.known}
    return [step for step in in_doubt(plan, folded) if step.id not in known or step.run.irreversible]


def _undoable(plan: Plan, folded: Folded) -> list[Step]:
    """What can be taken back, last first; also what failed or is in doubt, because an undo looks first."""
    kept = _stood_on(plan, folded)
    begun = [
        *folded.succeeded,
        *(s.id for s in plan.steps if s.id in folded.failed or s.id in folded.started),
    ]
    names = [name for name in reversed(begun) if name not in folded.undone | kept]
    return [plan.step(name) for name in names if plan.step(name).undo is not None]


def _dirty(plan: Plan, folded: Folded) -> tuple[Step, ...]:
    """Cleanup that is not done, of what has begun."""
    begun = {*folded.succeeded, *folded.failed, *folded.started}
    return tuple(
        step
        for step in plan.steps
        if step.cleanup
        and step.id not in folded.succeeded
        and (not plan.waits_for[step.id] or plan.waits_for[step.id] & begun)
    )


def _stood_on(plan: Plan, folded: Folded) -> set[str]:
    """Ids of everything that a step of no return, done or perhaps done, needs, directly or not."""
    begun = [*folded.succeeded, *folded.ran, *(step.id for step in in_doubt(plan, folded))]
    steps = [plan.step(name) for name in begun]
    open_ = [step.id for step in steps if _is_point(plan, step)]
    found: set[str] = set()
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += plan.step(name).needs
    return found


def _is_point(plan: Plan, step: Step) -> bool:
    return step.run.irreversible or serves_by_power(plan, step)


def _look(step: Step, ctx: RunContext, folded: Folded, append: Append, work: Work) -> None:
    """Find out whether a step is done, so that it can be taken back; one that runs is waited for."""
    own = ctx.for_step(step.id, step.timeout_s, folded.attempt(step.id))
    seen = attempt(step, own, "verified", work)
    why = seen.failure.message if seen.failure else ""
    progress = seen.progress or Progress(state="unknown", why=why)
    append(StepVerified(step=step.id, progress=progress.state, why=progress.why))
    if progress.outcome is not None:
        append(StepEnded(step=step.id, status="succeeded", outcome=progress.outcome))
    elif progress.state == "in_progress":
        _end(step, attempt(step, own, "performed", work), append)
    else:
        known = progress.state == "not_done"
        message = f"given up: {progress.why or progress.state}"
        append(
            StepEnded(
                step=step.id,
                status="failed",
                failure=Failure(
                    error="StepFailed" if known else "OutcomeUnknown", message=message, known=known
                ),
            )
        )


def _undo(step: Step, ctx: RunContext, append: Append, work: Work) -> None:
    append(UndoStarted(step=step.id))
    own = ctx.for_step(f"{step.id}.undo", step.timeout_s)
    told = attempt(step, own, "performed", Work(perform=work.undo))
    status, outcome, failure = _result(told)
    append(StepUndone(step=step.id, status=status, outcome=outcome, failure=failure))


def _clean(step: Step, ctx: RunContext, folded: Folded, append: Append, work: Work) -> None:
    append(StepStarted(step=step.id))
    own = ctx.for_step(step.id, step.timeout_s, folded.attempt(step.id))
    _end(step, attempt(step, own, "performed", work), append)


def _end(step: Step, told: Message, append: Append) -> None:
    status, outcome, failure = _result(told)
    append(StepEnded(step=step.id, status=status, outcome=outcome, failure=failure))


def _result(told: Message) -> tuple[Literal["succeeded", "failed"], Outcome | None, Failure | None]:
    return ("succeeded", told.outcome, None) if told.failure is None else ("failed", None, told.failure)
