"""A dialogue with a device's command line, over any channel.

A prompt is believed when the device's name is in it, silence follows, and the answer before it is whole: a
configuration may hold lines that look like a prompt, and a pager's words may be text, too.
"""

import re
import time
from collections.abc import Callable
from typing import Protocol

from automation.model.errors import AdapterError
from automation.model.terminals import Manners, readable, unwiped

LOGIN_TIMEOUT_S = 20.0
_CHUNK_BYTES = 65536
_LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
_LONGEST_PROMPT_BYTES = 512
_PASSWORD = re.compile(r"(?i)(enable )?password: ?")


class Channel(Protocol):
    """What is needed of a shell's channel; `recv` gives nothing at its end."""

    def settimeout(self, timeout: float) -> None: ...

    def sendall(self, s: bytes) -> None: ...

    def recv(self, nbytes: int) -> bytes: ...

    def close(self) -> None: ...


class Shell:
    """Implements `Terminal`."""

    def __init__(self, device: str, channel: Channel, manners: Manners) -> None:
        self._device = device
        self._channel = channel
        self._manners = manners
        self._prompt = re.compile(manners.prompt)
        self._pager = re.compile(manners.pager) if manners.pager else None
        self._name = ""

    @classmethod
    def begin(cls, device: str, channel: Channel, manners: Manners, enable: str | None) -> "Shell":
        """Wait for the first prompt, ask for more rights where that is needed, turn the pager off."""
        shell = cls(device, channel, manners)
        try:
            _, prompt = shell._hear("the login", lambda text: True, LOGIN_TIMEOUT_S)
            shell._name = shell._named(prompt)
            if manners.enabled and not re.fullmatch(manners.enabled, prompt):
                shell._raise_rights(enable)
            for line in manners.quiet:
                shell.ask(line)
        except BaseException:
            shell.close()
            raise
        return shell

    def ask(self, line: str, *, whole: Callable[[str], bool] | None = None, timeout_s: float = 30.0) -> str:
        self._send(line, line)

        def believed(text: str) -> bool:
            answer = _after_echo(text, line)
            if whole is not None and whole(answer):
                return True
            self._see_no_refusal(answer, line)
            return whole is None

        text, last = self._hear(f"`{line}`", believed, timeout_s)
        if _PASSWORD.fullmatch(last):
            raise AdapterError(f"{self._device} asks for a password after `{line}`; nothing was changed")
        return _after_echo(text, line)

    def close(self) -> None:
        self._channel.close()

    def _raise_rights(self, enable: str | None) -> None:
        line = self._manners.enable
        if not line or enable is None:
            raise AdapterError(
                f"{self._device}: the login may not read its configuration; nothing was changed",
                hint="give the user the rights, or the source in backups.yml: login: {enable: {file: PATH}}",
            )
        self._send(line, line)
        _, last = self._hear(f"`{line}`", lambda text: True, LOGIN_TIMEOUT_S)
        if _PASSWORD.fullmatch(last):
            self._send(enable, f"the password of `{line}`")
            _, last = self._hear(f"`{line}`", lambda text: True, LOGIN_TIMEOUT_S)
        if not re.fullmatch(self._manners.enabled, last):
            raise AdapterError(f"{self._device} refused more rights to `{line}`; nothing was changed")

    def _hear(self, what: str, believed: Callable[[str], bool], timeout_s: float) -> tuple[str, str]:
        """Read to a prompt that is believed, page by page; give what came before it, and the prompt."""
        deadline = time.monotonic() + timeout_s
        pages = [bytearray()]
        while True:
            last = _last_line(pages[-1], first=len(pages) == 1)
            pauses = self._is_pager(last) or self._is_prompt(last)
            left = deadline - time.monotonic()
            chunk = self._receive(what, min(left, self._manners.settle_s) if pauses else left)
            if chunk is None and pauses and self._is_pager(last):
                _cut_last_line(pages[-1])
                pages.append(bytearray())
                self._send(" ", what, end="")
                continue
            if chunk is None and pauses:
                text = _text_of(pages)
                if believed(text):
                    return text, last
                chunk = self._receive(what, deadline - time.monotonic())
            size = sum(map(len, pages))
            if chunk is None or size > _LARGEST_ANSWER_BYTES:
                raise AdapterError(
                    f"{self._device}: no whole answer to {what} after {size} bytes in {timeout_s:g} s; "
                    "nothing was changed",
                    transient=True,
                )
            pages[-1] += chunk

    def _is_prompt(self, line: str) -> bool:
        found = self._prompt.fullmatch(line)
        if found is None:
            return _PASSWORD.fullmatch(line) is not None
        return not self._name or found["name"] == self._name

    def _is_pager(self, line: str) -> bool:
        return self._pager is not None and self._pager.fullmatch(line) is not None

    def _named(self, prompt: str) -> str:
        found = self._prompt.fullmatch(prompt)
        if found is None:
            raise AdapterError(f"{self._device} asks for another password; nothing was changed")
        return found["name"]

    def _see_no_refusal(self, answer: str, line: str) -> None:
        for pattern in self._manners.refusals:
            if found := re.search(pattern, answer, re.MULTILINE):
                raise AdapterError(
                    f"{self._device} refused `{line}`: {found[0].strip()}; nothing was changed"
                )

    def _send(self, text: str, what: str, end: str = "\n") -> None:
        try:
            self._channel.settimeout(LOGIN_TIMEOUT_S)
            self._channel.sendall(f"{text}{end}".encode())
        except (OSError, EOFError) as exc:
            raise self._lost(what) from exc

    def _receive(self, what: str, timeout_s: float) -> bytes | None:
        """Give what comes next; None after silence."""
        self._channel.settimeout(max(0.001, timeout_s))
        try:
            chunk = self._channel.recv(_CHUNK_BYTES)
        except TimeoutError:
            return None
        except (OSError, EOFError) as exc:
            raise self._lost(what) from exc
        if not chunk:
            raise self._lost(what)
        return chunk

    def _lost(self, what: str) -> AdapterError:
        message = f"{self._device} closed the connection during {what}; nothing was changed"
        return AdapterError(message, transient=True)


def _last_line(page: bytearray, *, first: bool) -> str:
    """Give the line that is not ended yet; one that is too long for a prompt is empty."""
    begin = page.rfind(b"\n") + 1
    if len(page) - begin > _LONGEST_PROMPT_BYTES:
        return ""
    line = page[begin:].decode(errors="surrogateescape")
    return readable(line if begin or first else unwiped(line))


def _cut_last_line(page: bytearray) -> None:
    del page[page.rfind(b"\n") + 1 :]


def _text_of(pages: list[bytearray]) -> str:
    """Put the pages together, without the last line, which is the prompt."""
    first, *others = (page.decode(errors="surrogateescape") for page in pages)
    raw = first + "".join(map(unwiped, others))
    return readable(raw[: raw.rfind("\n") + 1])


def _after_echo(text: str, line: str) -> str:
    first, _, rest = text.partition("\n")
    return rest if first.rstrip().endswith(line) else text
