"""The journal: the only truth about effects; one event a line, synced, hash-chained."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from automation.model.errors import AutomationError
from automation.model.records import Body, Event

GENESIS = "0" * 64


def event_hash(sequence: int, at: datetime, body: Body, previous: str) -> str:
    """sha256 over the canonical JSON of an event without its own hash."""
    content = {
        "sequence": sequence,
        "at": at.isoformat(),
        "body": body.model_dump(mode="json"),
        "previous": previous,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Journal:
    """Append events to `journal.jsonl`; each is on the disk when `append` returns."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self._clock = clock
        self._lock = Lock()
        events = list(read_journal(path)) if path.exists() else []
        self._sequence = len(events)
        self._previous = events[-1].hash if events else GENESIS
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        _sync_folder(path.parent)

    def append(self, body: Body) -> Event:
        """Write one event and sync it.

        Raises:
            AutomationError: the event is not safely on the disk; no effect may follow.
        """
        with self._lock:
            at = self._clock()
            digest = event_hash(self._sequence, at, body, self._previous)
            event = Event(sequence=self._sequence, at=at, body=body, previous=self._previous, hash=digest)
            line = event.model_dump_json().encode() + b"\n"
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError("short write")
                os.fdatasync(self._file)
            except OSError as exc:
                raise AutomationError(
                    f"journal {self.path} cannot be written ({exc}); no further effect was started",
                    hint="free space on the state folder's disk, then look at the run",
                ) from exc
            self._sequence, self._previous = self._sequence + 1, digest
            return event

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
            event = _checked(line, number - 1, previous)
            if isinstance(event, str):
                raise AutomationError(f"journal {path} is damaged at line {number}: {event}")
            previous = event.hash
            yield event


def _checked(line: bytes, sequence: int, previous: str) -> Event | str:
    try:
        event = Event.model_validate_json(line)
    except ValueError:
        return "not an event"
    if event.sequence != sequence or event.previous != previous:
        return "not the successor of the line before"
    if event.hash != event_hash(event.sequence, event.at, event.body, event.previous):
        return "content does not match its hash"
    return event


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
