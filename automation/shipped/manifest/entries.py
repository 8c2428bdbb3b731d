"""What stands on a disk, entry by entry, and how a manifest writes it."""

from __future__ import annotations

import hashlib
import json
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Entry = dict[str, Any]
    Told = dict[str, Any]

SHOWN = 20
CHUNK_BYTES = 1 << 20
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "dev",
    stat.S_IFCHR: "chardev",
}


class Faults:
    """Faults in words: all are counted, some are kept."""

    def __init__(self) -> None:
        self.count = 0
        self.shown: list[str] = []

    def add(self, text: str) -> None:
        """Take one more."""
        self.count += 1
        if len(self.shown) < SHOWN:
            self.shown.append(text)


def walk(
    paths: Iterable[str], left_out: Callable[[str], bool] = lambda path: False
) -> Iterator[tuple[str, os.stat_result | OSError]]:
    """Yield each path with what it is, parents first, names by bytes; links are not followed."""
    folders = [iter(_roots(paths))]
    while folders:
        path = next(folders[-1], None)
        if path is None:
            folders.pop()
            continue
        if left_out(path):
            continue
        try:
            found = os.lstat(path)
            yield path, found
            if stat.S_ISDIR(found.st_mode):
                names = sorted(os.listdir(path), key=os.fsencode)
                folders.append(iter([os.path.join(path, name) for name in names]))
        except OSError as exc:
            yield path, exc


def _roots(paths: Iterable[str]) -> list[str]:
    """Sort paths as a walk meets them; one that lies below another is met there."""
    kept: list[str] = []
    for path in sorted({os.path.normpath(path) for path in paths}, key=order):
        if not kept or not path.startswith(kept[-1].rstrip("/") + "/"):
            kept.append(path)
    return kept


def order(path: str) -> bytes:
    """Give what paths are sorted by: as a walk meets them."""
    return os.fsencode(path).replace(b"/", b"\0")


def describe(path: str, found: os.stat_result) -> Entry:
    """Give the entry of a path, as yet without its hash."""
    entry: Entry = {
        "path": path,
        "kind": KINDS.get(stat.S_IFMT(found.st_mode), "other"),
        "mode": stat.S_IMODE(found.st_mode),
        "uid": found.st_uid,
        "gid": found.st_gid,
        "mtime_ns": found.st_mtime_ns,
    }
    if entry["kind"] == "file":
        entry |= {"size": found.st_size, "seen": [found.st_ctime_ns, found.st_ino, found.st_dev]}
    return entry


def read(path: str) -> tuple[os.stat_result, str]:
    """Give what a file is, and its hash; empty if it was changed while it was read."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before, digest = os.fstat(file), hashlib.sha256()
        while chunk := os.read(file, CHUNK_BYTES):
            digest.update(chunk)
        after = os.fstat(file)
    finally:
        os.close(file)
    marks = ("st_size", "st_mtime_ns", "st_ctime_ns")
    quiet = all(getattr(before, mark) == getattr(after, mark) for mark in marks)
    return after, digest.hexdigest() if quiet else ""


def entries(path: str) -> Iterator[Entry]:
    """Yield the entries of a manifest.

    Raises:
        ValueError: a line is none; what comes after it would be passed over without a word.
    """
    with open(path, encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = json.loads(line)
                entry["path"], entry["kind"], entry["mtime_ns"]
            except (ValueError, KeyError, TypeError) as exc:
                raise ValueError(f"line {number} of the manifest is cut off or damaged") from exc
            yield entry


def shown(path: str) -> str:
    """Give a path for people: one line, at most 200 signs."""
    text = path.encode("utf-8", "backslashreplace").decode()
    text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)
    return text if len(text) <= 200 else text[:197] + "..."
