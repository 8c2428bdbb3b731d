"""Which run folders are let go: ended long ago, or too many for the disk; never the last proof of a kind.

A run that has not come to its end, that somebody holds, or that cannot be read is kept; so are the newest
run and the newest that succeeded of each kind, and one whose folder has writes that a failback exported,
whatever their age: nothing else may have them any more. What is removed leaves a line in
`runs-removed.jsonl`: which run it was, how it ended, the hash of its last event, and why it went.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
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
    """Remove the run folders that the rule lets go, each under its own lock; says which and why."""
    shutil.rmtree(state / GOING, ignore_errors=True)  # what an earlier removal that was cut off left
    removed = []
    for run, reason in decide(read_runs(state), rule, now=now, keep=keep):
        record = Removed(
            run_id=run.run_id,
            plan=run.kind[0],
            mode=run.kind[1],
            status=run.status,
            ended_at=run.ended_at,
            head=run.head,
            reason=reason,
            removed_at=now,
        )
        try:
            with hold(state / "locks", [f"run:{run.run_id}"], holder="retention", reason=reason):
                _remove(state, record)
        except (Busy, OSError) as exc:  # it is kept; a run that begins has nothing to wait for
            say(f"the folder of run {run.run_id} stays: {exc}")
            continue
        removed.append(record)
        say(f"removed the folder of run {run.run_id} ({run.kind[0]}, {run.status}): {reason}")
    return tuple(removed)


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
        return KeptRun(
            run_id=folder.name,
            kind=(opened["body"]["plan_name"], opened["body"]["mode"]),
            status=status,
            ended_at=datetime.fromisoformat(last["at"]),
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
    """Write it down first, then let the folder vanish at once, so that no half of one is taken for a run."""
    with (state / REMOVED).open("a") as file:
        file.write(record.model_dump_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
    (state / GOING).mkdir(mode=0o700, exist_ok=True)
    (state / "runs" / record.run_id).rename(state / GOING / record.run_id)
    (state / "locks" / f"run:{record.run_id}").unlink(missing_ok=True)  # held: nobody else can have it
    shutil.rmtree(state / GOING, ignore_errors=True)
