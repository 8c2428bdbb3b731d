"""Read YAML once into models; every fault is shown together as `file:line: key: problem`.

Safe: plain values only, no tags, no merge keys; nesting, size and what aliases expand to are bounded.
The events of libyaml become values at once; lines are noted by a second pass, only when there is a fault.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from automation.model.errors import ConfigError, Problem
from automation.model.refusals import Where, explain, shorten
from automation.model.refused_text import (
    USE_A_REFERENCE,
    control_sign,
    holds_a_secret,
    refused_words,
    unreadable_signs,
)
from automation.model.scalars import read_plain

MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 4_000_000
MAX_ALIASED = 500_000
MAX_FAULTS = 200

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Model = TypeVar("_Model", bound=BaseModel)
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")
_ADVICE = {
    "mapping values are not allowed": "a colon inside a text, or a wrong indentation; quote the text",
    "cannot start any token": "a tab or a sign that YAML reserves; indent with spaces, quote the text",
    "tab character": "indent with spaces",
    "did not find expected": "look for a wrong indentation, or a bracket, quote or comma that is missing",
    "could not find expected ':'": "a key without a colon, or a quote that is missing",
    "unexpected end of stream": "a quote or bracket is missing",
    "unknown escape": "in double quotes a backslash begins an escape; use single quotes",
}


@dataclass(frozen=True)
class Document:
    """One file as it was read: its values, and what is wrong with it."""

    path: Path
    text: str = ""
    tree: Mapping[str, object] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @cached_property
    def lines(self) -> Mapping[Where, int]:
        """The line of every key, in the order of the file."""
        reader = _Reader(self.text, noting=True)
        reader.read()
        return reader.lines

    def problem(self, where: Where, message: str, line: int | None = None) -> Problem:
        """Say what is wrong at a key."""
        key = ".".join(shorten(str(part)) for part in where) or "(file)"
        return Problem(str(self.path), line or self.line(where), key, message)

    def line(self, where: Where) -> int:
        """The line of a key; one that is missing is at the line of what should have it."""
        while where and where not in self.lines:
            where = where[:-1]
        return self.lines.get(where, 1)

    def require(self) -> Mapping[str, object]:
        """Give the values.

        Raises:
            ConfigError: the file has faults.
        """
        if self.problems:
            raise_problems(self.path.name, self.problems)
        return self.tree


def load_model(path: Path, model: type[_Model], **known: object) -> _Model:
    """Read one YAML file into a model; `known` are keys that the file itself must not give.

    Raises:
        ConfigError: every fault of the file, each with its line and key.
    """
    document = read_document(path)
    tree = document.require()
    given = [document.problem((key,), "unknown key; delete it") for key in known.keys() & tree.keys()]
    if given:
        raise_problems(path.name, given)
    try:
        return model.model_validate({**tree, **known})
    except ValidationError as exc:
        raise_problems(path.name, validation_problems(document, model, exc), exc)


def validation_problems(
    document: Document, model: type[BaseModel], exc: ValidationError
) -> tuple[Problem, ...]:
    """Say every fault that a model found in a document's values."""
    return tuple(document.problem(fault.where, fault.message) for fault in explain(model, exc))


def raise_problems(name: str, problems: Sequence[Problem], cause: Exception | None = None) -> NoReturn:
    """Raise all problems of a declaration together, in the order of its lines."""
    ordered = sorted(problems, key=lambda problem: (problem.file, problem.line))
    raise ConfigError(f"{name} is not valid; nothing was touched", problems=ordered) from cause


def read_document(path: Path) -> Document:
    """Read one file; what is wrong with it stands in its `problems`."""
    try:
        data = _read_bytes(path)
        text = data.decode("utf-8")
    except OSError as exc:
        return _refused(path, 1, f"cannot be read: {exc.strerror or exc}; make it a readable file")
    except UnicodeDecodeError as exc:
        line = exc.object[: exc.start].count(b"\n") + 1
        return _refused(path, line, "not UTF-8; save the file as UTF-8")
    if signs := unreadable_signs(text):
        problems = tuple(Problem(str(path), fault.line, "(text)", fault.message) for fault in signs)
        return Document(path, problems=problems)
    reader = _Reader(text)
    tree = reader.read()
    if not reader.faults and not isinstance(tree, dict):
        reader.fault(1, "is empty; write its keys" if tree is None else "must be a mapping of keys")
    document = Document(path, text, tree if isinstance(tree, dict) else {})
    faults = [*reader.faults, *_refused_words(document)]
    problems = tuple(document.problem(where, message, line) for line, where, message in faults)
    return Document(path, text, document.tree, problems) if problems else document


def _refused_words(document: Document) -> Iterator[tuple[int, Where, str]]:
    for fault in refused_words(document.text):
        above = [where for where, line in document.lines.items() if line <= fault.line]
        yield fault.line, above[-1] if above else (), fault.message


def _refused(path: Path, line: int, message: str) -> Document:
    return Document(path, problems=(Problem(str(path), line, "(file)", message),))


