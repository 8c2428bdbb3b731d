"""Make a change: what was is kept first, a switch is armed, and what is not valid is put back at once."""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.baseline import revert as program
from ansible.module_utils.baseline import sshd, ways_in
from ansible.module_utils.baseline.drafts import Drafts, Refused
from ansible.module_utils.baseline.keeping import keep, missing_folders, reloads, set_aside
from ansible.module_utils.baseline.kernel import write_all
from ansible.module_utils.baseline.revert import SSH_UNITS, Host, marker, replace
from ansible.module_utils.baseline.switch import arm
from ansible.module_utils.baseline.wanted import Wanted

CHANGES = "/var/lib/mainstay-changes"
KEPT_DAYS = 730  # CJIS CM-3-e: records of changes for two years
PID_FILE = "/run/sshd.pid"
REREAD_S = 10.0
UNTOLD_S = 1.0  # an sshd that leaves no note: a reload takes some 20 ms
SUDOERS = ("/etc/sudoers", "/etc/sudoers.d/")


class Failed(Exception):
    """A change that was begun and is put back; the message says how that went."""


class Edited(Exception):
    """A file that somebody changed while a change was being made, before this did."""

    def __init__(self, path: str):
        super().__init__(f"{path} was edited meanwhile")
        self.path = path


@dataclass(frozen=True)
class Asked:
    """Of whom a change is, and how long its switch waits."""

    change: str
    switch_s: float
    login: sshd.Login | None


def make(host: Host, wanted: Wanted, asked: Asked) -> bool:
    """Make the change; give whether a switch is armed that somebody has to disarm.

    Raises:
        Refused: nothing was changed.
        Failed: what was changed is put back.
    """
    check(wanted, asked)
    locking_out = [*_of_risk(wanted, "R2"), *ways_in.touched(wanted)]
    risky = bool(locking_out)
    if risky and not asked.switch_s:
        raise Refused(f"{locking_out[0]} may lock people out, and switch_s is 0")
    with _alone(host) as changes:
        _prune(changes)
        _refuse_armed(changes)
        _refuse_stale(host, wanted)
        folder = changes / asked.change
        fresh = False
        try:
            set_aside(folder)
            fresh = not folder.exists()
            keep(host, wanted, folder)
            if risky:
                arm(host, folder, asked.switch_s)
        except OSError as error:
            if fresh:  # no trace is left of what this very call kept: nothing was done that it is needed for
                shutil.rmtree(folder, ignore_errors=True)
            raise Refused(f"what it takes to put it back is not there: {error}") from error
        try:
            _apply(host, wanted)
            _validate(host, wanted)
            _reload(host, wanted)
            if not risky:
                program.mark(folder, "kept")
            elif _was_due(folder):
                raise OSError("the switch's time was up before all was changed")
        except Edited as error:
            with contextlib.suppress(OSError):
                program.spare(folder, error.path)
            raise Failed(_put_back(host, folder, str(error))) from error
        except Exception as error:  # the outer edge: a host is not left half changed for a bug
            raise Failed(_put_back(host, folder, str(error))) from error
        return risky


def _of_risk(wanted: Wanted, risk: str) -> list[str]:
    return [item.what for item in wanted.items if item.changed and item.risk == risk]


def _was_due(folder: Path) -> bool:
    marked = marker(folder)
    return marked["state"] != "armed" or bool(marked["failed"])


# --- before anything is changed -------------------------------------------------------------------


def check(wanted: Wanted, asked: Asked) -> None:
    """See that the automation user would still be let in, and that what is there is sound.

    Raises:
        Refused: it would not be.
    """
    host, paths = wanted.host, [draft.path for draft in wanted.drafts.changed()]
    if any(path.startswith(SUDOERS) for path in paths):
        code, out, err = host.run("visudo", "-c")
        if code:
            raise Refused(f"the sudoers files of this host are faulty already: {err.strip() or out.strip()}")
    if not sshd.reads_otherwise(wanted.drafts):
        return
    if asked.login is None:
        raise Refused("settings of sshd differ, and no login is given to see that it is still let in")
    with sshd.tree(host, wanted.drafts) as folder:
        effective = sshd.ask_for(host, folder, asked.login)
    why = sshd.lets_in(effective, asked.login, groups_of(asked.login.user))
    if why:
        raise Refused(f"it would lock the automation user out: {why}")
    _refuse_other_doors(host, wanted, effective)


def groups_of(user: str) -> list[str]:
    """Name the groups of a user of this host, as sshd takes them.

    Raises:
        Refused: there is no such user.
    """
    try:
        numbers = os.getgrouplist(user, pwd.getpwnam(user).pw_gid)
    except KeyError:
        raise Refused(f"there is no user {user} on this host to let in") from None
    names = []
    for number in numbers:
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return names


