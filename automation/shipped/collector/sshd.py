"""sshd: what it would do on its next reload, for whom, and whether it has read that already."""

from __future__ import annotations

import glob
import itertools
import os
import re
import shlex
import time
from collections.abc import Iterator

from .system import TYPE_CHECKING, NotKnown, attempt, is_here, lines, read, run, systemd_runs

if TYPE_CHECKING:
    from typing import Any

CONFIG = "/etc/ssh/sshd_config"
MOST_CONTEXTS = 24
PLAIN_INCLUDE = re.compile(r"include[ \t]+[\w./*-]+")
ASKABLE = {"user", "group", "address", "all"}
LISTS = ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms")
MANY = (
    "allowusers",
    "allowgroups",
    "denyusers",
    "denygroups",
    "port",
    "listenaddress",
    "hostkey",
    "acceptenv",
)


def collect_sshd() -> dict[str, Any]:
    """Ask sshd itself: in general, and for everyone whom a Match block names."""
    if not is_here("sshd"):
        raise NotKnown("sshd is not here")
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # sshd -T asks for it where socket activation is used
    general = effective([])  # what sshd -t refuses, -T refuses, too
    files = list(config_files())
    every = [one for path in files for one in conditions(path)]
    whom = asked(files)
    known = all(map(is_askable, every)) and len(whom) <= MOST_CONTEXTS
    told = {"contexts": list(contexts(whom, general if is_for_all(files) else None))} if known else {}
    return {
        "effective": general,
        **told,  # of a Match block by something else, nobody knows whom it means; of too many neither
        "files": files,
        "matches": len(every),
        "stale": is_stale(files),
        "keys": sorted(set(host_key_types())),
    }


def contexts(whom: list[tuple[str, str]], for_all: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Give what sshd would do for each of those whom a Match block may mean; `for_all` is for everybody."""
    for user, address in whom:
        told = for_all or effective(["-C", f"user={user},host={address},addr={address}"])
        yield {"user": user, "address": address, **told}


def is_for_all(files: list[str]) -> bool:
    """Whether no line can be for some people alone, not even in a file that sshd finds and we do not."""
    for line in (line.strip().lower() for path in files for line in read(path).splitlines()):
        if line[:1] != "#" and ("match" in line or ("include" in line and not PLAIN_INCLUDE.fullmatch(line))):
            return False
    return True


def effective(words: list[str]) -> dict[str, Any]:
    """Give every keyword in lower case with its value; of several, a list."""
    found: dict[str, Any] = {}
    for line in run(["sshd", "-T", *words]).splitlines():
        key, _, value = line.partition(" ")
        key = key.lower()
        if key in LISTS:
            found[key] = value.split(",")
        elif key in MANY:
            found.setdefault(key, []).extend(value.split() if key.startswith(("allow", "deny")) else [value])
        else:
            found[key] = value
    for key in MANY:
        found.setdefault(key, [])
    return found


def config_files(main: str = CONFIG, seen: tuple[str, ...] = ()) -> Iterator[str]:
    """Give the configuration and what it includes, each once."""
    if main in seen or len(seen) > 16:
        return
    yield main
    for line in lines(read(main)):
        word, rest = keyword(line)
        if word == "include":
            for pattern in shlex.split(rest):
                where = pattern if pattern.startswith("/") else f"/etc/ssh/{pattern}"
                for path in sorted(glob.glob(where)):
                    yield from config_files(path, (*seen, main))


def keyword(line: str) -> tuple[str, str]:
    """Split a line as sshd does: blanks or one equals sign between keyword and value."""
    parts = re.split(r"\s*=\s*|\s+", line, maxsplit=1)
    return parts[0].lower(), parts[1] if len(parts) > 1 else ""


def conditions(path: str) -> Iterator[dict[str, str]]:
    """Give every Match block's criteria."""
    for line in lines(read(path)):
        word, rest = keyword(line)
        if word == "match":
            words = shlex.split(rest)
            both = itertools.zip_longest(words[::2], words[1::2], fillvalue="")
            yield {key.lower(): value for key, value in both}


def is_askable(criteria: dict[str, str]) -> bool:
    """Whether sshd can be asked for those whom a Match block means."""
    addresses, groups = criteria.get("address", ""), criteria.get("group", "")
    if criteria.keys() - ASKABLE or set("*?!") & set(addresses) or set("*?") & set(groups):
        return False
    return all(members(group) is not None for group in plain(groups))


def asked(files: list[str]) -> list[tuple[str, str]]:
    """Choose for whom sshd is asked: root from anywhere, and whomever a Match block may mean."""
    users: set[str] = {"root"}
    addresses: set[str] = {"192.0.2.1"}
    for path in files:
        for criteria in conditions(path):
            users.update(plain(criteria.get("user", "")))
            users.update(
                member for group in plain(criteria.get("group", "")) for member in members(group) or ()
            )
            addresses.update(first_of(one) for one in plain(criteria.get("address", "")))
    return [(user, address) for user in sorted(users) for address in sorted(addresses)]


def plain(patterns: str) -> list[str]:
    """Give the patterns that name somebody or something; those that say who is not meant are left out."""
    return [one.replace("*", "a").replace("?", "a") for one in patterns.split(",") if one and one[0] != "!"]


def first_of(address: str) -> str:
    """Give one address of a range."""
    network, _, bits = address.partition("/")
    if ":" in network:
        return network + "1" if network.endswith("::") else network
    parts = network.split(".")
    ends_in_zero = len(parts) == 4 and parts[3] == "0"
    return ".".join([*parts[:3], "1"]) if bits not in ("", "32") and ends_in_zero else network


def members(group: str) -> list[str] | None:
    """Give who is in a group, also those whose first group it is; None: the group is kept elsewhere."""
    found = []
    gid = None
    for line in lines(read("/etc/group")):
        name, _, number, names = [*line.split(":"), "", "", ""][:4]
        if name == group:
            gid = number
            found += [one for one in names.split(",") if one]
    for line in lines(read("/etc/passwd")):
        parts = line.split(":")
        if gid is not None and parts[3] == gid:
            found.append(parts[0])
    return None if gid is None else found


def is_stale(files: list[str]) -> bool:
    """Whether a file was changed since sshd was started or told to read it again."""
    for unit in ("ssh.service", "sshd.service") if systemd_runs() else ():
        done = attempt(["systemctl", "show", unit, "--property=StateChangeTimestampMonotonic", "--value"])
        moment = done.stdout.strip()
        if done.returncode == 0 and re.fullmatch(r"[1-9]\d*", moment):
            with open("/proc/uptime", encoding="ascii") as file:
                up_s = float(file.read().split()[0])
            now = time.time()
            return max(os.path.getmtime(path) for path in files) > now - up_s + int(moment) / 1e6 + 1
    raise NotKnown("no unit of sshd is known to systemd")


def host_key_types() -> Iterator[str]:
    """Give the types of the host keys."""
    for path in glob.glob("/etc/ssh/ssh_host_*_key.pub"):
        yield read(path).split()[0]


SECTIONS = {"sshd": collect_sshd}
