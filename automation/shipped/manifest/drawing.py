"""A sample of files that can be drawn again."""

from __future__ import annotations

import heapq
import re
import sys

from .entries import entries
from .listing import mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .listing import Listing


def draw(
    manifest: str,
    listing: Listing | None = None,
    *,
    files: int | None = None,
    max_bytes: int | None = None,
    newest: float = 0.5,
    seed: str = "",
    must: Sequence[str] = (),
) -> dict[str, int]:
    """Choose files with their sizes: a share of them the newest, the others by lot.

    What must be in it comes first, whatever its size; of the others one at least. Files that changed between
    the manifest and their saving are not chosen, because nothing says what they held.
    """
    count = files or sys.maxsize
    young = round(count * newest) if files else 0
    by_age = heapq.nlargest(young, _files(manifest, listing), key=lambda one: (one[1], one[0]))
    by_lot = heapq.nsmallest(count, _files(manifest, listing), key=lambda one: mark(seed, one[0]))
    sizes = {path: size for path, _, size in [*by_age, *by_lot]}
    chosen = {path: sizes.get(path, 0) for path in must}
    left = (max_bytes or sys.maxsize) - sum(chosen.values())
    for path in _in_turn([one[0] for one in by_age], [one[0] for one in by_lot], count - young):
        if path not in chosen and len(chosen) < count and (sizes[path] <= left or not chosen):
            chosen[path] = sizes[path]
            left -= sizes[path]
    return chosen


def _in_turn(by_age: Sequence[str], by_lot: Sequence[str], others: int) -> Iterator[str]:
    """Mix both in the ratio wanted, so that either has its share of the bytes; leftovers come last."""
    ages = [((place + 0.5) / len(by_age), 0, path) for place, path in enumerate(by_age)]
    lots = [((place + 0.5) / others if others else 2.0, 1, path) for place, path in enumerate(by_lot)]
    return (path for _, _, path in heapq.merge(ages, lots, key=lambda one: one[:2]))


def _files(manifest: str, listing: Listing | None) -> Iterator[tuple[str, int, int]]:
    for entry in entries(manifest):
        figures = (entry["path"], entry.get("size", 0), entry["mtime_ns"])
        if entry.get("sha256") and (listing is None or listing.says(*figures)):
            yield figures[0], figures[2], figures[1]


def pattern_of(path: str) -> str:
    """Give a path as a pattern of restic that matches it alone."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", path)
