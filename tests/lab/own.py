"""A city's own inventory of hosts that are there, in three forms that know nothing of Mainstay."""

import json
from collections.abc import Mapping
from pathlib import Path

FORMS = ("ini", "yaml", "dynamic")

PROGRAM = """#!/usr/bin/env python3
import json, sys
print(json.dumps({answer} if sys.argv[1:] == ["--list"] else {{}}))
"""

# As a city would derive groups from what its own tool says of a host.
CONSTRUCTED = """plugin: ansible.builtin.constructed
strict: true
keyed_groups:
  - {key: room, prefix: room, separator: "_"}
"""


def write_inventory(form: str, folder: Path, rooms: Mapping[str, Mapping[str, str]]) -> tuple[Path, ...]:
    """Write the hosts of every room in one form; the groups `room_<name>` tell where a host stands."""
    folder.mkdir(parents=True)
    if form == "ini":
        (folder / "hosts").write_text("".join(_ini(room, hosts) for room, hosts in rooms.items()))
        return (folder / "hosts",)
    if form == "yaml":
        groups = {f"room_{room}": {"hosts": _hosts(hosts)} for room, hosts in rooms.items()}
        (folder / "site.yml").write_text(json.dumps({"all": {"children": groups}}))
        return (folder / "site.yml",)
    program, plugin = folder / "ask_our_tool", folder / "rooms.constructed.yml"
    program.write_text(PROGRAM.format(answer=_answer(rooms)))
    program.chmod(0o755)
    plugin.write_text(CONSTRUCTED)
    return program, plugin


def _ini(room: str, hosts: Mapping[str, str]) -> str:
    lines = "".join(f"{name} ansible_host={address}\n" for name, address in hosts.items())
    return f"[room_{room}]\n{lines}\n"


def _hosts(hosts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {name: {"ansible_host": address} for name, address in hosts.items()}


def _answer(rooms: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    known = {
        name: {"ansible_host": address, "room": room}
        for room, hosts in rooms.items()
        for name, address in hosts.items()
    }
    return {"_meta": {"hostvars": known}, "all": {"hosts": sorted(known)}}
