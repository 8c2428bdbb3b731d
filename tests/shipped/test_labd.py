"""The pure parts of the lab's supervisor: topology, record, network texts, argument vectors."""

import ipaddress
import json
import os
import struct
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from automation.shipped.labd import machines
from automation.shipped.labd.disks import SavedDisks, Seed, plant, remove
from automation.shipped.labd.keeping import save_disks
from automation.shipped.labd.lab import Lab, merge
from automation.shipped.labd.machines import Disk, Machine, container_command
from automation.shipped.labd.netlink import route_message
from automation.shipped.labd.network import overlapping, refused_addresses
from automation.shipped.labd.records import EventLog, Record, Server, Store, dump, parse
from automation.shipped.labd.server import answer
from automation.shipped.labd.system import LabError
from automation.shipped.labd.topology import Topology, TopologyError, mac_of, port_of
from automation.shipped.labd.topology import parse as parse_topology


def document(**changes: Any) -> str:
    whole = {
        "lab_id": "t1",
        "prefix": "10.9.0.0/16",
        "control": {"site": "control", "address": "10.9.0.1"},
        "sites": {
            "control": {"subnet": "10.9.0.0/24", "gateway": "10.9.0.254"},
            "north": {"subnet": "10.9.1.0/24", "gateway": "10.9.1.254"},
            "south": {"subnet": "10.9.2.0/24", "gateway": "10.9.2.254"},
        },
        "links": {"north>south": {"delay_ms": 10}},
    }
    return json.dumps(whole | changes)


@pytest.fixture
def topology() -> Topology:
    return parse_topology(document())


# --- topology ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"lab_id": "Lab/../x"},
        {"lab_id": "abcdefghijkl"},
        {"prefix": "10.10.0.0/16"},
        {"control": {"site": "north", "address": "10.9.0.1"}},
        {"sites": {"control": {"subnet": "10.9.0.0/24"}}},
        {"links": {"north>nowhere": {}}},
        {"links": {"north>north": {}}},
    ],
    ids=["bad id", "long id", "subnets outside", "control elsewhere", "no gateway", "no such site", "loop"],
)
def test_a_contradictory_topology_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TopologyError):
        parse_topology(document(**changes))


def test_overlapping_sites_are_refused() -> None:
    sites = json.loads(document())["sites"]
    sites["south"] = {"subnet": "10.9.1.128/25", "gateway": "10.9.1.254"}
    with pytest.raises(TopologyError, match="overlapping"):
        parse_topology(document(sites=sites))


@pytest.mark.parametrize(
    ("name", "site", "address"),
    [
        ("pg-a", "south", "10.9.1.20"),
        ("pg-a", "nowhere", "10.9.1.20"),
        ("pg-a", "north", "10.9.1.254"),
        ("../pg", "north", "10.9.1.20"),
        ("PG", "north", "10.9.1.20"),
    ],
    ids=["other subnet", "no such site", "the gateway's", "path", "capitals"],
)
def test_a_server_must_fit_its_site(topology: Topology, name: str, site: str, address: str) -> None:
    with pytest.raises(TopologyError):
        topology.check_server(name, site, address)


def test_a_link_has_two_directions(topology: Topology) -> None:
    assert topology.link_names(("north", "south")) == ("north>south", "south>north")


def test_ports_fit_the_kernel_and_stay_apart() -> None:
    names = ["pg-a", "a-very-long-server-name-one", "a-very-long-server-name-two"]
    ports = [port_of(name) for name in names]
    assert len(set(ports)) == 3
    assert all(len(port) <= 15 for port in ports)


def test_a_mac_address_is_fixed_by_the_address() -> None:
    assert mac_of("10.77.1.20") == "02:4d:0a:4d:01:14"


# --- record -----------------------------------------------------------------------------------


def recorded(**changes: Any) -> Record:
    server = Server(site="north", address="10.9.1.20", image="/images/x/root")
    return Record(servers={"pg-a": server}, **changes)