def _read_bytes(path: Path) -> bytes:
    """Read a whole regular file: a pipe or a device could go on for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "is no regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(data) > MAX_BYTES:
        raise OSError(0, f"is larger than {MAX_BYTES // 2**20} MiB")
    return data


class _Stop(Exception):
    """The rest of a file is not read: it is no YAML, or too deep or too large."""


class _Reader:
    """Turn the events of one text into plain values, and collect what is refused."""

    def __init__(self, text: str, *, noting: bool = False) -> None:
        self.lines: dict[Where, int] = {}
        self.faults: list[tuple[int, Where, str]] = []
        self._noting = noting
        self._events = _Loader(text)
        self._where: list[str | int] = []
        self._anchors: dict[str, tuple[object, int] | None] = {}
        self._plain_keys: set[str] = set()
        self._nodes = 0
        self._aliased = 0

    def read(self) -> object:
        """Give the values of the one document; None if it is empty or cannot be read."""
        try:
            return self._document()
        except yaml.YAMLError as exc:
            self.fault(*_syntax(exc))
        except _Stop:
            pass
        return None

    def fault(self, line: int, message: str) -> None:
        """Note what is wrong where the reader stands."""
        self.faults.append((line, tuple(self._where), message))

    def _document(self) -> object:
        next_event = self._events.get_event
        next_event()
        if isinstance(next_event(), yaml.StreamEndEvent):
            return None
        tree = self._value(next_event())
        next_event()
        if not isinstance(end := next_event(), yaml.StreamEndEvent):
            self._where.clear()
            self._stop(end, "a second document begins here; one file, one document")
        return tree

    def _value(self, event: Any) -> object:
        self._nodes += 1
        if isinstance(event, yaml.ScalarEvent):
            value: object = self._scalar(event)
            if event.anchor is not None:
                self._anchors[event.anchor] = (value, 1)
            return value
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        return self._collection(event)

    def _collection(self, event: Any) -> object:
        if len(self._where) >= MAX_DEPTH:
            del self._where[4:]
            self._stop(event, f"nested deeper than {MAX_DEPTH}; no declaration needs that")
        if self._nodes > MAX_NODES:
            self._stop(event, f"more than {MAX_NODES} values; split it over several files")
        if event.tag is not None:
            self._refuse(event, f"the tag {shorten(event.tag)} is not read; write plain values")
        before, anchor = self._nodes + self._aliased, event.anchor
        if anchor is not None:
            self._anchors[anchor] = None  # open: an alias to it from inside would never end
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        value = self._mapping() if is_mapping else self._sequence()
        if anchor is not None:
            self._anchors[anchor] = (value, self._nodes + self._aliased - before + 1)
        return value

    def _sequence(self) -> list[object]:
        values: list[object] = []
        next_event, where = self._events.get_event, self._where
        while not isinstance(event := next_event(), yaml.SequenceEndEvent):
            where.append(len(values))
            if self._noting:
                self.lines[tuple(where)] = event.start_mark.line + 1
            values.append(self._value(event))
            where.pop()
        return values

    def _mapping(self) -> dict[str, object]:
        values: dict[str, object] = {}
        next_event, where = self._events.get_event, self._where
        while not isinstance(event := next_event(), yaml.MappingEndEvent):
            key = self._key(event)
            where.append(key)
            if key in values:
                self._refuse(event, "key stands twice; delete one")
            elif self._noting:
                self.lines[tuple(where)] = event.start_mark.line + 1
            value = self._value(next_event())
            if isinstance(value, str | int | float) and holds_a_secret(key) and value is not False:
                self._refuse(event, f"a secret in clear; {USE_A_REFERENCE}")
            values.setdefault(key, value)
            where.pop()
        return values

    def _key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._stop(event, "a key must be a word, not a list, mapping or alias")
        key: str = event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = (key, 1)
        if not event.implicit[0]:
            if sign := control_sign(key):
                self._refuse(event, f"a key holds a {sign}; delete it")
        elif key not in self._plain_keys:
            self._plain_key(event, key)
        return key

    def _plain_key(self, event: Any, key: str) -> None:
        self._where.append(shorten(key))
        if key == "<<":
            self._refuse(event, "merge keys are not read; write the keys out")
        elif not isinstance(self._scalar(event), str):
            self._refuse(event, "this key is read as a number, a truth value or nothing; quote it")
        else:
            self._plain_keys.add(key)
        self._where.pop()

    def _scalar(self, event: Any) -> object:
        value: str = event.value
        if event.implicit[0]:
            try:
                return read_plain(value)
            except ValueError as exc:
                self._refuse(event, str(exc))
        elif event.tag not in _TEXT_TAGS:
            self._refuse(event, f"the tag {shorten(event.tag)} is not read; write a plain value")
        elif event.style == '"' and (sign := control_sign(value)):
            self._refuse(event, f"holds a {sign}; delete it")
        return value

    def _alias(self, event: Any) -> object:
        if event.anchor not in self._anchors:
            self._refuse(event, f"*{shorten(event.anchor)} names no &anchor above it; quote it if it is text")
            return None
        known = self._anchors[event.anchor]
        if known is None:
            self._stop(event, f"*{shorten(event.anchor)} stands inside of what it names; write it out")
        value, nodes = known
        self._aliased += nodes
        if self._aliased > MAX_ALIASED:
            self._stop(event, f"aliases expand to more than {MAX_ALIASED} values; write it out")
        return value

    def _refuse(self, event: Any, message: str) -> None:
        self.fault(event.start_mark.line + 1, message)
        if len(self.faults) >= MAX_FAULTS:
            raise _Stop

    def _stop(self, event: Any, message: str) -> NoReturn:
        self._refuse(event, message)
        raise _Stop


def _syntax(exc: yaml.YAMLError) -> tuple[int, str]:
    """Give the line to look at and what is wrong there: for a quote or bracket, where it was opened."""
    said = getattr(exc, "problem", None) or "cannot be read"
    advice = next((act for words, act in _ADVICE.items() if words in said), "mend it here or just above")
    message = f"YAML syntax: {said}; {advice}"
    noticed = getattr(exc, "problem_mark", None)
    line = noticed.line + 1 if noticed else 1
    opened = getattr(exc, "context_mark", None)
    if opened and any(words in (getattr(exc, "context", None) or "") for words in ("quoted", "flow")):
        return opened.line + 1, f"{message} (noticed in line {line})"
    return line, message
