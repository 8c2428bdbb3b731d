"""What is left out of a backup, as restic understands it."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def excluding(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Give a function that says whether a path is left out by restic's patterns.

    A pattern matches any run of a path's parts, from the root if it begins with a slash; `**` is any number
    of parts; `*`, `?` and `[^a-z]` stay inside one. Source: restic's manual, "Excluding Files".
    """
    rules = [_rule(pattern) for pattern in patterns if pattern]
    return lambda path: any(rule.search(path + "/") for rule in rules)


def _rule(pattern: str) -> re.Pattern[str]:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    run = "".join("(?:[^/]+/)*" if part == "**" else _part(part) + "/" for part in parts)
    return re.compile(("\\A/" if pattern.startswith("/") else "/") + run, re.DOTALL)


def _part(part: str) -> str:
    """Turn one part of a pattern into a regular expression, by the rules of Go's filepath.Match."""
    made, place = [], 0
    while place < len(part):
        sign, place = part[place], place + 1
        end = part.find("]", place + 1)
        if sign in "*?":
            made.append("[^/]*" if sign == "*" else "[^/]")
        elif sign == "[" and end > 0:
            inside = part[place:end].replace("\\", "\\\\").replace("[", "\\[")
            made.append(f"[{inside}]")
            place = end + 1
        elif sign == "\\" and place < len(part):
            made.append(re.escape(part[place]))
            place += 1
        else:
            made.append(re.escape(sign))
    return "".join(made)
