"""Make a change: what was is kept first, a switch is armed, and what is not valid is put back at once."""

from __future__ import annotations

import fcntl
import grp
import os
import pwd
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ansible.module_utils.baseline import revert as program
from ansible.module_utils.baseline import sshd
from ansible.module_utils.baseline.drafts import Draft, Drafts, Refused
from ansible.module_utils.baseline.kernel import FOLLOWING, kernel_names, kernel_path, kernel_value
from ansible.module_utils.baseline.revert import SSH_UNITS, Host, marker, replace, sync_folder, write_json
from ansible.module_utils.baseline.wanted import Wanted

CHANGES = "/var/lib/mainstay-changes"
KEPT_DAYS = 730  # CJIS CM-3-e: records of changes for two years
SUDOERS = ("/etc/sudoers", "/etc/sudoers.d/")


class Failed(Exception):
    """A change that was begun and is put back; the message says how that went."""


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
    risky = any(item.changed and item.risk == "R2" for item in wanted.items)
    if risky and not asked.switch_s:
        raise Refused("a setting of risk R2 may lock people out, and switch_s is 0")
    with _alone(host) as changes:
        _prune(changes)
        _refuse_armed(changes)
        folder = changes / asked.change
        fresh = marker(folder)["state"] != "none" or not folder.exists()
        _keep(host, wanted, folder)
        if risky:
            _arm(host, folder, asked, fresh)
        try:
            _apply(host, wanted)
            _validate(host, wanted)
            _reload(host, wanted)
            if not risky:
                program.mark(folder, "kept")
            elif marker(folder)["state"] != "armed":
                raise OSError("the switch's time was up before all was changed")
        except Exception as error:  # the outer edge: a host is not left half changed for a bug
            raise Failed(_put_back(host, folder, str(error))) from error
        return risky


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
    if not any(
        draft.changes_content and draft.path.startswith(f"{sshd.FOLDER}/")
        for draft in wanted.drafts.changed()
    ):
        return
    if asked.login is None:
        raise Refused("settings of sshd differ, and no login is given to see that it is still let in")
    with sshd.tree(host, wanted.drafts) as folder:
        effective = sshd.ask_for(host, folder, asked.login)
    why = sshd.lets_in(effective, asked.login, _groups(asked.login.user))
    if why:
        raise Refused(f"it would lock the automation user out: {why}")
    _refuse_other_doors(host, wanted, effective)


def _groups(user: str) -> list[str]:
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


@contextmanager
def _alone(host: Host) -> Iterator[Path]:
    """Hold the changes of this host alone."""
    changes = host.at(CHANGES)
    changes.mkdir(mode=0o700, parents=True, exist_ok=True)
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
            raise Refused(
                f"change {folder.name} is armed until {marked['until']} and reverts itself then; "
                f"if it did not, run python3 -I {folder}/revert.py revert"
            )


def _prune(changes: Path) -> None:
    """Remove what was kept for two years; never what is armed."""
    oldest = time.time() - KEPT_DAYS * 86_400
    for folder in _folders(changes):
        if (folder / "bundle.json").stat().st_mtime < oldest and marker(folder)["state"] != "armed":
            shutil.rmtree(folder)


# --- what was -------------------------------------------------------------------------------------


