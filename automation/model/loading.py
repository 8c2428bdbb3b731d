"""Read YAML once, with lines, into models; every fault is shown together.

Errors read `file:line: key: problem`. Safe loader only, no aliases that explode
(an alias bomb is cut by a node limit), duplicate keys are refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from automation.model.errors import ConfigError, Problem

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 2_000_000

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Model = TypeVar("_Model", bound=BaseModel)
_Path = tuple[str | int, ...]


def load_model(path: Path, model: type[_Model], **known: object) -> _Model:
    """Read one YAML file into a model; `known` are keys that the file itself must not give.

    Raises:
        ConfigError: every fault of the file, each with its line and key.
    """
    tree, lines = _compose(path)
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path.name} is not valid", problems=[Problem(str(path), 1, "(file)", "must be a mapping")]
        )
    for key in known.keys() & tree.keys():
        raise ConfigError(
            f"{path.name} is not valid", problems=[Problem(str(path), lines[(key,)], key, "unknown key")]
        )
    try:
        return model.model_validate(tree | known)
    except ValidationError as exc:
        problems = [_problem(path, lines, error["loc"], error["msg"]) for error in exc.errors()]
        raise ConfigError(f"{path.name} is not valid; nothing was touched", problems=problems) from exc


def _problem(path: Path, lines: Mapping[_Path, int], where: _Path, message: str) -> Problem:
    known = where
    while known and known not in lines:
        known = known[:-1]
    key = ".".join(str(part) for part in where) or "(file)"
    return Problem(str(path), lines.get(known, 1), key, message.removeprefix("Value error, "))


def _compose(path: Path) -> tuple[object, dict[_Path, int]]:
    """Give the plain tree of a file and the line of every key in it."""
    text = _read(path)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as exc:
        raise _syntax_error(path, exc) from exc
    if node is None:
        raise ConfigError(
            f"{path} is empty; nothing was touched", problems=[Problem(str(path), 1, "(file)", "empty")]
        )
    reader = _Reader(path)
    tree = reader.read(node, ())
    if reader.problems:
        raise ConfigError(f"{path.name} is not valid; nothing was touched", problems=reader.problems)
    return tree, reader.lines


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(
                f"cannot read {path}: larger than {MAX_BYTES // 2**20} MiB; nothing was touched"
            )
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"cannot read {path}: {exc.strerror}; nothing was touched") from exc
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        raise ConfigError(
            "not UTF-8 text", problems=[Problem(str(path), line, "(file)", "not UTF-8")]
        ) from exc


def _syntax_error(path: Path, exc: yaml.YAMLError) -> ConfigError:
    mark = getattr(exc, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    what = getattr(exc, "problem", None) or str(exc)
    return ConfigError(
        f"{path.name} is not YAML; nothing was touched", problems=[Problem(str(path), line, "(syntax)", what)]
    )


class _Reader:
    """Walk composed nodes into plain values, noting lines and duplicate keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[_Path, int] = {}
        self.problems: list[Problem] = []
        self._nodes = 0
        self._scalars = _Loader("")

    def read(self, node: yaml.Node, where: _Path) -> object:
        self.lines.setdefault(where, node.start_mark.line + 1)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise ConfigError(f"cannot read {self.path}: its aliases expand to more than {MAX_NODES} values")
        if len(where) > MAX_DEPTH:
            self._fault(node, where[:4], f"nested deeper than {MAX_DEPTH}")
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*where, index)) for index, child in enumerate(node.value)]
        try:
            return self._scalars.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError, AttributeError) as exc:
            said = getattr(exc, "problem", None) or exc
            self._fault(node, where, f"not a plain value: {said}")
            return None

    def _mapping(self, node: yaml.MappingNode, where: _Path) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            here = (*where, key)
            if key in values:
                self._fault(key_node, here, "key stands twice")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            values[key] = self.read(value_node, here)
        return values

    def _fault(self, node: yaml.Node, where: _Path, message: str) -> None:
        self.problems.append(
            Problem(str(self.path), node.start_mark.line + 1, ".".join(map(str, where)), message)
        )
