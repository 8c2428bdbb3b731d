"""The lab's cgroups: one named after it in every hierarchy, by which all of it is found again."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from automation.model.errors import AdapterError

SHARES, WEIGHT = 8192, 800  # eight times a plain task's: timing in the lab should hold on a busy machine
DEATH_S = 10.0


@dataclass(frozen=True)
class Cgroup:
    """The lab's folder in one hierarchy."""

    path: Path
    unified: bool

    def is_populated(self) -> bool:
        return any(True for _ in self.processes())

    def processes(self) -> "list[int]":
        """List the processes in it and below it."""
        found: list[int] = []
        for folder, _, _ in os.walk(self.path):
            with suppress(OSError):
                found += [int(line) for line in Path(folder, "cgroup.procs").read_text().split()]
        return found

    def kill(self) -> None:
        """Kill all processes in it."""
        if self.unified:
            with suppress(OSError):
                (self.path / "cgroup.kill").write_text("1")
        for pid in self.processes():
            if pid > 1:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Remove its folders, deepest first; the kernel may need a moment to let go of them."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            _remove_folder(Path(folder))


def lab_cgroups(lab_id: str) -> list[Cgroup]:
    """List the lab's folder in every hierarchy where there is one."""
    return [cgroup for cgroup in _places(lab_id) if cgroup.path.is_dir()]


def owner(lab_id: str) -> Path | None:
    """Give the state folder that a running lab works for, from its supervisor's command line."""
    for cgroup in lab_cgroups(lab_id):
        for pid in cgroup.processes():
            with suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
                if words[-5:-2] == ["--lab-id", lab_id, "--state"]:
                    return Path(words[-2])
    return None


def refuse_foreign(lab_id: str, state: Path) -> None:
    """Refuse to touch a lab of this id that works for another state folder.

    Raises:
        AdapterError: it does.
    """
    holder = owner(lab_id)
    if holder not in (None, state):
        raise AdapterError(
            f"a lab {lab_id} runs on this machine for {holder}, not for {state}; nothing was changed",
            hint=f"take it down with MAINSTAY_STATE={holder.parent}, or give this lab another id",
        )


def make_lab_cgroups(lab_id: str) -> list[Path]:
    """Make the lab's folder in every hierarchy; give those that the supervisor is to join.

    In cgroup v2 that is a folder below, beside those of the servers: a group with processes of its
    own could not hand controllers down.
    """
    join: list[Path] = []
    for cgroup in _places(lab_id):
        cgroup.path.mkdir(exist_ok=True)
        if cgroup.unified:
            (cgroup.path / "supervisor").mkdir(exist_ok=True)
            _set(cgroup.path / "cpu.weight", str(WEIGHT))
            join.append(cgroup.path / "supervisor")
        else:
            for name in ("cpuset.cpus", "cpuset.mems"):  # a new cpuset has none, and takes no process
                if (cgroup.path / name).exists():
                    _set(cgroup.path / name, (cgroup.path.parent / name).read_text())
            _set(cgroup.path / "cpu.shares", str(SHARES))
            join.append(cgroup.path)
    return join


def end_lab_processes(lab_id: str) -> bool:
    """Kill all processes of a lab and remove its cgroups; tell whether there was any.

    Raises:
        AdapterError: some did not die.
    """
    cgroups = lab_cgroups(lab_id)
    deadline = time.monotonic() + DEATH_S
    while any(cgroup.is_populated() for cgroup in cgroups):
        for cgroup in cgroups:
            cgroup.kill()
        if time.monotonic() > deadline:
            pids = sorted({pid for cgroup in cgroups for pid in cgroup.processes()})
            raise AdapterError(f"lab {lab_id}: processes {pids} were killed and still exist")
        time.sleep(0.02)
    for cgroup in cgroups:
        cgroup.remove()
    return bool(cgroups)


def _places(lab_id: str) -> list[Cgroup]:
    """Give the lab's place in every mounted hierarchy, whether it exists or not."""
    places: dict[Path, Cgroup] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        if kind in ("cgroup", "cgroup2"):
            path = Path(fields[4], f"mainstay-{lab_id}")
            places[path] = Cgroup(path, kind == "cgroup2")
    return list(places.values())


def _remove_folder(folder: Path) -> None:
    for _ in range(100):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AdapterError(f"cgroup {folder} is empty and cannot be removed", transient=True)


def _set(path: Path, value: str) -> None:
    if path.exists():
        path.write_text(value)
