"""What runs while a simulated instance is powered on: a host of the lab, where settings name one."""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ANSWER_S = 120.0
Power = Literal["on", "off", "down", "gone"]


@dataclass(frozen=True)
class Switched:
    """What became of a change of power: done or why not, and the public host key of what runs."""

    error: str = ""
    host_key: str = ""


class Powers:
    """Switches hosts of the lab, by the instance that stands for them: `region/name`.

    Of the settings it reads `powers`, `supervisor` (the lab's control socket), `lab_id` and `simulator` (its
    own name); without a supervisor nothing is switched. The protocol: automation/model/simulators.py.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.hosts: Mapping[str, Mapping[str, str]] = settings.get("powers", {})
        self.supervisor = settings.get("supervisor", "")
        self._us = {"lab_id": settings.get("lab_id", ""), "simulator": settings.get("simulator", "")}

    def switch(self, machine: str, power: Power, network: str, then: Callable[[Switched], None]) -> None:
        """Switch the host of an instance, then go on; what has no host goes on at once."""
        if not self.supervisor or machine not in self.hosts:
            then(Switched())
            return
        request = {"request": "power_machine", "machine": machine, "power": power, "network": network}
        threading.Thread(target=lambda: then(self._ask(request | self._us)), daemon=True).start()

    def _ask(self, request: Mapping[str, str]) -> Switched:
        try:
            answer = _exchange(Path(self.supervisor), json.dumps(request).encode() + b"\n")
            error = "" if answer.get("ok") else str(answer.get("error"))
        except (OSError, ValueError) as failed:
            answer, error = {}, str(failed) or type(failed).__name__
        what = f"{request['machine']} {request['power']}"
        print(f"{what}: {error or 'done'}", file=sys.stderr, flush=True)
        return Switched(error, str((answer.get("result") or {}).get("host_key", "")))


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
