"""Which WAL an archive has, and how far from a backup it goes without a gap. By names alone."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from automation.adapters.pgbackrest.door import ask
from automation.adapters.pgbackrest.listing import Backup, Told
from automation.model.actions.databases import Stanza
from automation.model.errors import AdapterError
from automation.model.records import Remote

_SEGMENT = re.compile(r"(?:^|/)([0-9A-F]{24})-[0-9a-f]{40}(?:\.\w+)?$")
_HISTORY = re.compile(r"(?:^|/)([0-9A-F]{8})\.history$")
_SIZES = tuple(1 << power for power in range(20, 31))  # what initdb lets a segment be: 1 MB to 1 GB
_LOG_BYTES = 1 << 32


class Segment(NamedTuple):
    """A WAL file's place: its timeline, and its number since the beginning of the cluster."""

    timeline: int
    number: int


class Stored(NamedTuple):
    """A WAL file of an archive."""

    file: str
    stored_at: datetime
    size_bytes: int


class Branch(NamedTuple):
    """Where a timeline ends, because the next one begins there."""

    timeline: int
    ends_at: int  # bytes since the beginning of the cluster


class Archive(NamedTuple):
    """The WAL of one cluster in one repository."""

    version: str
    segments: Mapping[Segment, Stored]
    segment_bytes: int
    timeline: int
    branches: tuple[Branch, ...]

    def name(self, segment: Segment) -> str:
        """The name of a segment as PostgreSQL gives it."""
        log, place = divmod(segment.number, _LOG_BYTES // self.segment_bytes)
        return f"{segment.timeline:08X}{log:08X}{place:08X}"

    @property
    def ends(self) -> Mapping[int, int]:
        """The number of the segment in which each timeline ends that another one followed."""
        return {branch.timeline: branch.ends_at // self.segment_bytes for branch in self.branches}

    @property
    def newest(self) -> int:
        """The number of the last segment on the way to the last timeline; -1: there is none."""
        known = {timeline: end - 1 for timeline, end in self.ends.items()}
        known[self.timeline] = max((one.number for one in self.segments), default=-1)
        return max(
            (one.number for one in self.segments if one.number <= known.get(one.timeline, -1)), default=-1
        )


class Reach(NamedTuple):
    """How far the WAL after a backup goes."""

    last: Segment | None
    missing: str  # the first file that is not there; empty: none up to the present
    consistent: bool  # the files without which the backup itself cannot be opened are all there


def read_archive(remote: Remote, of: Stanza, told: Told) -> Archive:
    """List the WAL of the cluster that a stanza is for now.

    Raises:
        AdapterError: the archive cannot be listed, or its names fit no size of segment.
    """
    folder = told.archives.get(max(told.system_identifiers))
    if folder is None:
        return Archive("", {}, _SIZES[4], 0, ())
    path = f"archive/{of.stanza}/{folder}"
    listed = ask(remote, of, f"repo-ls {path}", "--output=json", "--recurse", timeout_s=300)
    timelines = history_timelines(listed)
    history = ask(remote, of, f"repo-get {path}/{max(timelines):08X}.history") if timelines else ""
    return make_archive(path, listed, history, told.of_now())


def history_timelines(listed: str) -> set[int]:
    """The timelines whose history an archive has."""
    return {int(found[1], 16) for path in json.loads(listed) if (found := _HISTORY.search(path))}


def make_archive(folder: str, listed: str, history: str, backups: Sequence[Backup]) -> Archive:
    """Put together what an archive has from `repo-ls` and the history of its last timeline. Pure.

    Its folder ends in the version of PostgreSQL: archive/payments/15-1.

    Raises:
        AdapterError: the names of the backups fit no size of segment.
    """
    files = {
        found[1]: Stored(f"{folder}/{path}", datetime.fromtimestamp(about["time"], UTC), about["size"])
        for path, about in json.loads(listed).items()
        if (found := _SEGMENT.search(path)) and about["type"] == "file"
    }
    size = find_segment_size(backups)
    segments = {place(name, size): stored for name, stored in files.items()}
    timelines = {*history_timelines(listed), *(segment.timeline for segment in segments)}
    version = folder.rpartition("/")[2].partition("-")[0]
    return Archive(version, segments, size, max(timelines, default=0), tuple(parse_history(history)))


def find_segment_size(backups: Sequence[Backup]) -> int:
    """Tell the size of a segment from where backups began and in which files; 16 MB is PostgreSQL's own.

    Raises:
        AdapterError: none fits them all.
    """
    marks = [(name, lsn) for one in backups for name, lsn in zip(one.wal, one.lsn, strict=True) if lsn]
    fitting = [
        size
        for size in _SIZES
        # A backup that stops at a segment's very end names the file that ends there.
        if all(place(name, size).number in {at // size, (at - 1) // size} for name, at in _places(marks))
    ]
    if not fitting:
        raise AdapterError("the backups' WAL files and positions fit no size of segment; nothing was changed")
    return _SIZES[4] if _SIZES[4] in fitting else fitting[0]


def _places(marks: Iterable[tuple[str, str]]) -> Iterable[tuple[str, int]]:
    return ((name, parse_lsn(lsn)) for name, lsn in marks)


def place(name: str, segment_bytes: int) -> Segment:
    """Give the place of a segment by its name."""
    log, number = int(name[8:16], 16), int(name[16:24], 16)
    return Segment(int(name[:8], 16), log * (_LOG_BYTES // segment_bytes) + number)


def parse_lsn(text: str) -> int:
    """Give a position in bytes: 0/2000028."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def parse_history(text: str) -> Iterable[Branch]:
    """Read a history file: one line for each timeline that came before."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0].isdigit():
            yield Branch(int(words[0]), parse_lsn(words[1]))


def follow(backup: Backup, archive: Archive) -> Reach:
    """Walk from a backup's first file to the archive's last, along the timelines that lead there. Pure."""
    size, ends, newest = archive.segment_bytes, archive.ends, archive.newest
    here, stop = place(backup.wal[0], size), place(backup.wal[1], size)
    last: Segment | None = None
    while True:
        while here.timeline in ends and here.number >= ends[here.timeline]:
            here = Segment(_next_timeline(here.timeline, archive), here.number)
        missing = ""
        if here.timeline not in ends and here.timeline != archive.timeline:
            missing = f"{archive.name(here)}, as its timeline does not lead to {archive.timeline}"
        elif here not in archive.segments:
            missing = "" if last and here.number > newest else archive.name(here)
        if missing or here not in archive.segments:
            return Reach(last, missing, last is not None and last.number >= stop.number)
        last, here = here, Segment(here.timeline, here.number + 1)


def _next_timeline(timeline: int, archive: Archive) -> int:
    later = [branch.timeline for branch in archive.branches if branch.timeline > timeline]
    return min(later, default=archive.timeline)
