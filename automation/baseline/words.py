"""Controls in words: what is asked of which facts, and what enforcing changes. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

from automation.baseline.checks import All, Ask, Check, Either, Not
from automation.baseline.guards import ASKED
from automation.baseline.remedies import ProviderCall, Remedy
from automation.model.host_settings import (
    FileContent,
    FileMode,
    HostSetting,
    KeyValueSetting,
    PackageState,
    Risk,
    SshdSetting,
    SysctlSetting,
    UnitState,
)

RISKS: Mapping[Risk, str] = {
    "R0": "changes nothing that runs",
    "R1": "reloads what reads it",
    "R2": "can lock people out",
    "R3": "needs a boot, which no program makes",
    "R4": "cannot be taken back, so no program does it",
}
_WORDS: Mapping[str, str] = {
    "eq": "is",
    "ne": "is not",
    "in": "is one of",
    "not_in": "is none of",
    "at_most": "is at most",
    "at_least": "is at least",
    "matches": "matches",
    "contains": "has",
    "lacks": "has none of",
    "subset_of": "has nothing but",
    "named_by": "has nothing but, at any port where none is named,",
}
_MISSING = {"yes": "; where it is not there that is well", "no": "; where it is not there that fails"}


class Line(NamedTuple):
    """A line of a check, and how deep it stands."""

    depth: int
    words: str


def check_lines(check: Check, depth: int = 0) -> Iterator[Line]:
    """Tell a check, one question a line; those that are joined stand below what joins them."""
    match check:
        case All(all=(part,)) | Either(any=(part,)):
            yield from check_lines(part, depth)
        case All(all=parts):
            yield from _joined("all of these:", parts, depth)
        case Either(any=parts):
            yield from _joined("one of these:", parts, depth)
        case Not(not_=part):
            yield from _joined("not this:", (part,), depth)
        case _:
            yield Line(depth, ask_words(check))


def ask_words(ask: Ask) -> str:
    """Tell one question."""
    return f"{ask.fact} {_comparison(ask)}{_MISSING.get(ask.missing, '')}"


def value_words(value: JsonValue) -> str:
    """Tell a value as people write it; a list by its parts."""
    match value:
        case list():
            return ", ".join(value_words(one) for one in value) or "nothing"
        case bool():
            return "true" if value else "false"
        case "":
            return "an empty text"
        case str():
            return value
    return json.dumps(value, sort_keys=True)


def risk_words(remedy: Remedy) -> str:
    """Tell how far enforcing reaches, and what protects against it."""
    held = "; a host takes it back by itself unless a fresh login with sudo confirms it"
    switched = remedy.risk == "R2" and bool(remedy.settings)
    return f"{remedy.risk}: {RISKS[remedy.risk]}{held if switched else ''}"


def remedy_lines(remedy: Remedy) -> Iterator[str]:
    """Tell what enforcing a control changes, one thing a line."""
    yield from (setting_words(one) for one in remedy.settings)
    yield from (call_words(one) for one in remedy.calls)


def setting_words(setting: HostSetting) -> str:
    """Tell one setting of a host."""
    match setting:
        case SshdSetting():
            return f"sshd: {setting.keyword} {value_words(setting.value)}"
        case SysctlSetting():
            return f"kernel: {setting.name} = {value_words(setting.value)}, now and after a boot"
        case KeyValueSetting():
            section = f" [{setting.section}]" if setting.section else ""
            reload = f"; {setting.reload} reads it again" if setting.reload else ""
            value = f"{setting.name}{setting.separator}{value_words(setting.value)}"
            return f"{setting.path}{section}: {value}{reload}"
        case FileMode():
            mode = f"{setting.owner}:{setting.group} {setting.mode}"
            return f"{setting.path}: {mode} at most, never laxer than it is"
        case FileContent():
            return f"{setting.path} ({setting.mode}): {_content(setting)}"
        case UnitState():
            return f"unit {setting.unit}: {setting.state}"
        case PackageState():
            return f"package {setting.name}: {setting.state}"


def call_words(call: ProviderCall) -> str:
    """Tell one call at a provider."""
    given = ", ".join(f"{name} {value_words(value)}" for name, value in call.arguments.items())
    each = f", for each of {call.each}" if call.each else ""
    return f"{call.kind}: {call.call.replace('_', ' ')}{f' ({given})' if given else ''}{each}"


def guard_lines(guards: Sequence[str]) -> Iterator[str]:
    """Tell what must hold before a control is enforced: what is looked at, and what people are asked."""
    for one in guards:
        yield f"{ASKED[one]} (--accept-guard {one})" if one in ASKED else one.replace("_", " ")


def _joined(words: str, parts: Sequence[Check], depth: int) -> Iterator[Line]:
    yield Line(depth, words)
    for part in parts:
        yield from check_lines(part, depth + 1)


def _comparison(ask: Ask) -> str:
    if ask.word == "present":
        return "is there" if ask.value is True else "is not there"
    if ask.word == "empty":
        return "has nothing" if ask.value is True else "has something"
    return f"{_WORDS[ask.word]} {value_words(ask.value)}"


def _content(setting: FileContent) -> str:
    lines = str(setting.content).strip().splitlines()
    told = " / ".join(lines[:3]) + (f" / and {len(lines) - 3} lines more" if len(lines) > 3 else "")
    return told + (f", checked by {setting.validate_with[0]}" if setting.validate_with else "")
