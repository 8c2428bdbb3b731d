"""The inventory as ansible-inventory resolves it, and when it is asked again."""

from pathlib import Path

import pytest

from automation.adapters.ansible import list_inventory
from automation.adapters.ansible.inventory import parse_inventory
from automation.model.errors import ConfigError

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


def test_every_host_that_lacks_an_attribute_is_named() -> None:
    hosts = {"x-1": {"ansible_host": "192.0.2.3", "server_site": "east"}, "x-2": {"server_image": 12}}
    with pytest.raises(ConfigError) as caught:
        parse_inventory({"_meta": {"hostvars": hosts}})
    assert "x-1: server_provider, server_image must be given as text" in str(caught.value)
    assert "x-2: server_address, server_site, server_provider, server_image must be" in str(caught.value)


def test_a_file_that_is_no_inventory_is_refused_with_ansibles_words(tmp_path: Path) -> None:
    broken = tmp_path / "hosts.yml"
    broken.write_text("all: [unclosed")
    with pytest.raises(ConfigError, match="the inventory cannot be read; nothing was touched"):
        list_inventory([broken], tmp_path)
