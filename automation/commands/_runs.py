"""Reading runs back from their journals."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from automation.commands._command import ROOT
from automation.engine.journal import read_journal
from automation.model.base import Model
from automation.model.environment import load_environment, state_root
from automation.model.errors import AutomationError, ConfigError
from automation.model.records import Event, RunClosed, RunOpened, StepEnded, StepStarted


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


def list_runs(env: str) -> list[RunRow]:
    """Give every run of an environment that has a journal, newest first."""
    folders = sorted(_runs_folder(env).glob("*/journal.jsonl"), reverse=True)
    rows = []
    for path in folders:
        try:
            rows.append(fold(read_journal(path)))
        except AutomationError as exc:
            rows.append(_damaged(path.parent.name, str(exc)))
    return rows


def read_run(env: str, run_id: str) -> RunRow:
    """Give one run.

    Raises:
        ConfigError: there is no such run.
        AutomationError: its journal is damaged.
    """
    path = _runs_folder(env) / run_id / "journal.jsonl"
    if "/" in run_id or not path.is_file():
        raise ConfigError(f"there is no run {run_id!r} in {env}", hint=f"./inv run.list --env {env}")
    return fold(read_journal(path))


def fold(events: Iterable[Event]) -> RunRow:
    """Fold a journal into what people ask of a run; an open run's status is `open`."""
    events = list(events)
    opened = next((event.body for event in events if isinstance(event.body, RunOpened)), None)
    if opened is None:
        raise AutomationError("a journal does not begin with the opening of its run")
    started = {event.body.step: event.at for event in events if isinstance(event.body, StepStarted)}
    ends = {event.body.step: event for event in events if isinstance(event.body, StepEnded)}
    closed = next((event for event in events if isinstance(event.body, RunClosed)), None)
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
