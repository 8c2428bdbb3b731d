"""Taking backups: what is due is planned and carried out; what fails of one resource stops no other."""

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from automation.backups.entries import TAKE_PLAN
from automation.backups.taking import Backup, LeftOut, Seen, Wanted, plan_backup
from automation.commands._authorisations import ALL, JobFlags, look_again, unattended
from automation.commands._backups import choose, find_places, load_area, look
from automation.commands._command import progress
from automation.commands._session import Session
from automation.commands._unfinished import list_unfinished, read_folded
from automation.engine.finished import Finished
from automation.engine.journal import read_journal
from automation.model.backup_evidence import PointsCopied, PointTaken
from automation.model.base import Model
from automation.model.errors import EXIT_PARTIAL, AutomationError, StepFailed
from automation.model.records import Event, StepEnded

COMMAND = "backup.run"


class TakeFlags(NamedTuple):
    """How backups were asked for on the command line."""

    resource: str = ""
    due: bool = False
    full: bool = False
    authorisation: str = ""


class TakenRow(Model):
    """One step of a backup, and how it ended."""

    resource: str
    step: str
    result: str
    point: str = ""
    added_bytes: int = 0
    copied: int = 0
    said: str = ""


class TakeResult(Model):
    """What a backup made, and what it left out."""

    run: str
    rows: tuple[TakenRow, ...]
    left_out: tuple[LeftOut, ...]


def back_up(session: Session, flags: TakeFlags) -> tuple[TakeResult, int]:
    """Finish what was cut off, then take what was asked for; give what came of it and the exit code.

    Raises:
        ConfigError: the flags or files have faults.
        PreflightError: refused; nothing was changed.
        StepFailed: of some resources nothing was saved; all others were.
        KeyboardInterrupt: a person stopped it.
    """
    backups, _ = load_area(session)
    named = choose(backups, flags.resource.replace(" ", "").split(","))
    finish_unfinished(session)
    area = look(session, named)
    places = find_places(session, area, named)
    wanted = Wanted(named, flags.due, flags.full)
    seen = Seen(area.observed, area.ledger)
    backup = plan_backup(backups, wanted, seen, places, environment=session.environment.name)
    if not backup.plan.steps:
        return TakeResult(run="", rows=(), left_out=backup.left_out), _exit_code(backup.left_out)
    finished = _run(session, backup, flags)
    events = tuple(read_journal(finished.folder / "journal.jsonl"))
    rows = tuple(_rows(events, finished))
    result = TakeResult(run=finished.folder.name, rows=rows, left_out=backup.left_out)
    if finished.closed.status == "interrupted":
        finished.raise_for_status()
    return result, _exit_code(backup.left_out)


def raise_failed(result: TakeResult, env: str) -> None:
    """Tell that something was not saved.

    Raises:
        StepFailed: names it, and why.
    """
    failed = [row for row in result.rows if row.result == "failed"]
    if failed:
        told = "; ".join(f"{row.step}: {row.said}" for row in failed[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise StepFailed(
            f"{len(failed)} of {len(result.rows)} steps failed (run {result.run}): {told}{more}. Nothing "
            "older of these is deleted until a good point is proven, or a person clears it",
            hint=f"./inv run.show --env {env} --run {result.run}; then ./inv {COMMAND} --env {env} again",
        )


def finish_unfinished(session: Session) -> None:
    """Go on with backups whose controller was killed: their jobs may run still; close those that failed.

    Raises:
        KeyboardInterrupt: a person stopped it.
    """
    for run_id in tuple(list_unfinished(session.state, TAKE_PLAN, datetime.now(UTC))):
        folded = read_folded(session.state / "runs" / run_id)
        try:
            if folded is not None and folded.closed is None:
                progress(f"run {run_id} was cut off; it is finished first")
                finished = session.resume(run_id)
                if finished.closed.status == "interrupted":
                    finished.raise_for_status()
                if finished.closed.status == "succeeded":
                    continue
            session.abort(run_id, reason="the next backup takes its place", undo=False)
        except AutomationError as exc:
            progress(f"run {run_id} stays open: {exc}")


def _run(session: Session, backup: Backup, flags: TakeFlags) -> Finished:
    job = JobFlags(COMMAND, flags.authorisation, flags.resource or ALL)
    granted = unattended(session, backup.plan, job, {"points": float(backup.points)})
    look_ = partial(look_again, session, backup.plan, granted)
    return session.run(backup.plan, look=look_, granted=granted)


def _exit_code(left_out: Iterable[LeftOut]) -> int:
    return EXIT_PARTIAL if any(one.is_fault for one in left_out) else 0


def _rows(events: Iterable[Event], finished: Finished) -> Iterable[TakenRow]:
    ends = {event.body.step: event.body for event in events if isinstance(event.body, StepEnded)}
    for step, end in ends.items():
        resource = step.partition("/")[0]
        if end.outcome is None:
            said = end.failure.message if end.failure else ""
            yield TakenRow(resource=resource, step=step, result="failed", said=said)
            continue
        found = end.outcome.evidence
        yield TakenRow(
            resource=resource,
            step=step,
            result="done",
            point=found.point if isinstance(found, PointTaken) else "",
            added_bytes=found.figures.added_bytes if isinstance(found, PointTaken) else 0,
            copied=len(found.points) if isinstance(found, PointsCopied) else 0,
            said=end.outcome.summary,
        )
    for step in finished.closed.not_started:
        resource = step.partition("/")[0]
        yield TakenRow(resource=resource, step=step, result="not started", said="what it needs failed")


def nobody_watches() -> bool:
    """Whether no person sits at the terminal."""
    return not sys.stdin.isatty()