@pytest.mark.parametrize(
    ("record", "boots"),
    [
        (recorded(), True),
        (recorded(fences=["pg-a"]), False),
        (recorded(failed_sites=["north"]), False),
        (recorded(failed_sites=["south"]), True),
        (Record({"pg-a": Server("north", "10.9.1.20", "/i", autostart=False)}), False),
        (Record({"pg-a": Server("north", "10.9.1.20", "/i", power="off")}), False),
    ],
    ids=["healthy", "fenced", "site without power", "other site failed", "kept off", "switched off"],
)
def test_return_of_power_boots_only_what_may_boot(record: Record, boots: bool) -> None:
    assert record.boots_by_itself("pg-a") is boots


def test_a_record_survives_its_file() -> None:
    record = recorded(fences=["pg-a"], failed_sites=["north"], links={"north>south": {"up": False}})
    assert parse(dump(record)) == record


def test_a_change_is_on_disk_when_it_takes_effect(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.json")
    with store.change() as draft:
        draft.fences = ["pg-a"]
    assert Store(tmp_path / "state.json").record.fences == store.record.fences == ["pg-a"]


def test_a_change_that_fails_leaves_the_record_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.json")
    with suppress(RuntimeError), store.change() as draft:
        draft.fences.append("pg-a")
        raise RuntimeError
    assert store.record.fences == []
    assert not store.path.exists()


def test_events_are_appended_across_lives(tmp_path: Path) -> None:
    for name in ("first", "second"):
        EventLog(tmp_path / "events.jsonl").write(name, site="north")
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["first", "second"]
    assert all(line["at"].endswith("+00:00") and line["monotonic_s"] > 0 for line in lines)


# --- requests that are refused before anything is touched -------------------------------------


@pytest.fixture
def lab(topology: Topology, tmp_path: Path) -> Lab:
    """A lab with two recorded servers whose network was never built."""
    store = Store(tmp_path / "state.json")
    with store.change() as draft:
        draft.servers["pg-a"] = Server("north", "10.9.1.20", "/images/x/root", autostart=False, power="off")
        draft.servers["pg-b"] = Server("south", "10.9.2.20", "/images/x/root")
        draft.fences, draft.failed_sites = ["pg-b"], []
    return Lab(topology, tmp_path, tmp_path / "cgroup")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"request": "start_server", "server": "pg-a"}, "kept off"),
        ({"request": "start_server", "server": "pg-b"}, "fenced"),
        ({"request": "start_server", "server": "pg-b", "autostart": True}, "fenced"),
        ({"request": "start_server", "server": "pg-x"}, "no server 'pg-x'"),
        ({"request": "fail_site", "site": "nowhere"}, "no site 'nowhere'"),
        ({"request": "cut_link", "sites": ["north", "north"]}, "no WAN link"),
        ({"request": "restore_disks", "name": "base"}, "no disks are saved as 'base'"),
        ({"request": "restore_disks", "name": "../../etc"}, "cannot name a set"),
        (
            {
                "request": "create_server",
                "server": "pg-c",
                "site": "north",
                "address": "10.9.1.20",
                "image": "/i",
            },
            "belongs to another server",
        ),
        ({"request": "format_disk", "server": "pg-a"}, "no such request"),
        ({"request": "status", "lab_id": "t2"}, "this is lab t1, not t2"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_request_that_may_not_be_met_is_refused(lab: Lab, request_: dict[str, Any], words: str) -> None:
    before = lab.store.path.read_text()
    shown = answer(lab, json.dumps({"lab_id": "t1"} | request_).encode())
    assert shown["ok"] is False
    assert words in str(shown["error"])
    assert lab.store.path.read_text() == before


@pytest.mark.parametrize("request_", ["server_state", "start_server", "power_off_server", "block_server"])
def test_without_a_sites_management_nobody_acts_on_its_servers(lab: Lab, request_: str) -> None:
    with lab.store.change() as draft:
        draft.dark_sites = ["north"]
    shown = answer(lab, json.dumps({"lab_id": "t1", "request": request_, "server": "pg-a"}).encode())
    assert "management of site north does not answer; nothing was changed" in str(shown["error"])


def test_a_record_from_before_there_was_management_is_still_read() -> None:
    old = json.loads(dump(recorded()))
    del old["dark_sites"]
    assert parse(json.dumps(old)).dark_sites == []


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b"not json", b'{"request": "status"}'])
def test_what_is_no_request_gets_an_answer_too(lab: Lab, line: bytes) -> None:
    assert answer(lab, line)["ok"] is False