def _refuse_other_doors(host: Host, wanted: Wanted, then: sshd.Effective) -> None:
    """Refuse a change of addresses or ports that sshd listens at: we would come to one that is gone."""
    with sshd.tree(host, Drafts(host)) as folder:
        now = sshd.ask(host, folder)
    for name in ("listenaddress", "port"):
        gone = set(now.get(name, ())) - set(then.get(name, ()))
        if gone:
            raise Refused(f"sshd would no longer listen at {name} {', '.join(sorted(gone))}")


@contextlib.contextmanager
def _alone(host: Host) -> Iterator[Path]:
    """Hold the changes of this host alone."""
    changes = host.at(CHANGES)
    changes.mkdir(mode=0o700, parents=True, exist_ok=True)
    changes.chmod(0o700)
    with (changes / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another change of this host is being made now") from None
        yield changes


def _folders(changes: Path) -> list[Path]:
    return [folder for folder in sorted(changes.iterdir()) if (folder / "bundle.json").is_file()]


def _refuse_armed(changes: Path) -> None:
    for folder in _folders(changes):
        marked = marker(folder)
        if marked["state"] == "armed":
            failed = "".join(f"; not so far {what}: {why}" for what, why in marked["failed"].items())
            raise Refused(
                f"change {folder.name} is armed until {marked['until']} and reverts itself then{failed}; "
                f"if it did not, run python3 -I {folder}/revert.py revert"
            )


def _refuse_stale(host: Host, wanted: Wanted) -> None:
    """Refuse what was made of files before this change was alone, if they were edited since."""
    for draft in wanted.drafts.changed():
        if draft.is_stale(host.at(draft.path)):
            raise Refused(f"{draft.path} was edited meanwhile")


def _prune(changes: Path) -> None:
    """Remove what was kept for two years; never what is armed."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in _folders(changes):
        if (folder / "bundle.json").stat().st_mtime < oldest and marker(folder)["state"] != "armed":
            shutil.rmtree(folder)


# --- the change itself ----------------------------------------------------------------------------


def _apply(host: Host, wanted: Wanted) -> None:
    """Change what differs.

    Raises:
        Edited: somebody else changed a file meanwhile; what was before it is.
        OSError: something could not be changed; what was before it is.
    """
    for folder in missing_folders(host, wanted):
        host.at(folder).mkdir(mode=0o755)
        host.at(folder).chmod(0o755)
    for draft in wanted.drafts.changed():
        place = host.at(draft.path)
        if draft.is_stale(place):
            raise Edited(draft.path)
        if draft.changes_content:
            replace(place, draft.content, draft.rights)
        else:
            program.put_rights(place, draft.rights)
    write_all(host, wanted)
    for unit, (before, after) in wanted.units.items():
        program.set_unit(host, unit, before, after)


def _validate(host: Host, wanted: Wanted) -> None:
    """See that the whole of what was touched is sound.

    Raises:
        OSError: it is not.
    """
    if sshd.reads_otherwise(wanted.drafts):
        host.must(sshd.PROGRAM, "-t")
    if any(draft.path.startswith(SUDOERS) for draft in wanted.drafts.changed()):
        host.must("visudo", "-c")


def _reload(host: Host, wanted: Wanted) -> None:
    """Have what runs read its files again; a login after this meets an sshd that did.

    Raises:
        OSError: something does not; a login would prove nothing.
    """
    for unit in reloads(host, wanted):
        if unit in SSH_UNITS:
            _reload_sshd(host, unit)
        else:
            host.must("systemctl", "try-reload-or-restart", unit)


def _reload_sshd(host: Host, unit: str) -> None:
    if program.has_ssh_socket(host):
        host.must("systemctl", "try-restart", unit)
        return
    before = _note(host, unit)
    host.must("systemctl", "try-reload-or-restart", unit)
    if not before:
        time.sleep(UNTOLD_S)
    deadline = time.monotonic() + REREAD_S
    while before and _note(host, unit) in ("", before):  # it is only told by a signal
        if time.monotonic() > deadline:
            raise OSError(f"{unit} has not read its files again in {REREAD_S:g} s")
        time.sleep(0.05)


def _note(host: Host, unit: str) -> str:
    """Say which note of its own number sshd left last; empty: none, `PidFile` says otherwise.

    It writes a new one whenever it has read its files and listens.
    """
    _, pid, _ = host.run("systemctl", "show", "--property=MainPID", "--value", unit)
    note = host.at(PID_FILE)
    with contextlib.suppress(OSError):
        seen = note.stat()
        if note.read_text(encoding="ascii", errors="replace").strip() == pid.strip():
            return f"{seen.st_ino} {seen.st_mtime_ns}"
    return ""


def _put_back(host: Host, folder: Path, why: str) -> str:
    """Put all back at once; say how that went."""
    why = " ".join(why.split())
    said = program.revert(folder, host, why=why, always=True)
    if said["failed"]:
        left = "; ".join(f"{what}: {error}" for what, error in said["failed"].items())
        return f"{why}; not all could be put back: {left}"
    return f"{why}; all was put back"
