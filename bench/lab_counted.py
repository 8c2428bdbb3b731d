"""What there is of a lab on this machine, counted past its supervisor and its adapter, and what journals say.

Counted are processes by what they were started with, cgroups, disks in the state folder, addresses and ports
in the network namespaces, mounts, host keys that are trusted, and disks that are kept of servers that went.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from automation.engine.journal import read_journal
from automation.model.actions import CreateServer
from automation.model.evidence import ServerState
from automation.model.machine_evidence import ProviderChange
from automation.model.plan import Plan
from automation.model.records import StepEnded


class Counted(NamedTuple):
    """All that a lab's servers are made of; each is named as often as it is there."""

    running: tuple[str, ...]
    cgroups: tuple[str, ...]
    mounts: tuple[str, ...]
    ports: tuple[str, ...]
    addresses: tuple[str, ...]  # of those that run: server and address
    disks: tuple[str, ...]
    trusted: tuple[str, ...]  # name and address of each host key
    snapshots: tuple[str, ...]  # server and run of each disk that is kept


def count(state: Path, lab_id: str, site: str) -> Counted:
    """Count what is there of a lab that runs."""
    supervisor = supervisor_of(lab_id)
    namespaces = Path(f"/proc/{supervisor}/root/run/netns")
    return Counted(
        running=tuple(sorted(_running(lab_id))),
        cgroups=tuple(sorted({path.name.removeprefix("host-") for path in _filled(lab_id)})),
        mounts=tuple(sorted(_mounts(supervisor, lab_id))),
        ports=tuple(sorted(_ports(namespaces / f"site-{site}"))),
        addresses=tuple(sorted(_addresses(namespaces))),
        disks=tuple(sorted(path.name for path in state.glob("lab/hosts/*"))),
        trusted=tuple(sorted(_trusted(state / "known_hosts"))),
        snapshots=tuple(sorted(f"{one.name}/{one.parent.name}" for one in state.glob("lab/kept/*/*"))),
    )


def told(state: Path) -> Counted:
    """Give what the journals of all runs say is there."""
    power: dict[str, str] = {}
    address: dict[str, str] = {}
    snapshots: set[str] = set()
    for made, event in _ended(state):
        evidence = event.outcome.evidence if event.outcome else None
        address |= {made.host: made.address} if made and evidence else {}
        if isinstance(evidence, ServerState):
            power[evidence.server] = evidence.power
        elif isinstance(evidence, ProviderChange) and evidence.verb == "deleted":
            power.pop(evidence.name, None)
            snapshots |= {id_ for part, id_ in evidence.ids.items() if part.startswith("snapshot:")}
    on = tuple(sorted(name for name, one in power.items() if one == "on"))
    return Counted(
        running=on,
        cgroups=on,
        mounts=on,
        ports=tuple(f"v-{name}" for name in on),
        addresses=tuple(f"{name} {address[name]}" for name in on),
        disks=tuple(sorted(power)),
        trusted=tuple(sorted(f"{name},{address[name]}" for name in power)),
        snapshots=tuple(sorted(snapshots)),
    )


def differences(there: Counted, said: Counted) -> str:
    """Say in which parts the two differ; nothing where they do not."""
    pairs = zip(Counted._fields, there, said, strict=True)
    return "; ".join(f"{part}: {one} there, {other} told" for part, one, other in pairs if one != other)


def remains_of(state: Path, lab_id: str) -> list[str]:
    """Name whatever is there of a lab that was taken down."""
    own_mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [
        *(f"process {' '.join(words)}" for _, words in _processes() if _is_of(lab_id, words)),
        *(str(path) for path in _cgroups(lab_id)),
        *(str(path) for path in Path("/sys/class/net").glob(f"ms-{lab_id}")),
        *(line for line in own_mounts if f"mainstay-{lab_id}-" in line),
        *(str(path) for path in (*state.glob("lab"), *state.glob(".lab-*"), *state.glob("known_hosts"))),
    ]