# --- a fence meets a reboot, a shutdown fails ---------------------------------------------------


class Ports:
    """A network of which only ports are real; plugging in lasts until it is let go on."""

    def __init__(self) -> None:
        self.up: dict[str, bool] = {}
        self.plugging, self.go_on = threading.Event(), threading.Event()

    def attach(self, server: str, site: object, address: str, *, fenced: bool) -> str:
        self.plugging.set()
        self.go_on.wait(5)
        self.up[server] = not fenced
        return "namespace"

    def set_port(self, server: str, site: object, up: bool) -> None:
        self.up[server] = up

    def port_is_up(self, server: str, site: object) -> bool:
        return self.up[server]

    def prohibit(self, address: str, wanted: bool) -> None:
        pass

    def prohibited_at(self, address: str) -> list[str]:
        return ["control", "north", "south"]


def test_a_server_fenced_while_it_reboots_comes_up_with_its_port_down(lab: Lab) -> None:
    ports = Ports()
    lab.network = ports  # type: ignore[assignment]
    reboot = threading.Thread(target=lab._plug_in, args=("pg-a",))
    fence = threading.Thread(target=lab.block_server, args=("pg-a",))
    reboot.start()
    assert ports.plugging.wait(5)
    fence.start()
    fence.join(0.2)  # long enough to be over, were it not made to wait
    ports.go_on.set()
    for thread in (reboot, fence):
        thread.join(5)
    assert ports.up == {"pg-a": False}
    assert lab.server_state("pg-a")["network"] == "blocked"