def _keep(host: Host, wanted: Wanted, folder: Path) -> None:
    """Write all that an undo needs, so that it is there whatever happens then.

    A change that is made again after it was cut short keeps what was before the first time. One that ended
    and whose name is used again is kept under a name of its own.
    """
    if marker(folder)["state"] != "none":
        number = next(n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}-{n}").exists())
        folder.rename(folder.with_name(f"{folder.name}-{number}"))
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "files").mkdir(mode=0o700, exist_ok=True)
    old = program.read_json(folder / "bundle.json") if (folder / "bundle.json").exists() else {}
    files = {file["path"]: file for file in old.get("files", ())}
    for draft in wanted.drafts.changed():
        files[draft.path] = _kept_file(folder, draft, files.get(draft.path), len(files))
    kernel = {value["name"]: value for value in old.get("kernel", ())}
    for name, was, then in _kernel(host, wanted):
        kept = kernel.get(name, {"name": name, "path": kernel_path(name), "was": was})
        kernel[name] = {**kept, "wrote": then}
    units = {unit["unit"]: unit for unit in old.get("units", ())}
    for unit, (before, after) in wanted.units.items():
        units[unit] = {**units.get(unit, {"unit": unit, "was": before}), "wrote": after}
    bundle = {
        "change": folder.name,
        "made_at": old.get("made_at") or program.now_text(),
        "boot_id": host.boot_id(),
        "files": list(files.values()),
        "folders": [*old.get("folders", ()), *_missing_folders(host, wanted)],
        "kernel": sorted(kernel.values(), key=lambda value: (value["name"] not in FOLLOWING, value["name"])),
        "units": list(units.values()),
        "reloads": sorted({*old.get("reloads", ()), *_reloads(host, wanted)}),
        "settings": _seen(wanted, old.get("settings", ())),
    }
    source = program.__loader__.get_source(program.__name__)  # from Ansible's archive as from a folder
    (folder / "revert.py").write_text(source)
    for path in (folder / "revert.py", *(folder / "files").iterdir()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder / "files")
    write_json(folder / "bundle.json", bundle)
    sync_folder(folder.parent)


def _seen(wanted: Wanted, old: Sequence[dict]) -> list[dict]:
    """Give what became of each setting; what a change did before it was cut short counts as changed."""
    changed = {(one["control"], one["what"]): one for one in old if one["changed"]}
    items = [item.shown() for item in wanted.items]
    return [
        {**one, "before": first["before"], "changed": True}
        if (first := changed.get((one["control"], one["what"])))
        else one
        for one in items
    ]


def _kept_file(folder: Path, draft: Draft, old: dict | None, number: int) -> dict:
    if old is not None and (old["kept"] is not None or old["was"] is None or not draft.changes_content):
        return {**old, "wrote": draft.wrote()}
    kept, sha256 = None, ""
    if draft.was is not None and draft.changes_content:
        kept = f"files/{number}"
        (folder / kept).write_bytes(draft.before)
        sha256 = program.digest(folder / kept)
    was = old["was"] if old is not None else draft.was
    return {"path": draft.path, "kept": kept, "sha256": sha256, "was": was, "wrote": draft.wrote()}


def _kernel(host: Host, wanted: Wanted) -> Iterator[tuple[str, str, str | None]]:
    """Give each value of the kernel that is written, and those that follow from it."""
    for name, (was, value) in wanted.kernel.items():
        for pattern in FOLLOWING.get(name, ()):
            for one in kernel_names(host, pattern):
                if one not in wanted.kernel:
                    yield one, kernel_value(host, one), None  # whatever the kernel makes of it
        yield name, was, value


def _missing_folders(host: Host, wanted: Wanted) -> list[str]:
    """Name the folders that have to be made, the outer ones first."""
    missing = {
        str(parent)
        for draft in wanted.drafts.changed()
        for parent in Path(draft.path).parents
        if not host.at(parent).exists()
    }
    return sorted(missing)


def _reloads(host: Host, wanted: Wanted) -> list[str]:
    """Name the running units that read their files again."""
    units = list(wanted.reloads)
    if any(
        draft.changes_content and draft.path.startswith(f"{sshd.FOLDER}/")
        for draft in wanted.drafts.changed()
    ):
        units += SSH_UNITS
    seen: dict[str, str] = {}  # ssh.service and sshd.service are one unit under two names
    for unit in units:
        _, out, _ = host.run("systemctl", "show", "--property=Id,ActiveState", unit)
        said = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if said.get("ActiveState") in ("active", "reloading"):
            seen[said.get("Id", unit)] = unit
    return list(seen)


# --- the switch -----------------------------------------------------------------------------------


