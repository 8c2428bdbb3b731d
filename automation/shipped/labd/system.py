"""The few kernel calls that Python 3.11 does not have, and one door to other programs."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 2, 4, 8, 0x1000
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """A request cannot be met; `hint` is the next act."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def run(argv: Sequence[str], *, text: str | None = None) -> str:
    """Run a program to its end and give what it printed.

    Raises:
        LabError: it failed, or does not exist.
    """
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise LabError(f"{argv[0]} is not installed on this machine") from exc
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()),
        f"mount {source} on {target}",
    )


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), f"unmount {target}")


def in_namespace(path: str, work: Callable[[], Result]) -> Result:
    """Run work, and the programs it starts, inside a network namespace.

    In a thread of its own, which ends with it: namespaces belong to threads.
    """

    def enter_and_work() -> Result:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(fd, CLONE_NEWNET), f"enter {path}")
        finally:
            os.close(fd)
        return work()

    return in_thread(enter_and_work)


def make_namespace(path: str) -> None:
    """Make a network namespace that lives as long as the mount at `path`."""

    def unshare_and_bind() -> None:
        _check(_libc.unshare(CLONE_NEWNET), "make a network namespace")
        os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o444))
        mount(f"/proc/self/task/{threading.get_native_id()}/ns/net", path, "none", MS_BIND)

    in_thread(unshare_and_bind)


def remove_namespace(path: str) -> None:
    """Let go of a network namespace, if it is there."""
    with suppress(OSError):  # never mounted, or already gone; the file may be left all the same
        unmount(path, MNT_DETACH)
    with suppress(FileNotFoundError):
        os.unlink(path)


def in_thread(work: Callable[[], Result]) -> Result:
    """Run work in a new thread, wait for it, and give its result or raise its error."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # handed over to the waiting thread
            errors.append(exc)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
