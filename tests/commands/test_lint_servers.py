"""dr.lint reads networks.yml and the servers of providers, too."""

from pathlib import Path

import pytest
import yaml

from automation.adapters.ansible.inventory import parse_inventory
from automation.commands._lint_servers import lint_servers
from automation.model.environment import Environment, load_environment

WEB = {"provider": "aws", "site": "east", "cidr": "10.1.0.0/24", "part_of": "main"}
SERVER = {"server_provider": "aws", "server_site": "east", "server_image": "debian-12"}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    folder = tmp_path / "inventories/city"
    folder.mkdir(parents=True)
    told = {
        "kind": "production",
        "inventory": ["hosts.yml"],
        "automation_user": "ops",
        "witness": {"host": "client"},
        "dns": {"zone": "city.example", "key_name": "k", "key": {"file": "secrets/k"}},
        "providers": {"e": {"kind": "aws", "site": "east", "region": "us-east-1", "account": "123456789012"}},
    }
    (folder / "environment.yml").write_text(yaml.safe_dump(told))
    return load_environment(tmp_path, "city")


def lint(environment: Environment, network: dict[str, object]) -> list[tuple[str, int, str]]:
    text = yaml.safe_dump({"networks": {"web": network}}, sort_keys=False)
    (environment.folder / "networks.yml").write_text(text)
    hosts = {"web-1": {**SERVER, "server_networks": ["web"]}}
    inventory = parse_inventory({"all": {"hosts": list(hosts)}, "_meta": {"hostvars": hosts}})
    return [(Path(one.file).name, one.line, one.key) for one in lint_servers(environment, inventory)]


def test_a_fault_of_networks_is_told_at_its_line(environment: Environment) -> None:
    assert lint(environment, {**WEB, "cidr": "ten"}) == [("networks.yml", 5, "networks.web.cidr")]


def test_a_fault_of_a_server_is_told_by_its_name(environment: Environment) -> None:
    assert lint(environment, WEB) == [("environment.yml", 1, "inventory.web-1")]


def test_an_inventory_of_a_city_that_declares_no_provider_is_let_be(environment: Environment) -> None:
    bare = environment.model_copy(update={"providers": {}})
    assert lint(bare, {**WEB, "cidr": "ten"}) == []
