"""A rotation that stopped: a resume deletes what may still go, decided anew, or nothing."""

from pathlib import Path

from automation.backups.overdue import list_stale
from automation.backups.rotating import PLAN_NAME
from automation.commands._rotation import COMMAND, RotateFlags, decide_now
from automation.commands._session import Session
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.model.errors import PreflightError
from automation.model.plan import Plan


def refuse_stale(session: Session, plan: Plan, folder: Path) -> None:
    """See that a rotation which goes on deletes nothing that is needed by now.

    Raises:
        PreflightError: a deletion was cut off, or would not be planned any more.
    """
    if plan.name != PLAN_NAME:
        return
    folded = fold(read_journal(folder / "journal.jsonl"))
    steps = [s for s in plan.steps if s.run.effect == "destroy" and s.id not in folded.succeeded]
    if not steps:
        return
    env = session.environment.name
    hint = f"./inv {COMMAND} --env {env} closes this run and decides anew"
    if cut_off := [step.id for step in steps if step.id in folded.started and step.id not in folded.failed]:
        raise PreflightError(
            f"{', '.join(cut_off)} of rotation {folder.name} was cut off; nothing more was deleted", hint=hint
        )
    resources = sorted({name for step in steps if (name := getattr(step.run, "resource", ""))})
    whole = any(not hasattr(step.run, "resource") for step in steps)
    now = decide_now(session, RotateFlags(resource="" if whole else ",".join(resources), legal=True))
    if stale := tuple(list_stale(steps, now.decisions, now.plan)):
        raise PreflightError(
            f"rotation {folder.name} was decided on before: {'; '.join(stale)}; nothing was deleted",
            hint=hint,
        )
