"""Start the lab: `python3 -m labd --lab-id ID --state DIR`, as PID 1 of new pid and mount namespaces."""

import argparse
import fcntl
import os
import sys
from pathlib import Path

from .bounds import find_controllers
from .lab import Lab
from .server import serve
from .system import MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID, LabError, mount, unmount
from .topology import TopologyError, load


def main() -> int:
    """Split into a reaper, which is PID 1, and the supervisor; the death of either ends the lab."""
    parser = argparse.ArgumentParser(prog="labd", description="supervisor of a Mainstay lab")
    parser.add_argument("--lab-id", required=True)
    parser.add_argument("--state", required=True, type=Path, help="folder that holds lab/topology.json")
    options = parser.parse_args()
    if os.getpid() != 1:
        parser.error("must be PID 1 of its own namespaces; start the lab with lab.up")
    supervisor = os.fork()
    if supervisor:
        return reap_until(supervisor)
    try:
        supervise(options.lab_id, options.state / "lab")
    except (LabError, TopologyError, OSError) as exc:
        print(f"labd: {exc}", file=sys.stderr, flush=True)
        if getattr(exc, "hint", None):
            print(f"hint: {exc.hint}", file=sys.stderr, flush=True)  # type: ignore[union-attr]
        return 4
    return 0


def reap_until(supervisor: int) -> int:
    """Collect every orphan of the lab until the supervisor ends; then the kernel ends the rest.

    Kept apart from the supervisor, which waits for its own children by number.
    """
    while True:
        pid, status = os.wait()
        if pid == supervisor:
            return os.waitstatus_to_exitcode(status) & 0xFF


def supervise(lab_id: str, folder: Path) -> None:
    """Claim the lab's folder, make the private mounts, start the lab, and serve."""
    claim = (folder / "labd.lock").open("w")
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise LabError(f"lab {lab_id} is running already") from None
    topology = load(folder / "topology.json")
    if topology.lab_id != lab_id:
        raise LabError(f"{folder} belongs to lab {topology.lab_id}, not to {lab_id}")
    cgroup = make_private_mounts()
    lab = Lab(topology, folder, cgroup, find_controllers(cgroup, Path("/proc/self/cgroup").read_text()))
    lab.start()
    serve(lab, folder, lambda: print(f"labd: lab {lab_id} is up", file=sys.stderr, flush=True))


def make_private_mounts() -> Path:
    """Give the lab its own /run and a pure cgroup v2 view; return the lab's cgroup.

    The own /run holds network namespaces and what systemd-nspawn leaves there, out of the machine's.
    """
    mount("mainstay-run", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    own = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    for target in mounts_below("/sys/fs/cgroup"):
        unmount(target, MNT_DETACH)
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    return Path("/sys/fs/cgroup", own.removeprefix("0::").strip("/")).parent


def mounts_below(folder: str) -> list[str]:
    """List mount points at and below a folder, deepest first."""
    targets = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((t for t in targets if t == folder or t.startswith(f"{folder}/")), reverse=True)


if __name__ == "__main__":
    sys.exit(main())
