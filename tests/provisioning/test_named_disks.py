"""Which disks of a server that somebody else made are the declared ones."""

import pytest

from automation.model.servers import Disk, FoundDisk, name_disks

GIB = 2**30


def found(*sizes: int, kind: str = "gp3") -> list[FoundDisk]:
    return [
        FoundDisk(id=f"vol-{number}", name="", size_bytes=size * GIB, kind=kind)
        for number, size in enumerate(sizes, start=1)
    ]


def declared(**sizes: int) -> list[Disk]:
    return [Disk(name=name, size_bytes=size * GIB) for name, size in sizes.items()]


@pytest.mark.parametrize(
    ("wanted", "there", "named"),
    [
        ({"data": 10}, (10,), {"data": "vol-1"}),
        ({"wal": 5, "data": 10}, (10, 5), {"wal": "vol-2", "data": "vol-1"}),
        ({"data": 20}, (10,), {"data": "vol-1"}),
        ({"data": 20, "wal": 5}, (5, 10), {"data": "vol-2", "wal": "vol-1"}),
        ({"data": 10, "wal": 5}, (10,), {"data": "vol-1"}),
        ({"data": 10}, (10, 10), {"data": "vol-1"}),
        ({}, (10,), {}),
    ],
    ids=["the same", "another order", "one to grow", "what is left", "one to make", "two alike", "none"],
)
def test_a_disk_of_the_very_size_is_the_declared_one_and_the_rest_goes_by_order(
    wanted: dict[str, int], there: tuple[int, ...], named: dict[str, str]
) -> None:
    assert name_disks(declared(**wanted), found(*there)) == named


def test_of_two_of_a_size_that_of_the_kind_is_taken() -> None:
    there = [*found(10), *found(0, 10, kind="io2")[1:]]
    wanted = [Disk(name="fast", size_bytes=10 * GIB, kind="io2")]
    assert name_disks(wanted, there) == {"fast": "vol-2"}