def supervisor_of(lab_id: str) -> int:
    """Find a lab's supervisor: after unshare and PID 1 of the lab, and before whatever it forks."""
    ours = ["labd", "--lab-id", lab_id]
    found = [pid for pid, words in _processes() if words[-5:-2] == ours]
    assert len(found) > 2, f"of the supervisor of {lab_id} these processes run: {found}"
    return sorted(found, key=_began)[2]


# --- the kernel --------------------------------------------------------------------------------------


def _processes() -> Iterator[tuple[int, list[str]]]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = process.joinpath("cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if words:
                yield int(process.name), words


def _is_of(lab_id: str, words: list[str]) -> bool:
    return any(words[i : i + 2] == ["--lab-id", lab_id] for i in range(len(words))) or any(
        word.startswith(f"--machine={lab_id}-") for word in words
    )


def _began(pid: int) -> tuple[int, int]:
    """Order processes as they began: by the clock's ticks, and one that forks comes before its child."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]), pid


def _running(lab_id: str) -> Iterator[str]:
    """Name the server of each systemd-nspawn of the lab's."""
    machine = f"--machine={lab_id}-"
    for _, words in _processes():
        if words[0].endswith("systemd-nspawn"):
            yield from (word.removeprefix(machine) for word in words if word.startswith(machine))


def _cgroups(lab_id: str, below: str = "") -> list[Path]:
    """Find a lab's cgroups in every hierarchy."""
    own = f"mainstay-{lab_id}/{below}".rstrip("/")
    root = Path("/sys/fs/cgroup")
    return [*root.glob(own), *root.glob(f"*/{own}")]


def _filled(lab_id: str) -> Iterator[Path]:
    """Find the groups of a lab's servers that hold processes; an empty one is left when a supervisor dies."""
    for path in _cgroups(lab_id, "host-*"):
        with suppress(OSError):  # gone meanwhile
            if any(procs.read_text() for procs in path.rglob("cgroup.procs")):
                yield path


def _mounts(pid: int, lab_id: str) -> Iterator[str]:
    """Name the servers whose disks are mounted where the supervisor lives."""
    source = f"mainstay-{lab_id}-"
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        mounted = line.partition(" - ")[2].split()[1]
        if mounted.startswith(source):
            yield mounted.removeprefix(source)


def _ports(namespace: Path) -> Iterator[str]:
    for link in _ip_in(namespace, "link"):
        if str(link["ifname"]).startswith("v-"):
            yield str(link["ifname"])


def _addresses(namespaces: Path) -> Iterator[str]:
    """Read every address in every network namespace that a server has or had."""
    for namespace in namespaces.glob("host-*"):
        for link in _ip_in(namespace, "-4", "address", "show", "scope", "global"):
            for one in link.get("addr_info", ()):
                yield f"{namespace.name.removeprefix('host-')} {one['local']}"


def _ip_in(namespace: Path, *words: str) -> list[dict[str, Any]]:
    shown = subprocess.run(
        ["nsenter", f"--net={namespace}", "ip", "-json", *words], capture_output=True, text=True, check=True
    )
    links: list[dict[str, Any]] = json.loads(shown.stdout or "[]")
    return [link for link in links if link]


# --- the state folder --------------------------------------------------------------------------------


def _trusted(known_hosts: Path) -> Iterator[str]:
    lines = known_hosts.read_text().splitlines() if known_hosts.exists() else []
    yield from (line.split(" ", 1)[0] for line in lines)


def _ended(state: Path) -> Iterator[tuple[CreateServer | None, StepEnded]]:
    """Give every step that ended, as it came, with the creation that it was."""
    found = []
    for journal in state.glob("runs/*/journal.jsonl"):
        plan = Plan.model_validate_json(journal.with_name("plan.json").read_text())
        steps = {one.id: one for one in plan.steps}
        for event in read_journal(journal):
            if isinstance(event.body, StepEnded):
                run = steps[event.body.step].run
                found.append((event.at, run if isinstance(run, CreateServer) else None, event.body))
    for _, made, ended in sorted(found, key=lambda one: one[0]):
        yield made, ended
