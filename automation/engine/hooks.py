"""What a command, or another area, puts into a run; each has a default that does nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from automation.engine.fold import Folded
from automation.model.plan import Plan, Step
from automation.model.records import Body, Event, GateAnswered, RunSealed


@dataclass(frozen=True)
class Hooks:
    """Seams of a run, all called in the process that runs it.

    on_event: after each event is on the disk; what it raises stops nothing.
    admit: under the locks, before the first step of a run and of each resume; gives what is to be written
        down (approvals, overrides, answers of gates) or raises PreflightError, which leaves the run paused.
    ask: puts a gate's question to a person, in a thread of its own; None when there is nobody to ask.
    on_heartbeat: every `heartbeat_s`, in a thread, with the number of events and the hash of the last one;
        what it raises is told and does not stop the run.
    seal: after the closing event, with its hash; what it gives becomes the last line.
    """

    on_event: Callable[[Event], None] = lambda event: None
    admit: Callable[[Plan, Folded], Sequence[Body]] = lambda plan, folded: ()
    ask: Callable[[Step], GateAnswered | None] | None = None
    on_heartbeat: Callable[[int, str], None] | None = None
    heartbeat_s: float = 60.0
    seal: Callable[[str], RunSealed] | None = None
