"""The error tree and its exit codes.

AutomationError 1        a bug or an unknown state: treat as failure
|- ConfigError 2         file, rule or policy wrong; nothing touched
|- PreflightError 4      refused before the first step; nothing changed
|  `- Busy 7             another run holds the lock
|- AdapterError          raised by adapters only; `.transient` says whether a retry is sane
|- StepFailed 5          stopped part-way; state known; resumable
|  `- OutcomeUnknown 8   a person must look
`- NotMet 6              ran to the end, but checks or objectives failed
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

EXIT_DONE = 0
EXIT_PARTIAL = 3
EXIT_INTERRUPTED = 130
SHOWN_PROBLEMS = 100


class AutomationError(Exception):
    """What was attempted, on what, why it failed; `hint` is the next act."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Problem(NamedTuple):
    """One fault in a file: where it stands and what is wrong."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}: {self.message}"


class ConfigError(AutomationError):
    """A file, rule or policy is wrong; nothing was touched."""

    exit_code = 2

    def __init__(self, message: str, *, problems: Sequence[Problem] = (), hint: str | None = None) -> None:
        self.problems = tuple(problems)
        left_out = len(self.problems) - SHOWN_PROBLEMS
        more = [f"... and {left_out} more"] if left_out > 0 else []
        shown = map(str, self.problems[:SHOWN_PROBLEMS])
        super().__init__("\n".join([message, *shown, *more]), hint=hint)


class PreflightError(AutomationError):
    """Refused before the first step; nothing changed."""

    exit_code = 4


class Busy(PreflightError):
    """Another run holds the lock."""

    exit_code = 7


class AdapterError(AutomationError):
    """An adapter could not do or see something.

    `transient` says that a retry is sane; `unknown` that an effect, if one was asked for, may have happened;
    `evidence` is what the step saw, for its journal.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool = False,
        unknown: bool = False,
        evidence: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient
        self.unknown = unknown
        self.evidence = evidence


class StepFailed(AutomationError):
    """Stopped part-way; the state is known and the run can be resumed."""

    exit_code = 5


class OutcomeUnknown(StepFailed):
    """An effect may or may not have happened; a person must look."""

    exit_code = 8


class NotMet(AutomationError):
    """Ran to the end, but checks or objectives failed; `evidence` is what a step saw, for its journal."""

    exit_code = 6

    def __init__(self, message: str, *, evidence: object = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.evidence = evidence
