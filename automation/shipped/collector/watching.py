"""What watches files for changes: the rules of the audit system, and programs that compare what they find."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator

from .system import TYPE_CHECKING, NotKnown, attempt, has_unit, is_here, lines, pairs, read, read_if_there

if TYPE_CHECKING:
    from typing import Any

# Fields that leave out none of the people, files and calls that a rule is about: auid by these signs leaves
# out daemons alone, and the clock 0 of clock_settime is the one that people live by.
HARMLESS = re.compile(r"(key|perm|path|dir)=.*|arch=b64|auid(>=|!=).*|a0=0(x0)?")
FOLDERS = ("/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly")
CRONS = ("cron.service", "crond.service", "cron.target")
JOBS = {"aide": ("aide", "dailyaidecheck"), "debsums": ("debsums",), "tripwire": ("tripwire",)}
DEBSUMS = "/etc/default/debsums"
DATABASES = ("/var/lib/aide/aide.db", "/var/lib/aide/aide.db.gz")


def collect_audit() -> dict[str, Any]:
    """Give the rules in force, those written down, and what happens when the disk is full."""
    if not is_here("auditctl"):
        raise NotKnown("auditd is not here")
    done = attempt(["auditctl", "-l"])
    if done.returncode:
        raise NotKnown(f"auditctl: {(done.stderr.strip().splitlines() or ['it refused'])[0][:200]}")
    state = attempt(["auditctl", "-s"]).stdout
    rules = [line for line in done.stdout.splitlines() if line.startswith("-")]
    written: list[str] = []
    for path in sorted(glob.glob("/etc/audit/rules.d/*.rules")):
        written += list(lines(read(path)))
    return {
        "rules": rules,
        "written": written,
        "recorded": recorded(rules),
        "recorded_after_boot": recorded(written),
        "status": dict(line.split(None, 1) for line in state.splitlines() if " " in line),
        "settings": pairs(read_if_there("/etc/audit/auditd.conf") or "", "="),
    }


def recorded(rules: Iterable[str]) -> dict[str, list[str]]:
    """Tell of which files every change is recorded, and which calls always are.

    A rule that says never records nothing, nor does one for some people, programs or outcomes alone; where
    tasks are not audited at all, none does.
    """
    files: set[str] = set()
    calls: set[str] = set()
    for rule in rules:
        words = rule.split()
        if len(words) < 2:
            continue
        if words[0] == "-w":
            permissions = words[words.index("-p") + 1 :][:1] if "-p" in words else ["rwxa"]
            files.update({words[1]} if changes("".join(permissions)) else ())
        elif words[0] in ("-a", "-A"):
            when = set(words[1].split(","))
            if when == {"never", "task"} and len(words) == 2:
                return {"files": [], "calls": []}
            if when == {"always", "exit"}:
                path, named = by_filter(words)
                files.update({path} if path else ())
                calls.update(named)
    return {"files": sorted(one.rstrip("/") for one in files), "calls": sorted(calls)}


def by_filter(words: list[str]) -> tuple[str, set[str]]:
    """Give the file of a rule that records every change of it, or the calls of one that records them."""
    given = list(zip(words, words[1:]))  # noqa: B905, RUF007  # Python 3.9
    filters = [text for word, text in given if word == "-F"]
    fields = {text.partition("=")[0]: text for text in filters}
    calls = {one for word, text in given if word == "-S" for one in text.split(",")} - {"all"}
    if "-C" in words or not all(HARMLESS.fullmatch(text) for text in filters):
        return "", set()
    if "a0" in fields and calls != {"clock_settime"}:
        return "", set()
    path = next((fields[one].partition("=")[2] for one in ("path", "dir") if one in fields), "")
    if not path:
        return "", calls
    permissions = fields.get("perm", "perm=rwxa").partition("=")[2]
    return (path if changes(permissions) and not calls else ""), set()


def changes(permissions: str) -> bool:
    """Whether permissions of a watch have writing and attributes."""
    return {"w", "a"} <= set(permissions)


# --- programs that compare -------------------------------------------------------------------------


def collect_integrity() -> dict[str, Any]:
    """Tell what compares files, by what it is started, and why one that is planned does not work."""
    tools = [name for name in ("aide", "samhain", "tripwire", "debsums") if is_here(name)]
    ways = [*by_timers(), *by_cron()] if tools else []
    if "samhain" in tools:
        ways.append(way("samhain", "samhain.service", "" if runs("samhain.service") else "it does not run"))
    for one in ways:
        one["why_not"] = missing(one["tool"], tools) or one["why_not"]
    return {"tools": tools, "ways": ways}


def way(tool: str, by: str, why_not: str) -> dict[str, str]:
    """Give one way in which files are compared; without a reason why not, it works."""
    return {"tool": tool, "by": by, "why_not": why_not}


def missing(tool: str, tools: list[str]) -> str:
    """Say what a tool lacks to compare anything; empty: nothing."""
    if tool not in tools:
        return f"{tool} is not here"
    if tool == "aide" and not any(os.path.exists(path) for path in DATABASES):
        return "it has nothing to compare with: its database is not there"
    return ""


def by_timers() -> Iterator[dict[str, str]]:
    """Give the timers of aide: one that is not started now, or not after a boot, starts nothing."""
    for timer in ("dailyaidecheck.timer", "aidecheck.timer"):
        if has_unit(timer):
            enabled = attempt(["systemctl", "is-enabled", "--quiet", timer]).returncode == 0
            why_not = "" if runs(timer) else "it does not run"
            yield way("aide", timer, why_not if enabled else "it is not enabled")


def by_cron() -> Iterator[dict[str, str]]:
    """Give the jobs of cron that compare at least weekly."""
    every = [(tool, f"{folder}/{name}") for folder in FOLDERS for tool in JOBS for name in JOBS[tool]]
    jobs = [(tool, path) for tool, path in every if os.path.isfile(path)]
    idle = "" if not jobs or any(has_unit(one) and runs(one) for one in CRONS) else "cron does not run"
    for tool, path in jobs:
        yield way(tool, path, idle or why_idle(tool, path))


def why_idle(tool: str, path: str) -> str:
    """Say why a job of cron compares nothing; empty: it does."""
    folder = os.path.basename(os.path.dirname(path)).partition(".")[2]
    said = "\n".join(lines(read(path)))
    if tool not in said:
        return f"no line of it calls {tool}"
    if folder != "d" and not os.access(path, os.X_OK):
        return "it is not executable"
    if tool == "debsums" and "CRON_CHECK" in said:
        asked = pairs(read_if_there(DEBSUMS) or "", "=").get("CRON_CHECK", "").strip("'")
        return "" if asked == folder else f"CRON_CHECK of /etc/default/debsums is {asked[:20] or 'not set'}"
    return ""


def runs(unit: str) -> bool:
    """Whether a unit is active now."""
    return attempt(["systemctl", "is-active", "--quiet", unit]).returncode == 0


SECTIONS = {"audit": collect_audit, "integrity": collect_integrity}
