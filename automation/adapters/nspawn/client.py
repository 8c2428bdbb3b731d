"""The supervisor's control socket, from the outside: one request, one answer."""

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from automation.model.errors import AdapterError

ANSWER_S = 60.0


@dataclass(frozen=True)
class Supervisor:
    """The lab of a state folder, which bears its environment's name; one of another id refuses all."""

    state: Path
    lab_id: str

    def ask(self, request: str, *, within_s: float = ANSWER_S, **arguments: object) -> dict[str, Any]:
        """Send one request and give its result.

        Raises:
            AdapterError: the lab does not run, refused, or did not answer in time.
        """
        line = json.dumps({"request": request, "lab_id": self.lab_id, **arguments}).encode() + b"\n"
        answer = self._exchange(request, line, within_s)
        if not answer["ok"]:
            raise AdapterError(
                f"{request}: {answer['error']}", hint=say_hint(answer.get("hint"), self.state.name)
            )
        result: dict[str, Any] = answer["result"]
        return result

    def answers(self) -> bool:
        """Tell whether it runs."""
        try:
            self.ask("identify", within_s=10.0)
        except AdapterError:
            return False
        return True

    def _exchange(self, request: str, line: bytes, within_s: float) -> dict[str, Any]:
        try:
            return _send(self.state / "lab", line, within_s)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise AdapterError(
                f"{request}: lab {self.lab_id} does not run; nothing was changed",
                hint=f"./inv lab.up --env {self.state.name} starts it",
            ) from exc
        except TimeoutError as exc:
            raise AdapterError(
                f"{request}: lab {self.lab_id} did not answer in {within_s:.0f} s; state unknown",
                transient=True,
                unknown=True,
            ) from exc
        except (OSError, ValueError) as exc:
            raise AdapterError(
                f"{request}: the supervisor of lab {self.lab_id} died first ({exc}); state unknown",
                transient=True,
                unknown=True,
            ) from exc


def say_hint(hint: str | None, environment: str) -> str | None:
    """Say a hint of the lab's own, which names requests, by the commands that a person has."""
    env = f"--env {environment}"
    match (hint or "").split():
        case ["heal_site", site]:
            return f"./inv lab.heal {env} --fault power-loss --site {site}"
        case ["unblock_server"] | ["autostart"]:
            return f"only a new lab lifts that: ./inv lab.down {env}, then ./inv lab.up {env}"
        case ["build", "it", "again"]:
            return f"./inv lab.up {env} builds it again"
    return hint


def _send(folder: Path, line: bytes, within_s: float) -> dict[str, Any]:
    # Through a descriptor of the folder: a socket address holds 108 bytes, a path may be longer.
    folder_fd = os.open(folder, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(within_s)
            connection.connect(f"/proc/self/fd/{folder_fd}/ctl.sock")
            connection.sendall(line)
            with connection.makefile("rb") as reader:
                answer: dict[str, Any] = json.loads(reader.readline())
                return answer
    finally:
        os.close(folder_fd)
