"""What is another way on a host than it was at an earlier audit, whether a control asks for it or not. Pure.

Facts of both audits are taken apart into things that have a kind, a name and a value. What changes by itself
is left out, and nothing else: see `VOLATILE`, `_PASSING_UNIT` and `_FIRST_PASSING_PORT`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import AwareDatetime, JsonValue

from automation.model.base import Model
from automation.model.facts import Facts

How = Literal["appeared", "gone", "changed", "unreadable"]
# Those that let somebody in come first; what stands in no list of ours is told last, by its section.
KINDS = (
    "user",
    "key",
    "sudo rule",
    "SUID file",
    "listener",
    "cron job",
    "unit",
    "package",
    "group",
    "sshd",
    "sysctl",
)
# By section: what follows from the rest, from the clock, or from what the world publishes.
VOLATILE: Mapping[str, tuple[str, ...]] = {
    "accounts": ("twice",),
    "audit": ("status",),
    "sysctl": ("differing",),
    "time": ("synchronised",),
    "tree": ("files", "whole"),
    "units": ("active", "enabled", "failed"),
    "updates": ("pending", "security", "lists_age_days"),
}
# Of logins, connections and runs of ours, by their names; one that starts at boot is none of them.
_PASSING_UNIT = re.compile(
    r"(run-[a-z0-9-]+|user(-runtime-dir)?@\d+|sshd?@\S+|mainstay-\S+)\.(service|timer)"
)
_FIRST_PASSING_PORT = 32768  # of UDP: the kernel's own choice, net.ipv4.ip_local_port_range


class Change(Model):
    """One thing that is another way."""

    kind: str
    name: str
    how: How
    before: JsonValue = None
    after: JsonValue = None


class Drift(Model):
    """All that is another way on one subject."""

    subject: str
    before_at: AwareDatetime
    after_at: AwareDatetime
    source: Literal["real", "simulated"] = "real"
    same_collector: bool
    changes: tuple[Change, ...]
    not_compared: Mapping[str, str]


class _Thing(NamedTuple):
    kind: str
    name: str
    value: JsonValue


def compare(before: Facts, after: Facts) -> Drift:
    """Give all that is another way in later facts of a subject.

    A section that was known and is not any more is a change; one that was not known before is only told.
    """
    changes: list[Change] = []
    untold: dict[str, str] = {}
    for section in sorted(before.sections.keys() | after.sections.keys() | after.unknown.keys()):
        why_not = after.unknown.get(section, "it was not collected")
        if section not in after.sections and section in before.sections:
            changes.append(Change(kind=section, name=section, how="unreadable", after=why_not))
        elif section not in after.sections:
            untold[section] = why_not
        elif section not in before.sections:
            untold[section] = f"not known before: {before.unknown.get(section, 'it was not collected')}"
        else:
            old, new = before.sections[section], after.sections[section]
            changes += _changes(section, old, new)
            if section == "tree" and not (_is_whole(old) and _is_whole(new)):
                untold[section] = "a walk over the disks was cut short; see walk in baseline.yml"
    return Drift(
        subject=after.subject,
        before_at=before.collected_at,
        after_at=after.collected_at,
        source="simulated" if "simulated" in (before.source, after.source) else "real",
        same_collector=before.collector == after.collector,
        changes=tuple(sorted(changes, key=_by_interest)),
        not_compared=untold,
    )


def rank(kind: str) -> int:
    """Give the place of a kind among those that people want to see first."""
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


def _by_interest(one: Change) -> tuple[int, str, str]:
    return rank(one.kind), one.kind, one.name


def _changes(section: str, old: JsonValue, new: JsonValue) -> Iterator[Change]:
    past, now = _by_name(section, old), _by_name(section, new)
    # Of a walk that was cut short nobody knows whether what it lacks was there.
    may_appear = section != "tree" or _is_whole(old)
    may_go = section != "tree" or _is_whole(new)
    for kind, name in sorted(past.keys() | now.keys()):
        before, after = past.get((kind, name)), now.get((kind, name))
        if before is None and after is not None:
            if may_appear:
                yield Change(kind=kind, name=name, how="appeared", after=_only(after))
        elif after is None and before is not None:
            if may_go:
                yield Change(kind=kind, name=name, how="gone", before=_only(before))
        elif before is not None and after is not None and before != after:
            yield Change(kind=kind, name=name, how="changed", before=_only(before), after=_only(after))


def _is_whole(tree: JsonValue) -> bool:
    return isinstance(tree, dict) and tree.get("whole") is True


def _by_name(section: str, value: JsonValue) -> dict[tuple[str, str], list[str]]:
    """Give every thing by kind and name; two of one name are both kept, so that neither hides the other."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in _things(section, value):
        found.setdefault((one.kind, one.name), []).append(json.dumps(one.value, sort_keys=True))
    return {key: sorted(values) for key, values in found.items()}


