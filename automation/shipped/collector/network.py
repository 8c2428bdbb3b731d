"""What listens, and what the firewall lets in: now, and after a boot."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator

from .system import TYPE_CHECKING, NotKnown, attempt, has_unit, is_here, read, read_if_there

if TYPE_CHECKING:
    from typing import Any

LISTENING = "0A"
TABLES = (("tcp", "tcp"), ("tcp6", "tcp"), ("udp", "udp"), ("udp6", "udp"))
MANAGERS = ("ufw", "firewalld", "nftables", "netfilter-persistent")


def collect_listeners() -> list[dict[str, Any]]:
    """Give every port that is open: protocol, address, port, and the program that holds it."""
    sockets = set()  # of one address several programs may have one each
    for table, protocol in TABLES:
        for line in (read_if_there(f"/proc/net/{table}") or "").splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING or (protocol == "udp" and words[2].endswith(":0000")):
                address, port = endpoint(words[1])
                sockets.add((protocol, port, address, words[9]))
    holders = programs({inode for *_, inode in sockets})
    named = {(protocol, port, at, holders.get(inode, "")) for protocol, port, at, inode in sockets}
    return [
        {
            "protocol": protocol,
            "address": address,
            "port": port,
            "program": program,
            "local": is_local(address),
        }
        for protocol, port, address, program in sorted(named)
    ]


def is_local(address: str) -> bool:
    """Whether only this machine reaches it."""
    return address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")


def endpoint(text: str) -> tuple[str, int]:
    """Read an address as the kernel writes it: words in the machine's own order."""
    raw, _, port = text.partition(":")
    words = [raw[i : i + 8] for i in range(0, len(raw), 8)]
    packed = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)


def programs(inodes: set[str]) -> dict[str, str]:
    """Give the programs that hold sockets, by their inodes; of several, the one that came last."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, str] = {}
    for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc"))), reverse=True):
        held = wanted.keys() & set(open_files(pid))
        try:
            name = read(f"/proc/{pid}/comm").strip() if held else ""
        except NotKnown:  # it ended meanwhile
            continue
        found.update({wanted.pop(where): name for where in held})
        if not wanted:
            break
    return found


def open_files(pid: int) -> Iterator[str]:
    """Give what a process holds open; one that ended meanwhile holds nothing."""
    try:
        folder = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        for entry in os.listdir(folder):
            try:
                yield os.readlink(entry, dir_fd=folder)
            except OSError:  # one that is closed meanwhile hides no other
                continue
    except OSError:
        return
    finally:
        os.close(folder)


def collect_firewall() -> dict[str, Any]:
    """Tell what becomes of a packet that nobody asked for, and whether that will be so after a boot."""
    if not is_here("nft"):
        raise NotKnown("nft is not here")
    done = attempt(["nft", "-j", "list", "ruleset"])
    if done.returncode:
        raise NotKnown(f"nft: {(done.stderr.strip().splitlines() or ['it refused'])[0][:200]}")
    told = json.loads(done.stdout).get("nftables", [])
    chains = [one["chain"] for one in told if one.get("chain", {}).get("hook") == "input"]
    rules = [one["rule"] for one in told if "rule" in one]
    dropping = [chain for chain in chains if chain.get("policy") == "drop"]
    refusing = [*dropping, *(chain for chain in chains if refuses_rest(chain, rules))]
    return {
        "input_policy": "drop" if is_for_all(dropping) else "accept",
        "input_refuses_rest": is_for_all(refusing),
        "rules": len(rules),
        "managers": sorted(name for name in MANAGERS if is_enabled(f"{name}.service")),
        "written": (read_if_there("/etc/nftables.conf") or "").count("hook input"),
    }


def is_for_all(chains: list[dict[str, Any]]) -> bool:
    """Whether chains together see all packets; those of inet see both families."""
    families = {chain["family"] for chain in chains}
    wanted = {"ip", "ip6"} if os.path.exists("/proc/net/if_inet6") else {"ip"}
    return "inet" in families or wanted <= families


def refuses_rest(chain: dict[str, Any], rules: list[dict[str, Any]]) -> bool:
    """Whether the last rule of a chain refuses all that came so far."""
    place = (chain["family"], chain["table"], chain["name"])
    own = [one for one in rules if (one["family"], one["table"], one["chain"]) == place]
    steps = {next(iter(step)) for step in own[-1].get("expr", ())} if own else set()
    return bool(steps & {"drop", "reject"}) and steps <= {"counter", "log", "drop", "reject"}


def is_enabled(unit: str) -> bool:
    """Whether systemd starts a unit at boot."""
    return has_unit(unit) and attempt(["systemctl", "is-enabled", "--quiet", unit]).returncode == 0


SECTIONS = {"listeners": collect_listeners, "firewall": collect_firewall}
