"""Packages, what waits to be updated, where packages come from, and the units of systemd."""

from __future__ import annotations

import functools
import glob
import os
import re
import time
from collections.abc import Iterator

from .system import TYPE_CHECKING, NotKnown, is_here, lines, read, read_if_there, run, systemd_runs

if TYPE_CHECKING:
    from typing import Any

LISTS = "/var/lib/apt/lists/*Release"
YES = r"(yes|true|with|on|enable|0*[1-9]\d*)\b"
PERIODIC = "APT::Periodic"
UNSIGNED = ("APT::Get::AllowUnauthenticated", "Acquire::AllowInsecureRepositories")
UNIT_KINDS = ("service", "socket", "timer")


def collect_packages() -> dict[str, str]:
    """Give every installed package with its version."""
    return {name: version for name, _, version in installed()}


@functools.cache
def installed() -> list[list[str]]:
    """Give name, name with architecture and version of every package that is installed."""
    text = run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${binary:Package}\t${Version}\n"])
    rows = (line.split("\t") for line in text.splitlines())
    return [words for status, *words in rows if status[:2] in ("ii", "hi")]


def collect_updates() -> dict[str, Any]:
    """Give what an upgrade would bring, which of it is for security, and how old the lists of that are."""
    told = dict(candidates([name for _, name, _ in installed()]))
    lists = [os.path.getmtime(path) for path in glob.glob(LISTS) if "security" in os.path.basename(path)]
    return {
        "pending": sorted(told),
        "security": sorted(name for name, suites in told.items() if any("security" in one for one in suites)),
        "lists_age_days": round((time.time() - min(lists)) / 86400, 1) if lists else None,
        "unattended": is_here("unattended-upgrade"),
        "periodic": periodic(),
    }


def candidates(names: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Give each package that would be upgraded, and the suites that have the newer version.

    `apt list --upgradable` says the same and looks at all packages that there are, for 20 times the time.
    """
    said = run(["apt-cache", "policy", *names], patience_s=30.0) if names else ""
    if names and "\n  Candidate: " not in said:
        raise NotKnown("apt-cache policy: no version of any package is told")
    for block in re.split(r"\n(?=\S)", said):
        versions = re.search(r"\n  Installed: (\S+)\n  Candidate: (\S+)\n", block)
        if versions is None or versions[1] == versions[2]:
            continue
        table, _, _ = block.partition("\n *** ")  # what is newer than the installed version stands above it
        row = re.search(rf"\n     {re.escape(versions[2])} .*((?:\n        .*)*)", table)
        if row is not None:
            suites = [line.split()[2] for line in row[1].splitlines() if len(line.split()) > 2]
            yield block.split(":", 1)[0], suites


def periodic() -> dict[str, str]:
    """Give what apt does by itself."""
    return {key: value for key, value in settings().items() if value and is_below(key, PERIODIC)}


@functools.cache
def settings() -> dict[str, str]:
    """Ask apt once for those of its settings that matter; it has read all of its files then."""
    said = run(["apt-config", "dump", "--format", "%F=%v%n", PERIODIC, *UNSIGNED])
    rows = (line.partition("=") for line in said.splitlines())
    return {key: value.strip() for key, _, value in rows if key}


def is_below(key: str, root: str) -> bool:
    """Whether a setting is one of apt's or below it; files may write it in any case."""
    return f"{key}::".lower().startswith(f"{root}::".lower())


def collect_sources() -> list[dict[str, Any]]:
    """Give where packages come from; a login in an address is left out."""
    found: list[dict[str, Any]] = []
    for path in ("/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))):
        found += one_line_sources(path, read_if_there(path) or "")
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        found += block_sources(path, read(path))
    if not found:
        raise NotKnown("no source of packages is here")
    return [*found, *(source(f"apt.conf: {key}", "", False, True) for key in unsigned_everywhere())]


def one_line_sources(path: str, text: str) -> Iterator[dict[str, Any]]:
    """Give the sources of a list with a line for each."""
    for line in lines(text):
        if re.match(r"deb[\s\[]", line):
            options = (re.findall(r"\[(.*?)\]", line) or [""])[0]
            words = re.sub(r"\[.*?\]", " ", line).split()
            if len(words) > 1:
                yield source(path, words[1], "signed-by" in options.lower(), is_open(options))


def block_sources(path: str, text: str) -> Iterator[dict[str, Any]]:
    """Give the sources of a list with a block for each; a line that begins with a blank goes on."""
    for block in re.split(r"\n\s*\n", text):
        keys = {}
        for line in re.sub(r"\n[ \t]+", " ", block).splitlines():
            key, colon, value = line.partition(":")
            if colon and line[0] != "#":
                keys[key.strip().lower()] = value.strip()
        unsigned = any(is_open(f"{key}={keys.get(key, '')}") for key in ("trusted", "allow-insecure"))
        for address in keys.get("uris", "").split():
            yield source(path, address, "signed-by" in keys, unsigned)


def is_open(options: str) -> bool:
    """Whether options of a source take what nobody signed; apt has six words for yes."""
    return re.search(rf"(?i)\b(trusted|allow-insecure)\s*=\s*{YES}", options) is not None


def unsigned_everywhere() -> Iterator[str]:
    """Name what apt was told that makes it take unsigned packages from every source."""
    for key, value in settings().items():
        if any(is_below(key, root) for root in UNSIGNED) and re.fullmatch(rf"(?i){YES}", value):
            yield key


def source(path: str, address: str, signed_by: bool, trusted: bool) -> dict[str, Any]:
    """Give one source, without a login."""
    bare = re.sub(r"//[^/@]*@", "//", address)
    return {"file": path, "address": bare, "signed_by": signed_by, "unsigned_accepted": trusted}


def collect_units() -> dict[str, Any]:
    """Give the state of every service, socket and timer: now, and after a boot."""
    if not systemd_runs():
        raise NotKnown("systemd does not run here")
    kinds = [f"--type={','.join(UNIT_KINDS)}", "--no-pager", "--no-legend", "--plain", "--full"]
    found: dict[str, dict[str, str]] = {}
    for line in run(["systemctl", "list-unit-files", *kinds]).splitlines():
        words = line.split()
        if len(words) > 1:
            found[words[0]] = {"enabled": words[1], "active": "inactive"}
    for line in run(["systemctl", "list-units", "--all", *kinds]).splitlines():
        words = line.split()
        if len(words) > 3:
            found.setdefault(words[0], {"enabled": ""})["active"] = words[2]
    return {
        "all": found,
        "active": sorted(name for name, one in found.items() if one.get("active") == "active"),
        "enabled": sorted(name for name, one in found.items() if one["enabled"].startswith("enabled")),
        "failed": sorted(name for name, one in found.items() if one.get("active") == "failed"),
    }


SECTIONS = {
    "packages": collect_packages,
    "updates": collect_updates,
    "sources": collect_sources,
    "units": collect_units,
}
