"""A city whose servers are hosts of a lab of its own (nspawn), for the contract of providers."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
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
from automation.model.plan import Step
from automation.model.records import StepEnded
from automation.model.servers import Size
from automation.provisioning.compiling import Allowed
from automation.provisioning.composing import Wanted
from tests.contracts.lab_door import LabDoor, door_of
from tests.contracts.providers import NOTHING_NAMED, Census, Change, City, Cloud
from tests.lab.small import until

# Several workers of pytest's may have one each.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
LAB, NET = f"plan{_WORKER}", f"10.{110 + _WORKER}"
SMALL, OTHER = {"cpus": 1, "memory": "512 MiB"}, {"cpus": 2, "memory": "384 MiB"}
CHANGE = Change(
    before={"size": SMALL},
    after={"size": OTHER},
    restarting=frozenset({"size:memory"}),
    replacing={"address": f"{NET}.1.99"},
)


@dataclass
class LabCity(City):
    """A city of hosts; each that is declared has the next address of the one site."""

    door: LabDoor | None = None
    _addresses: Iterator[int] = field(default_factory=lambda: count(10))

    def named(self) -> str:
        return LAB

    def declare(self, name: str, **more: object) -> None:
        known = self.hosts.get(name, {}).get("server_address")
        address = more.get("address") or known or f"{NET}.1.{next(self._addresses)}"
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

    def apply_steps(self) -> tuple[Step, ...]:
        """Apply; give the steps that it took."""
        steps = self.plan().plan.steps
        self.apply()
        return steps

    def console(self, host: str) -> str:
        """Give what a host wrote on its console in all its lives."""
        return (self.state / "lab/hosts" / host / "console.log").read_text(errors="replace")

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
            city.cloud = replace(
                _provider(door),
                census=lambda _name: census(city.state),
                identity_of=lambda id_: identity_of(city.state, id_),
            )
            yield city
    finally:
        nspawn.remove_lab(city.state, LAB)


def census(state: Path) -> Census:
    """Count hosts by their disks, and disks that were kept, in the lab's folder alone."""
    hosts = sorted(f"{LAB}-{path.parent.name}" for path in state.glob("lab/hosts/*/upper"))
    return Census(tuple(hosts), 0, 0, len(list(state.glob("lab/kept/*/*"))))


def size_of(id_: str) -> Size:
    """Read what the kernel lets all processes of a host use, each found by what it was started with."""
    found = {tuple(_bounds(process)) for process in _processes(id_)}
    assert len(found) == 1, f"processes of {id_} are held to {found}"
    cpus, memory_bytes = found.pop()
    return Size(cpus=cpus, memory=memory_bytes)


def _processes(id_: str) -> list[Path]:
    """Find every process of a host's systemd-nspawn, from its command line down."""
    parents: dict[str, str] = {}
    own: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[process.name] = process.joinpath("stat").read_text().rpartition(")")[2].split()[1]
            words = process.joinpath("cmdline").read_bytes().split(b"\0")
            own |= {process.name} if f"--machine={id_}".encode() in words else set()
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    assert own, f"{id_} does not run"
    return [Path("/proc", pid) for pid in sorted(own)]


def _bounds(process: Path) -> Iterator[int]:
    """Read a process's own bounds on processors and memory."""
    yield max(0, int(_file_of(process, "cpu", "cpu.cfs_quota_us").read_text()) // 100_000)  # -1: none
    yield int(_file_of(process, "memory", "memory.limit_in_bytes").read_text())


def _file_of(process: Path, controller: str, file: str) -> Path:
    """Find a file of the group that a process is in, in the hierarchy of a controller (cgroup v1)."""
    known = [line.split(":", 2) for line in process.joinpath("cgroup").read_text().splitlines()]
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    path = next(path for _, names, path in known if controller in names.split(","))
    place = next(one[4] for one in mounts if one[-3] == "cgroup" and controller in one[-1].split(","))
    return Path(f"{place}{path}", file)


def bound_by_hand(id_: str, *, cpus: float, memory_bytes: int) -> None:
    """Change what a host may use behind everyone's back, in the kernel's own files."""
    process = _processes(id_)[0]
    _file_of(process, "cpu", "cpu.cfs_quota_us").write_text(str(int(cpus * 100_000)))
    _file_of(process, "memory", "memory.limit_in_bytes").write_text(str(memory_bytes))


def life_of(id_: str) -> str:
    """Tell a running host's life from its next: when the first of its processes began."""
    return min(
        (process.joinpath("stat").read_text().rpartition(")")[2].split()[19] for process in _processes(id_)),
        key=int,
    )


def identity_of(state: Path, id_: str) -> str:
    """Read who a host is from its disk: one made anew has another number."""
    host = id_.removeprefix(f"{LAB}-")
    return (state / "lab/hosts" / host / "upper/etc/machine-id").read_text()


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
        image="debian-12",
        change=CHANGE,
        census=nowhere,
        size_of=size_of,
        identity_of=nowhere,
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
