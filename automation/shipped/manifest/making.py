"""A manifest made of folders, beside the one before."""

from __future__ import annotations

import json
import os

from .entries import Faults, describe, entries, order, read, shown, walk
from .leaving_out import excluding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .entries import Entry, Told


def make(paths: Iterable[str], out: str, exclude: Iterable[str] = ()) -> Told:
    """Write the manifest of paths to a file, whole or not at all; give what was found, in numbers.

    Where the file is there, hashes are taken over where size, times, inode and device are equal.
    """
    told: Told = {"record": "manifest", "files": 0, "entries": 0, "bytes": 0, "hashed": 0, "vanished": 0}
    unreadable, known, partial = Faults(), Known(out), out + ".part"
    with open(partial, "w", encoding="ascii") as file:
        os.chmod(partial, 0o600)
        for path, found in walk(paths, excluding(exclude)):
            if path in (out, partial):
                continue
            entry = _look(path, found, known, told, unreadable)
            if entry is not None:
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, out)
    return {**told, "unreadable": unreadable.count, "faults": unreadable.shown}


def _look(
    path: str, found: os.stat_result | OSError, known: Known, told: Told, unreadable: Faults
) -> Entry | None:
    entry: Entry | None = None
    try:
        if isinstance(found, OSError):
            raise found
        entry = describe(path, found)
        if entry["kind"] == "symlink":
            entry["target"] = os.readlink(path)
        elif entry["kind"] == "file":
            entry = _hash(entry, known.at(path), told)
    except FileNotFoundError:
        told["vanished"] += 1
        return None
    except OSError as exc:
        unreadable.add(f"{shown(path)}: {exc.strerror}")
        if entry is None:
            return None
        entry["unread"] = str(exc.strerror)
    told["entries"] += 1
    if entry["kind"] == "file":
        told["files"] += 1
        told["bytes"] += entry["size"]
    return entry


def _hash(entry: Entry, before: Entry | None, told: Told) -> Entry:
    """Give the entry with its hash; one that is written to while it is read, twice, has none."""
    same = before and all(before.get(key) == entry[key] for key in ("size", "mtime_ns", "seen"))
    if before and same and before.get("sha256"):
        return {**entry, "sha256": before["sha256"]}
    for _ in range(2):
        found, digest = read(entry["path"])
        entry = describe(entry["path"], found)
        if digest:
            told["hashed"] += 1
            return {**entry, "sha256": digest}
    return {**entry, "unread": "it was written to while it was read"}


class Known:
    """An earlier manifest, read along with a walk in the same order; a line that is none ends it."""

    def __init__(self, path: str) -> None:
        self._entries = entries(path) if os.path.exists(path) else iter(())
        self._next: Entry | None = None
        self._step()

    def _step(self) -> None:
        try:
            self._next = next(self._entries, None)
        except ValueError:
            self._next = None

    def at(self, path: str) -> Entry | None:
        """Give the entry of a path; asked for in ascending order."""
        wanted = order(path)
        while self._next is not None and order(self._next["path"]) < wanted:
            self._step()
        return self._next if self._next is not None and self._next["path"] == path else None
