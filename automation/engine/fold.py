"""Where a run stands, folded from its journal; the executor folds each event it appends, too.

An event that was folded already, and an end of a step that has succeeded, change nothing. A start of a step
that has succeeded begins it again: it counts as done when its new end is there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from automation.model.evidence import ServerState
from automation.model.records import (
    AbortStarted,
    AuthorisationRecorded,
    Body,
    Event,
    Failure,
    GateAnswered,
    OverrideRecorded,
    RunClosed,
    RunOpened,
    RunResumed,
    RunSealed,
    StepEnded,
    StepRetried,
    StepSettled,
    StepStarted,
    StepUndone,
    StepVerified,
    UndoStarted,
)


@dataclass
class Folded:
    """What a journal says. A step is in one of `started`, `succeeded`, `failed`, or waits.

    `started` keeps the steps that have a start and no end, with the retries they had; `succeeded` is in the
    order of the ends; `attempts` counts failures that were written down with a known state; `unseen` has the
    steps whose last look, since they were started, could not say whether they are done; `once` keeps those
    that have succeeded at any time, also if they were begun again since; `ran` those that failed at any time
    while their server was seen to be on.
    """

    opened: RunOpened | None = None
    closed: RunClosed | None = None
    sealed: RunSealed | None = None
    aborting: AbortStarted | None = None
    authorised: AuthorisationRecorded | None = None
    started: dict[str, int] = field(default_factory=dict)
    succeeded: dict[str, None] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    once: set[str] = field(default_factory=set)
    ran: set[str] = field(default_factory=set)
    gates: dict[str, GateAnswered] = field(default_factory=dict)
    overrides: dict[str, OverrideRecorded] = field(default_factory=dict)
    undoing: set[str] = field(default_factory=set)
    undone: set[str] = field(default_factory=set)
    undo_failed: dict[str, Failure] = field(default_factory=dict)
    changed: int = 0
    folded: int = 0

    def add(self, event: Event) -> None:
        """Fold the next event; one that was folded before is ignored."""
        if event.sequence < self.folded:
            return
        self.folded = event.sequence + 1
        _fold(self, event.body)

    def attempt(self, step: str) -> int:
        """Number of the attempt that a step is at, from 1."""
        return self.attempts.get(step, 0) + 1


def fold(events: Iterable[Event]) -> Folded:
    """Fold a whole journal."""
    folded = Folded()
    for event in events:
        folded.add(event)
    return folded


def _fold(state: Folded, body: Body) -> None:
    if isinstance(body, StepStarted | StepRetried | StepEnded | StepSettled):
        _fold_step(state, body)
    elif isinstance(body, UndoStarted | StepUndone):
        _fold_undo(state, body)
    elif isinstance(body, StepVerified):
        (state.unseen.add if body.progress == "unknown" else state.unseen.discard)(body.step)
    elif isinstance(body, GateAnswered):
        state.gates[body.step] = body
    elif isinstance(body, OverrideRecorded):
        state.overrides[body.step] = body
    else:
        _fold_run(state, body)


def _fold_run(state: Folded, body: Body) -> None:
    match body:
        case RunOpened():
            state.opened = state.opened or body
        case RunResumed():
            state.closed = state.sealed = None
        case AbortStarted():
            state.aborting = body
        case RunClosed():
            state.closed = body
        case RunSealed():
            state.sealed = body
        case AuthorisationRecorded():
            state.authorised = body
        case _:
            pass


def _fold_step(state: Folded, body: StepStarted | StepRetried | StepEnded | StepSettled) -> None:
    step = body.step
    if step in state.succeeded and not isinstance(body, StepStarted):
        return
    if isinstance(body, StepRetried | StepEnded) and _was_on(body.failure):
        state.ran.add(step)
    if isinstance(body, StepStarted):
        state.succeeded.pop(step, None)
        state.failed.pop(step, None)
        state.unseen.discard(step)
        state.started.setdefault(step, 0)
    elif isinstance(body, StepRetried):
        state.started[step] = max(state.started.get(step, 0), body.attempt)
    elif isinstance(body, StepSettled):
        _settle(state, body)
    elif body.failure is None:
        _succeed(state, step)
        state.changed += 1 if body.outcome is not None and body.outcome.changed else 0
    else:
        if step not in state.failed and body.failure.known and not body.failure.transient:
            state.attempts[step] = state.attempts.get(step, 0) + 1
        state.started.pop(step, None)
        state.failed[step] = body.failure


def _was_on(failure: Failure | None) -> bool:
    seen = failure.evidence if failure is not None else None
    return isinstance(seen, ServerState) and seen.power == "on"


def _settle(state: Folded, body: StepSettled) -> None:
    state.unseen.discard(body.step)
    if body.progress == "done":
        _succeed(state, body.step)
    else:
        state.started.pop(body.step, None)
        state.failed.pop(body.step, None)
        state.attempts[body.step] = state.attempts.get(body.step, 0) + 1


def _succeed(state: Folded, step: str) -> None:
    state.started.pop(step, None)
    state.failed.pop(step, None)
    state.succeeded[step] = None
    state.once.add(step)


def _fold_undo(state: Folded, body: UndoStarted | StepUndone) -> None:
    if isinstance(body, UndoStarted):
        state.undoing.add(body.step)
        return
    state.undoing.discard(body.step)
    if body.failure is None:
        state.undone.add(body.step)
        state.undo_failed.pop(body.step, None)
    else:
        state.undo_failed[body.step] = body.failure
