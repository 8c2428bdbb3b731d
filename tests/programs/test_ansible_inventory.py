"""The inventory as ansible-inventory resolves it, and when it is asked again."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from automation.adapters.ansible import list_inventory
from automation.adapters.ansible.inventory import parse_inventory
from automation.commands import _new_environment
from automation.commands._lint import lint_environment
from automation.commands._new_environment import Wanted, begin
from automation.model.environment import InventoryReading, load_environment
from automation.model.errors import ConfigError, PreflightError
from tests.lab.own import FORMS, write_inventory

ROOT = Path(__file__).resolve().parents[2]

HOSTS = """
all:
  vars: {server_provider: nspawn}
  children:
    east:
      children:
        databases:
          hosts:
            db-1: {ansible_host: 192.0.2.1}
    west:
      hosts:
        app-1: {ansible_host: 192.0.2.99, server_address: 192.0.2.2, server_site: west}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all.yml").write_text("server_image: debian-12\n")
    (folder / "group_vars/east.yml").write_text("server_site: east\n")
    (folder / "services.yml").write_text("not: [an, inventory]\n")
    return folder


def test_servers_take_their_attributes_from_host_and_group_variables(folder: Path) -> None:
    servers = list_inventory([folder / "hosts.yml"], folder / "state").servers
    assert (servers["db-1"].address, servers["db-1"].site, servers["db-1"].groups) == (
        "192.0.2.1",
        "east",
        ("databases", "east"),
    )
    assert (servers["app-1"].address, servers["app-1"].image) == ("192.0.2.2", "debian-12")


def test_an_answer_is_kept_until_a_file_it_came_from_changes(folder: Path) -> None:
    state = folder / "state"
    list_inventory([folder / "hosts.yml"], state)
    (kept,) = (state / "inventory").iterdir()
    kept.write_text(kept.read_text().replace("192.0.2.1", "192.0.2.7"))
    assert list_inventory([folder / "hosts.yml"], state).server("db-1").address == "192.0.2.7"
    (folder / "group_vars/all.yml").write_text("server_image: debian-13\n")
    servers = list_inventory([folder / "hosts.yml"], state).servers
    assert (servers["db-1"].address, servers["db-1"].image) == ("192.0.2.1", "debian-13")


def test_every_host_whose_attributes_make_no_sense_is_named() -> None:
    hosts = {
        "x-1": {"server_image": 12},
        "x-2": {"ansible_host": "{{ lookup('env', 'X') }}"},
        "x-3": {},
    }
    answer = {"_meta": {"hostvars": hosts}, "a": {"hosts": ["x-3"]}, "b": {"hosts": ["x-3"]}}
    with pytest.raises(ConfigError) as caught:
        parse_inventory(answer, {"a": "east", "b": "west", "c": "south"})
    said = str(caught.value)
    assert "x-1: server_image must be given as text" in said
    assert "x-2: its address {{ lookup('env', 'X') }} is a template; give server_address" in said
    assert "x-3: it is in a (east) and b (west); give it server_site" in said
    assert "site_of_group: there is no group 'c'" in said


def test_a_host_of_which_nothing_is_said_is_reached_by_its_name() -> None:
    server = parse_inventory({"all": {"hosts": ["web-1"]}}).server("web-1")
    assert (server.address, server.site, server.provider, server.port) == ("web-1", "", "unmanaged", 22)


def test_a_file_that_is_no_inventory_is_refused_with_ansibles_words(tmp_path: Path) -> None:
    broken = tmp_path / "hosts.yml"
    broken.write_text("all: [unclosed")
    with pytest.raises(ConfigError, match="the inventory cannot be read; nothing was touched"):
        list_inventory([broken], tmp_path)


# --- an inventory that was not written for Mainstay -----------------------------------------------

ROOMS = {"a": {"web-1": "192.0.2.11", "db-1": "192.0.2.12"}, "b": {"web-2": "192.0.2.21"}}
SITES = InventoryReading(site_of_group={"room_a": "city-hall", "room_b": "eoc"})


@pytest.mark.parametrize("form", FORMS)
def test_a_citys_own_inventory_is_read_where_it_lies(form: str, tmp_path: Path) -> None:
    sources = write_inventory(form, tmp_path / "etc", ROOMS)
    servers = list_inventory(sources, tmp_path / "state", SITES).servers
    assert {name: (one.address, one.site) for name, one in servers.items()} == {
        "web-1": ("192.0.2.11", "city-hall"),
        "db-1": ("192.0.2.12", "city-hall"),
        "web-2": ("192.0.2.21", "eoc"),
    }
    assert {one.provider for one in servers.values()} == {"unmanaged"}


