"""What watches files for changes: the rules of the audit system, and programs that compare what they find."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator

from .system import (
    TYPE_CHECKING,
    NotKnown,
    attempt,
    has_unit,
    is_here,
    lines,
    pairs,
    read,
    read_if_there,
    systemd_runs,
)

if TYPE_CHECKING:
    from typing import Any

# Fields that leave out none of the people, files and calls that a rule is about: auid by these values leaves
# out daemons alone, and the clock 0 of clock_settime is the one that people live by.
HARMLESS = re.compile(
    r"(key|perm|path|dir)=.*|arch=b64|auid>=(500|1000)|auid!=(unset|-1|4294967295)|a0=0(x0)?"
)
# What may be left out of every event, or of files of these systems, without a change being lost.
SPARED = re.compile(r"msgtype=(?!(SYSCALL|PATH)$)[A-Z_]+|fstype=(tracefs|debugfs|0x74726163|0x64626720)")
# Calls that no file is changed by.
FILELESS = {
    *("adjtimex", "clock_adjtime", "clock_settime", "settimeofday"),
    *("delete_module", "finit_module", "init_module"),
}
FOLDERS = ("/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly")
CRONS = ("cron.service", "crond.service", "cron.target")
JOBS = {"aide": ("aide", "dailyaidecheck"), "debsums": ("debsums",), "tripwire": ("tripwire",)}
DEBSUMS = "/etc/default/debsums"
AIDE = "/etc/default/aide"
DATABASES = {
    "aide": ("/var/lib/aide/aide.db", "/var/lib/aide/aide.db.gz"),
    "tripwire": ("/var/lib/tripwire/*.twd",),
}


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
        "recorded_now": recorded(rules),
        "recorded_at_boot": recorded(written),
        "status": dict(line.split(None, 1) for line in state.splitlines() if " " in line),
        "settings": pairs(read_if_there("/etc/audit/auditd.conf") or "", "="),
    }


def recorded(rules: Iterable[str]) -> dict[str, list[str]]:
    """Tell of which files every change is recorded, and which calls always are.

    The first rule that matches counts. One that says never records nothing, nor does one for some people,
    programs or outcomes alone; where tasks are not audited at all, none does.
    """
    said = in_order(rules)
    files: set[str] = set()
    calls: set[str] = set()
    places: set[str] = set()
    unheard: set[str] = set()
    switched = [words[1] for words in said if words[0] == "-e"]
    if switched[-1:] == ["0"] or any(silences(words) for words in said):
        return {"files": [], "calls": []}
    for words in said:
        if kind(words) == {"never", "exit"}:
            place, named = hidden(words)
            places.update({place} if place else ())
            unheard.update(named)
            continue
        path, named = by_rule(words)
        files.update({path} if path and not any(share(path, one) for one in places) else ())
        calls.update(named - unheard if "all" not in unheard else ())
    return {"files": sorted(files), "calls": sorted(calls)}


def in_order(rules: Iterable[str]) -> list[list[str]]:
    """Give the words of each rule in the order in which rules count: -A puts one before all others."""
    found: list[list[str]] = []
    for rule in rules:
        words = rule.split()
        if len(words) > 1:
            found.insert(0 if words[0] == "-A" else len(found), words)
    return found


def kind(words: list[str]) -> set[str]:
    """Give the list of a rule and what it says, in whichever order; nothing of what is no such rule."""
    return set(words[1].split(",")) if words[0] in ("-a", "-A") else set()


def filters_of(words: list[str]) -> list[str]:
    """Give the fields of a rule."""
    return [text for word, text in zip(words, words[1:]) if word == "-F"]  # noqa: B905, RUF007  # Python 3.9


def calls_of(words: list[str]) -> set[str]:
    """Name the calls of a rule; none: it is about all of them."""
    given = zip(words, words[1:])  # noqa: B905, RUF007  # Python 3.9
    return {one for word, text in given if word == "-S" for one in text.split(",")} - {"all"}


def silences(words: list[str]) -> bool:
    """Whether a rule takes others away, or leaves out what all of them would record."""
    said = kind(words)
    if "exclude" in said or said == {"never", "filesystem"}:
        return not any(SPARED.fullmatch(text) for text in filters_of(words))
    return words[0] in ("-W", "-d") or said == {"never", "task"}


def hidden(words: list[str]) -> tuple[str, set[str]]:
    """Give the place whose files no later rule surely records, and the calls; `all`: none of them."""
    fields = dict(text.split("=", 1) for text in filters_of(words) if "=" in text)
    place = fields.get("path") or fields.get("dir") or ""
    calls = calls_of(words)
    if place:
        return place, set()
    return ("" if calls and calls <= FILELESS else "/"), calls or {"all"}


def share(path: str, place: str) -> bool:
    """Whether a file or folder lies at or below another one, or the other way round."""
    one, other = (f"{text.rstrip('/')}/" for text in (path, place))
    return one.startswith(other) or other.startswith(one)


def by_rule(words: list[str]) -> tuple[str, set[str]]:
    """Give the file of which a rule records every change, or the calls that it records; else nothing."""
    path = ""
    calls: set[str] = set()
    if words[0] == "-w":
        permissions = words[words.index("-p") + 1 :][:1] if "-p" in words else ["rwxa"]
        path = words[1] if changes("".join(permissions)) else ""
    elif kind(words) == {"always", "exit"}:
        path, calls = by_filter(words)
    return path.rstrip("/"), calls


def by_filter(words: list[str]) -> tuple[str, set[str]]:
    """Give the file of a rule that records every change of it, or the calls of one that records them."""
    filters, calls = filters_of(words), calls_of(words)
    fields = {text.partition("=")[0]: text for text in filters}
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
        one["idle"] = missing(one["tool"], tools) or one["idle"]
    return {"tools": tools, "ways": ways}


def way(tool: str, by: str, idle: str) -> dict[str, str]:
    """Give one way in which files are compared; without a reason why not, it works."""
    return {"tool": tool, "by": by, "idle": idle}


def missing(tool: str, tools: list[str]) -> str:
    """Say what a tool lacks to compare anything; empty: nothing."""
    if tool not in tools:
        return f"{tool} is not here"
    if tool in DATABASES and not any(glob.glob(pattern) for pattern in DATABASES[tool]):
        return "it has nothing to compare with: its database is not there"
    return ""


def by_timers() -> Iterator[dict[str, str]]:
    """Give the timers of aide: one that is not started now, or not after a boot, starts nothing."""
    for timer in ("dailyaidecheck.timer", "aidecheck.timer"):
        if has_unit(timer):
            enabled = attempt(["systemctl", "is-enabled", "--quiet", timer]).returncode == 0
            why = "" if runs(timer) else "it does not run"
            own = switched_off() if timer.startswith("daily") else ""
            yield way("aide", timer, (why or own) if enabled else "it is not enabled")


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
    if systemd_runs() and "/run/systemd/system" in said:
        return "it leaves that to a timer of systemd's"
    if tool == "aide" and ("dailyaidecheck" in said or "CRON_DAILY_RUN" in said):
        return switched_off()
    if tool == "debsums" and "CRON_CHECK" in said:
        asked = pairs(read_if_there(DEBSUMS) or "", "=").get("CRON_CHECK", "").strip("'")
        return "" if asked == folder else f"CRON_CHECK of /etc/default/debsums is {asked[:20] or 'not set'}"
    return ""


def switched_off() -> str:
    """Say that aide's daily script, which cron and the timer of Debian start, ends at once; empty: no."""
    asked = pairs(read_if_there(AIDE) or "", "=").get("CRON_DAILY_RUN", "").strip("'") or "yes"
    return "" if asked == "yes" else f"CRON_DAILY_RUN of /etc/default/aide is {asked[:20]}"


def runs(unit: str) -> bool:
    """Whether a unit is active now."""
    return attempt(["systemctl", "is-active", "--quiet", unit]).returncode == 0


SECTIONS = {"audit": collect_audit, "integrity": collect_integrity}
