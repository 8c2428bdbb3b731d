"""A run in a controller of its own, killed with kill -9 at a random moment and resumed until it ends."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from automation.commands._command import ROOT, progress
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import EXIT_INTERRUPTED, AutomationError, StepFailed
from automation.model.plan import Plan

LIMIT_S = 300.0
RESUMES = 5
LOOK_S = 0.005
# A kill comes so long after its step has started: most steps of a drill take no longer.
AFTER_START_S = 0.25
RESUMED_KILLED_WITHIN_S = 2.0
KILLED_AGAIN = 0.25
RESUMABLE = frozenset({StepFailed.exit_code, EXIT_INTERRUPTED})


class Killing(NamedTuple):
    """How a controller is to be killed: by chance, or so long at most after a step that ends in `aim`."""

    chance: Random
    aim: str = ""
    within_s: float = AFTER_START_S


class Kill(Model):
    """One kill -9: how long after which step's start, and what was under way by the journal.

    `in_run` is false if the run was closed by then; `units_left` are the run's units that went on at the
    standby's host without their controller.
    """

    after_step: str
    delay_s: float
    under_way: tuple[str, ...] = ()
    steps_ended: int = 0
    in_run: bool = True
    units_left: tuple[str, ...] = ()


class Ended(Model):
    """A run that came to its end, and what it went through."""

    run_id: str
    kills: tuple[Kill, ...]
    exit_codes: tuple[int, ...]


class Controller:
    """One child process that runs a command of ours; its words go to a file."""

    def __init__(self, words: tuple[str, ...], log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            argv = [str(ROOT / "inv"), *words]
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        self._until = time.monotonic() + LIMIT_S

    def run_id(self) -> str:
        """Wait for the line that names the run.

        Raises:
            AutomationError: the child ended without one.
        """
        while True:
            for line in self._log.read_text(errors="replace").splitlines():
                if line.startswith("run ") and ": " in line:
                    return line.removeprefix("run ").split(":")[0]
            if self._child.poll() is not None:
                raise AutomationError(f"a drill ended before it began: see {self._log}")
            self._look_again()

    def outlives(self, seen: Callable[[], bool]) -> bool:
        """Wait until something is seen; false if the child ended first."""
        while not seen():
            if self._child.poll() is not None:
                return False
            self._look_again()
        return True

    def kill_after(self, delay_s: float) -> bool:
        """Kill -9 it; false if it ended before."""
        try:
            self._child.wait(delay_s)
        except subprocess.TimeoutExpired:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()
            return True
        return False

    def wait(self) -> int:
        """Wait for its end; give its exit code."""
        try:
            return self._child.wait(max(0.1, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.kill(self._child.pid, signal.SIGKILL)
            self._child.wait()
            raise AutomationError(f"a controller did not end within {LIMIT_S:g} s: see {self._log}") from None

    def _look_again(self) -> None:
        if time.monotonic() > self._until:
            self.wait()
        time.sleep(LOOK_S)


class Command(NamedTuple):
    """What the first controller is told to do; `run_id` where the run is written down already."""

    words: tuple[str, ...]
    run_id: str = ""


Units = Callable[[str], tuple[str, ...]]


def run_to_the_end(
    session: Session, first: Command, folder: Path, killing: Killing | None, units: Units
) -> Ended:
    """Run a command in a child; kill it as told, resume the run, and perhaps kill what resumed it too.

    Args:
        units: names the units of a run that still work at the host where work outlives its controller.

    Raises:
        AutomationError: it did not come to an end.
    """
    env = session.environment.name
    child = Controller(first.words, folder / "controller-1.log")
    run_id = first.run_id or child.run_id()
    journal = session.state / "runs" / run_id / "journal.jsonl"
    kills: list[Kill] = []
    codes: list[int] = []

    def note(child: Controller, kill: Kill | None) -> None:
        if kill is None:
            codes.append(child.wait())
        else:
            kills.append(kill.model_copy(update={"units_left": units(run_id)}))

    note(child, _kill(child, journal, killing) if killing else None)
    again = killing.chance if killing and killing.chance.random() < KILLED_AGAIN else None
    for number in range(2, RESUMES + 2):
        if codes and (codes[-1] not in RESUMABLE or len(codes) > 1):
            break
        go_on = ("run.resume", "--env", env, "--run", run_id)
        child = Controller(go_on, folder / f"controller-{number}.log")
        note(child, _kill_soon(child, journal, again) if again else None)
        again = None
    return Ended(run_id=run_id, kills=tuple(kills), exit_codes=tuple(codes))


class Told(NamedTuple):
    """How far a run had come by its journal."""

    started: set[str]
    under_way: set[str]
    closed: bool

    @property
    def ended(self) -> set[str]:
        return self.started - self.under_way


def read_steps(journal: Path) -> Told:
    """Give the steps that a journal says have started, and those without an end; a torn line says nothing."""
    started: set[str] = set()
    under_way: set[str] = set()
    closed = False
    for line in journal.read_text(errors="replace").splitlines() if journal.exists() else ():
        try:
            body = json.loads(line)["body"]
        except ValueError:
            continue
        if body["kind"] == "step-started":
            started.add(body["step"])
            under_way.add(body["step"])
        elif body["kind"] == "step-ended":
            under_way.discard(body["step"])
        closed = body["kind"] == "run-closed" or (closed and body["kind"] == "run-sealed")
    return Told(started, under_way, closed)


def pick_step(plan: Plan, killing: Killing) -> str:
    """Choose the step after whose start a controller is killed: every second time one that changes something.

    Raises:
        AutomationError: no step is what is aimed at.
    """
    if killing.aim:
        aimed = [step.id for step in plan.steps if step.id.endswith(killing.aim)]
        if not aimed:
            raise AutomationError(f"plan {plan.name} has no step that ends in {killing.aim}")
        return killing.chance.choice(aimed)
    changing = [step.id for step in plan.steps if step.run.effect != "read"]
    every = [step.id for step in plan.steps]
    return killing.chance.choice(changing if killing.chance.random() < 0.5 else every)


def _kill(child: Controller, journal: Path, killing: Killing) -> Kill | None:
    """Kill the child soon after the chosen step has started."""
    if not child.outlives(journal.exists):  # the plan is written before the journal
        return None
    plan = Plan.model_validate_json(journal.with_name("plan.json").read_bytes())
    step, delay_s = pick_step(plan, killing), killing.chance.uniform(0, killing.within_s)
    if not (child.outlives(lambda: step in read_steps(journal).started) and child.kill_after(delay_s)):
        return None
    return _describe(step, delay_s, journal)


def _kill_soon(child: Controller, journal: Path, chance: Random) -> Kill | None:
    """Kill a child that resumes, wherever it is."""
    delay_s = chance.uniform(0, RESUMED_KILLED_WITHIN_S)
    return _describe("run.resume", delay_s, journal) if child.kill_after(delay_s) else None


def _describe(after_step: str, delay_s: float, journal: Path) -> Kill:
    told = read_steps(journal)
    under_way = tuple(sorted(told.under_way))
    where = "the run was closed" if told.closed else f"under way: {', '.join(under_way) or 'nothing'}"
    progress(f"killed {delay_s * 1000:.0f} ms after {after_step}; {where}")
    return Kill(
        after_step=after_step,
        delay_s=round(delay_s, 3),
        under_way=under_way,
        steps_ended=len(told.ended),
        in_run=not told.closed,
    )
