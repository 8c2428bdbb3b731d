"""What a point holds, as restic lists it, and what of a manifest it lacks."""

from __future__ import annotations

import hashlib
import json
import os
import re
from datetime import datetime

from .entries import Faults, entries, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .entries import Told


class Listing:
    """What a point holds, as restic lists it: two numbers an entry, so that a million fit."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._there: dict[int, int] = {}
        for line in lines:
            try:
                node = json.loads(line)
            except ValueError:
                continue
            if isinstance(node, dict) and "path" in node and "type" in node:
                figures = mark(node.get("size", 0), _time_ns(node["mtime"])) if node["type"] == "file" else 0
                self._there[mark(node["path"])] = figures

    def __len__(self) -> int:
        return len(self._there)

    def has(self, path: str) -> bool:
        """Whether the point holds a path at all."""
        return mark(_as_go_writes(path)) in self._there

    def says(self, path: str, size: int, mtime_ns: int) -> bool:
        """Whether a file stands in the point with this size and time of change."""
        return self._there.get(mark(_as_go_writes(path))) == mark(size, mtime_ns)


def listed(manifest: str, listing: Listing) -> Told:
    """Compare a manifest with a point: what it lacks though it is still there, and what changed meanwhile."""
    missing, changed = Faults(), Faults()
    told: Told = {"record": "listed", "nodes": len(listing), "files": 0, "bytes": 0, "vanished": 0}
    told["itself"] = listing.has(os.path.abspath(manifest))
    for entry in entries(manifest):
        path = entry["path"]
        if not listing.has(path):
            if os.path.lexists(path):
                missing.add(shown(path))
            else:
                told["vanished"] += 1
        elif entry["kind"] == "file":
            told["files"] += 1
            told["bytes"] += entry["size"]
            if not listing.says(path, entry["size"], entry["mtime_ns"]):
                changed.add(shown(path))
    return {**told, "missing": missing.count, "changed": changed.count, "faults": missing.shown}


def _time_ns(text: str) -> int:
    """Read a time as Go writes it: up to nine digits after the second, Z or an offset."""
    match = re.fullmatch(r"([^.Z]*?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?", text)
    if match is None:
        return 0
    offset = "+00:00" if match[3] in (None, "Z") else match[3]
    seconds = int(datetime.fromisoformat(match[1] + offset).timestamp())
    return seconds * 10**9 + int(((match[2] or "") + "0" * 9)[:9])


def mark(*words: object) -> int:
    """Give one of 2**64 numbers for words."""
    text = "\0".join(map(str, words)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _as_go_writes(path: str) -> str:
    return re.sub("[\udc80-\udcff]", "\ufffd", path)
