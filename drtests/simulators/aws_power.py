"""What runs while a simulated instance is powered on: a host of the lab, where settings name one."""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ANSWER_S = 120.0


class Powers:
    """Switches hosts of the lab, by the instance that stands for them: `region/name`.

    Of the settings it reads `powers`, `supervisor` (the lab's control socket) and `lab_id`; without a
    supervisor nothing is switched.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.hosts: Mapping[str, Mapping[str, str]] = settings.get("powers", {})
        self.supervisor, self.lab_id = settings.get("supervisor", ""), settings.get("lab_id", "")

    def host_keys(self, name: str) -> str:
        """Give the public host keys of the host of an instance, as sshd has them; empty: it has none."""
        path = self.hosts.get(name, {}).get("host_keys", "")
        return Path(path).read_text() if path and Path(path).exists() else ""

    def switch(self, name: str, on: bool, then: Callable[[], None]) -> None:
        """Switch the host of an instance, then go on; what has no host goes on at once."""
        if not self.supervisor or name not in self.hosts:
            then()
            return

        def switch_and_go_on() -> None:
            self._ask(name, "start_server" if on else "power_off_server")
            then()

        threading.Thread(target=switch_and_go_on, daemon=True).start()

    def _ask(self, name: str, request: str) -> None:
        """Ask the supervisor; a refusal stands on the log, as the instance's failure to boot would."""
        server = self.hosts[name]["host"]
        line = json.dumps({"request": request, "lab_id": self.lab_id, "server": server}).encode() + b"\n"
        try:
            answer = _exchange(Path(self.supervisor), line)
            said = "" if answer.get("ok") else str(answer.get("error"))
        except (OSError, ValueError) as error:
            said = str(error)
        print(f"{request} {server} for {name}: {said or 'done'}", file=sys.stderr, flush=True)


def _exchange(path: Path, line: bytes) -> dict[str, Any]:
    # Through a descriptor of the folder: a socket address holds 108 bytes, a path may be longer.
    folder = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            connection.sendall(line)
            with connection.makefile("rb") as reader:
                answer: dict[str, Any] = json.loads(reader.readline())
                return answer
    finally:
        os.close(folder)
