"""The pure parts of the nspawn adapter: recipe, sources, seeds, host keys, preflight, leftovers."""

import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.nspawn import (
    client,
    hostkeys,
    image,
    machine,
    remains,
    retiring,
    seeds,
    status,
    supervisor,
)
from automation.adapters.nspawn.hostkeys import HostKey
from automation.model.actions.lab import DestroyServer
from automation.model.environment import Inventory, LabSettings, Server
from automation.model.errors import AdapterError, ConfigError, PreflightError
from automation.shipped.labd.topology import parse as parse_topology

LAB = LabSettings(
    id="t1",
    prefix="10.9.0.0/16",
    control_subnet="10.9.0.0/24",
    sites={"north": "10.9.1.0/24", "south": "10.9.2.0/24"},
    wan_rtt="30 ms",  # type: ignore[arg-type]
)
KEY = HostKey("PRIVATE", "ssh-ed25519 AAAA pg-a")


def server(name: str, site: str, address: str, *groups: str) -> Server:
    return Server(name=name, address=address, site=site, provider="nspawn", image="debian-12", groups=groups)


# --- image ------------------------------------------------------------------------------------


def test_every_part_of_a_recipe_is_in_its_digest() -> None:
    recipe = image.RECIPES["debian-12"]
    changes = ({"suite": "trixie"}, {"packages": ("less",)}, {"finish": "true"}, {"name": "other"})
    digests = {recipe.digest} | {recipe.model_copy(update=change).digest for change in changes}
    assert len(digests) == 5


def test_an_unknown_image_is_refused_with_those_known() -> None:
    with pytest.raises(ConfigError) as refusal:
        image.recipe_of("windows-11")
    assert "debian-12" in str(refusal.value.hint)


def test_a_file_system_bears_the_name_of_the_recipe_that_made_it_and_an_older_one_none(
    tmp_path: Path,
) -> None:
    assert image.name_of(str(image.root_of(tmp_path, "debian-12"))) == "debian-12"
    assert image.name_of(str(tmp_path / "0123456789abcdef" / "root")) == ""


DEB822 = """\
Types: deb
URIs: http://mirror.city.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.city.example/debian-security/
Suites: bookworm-security
"""
ONE_LINE = "# comment\ndeb [arch=amd64] http://mirror.city.example/debian bookworm main contrib\n"
UBUNTU = "deb http://mirror.city.example/ubuntu noble main universe\n"
THIRD_PARTY = "deb [signed-by=/k.gpg] https://apt.vendor.example/repo stable main\n"


MIRROR = "http://mirror.city.example/debian"
PLAIN = [[MIRROR, "bookworm"], [MIRROR, "bookworm-updates"]]
SECURITY = [f"{MIRROR}-security", "bookworm-security"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([DEB822], [*PLAIN, SECURITY]),
        ([ONE_LINE], PLAIN),
        ([UBUNTU, THIRD_PARTY], []),
        ([THIRD_PARTY, DEB822], [*PLAIN, SECURITY]),
        ([], []),
    ],
    ids=["deb822", "one-line", "ubuntu", "third party first", "none"],
)
def test_the_machines_own_debian_mirrors_are_used_and_no_other(
    texts: list[str], expected: list[list[str]]
) -> None:
    sources = image.debian_sources(texts, "bookworm")
    assert [line.split()[2:4] for line in sources] == expected


def test_a_build_dies_with_its_builder() -> None:
    command = image.build_command(
        image.RECIPES["debian-12"], Path("/i/root"), Path("/i/finish.sh"), ["deb x"]
    )
    assert command[:4] == ["setpriv", "--pdeathsig", "KILL", "unshare"]
    assert "--kill-child=KILL" in command


def test_an_unfinished_image_is_no_image(tmp_path: Path) -> None:
    (tmp_path / f".building-{image.RECIPES['debian-12'].digest}").mkdir()
    assert not image.root_of(tmp_path, "debian-12").is_dir()


# --- first files and host keys ----------------------------------------------------------------


def test_a_server_asks_its_own_sites_dns_first() -> None:
    dns = [server("dns-a", "north", "10.9.1.10", "dns"), server("dns-b", "south", "10.9.2.10", "dns")]
    inventory = Inventory(servers={each.name: each for each in dns})
    assert seeds.resolvers_of(server("pg-b", "south", "10.9.2.20"), inventory) == ("10.9.2.10", "10.9.1.10")


