"""Changes that survive a lost answer: look, act, look again; never act twice on what was done once."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from pyVmomi import vim, vmodl

from automation.adapters.vsphere.places import forget_places
from automation.adapters.vsphere.reading import finish, read_objects, read_one, watch
from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.stub import AnswerLost
from automation.model.errors import AdapterError

_Given = TypeVar("_Given")
_ATTEMPTS = 8
# What a vCenter says when somebody else, or our own lost call, was faster: look again.
OVERTAKEN = (
    vim.fault.DuplicateName,
    vim.fault.AlreadyExists,
    vim.fault.FileAlreadyExists,
    vim.fault.InvalidPowerState,
    vim.fault.TaskInProgress,
    vim.fault.ConcurrentAccess,
)


def settle(
    vcenter: Vcenter,
    what: str,
    look: Callable[[], _Given | None],
    act: Callable[[], object],
    *,
    busy: Any = None,
    timeout_s: float,
) -> _Given:
    """Act until `look` gives something; what it gives is the end.

    Args:
        look: reads the state; gives None while there is something to do; raises where it must not be done.
            Both it and `act` find things anew each time: a restarted vCenter may give them other ids.
        busy: whose running tasks are awaited after a lost answer, before it is looked again.

    Raises:
        AdapterError: it is not so in time.
    """
    deadline, last = time.monotonic() + timeout_s, ""
    for _ in range(_ATTEMPTS):
        try:
            done = look()
            vcenter.settled()
            if done is not None:
                return done
            if time.monotonic() > deadline:
                break
            act()
        except vmodl.fault.ManagedObjectNotFound as exc:
            last = f"{exc.obj._moId} is not known any more"
            forget_places(vcenter)
        except AnswerLost as exc:
            last = f"an answer was lost ({exc})"
            if busy is not None:
                await_tasks(vcenter, busy, timeout_s=max(0.0, deadline - time.monotonic()))
        except OVERTAKEN as exc:
            last = type(exc).__name__.rpartition(".")[2]
    done = look()
    vcenter.settled()
    if done is not None:
        return done
    raise AdapterError(
        f"{what} at {vcenter.provider.address} within {timeout_s:.0f} s: it is not so; last: "
        f"{last or 'no error'}",
        transient=True,
        hint=f"./inv provision.show --env {vcenter.environment}",
    )


def run_task(vcenter: Vcenter, what: str, ask: Callable[[Any], Any], *, timeout_s: float) -> Any:
    """Begin a task and wait for its end; give its result."""
    task = vcenter.change(ask)
    return finish(vcenter, task, what, timeout_s=timeout_s)


def await_tasks(vcenter: Vcenter, ref: Any, *, timeout_s: float) -> None:
    """Wait until no task of an object runs, as far as the vCenter still knows them."""
    deadline = time.monotonic() + timeout_s
    for task in running_tasks(vcenter, ref):
        left_s = max(0.0, deadline - time.monotonic())
        try:
            watch(vcenter).until(
                task,
                ("info.state",),
                lambda seen: True if seen.get("info.state") in ("success", "error") else None,
                timeout_s=left_s,
            )
        except AnswerLost:
            continue  # it was forgotten: it runs no more


def running_tasks(vcenter: Vcenter, ref: Any) -> list[Any]:
    """Give the tasks of an object that wait or run."""
    seen = read_one(vcenter, ref, ("recentTask",))
    tasks = list(seen.get("recentTask") or ()) if seen else []
    found = read_objects(vcenter, tasks, ("info.state",)) if tasks else []
    return [one.ref for one in found if one.get("info.state") in ("queued", "running")]
