"""Whether another run has taken over what a stopped run is about, since: what it knows is true no more.

A promotion takes over, and so does a database that was restored, or a VM that was brought up elsewhere.

To go on would lead names to a host that serves no more; to take back would power off or cut off the one that
serves now, or lift the fence of the one that does not.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

from automation.engine.executor import in_doubt
from automation.engine.fold import Folded
from automation.engine.holding import takes_over
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.errors import AutomationError, PreflightError
from automation.model.plan import Plan
from automation.model.records import Event, StepEnded, StepStarted


def refuse_overtaken(runs: Path, run_id: str, *, environment: str) -> None:
    """See that no other run has brought up elsewhere what a stopped run is about.

    Args:
        runs: folder of all runs of the environment.

    Raises:
        PreflightError: one has, or perhaps has.
    """
    events = _read(runs / run_id)
    if not events:
        return
    services = {step.service for step in read_plan(runs / run_id).steps if step.service}
    since = events[-1].at
    for folder in sorted(runs.glob("*/")):
        if folder.name == run_id or not _was_written(folder, since):
            continue
        for service in _taken_over(folder, since, services):
            raise PreflightError(
                f"run {folder.name} has taken {service} over since run {run_id} stopped, or perhaps has: "
                f"what {run_id} would do or take back fits no more; nothing was changed",
                hint=f"give it up and leave all as it is: ./inv run.abort --env {environment} --run {run_id} "
                "--reason '...' (without --undo); then ask for what is to be done anew",
            )


def _was_written(folder: Path, since: datetime) -> bool:
    try:
        return (folder / "journal.jsonl").stat().st_mtime >= since.timestamp()
    except OSError:
        return False


def _read(folder: Path) -> list[Event]:
    try:
        return list(read_journal(folder / "journal.jsonl"))
    except (OSError, AutomationError):
        return []


def _taken_over(folder: Path, since: datetime, services: Collection[str]) -> Iterator[str]:
    """Services whose step that takes over began or ended since, and neither failed nor was taken back."""
    try:
        plan = read_plan(folder)
    except AutomationError:
        return
    folded, late = Folded(), set()
    for event in _read(folder):
        folded.add(event)
        if event.at > since and isinstance(event.body, StepStarted | StepEnded):
            late.add(event.body.step)
    done = {*folded.succeeded, *(step.id for step in in_doubt(plan, folded))} - folded.undone
    yield from _services(plan, late & done & plan.by_id.keys(), services)


def _services(plan: Plan, steps: Collection[str], services: Collection[str]) -> Iterator[str]:
    for step in plan.steps:
        if step.service in services and step.service and step.id in steps and takes_over(plan, step):
            yield step.service
