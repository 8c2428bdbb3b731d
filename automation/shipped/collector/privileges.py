"""Who may become root, and how logins are checked: sudo, su, PAM, and what cron and at may do."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator

from .system import TYPE_CHECKING, NotKnown, attempt, is_here, lines, pairs, read, read_if_there, run

if TYPE_CHECKING:
    from typing import Any

STACKS = ("common-auth", "common-account", "common-password", "common-session", "su", "sshd", "login", "sudo")


def collect_sudo() -> dict[str, Any]:
    """Ask sudo's own programs: whether the files parse, and what they say."""
    if not is_here("visudo"):
        raise NotKnown("sudo is not here")
    checked = attempt(["visudo", "-c"])
    if checked.returncode:
        words = (checked.stderr.strip() or checked.stdout.strip()).splitlines() or ["it refused"]
        return {"valid": False, "error": words[0][:200]}
    told = json.loads(run(["cvtsudoers", "-f", "json", "-e", "/etc/sudoers"]))
    merged: dict[str, Any] = {}
    for one in told.get("Defaults", ()):
        for option in () if one.get("Binding") else one.get("Options", ()):
            merged.update(option)
    return {
        "valid": True,
        "defaults": merged,
        "without_password": sorted(set(without_password(told))),
        "everything": sorted(set(everything(told))),
        "files": sorted(glob.glob("/etc/sudoers.d/*")),
    }


def without_password(told: dict[str, Any]) -> Iterator[str]:
    """Name who may run something as another without a password: user, or %group."""
    for spec in told.get("User_Specs", ()):
        for command in spec.get("Cmnd_Specs", ()):
            if any(option.get("authenticate") is False for option in command.get("Options", ())):
                yield from who(spec)
    for one in told.get("Defaults", ()):
        if any(option.get("authenticate") is False for option in one.get("Options", ())):
            bound = one.get("Binding", ())
            of_people = bound and all(part.keys() & {"username", "usergroup"} for part in bound)
            yield from who({"User_List": bound}) if of_people else ("everyone by Defaults",)


def everything(told: dict[str, Any]) -> Iterator[str]:
    """Name who may run everything."""
    for spec in told.get("User_Specs", ()):
        for command in spec.get("Cmnd_Specs", ()):
            if any(one.get("command") == "ALL" for one in command.get("Commands", ())):
                yield from who(spec)


def who(spec: dict[str, Any]) -> Iterator[str]:
    """Name whom a rule is for."""
    for one in spec.get("User_List", ()):
        if "username" in one:
            yield one["username"]
        elif "usergroup" in one:
            yield f"%{one['usergroup']}"
        else:
            yield "#" + str(next(iter(one.values()), ""))


def collect_pam() -> dict[str, Any]:
    """Give the stacks line by line, and the settings of the modules that read files of their own."""
    stacks = {}
    for name in STACKS:
        text = read_if_there(f"/etc/pam.d/{name}")
        if text is not None:
            stacks[name] = [" ".join(line.split()) for line in lines(text)]
    return {
        "stacks": stacks,
        "modules": {name: sorted(modules(rows)) for name, rows in stacks.items()},
        "faillock": settings("faillock"),
        "pwquality": settings("pwquality"),
        "arguments": {
            module: arguments(stacks, f"pam_{module}.so")
            for module in ("unix", "pwhistory", "faillock", "pwquality", "wheel")
        },
    }


def modules(rows: list[str]) -> Iterator[str]:
    """Name the modules of a stack; a line may have its control in brackets."""
    for row in rows:
        yield from (word for word in row.split() if word.endswith(".so"))


def settings(name: str) -> dict[str, str]:
    """Read key = value of /etc/security/<name>.conf and its drop-ins; a key without value is on."""
    found: dict[str, str] = {}
    for path in (f"/etc/security/{name}.conf", *sorted(glob.glob(f"/etc/security/{name}.conf.d/*.conf"))):
        for key, value in pairs(read_if_there(path) or "", "=").items():
            found[key] = value or "yes"
    return found


def arguments(stacks: dict[str, list[str]], module: str) -> dict[str, str]:
    """Give what a module is told in the stacks of common-*; what stands later counts."""
    found: dict[str, str] = {}
    for name in ("common-auth", "common-account", "common-password"):
        for row in stacks.get(name, ()):
            words = row.split()
            if module in words:
                for word in words[words.index(module) + 1 :]:
                    key, _, value = word.partition("=")
                    found[key] = value or "yes"
    return found


def collect_cron() -> dict[str, Any]:
    """Give who may plan jobs, how their files are kept, and each job by its hash."""
    modes = {}
    for path in (
        "/etc/crontab",
        "/etc/cron.d",
        "/etc/cron.hourly",
        "/etc/cron.daily",
        "/etc/cron.weekly",
        "/etc/cron.monthly",
    ):
        if os.path.exists(path):
            about = os.stat(path)
            modes[path] = {
                "mode": f"{about.st_mode & 0o7777:04o}",
                "uid": about.st_uid,
                "loose": bool(about.st_mode & 0o077),
            }
    jobs = sorted(
        f"{path} {hashlib.sha256(read(path).encode()).hexdigest()[:16]}"
        for pattern in (
            "/etc/crontab",
            "/etc/cron.*/*",
            "/var/spool/cron/crontabs/*",
            "/var/spool/cron/atjobs/*",
        )
        for path in glob.glob(pattern)
        if os.path.isfile(path)
    )
    return {
        "files": modes,
        "jobs": jobs,
        "allow": {name: os.path.exists(f"/etc/{name}.allow") for name in ("cron", "at")},
        "installed": {name: is_here(program) for name, program in (("cron", "cron"), ("at", "atd"))},
    }


SECTIONS = {"sudo": collect_sudo, "pam": collect_pam, "cron": collect_cron}
