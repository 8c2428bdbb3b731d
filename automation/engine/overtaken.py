"""Whether another run has taken over what a stopped run is about, since: what it knows is true no more.

A promotion takes over, and so does a database that was restored, a VM that was brought up elsewhere, an
instance that was started there, or a name that was moved.

To go on would lead names to a host that serves no more; to take back would power off or cut off the one that
serves now, or lift the fence of the one that does not. So would a fence that is made again after another run
has begun to bring its host home: it may be the standby by now.
"""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from automation.engine.executor import in_doubt
from automation.engine.fold import Folded
from automation.engine.holding import SERVING, takes_over
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.actions import (
    ReleaseInstance,
    ReleaseServer,
    ReleaseVm,
    StartFenced,
    StartInstance,
    SwapAddress,
    SwapRecord,
    UnblockServer,
)
from automation.model.errors import AutomationError, PreflightError
from automation.model.plan import Plan, Step
from automation.model.records import Event, StepEnded, StepStarted

# What ends a fence, or lets its host run behind the other one.
LIFTS = ReleaseInstance | ReleaseServer | ReleaseVm | StartFenced | UnblockServer
# What leads clients elsewhere where no data takes over.
LEADING = StartInstance | SwapAddress | SwapRecord


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
    plan = read_plan(runs / run_id)
    since = events[-1].at
    for folder in sorted(runs.glob("*/")):
        if folder.name == run_id or not _was_written(folder, since):
            continue
        for did in _overtook(folder, since, plan):
            raise PreflightError(
                f"run {folder.name} has {did} since run {run_id} stopped, or perhaps has: "
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


def _overtook(folder: Path, since: datetime, stopped: Plan) -> Iterator[str]:
    """Give what another run did since to what a stopped one is about, and neither failed in nor took back."""
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
    since_done = late & done
    services = {step.service for step in stopped.steps if step.service}
    fenced = {getattr(step.run, "host", None) for step in stopped.steps if _fences(step)}
    for step in (one for one in plan.steps if one.id in since_done):
        if step.service in services and _takes_over(plan, step):
            yield f"taken {step.service} over"
        if isinstance(step.run, LIFTS) and step.run.host in fenced:
            yield f"lifted a fence of {step.run.host}"


def _takes_over(plan: Plan, step: Step) -> bool:
    """Whether clients are led elsewhere by a step: also by an instance alone, or by a name."""
    return takes_over(plan, step) or (plan.mode in SERVING and isinstance(step.run, LEADING))


def _fences(step: Step) -> bool:
    return step.run.holds and step.run.effect == "change"
