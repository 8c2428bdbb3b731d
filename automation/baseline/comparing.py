"""What the words of checks mean: a fact and a value, compared. Pure.

A fact of another kind than the word compares is not wrong but `Uncomparable`: nothing is known by it.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LONGEST_TEXT = 4096  # of a fact that a pattern is held against


class Uncomparable(ValueError):
    """A fact that is not of the kind that the word compares."""


class Known:
    """Values of which others may be one: of thousands of paths each is looked up, not searched for."""

    def __init__(self, values: Sequence[object]) -> None:
        self._values = values
        try:
            self._texts = frozenset(values)
        except TypeError:  # lists and mappings among them
            self._texts = frozenset(one for one in values if type(one) is str)

    def __contains__(self, value: object) -> bool:
        if type(value) is str:
            return value in self._texts
        return any(_same(value, one) for one in self._values)

    def lacking(self, wanted: Sequence[Any]) -> list[Any]:
        """Give those that are none of them, in their order."""
        return [one for one in wanted if one not in self]

    def having(self, wanted: Sequence[Any]) -> list[Any]:
        """Give those that are one of them, in their order."""
        return [one for one in wanted if one in self]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Uncomparable("that is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Uncomparable("that is no number") from None
    if not math.isfinite(number):
        raise Uncomparable("that is no number")
    return number


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise Uncomparable("that is no list")
    return value


def _same(first: object, second: object) -> bool:
    return (type(first) is type(second) and first == second) or _both_numbers(first, second)


def _both_numbers(first: object, second: object) -> bool:
    for one in (first, second):
        if isinstance(one, bool) or not isinstance(one, int | float):
            return False
    return first == second


def _alike(value: object, known: Sequence[object]) -> object:
    """Give a value of the kind of those it must not be; garbage is none of them, and proves nothing."""
    if not any(type(value) is type(one) for one in known):
        raise Uncomparable("that is of another kind")
    return value


def _covers(pattern: object, text: object) -> bool:
    if not isinstance(text, str):
        raise Uncomparable("that is no text")
    if len(text) > LONGEST_TEXT:
        raise Uncomparable(f"that is longer than {LONGEST_TEXT} characters")
    return re.fullmatch(str(pattern), text) is not None


def unnamed(observed: object, wanted: Sequence[object]) -> list[str]:
    """Give those of a list like `sshd:22` that a list of names has neither whole nor without their ends."""
    names = _list(observed)
    if not all(isinstance(one, str) for one in names):
        raise Uncomparable("that is no list of names")
    known = Known([one for one in wanted if isinstance(one, str)])
    return [one for one in names if one not in known and _without_end(one) not in known]


def _without_end(name: str) -> str:
    """Give the program of `sshd:22`; one that calls itself `sshd:22` is none that anybody names."""
    first, _, _ = name.rpartition(":")
    return "" if ":" in first else first


def _is_empty(value: object) -> bool:
    if not isinstance(value, list | dict | str):
        raise Uncomparable("that has no content")
    return not value


COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": _same,
    "ne": lambda observed, wanted: not _same(_alike(observed, [wanted]), wanted),
    "in": lambda observed, wanted: observed in Known(_list(wanted)),
    "not_in": lambda observed, wanted: _alike(observed, _list(wanted)) not in Known(_list(wanted)),
    "at_most": lambda observed, wanted: _number(observed) <= _number(wanted),
    "at_least": lambda observed, wanted: _number(observed) >= _number(wanted),
    "matches": lambda observed, wanted: _covers(wanted, observed),
    "contains": lambda observed, wanted: not Known(_list(observed)).lacking(_list(wanted)),
    "lacks": lambda observed, wanted: not Known(_list(observed)).having(_list(wanted)),
    "subset_of": lambda observed, wanted: not Known(_list(wanted)).lacking(_list(observed)),
    "named_by": lambda observed, wanted: not unnamed(observed, _list(wanted)),
    "empty": lambda observed, wanted: _is_empty(observed) == wanted,
}


def fault_of(word: str, value: object) -> str:
    """Say why a word cannot compare with a value; empty: it can."""
    if word in ("in", "not_in", "contains", "lacks", "subset_of", "named_by") and not isinstance(value, list):
        return f"{word} wants a list"
    if word in ("empty", "present") and not isinstance(value, bool):
        return f"{word} wants true or false"
    if word in ("at_most", "at_least"):
        try:
            _number(value)
        except Uncomparable:
            return f"{word} wants a number"
    if word == "matches":
        try:
            re.compile(value if isinstance(value, str) else "(")
        except re.error as exc:
            return f"matches wants a regular expression: {exc}"
    return ""