def test_private_files_are_private_and_folders_come_before_their_files() -> None:
    files = seeds.first_files(
        server("pg-a", "north", "10.9.1.20"), ["10.9.1.10"], KEY, "ssh-ed25519 A", machine_id="0" * 32
    )
    by_path = {str(file["path"]): file for file in files}
    assert by_path["/etc/ssh/ssh_host_ed25519_key"]["mode"] == 0o600
    assert by_path["/home/ops/.ssh"]["mode"] == 0o700
    paths = list(by_path)
    assert paths.index("/home/ops/.ssh") < paths.index("/home/ops/.ssh/authorized_keys")
    assert "10.9.1.20 pg-a" in str(by_path["/etc/hosts"]["text"])


def test_a_new_key_replaces_the_pinned_one_and_leaves_the_others(tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    hostkeys.pin(known_hosts, "pg-a", "10.9.1.20", KEY)
    hostkeys.pin(known_hosts, "pg-b", "10.9.2.20", HostKey("", "ssh-ed25519 BBBB pg-b"))
    hostkeys.pin(known_hosts, "pg-a", "10.9.1.20", HostKey("", "ssh-ed25519 CCCC pg-a"))
    assert known_hosts.read_text().splitlines() == [
        "pg-b,10.9.2.20 ssh-ed25519 BBBB",
        "pg-a,10.9.1.20 ssh-ed25519 CCCC",
    ]
    assert known_hosts.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("heal_site north", "./inv lab.heal --env city --fault power-loss --site north"),
        (
            "unblock_server",
            "only a new lab lifts that: ./inv lab.down --env city, then ./inv lab.up --env city",
        ),
        ("autostart", "only a new lab lifts that: ./inv lab.down --env city, then ./inv lab.up --env city"),
        ("build it again", "./inv lab.up --env city builds it again"),
        ("try again", "try again"),
        (None, None),
    ],
)
def test_a_hint_of_the_lab_names_a_command_that_a_person_has(hint: str | None, said: str | None) -> None:
    assert client.say_hint(hint, "city") == said


# --- supervisor -------------------------------------------------------------------------------


def test_the_supervisor_reads_the_topology_the_adapter_writes() -> None:
    topology = parse_topology(json.dumps(supervisor.topology(LAB)))
    assert topology.control_link == "ms-t1"
    assert str(topology.control_address) == "10.9.0.1"
    assert str(topology.site("north").gateway) == "10.9.1.254"
    assert topology.links["north>south"] == {"delay_ms": 15.0}
    assert topology.links["south>control"] == {"delay_ms": 7.5}


@pytest.mark.parametrize("folder", ["/srv/a:b/lab", "/srv/a,b/lab", "/run/mainstay/lab", "/srv/my state/lab"])
def test_a_folder_that_cannot_hold_disks_is_refused(folder: str) -> None:
    with pytest.raises(AdapterError, match="cannot keep disks"):
        supervisor.refuse_odd_path(Path(folder))


def test_a_lab_that_does_not_run_still_tells_which_sites_have_no_power(tmp_path: Path) -> None:
    pg_a = {"site": "north", "address": "10.9.1.20", "image": "/i", "autostart": True, "power": "on"}
    record = {"servers": {"pg-a": pg_a}, "fences": [], "failed_sites": ["north"], "links": {}}
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab/state.json").write_text(json.dumps(record))
    seen = status.read(tmp_path, "t1")
    assert (seen.running, seen.failed_sites, seen.servers["pg-a"].power) == (False, ("north",), "off")


# --- preflight --------------------------------------------------------------------------------


def test_an_inotify_limit_that_the_servers_would_hit_is_refused_with_the_fix() -> None:
    assert machine.inotify_problems(128, 7, 10) == []
    (problem,) = machine.inotify_problems(128, 24, 0)
    assert "sysctl fs.inotify.max_user_instances=1024" in problem


