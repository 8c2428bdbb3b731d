"""Every step as a journal tells it: each time it was tried, how it ended, and which ones decided. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal

from automation.model.evidence import Evidence
from automation.model.plan import Plan, Step
from automation.model.records import (
    Body,
    Event,
    RunClosed,
    RunOpened,
    RunResumed,
    StepEnded,
    StepRetried,
    StepSettled,
    StepStarted,
    StepUndone,
    StepVerified,
)
from automation.recovery.report import Attempt, Standstill, StepResult, StepStatus


@dataclass
class Try:
    """One time that a step was tried, as far as the journal has come."""

    started_at: datetime
    ended_at: datetime | None = None
    status: Literal["succeeded", "failed", "unfinished"] = "unfinished"
    text: str = ""


class StepLog:
    """What a journal says of one step, event by event."""

    def __init__(self) -> None:
        self.attempts: list[Try] = []
        self.retries = 0
        self.end: StepEnded | None = None
        self.ended_at: datetime | None = None
        self.status: StepStatus = "not-started"
        self.text = ""

    def add(self, at: datetime, body: Body) -> None:
        match body:
            case StepStarted():
                self._begin(at)
            case StepVerified() if self.status != "unfinished" and body.progress in ("done", "in_progress"):
                self._begin(at)  # its end was written as a failure, and the look found it done
            case StepRetried():
                self.retries += 1
            case StepEnded() if self.status != "succeeded":
                self._finish(at, body.status, text_of(body))
                self.end = body
            case StepSettled():
                self._settle(at, body)
            case StepUndone() if body.failure is None:
                self.status, self.text = "taken-back", text_of(body)
            case _:
                pass

    def _begin(self, at: datetime) -> None:
        self.attempts.append(Try(at))
        self.status, self.ended_at, self.text = "unfinished", None, ""

    def _finish(self, at: datetime, status: Literal["succeeded", "failed"], text: str) -> None:
        self.status, self.ended_at, self.text = status, at, text
        if self.attempts and self.attempts[-1].ended_at is None:
            last = self.attempts[-1]
            last.ended_at, last.status, last.text = at, status, text

    def _settle(self, at: datetime, body: StepSettled) -> None:
        if body.progress == "done":
            self._finish(at, "succeeded", f"settled as done by {body.by}: {body.reason}")
        else:
            self.status, self.text = "not-started", f"settled as not done by {body.by}: {body.reason}"

    @property
    def started_at(self) -> datetime | None:
        """When it was tried first."""
        return self.attempts[0].started_at if self.attempts else None

    def succeeded_by(self, moment: datetime) -> bool:
        """Whether any time that it was tried had ended well by then."""
        return any(
            one.status == "succeeded" and one.ended_at is not None and one.ended_at <= moment
            for one in self.attempts
        )


class RunLog:
    """A journal by step, with its opening and the end that stands."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.events = events
        self.opened = next(event.body for event in events if isinstance(event.body, RunOpened))
        self.closed: RunClosed | None = None
        self.steps: dict[str, StepLog] = {}
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        body = event.body
        if isinstance(body, RunClosed | RunResumed):
            self.closed = body if isinstance(body, RunClosed) else None
        elif isinstance(
            body, StepStarted | StepVerified | StepRetried | StepEnded | StepSettled | StepUndone
        ):
            self.steps.setdefault(body.step, StepLog()).add(event.at, body)

    @property
    def status(self) -> str:
        return self.closed.status if self.closed else "open"

    def log(self, step: str) -> StepLog:
        return self.steps.get(step) or StepLog()

    @cached_property
    def evidence(self) -> tuple[tuple[str, Evidence], ...]:
        """Each step's evidence, from its last end."""
        found = []
        for name, log in self.steps.items():
            end = log.end and (log.end.outcome or log.end.failure)
            if end and end.evidence is not None:
                found.append((name, end.evidence))
        return tuple(found)

    def standstills(self) -> tuple[Standstill, ...]:
        """Times in which nobody ran it: from the last line of one process to the first of the next."""
        return tuple(
            Standstill(from_at=before.at, until_at=event.at)
            for before, event in zip(self.events, self.events[1:], strict=False)
            if isinstance(event.body, RunResumed)
        )


def text_of(end: StepEnded | StepUndone) -> str:
    """What a step said at its end."""
    return end.outcome.summary if end.outcome else end.failure.message if end.failure else ""


def step_results(plan: Plan, log: RunLog) -> tuple[StepResult, ...]:
    """Give every step of the plan, in plan order, with those marked that decided when it was through."""
    critical = critical_path(plan, log)
    return tuple(_result(step, log.log(step.id), critical=step.id in critical) for step in plan.steps)


def _result(step: Step, log: StepLog, *, critical: bool) -> StepResult:
    last = log.attempts[-1] if log.attempts and log.status != "not-started" else None
    earlier = log.attempts[:-1] if last else log.attempts
    started_at = last.started_at if last else None
    return StepResult(
        id=step.id,
        service=step.service,
        why=step.why,
        effect=step.run.effect,
        status=log.status,
        started_at=started_at,
        ended_at=log.ended_at,
        seconds=(log.ended_at - started_at).total_seconds() if started_at and log.ended_at else None,
        text=log.text,
        earlier=tuple(_attempt(one) for one in earlier),
        retries=log.retries,
        critical=critical,
    )


def _attempt(one: Try) -> Attempt:
    return Attempt(started_at=one.started_at, ended_at=one.ended_at, status=one.status, text=one.text)


# --- what decided --------------------------------------------------------------------------------


def critical_path(plan: Plan, log: RunLog) -> frozenset[str]:
    """Follow back from the end of the recovery, always to what had to be waited for longest.

    The end is the last step that changed a service; of a run that moved none, the last step.
    """
    ends = {name: one.ended_at for name, one in log.steps.items() if one.ended_at and one.attempts}
    known = [step for step in plan.steps if step.id in ends]
    moved = [step.id for step in known if step.service and step.run.effect == "change"]
    found: list[str] = []
    step = _latest(moved or [step.id for step in known], ends)
    while step is not None:
        found.append(step)
        step = _latest([name for name in plan.waits_for[step] if name in ends], ends)
    return frozenset(found)


def _latest(names: Iterable[str], ends: Mapping[str, datetime]) -> str | None:
    return max(names, key=lambda name: (ends[name], name), default=None)
