"""What is said at the table of a tabletop: what happens is told, what people answer is taken down."""

from collections.abc import Callable

from automation.model.actions import AskPlayers, Inject
from automation.model.plan import Step
from automation.model.records import GateAnswered
from automation.recovery.tabletop import clock


def ask_table(
    step: Step, by: str, read: Callable[[], str], write: Callable[[str], None]
) -> GateAnswered | None:
    """Put an inject, or a question to all, and take down the answer; None when nobody answers any more.

    Args:
        by: who types it in.
        read: gives the next line with its line end; an empty text at the end of the input.
    """
    if isinstance(step.run, AskPlayers):
        write(f"\n{step.run.question}\nOne line each, an empty line ends:\n")
        said = _lines(read)
        return None if said is None else GateAnswered(step=step.id, answer="yes", by=by, reason=said)
    assert isinstance(step.run, Inject)
    run = step.run
    write(f"\n{clock(run.at_s)}  to {run.to}:\n  {run.event}\n")
    write("What do you do? An empty line ends:\n")
    said = _lines(read)
    if said is None:
        return None
    for line in run.plan_says:
        write(f"  the plan says: {line}\n")
    write(f"  expected: {run.expect}\nWas it done? [yes/no] ")
    while (word := read()) and word.strip().lower() not in ("yes", "no"):
        write("yes or no: ")
    if not word:
        return None
    done = word.strip().lower() == "yes"
    return GateAnswered(step=step.id, answer="yes" if done else "no", by=by, reason=said)


def _lines(read: Callable[[], str]) -> str | None:
    """Everything up to an empty line; None when the input ends before."""
    lines: list[str] = []
    while line := read():
        if not line.strip():
            return "\n".join(lines)
        lines.append(line.strip())
    return None
