"""Which run folders are let go: ended long ago, or too many for the disk; never the last proof of a kind.

A run that has not come to its end, that somebody holds, or that cannot be read is kept; so are the newest
run and the newest that succeeded of each kind, and one whose folder has writes that a failback exported,
whatever their age: nothing else may have them any more. What is removed leaves a line in
`runs-removed.jsonl`: which run it was, how it ended, the hash of its last event, and why it went.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from automation.engine.lock import hold
from automation.model.base import Model
from automation.model.environment import RunRetention
from automation.model.errors import Busy

REMOVED = "runs-removed.jsonl"
GOING = "runs-going"
ENDED = ("succeeded", "aborted")
GIB = 2**30


class KeptRun(NamedTuple):
    """One run folder: what it was a run of, how and when it ended, and what it takes on the disk."""

    run_id: str
    kind: tuple[str, str]
    status: str
    ended_at: datetime
    size_bytes: int
    head: str = ""
    holds_writes: bool = False


class Removed(Model):
    """One line of what was let go."""

    run_id: str
    plan: str
    mode: str
    status: str
    ended_at: datetime
    head: str
    reason: str
    removed_at: datetime


def decide(
    runs: Sequence[KeptRun], rule: RunRetention, *, now: datetime, keep: Collection[str] = ()
) -> tuple[tuple[KeptRun, str], ...]:
    """Choose the runs to let go, with a reason each, oldest first. Pure.

    Args:
        runs: any order; ids sort by time.
        now: aware.
        keep: runs that something else still stands on.
    """
    kept = {*keep, *_newest(runs)}
    ended = [run for run in sorted(runs) if run.status in ENDED and not run.holds_writes]
    free = [run for run in ended if run.run_id not in kept]
    left_bytes, chosen = sum(run.size_bytes for run in runs), []
    for run in free:
        too_old = now - run.ended_at > timedelta(seconds=rule.keep_s)
        if too_old or left_bytes > rule.cap_gib * GIB:
            days = f"{rule.keep_s / 86400:g} days"
            chosen.append((run, f"older than {days}" if too_old else f"over the cap of {rule.cap_gib:g} GiB"))
            left_bytes -= run.size_bytes
    return tuple(chosen)


def _newest(runs: Sequence[KeptRun]) -> Iterator[str]:
    """The newest run, and the newest that succeeded, of each kind."""
    newest: dict[tuple[str, str], str] = {}
    succeeded: dict[tuple[str, str], str] = {}
    for run in sorted(runs):
        newest[run.kind] = run.run_id
        if run.status == "succeeded":
            succeeded[run.kind] = run.run_id
    yield from newest.values()
    yield from succeeded.values()


def let_go(
    state: Path, rule: RunRetention, *, now: datetime, keep: Collection[str], say: Callable[[str], None]
) -> tuple[Removed, ...]:
    """Remove the run folders that the rule lets go, each under its own lock; says which and why.

    What goes wrong here is said, and stops nothing: the run that begins next does not stand on it.
    """
    try:
        with hold(state / "locks", ["retention"], holder="retention", reason="removes old runs"):
            _finish(state, now)
            chosen = decide(read_runs(state), rule, now=now, keep=keep)
            going = [(_record(run, reason, now), reason) for run, reason in chosen]
            return tuple(record for record, reason in going if _let_one_go(state, record, reason, say))
    except (Busy, OSError, ValueError, TypeError) as exc:
        say(f"old run folders stay: {exc}")
        return ()


def _record(run: KeptRun, reason: str, now: datetime) -> Removed:
    return Removed(
        run_id=run.run_id,
        plan=run.kind[0],
        mode=run.kind[1],
        status=run.status,
        ended_at=run.ended_at,
        head=run.head,
        reason=reason,
        removed_at=now,
    )


def _let_one_go(state: Path, record: Removed, reason: str, say: Callable[[str], None]) -> bool:
    try:
        with hold(state / "locks", [f"run:{record.run_id}"], holder="retention", reason=reason):
            _remove(state, record)
    except (Busy, OSError) as exc:  # it is kept; a run that begins has nothing to wait for
        say(f"the folder of run {record.run_id} stays: {exc}")
        return False
    say(f"removed the folder of run {record.run_id} ({record.plan}, {record.status}): {reason}")
    return True


def read_runs(state: Path) -> list[KeptRun]:
    """Read what is needed of every run folder; one that cannot be read is left out, and so kept."""
    found = (_read(folder) for folder in (state / "runs").glob("*/"))
    return [run for run in found if run is not None]


def _read(folder: Path) -> KeptRun | None:
    try:
        lines = (folder / "journal.jsonl").read_bytes().splitlines()
        opened, last = json.loads(lines[0]), json.loads(lines[-1])
        closed = json.loads(lines[-2]) if last["body"]["kind"] == "run-sealed" else last
        status = closed["body"]["status"] if closed["body"]["kind"] == "run-closed" else "open"
        ended_at = datetime.fromisoformat(last["at"])
        if ended_at.tzinfo is None:
            return None  # nothing tells how old it is
        return KeptRun(
            run_id=folder.name,
            kind=(opened["body"]["plan_name"], opened["body"]["mode"]),
            status=status,
            ended_at=ended_at,
            size_bytes=sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")),
            head=last["hash"],
            holds_writes=any(_has_writes(line) for line in lines if b'"writes-exported"' in line),
        )
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return None


def _has_writes(line: bytes) -> bool:
    outcome = json.loads(line)["body"].get("outcome") or {}
    evidence = outcome.get("evidence") or {}
    return bool(evidence.get("kind") == "writes-exported" and evidence["count"])


def _remove(state: Path, record: Removed) -> None:
    """Let the folder vanish at once, so that no half of one is taken for a run; then write it down."""
    going = state / GOING / record.run_id
    going.parent.mkdir(mode=0o700, exist_ok=True)
    (state / "runs" / record.run_id).rename(going)
    (state / "locks" / f"run:{record.run_id}").unlink(missing_ok=True)  # held: nobody else can have it
    _bury(state, going, record)
    with suppress(OSError):
        going.parent.rmdir()


def _bury(state: Path, going: Path, record: Removed) -> None:
    """Write a removed run down, then free what it took.

    On a full disk its line has no room: all but its journal goes first, of which the line can be made again.
    """
    try:
        _write_down(state, record)
    except OSError:
        for path in going.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "journal.jsonl":
                path.unlink()
        _write_down(state, record)
    shutil.rmtree(going, ignore_errors=True)


def _write_down(state: Path, record: Removed) -> None:
    """Add a line, whole and on the disk, or none."""
    line = record.model_dump_json().encode() + b"\n"
    descriptor = os.open(state / REMOVED, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), REMOVED)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def _finish(state: Path, now: datetime) -> None:
    """End removals that were cut off: each is written down, unless it was, and freed."""
    written = (state / REMOVED).read_text() if (state / REMOVED).exists() else ""
    for going in sorted((state / GOING).glob("*/")):
        run = _read(going)
        if run is None or f'"run_id":"{run.run_id}"' in written:
            shutil.rmtree(going, ignore_errors=True)
        else:
            _bury(state, going, _record(run, "its removal was cut off", now))
    with suppress(OSError):
        (state / GOING).rmdir()
