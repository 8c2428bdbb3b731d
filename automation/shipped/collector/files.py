"""Files: how those that matter are kept, and what one walk over the local disks finds."""

from __future__ import annotations

import functools
import glob
import grp
import os
import pwd
import stat
import time
from collections.abc import Callable, Iterator

from .system import TYPE_CHECKING, lines, read

if TYPE_CHECKING:
    from typing import Any

KEPT = (
    "/etc/passwd",
    "/etc/passwd-",
    "/etc/group",
    "/etc/group-",
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/shells",
    "/etc/security/opasswd",
    "/etc/ssh/sshd_config",
    "/etc/sudoers",
    "/etc/crontab",
    "/etc/hosts.allow",
    "/etc/issue",
    "/etc/issue.net",
    "/etc/motd",
)
PATTERNS = ("/etc/ssh/ssh_host_*_key", "/etc/ssh/sshd_config.d/*.conf", "/etc/sudoers.d/*")
REMOTE = ("nfs", "nfs4", "cifs", "ceph", "fuse.sshfs", "9p", "autofs", "glusterfs")
NO_DISK = (
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "debugfs",
    "tracefs",
    "bpf",
    "securityfs",
    "pstore",
    "configfs",
    "fusectl",
    "hugetlbfs",
    "rpc_pipefs",
    "binfmt_misc",
)
MOST = 2000


def collect_files() -> dict[str, Any]:
    """Give owner, group and mode of the files that matter and are there."""
    found = {}
    for path in (*KEPT, *(one for pattern in PATTERNS for one in sorted(glob.glob(pattern)))):
        if os.path.exists(path):
            about = os.stat(path)
            found[path] = {
                "mode": f"{about.st_mode & 0o7777:04o}",
                "owner": name_of(pwd.getpwuid, about.st_uid),
                "group": name_of(grp.getgrgid, about.st_gid),
                "others_may_read": bool(about.st_mode & 0o004),
                "others_may_write": bool(about.st_mode & 0o002),
                "group_may_write": bool(about.st_mode & 0o020),
                "private": path.startswith("/etc/ssh/ssh_host_") and path.endswith("_key"),
            }
    return found


def name_of(look: Any, number: int) -> str:
    """Give the name of an owner; one that nobody has is its number."""
    try:
        return str(look(number)[0])
    except KeyError:
        return str(number)


def collect_tree(walk_s: float) -> dict[str, Any]:
    """Walk the local disks once; what a walk that was cut short did not see is not said to be well.

    Args:
        walk_s: after so many seconds it stops, and says so.
    """
    walk = Walk(time.monotonic() + walk_s)
    for where in local_disks():
        walk.below(where)
    found = (walk.suid, walk.writable, walk.folders, walk.unowned)
    whole = not walk.cut and max(map(len, found)) <= MOST
    return {
        "suid": sorted(walk.suid)[:MOST],
        "world_writable": sorted(walk.writable)[:MOST],
        "open_folders": sorted(walk.folders)[:MOST],
        "unowned": sorted(walk.unowned)[:MOST],
        "files": walk.files,
        **({"whole": True} if whole else {}),
    }


def local_disks() -> Iterator[str]:
    """Give where the disks of this machine are mounted."""
    for line in lines(read("/proc/self/mounts"), comment="\0"):
        _, where, kind = line.split()[:3]
        if (
            kind not in REMOTE
            and kind not in NO_DISK
            and not where.startswith(("/proc", "/sys", "/run/user"))
        ):
            yield where.encode().decode("unicode_escape")


class Walk:
    """One walk, and what it found so far."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.suid: list[str] = []
        self.writable: list[str] = []
        self.folders: list[str] = []
        self.unowned: list[str] = []
        self.files = 0
        self.cut = False
        self._users: set[int] = {one.pw_uid for one in pwd.getpwall()}
        self._groups: set[int] = {one.gr_gid for one in grp.getgrall()}
        self._devices: set[int] = set()

    def below(self, where: str) -> None:
        """Look at all below a mount point that is on the same disk; a disk is walked once."""
        about = self._look(lambda: os.lstat(where))
        if about is None or about.st_dev in self._devices or not stat.S_ISDIR(about.st_mode):
            return
        self._devices.add(about.st_dev)
        self._note(where, about)
        open_ = [where]
        while open_:
            self._folder(open_.pop(), about.st_dev, open_)
            if time.monotonic() > self.until:
                self.cut = True
                return

    def _folder(self, folder: str, device: int, open_: list[str]) -> None:
        """Look at what is in one folder; what went away meanwhile is none, what cannot be seen is missed."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    about = self._look(functools.partial(entry.stat, follow_symlinks=False))
                    if about is None or about.st_dev != device:
                        continue
                    self._note(entry.path, about)
                    if stat.S_ISDIR(about.st_mode):
                        open_.append(entry.path)
        except FileNotFoundError:
            return
        except OSError:
            self.cut = True

    def _look(self, at: Callable[[], os.stat_result]) -> os.stat_result | None:
        try:
            return at()
        except FileNotFoundError:
            return None
        except OSError:
            self.cut = True
            return None

    def _note(self, path: str, about: os.stat_result) -> None:
        mode = about.st_mode
        self.files += 1
        if about.st_uid not in self._users or about.st_gid not in self._groups:
            self.unowned.append(path)
        if stat.S_ISLNK(mode):
            return
        if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
            self.suid.append(path)
        if mode & stat.S_IWOTH:
            if stat.S_ISREG(mode):
                self.writable.append(path)
            elif stat.S_ISDIR(mode) and not mode & stat.S_ISVTX:
                self.folders.append(path)


SECTIONS = {"files": collect_files}