@pytest.mark.parametrize(
    ("routes", "clashes"),
    [
        ([("default", "eth0"), ("192.0.2.0/24", "eth0")], False),
        ([("10.9.2.0/24", "vpn0")], True),
        ([("10.9.0.0/16", "ms-t1"), ("10.9.0.1", "ms-t1")], False),
    ],
    ids=["free", "vpn", "the lab's own"],
)
def test_a_prefix_that_is_routed_elsewhere_is_refused(routes: list[tuple[str, str]], clashes: bool) -> None:
    assert bool(machine.prefix_problems(LAB, routes)) is clashes


def test_no_daemon_policy_is_removed_again_even_after_an_error(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with suppress(RuntimeError), machine.no_daemons(policy):
        assert policy.read_text().endswith("exit 101\n")
        raise RuntimeError
    assert not policy.exists()


def test_a_policy_left_by_an_installation_cut_short_is_removed_once_nobody_uses_it(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    with machine.no_daemons(policy):
        assert machine.remove_policy(policy) is False
    policy.write_text(machine.POLICY_TEXT)
    assert [machine.remove_policy(policy), policy.exists()] == [True, False]
    assert machine.remove_policy(policy) is False


@pytest.mark.parametrize("kernel", [True, False], ids=["kernel lacks", "network lacks"])
def test_a_refusal_tells_whether_packages_were_installed(
    kernel: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "remove_policy", lambda: False)
    monkeypatch.setattr(machine, "missing_packages", lambda: ("iproute2",))
    monkeypatch.setattr(machine, "install", lambda packages, say: installed.extend(packages))
    monkeypatch.setattr(machine, "_problems", lambda *_: ["it lacks"] if kernel or installed else [])
    with pytest.raises(PreflightError) as refusal:
        machine.check(LAB, tmp_path, servers=7, say=print)
    said = "nothing was changed" if kernel else "iproute2 installed, nothing else was changed"
    assert str(refusal.value) == f"this machine cannot hold the lab; {said}\nit lacks"
    assert bool(installed) is not kernel


def test_a_policy_of_the_machines_own_is_left_alone(tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 0\n")
    with machine.no_daemons(policy):
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"
    assert machine.remove_policy(policy) is False
    assert policy.exists()


def test_without_apt_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PreflightError, match="the lab needs mmdebstrap"):
        machine.install(("mmdebstrap",), print)


# --- leftovers --------------------------------------------------------------------------------

MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/vda rw
40 22 0:40 / /var/lib/mainstay/t1/lab/hosts/pg-a/root rw - overlay mainstay-t1-pg-a rw,lowerdir=/i
41 22 0:41 / /elsewhere rw - overlay mainstay-t1-pg-b rw,lowerdir=/i
42 22 0:42 / /other rw - overlay mainstay-t12-pg-a rw,lowerdir=/i
43 22 0:43 / /var/lib/mainstay/t1/laboratory rw - tmpfs x rw
"""


def test_only_mounts_of_this_lab_are_leftovers() -> None:
    assert remains.lab_mounts(MOUNTS, Path("/var/lib/mainstay/t1/lab"), "t1") == [
        "/var/lib/mainstay/t1/lab/hosts/pg-a/root",
        "/elsewhere",
    ]


@pytest.mark.parametrize("is_taken", [False, True], ids=["free", "of a new host"])
def test_a_removal_that_ends_late_leaves_the_key_of_whoever_has_the_address_now(
    is_taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostkeys.pin(tmp_path / "known_hosts", "pg-x" if is_taken else "10.9.1.20", "10.9.1.20", KEY)
    new = status.LabServer(
        site="north", address="10.9.1.20", image="/i", power="on", autostart=True, network="connected"
    )
    servers = {"pg-x": new} if is_taken else {}
    seen = status.LabStatus(lab_id="t1", running=True, servers=servers, kept_disks=("pg-a/run-1",))
    monkeypatch.setattr(status, "read", lambda state, lab_id: seen)
    environment = SimpleNamespace(require_lab=lambda: LAB)
    context: Any = SimpleNamespace(state=tmp_path, environment=environment)
    gone = DestroyServer(host="pg-a", site="north", address="10.9.1.20")
    assert retiring.verify_destroy_server(gone, context).state == "done"
    assert bool(hostkeys.listed(tmp_path / "known_hosts")) == is_taken
