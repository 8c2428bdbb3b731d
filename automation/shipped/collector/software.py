"""Packages, what waits to be updated, where packages come from, and the units of systemd."""

import glob
import os
import re
import time
from typing import Any

from .system import NotKnown, is_here, lines, read, run

UNIT_KINDS = ("service", "socket", "timer")


def collect_packages() -> dict[str, str]:
    """Give every installed package with its version."""
    text = run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\t${Package}\t${Version}\n"])
    rows = (line.split("\t") for line in text.splitlines())
    return {name: version for status, name, version in rows if status[:2] in ("ii", "hi")}


def collect_updates() -> dict[str, Any]:
    """Give what an upgrade would bring, which of it is for security, and how old the lists are."""
    said = run(["apt", "list", "--upgradable"], patience_s=30.0)
    pending = [match for match in map(re.compile(r"([^/\s]+)/(\S+) ").match, said.splitlines()) if match]
    lists = [os.path.getmtime(path) for path in glob.glob("/var/lib/apt/lists/*Release")]
    return {
        "pending": sorted(one[1] for one in pending),
        "security": sorted(one[1] for one in pending if "security" in one[2]),
        "lists_age_days": round((time.time() - max(lists)) / 86400, 1) if lists else None,
        "unattended": is_here("unattended-upgrade"),
        "periodic": periodic(),
    }


def periodic() -> dict[str, str]:
    """Give what apt does by itself."""
    said = run(["apt-config", "dump", "--format", "%F=%v%n", "APT::Periodic"])
    return {
        key: value for key, _, value in (line.partition("=") for line in said.splitlines()) if key and value
    }


def collect_sources() -> list[dict[str, Any]]:
    """Give where packages come from; a login in an address is left out."""
    found = []
    for path in ("/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*.list"))):
        for line in lines(read(path)) if os.path.exists(path) else ():
            if line.startswith("deb "):
                options = (re.findall(r"\[(.*?)\]", line) or [""])[0]
                address = re.sub(r"\[.*?\]", "", line).split()[1]
                found.append(
                    source(path, address, "signed-by" in options, "trusted=yes" in options.replace(" ", ""))
                )
    for path in sorted(glob.glob("/etc/apt/sources.list.d/*.sources")):
        for block in read(path).split("\n\n"):
            keys = dict(
                line.split(":", 1)
                for line in block.splitlines()
                if ":" in line and line[0] != "#" and line[0] != " "
            )
            for address in keys.get("URIs", "").split():
                trusted = keys.get("Trusted", "").strip().lower() == "yes"
                found.append(source(path, address, "Signed-By" in keys, trusted))
    return found


def source(path: str, address: str, signed_by: bool, trusted: bool) -> dict[str, Any]:
    """Give one source, without a login."""
    bare = re.sub(r"//[^/@]*@", "//", address)
    return {"file": path, "address": bare, "signed_by": signed_by, "unsigned_accepted": trusted}


def collect_units() -> dict[str, Any]:
    """Give the state of every service, socket and timer: now, and after a boot."""
    if not os.path.isdir("/run/systemd/system"):
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
