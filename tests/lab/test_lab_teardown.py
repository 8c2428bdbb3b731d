"""Whatever dies, and whenever: lab.down leaves the machine as it was."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Timer

import pytest

from automation.adapters import nspawn
from automation.model.actions import BlockServer, FailSite
from tests.lab.small import Small

# Both print a mark before each of their parts, and stand still at the mark that they are given.
MARKS = """
import os, signal, sys
from pathlib import Path
root, lab_id, net, state, stop = sys.argv[1:]
sys.path.insert(0, root)
from automation.adapters import keys, nspawn
from automation.adapters.nspawn import remains

def mark(place, name):
    part = getattr(place, name)
    def marked(*args, **more):
        print(name, flush=True)
        if name == stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        return part(*args, **more)
    setattr(place, name, marked)
"""
UP = (
    MARKS
    + """
from tests.lab.small import Small
for name in ("preflight", "build_image", "start_lab", "create_server"):
    mark(nspawn, name)
mark(nspawn.supervisor, "_await_answer")
mark(nspawn.hostkeys, "pin")
mark(Small, "await_all")
Small(lab_id, net, Path(state)).up()
"""
)
DOWN = (
    MARKS
    + """
for name in ("end_lab_processes", "remove_link", "unmount_all", "_remove_folder", "forget_all"):
    mark(remains, name)
mark(remains.shutil, "rmtree")
nspawn.remove_lab(Path(state), lab_id)
"""
)
MARK_S = 60.0


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

    What other labs and tests have meanwhile is left out; that they come and go is not our doing.
    """
    shown = [
        line
        for argv in (["ip", "-oneline", "address"], ["ip", "route", "show", "table", "all"])
        for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
        if "ms-" not in line or f"ms-{city.lab.id}" in line
    ]
    mounts = [line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    mounts = [line for line in mounts if "/pytest-of-" not in line or str(city.state) in line]
    names = [str(path) for place in ("/run/netns", "/run/systemd/nspawn") for path in Path(place).glob("*")]
    places = (f"mainstay-{city.lab.id}", f"*/mainstay-{city.lab.id}")  # in cgroup v2 alone, or beside v1
    cgroups = [str(path) for place in places for path in Path("/sys/fs/cgroup").glob(place)]
    return sorted([re_lifetime(line) for line in shown] + mounts + names + cgroups)


def re_lifetime(line: str) -> str:
    """Drop the seconds that an address still lives; they count down by themselves."""
    return line.split(" valid_lft")[0]


def run_and_kill(program: str, city: Small, mark: str, after_s: float | None = None) -> None:
    """Run a program on the lab and kill -9 it at a mark, or so long after it; it must live until then."""
    root, stop = str(Path(__file__).resolve().parents[2]), mark if after_s is None else "nowhere"
    argv = [sys.executable, "-c", program, root, city.lab.id, city.net, str(city.state), stop]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as running:
        assert running.stdout is not None
        timer = Timer(MARK_S, running.kill)
        timer.start()
        said = [line.strip() for line in iter_until(running.stdout, mark)]
        timer.cancel()
        time.sleep(after_s or 0.0)
        os.kill(running.pid, signal.SIGKILL)
    assert said[-1:] == [mark], f"the program never came to {mark}: {said}"
    assert running.returncode == -signal.SIGKILL, f"the program had ended before it was killed: {said}"


def iter_until(lines: Iterable[str], last: str) -> Iterator[str]:
    """Give lines up to one that says no more than this."""
    for line in lines:
        yield line
        if line.strip() == last:
            return


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


@pytest.mark.parametrize(
    ("mark", "after_s"),
    [
        ("start_lab", None),
        ("_await_answer", None),
        ("_await_answer", 0.05),
        ("pin", None),
        ("create_server", 0.1),
        ("await_all", None),
    ],
)
def test_a_start_that_is_killed_half_way_leaves_nothing(
    mark: str, after_s: float | None, city: Small, machine: list[str]
) -> None:
    run_and_kill(UP, city, mark, after_s)
    nspawn.remove_lab(city.state, city.lab.id)
    assert snapshot(city) == machine
    assert city.processes() == []


@pytest.mark.parametrize("mark", ["_await_answer", "pin", "await_all"])
def test_a_start_that_was_killed_can_be_finished(mark: str, city: Small) -> None:
    run_and_kill(UP, city, mark)
    city.up()
    assert city.ssh("pg-b", "hostname") == "pg-b"


@pytest.mark.parametrize("mark", ["end_lab_processes", "remove_link", "unmount_all", "rmtree", "forget_all"])
def test_a_removal_that_is_killed_half_way_can_be_finished(
    mark: str, city: Small, machine: list[str]
) -> None:
    city.up()
    run_and_kill(DOWN, city, mark)
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
