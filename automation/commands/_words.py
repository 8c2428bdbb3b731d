"""A journal in words: one line an event, and the progress that adapters told between them."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from automation.model.records import (
    AbortStarted,
    ApprovalRecorded,
    AuthorisationRecorded,
    Body,
    Event,
    Failure,
    GateAnswered,
    Outcome,
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


class Line(NamedTuple):
    """One line of a run's log: when, which step (empty: the run), what."""

    at: datetime
    step: str
    text: str

    def __str__(self) -> str:
        at = self.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
        return f"{at}Z  {self.step or 'run'}: {self.text}"

    def as_json(self) -> str:
        """Give it for programs; without a step it is about the run."""
        at = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "step": self.step or None, "text": self.text}, ensure_ascii=False)


def log_lines(events: Iterable[Event], folder: Path) -> list[Line]:
    """Merge a journal and the run's progress by time."""
    lines = [line_of(event) for event in events]
    path = folder / "progress.log"
    if path.is_file():
        lines += progress_lines(path.read_text(errors="replace").splitlines())
    return sorted(lines, key=lambda line: line.at)


def progress_lines(lines: Iterable[str]) -> Iterator[Line]:
    """Read progress.log; a line that was cut off is left out."""
    for line in lines:
        parts = line.split("\t", 2)
        try:
            yield Line(datetime.fromisoformat(parts[0]), parts[1], parts[2])
        except (ValueError, IndexError):
            continue


def line_of(event: Event) -> Line:
    """Say one event in words."""
    return Line(event.at, getattr(event.body, "step", ""), _words(event.body))


def _words(body: Body) -> str:
    if isinstance(body, StepEnded | StepUndone):
        word = "taken back" if isinstance(body, StepUndone) else "ok"
        return (
            f"{word}: {_result(body.outcome, body.failure)}"
            if body.failure is None
            else (f"FAILED: {_result(body.outcome, body.failure)}")
        )
    return _step_words(body) or _person_words(body) or _run_words(body)


def _result(outcome: Outcome | None, failure: Failure | None) -> str:
    if failure is not None:
        return failure.message if failure.known else f"{failure.message} (a person must look)"
    return outcome.summary if outcome is not None else ""


def _step_words(body: Body) -> str:
    match body:
        case StepStarted():
            return "started"
        case StepRetried():
            return f"attempt {body.attempt} failed: {body.failure.message}; again in {body.wait_s:g} s"
        case StepVerified():
            return f"looked at: {body.progress.replace('_', ' ')}" + (f" ({body.why})" if body.why else "")
        case UndoStarted():
            return "being taken back"
        case _:
            return ""


def _person_words(body: Body) -> str:
    match body:
        case GateAnswered():
            return f"{body.by} answered {body.answer}" + (f": {body.reason}" if body.reason else "")
        case StepSettled():
            return f"{body.by} looked and says {body.progress.replace('_', ' ')}: {body.reason}"
        case ApprovalRecorded():
            return f"approved by {body.principal} ({', '.join(body.roles)}), nonce {body.nonce}"
        case OverrideRecorded():
            who = ", ".join(body.principals)
            return f"goes on by override although {body.observed}: {who}: {body.reason}"
        case AuthorisationRecorded():
            amounts = "".join(f", {guard} {amount:g}" for guard, amount in body.amounts.items())
            who = f"{body.principal} as {body.role} ({body.fingerprint})"
            return f"{body.command} on {body.resource}{amounts}: standing authorisation {body.name} of {who}"
        case AbortStarted():
            return f"given up by {body.actor}{' with undo' if body.undo else ''}: {body.reason}"
        case _:
            return ""


def _run_words(body: Body) -> str:
    match body:
        case RunOpened():
            digest = body.plan_digest[:12]
            return (
                f"{body.plan_name} ({body.mode}) opened by {body.actor} on {body.node}, "
                f"Mainstay {body.version}, plan {digest}"
            )
        case RunResumed():
            torn = f"; {body.torn_bytes} bytes of a torn line were cut off" if body.torn_bytes else ""
            return f"resumed by {body.actor} on {body.node}, Mainstay {body.version}{torn}"
        case RunSealed():
            return f"sealed by {body.signer}: {body.head[:12]}"
        case RunClosed():
            waiting = f"; waits for an answer: {', '.join(body.gates)}" if body.gates else ""
            left = f"; not started: {', '.join(body.not_started)}" if body.not_started else ""
            return f"closed: {body.status}{waiting}{left}"
        case _:
            return body.kind
