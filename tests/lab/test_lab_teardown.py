"""Whatever dies, and whenever: lab.down leaves the machine as it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.adapters import nspawn
from automation.model.actions import BlockServer, FailSite
from tests.lab.small import Small

UP = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.lab.small import Small
Small(sys.argv[2], sys.argv[3], Path(sys.argv[4])).up()
"""
DOWN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from automation.adapters import nspawn
nspawn.remove_lab(Path(sys.argv[4]), sys.argv[2])
"""


@pytest.fixture
def city(tmp_path: Path) -> Iterator[Small]:
    city = Small("fall", "10.73", tmp_path)
    yield city
    nspawn.remove_lab(city.state, city.lab.id)


@pytest.fixture
def machine(city: Small) -> list[str]:
    """The machine before the lab."""
    return snapshot(city)


def snapshot(city: Small) -> list[str]:
    """List links, addresses, routes, mounts, namespaces, and everything of the lab.

    What other labs have meanwhile is left out; that they come and go is not our doing.
    """
    shown = [
        line
        for argv in (["ip", "-oneline", "address"], ["ip", "route", "show", "table", "all"])
        for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        if "ms-" not in line or f"ms-{city.lab.id}" in line
    ]
    mounts = [line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    names = [str(path) for place in ("/run/netns", "/run/systemd/nspawn") for path in Path(place).glob("*")]
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/mainstay-{city.lab.id}")]
    return sorted([re_lifetime(line) for line in shown] + mounts + names + cgroups)


def re_lifetime(line: str) -> str:
    """Drop the seconds that an address still lives; they count down by themselves."""
    return line.split(" valid_lft")[0]


def run_and_kill(program: str, city: Small, after_s: float) -> bool:
    """Run a program on the lab and kill -9 it after a while; False when it had ended by then."""
    root = str(Path(__file__).resolve().parents[2])
    argv = [sys.executable, "-c", program, root, city.lab.id, city.net, str(city.state)]
    running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=dict(os.environ))
    try:
        running.wait(after_s)
    except subprocess.TimeoutExpired:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        return True
    return False


@pytest.mark.parametrize("which", [0, 1, 2], ids=["unshare", "pid 1", "supervisor"])
def test_nothing_is_left_after_the_death_of_the(which: int, city: Small, machine: list[str]) -> None:
    city.up()
    nspawn.block_server(BlockServer(host="pg-a"), city)
    nspawn.fail_site(FailSite(site="eoc"), city)
    city.kill_supervisor(which)
    assert nspawn.remove_lab(city.state, city.lab.id)
    assert snapshot(city) == machine
    assert not (city.state / "lab").exists()


def test_a_running_lab_is_removed_and_a_second_time_finds_nothing(city: Small, machine: list[str]) -> None:
    city.up()
    assert "processes" in nspawn.remove_lab(city.state, city.lab.id)
    assert snapshot(city) == machine
    assert nspawn.remove_lab(city.state, city.lab.id) == ""


@pytest.mark.parametrize("after_s", [0.3, 0.5, 0.7, 0.9, 1.2])
def test_a_start_that_is_killed_half_way_leaves_nothing(
    after_s: float, city: Small, machine: list[str]
) -> None:
    run_and_kill(UP, city, after_s)
    nspawn.remove_lab(city.state, city.lab.id)
    assert snapshot(city) == machine
    assert city.processes() == []


@pytest.mark.parametrize("after_s", [0.2, 0.6])
def test_a_start_that_was_killed_can_be_finished(after_s: float, city: Small) -> None:
    run_and_kill(UP, city, after_s)
    city.up()
    assert city.ssh("pg-b", "hostname") == "pg-b"


@pytest.mark.parametrize("after_s", [0.15, 0.25, 0.4])
def test_a_removal_that_is_killed_half_way_can_be_finished(
    after_s: float, city: Small, machine: list[str]
) -> None:
    city.up()
    run_and_kill(DOWN, city, after_s)
    nspawn.remove_lab(city.state, city.lab.id)
    assert snapshot(city) == machine
    assert not list(city.state.glob("*lab*"))


def test_a_removal_leaves_other_labs_alone(city: Small, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Small("fall2", "10.74", tmp_path_factory.mktemp("other"))
    try:
        other.up()
        city.up()
        nspawn.remove_lab(city.state, city.lab.id)
        time.sleep(0.2)
        assert other.ssh("pg-a", "hostname") == "pg-a"
    finally:
        nspawn.remove_lab(other.state, other.lab.id)
