"""Servers of the lab, of AWS and of VMware in one city: made, shown, lost with their site, and put back."""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from automation.adapters.nspawn.client import Supervisor
from automation.adapters.nspawn.hostkeys import HostKey, pin
from tests.lab.checkout import Checkout, until

pytestmark = pytest.mark.lab

MACHINES = {"gis-app-a", "gis-db-a", "portal-web-e"}
LOGINS = ("aws_operator", "vcenter_hall", "vcenter_eoc")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The city with its VMs and instances, booted and not configured."""
    city = Checkout("plab", "10.91", tmp_path_factory.mktemp("plab"), clouds=True)
    try:
        city.must("lab.up")
        yield city
    finally:
        city.down()


def powers(city: Checkout) -> dict[str, str]:
    return {name: one["power"] for name, one in city.ask("status")["servers"].items()}


def answers(city: Checkout, simulator: str) -> list[str]:
    """The sites for which a simulator's address takes connections, as we find it."""
    places = city.ask("status")["simulators"][simulator]["places"]
    return [site for site, address in places.items() if _takes(address)]


def _takes(address: str) -> bool:
    try:
        socket.create_connection((address, 443), 1.0).close()
    except OSError:
        return False
    return True


def power(city: Checkout, simulator: str, machine: str, wanted: str, network: str = "") -> dict[str, Any]:
    told = {"simulator": simulator, "machine": machine, "power": wanted, "network": network}
    return Supervisor(city.state, city.name).ask("power_machine", **told)


def test_one_plan_makes_servers_of_all_three_and_a_second_changes_nothing(city: Checkout) -> None:
    assert powers(city).items() >= dict.fromkeys({*MACHINES, "pg-a", "client-1"}, "on").items()
    done = city.inv("provision.apply")
    assert done.returncode == 0, done.stderr
    assert "nothing changed" in done.stderr
    run = json.loads((city.state / "runs" / city.last_run("provision") / "plan.json").read_text())
    kinds = {step["run"]["do"].partition(".")[0] for step in run["steps"]}
    assert {"nspawn", "aws", "vsphere"} <= kinds


def test_a_machine_that_was_made_is_reached_by_the_key_that_its_provider_told(city: Checkout) -> None:
    for name in MACHINES:
        assert city.sh(name, "cat /etc/hostname") == name
        pinned = (city.state / "known_hosts").read_text()
        assert city.sh(name, "cut -d' ' -f2 /etc/ssh/ssh_host_ed25519_key.pub") in pinned


def test_status_shows_every_simulator_and_that_it_is_not_real(city: Checkout) -> None:
    shown = " ".join(city.must("lab.status").split())
    for line in ("aws for aws-east", "vcenter-hall for city-hall", "vcenter-eoc for eoc"):
        assert f"simulator {line} at" in shown
    assert shown.count("runs; it is not real") == 3


@pytest.mark.parametrize(("site", "services"), [("city-hall", {"gis", "gis-db"}), ("aws-east", {"portal"})])
def test_readiness_sees_what_a_failover_would_have_to_hold_off(
    city: Checkout, site: str, services: set[str]
) -> None:
    findings = json.loads(city.inv("dr.readiness", "--site", site, "--json").stdout)["findings"]
    fences = {one["subject"]: one for one in findings if one["check"] == "fence"}
    assert {name: fences[name]["status"] for name in services} == dict.fromkeys(services, "ready")
    assert all("simulated: nothing is proven" in fences[name]["seen"] for name in services)


@pytest.mark.parametrize("vcenter", ["vcenter-hall", "vcenter-eoc"])
def test_no_session_is_left_at_a_vcenter(city: Checkout, vcenter: str) -> None:
    (address,) = city.ask("status")["simulators"][vcenter]["places"].values()
    own = ssl.create_default_context(cafile=str(city.state / "certificates/ca.crt"))
    connection = http.client.HTTPSConnection(address, context=own, timeout=10)
    connection.request("GET", "/_mainstay/sessions")
    assert json.loads(connection.getresponse().read()) == {"open": 0}