def test_a_plugin_sees_the_variables_that_are_named_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "ask"
    seen = "{name: os.environ.get(name, '') for name in ('CITY_PROFILE', 'CITY_SECRET')}"
    program.write_text(
        "#!/usr/bin/env python3\nimport json, os\n"
        f"print(json.dumps({{'_meta': {{'hostvars': {{'x': {{'server_site': json.dumps({seen})}}}}}},"
        " 'all': {'hosts': ['x']}}))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("CITY_PROFILE", "dr")
    monkeypatch.setenv("CITY_SECRET", "hidden")
    reading = InventoryReading(environ=("CITY_PROFILE",))
    site = list_inventory([program], tmp_path, reading).server("x").site
    assert json.loads(site) == {"CITY_PROFILE": "dr", "CITY_SECRET": ""}


def test_a_citys_own_ansible_cfg_counts(tmp_path: Path) -> None:
    """Its vault's password file, here: without it the variables of a group cannot be read."""
    password, hosts = tmp_path / "password", tmp_path / "hosts"
    password.write_text("not a secret\n")
    hosts.write_text("[room_a]\nweb-1\n")
    (tmp_path / "group_vars").mkdir()
    variables = tmp_path / "group_vars/room_a.yml"
    variables.write_text("ansible_host: 192.0.2.11\n")
    argv = [
        Path(sys.executable).with_name("ansible-vault"),
        "encrypt",
        "--vault-password-file",
        password,
        variables,
    ]
    subprocess.run(argv, check=True, capture_output=True)
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\nvault_password_file = password\n")
    reading = InventoryReading(ansible_config=config)
    assert list_inventory([hosts], tmp_path / "state", reading).server("web-1").address == "192.0.2.11"
    with pytest.raises(ConfigError, match="the inventory cannot be read"):
        list_inventory([hosts], tmp_path / "state")


def test_a_folder_is_no_inventory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; nothing was touched"):
        list_inventory([tmp_path], tmp_path)


# --- a new environment ----------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "templates").symlink_to(ROOT / "templates")
    monkeypatch.setattr(_new_environment, "ROOT", tmp_path)
    return tmp_path


def test_a_new_environment_names_the_inventory_and_leaves_blanks(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts, *_ = write_inventory("ini", checkout / "etc", ROOMS)
    before = hosts.read_bytes()
    begin(Wanted("own", (str(hosts),)))
    with pytest.raises(ConfigError) as caught:
        load_environment(checkout, "own")
    blanks = [problem.key for problem in caught.value.problems]
    assert {"witness.host", "dns.zone", "site_of_group", "automation_user"} == set(blanks)
    text = (checkout / "inventories/own/environment.yml").read_text()
    assert "#   room_a: 2\n#   room_b: 1\n" in text
    assert not any(line.endswith(" ") for line in text.splitlines())
    assert hosts.read_bytes() == before
    assert "./inv dr.lint --env own" in capsys.readouterr().out


def test_a_new_environment_replaces_nothing(checkout: Path) -> None:
    hosts, *_ = write_inventory("ini", checkout / "etc", ROOMS)
    there = checkout / "inventories/own/services.yml"
    there.parent.mkdir(parents=True)
    there.write_text("mine\n")
    with pytest.raises(PreflightError, match=r"services.yml is there already; nothing was written"):
        begin(Wanted("own", (str(hosts),)))
    assert [(path.name, path.read_text()) for path in there.parent.iterdir()] == [("services.yml", "mine\n")]


@pytest.mark.parametrize("name", ["../etc", "Own", "", "a b"])
def test_a_name_that_is_no_folders_name_is_refused(name: str, checkout: Path) -> None:
    with pytest.raises(ConfigError, match="is no name for an environment; nothing was written"):
        begin(Wanted(name, ("hosts",)))
    assert not (checkout / "inventories").exists()


# --- the example city -----------------------------------------------------------------------------


def test_the_example_city_lints_clean() -> None:
    found = lint_environment("example-city", date(2026, 11, 22))
    own = [fault for fault in (*found.problems, *found.notes) if "example-city" in fault.file]
    assert own == []
    assert found.services > 200
