"""What must survive a death of the supervisor, and the log of what was done to the lab."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .bounds import Bounds


@dataclass
class Server:
    """A server that exists: its disk is in `hosts/<name>`."""

    site: str
    address: str
    image: str
    autostart: bool = True
    power: str = "on"  # what was last asked for; what is so is read from its cgroup
    reach: list[str] | None = None  # all it may exchange packets with, for good; None: it stands at its site
    machine: str = ""  # simulator/machine that powers it; empty: a server by itself
    ran_at: float = 0.0  # when that machine last powered it on where it belongs, by the clock of the wall
    cpus: int = 0  # what it may use of this machine; 0: no bound of its own
    memory_bytes: int = 0

    @property
    def bounds(self) -> Bounds:
        """What it may use of this machine."""
        return Bounds(self.cpus, self.memory_bytes)


@dataclass
class Record:
    """The wanted state of the lab."""

    servers: dict[str, Server] = field(default_factory=dict)
    fences: list[str] = field(default_factory=list)
    failed_sites: list[str] = field(default_factory=list)
    links: dict[str, dict[str, object]] = field(default_factory=dict)
    dark_sites: list[str] = field(default_factory=list)  # their management does not answer

    def boots_by_itself(self, name: str) -> bool:
        """Tell whether the return of power boots this server; a fenced one stays off."""
        server = self.servers[name]
        wanted = server.autostart and server.power == "on"
        return wanted and name not in self.fences and server.site not in self.failed_sites


def dump(record: Record) -> str:
    """Write a record as JSON text."""
    return json.dumps(asdict(record), indent=1, sort_keys=True) + "\n"


def parse(text: str) -> Record:
    """Read a record from its JSON text."""
    raw = json.loads(text)
    servers = {name: Server(**fields) for name, fields in raw.pop("servers").items()}
    return Record(servers=servers, **raw)


class Store:
    """The record in its file; every change is on the disk before it takes effect."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self.record = parse(path.read_text()) if path.exists() else Record()

    @contextmanager
    def change(self) -> Iterator[Record]:
        """Give the record to be changed, and write it at the end; nothing is kept after an error."""
        with self._lock:
            draft = parse(dump(self.record))
            yield draft
            write_atomically(self.path, dump(draft))
            self.record = draft


class EventLog:
    """One JSON line for each thing done to the lab, with wall and monotonic time."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._lock = threading.Lock()

    def write(self, event: str, *, since: "Moment | None" = None, **details: object) -> dict[str, object]:
        """Append one event; `since` is when its effect began."""
        now = Moment()
        began = since or now
        line = {
            "at": began.wall.isoformat(timespec="microseconds"),
            "monotonic_s": round(began.monotonic_s, 6),
            "took_ms": round((now.monotonic_s - began.monotonic_s) * 1000, 3),
            "event": event,
            **details,
        }
        with self._lock:
            self._file.write(json.dumps(line) + "\n")
        return line


class Moment:
    """Now, on both clocks."""

    def __init__(self) -> None:
        self.monotonic_s = time.monotonic()
        self.wall = datetime.now(UTC)


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all, and on the disk when this returns."""
    draft = path.with_name(f".{path.name}.new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