def test_no_login_is_in_any_file_but_its_own(city: Checkout) -> None:
    secrets = {
        line.partition("=")[2].encode()
        for name in LOGINS
        for line in (city.state / "secrets" / name).read_text().splitlines()
        if "SECRET" in line or "PASSWORD" in line
    }
    assert len(secrets) == len(LOGINS)
    seen = [path for path in city.state.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    texts = [path for path in seen if "hosts" not in path.relative_to(city.state).parts]
    assert texts
    assert [path for path in texts if any(one in _content(path) for one in secrets)] == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # a run's file that has just gone


@pytest.mark.parametrize(
    ("fault", "told", "heal", "simulator", "left"),
    [
        ("fail_site", {"site": "city-hall"}, "heal_site", "vcenter-hall", []),
        ("isolate_site", {"site": "city-hall", "management": False}, "rejoin_site", "vcenter-hall", []),
        (
            "isolate_site",
            {"site": "city-hall", "management": True},
            "rejoin_site",
            "vcenter-hall",
            ["city-hall"],
        ),
        ("fail_site", {"site": "aws-east"}, "heal_site", "aws", ["aws-west"]),
    ],
    ids=["power-loss", "dark-site", "wan-partition", "region-loss"],
)
def test_a_lost_site_takes_its_management_and_no_other(
    city: Checkout, fault: str, told: dict[str, object], heal: str, simulator: str, left: list[str]
) -> None:
    before = answers(city, simulator)
    city.ask(fault, **told)
    try:
        assert answers(city, simulator) == left
        assert answers(city, "vcenter-eoc") == ["eoc"]
    finally:
        city.ask(heal, site=told["site"])
    until(lambda: answers(city, simulator) == before, f"{simulator} answers again")
    until(lambda: set(powers(city).values()) == {"on"}, "every server runs")
    for name in powers(city):  # one that is asked to shut down while it boots does not hear it
        until(partial(_is_up, city, name), f"{name} has booted")


def _is_up(city: Checkout, name: str) -> bool:
    return city.sh(name, "systemctl is-active multi-user.target", check=False) == "active"


def test_a_replicated_machine_wakes_up_elsewhere_with_its_disk_and_comes_home_with_it(
    city: Checkout,
) -> None:
    vm = "gis-app-a"
    city.sh(vm, "echo here > /srv/written; sync")
    copy = power(city, "vcenter-eoc", vm, "on", "gis-test")
    assert copy["isolated"]
    pin(city.state / "known_hosts", copy["host"], copy["address"], HostKey("", copy["host_key"]))
    until(lambda: city.sh("gis-app-b", "cat /srv/written", check=False) == "here", "the copy has the disk")
    power(city, "vcenter-eoc", vm, "gone")
    assert "gis-app-b" not in powers(city)

    power(city, "vcenter-hall", vm, "off")
    moved = power(city, "vcenter-eoc", vm, "on", "gis-eoc")
    assert (moved["isolated"], moved["power"]) == (False, "on")
    until(lambda: city.sh("gis-app-b", "echo there >> /srv/written; sync") == "", "it is written to there")
    power(city, "vcenter-eoc", vm, "down")
    back = power(city, "vcenter-hall", vm, "on", "gis-hall")
    assert back["host_key"] == moved["host_key"]
    until(lambda: city.sh(vm, "cat /srv/written") == "here\nthere", "it came home with what was written")
    power(city, "vcenter-eoc", vm, "gone")


def test_a_kept_set_of_disks_brings_machines_back_with_their_providers_memory(city: Checkout) -> None:
    kept = powers(city)
    city.ask("save_disks", name="kept", within_s=240)
    power(city, "vcenter-eoc", "gis-db-a", "on", "gis-test")
    power(city, "aws", "us-east-2/portal-web-e", "gone")
    assert powers(city).keys() != kept.keys()
    city.ask("restore_disks", name="kept", within_s=240)
    assert powers(city) == kept
    until(lambda: city.sh("portal-web-e", "cat /etc/hostname") == "portal-web-e", "its disk is back")
    until(lambda: answers(city, "aws") == ["aws-east", "aws-west"], "the provider runs again")
    assert "nothing changed" in city.inv("provision.apply").stderr


def test_a_simulator_answers_by_the_labs_own_authority_alone(city: Checkout) -> None:
    address = city.ask("status")["simulators"]["vcenter-hall"]["places"]["city-hall"]
    own = ssl.create_default_context(cafile=str(city.state / "certificates/ca.crt"))
    connection = http.client.HTTPSConnection(address, context=own, timeout=10)
    connection.request("GET", "/about")
    assert connection.getresponse().status < 500
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection(address, timeout=10).request("GET", "/about")
