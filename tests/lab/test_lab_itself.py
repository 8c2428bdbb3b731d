"""The lab, proved on a small one of its own: faults, fences, disks.

Its id and prefix differ from those of `inventories/lab`, so it can stand beside that lab.
"""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.adapters import nspawn
from automation.adapters.nspawn.client import Supervisor
from automation.model.actions import (
    BlockServer,
    BuildImage,
    CreateIsolated,
    CreateServer,
    CutLink,
    DarkenSite,
    FailSite,
    HealLink,
    HealSite,
    HoldServer,
    InspectDisk,
    LookAtServer,
    PartitionSite,
    PowerOffServer,
    RejoinSite,
    RemoveServer,
    RestoreDisks,
    RestoreManagement,
    SaveDisks,
    StartLab,
    StartServer,
    UnblockServer,
)
from automation.model.errors import AdapterError
from automation.model.evidence import Fault, ServerState
from automation.model.observations import ObservedLab
from automation.provisioning.planner import plan_servers
from tests.lab.small import SERVERS, Small, until

PG_A, PG_B, APP_A, CLIENT = SERVERS["pg-a"], SERVERS["pg-b"], SERVERS["app-a"], SERVERS["client-1"]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """Three sites, four servers, up; taken down at the end whatever happened."""
    # A deep folder on purpose: a socket address holds 108 bytes, a path may be longer.
    city = Small("itself", "10.71", tmp_path_factory.mktemp("a-state-folder-with-a-long-name" * 3))
    try:
        city.up()
        yield city
    finally:
        nspawn.remove_lab(city.state, city.lab.id)


@pytest.fixture(autouse=True)
def _healthy(city: Small) -> None:
    """Every test begins with all servers up and nothing broken."""
    for server in SERVERS:
        nspawn.unblock_server(UnblockServer(host=server), city)
    for site in city.lab.sites:
        nspawn.heal_site(HealSite(site=site), city)
        nspawn.rejoin_site(RejoinSite(site=site), city)
    nspawn.heal_link(HealLink(sites=("city-hall", "public")), city)
    for server in SERVERS:
        city.ask("start_server", server=server, autostart=True)
    city.await_all()


# --- servers ------------------------------------------------------------------------------------


def test_a_server_takes_the_automation_user_by_key_and_lets_it_be_root(city: Small) -> None:
    assert city.ssh("pg-a", "sudo", "id", "-u") == "0"
    assert city.ssh("pg-a", "hostname") == "pg-a"
    assert city.ssh("pg-a", "systemctl", "is-system-running") == "running"


def test_each_server_has_an_identity_of_its_own(city: Small) -> None:
    assert len({city.ssh(server, "cat", "/etc/machine-id") for server in SERVERS}) == len(SERVERS)


def test_a_second_time_changes_nothing(city: Small) -> None:
    assert not nspawn.build_image(BuildImage(image="debian-12"), city).changed
    assert not nspawn.start_lab(StartLab(), city).changed
    create = CreateServer(host="pg-a", site="city-hall", address=city.address("pg-a"), image="debian-12")
    assert not nspawn.create_server(create, city).changed
    assert not nspawn.start_server(StartServer(host="pg-a"), city).changed
    assert not nspawn.heal_site(HealSite(site="city-hall"), city).changed


def test_the_wan_is_as_slow_as_declared_and_a_site_is_not(city: Small) -> None:
    assert city.round_trip_ms("pg-a", "pg-b") >= 20
    assert city.round_trip_ms("pg-a", "app-a") < 10


def test_nothing_leads_from_the_lab_to_the_rest_of_the_world(city: Small) -> None:
    with pytest.raises(AssertionError, match="unreachable"):
        city.ssh("pg-a", "python3", "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 3)")


def test_a_reboot_from_inside_comes_back(city: Small) -> None:
    boots = city.server("pg-a")["boots"]
    city.ssh("pg-a", "sudo", "systemd-run", "--no-block", "systemctl", "reboot")
    until(lambda: city.server("pg-a")["boots"] == boots + 1, "pg-a boots again")
    city.await_sshd("pg-a")


