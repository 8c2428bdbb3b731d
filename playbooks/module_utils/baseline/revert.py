"""Put a change of a baseline back, confirm it, or say what became of it: the dead-man switch of a host.

It lies in the folder of its change, beside what was before, and is run by a timer, at boot, by Mainstay, or
by hand: python3 -I revert.py revert|confirm|undo|state [--edited PATH ...]. Prints JSON; needs only Python.
One file, however long: a host that nobody can log in to any more has to find all of it in that one place.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import stat
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

PROGRAM_S = 60.0
LOCK_S = 20.0  # whoever holds the lock for longer hangs; a host is not left locked out for that
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_S = 10.0  # a unit that takes longer to start is told all the same
SSH_UNITS = ("ssh.service", "sshd.service")
SSH_SOCKETS = ("ssh.socket", "sshd.socket")
LATE = "no fresh login confirmed it in time"
REBOOTED = "the host was booted before a fresh login confirmed it"


# --- this machine ---------------------------------------------------------------------------------


class Host:
    """This machine, or a folder that stands for its root in a test."""

    def __init__(self, root="/", owner=(0, 0)):
        self.root = Path(root)
        self.owner = owner

    def at(self, path) -> Path:
        """Give where a path of the host is."""
        return self.root / str(path).lstrip("/")

    def run(self, *words, timeout_s=PROGRAM_S):
        """Run a program; give its exit code and what it said."""
        environment = {"PATH": SEARCHED, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                env=environment,
                check=False,
            )
        except FileNotFoundError:
            return 127, "", f"there is no program {words[0]}"
        except subprocess.TimeoutExpired:
            return 124, "", f"{words[0]} did not end in {timeout_s:g} s"
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def must(self, *words):
        """Run a program that has to end well."""
        code, out, err = self.run(*words)
        if code:
            raise OSError(f"{' '.join(words)}: {err.strip() or out.strip() or f'exit code {code}'}")
        return out

    def boot_id(self) -> str:
        """Name this boot of the kernel."""
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# --- files ----------------------------------------------------------------------------------------


def sync_folder(folder: Path) -> None:
    """Make names of a folder outlast a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rights(path: Path) -> dict:
    """Give what a file is, its content apart."""
    seen = path.lstat()
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # a file system that has none
        names = []
    return {
        "mode": stat.S_IMODE(seen.st_mode),
        "uid": seen.st_uid,
        "gid": seen.st_gid,
        "mtime_ns": seen.st_mtime_ns,
        "xattrs": {
            name: base64.b64encode(os.getxattr(path, name, follow_symlinks=False)).decode()
            for name in sorted(names)
        },
    }


def put_rights(path: Path, wanted: dict) -> None:
    """Give a file its owner, group, mode, extended attributes (among them its ACL) and time."""
    now = rights(path)
    if (now["uid"], now["gid"]) != (wanted["uid"], wanted["gid"]):
        os.chown(path, wanted["uid"], wanted["gid"])
    path.chmod(wanted["mode"])
    for name in set(now["xattrs"]) - set(wanted["xattrs"]):
        os.removexattr(path, name)
    for name, value in wanted["xattrs"].items():
        if now["xattrs"].get(name) != value:
            os.setxattr(path, name, base64.b64decode(value))
    if "mtime_ns" in wanted:
        os.utime(path, ns=(wanted["mtime_ns"], wanted["mtime_ns"]))


def draft_of(path: Path) -> Path:
    """Give where a file is written before it takes its place; no program reads a name like it."""
    return path.with_name(f".{path.name}.baseline")


