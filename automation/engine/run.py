"""One run: its folder, its locks, its plan written down, its journal, its end."""

import json
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import automation
from automation.engine.context import RunContext
from automation.engine.dispatch import load
from automation.engine.executor import execute
from automation.engine.journal import Journal, read_journal
from automation.engine.lock import hold
from automation.model.errors import AutomationError, NotMet, OutcomeUnknown, StepFailed
from automation.model.plan import Plan
from automation.model.records import Event, Failure, RunClosed, RunOpened, StepEnded


class Finished(NamedTuple):
    """How a run ended and where its evidence lies."""

    folder: Path
    closed: RunClosed
    failures: dict[str, Failure]
    changed: int

    def raise_for_status(self) -> None:
        """Turn a run that did not succeed into its error.

        Raises:
            OutcomeUnknown: an effect may or may not have happened.
            NotMet: nothing but checks failed.
            StepFailed: stopped part-way with a known state.
            KeyboardInterrupt: a person interrupted it.
        """
        if self.closed.status == "succeeded":
            return
        if self.closed.status == "interrupted":
            raise KeyboardInterrupt
        told = [f"{step}: {failure.message}" for step, failure in self.failures.items()]
        waiting = f"; not started: {', '.join(self.closed.not_started)}" if self.closed.not_started else ""
        message = f"run {self.folder.name} {self.closed.status}: {' | '.join(told)}{waiting}"
        hint = next((failure.hint for failure in self.failures.values() if failure.hint), None)
        raise self._error()(message, hint=hint)

    def _error(self) -> type[AutomationError]:
        if any(not failure.known for failure in self.failures.values()):
            return OutcomeUnknown
        return NotMet if all(one.error == "NotMet" for one in self.failures.values()) else StepFailed


def new_run_id(now: datetime) -> str:
    """Make an id that sorts by time and does not collide."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def make_run_folder(state: Path, run_id: str) -> Path:
    """Make `runs/<id>/artifacts` under the environment's state."""
    folder = state / "runs" / run_id
    (folder / "artifacts").mkdir(mode=0o700, parents=True)
    return folder


def run_plan(
    plan: Plan,
    ctx: RunContext,
    *,
    actor: str,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Finished:
    """Take the locks, write the plan and run it; the folder of `ctx.artifacts` holds the evidence.

    Raises:
        Busy: another run holds a service or host of this plan; nothing was changed.
    """
    folder = ctx.artifacts.parent
    for address in {step.run.do for step in plan.steps}:
        load(address)  # now, not in the middle of an outage
    with hold(ctx.state / "locks", locks_of(plan), holder=f"run {ctx.run_id} of {actor}", reason=plan.name):
        _write_plan(folder / "plan.json", plan)
        with closing(Journal(folder / "journal.jsonl")) as journal:
            on_event(journal.append(_opening(plan, ctx.run_id, actor)))
            execute(plan, ctx, journal, on_event=on_event)
    return finished(folder)


def finished(folder: Path) -> Finished:
    """Fold the journal of a run that was closed."""
    bodies = [event.body for event in read_journal(folder / "journal.jsonl")]
    ends = [body for body in bodies if isinstance(body, StepEnded)]
    closed = next(body for body in reversed(bodies) if isinstance(body, RunClosed))
    failures = {end.step: end.failure for end in ends if end.failure is not None}
    changed = sum(1 for end in ends if end.outcome is not None and end.outcome.changed)
    return Finished(folder, closed, failures, changed)


def locks_of(plan: Plan) -> tuple[str, ...]:
    """Every service of a plan, and every host, or else the environment, that its steps change."""
    names = {f"service:{step.service}" for step in plan.steps if step.service}
    for step in plan.steps:
        if step.run.effect != "read":
            host = getattr(step.run, "host", None)
            names.add(f"host:{host}" if host else f"environment:{plan.environment}")
    return tuple(sorted(names))


def _opening(plan: Plan, run_id: str, actor: str) -> RunOpened:
    return RunOpened(
        run_id=run_id,
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment=plan.environment,
        mode=plan.mode,
        actor=actor,
        node=socket.gethostname(),
        version=automation.__version__,
    )


def _write_plan(path: Path, plan: Plan) -> None:
    content = json.dumps(plan.model_dump(mode="json"), indent=1)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
