"""How a run ended, and the error and exit code that this is for a command."""

from pathlib import Path
from typing import NamedTuple

from automation.engine.fold import Folded, fold
from automation.engine.journal import read_journal
from automation.model.errors import AutomationError, NotMet, OutcomeUnknown, StepFailed
from automation.model.records import Failure, RunClosed


class Finished(NamedTuple):
    """How a run ended and where its evidence lies."""

    folder: Path
    closed: RunClosed
    failures: dict[str, Failure]
    changed: int
    environment: str = "ENV"

    def raise_for_status(self) -> None:
        """Turn a run that did not succeed into its error.

        Raises:
            OutcomeUnknown: an effect may or may not have happened.
            NotMet: nothing but checks failed.
            StepFailed: stopped part-way with a known state; a gate that nobody answered is one.
            KeyboardInterrupt: a person or a signal stopped it; its note says how it goes on.
        """
        if self.closed.status in ("succeeded", "aborted"):
            return
        doubtful = any(not failure.known for failure in self.failures.values())
        if self.closed.status == "interrupted" and not doubtful:
            interrupt = KeyboardInterrupt()
            interrupt.add_note(f"run {self.folder.name} is stopped and goes on with: {self._resume()}")
            raise interrupt
        told = [f"{step}: {failure.message}" for step, failure in self.failures.items()]
        if self.closed.gates:
            told.append(f"waiting for a person's answer: {', '.join(self.closed.gates)}")
        waiting = f"; not started: {', '.join(self.closed.not_started)}" if self.closed.not_started else ""
        message = f"run {self.folder.name} {self.closed.status}: {' | '.join(told)}{waiting}"
        raise self._error()(message, hint=self._hint())

    def _resume(self) -> str:
        return f"./inv run.resume --env {self.environment} --run {self.folder.name}"

    def _hint(self) -> str:
        hint = next((failure.hint for failure in self.failures.values() if failure.hint), None)
        if self.closed.gates:
            return f"{self._resume()} --gate {self.closed.gates[0]} --answer yes --reason '...'"
        return f"{hint}; then {self._resume()}" if hint else self._resume()

    def _error(self) -> type[AutomationError]:
        if any(not failure.known for failure in self.failures.values()):
            return OutcomeUnknown
        only_checks = self.failures and all(one.error == "NotMet" for one in self.failures.values())
        return NotMet if only_checks else StepFailed


def finished(folder: Path, folded: Folded | None = None) -> Finished:
    """Fold the journal of a run that was closed.

    Raises:
        AutomationError: its journal is damaged, or it was not closed.
    """
    state = folded or fold(read_journal(folder / "journal.jsonl"))
    if state.closed is None or state.opened is None:
        env = folder.parent.parent.name  # the folders are `<env>/runs/<run>`
        raise AutomationError(
            f"run {folder.name} was not closed", hint=f"./inv run.resume --env {env} --run {folder.name}"
        )
    failures = {**state.failed, **state.undo_failed}
    return Finished(folder, state.closed, failures, state.changed, state.opened.environment)
