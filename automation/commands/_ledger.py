"""The ledger of an environment: `<state>/backups/ledger.jsonl`, fed from the journals of all its runs.

A line is only ever added. Whoever reads the ledger first takes in what is new in the runs' journals, so that
a controller that was killed loses nothing, and what was taken in stays when its run's folder is let go.
"""

import fcntl
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from automation.backups.entries import KINDS, Entry, entries_of
from automation.backups.folding import fold, of_the_real
from automation.backups.ledger import Ledger
from automation.commands._command import progress
from automation.engine.journal import GENESIS, check_line
from automation.model.backup_evidence import (
    CanaryRefused,
    DoubtCleared,
    LocksLengthened,
    PointProven,
    PolicyAccepted,
    RepositoryChecked,
)
from automation.model.base import Model
from automation.model.errors import PreflightError
from automation.model.plan import Plan
from automation.model.records import Event

FOLDER = "backups"
FILE = "ledger.jsonl"
# So far two clocks may differ.
AHEAD = timedelta(hours=1)
LOOSENING = (PointProven, RepositoryChecked, CanaryRefused, LocksLengthened, PolicyAccepted, DoubtCleared)
_MARKS = tuple(f'"kind":"{kind}"'.encode() for kind in KINDS)
_PLAN_MARKS = (b'"name": "backup-', b'"do": "restic.', b'"do": "pgbackrest.')


class RunRead(Model):
    """A line that says how far a run's journal was taken in."""

    kind: Literal["run-read"] = "run-read"
    run_id: str
    size_bytes: int


class Kept(NamedTuple):
    """What the file holds: its entries, and how far each run was read."""

    entries: list[Entry]
    read: dict[str, int]


def read_ledger(state: Path, now: datetime | None = None, simulated: Collection[str] = ()) -> Ledger:
    """Take in what runs have proven since, and give the ledger; says which journals cannot be believed.

    What was proven, agreed to or cleared while a clock was ahead does not count before that time: it would
    stand against all that is seen until then.

    Args:
        now: aware; none: the time of this machine.
        simulated: stores at which a simulator answers now; of others what one showed is left out.

    Raises:
        PreflightError: the ledger cannot be read or written.
    """
    entries = _of_the_past(_taken_in(state), now or datetime.now(UTC))
    return fold(of_the_real(entries, simulated))


def ledger_as_of(state: Path, at: datetime, simulated: Collection[str] = ()) -> Ledger | None:
    """Take in what runs have proven since, and give the ledger as it was then; None: it begins later.

    Args:
        simulated: as `read_ledger` takes it.

    Raises:
        PreflightError: the ledger cannot be read or written.
    """
    entries = _of_the_past(_taken_in(state), datetime.now(UTC))
    then = [one for one in entries if one.at <= at]
    return None if entries and not then else fold(of_the_real(then, simulated))


def _taken_in(state: Path) -> list[Entry]:
    with _held(state) as file:
        kept = _read(file)
        known = {entry.key for entry in kept.entries}
        for run_id, size, found in _news(state, kept.read):
            new = [entry for entry in found if entry.key not in known]
            _append(file, [*new, RunRead(run_id=run_id, size_bytes=size)])
            kept.entries.extend(new)
    return kept.entries


def _of_the_past(entries: Sequence[Entry], now: datetime) -> list[Entry]:
    ahead = {one.key for one in entries if one.at > now + AHEAD and isinstance(one.noted, LOOSENING)}
    if ahead:
        progress(
            f"{len(ahead)} lines of the ledger are of the future and count for nothing: a clock was wrong"
        )
    return [one for one in entries if one.key not in ahead]


def note(state: Path, entries: Sequence[Entry]) -> None:
    """Add what a listing showed.

    Raises:
        PreflightError: it could not be written; nothing of it is there.
    """
    if entries:
        with _held(state) as file:
            _read(file)
            _append(file, entries)


# --- the file -------------------------------------------------------------------------------------


@contextmanager
def _held(state: Path) -> Iterator[BinaryIO]:
    """Open the ledger for this process alone; others wait, for parts of a second."""
    folder = state / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
    except OSError as exc:
        raise PreflightError(
            f"the ledger {folder / FILE} cannot be used ({exc.strerror or exc}); nothing was changed",
            hint="see to the disk and the rights of the state folder",
        ) from exc


def _read(file: BinaryIO) -> Kept:
    """Read every whole line; the file is left at the end of the last one, where the next is written.

    A torn last line is what a cut write leaves: what it said is taken in again from its run. So is what
    stood in a line that cannot be read, as long as its run is there.
    """
    file.seek(0)
    content = file.read()
    faulty = False
    whole = content.rfind(b"\n", 0, len(content.rstrip(b"\0"))) + 1
    kept = Kept([], {})
    for number, line in enumerate(content[:whole].splitlines(), start=1):
        try:
            _take_line(line, kept)
        except ValueError:
            progress(f"line {number} of the ledger cannot be read; all runs are read again")
            faulty = True
    file.seek(whole)
    return Kept(kept.entries, {}) if faulty else kept


def _take_line(line: bytes, kept: Kept) -> None:
    if line.startswith(b'{"kind":"run-read"'):
        read = json.loads(line)
        kept.read[str(read["run_id"])] = int(read["size_bytes"])
    else:
        kept.entries.append(Entry.model_validate_json(line))


def _append(file: BinaryIO, lines: Iterable[Model]) -> None:
    """Write lines, all or none, at the end of the last whole one; they are on the disk when this returns."""
    before = file.tell()
    content = b"".join(line.model_dump_json().encode() + b"\n" for line in lines)
    try:
        file.truncate(before)
        written = 0
        while written < len(content):
            written += file.write(content[written:]) or 0
        os.fsync(file.fileno())
    except OSError:
        file.truncate(before)
        file.seek(before)
        raise


# --- the journals -----------------------------------------------------------------------------------


def _news(state: Path, read: dict[str, int]) -> Iterator[tuple[str, int, list[Entry]]]:
    """Give every run whose journal grew since it was read: its size, and what it says of points."""
    runs = state / "runs"
    names = sorted(path.name for path in runs.iterdir()) if runs.is_dir() else []
    for name in names:
        path = runs / name / "journal.jsonl"
        try:
            size = path.stat().st_size
            if size == read.get(name):
                continue
            content = path.read_bytes()
        except OSError:
            continue  # not opened yet, or let go since it was listed
        found = _entries(path.parent, content)
        if found is not None:
            yield name, content.rfind(b"\n") + 1, found


def _entries(folder: Path, content: bytes) -> list[Entry] | None:
    """Read what a journal says of points; None if it cannot be believed, which is told."""
    plan_text = _plan_text(folder)
    if not any(mark in content for mark in _MARKS) and not any(m in plan_text for m in _PLAN_MARKS):
        return []
    events: list[Event] = []
    previous = GENESIS
    for line in content.splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break  # being written, or torn by a crash: no effect followed it
        event = check_line(line, len(events), previous)
        if isinstance(event, str):
            progress(
                f"run {folder.name}: its journal is damaged at line {len(events) + 1} ({event}); "
                "nothing in it is believed"
            )
            return None
        events.append(event)
        previous = event.hash
    return list(entries_of(events, _plan(plan_text)))


def _plan_text(folder: Path) -> bytes:
    try:
        return (folder / "plan.json").read_bytes()
    except OSError:
        return b""


def _plan(text: bytes) -> Plan | None:
    """Read a plan; one of another version's format tells nothing."""
    try:
        return Plan.model_validate_json(text)
    except ValueError:
        return None
