"""What may lock people out of a host, whatever risk its asker saw in it.

Not meant: what sshd only shows, as the file of its Banner.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ansible.module_utils.baseline import sshd
from ansible.module_utils.baseline.revert import Host
from ansible.module_utils.baseline.wanted import Wanted

# How a path begins that decides about logins, sudo or what comes through to this host.
PATHS = (
    f"{sshd.FOLDER}/",
    "/etc/default/ssh",
    "/etc/hosts.allow",
    "/etc/hosts.deny",
    "/etc/sudoers",
    "/etc/pam.conf",
    "/etc/pam.d/",
    "/etc/security/",
    "/etc/nftables",
    "/etc/iptables",
    "/etc/ip6tables",
    "/etc/default/netfilter-persistent",
    "/etc/ufw/",
    "/etc/default/ufw",
    "/etc/firewalld/",
)
UNITS = ("ssh", "sshd", "nftables", "iptables", "ip6tables", "netfilter-persistent", "ufw", "firewalld")


def touched(wanted: Wanted) -> list[str]:
    """Name the files and units of a change by which people come in, or not."""
    read = set(sshd.files(wanted.drafts))
    paths = [draft.path for draft in wanted.drafts.changed()]
    return [
        *(path for path in paths if path in read or any(map(_decides, _names(wanted.host, path)))),
        *(unit for unit in wanted.units if _stem(unit) in UNITS),
    ]


def _names(host: Host, path: str) -> Iterator[str]:
    """Give a path as it is spelled, and as it is when all links are followed."""
    yield os.path.normpath(f"/{path.lstrip('/')}")
    root = os.path.realpath(host.root)
    yield os.path.normpath(f"/{os.path.relpath(os.path.realpath(host.at(path)), root)}")


def _decides(path: str) -> bool:
    parts = path.split("/")
    of_unit = "systemd" in parts and any(_stem(part) in UNITS for part in parts)
    return f"{path}/".startswith(PATHS) or ".ssh" in parts or of_unit


def _stem(unit: str) -> str:
    return unit.partition(".")[0].partition("@")[0]