def replace(path: Path, content: bytes, wanted: dict) -> None:
    """Put a whole file in its place, so that it is old or new and never half."""
    draft = draft_of(path)
    try:
        # The draft is nobody else's from its first byte; a link somebody laid there is not followed.
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        put_rights(draft, wanted)
        draft.rename(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    sync_folder(path.parent)


def digest(path: Path) -> str:
    """Give the sha256 of a file; empty if it is not there."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return ""


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: dict) -> None:
    """Write a file that is whole whenever the power goes."""
    draft = path.with_name(f".{path.name}")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


# --- the marker, the timer and the unit at boot ---------------------------------------------------


def now_text() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")  # noqa: UP017 - Python 3.9 runs it too


def marker(folder: Path) -> dict:
    """Give what became of a change so far; state `none` while nothing is known."""
    none = {"state": "none", "at": "", "until": "", "why": "", "restored": [], "left": {}, "failed": {}}
    try:
        return {**none, **read_json(folder / "marker.json")}
    except FileNotFoundError:
        return none


def mark(folder: Path, state: str, why: str = "", **more) -> dict:
    """Say what became of a change, so that a loss of power does not unsay it."""
    fresh = {"restored": [], "left": {}, "failed": {}}
    marked = {**marker(folder), **fresh, **more, "state": state, "at": now_text(), "why": why}
    write_json(folder / "marker.json", marked)
    return marked


@contextlib.contextmanager
def locked(folder: Path, whatever: bool = False):
    """Hold a change alone: of a confirmation and a revert at one time only the first counts.

    With `whatever` it goes on without the lock where that cannot be had: only a revert may. The file is there
    since the change was kept, and only read: a full disk or one turned read-only is no hindrance.
    """
    with contextlib.ExitStack() as held:
        try:
            _hold(held.enter_context((folder / "lock").open("rb")))
        except OSError:
            if not whatever:
                raise
        yield


def _hold(file) -> None:
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"somebody else holds {file.name} for more than {LOCK_S:g} s") from None
            time.sleep(0.1)
        else:
            return


def boot_unit(change: str) -> str:
    return f"mainstay-revert-{change}-at-boot.service"


def timer_unit(change: str) -> str:
    return f"mainstay-revert-{change}.timer"


def boot_paths(host: Host, change: str):
    """Give where the unit at boot lies, and the link by which it is enabled."""
    units = host.at("/etc/systemd/system")
    return units / boot_unit(change), units / "multi-user.target.wants" / boot_unit(change)


def disarm(host: Host, change: str) -> None:
    """Take the timer and the unit at boot away; what they would do is settled by the marker already."""
    for path in boot_paths(host, change):
        with contextlib.suppress(OSError):
            path.unlink()
    host.run("systemctl", "--no-block", "stop", timer_unit(change))


# --- putting back ---------------------------------------------------------------------------------


class Restoring:
    """One go at putting a change back: item by item, whatever fails."""

    def __init__(self, host: Host, folder: Path):
        self.host = host
        self.folder = folder
        self.bundle = read_json(folder / "bundle.json")
        self.before = marker(folder)
        self.restored: list = []
        self.left: dict = {}
        self.failed: dict = {}

    def all(self) -> None:
        """Put everything back, edited since or not."""
        self.undo(edited=None)

    def undo(self, edited) -> None:
        """Put back what nobody changed since, and of the files what is named; None stands for all."""
        bundle = self.bundle
        for file in bundle["files"]:
            self._do(file["path"], self._file, file, edited)
        for made in reversed(bundle["folders"]):
            with contextlib.suppress(OSError):  # not empty: somebody uses it since
                self.host.at(made).rmdir()
        for value in bundle["kernel"]:
            self._do(f"sysctl {value['name']}", self._kernel, value, edited is None)
        for unit in bundle["units"]:
            self._do(f"unit {unit['unit']}", self._unit, unit, edited is None)
        for path in set(edited or ()) - {file["path"] for file in bundle["files"]}:
            self.left[path] = "this change did not touch it"
        self._reload()

    def _do(self, what, put_back, saved, how) -> None:
        try:
            why = put_back(saved, how)
        except Exception as error:  # the outer edge: what else can be put back must be
            self.failed[what] = f"{type(error).__name__}: {error}"
            return
        if why is None:
            self.restored.append(what)
        elif why:
            self.left[what] = why

    def _file(self, file, edited):
        """Put a file back; None: done, empty: it is so already, else why it was left."""
        path, was, wrote = self.host.at(file["path"]), file["was"], file["wrote"]
        whatever = not file.get("spared") if edited is None else file["path"] in edited
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            draft_of(path).unlink()  # of a change that a loss of power cut short
        if file["kept"] is None and was is not None:
            return self._rights(path, was, wrote, whatever)
        sha256 = digest(path)
        if sha256 == file["sha256"] and (was is None or same_rights(rights(path), was)):
            return ""
        if not whatever and sha256 not in (wrote["sha256"], file["sha256"]):
            return "edited since" if sha256 else "removed since"
        if was is None:
            path.unlink()
            sync_folder(path.parent)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, self._kept(file), was)
        return None

    def _kept(self, file) -> bytes:
        content = (self.folder / file["kept"]).read_bytes()
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise ValueError(f"{self.folder / file['kept']} is not what was kept")
        return content

    def _rights(self, path, was, wrote, whatever):
        if not path.exists():
            return "removed since"
        now = rights(path)
        if same_rights(now, was):
            return ""
        if not whatever and any(now[key] != wrote[key] for key in ("mode", "uid", "gid")):
            return "its owner or mode was changed since"
        put_rights(path, {key: value for key, value in was.items() if key != "mtime_ns"})
        return None

    def _kernel(self, value, whatever):
        path = self.host.at(value["path"])
        if not path.exists():
            return "this kernel has it no more"
        now = " ".join(path.read_text().split())
        if now == value["was"]:
            return ""
        if not whatever and value["wrote"] not in (None, now):
            return f"changed since, to {now}"
        path.write_text(value["was"])
        return None

    def _unit(self, unit, whatever):
        now = unit_state(self.host, unit["unit"])
        if now == unit["was"]:
            return ""
        if now["enabled"] == "not-found":
            return "removed since"
        if not whatever and now["enabled"] != unit["wrote"]["enabled"]:
            return f"changed since, to {now['enabled']}"
        set_unit(self.host, unit["unit"], now, unit["was"], wait=not self._booted())
        return None

    def _booted(self) -> bool:
        return self.bundle["boot_id"] != self.host.boot_id()

    def _reload(self) -> None:
        """Let what was running read its old files again."""
        again = any(what.startswith("reload ") for what in self.before["failed"])
        if not self.restored and not again:
            return
        for unit in self.bundle["reloads"]:
            code, out, err = self.host.run("systemctl", *self._verb(unit), unit)
            if code:
                self.failed[f"reload {unit}"] = err.strip() or out.strip() or f"exit code {code}"

    def _verb(self, unit):
        """Say how a unit is told; at boot one that failed is started, and others start by themselves.

        A reload of what is starting is lost; a restart of sshd comes after its start, and ends no session.
        """
        booted = self._booted()
        active = await_start(self.host, unit) if booted else unit_state(self.host, unit)["active"]
        anew = unit in SSH_UNITS and (booted or has_ssh_socket(self.host))
        block = ("--no-block",) if booted else ()
        if active == "failed" and (booted or anew):
            return (*block, "restart")
        if anew:
            return (*block, "try-restart")
        return (*block, "try-reload-or-restart" if booted else "reload-or-restart")


def same_rights(one: dict, other: dict) -> bool:
    return all(one[key] == other[key] for key in ("mode", "uid", "gid", "xattrs"))


def unit_state(host: Host, unit: str) -> dict:
    """Say whether a unit is enabled, and whether it runs, in systemd's words."""
    _, enabled, _ = host.run("systemctl", "is-enabled", unit)
    _, active, _ = host.run("systemctl", "is-active", unit)
    return {"enabled": enabled.strip() or "not-found", "active": active.strip() or "unknown"}


def await_start(host: Host, unit: str) -> str:
    """Say whether a unit runs once it starts no more, or has been starting for too long to wait on."""
    deadline = time.monotonic() + START_S
    while (active := unit_state(host, unit)["active"]) == "activating" and time.monotonic() < deadline:
        time.sleep(0.2)
    return active


def has_ssh_socket(host: Host) -> bool:
    """Whether systemd holds sshd's socket: sshd 9.2 ends if it is told to reload then."""
    return any(unit_state(host, socket)["active"] == "active" for socket in SSH_SOCKETS)


def set_unit(host: Host, unit: str, now: dict, wanted: dict, wait: bool = True) -> None:
    """Make a unit as it was: masked or not, enabled or not, running or not."""
    block = () if wait else ("--no-block",)
    if now["enabled"].startswith("masked") and not wanted["enabled"].startswith("masked"):
        host.must("systemctl", "unmask", unit)
    if wanted["enabled"].startswith("masked"):
        host.must("systemctl", "mask", unit)
    elif wanted["enabled"] in ("enabled", "disabled"):
        host.must("systemctl", {"enabled": "enable", "disabled": "disable"}[wanted["enabled"]], unit)
    runs = wanted["active"] in ("active", "activating", "reloading")
    if runs != (now["active"] in ("active", "activating", "reloading")):
        host.must("systemctl", *block, "start" if runs else "stop", unit)
    elif not wait and not runs:  # this boot may be about to start it
        host.run("systemctl", *block, "stop", unit)


# --- what is asked of it --------------------------------------------------------------------------


def state(folder: Path) -> dict:
    """Give what became of a change, and of each of its settings."""
    bundle = folder / "bundle.json"
    return {**marker(folder), "settings": read_json(bundle)["settings"] if bundle.exists() else []}


def confirm(folder: Path, host: Host) -> dict:
    """Keep an armed change for good, unless some of it is put back already, or is to be after a boot.

    Gives what became of it; of one that a boot keeps from that, also why.

    Raises:
        OSError: somebody else holds it, or that cannot be written; it is put back in time.
    """
    with locked(folder):
        marked = marker(folder)
        same_boot = read_json(folder / "bundle.json")["boot_id"] == host.boot_id()
        if marked["state"] == "armed" and not marked["failed"] and same_boot:
            marked = mark(folder, "confirmed")
    if marked["state"] in ("confirmed", "kept"):
        disarm(host, folder.name)
    said = state(folder)
    if said["state"] == "armed" and not same_boot:
        said["why"] = said["why"] or REBOOTED
    return said


def revert(folder: Path, host: Host, why: str = "", always: bool = False) -> dict:
    """Put an armed change back; with always also one that is not armed."""
    with locked(folder, whatever=True):
        marked = marker(folder)
        if marked["state"] != "armed" and not always:
            return state(folder)
        restoring = Restoring(host, folder)
        restoring.all()
        rebooted = restoring.bundle["boot_id"] != host.boot_id()
        first = marked["why"] if marked["failed"] else ""  # of the try that this one repeats
        return _settle(restoring, "reverted", why or first or (REBOOTED if rebooted else LATE))


def spare(folder: Path, path: str) -> None:
    """Have a file left alone that somebody edited before the change came to it."""
    bundle = read_json(folder / "bundle.json")
    files = [{**file, "spared": True} if file["path"] == path else file for file in bundle["files"]]
    write_json(folder / "bundle.json", {**bundle, "files": files})


def undo(folder: Path, host: Host, edited) -> dict:
    """Put back what nobody edited since, and the files that are named.

    Raises:
        OSError: somebody else holds the change; nothing was changed.
    """
    with locked(folder):
        restoring = Restoring(host, folder)
        restoring.undo(set(edited))
        return _settle(restoring, "undone", "")


def _settle(restoring: Restoring, became: str, why: str) -> dict:
    """Say what became of it on the disk, and only then take the switch away.

    An armed change of which something could not be put back stays armed: the timer's service tries again
    every few seconds, and so does the unit of the next boot.
    """
    folder, host, before = restoring.folder, restoring.host, restoring.before
    did = {"restored": restoring.restored, "left": restoring.left, "failed": restoring.failed}
    if before["state"] == "armed":
        did["restored"] = list(dict.fromkeys([*before["restored"], *restoring.restored]))
        became = "armed" if restoring.failed else became
    try:
        mark(folder, became, why, **did)
    except OSError as error:  # armed still: it is tried again
        did["failed"] = {**restoring.failed, "marker.json": str(error)}
        return {**state(folder), **did}
    if became != "armed":
        disarm(host, folder.name)
    return state(folder)


def main(words, folder: Path, host: Host) -> int:
    """Do what is asked, print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("do", choices=("revert", "confirm", "undo", "state"))
    parser.add_argument("--edited", action="append", default=[], metavar="PATH")
    asked = parser.parse_args(words)
    try:
        said = _do(asked.do, folder, host, asked.edited)
    except OSError as error:
        said = {**state(folder), "failed": {asked.do: f"{type(error).__name__}: {error}"}}
    print(json.dumps(said, sort_keys=True))
    kept = asked.do == "confirm" and said["state"] not in ("confirmed", "kept")
    return 1 if said.get("failed") or kept else 0


def _do(what, folder: Path, host: Host, edited) -> dict:
    if what == "undo":
        return undo(folder, host, edited)
    if what == "state":
        return state(folder)
    return {"revert": revert, "confirm": confirm}[what](folder, host)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:], Path(__file__).resolve().parent, Host()))
