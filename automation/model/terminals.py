"""The command line of a network device: how it behaves, and the seam through which it is spoken to."""

import re
from collections.abc import Callable
from typing import Protocol

from pydantic import Field, field_validator

from automation.model.base import Model
from automation.model.secrets import SecretRef

# What a terminal is told and no person reads: colours, cursor moves, bracketed paste, titles, the bell.
_ESCAPES = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>()][0-9AB]?|\x07|\x00"
)
# How a device wipes its pager's words from the line, before it goes on.
_WIPED = re.compile(r"^(?:\r(?:\x1b\[K| +\r)?|\x08+(?: +\x08+)?|\x1b\[[0-9;]*[KDJ])*")
_LINE_END = re.compile(r"\r*\n")


class Manners(Model):
    """How the command line of one kind of device behaves; patterns are regular expressions."""

    prompt: str = Field(description="all of the prompt's line, with a group `name`, the device's")
    pager: str = Field(default="", description="what the device asks when a page is full: all of its line")
    refusals: tuple[str, ...] = Field(default=(), description="how it says that it did not take a line")
    quiet: tuple[str, ...] = Field(default=(), description="lines that turn the pager off")
    enable: str = Field(default="", description="line that asks for more rights; empty: there is none")
    enabled: str = Field(default="", description="a prompt with enough rights; empty: every one")
    settle_s: float = Field(default=0.2, gt=0, description="silence after a prompt: it is no line of text")

    @field_validator("prompt", "pager", "enabled")
    @classmethod
    def _is_a_pattern(cls, pattern: str) -> str:
        return checked(pattern)

    @field_validator("prompt")
    @classmethod
    def _names_the_device(cls, pattern: str) -> str:
        if "(?P<name>" not in pattern:
            raise ValueError("a prompt needs a group `name`: (?P<name>[A-Za-z0-9._-]+)# ?")
        return pattern

    @field_validator("refusals")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked, patterns))


def checked(pattern: str) -> str:
    """Give a regular expression back if it is one."""
    try:
        re.compile(pattern)
    except re.error as exc:
        raise ValueError(f"{pattern!r} is no regular expression: {exc}; mend it") from exc
    return pattern


class DeviceLogin(Model):
    """Who logs in to a device; without a password the key of the automation user alone."""

    user: str = Field(default="", description="empty: the automation user of the environment")
    password: SecretRef | None = Field(default=None, description="for devices that take no key")
    enable: SecretRef | None = Field(default=None, description="what the device asks for more rights")


class Terminal(Protocol):
    """A shell of a device that stays open; every call raises AdapterError on loss of it."""

    def ask(self, line: str, *, whole: Callable[[str], bool] | None = None, timeout_s: float = 30.0) -> str:
        """Send one line; give what came between its echo and the next prompt.

        Bytes that are no UTF-8 are surrogates, so that nothing is lost.

        Args:
            whole: whether an answer is complete; a prompt after another answer is not believed.

        Raises:
            AdapterError: the device refused the line, the answer was cut off, or the connection was lost.
        """

    def close(self) -> None:
        """End the shell; the connection is kept."""


def readable(raw: str) -> str:
    """Give what a person would read: no escapes, plain line ends, every line as it stood at last. Pure."""
    text = _LINE_END.sub("\n", _ESCAPES.sub("", raw))
    return "\n".join(map(_overwritten, text.split("\n"))) if "\r" in text or "\x08" in text else text


def unwiped(raw: str) -> str:
    """Give what came after a pager's words, without that by which the device wiped them. Pure."""
    return _WIPED.sub("", raw, count=1)


def _overwritten(line: str) -> str:
    cells: list[str] = []
    place = 0
    for sign in line:
        if sign == "\r":
            place = 0
        elif sign == "\x08":
            place = max(0, place - 1)
        else:
            cells[place : place + 1] = [sign]
            place += 1
    return "".join(cells)
