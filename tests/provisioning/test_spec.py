"""networks.yml and the servers of the inventory: what does not hang together is told by line and key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from automation.adapters.ansible.inventory import parse_inventory
from automation.model.environment import Environment, load_environment
from automation.model.errors import ConfigError
from automation.provisioning.composing import declare
from automation.provisioning.spec import check_servers, load_networks
from tests.conftest import ROOT

ENVIRONMENT = {
    "kind": "production",
    "inventory": ["hosts.yml"],
    "automation_user": "ops",
    "witness": {"host": "client"},
    "dns": {"zone": "city.example", "key_name": "k", "key": {"file": "secrets/k"}},
    "providers": {
        "cloud": {"kind": "aws", "site": "east", "region": "us-east-1", "account": "123456789012"},
        "hall": {
            "kind": "vsphere",
            "site": "hall",
            "address": "vcenter.hall.example",
            "login": {"file": "secrets/vcenter"},
            "datacenter": "city",
            "cluster": "main",
            "datastore": "fast",
        },
    },
}
WEB = {"provider": "aws", "site": "east", "cidr": "10.1.0.0/24", "part_of": "main"}
HALL = {"provider": "vsphere", "site": "hall", "cidr": "10.2.0.0/24", "vlan": 20}
SERVER = {
    "server_provider": "aws",
    "server_site": "east",
    "server_image": "debian-12",
    "server_size": "t3.small",
    "server_networks": ["web"],
}
VM = {
    "server_provider": "vsphere",
    "server_site": "hall",
    "server_image": "debian-12",
    "server_size": {"cpus": 2, "memory": "4 GiB"},
    "server_networks": ["hall"],
}


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    folder = tmp_path / "inventories/city"
    folder.mkdir(parents=True)
    (folder / "environment.yml").write_text(yaml.safe_dump(ENVIRONMENT))
    return load_environment(tmp_path, "city")


def write(environment: Environment, **networks: dict[str, Any]) -> None:
    text = yaml.safe_dump({"networks": networks}, sort_keys=False)
    (environment.folder / "networks.yml").write_text(text)


def answer(**hosts: dict[str, Any]) -> dict[str, Any]:
    return {"all": {"hosts": list(hosts)}, "_meta": {"hostvars": hosts}}


def faults(environment: Environment, **hosts: dict[str, Any]) -> list[str]:
    write(environment, web=WEB, hall=HALL)
    specs = parse_inventory(answer(**hosts)).specs
    return [": ".join(one) for one in check_servers(environment, specs, load_networks(environment))]


def test_networks_have_the_names_of_their_keys(environment: Environment) -> None:
    write(environment, web=WEB, hall=HALL)
    assert {name: one.name for name, one in load_networks(environment).items()} == {
        "web": "web",
        "hall": "hall",
    }


def test_an_environment_without_the_file_has_no_networks(environment: Environment) -> None:
    assert load_networks(environment) == {}


NETWORKS = {
    "a site without such a provider": ({"site": "west"}, 4, "site: no aws is at site 'west'"),
    "one address alone": ({"cidr": "10.1.0.0"}, 5, "cidr: 10.1.0.0: a subnet of AWS has /16 to /28"),
    "words for a range": ({"cidr": "ten"}, 5, "cidr: 'ten' is no range of addresses"),
    "bits beyond the mask": ({"cidr": "10.1.0.7/24"}, 5, "cidr: '10.1.0.7/24' is no range of addresses"),
    "too small for AWS": ({"cidr": "10.1.0.0/29"}, 5, "cidr: 10.1.0.0/29: a subnet of AWS has /16 to /28"),
    "no VPC": ({"part_of": ""}, 6, "part_of: is missing"),
    "a VLAN at AWS": ({"vlan": 7}, 7, "vlan: AWS has no VLANs"),
    "a rule from nowhere": (
        {"rules": [{"protocol": "tcp", "from": "wbe"}]},
        9,
        "rules.0.from: 'wbe' is neither a range nor a network; did you mean web?",
    ),
}


@pytest.mark.parametrize(("change", "line", "message"), NETWORKS.values(), ids=NETWORKS.keys())
def test_a_fault_of_a_network_is_told_with_its_line_and_key(
    environment: Environment, change: dict[str, Any], line: int, message: str
) -> None:
    write(environment, web={**WEB, **change})
    with pytest.raises(ConfigError) as caught:
        load_networks(environment)
    assert f"networks.yml:{line}: networks.web.{message}" in str(caught.value)


def test_a_port_group_keeps_no_rules(environment: Environment) -> None:
    write(environment, hall={**HALL, "rules": [{"protocol": "icmp", "from": "10.0.0.0/8"}]})
    with pytest.raises(ConfigError, match="a port group keeps no rules"):
        load_networks(environment)


def test_two_subnets_of_one_vpc_do_not_overlap_but_an_isolated_one_may(environment: Environment) -> None:
    write(environment, web=WEB, wide={**WEB, "cidr": "10.1.0.0/20"}, test={**WEB, "isolated": True})
    with pytest.raises(ConfigError) as caught:
        load_networks(environment)
    assert [one.key for one in caught.value.problems] == ["networks.wide.cidr"]
    write(environment, web=WEB, other={**WEB, "part_of": "second"})
    assert len(load_networks(environment)) == 2


SERVERS = {
    "right": ({}, ""),
    "no provider of that kind there": (
        {"server_site": "hall", "server_networks": ["hall"]},
        "no aws is at site 'hall'; known: east|hall is of vsphere at hall",
    ),
    "no image": ({"server_image": ""}, "server_image: is missing"),
    "a size in numbers": ({"server_size": {"cpus": 2, "memory": "4 GiB"}}, "server_size: AWS has instance"),
    "a disk twice": (
        {"server_disks": [{"name": "a", "size": "1 GiB"}, {"name": "a", "size": "2 GiB"}]},
        "server_disks: 'a' stands twice",
    ),
    "half a GiB": (
        {"server_disks": [{"name": "a", "size": "1536 MiB"}]},
        "its size is no whole number of GiB",
    ),
    "no network": ({"server_networks": []}, "server_networks: is missing"),
    "an unknown network": ({"server_networks": ["wbe"]}, "has no 'wbe'; did you mean web?"),
    "a network elsewhere": ({"server_networks": ["hall"]}, "hall is of vsphere at hall, the server of aws"),
    "an address elsewhere": ({"server_address": "10.9.0.9"}, "10.9.0.9 is not in web, 10.1.0.0/24"),
    "an address that AWS keeps": ({"server_address": "10.1.0.3"}, "the network keeps it for itself"),
    "a broadcast address": ({"server_address": "10.1.0.255"}, "the network keeps it for itself"),
    "no address at all": ({"server_address": "web-1.example"}, "'web-1.example' is no address"),
}


@pytest.mark.parametrize(("change", "message"), SERVERS.values(), ids=SERVERS.keys())
def test_a_fault_of_a_server_names_host_and_variable(
    environment: Environment, change: dict[str, Any], message: str
) -> None:
    found = faults(environment, **{"web-1": {**SERVER, **change}})
    expected = [part for part in message.split("|") if part]
    assert len(found) == len(expected)
    for fault, part in zip(found, expected, strict=True):
        assert fault.startswith("web-1: server_")
        assert part in fault


def test_a_vm_has_processors_and_memory(environment: Environment) -> None:
    assert faults(environment, gis=VM) == []
    (fault,) = faults(environment, gis={**VM, "server_size": "t3.small"})
    assert fault == "gis: server_size: write for example {cpus: 2, memory: 4 GiB}"


HOST = {"server_provider": "nspawn", "server_site": "hall", "server_image": "debian-12"}


def test_a_host_of_a_lab_has_no_disk_network_or_tag_of_its_own(environment: Environment) -> None:
    told = faults(
        environment,
        pg={**HOST, "server_networks": ["web"], "server_tags": {"team": "sea"}},
        app={**HOST, "server_address": "10.9.9.9"},
    )
    assert told == [
        "pg: server_networks: a server of a lab (nspawn) has none of its own; delete it",
        "pg: server_tags: a server of a lab (nspawn) has none of its own; delete it",
    ]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ({"cpus": 2, "memory": "1 GiB"}, ""),
        ({"cpus": 1}, ""),
        ("t3.small", "a lab has no types of servers; write for example {cpus: 2, memory: 1 GiB}"),
        ({"memory": "1 MiB"}, "memory: give a host of a lab 64.0 MiB or more"),
        ({"memory": "100000 KiB"}, "memory: is no whole number of MiB"),
    ],
)
def test_a_host_of_a_lab_is_bounded_in_processors_and_memory(
    environment: Environment, size: object, words: str
) -> None:
    told = faults(environment, pg={**HOST, "server_size": size})
    assert told == ([f"pg: server_size: {words}"] if words else [])


def test_an_address_is_one_servers(environment: Environment) -> None:
    both = {**SERVER, "server_address": "10.1.0.9"}
    (fault,) = faults(environment, **{"web-1": both, "web-2": both})
    assert fault == "web-2: server_address: 10.1.0.9 is that of web-1, too"


# --- variables ---------------------------------------------------------------------------------------

VARIABLES = {
    "a size that is none": ({"server_disks": [{"name": "a", "size": "lots"}]}, "server_disks.0.size: 'lots'"),
    "a misspelt variable": (
        {"server_network": ["web"]},
        "server_network: unknown; did you mean server_networks?",
    ),
    "a template": ({"server_tags": {"site": "{{ x }}"}}, "server_tags: is a template; give it as it is"),
    "an unknown key": ({"server_size": {"cpu": 2}}, "server_size.cpu"),
}


@pytest.mark.parametrize(("change", "message"), VARIABLES.values(), ids=VARIABLES.keys())
def test_a_faulty_variable_is_told_by_host_and_variable(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_inventory(answer(**{"web-1": {**SERVER, **change}}))
    assert f"web-1: {message}" in str(caught.value)


def test_variables_of_a_city_s_own_and_hosts_of_no_provider_are_let_be() -> None:
    hosts = {
        "web-1": {**SERVER, "server_room": "b2"},
        "switch": {"server_provider": "appliance", "server_size": 7},
    }
    inventory = parse_inventory(answer(**hosts))
    assert set(inventory.specs) == {"web-1"}
    assert inventory.specs["web-1"].size.type == "t3.small"


def test_servers_on_demand_are_declared_and_not_standing(environment: Environment) -> None:
    inventory = parse_inventory(answer(**{"web-1": SERVER, "copy": {**SERVER, "server_on_demand": True}}))
    said = declare(environment, inventory, {})
    assert (set(said.servers), said.on_demand) == ({"web-1"}, {"copy"})


def test_the_checkouts_environments_hang_together() -> None:
    for name in ("lab", "example-city"):
        load_networks(load_environment(ROOT, name))
