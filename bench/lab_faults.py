"""A door before a lab that loses calls, and kills who asked or who was asked while a call is answered."""

import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from bench.lab_counted import supervisor_of
from tests.contracts.lab_door import BEHIND, LabDoor
from tests.contracts.lab_door import MODES as LOST

KILLS = ("controller-killed", "supervisor-killed")
MODES = (*LOST, *KILLS)


@dataclass
class Faults:
    """What an act is to meet, and what came of it in all its commands."""

    left: list[Mapping[str, object]]
    kill_after_s: float = 0.0
    met: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def kills(self) -> int:
        """Give how many kills were met."""
        return sum(self.met[mode] for mode in KILLS)


class FaultDoor(LabDoor):
    """Orders may name a kill, too: kill -9 some milliseconds after the call was passed on."""

    def __init__(self, folder: Path, lab_id: str, faults: Faults) -> None:
        super().__init__(folder)
        self.controller: BaseProcess | None = None
        self._folder, self._lab_id, self._faults = folder, lab_id, faults
        self._killing: list[threading.Timer] = []
        self._is_open = True
        self.is_lab_dead = threading.Event()
        self.order(*faults.left)

    def settle(self) -> None:
        """Leave the faults that were not met, end every kill that was begun, and step aside."""
        with self._changing:
            self._faults.left, self._rules = self._rules, []
            self._faults.calls += self.calls
        while self._killing:
            self._killing.pop().join()
        self.close()

    def close(self) -> None:
        """Put the supervisor's own socket in its place again, and wake whoever waits for a caller."""
        with self._changing:
            was_open, self._is_open = self._is_open, False
        if was_open:
            (self._folder / BEHIND).rename(self._folder / "ctl.sock")
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            super().close()

    def _pass_on(self, asked: socket.socket) -> None:
        with suppress(OSError), asked, asked.makefile("rb") as reader:
            line = reader.readline()
            if not line:  # whoever was to ask was killed first
                return
            mode = self._meet(json.loads(line)["request"])
            if mode == "drop":
                return
            if mode in KILLS:
                self._killing.append(threading.Timer(self._faults.kill_after_s, self._kill, [mode]))
                self._killing[-1].start()
            answer = self._ask(line)
            if mode != "applied-then-drop":
                asked.sendall(answer)

    def _meet(self, request: str) -> str:
        mode = super()._meet(request)
        with self._changing:
            self._faults.met += Counter([mode] if mode else [])
        return mode

    def _kill(self, mode: str) -> None:
        if mode == "controller-killed":
            assert self.controller is not None
            self.controller.kill()
            return
        with self._changing:
            was_dead = self.is_lab_dead.is_set()
            self.is_lab_dead.set()
        if not was_dead:
            self.close()  # first: whoever asks from now on meets a dead supervisor's socket
            os.kill(supervisor_of(self._lab_id), signal.SIGKILL)
