"""How long the steps of past runs took, read from their journals and kept, so that each is read once."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from automation.engine.journal import read_journal
from automation.model.base import Model
from automation.model.errors import AutomationError
from automation.model.records import Event, RunClosed
from automation.recovery.prediction import Past, PastStep, Took, durations, likeness

FORMAT = 1
MOST_RUNS = 200
RECOVERY = ("exercise", "test-failover", "planned-migration", "failover", "failback")


class KeptRun(Model):
    """What one run says, as long as its journal is this long and this old."""

    size_bytes: int
    changed_ns: int
    took: tuple[Took, ...]


class Kept(Model):
    """`durations.json` of an environment's state: run to what it says."""

    format: int = FORMAT
    runs: Mapping[str, KeptRun]


def read_past(state: Path) -> Past:
    """Give how long steps took in the newest recovery runs of an environment; damaged ones say nothing."""
    path = state / "durations.json"
    kept = _load(path)
    runs: dict[str, KeptRun] = {}
    telling = 0
    for folder in sorted((state / "runs").glob("*/"), reverse=True):
        with suppress(OSError):
            runs[folder.name] = run = _kept_or_read(folder, kept.runs.get(folder.name))
            telling += bool(run.took)
        if telling == MOST_RUNS:
            break
    if runs != kept.runs:
        _save(path, Kept(runs=runs))
    return Past((took for run in runs.values() for took in run.took), runs=telling)


def _kept_or_read(folder: Path, kept: KeptRun | None) -> KeptRun:
    seen = (folder / "journal.jsonl").stat()
    if kept is not None and (kept.size_bytes, kept.changed_ns) == (seen.st_size, seen.st_mtime_ns):
        return kept
    return KeptRun(size_bytes=seen.st_size, changed_ns=seen.st_mtime_ns, took=tuple(_read_run(folder)))


class _PastPlan(NamedTuple):
    mode: str
    steps: tuple[PastStep, ...]


def _read_run(folder: Path) -> Iterable[Took]:
    plan = _read_plan(folder / "plan.json")
    if plan.mode not in RECOVERY:
        return ()
    try:
        events = tuple(read_journal(folder / "journal.jsonl"))
    except AutomationError:
        return ()
    return durations(plan.steps, events) if _is_closed(events) else ()


def _is_closed(events: Iterable[Event]) -> bool:
    return any(isinstance(event.body, RunClosed) for event in events)


def _read_plan(path: Path) -> _PastPlan:
    """Read a plan of whatever version: only what this needs, and nothing from one that is not like that."""
    try:
        plan = json.loads(path.read_bytes())
        return _PastPlan(plan["mode"], tuple(_past_step(step) for step in plan["steps"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return _PastPlan("", ())


def _past_step(step: dict[str, Any]) -> PastStep:
    run = step["run"]
    return PastStep(
        id=step["id"],
        like=likeness(run["do"], run, step.get("service")),
        waits_for=(*step.get("needs", ()), *step.get("after", ())),
        gated=step.get("gate") is not None,
    )


def _load(path: Path) -> Kept:
    try:
        kept = Kept.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return Kept(runs={})
    return kept if kept.format == FORMAT else Kept(runs={})


def _save(path: Path, kept: Kept) -> None:
    """Keep what was read, whole or not at all; where that cannot be, each command reads anew."""
    with suppress(OSError):
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(kept.model_dump_json())
        Path(file.name).replace(path)
