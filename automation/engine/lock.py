"""Locks that die with their holder: flock on one file per service or host."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from automation.model.errors import Busy


@contextmanager
def hold(folder: Path, names: Iterable[str], *, holder: str, reason: str) -> Iterator[None]:
    """Hold the locks of all names, taken in sorted order, until the block ends.

    Raises:
        Busy: another process holds one; says who and why. None is held then.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as held:
        for name in sorted(set(names)):
            held.enter_context(_hold_one(folder / name, holder, reason))
        yield


def is_held(path: Path) -> bool:
    """Say whether a process holds a lock, without ever taking it; the lock of one that died is free.

    Source: /proc/locks, whose sixth word ends in the inode of the file (proc(5)).
    """
    try:
        inode = str(path.stat().st_ino)
    except FileNotFoundError:
        return False
    rows = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return any("FLOCK" in row and "WRITE" in row and row[-3].endswith(f":{inode}") for row in rows)


@contextmanager
def _hold_one(path: Path, holder: str, reason: str) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            env = path.parent.parent.name  # the folders are `<env>/locks/<name>`
            raise Busy(
                f"{path.name} is held by {_describe(path)}; nothing was changed",
                hint=f"wait for it, or end it; ./inv run.list --env {env} shows what runs",
            ) from None
        record = {"holder": holder, "pid": os.getpid(), "reason": reason}
        with suppress(OSError):  # on a full disk the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(record).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def list_holders(folder: Path) -> list[str]:
    """Say who holds locks of a folder, and why, without taking any; one line a holder."""
    held: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*")):
        if is_held(path):
            held.setdefault(_describe(path), []).append(path.name)
    return [f"{holder} holds {', '.join(names)}" for holder, names in held.items()]


def _describe(path: Path) -> str:
    try:
        record = json.loads(path.read_text())
        return f"{record['holder']} (pid {record['pid']}: {record['reason']})"
    except (OSError, ValueError, KeyError):
        return "another process"
