"""A drill in a controller of its own, killed with kill -9 at a random moment and resumed until it ends."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

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


class Kill(Model):
    """One kill -9: how long after which step's start, and what was under way by the journal."""

    after_step: str
    delay_s: float
    under_way: tuple[str, ...] = ()
    steps_ended: int = 0


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


def run_to_the_end(session: Session, drill: str, folder: Path, chance: Random | None) -> Ended:
    """Run a drill in a child; with chance, kill it, resume it, and perhaps kill what resumed it too.

    Raises:
        AutomationError: it did not come to an end.
    """
    env = session.environment.name
    drive = ("dr.drill", "--env", env, "--drill", drill)
    child = Controller(drive, folder / "controller-1.log")
    run_id = child.run_id()
    journal = session.state / "runs" / run_id / "journal.jsonl"
    kills: list[Kill] = []
    codes: list[int] = []

    def note(child: Controller, kill: Kill | None) -> None:
        if kill is not None:
            kills.append(kill)
        else:
            codes.append(child.wait())

    note(child, _kill(child, journal, chance) if chance else None)
    again = chance if chance and chance.random() < KILLED_AGAIN else None
    for number in range(2, RESUMES + 2):
        if codes and (codes[-1] not in RESUMABLE or len(codes) > 1):
            break
        go_on = ("run.resume", "--env", env, "--run", run_id)
        child = Controller(go_on, folder / f"controller-{number}.log")
        note(child, _kill_soon(child, journal, again) if again else None)
        again = None
    return Ended(run_id=run_id, kills=tuple(kills), exit_codes=tuple(codes))


def steps(journal: Path) -> tuple[set[str], set[str]]:
    """Give the steps that a journal says have started, and those that have ended; a torn line is none."""
    found: dict[str, set[str]] = {"step-started": set(), "step-ended": set()}
    if journal.exists():
        for line in journal.read_text(errors="replace").splitlines():
            try:
                body = json.loads(line)["body"]
            except ValueError:
                continue
            found.get(body["kind"], set()).add(body.get("step", ""))
    return found["step-started"], found["step-ended"]


def _kill(child: Controller, journal: Path, chance: Random) -> Kill | None:
    """Kill the child soon after a random step has started: every second time one that changes something."""
    plan_file = journal.with_name("plan.json")
    if not child.outlives(journal.exists):  # the plan is written before the journal
        return None
    plan = Plan.model_validate_json(plan_file.read_bytes())
    changing = [step.id for step in plan.steps if step.run.effect != "read"]
    step = chance.choice(changing if chance.random() < 0.5 else [step.id for step in plan.steps])
    delay_s = chance.uniform(0, AFTER_START_S)
    if not (child.outlives(lambda: step in steps(journal)[0]) and child.kill_after(delay_s)):
        return None
    return _describe(step, delay_s, journal)


def _kill_soon(child: Controller, journal: Path, chance: Random) -> Kill | None:
    """Kill a child that resumes, wherever it is."""
    delay_s = chance.uniform(0, RESUMED_KILLED_WITHIN_S)
    return _describe("run.resume", delay_s, journal) if child.kill_after(delay_s) else None


def _describe(after_step: str, delay_s: float, journal: Path) -> Kill:
    started, ended = steps(journal)
    under_way = tuple(sorted(started - ended))
    progress(
        f"killed {delay_s * 1000:.0f} ms after {after_step}; under way: {', '.join(under_way) or 'nothing'}"
    )
    return Kill(after_step=after_step, delay_s=round(delay_s, 3), under_way=under_way, steps_ended=len(ended))