def test_killing_the_containers_own_supervisor_takes_all_of_its_processes(city: Small) -> None:
    city.kill("systemd-nspawn", f"--machine={city.lab.id}-pg-a")
    until(lambda: city.server("pg-a")["power"] == "off", "pg-a is off")
    assert city.connect_error("client-1", "pg-a") is not None


# --- power --------------------------------------------------------------------------------------


def test_a_server_kept_off_stays_off_when_power_returns_and_when_started(city: Small) -> None:
    outcome = nspawn.power_off_server(PowerOffServer(host="pg-a"), city)
    assert outcome.evidence == ServerState(server="pg-a", power="off", autostart=False, network="connected")
    nspawn.fail_site(FailSite(site="city-hall"), city)
    nspawn.heal_site(HealSite(site="city-hall"), city)
    assert city.server("pg-a")["power"] == "off"
    assert city.server("app-a")["power"] == "on"
    with pytest.raises(AdapterError, match="kept off"):
        nspawn.start_server(StartServer(host="pg-a"), city)


def test_power_loss_silences_a_site_and_only_that_site(city: Small) -> None:
    outcome = nspawn.fail_site(FailSite(site="city-hall"), city)
    assert isinstance(outcome.evidence, Fault)
    assert {city.server(name)["power"] for name in ("pg-a", "app-a")} == {"off"}
    assert city.connect_error("client-1", "pg-a") is not None
    assert city.connect_error("client-1", "pg-b") is None
    with pytest.raises(AdapterError, match="no power"):
        nspawn.start_server(StartServer(host="pg-a"), city)


def test_a_dying_server_sends_no_farewell(city: Small) -> None:
    """A client of a server that loses power must find out by itself: no FIN, no RST."""
    with socket.create_connection((city.address("pg-a"), 22), timeout=5) as connection:
        connection.recv(100)
        nspawn.power_off_server(PowerOffServer(host="pg-a"), city)
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):
            connection.recv(100)


