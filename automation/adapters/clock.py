"""Time, for drills that place their faults in it."""

import time

from automation.model.actions import Wait
from automation.model.records import Context, Outcome


def wait(action: Wait, ctx: Context) -> Outcome:
    """Let the given seconds pass."""
    time.sleep(action.seconds)
    return Outcome(changed=False, summary=f"waited {action.seconds:g} s")
