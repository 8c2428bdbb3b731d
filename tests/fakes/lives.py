"""Controllers that live and die in a test: each runs or resumes a plan until it is killed."""

import threading
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Protocol

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.executor import execute
from automation.engine.fold import Folded, fold
from automation.engine.hooks import Hooks
from automation.engine.journal import Journal, read_journal
from automation.model.plan import Plan, Step
from automation.model.records import Event, GateAnswered, RunResumed


class Killed(BaseException):
    """The controller is gone: nothing catches it."""


class Fate(Enum):
    """What becomes of the commands that a controller was giving when it was killed."""

    LOST = "they never arrive"
    DONE = "they are carried out, nobody hears their answer"
    LATE = "they have begun, and end after the next controller has looked"


class World(Protocol):
    """What outlives a controller."""

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        """Give what one controller does; `cut` says, from its death on, what becomes of its commands."""


def live(
    plan: Plan,
    folder: Path,
    world: World,
    *,
    until: Callable[[Event], bool] = lambda event: False,
    fate: Fate = Fate.LOST,
    ask: Callable[[Step], GateAnswered | None] | None = None,
) -> bool:
    """Run or resume a plan for one controller's life; say whether it came to the plan's end.

    Args:
        until: the controller is killed when this event is on the disk.
        ask: answers gates, if somebody is there to answer.
    """
    dead = threading.Event()
    before = set(threading.enumerate())
    journal = Journal(folder / "journal.jsonl")
    folded = fold(journal.events)

    def on_event(event: Event) -> None:
        if until(event):
            dead.set()
            raise Killed

    ctx = RunContext("r", None, None, folder, folder, folder, None, lambda s, t: None)  # type: ignore[arg-type]
    work = world.work(lambda: fate if dead.is_set() else None)
    try:
        if journal.events:
            on_event(journal.append(RunResumed(actor="a", node="n", version="v")))
        execute(plan, ctx, journal, folded=folded, hooks=Hooks(on_event=on_event, ask=ask), work=work)
    except Killed:
        return False
    finally:
        for thread in set(threading.enumerate()) - before:
            thread.join(10)
        journal.close()
    return True


def read_fold(folder: Path) -> Folded:
    return fold(read_journal(folder / "journal.jsonl"))
