"""What is done to disks of servers that are off: seeding, saved sets, inspection."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .machines import Disk, await_empty, in_cgroup, kill, mount_overlay, remove_cgroup
from .records import Record, dump, parse, write_atomically
from .system import MNT_DETACH, LabError, run, unmount
from .topology import NAME

OUTPUT_BYTES = 16 << 20


@dataclass(frozen=True)
class Seed:
    """One file or folder that a new disk gets before its first boot."""

    path: str
    text: str | None = None  # None makes a folder
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


def plant(root: Path, seeds: Sequence[Seed]) -> None:
    """Write seeds onto a mounted disk; links in the image are replaced, never followed."""
    for seed in seeds:
        target = root / seed.path.lstrip("/")
        if not target.parent.resolve().is_relative_to(root.resolve()):
            raise LabError(f"seed {seed.path} leads out of the disk")
        target.parent.mkdir(parents=True, exist_ok=True)
        if seed.text is None:
            target.mkdir(exist_ok=True)
        else:
            target.unlink(missing_ok=True)
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(seed.text)
        os.chown(target, seed.uid, seed.gid)
        os.chmod(target, seed.mode)


def keep(disk: Disk, folder: Path, name: str) -> None:
    """Move what a disk holds to a named folder for removed servers; once it is there, nothing is done."""
    _check_name(name)
    target = folder / name / disk.folder.name
    if disk.upper.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        disk.upper.rename(target)


def remove(disk: Disk, kept: Path, keep_in: str = "") -> None:
    """Delete a disk that no server runs from; with `keep_in` what it holds is moved to `kept` first.

    Raises:
        LabError: it is mounted; nothing of it was changed.
    """
    disk.release()  # a boot that failed leaves it mounted, and a deletion would go on into what it holds
    if os.path.ismount(disk.root):
        raise LabError(f"the disk of {disk.folder.name} is still mounted at {disk.root}; it stays as it is")
    if keep_in:
        keep(disk, kept, keep_in)
    shutil.rmtree(disk.folder, ignore_errors=True)


def kept_in(folder: Path) -> list[str]:
    """List the disks of removed servers: server, then the name that it was kept under."""
    return sorted(f"{path.name}/{path.parent.name}" for path in folder.glob("*/*"))


class SavedDisks:
    """Named copies of all disks, with the record of the lab at that moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """List the complete sets."""
        return sorted(path.name for path in self.folder.glob("*") if (path / "state.json").exists())

    def save(self, name: str, disks: Mapping[str, Disk], record: Record) -> None:
        """Copy every disk; a set is complete when its record is written, last of all."""
        _check_name(name)
        target = self.folder / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for server, disk in disks.items():
            _copy(disk.upper, target / server)
        write_atomically(target / "state.json", dump(record))

    def load(self, name: str) -> Record:
        """Give the record of a complete set."""
        _check_name(name)
        path = self.folder / name / "state.json"
        if not path.exists():
            known = ", ".join(self.names()) or "none"
            raise LabError(f"no disks are saved as {name!r}", hint=f"saved: {known}")
        return parse(path.read_text())

    def restore(self, name: str, disks: Mapping[str, Disk]) -> None:
        """Put the disks of a set back; a restore that was interrupted is done again from the start."""
        for server, disk in disks.items():
            fresh = disk.folder / "upper.new"
            shutil.rmtree(fresh, ignore_errors=True)
            _copy(self.folder / name / server, fresh)
            for old in (disk.upper, disk.work):
                shutil.rmtree(old, ignore_errors=True)
            fresh.rename(disk.upper)
            disk.work.mkdir(mode=0o755)
        os.sync()  # else the copies are written out under whatever is measured next


def inspect(
    disk: Disk, image: str, scratch: Path, cgroup: Path, argv: Sequence[str], timeout_s: float
) -> dict[str, object]:
    """Run a program on a copy-on-write view of a disk, with no network; the disk stays as it is.

    The disk becomes a lower layer, which overlayfs never writes to.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    upper, work, root = (scratch / part for part in ("upper", "work", "root"))
    for path in (upper, work, root):
        path.mkdir(parents=True)
    try:
        mount_overlay(f"{disk.source}-inspect", root, lower=f"{disk.upper}:{image}", upper=upper, work=work)
        try:
            return _run_isolated(cgroup, isolated_command(disk, root, argv), timeout_s)
        finally:
            unmount(str(root), MNT_DETACH)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def isolated_command(disk: Disk, root: Path, argv: Sequence[str]) -> list[str]:
    """Give the argument vector that runs a program in a container without network or boot."""
    return [
        "systemd-nspawn", "--quiet", "--settings=no", f"--directory={root}",
        f"--machine={disk.source.removeprefix('mainstay-')}-inspect", f"--hostname={disk.folder.name}",
        "--private-network", "--as-pid2", "--keep-unit", "--register=no", "--link-journal=no",
        "--resolv-conf=off", "--timezone=off", "--pipe", "--", *argv,
    ]  # fmt: skip


def _run_isolated(cgroup: Path, command: Sequence[str], timeout_s: float) -> dict[str, object]:
    cgroup.mkdir(exist_ok=True)
    container = subprocess.Popen(
        in_cgroup(cgroup, command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        stdout, stderr = container.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill(cgroup)
        container.communicate()
        program = " ".join(command[command.index("--") + 1 :])
        raise LabError(f"{program}: no end within {timeout_s:.0f} s") from None
    finally:
        kill(cgroup)
        await_empty(cgroup)
        remove_cgroup(cgroup)
    if len(stdout) + len(stderr) > OUTPUT_BYTES:
        raise LabError(f"the program printed more than {OUTPUT_BYTES >> 20} MiB")
    texts = {"stdout": stdout.decode(errors="replace"), "stderr": stderr.decode(errors="replace")}
    return {"exit_code": container.returncode, **texts}


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise LabError(f"{name!r} cannot name a set of disks; use small letters, digits and dashes")


def _copy(source: Path, target: Path) -> None:
    run(["cp", "--archive", "--reflink=auto", "--no-target-directory", str(source), str(target)])
