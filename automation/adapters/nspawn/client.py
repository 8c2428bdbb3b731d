"""The supervisor's control socket, from the outside: one request, one answer."""

import json
import os
import socket
from pathlib import Path
from typing import Any

from automation.model.errors import AdapterError

REQUEST_TIMEOUT_S = 60.0


def ask(
    state: Path, request: str, *, timeout_s: float = REQUEST_TIMEOUT_S, **arguments: object
) -> dict[str, Any]:
    """Send one request to the lab of a state folder and give its result.

    Raises:
        AdapterError: the lab does not run, refused, or did not answer in time.
    """
    line = json.dumps({"request": request, **arguments}).encode() + b"\n"
    try:
        answer = _exchange(state / "lab", line, timeout_s)
    except (FileNotFoundError, ConnectionRefusedError) as exc:
        raise AdapterError(
            f"{request}: the lab of {state} does not run; nothing was changed", hint="./inv lab.up starts it"
        ) from exc
    except TimeoutError as exc:
        raise AdapterError(
            f"{request}: no answer in {timeout_s:.0f} s; state unknown", transient=True
        ) from exc
    except (OSError, ValueError) as exc:
        raise AdapterError(
            f"{request}: the lab's supervisor died before it answered ({exc}); state unknown", transient=True
        ) from exc
    if not answer["ok"]:
        raise AdapterError(f"{request}: {answer['error']}", hint=answer.get("hint"))
    result: dict[str, Any] = answer["result"]
    return result


def answers(state: Path) -> bool:
    """Tell whether a supervisor answers at all."""
    try:
        ask(state, "status", timeout_s=10.0)
    except AdapterError:
        return False
    return True


def _exchange(folder: Path, line: bytes, timeout_s: float) -> dict[str, Any]:
    # Through a descriptor of the folder: a socket address holds 108 bytes, a path may be longer.
    folder_fd = os.open(folder, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(f"/proc/self/fd/{folder_fd}/ctl.sock")
            connection.sendall(line)
            with connection.makefile("rb") as reader:
                answer: dict[str, Any] = json.loads(reader.readline())
                return answer
    finally:
        os.close(folder_fd)
