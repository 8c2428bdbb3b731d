"""A city's own inventory of hosts that are there, in three forms that know nothing of Mainstay."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.lab.checkout import Checkout

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


def begin_environment(city: Checkout, form: str) -> str:
    """Begin an environment for the hosts of a lab as a person would; give its name.

    The inventory lies outside the checkout; the key and the host keys are those that are there.
    """
    name, site_of = f"own-{form}", {"a": "city-hall", "b": "eoc", "c": "public"}
    servers = city.inventory.servers.values()
    rooms = {
        room: {one.name: one.address for one in servers if one.site == site} for room, site in site_of.items()
    }
    sources = write_inventory(form, city.signers.parent / "etc" / form, rooms)
    key, known = city.environment.ssh_key(city.state), city.environment.known_hosts(city.state)
    words = ["--name", name, "--inventory", ",".join(map(str, sources)), "--user", "ops"]
    words += ["--key", str(key), "--known-hosts", str(known)]
    done = city.type("env.init", *words)
    assert done.returncode == 0, done.stderr
    folder = city.root / "inventories" / name
    _fill(folder / "environment.yml", city, site_of)
    services = (city.root / "inventories" / city.name / "services.yml").read_text()
    (folder / "services.yml").write_text(services)
    return name


def _fill(path: Path, city: Checkout, site_of: Mapping[str, str]) -> None:
    """Fill in the blanks that env.init left."""
    groups = "".join(f"  room_{room}: {site}\n" for room, site in site_of.items())
    answers = {
        "site_of_group:\n": f"site_of_group:\n{groups}",
        "  host:\n": f"  host: {city.environment.witness.host}\n",
        "  zone:\n": f"  zone: {city.environment.dns.zone}\n",
        "{file: secrets/tsig_key}": f"{{file: {city.state / 'secrets/tsig_key'}}}",
    }
    text = path.read_text()
    for blank, answer in answers.items():
        assert blank in text, blank
        text = text.replace(blank, answer)
    path.write_text(text)