def _only(values: list[str]) -> JsonValue:
    read: list[JsonValue] = [json.loads(one) for one in values]
    return read[0] if len(read) == 1 else read


def _things(section: str, value: JsonValue) -> list[_Thing]:
    if isinstance(value, dict):
        value = {key: one for key, one in value.items() if key not in VOLATILE.get(section, ())}
    reader = _READERS.get(section)
    if reader is not None:
        try:
            return list(reader(value))
        except (AttributeError, KeyError, TypeError):  # not of the form we know: compared as it stands
            pass
    return list(_flat(section, value))


def _flat(kind: str, value: JsonValue, path: str = "") -> Iterator[_Thing]:
    """Take anything apart; what a list holds has no order."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _flat(kind, one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for one in value:
            text = one if isinstance(one, str) else json.dumps(one, sort_keys=True)
            yield _Thing(kind, f"{path}: {text}" if path else text, True)
    else:
        yield _Thing(kind, path or kind, value)


# --- sections that have names of their own ------------------------------------------------------------


def _accounts(value: Any) -> Iterator[_Thing]:
    for user in value["users"]:
        told = {key: one for key, one in user.items() if key not in ("name", "last_login")}
        yield _Thing("user", str(user["name"]), told)
    for name, group in value["groups"].items():
        yield _Thing("group", name, group)


def _keys(value: Any) -> Iterator[_Thing]:
    for key in value:
        name = f"{key['fingerprint'] or key['type']} of {key['user']} in {key['file']}"
        yield _Thing("key", name, {"type": key["type"], "restricted": key["restricted"]})


def _sudo(value: Any) -> Iterator[_Thing]:
    lists = {"without_password": "without a password", "everything": "may run everything", "files": ""}
    for name, words in lists.items():
        for one in value.get(name, ()):
            yield _Thing("sudo rule", f"{one} {words}".strip(), True)
    for name, one in value.get("defaults", {}).items():
        yield _Thing("sudo rule", f"Defaults {name}", one)
    rest = {key: one for key, one in value.items() if key not in (*lists, "defaults")}
    yield from _flat("sudo rule", rest)


def _tree(value: Any) -> Iterator[_Thing]:
    kinds = {
        "suid": "SUID file",
        "world_writable": "world-writable file",
        "open_folders": "world-writable folder",
        "unowned": "file without owner",
    }
    for name, paths in value.items():
        for path in paths:
            yield _Thing(kinds.get(name, name), str(path), True)


def _listeners(value: Any) -> Iterator[_Thing]:
    for one in value:
        protocol, address, port, program = one["protocol"], one["address"], one["port"], one["program"]
        if protocol == "udp" and port >= _FIRST_PASSING_PORT:
            yield _Thing("listener", f"{protocol} {address}, a passing port of {program or 'nobody'}", True)
        else:
            yield _Thing("listener", f"{protocol} {address} port {port}", program)


def _cron(value: Any) -> Iterator[_Thing]:
    for job in value["jobs"]:
        path, _, digest = job.rpartition(" ")
        yield _Thing("cron job", path, digest)
    yield from _flat("cron", {key: one for key, one in value.items() if key != "jobs"})


def _units(value: Any) -> Iterator[_Thing]:
    """Give every unit as it is after a boot; of those that are enabled, also whether they run."""
    for name, unit in value["all"].items():
        enabled, active = unit["enabled"], unit.get("active", "")
        if _PASSING_UNIT.fullmatch(name) and not enabled.startswith("enabled"):
            continue
        state = active if enabled.startswith("enabled") or active == "failed" else ""
        beginning = {"activating": "active", "reloading": "active", "deactivating": "inactive"}
        yield _Thing("unit", name, {"enabled": enabled, "state": beginning.get(state, state)})


def _packages(value: Any) -> Iterator[_Thing]:
    for name, version in value.items():
        yield _Thing("package", name, version)


def _sysctl(value: Any) -> Iterator[_Thing]:
    for name, one in value["running"].items():
        yield _Thing("sysctl", name, one)
    for name, one in value["persistent"].items():
        yield _Thing("sysctl", f"{name} as written down", one)


def _sshd(value: Any) -> Iterator[_Thing]:
    effective = value["effective"]
    for name, one in effective.items():
        yield _Thing("sshd", name, one)
    for context in value.get("contexts", ()):
        for name, one in context.items():
            if name not in ("user", "address") and one != effective.get(name):
                yield _Thing("sshd", f"{name} for {context['user']} from {context['address']}", one)
    yield from _flat("sshd", {key: one for key, one in value.items() if key not in ("effective", "contexts")})


_READERS: Mapping[str, Callable[[Any], Iterator[_Thing]]] = {
    "accounts": _accounts,
    "authorized_keys": _keys,
    "sudo": _sudo,
    "tree": _tree,
    "listeners": _listeners,
    "cron": _cron,
    "units": _units,
    "packages": _packages,
    "sysctl": _sysctl,
    "sshd": _sshd,
}
