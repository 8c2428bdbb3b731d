"""What a lab of the environment `lab` leaves on this machine: to be compared before and after."""

import subprocess
from contextlib import suppress
from pathlib import Path

from tests.conftest import ROOT


def machine() -> list[str]:
    """List the machine's links, addresses, routes, mounts, namespaces and the lab's cgroups.

    What other labs have meanwhile is left out; that they come and go is not our doing.
    """
    shown = [
        line.split(" valid_lft")[0]
        for words in ("-oneline address", "route show table all", "netns list")
        for line in subprocess.run(
            ["ip", *words.split()], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        if "ms-" not in line or "ms-lab" in line
    ]
    mounts = [line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob("**/mainstay-lab")]
    return sorted(shown + [line for line in mounts if "/var/tmp/" not in line] + cgroups)


def processes() -> list[str]:
    """List what runs for the lab: supervisor, WAN, containers, playbooks on its inventory."""
    inventory = str(ROOT / "inventories/lab/hosts.yml")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            of_lab = "--lab-id" in words and words[words.index("--lab-id") + 1] == "lab"
            if of_lab or inventory in words or any(word.startswith("--machine=lab-") for word in words):
                found.append(" ".join(words))
    return found
