"""A door before a lab's control socket: counts what the supervisor is asked, and loses what it is told to."""

import json
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

BEHIND = "behind.sock"
# drop: the supervisor never hears of it; applied-then-drop: its answer is lost. A third, applied-then-hang,
# gives the answer to nobody, for whoever asked is to be killed.
MODES = ("drop", "applied-then-drop")


class LabDoor:
    """Takes the place of a running lab's socket; the supervisor answers behind it."""

    def __init__(self, folder: Path) -> None:
        self.calls: Counter[str] = Counter()
        self._closing = threading.Event()
        self._rules: list[Mapping[str, object]] = []
        self._changing = threading.Lock()
        self._folder_fd = os.open(folder, os.O_PATH)  # a socket address holds 108 bytes, a path may be longer
        (folder / "ctl.sock").rename(folder / BEHIND)
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(self._path("ctl.sock"))
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def order(self, *rules: Mapping[str, object]) -> None:
        """Order faults `{request, mode}`, each for the next such request alone."""
        with self._changing:
            self._rules += rules

    def waiting(self) -> int:
        """Give how many faults were not met yet."""
        with self._changing:
            return len(self._rules)

    def drop_rules(self) -> None:
        with self._changing:
            self._rules.clear()

    def close(self) -> None:
        self._closing.set()
        self._listening.close()
        os.close(self._folder_fd)

    def _path(self, name: str) -> str:
        return f"/proc/self/fd/{self._folder_fd}/{name}"

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                asked, _ = self._listening.accept()
                threading.Thread(target=self._pass_on, args=(asked,), daemon=True).start()

    def _pass_on(self, asked: socket.socket) -> None:
        with suppress(OSError), asked, asked.makefile("rb") as reader:
            line = reader.readline()
            mode = self._meet(json.loads(line)["request"])
            if mode == "drop":
                return
            answer = self._ask(line)
            if mode == "applied-then-hang":
                self._closing.wait()
            if mode != "applied-then-drop":
                asked.sendall(answer)

    def _meet(self, request: str) -> str:
        with self._changing:
            self.calls[request] += 1
            rule = next((one for one in self._rules if one["request"] == request), None)
            if rule is not None:
                self._rules.remove(rule)
            return "" if rule is None else str(rule["mode"])

    def _ask(self, line: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as supervisor:
            supervisor.connect(self._path(BEHIND))
            supervisor.sendall(line)
            with supervisor.makefile("rb") as reader:
                return reader.readline()


@contextmanager
def door_of(folder: Path) -> Iterator[LabDoor]:
    """Put a door before the lab of a folder."""
    door = LabDoor(folder)
    try:
        yield door
    finally:
        door.close()
