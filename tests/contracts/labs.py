"""A city whose servers are hosts of a lab of its own (nspawn), for the contract of providers."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from automation.adapters import nspawn
from automation.adapters.nspawn.cgroups import lab_cgroups
from automation.adapters.ssh import Connections
from automation.commands._providers import Around
from automation.commands._provision_views import look
from automation.commands._servers import ProvisionFlags, plan_provisioning
from automation.commands._session import Session
from automation.model.environment import state_root
from automation.model.evidence import ServerState
from automation.model.machine_evidence import ProviderChange
from automation.model.records import StepEnded
from automation.provisioning.compiling import Allowed
from automation.provisioning.composing import Wanted
from tests.contracts.lab_door import LabDoor, door_of
from tests.contracts.providers import NOTHING_NAMED, Census, City, Cloud
from tests.lab.small import until

# Several workers of pytest's may have one each.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
LAB, NET = f"plan{_WORKER}", f"10.{110 + _WORKER}"


@dataclass
class LabCity(City):
    """A city of hosts; each that is declared has the next address of the one site."""

    door: LabDoor | None = None
    _addresses: Iterator[int] = field(default_factory=lambda: count(10))

    def named(self) -> str:
        return LAB

    def declare(self, name: str, **more: object) -> None:
        known = self.hosts.get(name, {}).get("server_address")
        address = known or f"{NET}.1.{next(self._addresses)}"
        self.hosts[name] = {
            "ansible_host": address,
            "server_provider": "nspawn",
            "server_site": self.site,
            "server_image": self.cloud.image,
            "server_address": address,
            **{f"server_{key}": value for key, value in more.items()},
        }

    def session(self) -> Session:
        told = super().session()
        environment, inventory = told.environment, told.inventory
        user, key = environment.automation_user, environment.ssh_key(told.state)
        connections = Connections(inventory, user, key, environment.known_hosts(told.state))
        images = state_root() / "images"
        return replace(
            told,
            images=images,
            remote=connections.remote,
            context=lambda run: replace(told.context(run), images=images, connections=connections),
        )

    def look(self) -> Around:
        return look(self.session())

    def plan(self, allowed: Allowed = NOTHING_NAMED) -> Wanted:
        flags = ProvisionFlags(restart=",".join(allowed.restart), replace=",".join(allowed.replace))
        return plan_provisioning(self.session(), flags)

    def recorded(self) -> Census:
        servers: set[str] = set()
        kept: set[str] = set()
        for event in self.events():
            outcome = event.body.outcome if isinstance(event.body, StepEnded) else None
            match outcome.evidence if outcome else None:
                case ServerState(server=name):
                    servers.add(f"{LAB}-{name}")
                case ProviderChange(verb="deleted", ids=ids):
                    servers.discard(ids["server"])
                    kept |= {id_ for part, id_ in ids.items() if part.startswith("snapshot:")}
        return Census(tuple(sorted(servers)), 0, 0, len(kept))

    def _environment(self) -> dict[str, object]:
        known = super()._environment()
        lab = {
            "id": LAB,
            "prefix": f"{NET}.0.0/16",
            "control_subnet": f"{NET}.0.0/24",
            "sites": {self.site: f"{NET}.1.0/24"},
        }
        return {**known, "lab": lab, "providers": {}}


@contextmanager
def lab_city(root: Path) -> Iterator[LabCity]:
    """Run a lab without hosts, with a door before it; all of it is gone at the end."""
    city = LabCity(_provider(), root)
    try:
        city.session().run(city.plan().plan).raise_for_status()
        with door_of(city.state / "lab") as door:
            city.door = door
            city.cloud = replace(_provider(door), census=lambda _name: census(city.state))
            yield city
    finally:
        nspawn.remove_lab(city.state, LAB)


def census(state: Path) -> Census:
    """Count hosts by their disks, and disks that were kept, in the lab's folder alone."""
    hosts = sorted(f"{LAB}-{path.parent.name}" for path in state.glob("lab/hosts/*/upper"))
    return Census(tuple(hosts), 0, 0, len(list(state.glob("lab/kept/*/*"))))


def _provider(door: LabDoor | None = None) -> Cloud:
    def nowhere(*_words: str) -> Any:
        raise AssertionError("a lab has no server that it did not make")

    def order(*rules: Mapping[str, object]) -> None:
        if door:
            door.order(*rules)

    return Cloud(
        kind="nspawn",
        provider={},
        simulator={},
        keys={},
        network={},
        size={},
        larger={},
        image="debian-12",
        census=nowhere,
        make_stranger=nowhere,
        stop=_cut_power,
        faults=order,
        no_faults=door.drop_rules if door else lambda: None,
        calls=lambda: dict(door.calls) if door else {},
    )


def _cut_power(id_: str) -> None:
    """Kill every process of a host, past the supervisor, which clears up after it."""
    host = f"host-{id_.removeprefix(f'{LAB}-')}"
    groups = [one.path / host for one in lab_cgroups(LAB) if (one.path / host / "cgroup.kill").exists()]
    assert groups, f"{host} does not run"
    for group in groups:
        (group / "cgroup.kill").write_text("1")
    until(lambda: not any(group.exists() for group in groups), f"{host} is cleared up")
