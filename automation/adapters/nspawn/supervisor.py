"""Starting the lab's supervisor: its topology file, its cgroups, its namespaces."""

import ipaddress
import json
import os
import subprocess
import sys
import time
from itertools import permutations
from pathlib import Path

from automation.adapters.nspawn.cgroups import lab_cgroups, make_lab_cgroups, refuse_foreign
from automation.adapters.nspawn.client import Supervisor
from automation.adapters.nspawn.remains import remove_link
from automation.model.environment import LabSettings
from automation.model.errors import AdapterError

CONTROL_SITE = "control"
SHIPPED = Path(__file__).resolve().parents[2] / "shipped"
START_TIMEOUT_S = 30.0

# Joins the given number of cgroups, then becomes the command: all of the lab is born inside them.
JOIN = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1/cgroup.procs" || exit 1; shift; n=$((n-1)); done; '
    'exec "$@"'
)


def topology(lab: LabSettings) -> dict[str, object]:
    """Give the lab's network as its supervisor reads it: gateways, links and delays spelled out.

    The control node is half as far from every site as sites are from each other.
    """
    subnets = {CONTROL_SITE: lab.control_subnet, **lab.sites}
    one_way_ms = lab.wan_rtt_s * 1000 / 2
    return {
        "lab_id": lab.id,
        "prefix": lab.prefix,
        "control": {"site": CONTROL_SITE, "address": str(ipaddress.IPv4Network(lab.control_subnet)[1])},
        "sites": {
            name: {"subnet": subnet, "gateway": str(ipaddress.IPv4Network(subnet)[-2])}
            for name, subnet in subnets.items()
        },
        "links": {
            f"{a}>{b}": {"delay_ms": one_way_ms / 2 if CONTROL_SITE in (a, b) else one_way_ms}
            for a, b in permutations(subnets, 2)
        },
    }


def start(state: Path, lab: LabSettings) -> bool:
    """Start the supervisor unless it runs; tell whether it was started.

    Raises:
        AdapterError: it did not come up; its own words are in the message.
    """
    folder, wanted = state / "lab", json.dumps(topology(lab), indent=1) + "\n"
    if Supervisor(state, lab.id).answers():
        if (folder / "topology.json").read_text() != wanted:
            raise AdapterError(
                f"lab {lab.id} runs with another network than environment.yml tells; nothing was changed",
                hint=f"./inv lab.down --env {state.name}, then ./inv lab.up --env {state.name}",
            )
        return False
    refuse_foreign(lab.id, state)
    refuse_odd_path(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    if not any(cgroup.is_populated() for cgroup in lab_cgroups(lab.id)):
        remove_link(f"ms-{lab.id}")  # of a supervisor that just died: its namespaces go a moment later
        (folder / "topology.json").write_text(wanted)
        _spawn(state, lab.id)
    _await_answer(state, lab.id)  # also of one that another process began to start
    return True


def refuse_odd_path(folder: Path) -> None:
    """Refuse a state folder that cannot hold disks: overlay options and the private /run forbid some.

    Raises:
        AdapterError: it cannot.
    """
    if any(letter in str(folder) for letter in ":,\\ \n") or folder.is_relative_to("/run"):
        raise AdapterError(
            f"the lab cannot keep disks in {folder}: no colon, comma, blank or backslash, and not below /run",
            hint="set MAINSTAY_STATE to another folder",
        )


def supervisor_command(state: Path, lab_id: str) -> list[str]:
    """Give the argument vector of the supervisor, as PID 1 of its own PID and mount namespaces.

    `setsid --fork` leaves it without a parent to wait for it, so no zombie stays with us.
    """
    return [
        *("setsid", "--fork", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
        *("--propagation", "private", sys.executable, "-B", "-s", "-m", "labd"),
        *("--lab-id", lab_id, "--state", str(state)),
    ]


def _spawn(state: Path, lab_id: str) -> None:
    cgroups = [str(path) for path in make_lab_cgroups(lab_id)]
    command = ["sh", "-c", JOIN, f"mainstay-{lab_id}", str(len(cgroups)), *cgroups]
    environment = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "PYTHONPATH": str(SHIPPED),
    }
    with (state / "lab" / "labd.log").open("wb") as log:
        done = subprocess.run(
            [*command, *supervisor_command(state, lab_id)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd="/",
            check=False,
        )
    if done.returncode != 0:
        raise AdapterError(f"lab {lab_id} could not be started: {_last_words(state)}")


def _await_answer(state: Path, lab_id: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not Supervisor(state, lab_id).answers():
        if not any(cgroup.is_populated() for cgroup in lab_cgroups(lab_id)):
            raise AdapterError(f"lab {lab_id} did not start: {_last_words(state)}")
        if time.monotonic() > deadline:
            raise AdapterError(
                f"lab {lab_id} does not answer after {START_TIMEOUT_S:.0f} s",
                hint=f"./inv lab.down --env {state.name} removes it",
            )
        time.sleep(0.02)


def _last_words(state: Path) -> str:
    lines = (state / "lab" / "labd.log").read_text(errors="replace").splitlines()
    return " / ".join(lines[-5:]) or "it said nothing"
