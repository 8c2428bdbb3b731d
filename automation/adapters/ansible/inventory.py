"""The inventory of an environment, as ansible-inventory resolves it."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from automation.adapters.ansible.server_variables import read_spec
from automation.model.environment import Inventory, InventoryReading, Server
from automation.model.errors import ConfigError
from automation.model.servers import ServerSpec

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60.0
OWN = InventoryReading()


def list_inventory(sources: Sequence[Path], state: Path, reading: InventoryReading = OWN) -> Inventory:
    """Resolve inventory sources through ansible-inventory, cached by the content of all they read.

    Args:
        sources: inventory files, never a folder; group_vars and host_vars beside them count.
        state: the environment's state folder, where the answer is kept.
        reading: where the sources were not written for Mainstay.

    Raises:
        ConfigError: a file is wrong, or a host's attributes are.
    """
    return parse_inventory(resolve(sources, state, reading), reading.site_of_group)


def resolve(sources: Sequence[Path], state: Path, reading: InventoryReading) -> dict[str, Any]:
    """Give the answer of `ansible-inventory --list`; the kept one, if nothing it came from has changed."""
    if any(_is_dynamic(source) for source in sources):
        return _ask(sources, reading)
    cached = state / "inventory" / f"{_digest(sources, reading)}.json"
    if not cached.exists():
        _keep(cached, _ask(sources, reading))
    answer: dict[str, Any] = json.loads(cached.read_text(encoding="utf-8"))
    return answer


def _is_dynamic(source: Path) -> bool:
    """Say whether a source asks something outside, so that its content tells nothing of its answer."""
    if source.is_dir():
        raise ConfigError(
            f"inventory {source} is a folder; nothing was touched",
            hint="name its files in `inventory`: of a folder, Ansible takes every file for hosts",
        )
    try:
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as exc:
        raise ConfigError(f"cannot read inventory {source}: {exc.strerror}; nothing was touched") from exc
    return os.access(source, os.X_OK) or any(line.startswith("plugin:") for line in lines)


def _digest(sources: Sequence[Path], reading: InventoryReading) -> str:
    """sha256 over every file that an answer can come from, with its name."""
    seen = hashlib.sha256()
    folders = {source.parent / name for source in sources for name in ("group_vars", "host_vars")}
    beside = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    for path in (*sources, *beside, _config(reading), ROOT / "requirements.lock"):
        content = path.read_bytes() if path.exists() else b""
        seen.update(f"{path.resolve()}\0{len(content)}\0".encode() + content)
    return seen.hexdigest()


def _config(reading: InventoryReading) -> Path:
    return reading.ansible_config or ROOT / "ansible.cfg"


def _ask(sources: Sequence[Path], reading: InventoryReading) -> dict[str, Any]:
    argv = [str(Path(sys.executable).with_name("ansible-inventory")), "--list"]
    argv += [part for source in sources for part in ("-i", str(source))]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with tempfile.TemporaryDirectory(prefix="mainstay-inventory-") as home:
        environment = {
            **{name: os.environ[name] for name in reading.environ if name in os.environ},
            "PATH": path,
            "LANG": "C.UTF-8",
            "HOME": home,
            "ANSIBLE_HOME": home,
            "ANSIBLE_CONFIG": str(_config(reading)),
            "ANSIBLE_INVENTORY_UNPARSED_FAILED": "true",
            "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        }
        done = subprocess.run(
            argv,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    if done.returncode:
        raise ConfigError(f"the inventory cannot be read; nothing was touched\n{done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _keep(path: Path, answer: Mapping[str, object]) -> None:
    """Write the answer whole or not at all, and forget older ones."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in path.parent.glob("*.json"):
        old.unlink(missing_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(answer, file)
    Path(file.name).replace(path)


def parse_inventory(answer: Mapping[str, Any], site_of_group: Mapping[str, str] | None = None) -> Inventory:
    """Give the servers in an answer of `ansible-inventory --list`. Pure.

    Raises:
        ConfigError: attributes of a host are no text, or its groups stand at different sites; all are named.
    """
    hosts: dict[str, dict[str, Any]] = answer.get("_meta", {}).get("hostvars", {})
    groups = list_groups(answer)
    sites = site_of_group or {}
    problems = [f"  site_of_group: there is no group {name!r}" for name in sites if name not in groups]
    servers, specs = {}, dict[str, ServerSpec]()
    for name in sorted({*hosts, *_members(answer, "all")}):
        own = tuple(sorted(group for group, members in groups.items() if name in members))
        try:
            servers[name] = _server(name, hosts.get(name, {}), own, sites)
            spec = read_spec(name, hosts.get(name, {}), site=servers[name].site, groups=own)
            specs |= {name: spec} if spec else {}
        except ValidationError as exc:
            wrong = ", ".join(f"server_{error['loc'][0]}" for error in exc.errors())
            problems.append(f"  {name}: {wrong} must be given as text")
        except ValueError as exc:
            problems.append(f"  {name}: {exc}")
    if problems:
        raise ConfigError("the inventory is not complete; nothing was touched\n" + "\n".join(problems))
    resolved = json.dumps(answer, sort_keys=True, separators=(",", ":"))
    return Inventory(servers=servers, specs=specs, digest=hashlib.sha256(resolved.encode()).hexdigest())


def list_groups(answer: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Give every group but `all` with the hosts in it, directly or not. Pure."""
    return {
        name: frozenset(_members(answer, name))
        for name in answer
        if name not in ("_meta", "all", "ungrouped")
    }


def _members(answer: Mapping[str, Any], group: str) -> Iterator[str]:
    content = answer.get(group, {})
    yield from content.get("hosts", [])
    for child in content.get("children", []):
        yield from _members(answer, child)


def _server(
    name: str, variables: Mapping[str, Any], groups: tuple[str, ...], sites: Mapping[str, str]
) -> Server:
    said = {
        "address": variables.get("server_address", variables.get("ansible_host", name)),
        "site": variables.get("server_site", _site(groups, sites)),
        "provider": variables.get("server_provider"),
        "image": variables.get("server_image"),
        "port": variables.get("ansible_port"),
        "on_demand": variables.get("server_on_demand"),
    }
    if "{{" in str(said["address"]):
        raise ValueError(f"its address {said['address']} is a template; give server_address as it is")
    given = {key: value for key, value in said.items() if value is not None}
    return Server.model_validate({"name": name, "groups": groups, **given})


def _site(groups: tuple[str, ...], sites: Mapping[str, str]) -> str | None:
    found = {sites[group]: group for group in groups if group in sites}
    if len(found) > 1:
        told = " and ".join(f"{group} ({site})" for site, group in found.items())
        raise ValueError(f"it is in {told}; give it server_site")
    return next(iter(found), None)
