"""Which steps of a recovery are tried again after an error that passes, such as a lost connection. Pure.

Only what looks, or has the same end when it is done twice; one lost packet must not stop a failover at
03:00. Not promotion and copies, which happen once; not waiting for a host, which asks again by itself; not
checks, whose second answer would hide the first; not playbooks, whose hosts Ansible already asks again.
"""

from collections.abc import Iterable

from automation.model.actions import (
    Action,
    AwaitFailed,
    AwaitGood,
    AwaitStreaming,
    BlockServer,
    BlockVm,
    FenceVm,
    LookAtHost,
    LookAtRecords,
    LookAtReplicas,
    LookAtReplication,
    LookAtServer,
    PowerOffServer,
    PowerOnVm,
    ProveRefused,
    StartUnit,
    StartWitness,
    SwapAddress,
)
from automation.model.plan import Step

# The executor waits 0.5 s and then 1 s between, and only within the step's time limit.
RETRIES = 2
PATIENT: tuple[type[Action], ...] = (
    AwaitFailed,
    AwaitGood,
    AwaitStreaming,
    BlockServer,
    BlockVm,
    FenceVm,
    LookAtHost,
    LookAtRecords,
    LookAtReplicas,
    LookAtReplication,
    LookAtServer,
    PowerOffServer,
    PowerOnVm,
    ProveRefused,
    StartUnit,
    StartWitness,
    SwapAddress,
)


def with_retries(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Give the steps with the retries that their actions bear; a step that has some keeps its own."""
    return tuple(
        step.model_copy(update={"retries": RETRIES})
        if not step.retries and isinstance(step.run, PATIENT)
        else step
        for step in steps
    )
