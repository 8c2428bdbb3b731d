"""What an expression over facts gives: JMESPath, but what elements of a list lack is not known. Pure.

JMESPath takes a key that is not there for null. By `users[?uid == `0`].name` an account without `uid` would
be none with the uid 0, and nobody would see what is missing. Here that is no answer, and neither is a text
compared with a number: an element that does not say what is asked of it is not known to be well.
AWS and vSphere leave out what they do not say, and their controls ask for what must be there by name.

Beside JMESPath's own functions there is `days_since(seconds)`: from a moment of a fact to when the facts were
collected, in days; of what is null it is null.
"""

from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions, signature
from jmespath.visitor import TreeInterpreter

from automation.model.facts import Facts

_DAY_S = 24 * 3600
_Node = dict[str, Any]  # of JMESPath's tree, which has no types


class NoAnswer(ValueError):
    """That an expression gives nothing for these facts, and why."""


class Asker:
    """Answers expressions over the facts of one subject."""

    def __init__(self, facts: Facts) -> None:
        self.tree = facts.tree()
        options = jmespath.Options(custom_functions=_Moments(facts.collected_at.timestamp()))
        self._strict = facts.platform == "linux"
        self._interpreter = _Strict(options) if self._strict else TreeInterpreter(options)

    def search(self, expression: str) -> Any:
        """Give what an expression finds; None is null, or nothing.

        Raises:
            NoAnswer: it cannot be answered from these facts.
        """
        path, node, strict = _compiled(expression)
        if path:
            return _at(path, self.tree)
        try:
            return self._interpreter.visit(strict if self._strict else node, self.tree)
        except (JMESPathError, ArithmeticError, RecursionError, TypeError) as exc:  # "" < 1 is a TypeError
            raise NoAnswer(str(exc)) from exc


def valid_expression(text: str) -> str:
    """Give a JMESPath expression back.

    Raises:
        ValueError: it is none.
    """
    try:
        jmespath.compile(text)
    except (JMESPathError, RecursionError) as exc:
        raise ValueError(f"{text[:60]!r} is no JMESPath expression: {exc}".splitlines()[0]) from exc
    return text


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> tuple[tuple[str, ...], _Node, _Node]:
    """Give the keys that an expression follows where it does nothing else; its tree; its strict tree."""
    node: _Node = jmespath.compile(expression).parsed
    nodes = node["children"] if node["type"] == "subexpression" else [node]
    plain = all(one["type"] == "field" for one in nodes)
    path = tuple(one["value"] for one in nodes) if plain else ()
    return path, node, _strict(node, inside=False)


def _at(path: tuple[str, ...], tree: Any) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _strict(node: _Node, *, inside: bool) -> _Node:
    """Mark what is asked of elements: all within a projection, but for the list itself."""
    kind, children = node["type"], node.get("children", [])
    if kind.endswith("projection"):
        first, *others = children
        told = [_strict(first, inside=inside), *(_strict(one, inside=True) for one in others)]
    else:
        told = [_strict(one, inside=inside or kind == "expref") for one in children]
    asked = f"element_{kind}" if inside and kind in ("field", "comparator") else kind
    return {**node, "type": asked, "children": told}


class _Strict(TreeInterpreter):  # type: ignore[misc]  # jmespath has no types, and finds methods by node
    """Gives no answer for elements that lack what is asked of them."""

    def visit_element_field(self, node: _Node, value: Any) -> Any:
        if value is None:
            return None
        if not isinstance(value, dict) or node["value"] not in value:
            raise _Lacking(f"one of them has no {node['value']}")
        return value[node["value"]]

    def visit_element_comparator(self, node: _Node, value: Any) -> Any:
        first, second = (self.visit(one, value) for one in node["children"])
        if None not in (first, second) and _kind(first) is not _kind(second):
            raise _Lacking("one of them has a value of another kind")
        return self.visit_comparator(node, value)


class _Lacking(JMESPathError):  # type: ignore[misc]  # jmespath has no types
    """An element that does not say what is asked of it."""


def _kind(value: object) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


class _Moments(Functions):  # type: ignore[misc]  # jmespath has no types, and finds functions by their class
    """What checks may ask of moments, as seen when facts were collected."""

    def __init__(self, collected_s: float) -> None:
        self._collected_s = collected_s

    @signature({"types": ["number", "null"]})  # type: ignore[untyped-decorator]
    def _func_days_since(self, moment_s: float | None) -> float | None:
        return None if moment_s is None else (self._collected_s - moment_s) / _DAY_S
