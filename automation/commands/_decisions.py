"""What a person decides on the command line of run.resume and run.abort."""

from automation.commands._session import actor
from automation.engine.run import Decision
from automation.model.errors import ConfigError
from automation.model.records import GateAnswered, StepSettled


def decide(
    *, gate: str = "", answer: str = "", done: str = "", not_done: str = "", reason: str = ""
) -> tuple[Decision, ...]:
    """Make what is journalled of the flags; an empty one was not given.

    Raises:
        ConfigError: an answer without its gate, or the other way round, or no reason.
    """
    if bool(gate) != bool(answer) or answer not in ("", "yes", "no"):
        raise ConfigError("--gate STEP and --answer yes, or no, belong together; nothing was touched")
    if (gate or done or not_done) and not reason.strip():
        raise ConfigError("--reason is missing: it stands beside what you decide; nothing was touched")
    decisions: list[Decision] = []
    if gate:
        said = GateAnswered(step=gate, answer="yes" if answer == "yes" else "no", by=actor(), reason=reason)
        decisions.append(said)
    if done:
        decisions.append(StepSettled(step=done, progress="done", by=actor(), reason=reason))
    if not_done:
        decisions.append(StepSettled(step=not_done, progress="not_done", by=actor(), reason=reason))
    return tuple(decisions)
