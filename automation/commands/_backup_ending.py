"""How a run of proofs or of a restore ends that was resumed by hand."""

from automation.backups.proving import PLAN_NAME as PROOFS
from automation.backups.restoring import PLAN_NAME as RESTORE
from automation.commands._session import Session
from automation.engine.finished import Finished
from automation.model.backup_evidence import ProofFailed
from automation.model.errors import NotMet, StepFailed
from automation.model.plan import Plan

BACKUP_PLANS = (PROOFS, RESTORE)


def conclude_backup(session: Session, plan: Plan, finished: Finished, *, json: bool) -> int:
    """Say what a restore left; of proofs, what failed though the run went on to its end.

    Raises:
        NotMet: a proof failed.
        StepFailed, OutcomeUnknown, KeyboardInterrupt: it did not come to its end, or not all of it did.
    """
    if plan.name == RESTORE:
        _tell_restored(finished, json=json)
        return 0
    finished.raise_for_status()
    if finished.failures:
        bad = [step for step, one in finished.failures.items() if isinstance(one.evidence, ProofFailed)]
        told = " | ".join(f"{step}: {failure.message}" for step, failure in finished.failures.items())
        env, run = session.environment.name, finished.folder.name
        kind = NotMet if bad else StepFailed
        raise kind(
            f"proofs of run {run}: {told}", hint=f"./inv backup.status --env {env} says what that stops"
        )
    return 0


def _tell_restored(finished: Finished, *, json: bool) -> None:
    from automation.commands._command import print_json
    from automation.commands._render_restores import print_restored
    from automation.commands._restore import conclude_restore

    restored = conclude_restore(finished)
    if json:
        print_json(restored)
    else:
        print_restored(restored)
