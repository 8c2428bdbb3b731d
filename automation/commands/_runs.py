"""Reading runs back from their journals."""

import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, get_args

from automation.commands._command import ROOT
from automation.commands._words import Line, line_of, log_lines
from automation.engine.journal import GENESIS, check_line, read_journal
from automation.engine.lock import is_held
from automation.model.base import Model
from automation.model.environment import load_environment, state_root
from automation.model.errors import AutomationError, ConfigError, StepFailed
from automation.model.plan import Mode
from automation.model.records import Event, RunClosed, RunOpened, RunResumed, StepEnded, StepStarted


class StepRow(Model):
    """One step of a run: when it ran, how it ended, what it says."""

    step: str
    started_at: datetime
    seconds: float | None
    status: str
    text: str


class RunRow(Model):
    """One run, folded from its journal."""

    run_id: str
    plan: str
    mode: str
    actor: str
    started_at: datetime
    seconds: float | None
    status: str
    steps: tuple[StepRow, ...]


class Wanted(NamedTuple):
    """Which runs are asked for; all of them, if nothing is said."""

    limit: int = 0
    since: datetime | None = None
    mode: str = ""

    def takes(self, row: RunRow) -> bool:
        """Whether a run is one of those; a damaged one, of which nothing is known, always is."""
        if row.status == "damaged":
            return True
        return (self.since is None or row.started_at >= self.since) and self.mode in ("", row.mode)


ALL = Wanted()


def list_runs(env: str, wanted: Wanted = ALL) -> list[RunRow]:
    """Give the runs of an environment that have a journal, newest first; reads no more than are asked for.

    Raises:
        ConfigError: there is no such mode.
    """
    if wanted.mode not in ("", *get_args(Mode)):
        known = ", ".join(get_args(Mode))
        raise ConfigError(f"--mode {wanted.mode} is none; nothing was touched", hint=f"--mode is {known}")
    found = (row for row in _read_rows(_runs_folder(env)) if wanted.takes(row))
    return list(islice(found, wanted.limit or None))


def _read_rows(runs: Path) -> Iterator[RunRow]:
    for path in sorted(runs.glob("*/journal.jsonl"), reverse=True):
        try:
            yield fold(read_journal(path))
        except AutomationError as exc:
            yield _damaged(path.parent.name, str(exc))


def read_run(env: str, run_id: str) -> RunRow:
    """Give one run.

    Raises:
        ConfigError: there is no such run.
        AutomationError: its journal is damaged.
    """
    return fold(read_journal(run_folder(env, run_id) / "journal.jsonl"))


def run_folder(env: str, run_id: str) -> Path:
    """Give the folder of a run that has a journal.

    Raises:
        ConfigError: there is no such run.
    """
    folder = _runs_folder(env) / run_id
    if "/" in run_id or not (folder / "journal.jsonl").is_file():
        raise ConfigError(f"there is no run {run_id!r} in {env}", hint=f"./inv run.list --env {env}")
    return folder


def read_log(env: str, run_id: str, since: datetime | None = None) -> list[Line]:
    """Give a run's events and progress in words, by time.

    Args:
        since: leave out what was earlier.

    Raises:
        AutomationError: its journal is damaged.
    """
    folder = run_folder(env, run_id)
    lines = log_lines(read_journal(folder / "journal.jsonl"), folder)
    return [line for line in lines if since is None or line.at >= since]


def watch(env: str, run_id: str, *, beat_s: float = 0.2) -> Iterator[Line]:
    """Follow a run in words, as `follow` does."""
    return (line_of(event) for event in follow(env, run_id, beat_s=beat_s))


def follow(env: str, run_id: str, *, beat_s: float = 0.2) -> Iterator[Event]:
    """Follow a run's journal until it closes, or until nobody runs it any more.

    Raises:
        StepFailed: its controller is gone and it is not closed.
        AutomationError: its journal is damaged.
    """
    folder = run_folder(env, run_id)
    lock = folder.parent.parent / "locks" / f"run:{run_id}"
    previous, number, closed = GENESIS, 0, False
    with (folder / "journal.jsonl").open("rb") as journal:
        while True:
            held = is_held(lock)  # before reading: what its holder wrote last is then read
            while (line := _whole_line(journal)) is not None:
                event = check_line(line, number, previous)
                if isinstance(event, str):
                    raise AutomationError(f"journal of run {run_id} is damaged at line {number + 1}: {event}")
                previous, number = event.hash, number + 1
                closed = isinstance(event.body, RunClosed) or (
                    closed and not isinstance(event.body, RunResumed)
                )
                yield event
            if not held:
                break
            time.sleep(beat_s)
    if not closed:
        raise StepFailed(
            f"run {run_id} is not closed and nobody runs it",
            hint=f"./inv run.resume --env {env} --run {run_id}",
        )


def _whole_line(journal: BinaryIO) -> bytes | None:
    """Read one line if its writer has finished it."""
    at = journal.tell()
    line = journal.readline()
    if line.endswith(b"\n"):
        return line
    journal.seek(at)
    return None


def fold(events: Iterable[Event]) -> RunRow:
    """Fold a journal into what people ask of a run; an open run's status is `open`."""
    events = list(events)
    opened = next((event.body for event in events if isinstance(event.body, RunOpened)), None)
    if opened is None:
        raise AutomationError("a journal does not begin with the opening of its run")
    started = {event.body.step: event.at for event in events if isinstance(event.body, StepStarted)}
    ends = {event.body.step: event for event in events if isinstance(event.body, StepEnded)}
    last = next((e for e in reversed(events) if isinstance(e.body, RunClosed | RunResumed)), None)
    closed = last if last is not None and isinstance(last.body, RunClosed) else None
    return RunRow(
        run_id=opened.run_id,
        plan=opened.plan_name,
        mode=opened.mode,
        actor=opened.actor,
        started_at=events[0].at,
        seconds=(closed.at - events[0].at).total_seconds() if closed else None,
        status=closed.body.status if closed and isinstance(closed.body, RunClosed) else "open",
        steps=tuple(_row(step, at, ends.get(step)) for step, at in started.items()),
    )


def _row(step: str, started_at: datetime, end: Event | None) -> StepRow:
    if end is None or not isinstance(end.body, StepEnded):
        return StepRow(step=step, started_at=started_at, seconds=None, status="started", text="")
    body = end.body
    text = body.outcome.summary if body.outcome else body.failure.message if body.failure else ""
    seconds = (end.at - started_at).total_seconds()
    return StepRow(step=step, started_at=started_at, seconds=seconds, status=body.status, text=text)


def _damaged(run_id: str, problem: str) -> RunRow:
    nothing = datetime.fromtimestamp(0).astimezone()
    return RunRow(
        run_id=run_id,
        plan=problem,
        mode="",
        actor="",
        started_at=nothing,
        seconds=None,
        status="damaged",
        steps=(),
    )


def _runs_folder(env: str) -> Path:
    load_environment(ROOT, env)
    return state_root() / env / "runs"
