"""One thing done to one step in a thread, and its message to the executor: the edge around one action."""

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, cast

from automation.engine import dispatch
from automation.engine.context import RunContext
from automation.model.errors import AdapterError, AutomationError, NotMet, OutcomeUnknown
from automation.model.evidence import Evidence
from automation.model.logs import redact
from automation.model.plan import Step
from automation.model.records import Failure, GateAnswered, Outcome, Progress

Perform = Callable[[Step, RunContext], Outcome]
Verify = Callable[[Step, RunContext], Progress]

_EXPECTED = frozenset(
    {"AdapterError", "StepFailed", "OutcomeUnknown", "NotMet", "ConfigError", "PreflightError"}
)


@dataclass(frozen=True)
class Work:
    """How steps are done and looked at; what adapters do, unless a test brings its own world."""

    perform: Perform = lambda step, ctx: dispatch.perform(step.run, ctx)
    undo: Perform = lambda step, ctx: dispatch.perform(step.undo or step.run, ctx)
    verify: Verify = lambda step, ctx: dispatch.verify(step.run, ctx)


@dataclass(frozen=True)
class Message:
    """What a thread, a signal or a person tells the executor."""

    step: str
    kind: Literal["performed", "verified", "answered", "stop"]
    outcome: Outcome | None = None
    progress: Progress | None = None
    failure: Failure | None = None
    answer: GateAnswered | None = None
    text: str = ""


def attempt(step: Step, ctx: RunContext, kind: Literal["performed", "verified"], work: Work) -> Message:
    """Perform or verify one step; whatever happens becomes a message."""
    try:
        if kind == "verified":
            return Message(step.id, kind, progress=work.verify(step, ctx))
        outcome = work.perform(step, ctx)
        told = redact(outcome.summary, ctx.resolved)
        return Message(step.id, kind, outcome=outcome.model_copy(update={"summary": told}))
    except Exception as exc:
        return Message(step.id, kind, failure=failure_of(exc, step, ctx))


def failure_of(exc: Exception, step: Step, ctx: RunContext) -> Failure:
    """Say why a step failed; a defect is told with its traceback."""
    name = type(exc).__name__
    if name not in _EXPECTED:
        with suppress(Exception):  # nobody may be there to read it; the end must be told all the same
            ctx.say("".join(traceback.format_exception(exc)))
    ours = isinstance(exc, AutomationError)
    doubtful = not ours or (isinstance(exc, AdapterError) and exc.unknown)
    known = not isinstance(exc, OutcomeUnknown) and (step.run.effect == "read" or not doubtful)
    return Failure(
        error=name,
        message=redact(str(exc) or repr(exc), ctx.resolved),
        hint=exc.hint if isinstance(exc, AutomationError) else None,
        known=known,
        transient=isinstance(exc, AdapterError) and exc.transient,
        evidence=cast("Evidence | None", exc.evidence) if isinstance(exc, NotMet | AdapterError) else None,
    )
