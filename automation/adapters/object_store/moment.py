"""What a bucket held at a moment, told from all its versions and delete markers. Pure.

The state of that moment is taken as it was, not the newest of everything: what had been deleted by then stays
deleted. restic writes packs, then index, then snapshot, and deletes in the opposite order, so the objects of
any one moment fit together; an index file that a prune had replaced before would name packs that are gone.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from automation.adapters.object_store.canary import CANARIES
from automation.adapters.object_store.client import ObjectVersion

LEFT_OUT = ("locks/", CANARIES)  # holders of restic's locks are gone; canaries are ours
_NAMED_BY_CONTENT = re.compile(r"(?:data/[0-9a-f]{2}|index|snapshots|keys)/(?P<sha256>[0-9a-f]{64})")


class Held(NamedTuple):
    """What a bucket held: the version of each object, by its key below the prefix."""

    objects: Mapping[str, ObjectVersion]
    rewritten: Mapping[str, tuple[ObjectVersion, ...]]  # several contents until then, newest first
    undeleted: int  # no longer what the bucket shows
    gone_before: int  # deleted by then, and left out
    last_gone_at: datetime | None


def held_at(versions: Iterable[ObjectVersion], moment: datetime, prefix: str) -> Held:
    """Choose of every object the version that was current at a moment."""
    until: dict[str, list[ObjectVersion]] = defaultdict(list)
    for one in versions:
        key = one.key.removeprefix(prefix)
        if one.modified <= moment and not key.startswith(LEFT_OUT):
            until[key].append(one)
    objects: dict[str, ObjectVersion] = {}
    rewritten: dict[str, tuple[ObjectVersion, ...]] = {}
    gone: list[datetime] = []
    for key, entries in until.items():
        # A store's clock has seconds: of the same one, a version is rather kept than its marker believed.
        entries.sort(key=lambda one: (one.modified, not one.marker, one.latest), reverse=True)
        if entries[0].marker:
            gone.append(entries[0].modified)
            continue
        objects[key] = entries[0]
        if len({(one.etag, one.size_bytes) for one in entries if not one.marker}) > 1:
            rewritten[key] = tuple(one for one in entries if not one.marker)
    undeleted = sum(not one.latest for one in objects.values())
    return Held(objects, rewritten, undeleted, len(gone), max(gone, default=None))


def name_of_content(key: str) -> str | None:
    """Give the sha256 that restic names an object by; None for one that is named otherwise."""
    found = _NAMED_BY_CONTENT.fullmatch(key)
    return found["sha256"] if found else None


def is_restic(keys: Iterable[str]) -> bool:
    """Whether objects are those of a restic repository."""
    return any(key.startswith(("snapshots/", "data/", "index/")) for key in keys)


def count_snapshots(keys: Iterable[str]) -> int:
    """Count the snapshots of a restic repository."""
    return sum(key.startswith("snapshots/") for key in keys)
