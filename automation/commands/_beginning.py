"""A run that was opened and has changed nothing begins when it is resumed: a freeze holds it back then."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from automation.commands._command import ROOT
from automation.commands._subject import read_subject
from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.model.actions import CollectWitness, Declare, StartWitness
from automation.model.errors import ConfigError
from automation.model.plan import Plan, Step
from automation.recovery.freezes import refuse_frozen
from automation.recovery.spec import RecoveryPlan, load_plan


def refuse_frozen_beginning(folder: Path, plan: Plan, now: datetime) -> None:
    """See that no freeze holds back what a resume would begin; what has begun is not left half-way.

    Args:
        now: aware.

    Raises:
        PreflightError: names the freeze and when it ends.
    """
    recovery = _recovery_plan(folder)
    if recovery is not None and recovery.freezes and not _has_begun(folder, plan):
        refuse_frozen(recovery, plan.mode, now)


def _recovery_plan(folder: Path) -> RecoveryPlan | None:
    with suppress(ConfigError):  # files that are gone or faulty today hinder no run of yesterday
        subject = read_subject(folder)
        if subject is not None and subject.recovery_plan:
            return load_plan(ROOT, subject.recovery_plan)
    return None


def _has_begun(folder: Path, plan: Plan) -> bool:
    folded = fold(read_journal(folder / "journal.jsonl"))
    touched = folded.started.keys() | folded.succeeded.keys() | folded.failed.keys()
    return any(_acts(plan.step(name)) for name in touched if name in plan.by_id)


def _acts(step: Step) -> bool:
    return step.run.effect != "read" and not isinstance(step.run, CollectWitness | Declare | StartWitness)
