"""What a person would do with a lab's hosts under faults: each command a process, which may be killed."""

import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from automation.adapters.nspawn.client import Supervisor
from automation.commands._provision_views import list_servers
from automation.commands._retiring import RetireFlags, retire
from automation.commands._servers import ProvisionFlags, plan_provisioning, refuse_obstacles
from automation.engine.journal import read_journal
from automation.model.errors import AutomationError
from automation.model.records import RunClosed
from bench.lab_faults import FaultDoor, Faults
from bench.provider_faults import Act
from tests.contracts.labs import LabCity

TRIES = 12
COMMAND_S = 300.0
GIVEN_UP_S = 2.0
DONE, MORE, STOPPED, KILLED = 0, 10, 20, -signal.SIGKILL  # how the process of a command ends


def do_act(city: LabCity, act: Act, faults: Faults) -> int:
    """Begin commands until nothing is left to do; give how many of them stopped or were killed."""
    stopped = 0
    for _ in range(TRIES):
        kills = faults.kills()
        ended = _command(city, act, faults)
        assert ended in (DONE, MORE, STOPPED, KILLED), f"{act}: a command ended with {ended}"
        if ended == DONE and faults.kills() == kills:
            return stopped
        stopped += ended in (STOPPED, KILLED)
    raise AssertionError(f"{act} did not end in {TRIES} commands")


def _command(city: LabCity, act: Act, faults: Faults) -> int | None:
    """Run one command in a process of its own; give how it ended."""
    lab = Supervisor(city.state, city.name)
    process = get_context("fork").Process(target=_go_on, args=(city, act))
    door = FaultDoor(city.state / "lab", city.name, faults) if lab.answers() else None
    try:
        if door:
            door.controller = process
        process.start()
        ended = _await(process, door)
        assert ended, f"{act}: a command did not end in {COMMAND_S:.0f} s"
    finally:
        process.kill()
        if door:
            door.settle()
        process.join()
    return process.exitcode


def _await(process: BaseProcess, door: FaultDoor | None) -> bool:
    """Wait for a command; one whose lab died is given up soon, as by a person who saw that."""
    deadline = time.monotonic() + COMMAND_S
    while process.is_alive() and time.monotonic() < deadline:
        process.join(0.2)
        if door and door.is_lab_dead.is_set():
            process.join(GIVEN_UP_S)
            return True
    return not process.is_alive()


def _go_on(city: LabCity, act: Act) -> None:
    with command_log(city.root):
        try:
            ended = DONE if go_on(city, act) else MORE
        except AutomationError:
            traceback.print_exc()
            ended = STOPPED
        except BaseException:
            traceback.print_exc()
            raise
    sys.exit(ended)


@contextmanager
def command_log(root: Path) -> Iterator[None]:
    """Keep what commands say for whoever looks for why one stopped."""
    with (root / "commands.log").open("a", buffering=1) as log, redirect_stderr(log):
        yield


def go_on(city: LabCity, act: Act) -> bool:
    """Have the lab run, resume what stopped, and do what is left of an act; whether that is nothing."""
    retiring = act in ("stop", "delete")
    if not Supervisor(city.state, city.name).answers() and _provision(city, retiring=retiring):
        return False
    for run in _unfinished(city):
        _resume(city, run)
    if _unfinished(city) or _provision(city, retiring=retiring):
        return False
    return not retiring or _retire(city, act)


def _provision(city: LabCity, *, retiring: bool) -> bool:
    """Plan, and run what is planned; whether there was anything. One that is to go is not made anew."""
    flags = ProvisionFlags(restart=city.one, limit=city.one if retiring else "")
    wanted = plan_provisioning(city.session(), flags)
    refuse_obstacles(wanted)
    if wanted.plan.steps:
        city.session().run(wanted.plan)
    return bool(wanted.plan.steps or wanted.unseen)


def _retire(city: LabCity, act: Act) -> bool:
    """Stop or delete the second host; whether it was so already."""
    around = city.look()
    is_there = any(one.name == city.two for one in list_servers(around, every=False).servers)
    if city.two in around.past.leaves if act == "stop" else not is_there:
        return True
    retire(city.session(), around, RetireFlags(host=city.two, unsaved=True, grace_days=0))
    return False


def _unfinished(city: LabCity) -> list[str]:
    return [
        run for run in city.runs() if (ended := _closed(city, run)) is None or ended.status != "succeeded"
    ]


def _closed(city: LabCity, run: str) -> RunClosed | None:
    """Give how a run ended last."""
    events = read_journal(city.state / "runs" / run / "journal.jsonl")
    return next((one.body for one in reversed(list(events)) if isinstance(one.body, RunClosed)), None)


def _resume(city: LabCity, run: str) -> None:
    """Go on with a run, and say yes where it asks."""
    gate = f"delete/{city.two}"
    ended = _closed(city, run)
    with suppress(AutomationError):  # what is left of it is tried again by the next command
        if ended is not None and gate in ended.gates:
            city.say_yes(run, gate)
        else:
            city.session().resume(run)
