"""Restored files compared with their manifest."""

from __future__ import annotations

import os
import stat

from .entries import KINDS, Faults, entries, read, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .entries import Entry, Told
    from .listing import Listing

# A socket means nothing without its program, and a device may be forbidden where one restores.
NOT_COMPARED = frozenset({"socket", "dev", "chardev"})


def compare(
    manifest: str,
    root: str,
    only: Iterable[str] | None = None,
    below: Iterable[str] = (),
    listing: Listing | None = None,
) -> Told:
    """Compare what was restored below a folder with its manifest: all, the paths of `only`, or what is below.

    With the point's listing: what vanished or changed between the manifest and its saving is told apart; such
    a file is compared with what the point says of it, not by hash.
    """
    faults = Faults()
    counted = ("files", "entries", "bytes", "hashed", "changed", "vanished")
    told: Told = {"record": "comparison", **dict.fromkeys(counted, 0)}
    wanted = None if only is None else set(only)
    for entry in _below(manifest, below):
        if wanted is not None:
            if entry["path"] not in wanted:
                continue
            wanted.discard(entry["path"])
        if wrong := _compare(entry, root.rstrip("/") + entry["path"], listing, told):
            faults.add(f"{shown(entry['path'])}: {wrong}")
    for path in sorted(wanted or ()):
        faults.add(f"{shown(path)}: is not in the manifest")
    return {**told, "fault_count": faults.count, "faults": faults.shown}


def size_of(manifest: str, below: Iterable[str] = ()) -> int:
    """Give the bytes of the files in a manifest: all, or what is below.

    Raises:
        SystemExit: nothing is.
    """
    sizes = [entry.get("size", 0) for entry in _below(manifest, below)]
    if not sizes:
        raise SystemExit("nothing of it is in the manifest")
    return sum(sizes)


def _below(manifest: str, below: Iterable[str]) -> Iterator[Entry]:
    tops = tuple(f"{top.rstrip('/')}/" for top in below)
    return (one for one in entries(manifest) if not tops or f"{one['path']}/".startswith(tops))


def _compare(entry: Entry, place: str, listing: Listing | None, told: Told) -> str:
    """Give what is wrong with one restored entry; empty: nothing."""
    if entry["kind"] in NOT_COMPARED:
        return ""
    if listing is not None and not listing.has(entry["path"]):
        told["vanished"] += 1
        return ""
    told["entries"] += 1
    try:
        return _difference(entry, place, listing, told)
    except FileNotFoundError:
        return "is missing"
    except OSError as exc:
        return f"cannot be read: {exc.strerror}"


def _difference(entry: Entry, place: str, listing: Listing | None, told: Told) -> str:
    found = os.lstat(place)
    kind = KINDS.get(stat.S_IFMT(found.st_mode), "other")
    if kind != entry["kind"]:
        return f"is a {kind}, was a {entry['kind']}"
    if kind == "symlink":
        return "" if os.readlink(place) == entry["target"] else "points to another place"
    if kind == "file":
        told["files"] += 1
        told["bytes"] += found.st_size
        figures = (entry["path"], entry["size"], entry["mtime_ns"])
        if listing is not None and not listing.says(*figures):
            told["changed"] += 1
            as_saved = listing.says(entry["path"], found.st_size, found.st_mtime_ns)
            return "" if as_saved else "is not what the point says of it"
        if wrong := _content(entry, place, found):
            return wrong
        told["hashed"] += bool(entry.get("sha256"))
    for key, word in (("mode", "permissions %o"), ("uid", "owner %d"), ("gid", "group %d")):
        there = stat.S_IMODE(found.st_mode) if key == "mode" else getattr(found, f"st_{key}")
        if there != entry[key]:
            return f"has {word % there}, had {word % entry[key]}"
    return ""


def _content(entry: Entry, place: str, found: os.stat_result) -> str:
    if found.st_size != entry["size"]:
        return f"has {found.st_size} bytes, had {entry['size']}"
    if entry.get("sha256") and read(place)[1] != entry["sha256"]:
        return "has other content"
    return "" if found.st_mtime_ns == entry["mtime_ns"] else "has another time of change"