def _arm(host: Host, folder: Path, asked: Asked, fresh: bool) -> None:
    """Have the change put back in time, and at the next boot, unless somebody says that he still gets in.

    Where that cannot be, a fresh change leaves no trace: nothing was done yet that could be put back.
    """
    command = f"{sys.executable} -I {host.at(CHANGES)}/{asked.change}/revert.py revert"
    until = datetime.now(timezone.utc) + timedelta(seconds=asked.switch_s)  # noqa: UP017
    try:
        _enable_at_boot(host, asked.change, command)
        host.must(
            "systemd-run",
            "--quiet",
            "--collect",
            f"--unit={program.timer_unit(asked.change).removesuffix('.timer')}",
            f"--description=Put change {asked.change} back unless it is confirmed",
            f"--on-active={asked.switch_s:g}",
            "--timer-property=AccuracySec=1s",
            "--timer-property=RemainAfterElapse=no",
            *command.split(),
        )
        host.must("systemctl", "is-active", program.timer_unit(asked.change))
        program.mark(folder, "armed", until=until.isoformat(timespec="seconds"))
    except OSError as error:
        program.disarm(host, asked.change)
        if fresh:
            shutil.rmtree(folder)
        raise Refused(f"the dead-man switch cannot be armed: {error}") from error


def _enable_at_boot(host: Host, change: str, command: str) -> None:
    unit, link = program.boot_paths(host, change)
    link.parent.mkdir(parents=True, exist_ok=True)
    content = (
        f"[Unit]\nDescription=Put change {change} back, which nobody confirmed before this boot\n"
        "After=local-fs.target\nBefore=ssh.service sshd.service ssh.socket sshd.socket\n\n"
        f"[Service]\nType=oneshot\nExecStart={command}\nTimeoutStartSec=60\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    uid, gid = host.owner
    replace(unit, content.encode(), {"mode": 0o644, "uid": uid, "gid": gid, "xattrs": {}})
    link.unlink(missing_ok=True)
    link.symlink_to(f"../{unit.name}")
    sync_folder(link.parent)


# --- the change itself ----------------------------------------------------------------------------


def _apply(host: Host, wanted: Wanted) -> None:
    """Change what differs.

    Raises:
        OSError: something could not be changed; what was before it is.
    """
    for folder in _missing_folders(host, wanted):
        host.at(folder).mkdir(mode=0o755)
        host.at(folder).chmod(0o755)
    for draft in wanted.drafts.changed():
        place = host.at(draft.path)
        if draft.changes_content:
            replace(place, draft.content, draft.rights)
        else:
            program.put_rights(place, draft.rights)
    for name in sorted(wanted.kernel, key=lambda name: (name not in FOLLOWING, name)):
        host.at(kernel_path(name)).write_text(wanted.kernel[name][1])
    for name, (_, value) in wanted.kernel.items():
        now = kernel_value(host, name)
        if now != value:
            raise OSError(f"the kernel made {now} of {name} = {value}")
    for unit, (before, after) in wanted.units.items():
        program.set_unit(host, unit, before, after)


def _validate(host: Host, wanted: Wanted) -> None:
    """See that the whole of what was touched is sound.

    Raises:
        OSError: it is not.
    """
    paths = [draft.path for draft in wanted.drafts.changed()]
    if any(path.startswith(f"{sshd.FOLDER}/") for path in paths):
        host.must(sshd.PROGRAM, "-t")
    if any(path.startswith(SUDOERS) for path in paths):
        host.must("visudo", "-c")


def _reload(host: Host, wanted: Wanted) -> None:
    for unit in _reloads(host, wanted):
        host.must("systemctl", "try-reload-or-restart", unit)


def _put_back(host: Host, folder: Path, why: str) -> str:
    """Put all back at once; say how that went."""
    why = " ".join(why.split())
    said = program.revert(folder, host, why=why, always=True)
    if said["failed"]:
        left = "; ".join(f"{what}: {error}" for what, error in said["failed"].items())
        return f"{why}; not all could be put back: {left}"
    return f"{why}; all was put back"
