"""Reading what was exercised from past runs; kept, so that it outlives the run folders."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from automation.commands._command import ROOT
from automation.engine.journal import read_journal
from automation.model.base import Model
from automation.model.catalog import Service, load_catalog
from automation.model.environment import load_environment, state_root
from automation.model.errors import AutomationError
from automation.model.records import RunClosed
from automation.recovery.calendar import SHOWS, Calendar, Exercised, make_calendar, services_of
from automation.recovery.spec import RecoveryPlan, load_plan

FILE = "exercises.json"


class _Kept(Model):
    """`exercises.json` of an environment's state: closed runs by id; None for one that shows nothing."""

    runs: Mapping[str, Exercised | None] = {}


def calendar(env: str) -> Calendar:
    """Set an environment's services against what was exercised.

    Raises:
        ConfigError: a file has faults.
    """
    environment = load_environment(ROOT, env)
    services = load_catalog(environment.folder / "services.yml").services
    past = read_exercises(state_root() / env, services)
    return make_calendar(services, _plans(services), past, now=datetime.now(UTC))


def _plans(services: Mapping[str, Service]) -> dict[str, RecoveryPlan]:
    """Every plan of the repository that is about these services: the names it gives are known."""
    found = {}
    for path in sorted((ROOT / "drtests/plans").glob("*.yml")):
        plan = load_plan(ROOT, path.stem)
        if set(plan.services.named) <= services.keys():
            found[path.stem] = plan
    return found


def read_exercises(state: Path, services: Mapping[str, Service]) -> tuple[Exercised, ...]:
    """Give every run that exercised something to its end; what was kept of deleted runs stays."""
    path = state / FILE
    kept = _load(path)
    runs = dict(kept.runs)
    for folder in sorted((state / "runs").glob("*/")):
        if folder.name not in runs and (ended := _closed(folder)):
            runs[folder.name] = _read(folder, ended, services)
    if runs.keys() != kept.runs.keys():
        _save(path, _Kept(runs=runs))
    return tuple(run for run in runs.values() if run is not None)


def _closed(folder: Path) -> tuple[datetime, str] | None:
    """When a run ended, and how; None for one that may yet go on."""
    with suppress(AutomationError, OSError):
        events = list(read_journal(folder / "journal.jsonl"))
        ends = [event for event in events if isinstance(event.body, RunClosed)]
        if ends and isinstance(ends[-1].body, RunClosed) and ends[-1].body.status in ("succeeded", "aborted"):
            return ends[-1].at, ends[-1].body.status
    return None


def _read(folder: Path, ended: tuple[datetime, str], services: Mapping[str, Service]) -> Exercised | None:
    at, status = ended
    try:
        plan = json.loads((folder / "plan.json").read_bytes())
        mode, name, steps = plan["mode"], plan["name"], tuple(_steps(plan["steps"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if status != "succeeded" or mode not in SHOWS:
        return None
    told = services_of(mode, name, steps, services)
    verdict = _verdict(folder / "report.json")
    return Exercised(run_id=folder.name, mode=mode, name=name, ended_at=at, services=told, verdict=verdict)


def _steps(steps: list[dict[str, Any]]) -> Iterator[tuple[str | None, tuple[str, ...]]]:
    for step in steps:
        yield step.get("service"), tuple(step["run"].get("plan_says", ()))


def _verdict(report: Path) -> str:
    with suppress(OSError, ValueError, AttributeError):
        return str(json.loads(report.read_bytes()).get("verdict", ""))
    return ""


def _load(path: Path) -> _Kept:
    try:
        return _Kept.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return _Kept()


def _save(path: Path, kept: _Kept) -> None:
    """Keep it, whole or not at all; where that cannot be, each command reads anew."""
    with suppress(OSError):
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(kept.model_dump_json())
        Path(file.name).replace(path)
