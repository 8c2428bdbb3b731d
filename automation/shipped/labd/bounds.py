"""How much of the machine a server may use: processors and memory, which the kernel holds it to.

The controllers of the kernel's cgroups stand in cgroup v2, or each in a hierarchy of its own (v1), where a
server with bounds has a group beside its own. A server without bounds has none, and shares what there is.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from .system import MS_NODEV, MS_NOEXEC, MS_NOSUID, LabError, mount

KNOWN: tuple[str, ...] = ("cpu", "memory")
PERIOD_US = 100_000  # the kernel's own, of the time that processors are shared in
UNBOUNDED_BYTES = 1 << 60  # v1 has a number for no bound at all, which depends on the page size
PLACE = Path("/run/mainstay-cgroup")
TRIES = 100  # of moving what starts others meanwhile


class Bounds(NamedTuple):
    """What a server may use; 0: no bound of its own."""

    cpus: int = 0
    memory_bytes: int = 0

    def over(self, other: "Bounds") -> "Bounds":
        """Lay these over others: what they leave open stays."""
        return Bounds(self.cpus or other.cpus, self.memory_bytes or other.memory_bytes)

    def takes_memory(self, in_force: "Bounds") -> bool:
        """Whether it leaves less memory than there is: what runs would be killed for what it has."""
        before, after = in_force.memory_bytes, self.memory_bytes
        return bool(after) and (not before or after < before)


class Controller(NamedTuple):
    """One of the kernel's controllers, and the lab's folder in its hierarchy."""

    name: str
    lab: Path
    unified: bool

    def group(self, server: str) -> Path:
        """Give the folder that holds one server's bounds."""
        return self.lab / f"host-{server}"

    def file(self, server: str) -> Path:
        """Give the file of one server's bound."""
        names = {"cpu": ("cpu.max", "cpu.cfs_quota_us"), "memory": ("memory.max", "memory.limit_in_bytes")}
        return self.group(server) / names[self.name][0 if self.unified else 1]

    def write(self, server: str, bound: int) -> None:
        """Put a bound in force, in a group that may not be there yet, and read it back.

        Raises:
            LabError: the kernel does not take it.
        """
        text = str(bound)
        if self.name == "cpu":
            text = f"{bound * PERIOD_US} {PERIOD_US}" if self.unified else str(bound * PERIOD_US)
        try:
            self._make_group(server)
            self.file(server).write_text(text)
        except OSError as exc:
            raise LabError(f"server {server}: cannot be bounded to {text} in {exc.filename}: {exc}") from exc
        if self.read(server) != bound:
            raise LabError(f"server {server}: the kernel keeps {self.file(server).name} as it was")

    def read(self, server: str) -> int:
        """Give the bound in force; 0: none, or a share of a processor that nobody could declare."""
        try:
            text = self.file(server).read_text().split()
        except OSError:  # it has no such group, or none any more
            return 0
        if self.name == "memory":
            return 0 if text[0] == "max" or int(text[0]) >= UNBOUNDED_BYTES else int(text[0])
        quota, period = text if self.unified else (text[0], self._period_us(server))
        whole = quota not in ("max", "-1") and int(quota) % int(period) == 0
        return int(quota) // int(period) if whole else 0

    def _make_group(self, server: str) -> None:
        if self.unified:
            (self.lab / "cgroup.subtree_control").write_text(f"+{self.name}")
        self.group(server).mkdir(exist_ok=True)
        if self.name == "cpu" and not self.unified:
            (self.group(server) / "cpu.cfs_period_us").write_text(str(PERIOD_US))

    def _period_us(self, server: str) -> str:
        return (self.group(server) / "cpu.cfs_period_us").read_text()


Controllers = Mapping[str, Controller]
NO_CONTROLLERS: Controllers = MappingProxyType({})


def find_controllers(lab: Path, membership: str) -> Controllers:
    """Give the controllers that can bound a lab's servers; those of v1 are mounted in a place of their own.

    Args:
        lab: the lab's folder in cgroup v2.
        membership: /proc/self/cgroup of a process of the lab.
    """
    in_v2 = (lab / "cgroup.controllers").read_text().split()
    found = {name: Controller(name, lab, True) for name in KNOWN if name in in_v2}
    for line in membership.splitlines():
        _, names, path = line.split(":", 2)
        own = [name for name in KNOWN if name in names.split(",")]
        if own and Path(path).name == lab.name and _mounted(names):
            found |= {name: Controller(name, PLACE / names / path.strip("/"), False) for name in own}
    return found


def _mounted(names: str) -> bool:
    """Mount a hierarchy of v1; where that is refused a lab runs all the same, without bounds."""
    target = PLACE / names
    target.mkdir(parents=True, exist_ok=True)
    try:
        mount("mainstay-cgroup", str(target), "cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, names)
    except OSError as exc:
        print(f"labd: no server can be bounded in {names}: {exc}", file=sys.stderr, flush=True)
        return False
    return True


def require(controllers: Controllers, bounds: Bounds) -> None:
    """See that this machine can hold a server to its bounds.

    Raises:
        LabError: it has no such controller; nothing was changed.
    """
    missing = [name for name in _named(bounds) if name not in controllers]
    if missing:
        raise LabError(f"this machine's cgroups bound no {' and no '.join(missing)}; nothing was changed")


def put_in_force(controllers: Controllers, server: str, bounds: Bounds) -> list[Path]:
    """Hold a server to its bounds; give the groups that its processes have to be in for it."""
    require(controllers, bounds)
    for name, bound in _named(bounds).items():
        controllers[name].write(server, bound)
    return [controllers[name].group(server) for name in _named(bounds) if not controllers[name].unified]


def move_in(server: Path, groups: Sequence[Path]) -> None:
    """Move all processes of a server's cgroup, and those they start meanwhile, to its other groups.

    Raises:
        LabError: some stay where they were.
    """
    for group in groups:
        for _ in range(TRIES):
            left = _processes(server) - _processes(group)
            if not left:
                break
            for pid in left:
                with suppress(ProcessLookupError):  # ended meanwhile
                    (group / "cgroup.procs").write_text(str(pid))
        else:
            raise LabError(f"processes {sorted(left)} of {server.name} cannot be moved to {group}")


def in_force(controllers: Controllers, server: str) -> Bounds:
    """Read back from the kernel what a running server is held to."""
    found = {name: one.read(server) for name, one in controllers.items()}
    return Bounds(found.get("cpu", 0), found.get("memory", 0))


def remove_groups(controllers: Controllers, server: str) -> None:
    """Remove the groups that a server had beside its own; no process is left in them."""
    for controller in controllers.values():
        if not controller.unified and controller.group(server).exists():
            controller.group(server).rmdir()


def _named(bounds: Bounds) -> dict[str, int]:
    known = {"cpu": bounds.cpus, "memory": bounds.memory_bytes}
    return {name: bound for name, bound in known.items() if bound}


def _processes(group: Path) -> set[int]:
    found: set[int] = set()
    for path in group.rglob("cgroup.procs"):
        with suppress(OSError):  # removed meanwhile
            found |= {int(line) for line in path.read_text().split()}
    return found
