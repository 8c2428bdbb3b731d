"""Beginning an environment: its two files, with what a city's inventory says and blanks for the rest."""

import re
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from automation.commands._command import ROOT, progress
from automation.model.environment import InventoryReading, state_root
from automation.model.errors import ConfigError, PreflightError
from automation.model.templating import render

FILES = ("environment.yml", "services.yml")
SHOWN_GROUPS = 30
# Where ssh itself looks for the host keys of a machine.
KNOWN_HOSTS = "/etc/ssh/ssh_known_hosts"


class Wanted(NamedTuple):
    """An environment as it was asked for on the command line."""

    name: str
    inventory: tuple[str, ...]
    config: str = ""
    user: str = ""
    key: str = ""
    known_hosts: str = ""


def begin(wanted: Wanted) -> None:
    """Write the files of a new environment, and say what comes next.

    Raises:
        ConfigError: the name or the inventory is faulty.
        PreflightError: a file is there already.
    """
    from automation.adapters.ansible.inventory import list_groups, parse_inventory, resolve

    folder = _folder(wanted.name)
    sources = tuple(Path(source.strip()).resolve() for source in wanted.inventory)
    config = Path(wanted.config).resolve() if wanted.config else None
    with tempfile.TemporaryDirectory() as passing:
        answer = resolve(sources, Path(passing), InventoryReading(ansible_config=config))
    servers = parse_inventory(answer).servers
    counted = Counter({group: len(hosts) for group, hosts in list_groups(answer).items()})
    _write(
        folder,
        name=wanted.name,
        node=socket.gethostname(),
        sources=sources,
        config=config or "",
        hosts=len(servers),
        groups=counted.most_common(SHOWN_GROUPS),
        user=wanted.user or _user(answer),
        key=Path(wanted.key).resolve() if wanted.key else "",
        known_hosts=Path(wanted.known_hosts).resolve() if wanted.known_hosts else KNOWN_HOSTS,
        state=state_root() / wanted.name,
    )
    progress(f"{len(servers)} hosts in {len(counted)} groups were read; the inventory stays where it is")
    for step in _next(wanted.name, folder):
        print(step)


def _folder(name: str) -> Path:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", name):
        raise ConfigError(
            f"{name!r} is no name for an environment; nothing was written", hint="letters, digits and dashes"
        )
    folder = ROOT / "inventories" / name
    for file in FILES:
        if (folder / file).exists():
            raise PreflightError(
                f"{folder / file} is there already; nothing was written", hint="another --name"
            )
    return folder


def _user(answer: Mapping[str, Any]) -> str:
    """The user that most hosts of the inventory name."""
    hosts: Mapping[str, Mapping[str, Any]] = answer.get("_meta", {}).get("hostvars", {})
    named = Counter(str(one["ansible_user"]) for one in hosts.values() if "ansible_user" in one)
    return named.most_common(1)[0][0] if named else ""


def _write(folder: Path, **values: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        text = render(ROOT / "templates", f"environment/{file}.j2", **values)
        with (folder / file).open("x", encoding="utf-8") as new:
            new.write(text)


def _next(name: str, folder: Path) -> Iterator[str]:
    yield f"written: {', '.join(str(folder / file) for file in FILES)}"
    yield "1. fill in the blanks of environment.yml, and a first service in services.yml"
    yield f"2. ./inv dr.lint --env {name}"
    yield f"3. ./inv dr.readiness --env {name} --site SITE"
