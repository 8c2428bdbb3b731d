"""What restic answers, read into words of ours. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from automation.model.errors import AdapterError
from automation.model.recovery_points import RecoveryPoint

OURS = "mainstay."
SIZE, FILES, RUN, PARTIAL = f"{OURS}size=", f"{OURS}files=", f"{OURS}run=", f"{OURS}partial"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


class Snapshot(NamedTuple):
    """One snapshot as restic lists it."""

    id: str
    at: datetime
    resource: str
    paths: tuple[str, ...]
    tags: tuple[str, ...] = ()
    parent: str = ""
    original: str = ""  # what it was copied from, or first was
    size_bytes: int = 0

    @property
    def first(self) -> str:
        """The id by which copies of it are known to each other."""
        return self.original or self.id

    def tagged(self, prefix: str) -> str:
        """What a tag of ours says; empty: it has none."""
        return next((tag[len(prefix) :] for tag in self.tags if tag.startswith(prefix)), "")


def records(said: str) -> Iterator[Mapping[str, object]]:
    """Give every line that is a JSON object; restic and our programs mix them with other words."""
    for line in said.splitlines():
        if line.startswith("{"):
            try:
                told = json.loads(line)
            except ValueError:
                continue  # cut off by a kill
            if isinstance(told, dict):
                yield told


def record(said: str, kind: str, key: str = "record") -> Mapping[str, object] | None:
    """Give the last line of a kind."""
    return next((one for one in reversed(tuple(records(said))) if one.get(key) == kind), None)


def number(told: Mapping[str, object] | None, key: str) -> int:
    """Give a whole number of a record; 0 where it says none."""
    value = (told or {}).get(key, 0)
    return int(value) if isinstance(value, int | float) else 0


def parse_snapshots(said: str) -> tuple[Snapshot, ...]:
    """Read `restic snapshots --json`, oldest first; words before the list are passed over.

    Raises:
        AdapterError: there is no list in it.
    """
    start = said.find("[")
    try:
        told = json.loads(said[start:] if start >= 0 else said) or []
        return tuple(sorted(map(_snapshot, told), key=lambda one: (one.at, one.id)))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise AdapterError(f"restic snapshots: its answer cannot be read ({exc}); nothing changed") from exc


def list_line(said: str) -> str:
    """Give the line that is a JSON list, among others."""
    return next((line for line in said.splitlines() if line.startswith("[")), "")


def _snapshot(told: Mapping[str, object]) -> Snapshot:
    summary = told.get("summary")
    size = summary.get("total_bytes_processed", 0) if isinstance(summary, dict) else 0
    tags = texts(told.get("tags"))
    made = Snapshot(
        id=str(told["id"]),
        at=parse_time(str(told["time"])),
        resource=str(told["hostname"]),
        paths=texts(told.get("paths")),
        tags=tags,
        parent=str(told.get("parent") or ""),
        original=str(told.get("original") or ""),
    )
    ours = made.tagged(SIZE)
    return made._replace(size_bytes=int(ours) if ours.isdecimal() else size)


def parse_time(said: str) -> datetime:
    """Read a time with its own offset; restic writes nanoseconds."""
    return datetime.fromisoformat(_NANOSECONDS.sub(r"\1", said))


def recovery_points(snapshots: Sequence[Snapshot], store: str) -> tuple[RecoveryPoint, ...]:
    """Give points by the words of the house; snapshots of hosts that can be no resource are left out."""
    return tuple(
        RecoveryPoint(
            id=one.id,
            resource=one.resource,
            copy=store,
            claimed_at=one.at,
            status="partial" if PARTIAL in one.tags else "ok",
            size_bytes=one.size_bytes,
            tags=tuple(tag for tag in one.tags if not tag.startswith(OURS)),
        )
        for one in snapshots
        if _NAME.fullmatch(one.resource)
    )


def texts(value: object) -> tuple[str, ...]:
    """Give a list of words; anything else is none."""
    return tuple(map(str, value)) if isinstance(value, list) else ()
