"""What the lab's supervisor reads and writes of servers' bounds, in both kinds of cgroups."""

from pathlib import Path

import pytest

from automation.shipped.labd.bounds import (
    NO_CONTROLLERS,
    Bounds,
    Controller,
    Controllers,
    find_controllers,
    in_force,
    put_in_force,
    remove_groups,
    require,
)
from automation.shipped.labd.system import LabError

GIB = 1 << 30


def controllers(folder: Path, *, unified: bool) -> Controllers:
    known = {
        name: Controller(name, folder if unified else folder / name, unified) for name in ("cpu", "memory")
    }
    for one in known.values():
        one.lab.mkdir(exist_ok=True)
    return known


@pytest.mark.parametrize("unified", [True, False], ids=["v2", "v1"])
def test_what_was_put_in_force_is_read_back(tmp_path: Path, unified: bool) -> None:
    known = controllers(tmp_path, unified=unified)
    joined = put_in_force(known, "pg-a", Bounds(2, GIB))
    assert in_force(known, "pg-a") == Bounds(2, GIB)
    assert len(joined) == (0 if unified else 2), "in v2 its own group holds the bounds"
    put_in_force(known, "pg-a", Bounds(1))
    assert in_force(known, "pg-a") == Bounds(1, GIB), "what is left open stays"


@pytest.mark.parametrize(
    ("cpu", "memory", "found"),
    [
        ("max 100000", "max", Bounds()),
        ("150000 100000", "1073741824", Bounds(0, GIB)),
        ("400000 200000", "max", Bounds(2)),
    ],
    ids=["none", "a share of a processor", "another period"],
)
def test_the_kernels_words_of_v2_are_read(tmp_path: Path, cpu: str, memory: str, found: Bounds) -> None:
    group = tmp_path / "host-pg-a"
    group.mkdir()
    (group / "cpu.max").write_text(f"{cpu}\n")
    (group / "memory.max").write_text(f"{memory}\n")
    assert in_force(controllers(tmp_path, unified=True), "pg-a") == found


@pytest.mark.parametrize(
    ("quota", "limit", "found"),
    [
        ("-1", "9223372036854771712", Bounds()),
        ("150000", "1073741824", Bounds(0, GIB)),
        ("300000", "9223372036854771712", Bounds(3)),
    ],
    ids=["none", "a share of a processor", "three processors"],
)
def test_the_kernels_words_of_v1_are_read(tmp_path: Path, quota: str, limit: str, found: Bounds) -> None:
    known = controllers(tmp_path, unified=False)
    for name, files in (
        ("cpu", {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": "100000"}),
        ("memory", {"memory.limit_in_bytes": limit}),
    ):
        known[name].group("pg-a").mkdir()
        for file, text in files.items():
            (known[name].group("pg-a") / file).write_text(f"{text}\n")
    assert in_force(known, "pg-a") == found


def test_a_server_without_bounds_gets_no_group(tmp_path: Path) -> None:
    known = controllers(tmp_path, unified=False)
    assert put_in_force(known, "pg-a", Bounds()) == []
    assert not list(tmp_path.glob("*/host-*"))
    remove_groups(known, "pg-a")


def test_a_machine_without_the_controllers_says_so(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("pids\n")
    assert find_controllers(tmp_path, "0::/mainstay-t1/supervisor\n") == {}
    require(NO_CONTROLLERS, Bounds())
    with pytest.raises(LabError, match="bound no cpu and no memory; nothing was changed"):
        require(NO_CONTROLLERS, Bounds(1, GIB))


def test_a_group_that_is_not_the_labs_own_bounds_nobody(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("")
    assert find_controllers(tmp_path, "4:memory:/\n3:cpu,cpuacct:/mainstay-other\n0::/x\n") == {}


def test_a_machine_of_pure_v2_bounds_in_the_servers_own_group(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    found = find_controllers(tmp_path, "0::/mainstay-t1/supervisor\n")
    assert found == controllers(tmp_path, unified=True)


@pytest.mark.parametrize(
    ("wanted", "has", "takes"),
    [
        (Bounds(4, GIB), Bounds(1, GIB), False),
        (Bounds(1, 2 * GIB), Bounds(4, GIB), False),
        (Bounds(4, GIB), Bounds(1, 2 * GIB), True),
        (Bounds(0, GIB), Bounds(), True),
        (Bounds(1), Bounds(4, GIB), False),
    ],
    ids=["as much", "more", "less", "a first bound", "not named"],
)
def test_memory_is_taken_where_less_is_left_than_there_was(wanted: Bounds, has: Bounds, takes: bool) -> None:
    assert wanted.takes_memory(has) is takes
