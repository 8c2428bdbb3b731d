"""The journal: the only truth about effects; one event a line, synced, hash-chained."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from automation.model.errors import AutomationError, StepFailed
from automation.model.records import Body, Event

GENESIS = "0" * 64
TORN = "journal.torn"


class Head(NamedTuple):
    """How many events a journal has, and the hash of the last one, which covers them all."""

    length: int
    hash: str


def event_hash(sequence: int, at: datetime, body: Body, previous: str, *, as_read: bool = False) -> str:
    """sha256 over the canonical JSON of an event without its own hash.

    Args:
        as_read: over the fields that its line has; one that a later version adds is not among them.
    """
    content = {
        "sequence": sequence,
        "at": at.isoformat(),
        "body": body.model_dump(mode="json", exclude_unset=as_read),
        "previous": previous,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Journal:
    """Append events to `journal.jsonl`; each is on the disk when `append` returns.

    A journal that exists goes on where it ends; `events` are those it held. A torn last line, which no
    effect can have followed, is cut off into `journal.torn`.

    Raises:
        AutomationError: an existing journal is damaged elsewhere; it is left as it is.
    """

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self.torn_bytes = cut_torn_tail(path) if path.exists() else 0
        self.events = tuple(read_journal(path)) if path.exists() else ()
        self._clock = clock
        self._lock = Lock()
        self._head = Head(len(self.events), self.events[-1].hash if self.events else GENESIS)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size
        _sync_folder(path.parent)

    @property
    def head(self) -> Head:
        return self._head

    def append(self, body: Body) -> Event:
        """Write one event and sync it.

        Raises:
            StepFailed: the event is not safely on the disk; no effect may follow, the run can be resumed.
        """
        with self._lock:
            at, (sequence, previous) = self._clock(), self._head
            digest = event_hash(sequence, at, body, previous)
            event = Event(sequence=sequence, at=at, body=body, previous=previous, hash=digest)
            self._write(event.model_dump_json().encode() + b"\n")
            self._head = Head(sequence + 1, digest)
            return event

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):  # a disk that has just filled up takes a part, then says why
                written += os.write(self._file, line[written:])
            os.fdatasync(self._file)
        except OSError as exc:
            with suppress(OSError):  # else the next to open it cuts the torn line off
                os.ftruncate(self._file, self._size)
            raise StepFailed(
                f"journal {self.path} cannot be written ({exc.strerror or exc}); "
                "no further effect was started",
                hint=f"free space on its disk, then {self._resume()}",
            ) from exc
        self._size += len(line)

    def _resume(self) -> str:
        """Say how its run goes on; the folders are `<env>/runs/<run>`."""
        run = self.path.parent
        return f"./inv run.resume --env {run.parent.parent.name} --run {run.name}"

    def close(self) -> None:
        os.close(self._file)


def read_journal(path: Path) -> Iterator[Event]:
    """Give the events of a journal whose chain holds.

    Raises:
        AutomationError: a line was changed, removed or is torn; names the first one.
    """
    previous = GENESIS
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            event = check_line(line, number - 1, previous)
            if isinstance(event, str):
                raise AutomationError(f"journal {path} is damaged at line {number}: {event}")
            previous = event.hash
            yield event


def check_line(line: bytes, sequence: int, previous: str) -> Event | str:
    """Give a line's event, or say why it is not the one that belongs there."""
    if not line.endswith(b"\n"):
        return "torn: it has no end"
    try:
        event = Event.model_validate_json(line)
    except ValueError:
        return "not an event"
    if event.sequence != sequence or event.previous != previous:
        return "not the successor of the line before"
    if event.hash != event_hash(event.sequence, event.at, event.body, event.previous, as_read=True):
        return "content does not match its hash"
    return event


def cut_torn_tail(path: Path) -> int:
    """Move what follows the last whole line into `journal.torn`; give its size in bytes.

    Torn is what a cut write leaves: no line end, or zeros that a file system put in place of lost blocks.
    """
    content = path.read_bytes()
    whole = content.rfind(b"\n", 0, len(content.rstrip(b"\0"))) + 1
    tail = content[whole:]
    if not tail:
        return 0
    with (path.parent / TORN).open("ab") as torn:
        torn.write(tail)
        torn.flush()
        os.fsync(torn.fileno())
    os.truncate(path, whole)
    return len(tail)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
