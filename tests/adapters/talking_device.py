"""A device that is only its command line, with the manners of old network gear."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

IOS_WIPE = b"\x08" * 9 + b" " * 8 + b"\x08" * 9
JUNOS_WIPE = b"\r" + b" " * 40 + b"\r"


@dataclass
class Script:
    """What a device says, and how badly."""

    prompt: str
    answers: Mapping[str, bytes] = field(default_factory=dict)
    banner: bytes = b""
    page_lines: int = 0
    pager: bytes = b" --More-- "
    wipe: bytes = IOS_WIPE
    turns_pager_off: bool = True
    chunk_bytes: int = 65536
    pause_s: float = 0.0
    hangs_up_after: int | None = None
    enable: str = ""
    unknown: bytes = b"% Invalid input detected at '^' marker.\r\n"
    echoes: bool = True


class Wire(Protocol):
    """What a device speaks through: a socket, or a channel of SSH."""

    def sendall(self, data: bytes, /) -> None: ...

    def recv(self, size: int, /) -> bytes: ...


class Talk:
    """One login, until it hangs up or the other side goes."""

    def __init__(self, channel: Wire, script: Script, heard: list[str]) -> None:
        self._channel, self._script, self._heard = channel, script, heard
        self._pages = bool(script.page_lines)
        self._left = script.hangs_up_after
        self._enabled = not script.enable

    def go(self) -> None:
        self._say(self._script.banner)
        self._say(self._prompt())
        while True:
            line = self._line()
            self._heard.append(line)
            if self._script.echoes:
                self._say(line.encode() + b"\r\n")
            self._answer(line)
            self._say(self._prompt())

    def _prompt(self) -> bytes:
        prompt = self._script.prompt
        return (prompt if self._enabled else prompt.replace("#", ">")).encode()

    def _answer(self, line: str) -> None:
        if line.startswith(("terminal", "set cli")):
            self._pages = self._pages and not self._script.turns_pager_off
        elif line == "enable" and not self._enabled:
            self._say(b"Password: ")
            self._enabled = self._line() == self._script.enable
            self._say(b"\r\n" if self._enabled else b"\r\n% Access denied\r\n")
        else:
            self._show(self._script.answers.get(line, self._script.unknown))

    def _show(self, text: bytes) -> None:
        lines = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n").splitlines(keepends=True)
        page = self._script.page_lines if self._pages else len(lines) or 1
        for begin in range(0, len(lines), page):
            if begin:
                self._say(self._script.pager)
                self._channel.recv(1)
                self._say(self._script.wipe)
            self._say(b"".join(lines[begin : begin + page]))

    def _say(self, content: bytes) -> None:
        size = self._script.chunk_bytes
        for begin in range(0, len(content), size):
            chunk = content[begin : begin + size]
            if self._left is not None:
                chunk, self._left = chunk[: self._left], self._left - len(chunk)
            self._channel.sendall(chunk)
            if self._left is not None and self._left <= 0:
                raise EOFError("hung up")
            if self._script.pause_s and begin + size < len(content):
                threading.Event().wait(self._script.pause_s)

    def _line(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            if not (sign := self._channel.recv(1)):
                raise EOFError
            line += sign
        return line.decode().rstrip("\r\n")


@contextmanager
def talking(script: Script) -> Iterator[tuple[socket.socket, list[str]]]:
    """Give the near end of a wire to a device, and what the device hears."""
    near, far = socket.socketpair()
    heard: list[str] = []

    def talk() -> None:
        try:
            Talk(far, script, heard).go()
        except (OSError, EOFError):
            far.close()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield near, heard
    finally:
        near.close()
        thread.join()
