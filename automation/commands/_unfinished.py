"""Runs whose controller is gone: the next run of the same kind finishes them, or cleans up after them."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from automation.commands._command import progress
from automation.commands._session import Session
from automation.engine.fold import Folded, fold
from automation.engine.journal import read_journal
from automation.engine.lock import is_held
from automation.model.errors import AutomationError

# What was left longer ago is a person's to resume or to give up; the report of the audit names it.
LOOK_BACK = timedelta(days=30)
_ENDED = ("succeeded", "aborted")


def list_unfinished(state: Path, plan_name: str, now: datetime) -> Iterator[str]:
    """Give the runs of a plan that were begun, have not ended, and that nobody carries out; oldest first."""
    since = f"{now.astimezone(UTC) - LOOK_BACK:%Y%m%d}"
    for folder in sorted((state / "runs").glob("*/")):
        if folder.name < since or not is_of(folder / "plan.json", plan_name):
            continue
        if is_held(state / "locks" / f"run:{folder.name}"):
            continue
        folded = read_folded(folder)
        if folded is not None and (folded.closed is None or folded.closed.status not in _ENDED):
            yield folder.name


def settle_unfinished(session: Session, plan_name: str) -> None:
    """Go on with what was cut off; what cannot be finished is given up and cleaned up.

    With nobody watching, and outside a lab, only a job goes on that was allowed and still is; of a person's
    own run is removed what it restored.

    Raises:
        KeyboardInterrupt: a person stopped it.
    """
    for run_id in tuple(list_unfinished(session.state, plan_name, datetime.now(UTC))):
        if not _may_go_on(session, run_id):
            progress(f"run {run_id} was cut off; it is cleaned up first")
            _give_up(session, run_id)
            continue
        progress(f"run {run_id} was cut off; it is finished first")
        try:
            finished = session.resume(run_id)
            if finished.closed.status == "interrupted":
                finished.raise_for_status()
            if finished.closed.status == "succeeded":
                continue
        except AutomationError as exc:
            progress(f"run {run_id} does not go on: {exc}")
        _give_up(session, run_id)


def _may_go_on(session: Session, run_id: str) -> bool:
    """Whether a run may be resumed here; that its authorisation still stands is seen by the resume."""
    if sys.stdin.isatty() or session.environment.kind == "lab":
        return True
    folded = read_folded(session.state / "runs" / run_id)
    return folded is not None and folded.authorised is not None


def _give_up(session: Session, run_id: str) -> None:
    """Give a run up; what it left behind that cannot be removed now is told, and tried again next time."""
    try:
        session.abort(run_id, reason="cut off and not to be resumed: cleaned up by the next one", undo=False)
    except AutomationError as exc:
        progress(f"run {run_id} could not be cleaned up: {exc}")


def read_folded(folder: Path) -> Folded | None:
    """Fold a run's journal; None where it has none that can be read."""
    with suppress(AutomationError, OSError):
        return fold(read_journal(folder / "journal.jsonl"))
    return None


def is_of(path: Path, plan_name: str) -> bool:
    """Whether a plan has a name; its name stands in its first lines."""
    try:
        with path.open() as file:
            return f'"name": "{plan_name}"' in file.read(400)
    except OSError:
        return False