def test_disks_of_a_server_that_did_not_shut_down_are_not_saved(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    booted: list[str] = []
    monkeypatch.setattr(Machine, "shut_down", lambda machine, timeout_s: machine.name != "pg-a")
    monkeypatch.setattr(lab, "boot_all", lambda names: booted.extend(names) or booted)
    with pytest.raises(LabError, match=r"pg-a did not shut down .* no disk was saved"):
        save_disks(lab, "base")
    assert (booted, lab.saved.names()) == (["pg-a", "pg-b"], [])


# --- network ----------------------------------------------------------------------------------

ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
br0	0001090A	00000000	0001	0	0	0	00FFFFFF	0	0	0
*	1401090A	00000000	0200	0	0	0	FFFFFFFF	0	0	0
*	0002090A	00000000	0200	0	0	0	00FFFFFF	0	0	0
br0	1E01090A	00000000	0005	0	0	0	FFFFFFFF	0	0	0
"""


def test_only_refusing_routes_to_single_addresses_count_as_fences() -> None:
    assert refused_addresses(ROUTES) == ["10.9.1.20"]


@pytest.mark.parametrize("device", [None, 7], ids=["the refusing route", "to whoever says no"])
def test_a_fence_is_two_netlink_messages_of_their_own_length(device: int | None) -> None:
    for wanted in (True, False):
        message = route_message("10.9.1.20", wanted, device)
        assert struct.unpack_from("=I", message)[0] == len(message) == 44
        assert message[28:36].endswith(bytes((10, 9, 1, 20)))


@pytest.mark.parametrize(
    ("routes", "clash"),
    [
        (["route default dev eth0", "route 192.0.2.0/24 dev eth0"], None),
        (["route 10.9.3.0/24 dev tun1"], "route 10.9.3.0/24 dev tun1"),
        (["route 10.0.0.0/8 dev vpn"], "route 10.0.0.0/8 dev vpn"),
        (["route 10.9.0.7 dev lo"], "route 10.9.0.7 dev lo"),
    ],
    ids=["free", "part", "whole", "address"],
)
def test_a_prefix_in_use_is_noticed(routes: list[str], clash: str | None) -> None:
    assert overlapping(ipaddress.IPv4Network("10.9.0.0/16"), routes) == clash


def test_link_conditions_are_laid_over_each_other_key_by_key() -> None:
    assert merge({"a>b": {"delay_ms": 10, "up": True}}, {"a>b": {"up": False}, "b>a": {"loss": 0.1}}) == {
        "a>b": {"delay_ms": 10, "up": False},
        "b>a": {"loss": 0.1},
    }


# --- disks and containers ---------------------------------------------------------------------


def seed(path: str, text: str | None, mode: int = 0o644) -> Seed:
    return Seed(path, text, mode, uid=os.getuid(), gid=os.getgid())


def test_seeds_are_written_with_their_modes(tmp_path: Path) -> None:
    plant(tmp_path, [seed("/home/ops/.ssh", None, 0o700), seed("/home/ops/.ssh/key", "secret", 0o600)])
    assert (tmp_path / "home/ops/.ssh").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "home/ops/.ssh/key").stat().st_mode & 0o777 == 0o600


def test_a_link_in_the_image_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.write_text("the machine's own")
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").symlink_to(outside)
    plant(root, [seed("/etc/resolv.conf", "the server's")])
    assert outside.read_text() == "the machine's own"
    assert (root / "etc/resolv.conf").read_text() == "the server's"


def test_a_seed_that_leads_out_of_the_disk_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/etc").symlink_to(tmp_path)
    with pytest.raises(LabError, match="out of the disk"):
        plant(tmp_path / "root", [seed("/etc/passwd", "x")])


def test_saved_disks_come_back_and_a_half_saved_set_does_not_count(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "hosts/pg-a", "t1")
    disk.folder.parent.mkdir()
    disk.make()
    (disk.upper / "data").write_text("before")
    saved = SavedDisks(tmp_path / "saved")
    saved.save("base", {"pg-a": disk}, recorded())
    (disk.upper / "data").write_text("after")
    (disk.upper / "more").write_text("new")
    saved.restore("base", {"pg-a": disk})
    assert {path.name: path.read_text() for path in disk.upper.iterdir()} == {"data": "before"}
    (tmp_path / "saved/base/state.json").unlink()
    with pytest.raises(LabError, match="no disks are saved"):
        saved.load("base")


@pytest.mark.parametrize("lets_go", [True, False])
def test_a_disk_that_is_mounted_is_released_before_it_goes_or_stays_whole(
    lets_go: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, kept = Disk(tmp_path / "hosts/pg-a", "t1"), tmp_path / "kept"
    disk.folder.parent.mkdir()
    disk.make()
    for folder in (disk.upper, disk.root):
        (folder / "data").write_text("the only one")
    mounted = [str(disk.root)]

    def unmount(target: str, flags: int) -> None:
        assert not kept.exists(), "it is kept first, and what the deletion meets is in use"
        if lets_go:
            mounted.remove(target)

    monkeypatch.setattr(os.path, "ismount", lambda path: str(path) in mounted)
    monkeypatch.setattr(machines, "unmount", unmount)
    with nullcontext() if lets_go else pytest.raises(LabError, match="pg-a is still mounted"):
        remove(disk, kept, "run-1")
    left = kept / "run-1/pg-a" if lets_go else disk.upper
    assert (left / "data").read_text() == "the only one"
    assert disk.folder.exists() is not lets_go


def test_a_container_carries_the_lab_id_and_asks_no_systemd_of_the_machine() -> None:
    command = container_command("pg-a", "t1", "/state/root", "/run/netns/host-pg-a")
    assert {"--machine=t1-pg-a", "--hostname=pg-a", "--register=no", "--keep-unit"} <= set(command)