def test_every_fault_is_in_the_ground_truth(city: Small) -> None:
    nspawn.fail_site(FailSite(site="city-hall"), city)
    lines = (city.state / "lab/events.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert (last["event"], last["site"]) == ("site_failed", "city-hall")
    assert last["monotonic_s"] <= time.monotonic()


def test_a_partitioned_site_lives_on_and_its_management_answers(city: Small) -> None:
    outcome = nspawn.partition_site(PartitionSite(site="city-hall"), city)
    assert isinstance(outcome.evidence, Fault)
    assert city.server("pg-a")["power"] == "on"
    assert city.connect_error("client-1", "pg-a") is not None
    assert city.connect_error("pg-b", "pg-a") is not None
    assert city.connect_error("client-1", "pg-b") is None
    assert nspawn.power_off_server(PowerOffServer(host="pg-a"), city).changed


def test_a_dark_site_can_neither_be_seen_nor_fenced(city: Small) -> None:
    nspawn.darken_site(DarkenSite(site="city-hall"), city)
    for attempt in (
        lambda: nspawn.power_off_server(PowerOffServer(host="pg-a"), city),
        lambda: nspawn.block_server(BlockServer(host="pg-a"), city),
        lambda: nspawn.look_at_server(LookAtServer(host="pg-a"), city),
    ):
        with pytest.raises(AdapterError, match="management of site city-hall does not answer"):
            attempt()
    assert city.connect_error("client-1", "pg-a") is not None
    nspawn.rejoin_site(RejoinSite(site="city-hall"), city)
    assert city.connect_error("client-1", "pg-a") is None
    seen = nspawn.look_at_server(LookAtServer(host="pg-a"), city).evidence
    assert isinstance(seen, ServerState)
    assert (seen.power, seen.network) == ("on", "connected")


def test_a_dark_site_stays_dark_under_a_new_supervisor_and_is_left_alone(city: Small) -> None:
    nspawn.darken_site(DarkenSite(site="city-hall"), city)
    city.kill_supervisor(0)
    seen = look(city)
    assert (seen.running, seen.dark_sites, seen.cut_sites) == (False, ("city-hall",), ("city-hall",))
    wanted = plan_servers(city.environment, city.inventory, seen)
    assert sorted(wanted.left_alone) == ["app-a", "pg-a"]
    nspawn.start_lab(StartLab(), city)
    starts = [step.run for step in wanted.plan.steps if isinstance(step.run, StartServer)]
    assert sorted(start.host for start in starts) == ["client-1", "pg-b"]
    for start in starts:
        nspawn.start_server(start, city)
    city.await_all("client-1", "pg-b")
    seen = look(city)
    assert (seen.running, seen.dark_sites, seen.cut_sites) == (True, ("city-hall",), ("city-hall",))
    nspawn.rejoin_site(RejoinSite(site="city-hall"), city)
    seen = look(city)
    assert (seen.dark_sites, seen.cut_sites) == ((), ())
    assert plan_servers(city.environment, city.inventory, seen).left_alone == {}


def look(city: Small) -> ObservedLab:
    return nspawn.observe(city.state, city.images, city.environment, {"debian-12"}, ())


def test_the_management_of_a_dark_site_returns_before_its_network_and_a_held_server_is_no_fenced_one(
    city: Small,
) -> None:
    nspawn.darken_site(DarkenSite(site="city-hall"), city)
    assert nspawn.restore_management(RestoreManagement(site="city-hall"), city).changed
    assert not nspawn.restore_management(RestoreManagement(site="city-hall"), city).changed
    held = nspawn.hold_server(HoldServer(host="app-a"), city)
    assert held.evidence == ServerState(server="app-a", power="off", autostart=True, network="connected")
    assert not nspawn.hold_server(HoldServer(host="app-a"), city).changed
    assert city.connect_error("client-1", "pg-a") is not None
    nspawn.rejoin_site(RejoinSite(site="city-hall"), city)
    assert city.server("app-a")["power"] == "off"
    assert nspawn.start_server(StartServer(host="app-a"), city).changed


# --- fences -------------------------------------------------------------------------------------


def test_a_fenced_server_is_refused_at_once_from_everywhere(city: Small) -> None:
    outcome = nspawn.block_server(BlockServer(host="pg-a"), city)
    assert isinstance(outcome.evidence, ServerState)
    assert outcome.evidence.network == "blocked"
    for vantage in ("client-1", "pg-b"):
        assert city.connect_error(vantage, "pg-a") == "EHOSTUNREACH"
        assert city.connect_error("app-a", "pg-a") is not None
        assert city.connect_error("client-1", "app-a") is None, "its neighbour must still be reached"


def test_a_fence_survives_the_return_of_power_and_network_and_a_new_supervisor(city: Small) -> None:
    nspawn.block_server(BlockServer(host="pg-a"), city)
    nspawn.fail_site(FailSite(site="city-hall"), city)
    nspawn.heal_site(HealSite(site="city-hall"), city)
    assert city.connect_error("client-1", "pg-a") == "EHOSTUNREACH"
    city.kill_supervisor(2)
    assert nspawn.start_lab(StartLab(), city).changed
    city.await_all("pg-b", "app-a", "client-1")
    shown = city.server("pg-a")
    assert (shown["network"], shown["power"]) == ("blocked", "off")
    assert city.connect_error("client-1", "pg-a") == "EHOSTUNREACH"
    with pytest.raises(AdapterError, match="fenced"):
        nspawn.start_server(StartServer(host="pg-a"), city)


def test_a_lifted_fence_is_gone(city: Small) -> None:
    nspawn.block_server(BlockServer(host="pg-a"), city)
    assert nspawn.unblock_server(UnblockServer(host="pg-a"), city).changed
    assert city.connect_error("client-1", "pg-a") is None


# --- links --------------------------------------------------------------------------------------


def test_a_cut_link_parts_two_sites_and_no_others(city: Small) -> None:
    nspawn.cut_link(CutLink(sites=("city-hall", "public")), city)
    assert city.connect_error("client-1", "pg-a") is not None
    assert city.connect_error("client-1", "pg-b") is None
    assert city.connect_error("pg-b", "pg-a") is None
    assert nspawn.heal_link(HealLink(sites=("city-hall", "public")), city).changed
    assert city.connect_error("client-1", "pg-a") is None


def test_a_cut_link_stays_cut_when_the_forwarder_dies(city: Small) -> None:
    nspawn.cut_link(CutLink(sites=("city-hall", "public")), city)
    city.kill("shipped/wan.py", "--lab-id")
    until(lambda: city.connect_error("client-1", "pg-b") is None, "the WAN is back")
    assert city.connect_error("client-1", "pg-a") is not None


# --- disks --------------------------------------------------------------------------------------


def inspect(city: Small, host: str, *argv: str) -> str:
    action = InspectDisk(host=host, argv=argv, artifact="seen.txt")
    nspawn.inspect_disk(action, city)
    return (city.artifacts / "seen.txt").read_text().strip()


def test_an_inspection_sees_the_disk_changes_nothing_and_has_no_network(city: Small) -> None:
    city.ssh("pg-a", "sudo", "sh", "-c", "echo 42 > /var/lib/answer")
    nspawn.power_off_server(PowerOffServer(host="pg-a"), city)
    before = city.fingerprint("pg-a")
    script = "cat /var/lib/answer; echo 43 > /var/lib/answer; rm -r /etc/ssh; ip -br link"
    answer, *links = inspect(city, "pg-a", "sh", "-c", script).splitlines()
    assert answer == "42"
    assert [link.split()[0] for link in links] == ["lo"]
    assert city.fingerprint("pg-a") == before
    assert inspect(city, "pg-a", "cat", "/var/lib/answer") == "42"


def test_a_running_servers_disk_is_not_inspected(city: Small) -> None:
    with pytest.raises(AdapterError, match="is on"):
        inspect(city, "pg-a", "true")


def test_a_failing_inspection_is_an_error_that_names_the_program(city: Small) -> None:
    nspawn.power_off_server(PowerOffServer(host="pg-a"), city)
    with pytest.raises(AdapterError, match=r"sh on the disk of pg-a: exit 3: no luck"):
        inspect(city, "pg-a", "sh", "-c", "echo no luck >&2; exit 3")


def test_restored_disks_bring_back_files_fences_and_links(city: Small) -> None:
    city.ssh("pg-a", "sudo", "touch", "/root/before")
    nspawn.save_disks(SaveDisks(name="base"), city)
    city.await_all()
    city.ssh("pg-a", "sudo", "rm", "/root/before")
    city.ssh("pg-b", "sudo", "touch", "/root/after")
    nspawn.fail_site(FailSite(site="city-hall"), city)
    nspawn.power_off_server(PowerOffServer(host="pg-a"), city)
    nspawn.block_server(BlockServer(host="pg-a"), city)
    nspawn.cut_link(CutLink(sites=("city-hall", "public")), city)
    nspawn.restore_disks(RestoreDisks(name="base"), city)
    city.await_all()
    assert city.ssh("pg-a", "sudo", "ls", "/root") == "before"
    assert city.ssh("pg-b", "sudo", "ls", "/root") == ""
    assert city.connect_error("client-1", "pg-a") is None
    assert city.server("pg-a")["autostart"] is True


# --- refusals -----------------------------------------------------------------------------------


def test_a_lab_of_another_id_refuses_every_request(city: Small) -> None:
    with pytest.raises(AdapterError, match="this is lab itself, not other"):
        Supervisor(city.state, "other").ask("fail_site", site="city-hall")
    assert city.server("pg-a")["power"] == "on"


def test_a_lab_of_the_same_id_in_another_state_folder_is_left_alone(city: Small, tmp_path: Path) -> None:
    namesake = Small(city.lab.id, "10.75", tmp_path)
    with pytest.raises(AdapterError, match="nothing was changed"):
        nspawn.start_lab(StartLab(), namesake)
    with pytest.raises(AdapterError, match="nothing was changed"):
        nspawn.remove_lab(namesake.state, namesake.lab.id)
    assert city.connect_error("client-1", "pg-a") is None


def test_a_second_lab_on_the_same_prefix_is_refused(city: Small, tmp_path: Path) -> None:
    other = Small("twin", "10.71", tmp_path)
    try:
        with pytest.raises(AdapterError, match="in use here"):
            nspawn.start_lab(StartLab(), other)
    finally:
        nspawn.remove_lab(other.state, other.lab.id)
    assert city.connect_error("client-1", "pg-a") is None


# --- servers of a drill --------------------------------------------------------------------------


@pytest.fixture
def drill_server(city: Small) -> Iterator[CreateIsolated]:
    """An isolated server beside the standby, which alone it may reach."""
    servers = city.inventory.servers
    own = servers["pg-b"].model_copy(update={"name": "drill-b", "address": f"{city.net}.2.50"})
    SERVERS["drill-b"] = ("eoc", "2.50")
    city.inventory = city.inventory.model_copy(update={"servers": {**servers, "drill-b": own}})
    action = CreateIsolated(
        host="drill-b",
        site="eoc",
        address=own.address,
        image=own.image,
        reach={"pg-b": city.address("pg-b")},
        names={"pay.city.lab": own.address},
    )
    try:
        nspawn.create_isolated(action, city)
        city.await_sshd("drill-b")
        yield action
    finally:
        nspawn.remove_server(RemoveServer(host="drill-b"), city)
        city.inventory = city.inventory.model_copy(update={"servers": servers})
        del SERVERS["drill-b"]


def test_an_isolated_server_reaches_what_it_may_and_nothing_else(
    city: Small, drill_server: CreateIsolated
) -> None:
    assert city.connect_error("drill-b", "pg-b") is None
    assert city.connect_error("pg-b", "drill-b") is None
    for other in ("pg-a", "app-a", "client-1"):
        assert city.connect_error("drill-b", other), other
        assert city.connect_error(other, "drill-b"), other


def test_an_isolated_server_cannot_claim_another_address(city: Small, drill_server: CreateIsolated) -> None:
    city.ssh("drill-b", "sudo", "ip", "address", "add", f"{city.net}.2.77/32", "dev", "host0")
    for source, other, seen in ((77, "pg-a", "not"), (77, "pg-b", "not"), (50, "pg-b", "seen")):
        ping = f"ping -I {city.net}.2.{source} -c 1 -W 1 {city.address(other)} >/dev/null"
        assert city.ssh("drill-b", "sh", "-c", f"{ping} && echo seen || echo not") == seen, source


def test_names_lead_an_isolated_server_to_itself_and_it_asks_no_name_server(
    city: Small, drill_server: CreateIsolated
) -> None:
    assert city.ssh("drill-b", "getent", "hosts", "pay.city.lab").split()[0] == drill_server.address
    assert "nameserver" not in city.ssh("drill-b", "cat", "/etc/resolv.conf")


def test_a_server_stays_isolated_when_the_supervisor_is_killed_and_started_again(
    city: Small, drill_server: CreateIsolated
) -> None:
    city.kill_supervisor(2)
    nspawn.start_lab(StartLab(), city)
    city.await_all()
    progress = nspawn.verify_create_isolated(drill_server, city)
    assert progress.state == "done"
    assert city.connect_error("drill-b", "pg-b") is None
    assert city.connect_error("drill-b", "pg-a")


def test_only_an_isolated_server_is_ever_removed(city: Small, drill_server: CreateIsolated) -> None:
    with pytest.raises(AdapterError, match="is the city's, not isolated"):
        nspawn.remove_server(RemoveServer(host="pg-a"), city)
    nspawn.remove_server(RemoveServer(host="drill-b"), city)
    assert "drill-b" not in city.ask("status")["servers"]
    assert not (city.state / "lab/hosts/drill-b").exists()
    assert drill_server.address not in (city.state / "known_hosts").read_text()
    assert not nspawn.remove_server(RemoveServer(host="drill-b"), city).changed


def test_a_server_that_is_there_already_is_not_taken_for_an_isolated_one(city: Small) -> None:
    there = city.inventory.server("app-a")
    action = CreateIsolated(
        host="app-a",
        site=there.site,
        address=there.address,
        image=there.image,
        reach={"pg-b": city.address("pg-b")},
    )
    with pytest.raises(AdapterError, match="is there and is not isolated"):
        nspawn.create_isolated(action, city)
