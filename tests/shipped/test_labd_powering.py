"""When a host that a simulated machine powers keeps its disk, and whose it gets."""

from pathlib import Path

import pytest

from automation.shipped.labd.powering import copy_disk, make_host_key, may_keep
from automation.shipped.labd.records import Server
from automation.shipped.labd.simulators import Powered
from automation.shipped.labd.system import LabError

REPLICA = Powered("gis-b", "eoc", "10.0.2.7", "/image", disk_of="gis-a", replicated=True)
LAUNCHED = Powered("web-w", "west", "10.0.6.7", "/image", disk_of="web-e")


def server(ran_at: float, *, isolated: bool = False) -> Server:
    reach = ["10.0.0.1"] if isolated else None
    return Server("eoc", "10.0.2.7", "/image", power="off", reach=reach, machine="vc/gis", ran_at=ran_at)


@pytest.mark.parametrize(
    ("wanted", "own", "other", "isolated", "keeps"),
    [
        pytest.param(REPLICA, server(20), server(10), False, True, id="it ran last itself"),
        pytest.param(REPLICA, server(10), server(20), False, False, id="the other ran since"),
        pytest.param(REPLICA, server(10), None, False, True, id="there is no other"),
        pytest.param(REPLICA, server(0, isolated=True), server(9), True, False, id="each test begins anew"),
        pytest.param(
            REPLICA, server(0, isolated=True), server(9), False, False, id="a test's copy serves not"
        ),
        pytest.param(LAUNCHED, server(10), server(20), False, True, id="an instance keeps its disk"),
        pytest.param(LAUNCHED, server(0, isolated=True), server(9), False, False, id="a test's instance"),
    ],
)
def test_a_host_keeps_its_disk_unless_its_machine_ran_elsewhere_since(
    wanted: Powered, own: Server, other: Server | None, isolated: bool, keeps: bool
) -> None:
    assert may_keep(wanted, own, other, isolated=isolated) is keeps


@pytest.mark.parametrize(("wanted", "other"), [(REPLICA, server(10)), (REPLICA, None), (LAUNCHED, None)])
def test_the_only_disk_of_a_machine_is_not_given_up_to_isolate_it(
    wanted: Powered, other: Server | None
) -> None:
    with pytest.raises(LabError, match="only disk"):
        may_keep(wanted, server(20), other, isolated=True)


def test_a_disk_is_copied_with_links_modes_and_times(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    (source / "etc").mkdir(parents=True)
    target.mkdir()
    (source / "etc/secret").write_text("x")
    (source / "etc/secret").chmod(0o640)
    (source / "etc/link").symlink_to("secret")
    copy_disk(source, target)
    assert (target / "etc/link").readlink() == Path("secret")
    before, after = (path.stat() for path in (source / "etc/secret", target / "etc/secret"))
    assert (after.st_mode, int(after.st_mtime)) == (before.st_mode, int(before.st_mtime))


def test_a_disk_that_cannot_be_copied_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot copy"):
        copy_disk(tmp_path / "none", tmp_path)


def test_a_host_key_is_made_in_the_place_of_another(tmp_path: Path) -> None:
    key = tmp_path / "etc/ssh/key"
    key.parent.mkdir(parents=True)
    key.write_text("old")
    make_host_key(key, "web-w")
    assert key.with_name("key.pub").read_text().split()[::2] == ["ssh-ed25519", "web-w"]
    assert key.stat().st_mode & 0o777 == 0o600
