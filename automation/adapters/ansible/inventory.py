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

from automation.model.environment import Inventory, Server
from automation.model.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 60.0


def list_inventory(sources: Sequence[Path], state: Path) -> Inventory:
    """Resolve inventory sources through ansible-inventory, cached by the content of all they read.

    Args:
        sources: inventory files, never a folder; group_vars and host_vars beside them count.
        state: the environment's state folder, where the answer is kept.

    Raises:
        ConfigError: a file is wrong, or a host lacks what provisioning needs.
    """
    if any(_is_dynamic(source) for source in sources):
        return parse_inventory(_ask(sources))
    cached = state / "inventory" / f"{_digest(sources)}.json"
    if not cached.exists():
        _keep(cached, _ask(sources))
    return parse_inventory(json.loads(cached.read_text(encoding="utf-8")))


def _is_dynamic(source: Path) -> bool:
    """Say whether a source asks something outside, so that its content tells nothing of its answer."""
    try:
        lines = source.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as exc:
        raise ConfigError(f"cannot read inventory {source}: {exc.strerror}; nothing was touched") from exc
    return os.access(source, os.X_OK) or any(line.startswith("plugin:") for line in lines)


def _digest(sources: Sequence[Path]) -> str:
    """sha256 over every file that an answer can come from, with its name."""
    seen = hashlib.sha256()
    folders = {source.parent / name for source in sources for name in ("group_vars", "host_vars")}
    beside = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    for path in (*sources, *beside, ROOT / "ansible.cfg", ROOT / "requirements.lock"):
        content = path.read_bytes() if path.exists() else b""
        seen.update(f"{path.resolve()}\0{len(content)}\0".encode() + content)
    return seen.hexdigest()


def _ask(sources: Sequence[Path]) -> dict[str, Any]:
    argv = [str(Path(sys.executable).with_name("ansible-inventory")), "--list"]
    argv += [part for source in sources for part in ("-i", str(source))]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with tempfile.TemporaryDirectory(prefix="mainstay-inventory-") as home:
        environment = {
            "PATH": path,
            "LANG": "C.UTF-8",
            "HOME": home,
            "ANSIBLE_HOME": home,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
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


def parse_inventory(answer: Mapping[str, Any]) -> Inventory:
    """Give the servers in an answer of `ansible-inventory --list`. Pure.

    Raises:
        ConfigError: a host lacks what provisioning needs; all of them are named.
    """
    hosts: dict[str, dict[str, Any]] = answer.get("_meta", {}).get("hostvars", {})
    groups = {
        name: set(_members(answer, name)) for name in answer if name not in ("_meta", "all", "ungrouped")
    }
    servers, problems = {}, []
    for name in sorted(hosts):
        try:
            servers[name] = _server(name, hosts[name], groups)
        except ValidationError as exc:
            missing = ", ".join(f"server_{error['loc'][0]}" for error in exc.errors())
            problems.append(f"  {name}: {missing} must be given as text")
    if problems:
        raise ConfigError("the inventory is not complete; nothing was touched\n" + "\n".join(problems))
    resolved = json.dumps(answer, sort_keys=True, separators=(",", ":"))
    return Inventory(servers=servers, digest=hashlib.sha256(resolved.encode()).hexdigest())


def _members(answer: Mapping[str, Any], group: str) -> Iterator[str]:
    content = answer.get(group, {})
    yield from content.get("hosts", [])
    for child in content.get("children", []):
        yield from _members(answer, child)


def _server(name: str, variables: Mapping[str, Any], groups: Mapping[str, set[str]]) -> Server:
    return Server.model_validate(
        {
            "name": name,
            "address": variables.get("server_address", variables.get("ansible_host")),
            "site": variables.get("server_site"),
            "provider": variables.get("server_provider"),
            "image": variables.get("server_image"),
            "groups": tuple(sorted(group for group, members in groups.items() if name in members)),
        }
    )
