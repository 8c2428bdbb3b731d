"""Strategies of VMs and instances, held against what else is declared: no provider is asked."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from automation.backups.spec import load_backups
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.catalog_checks import Finding
from automation.model.environment import Environment, Inventory
from automation.model.errors import ConfigError
from automation.model.refusals import near
from automation.model.servers import NetworkSpec
from automation.provisioning.spec import load_networks

_Found = Iterator[tuple[tuple[str | int, ...], str]]


def lint_clouds(
    environment: Environment, inventory: Inventory, services: Mapping[str, Service]
) -> Iterator[Finding]:
    """Find services on VMs or instances that a failover, or a test of it, would be refused for."""
    networks: Mapping[str, NetworkSpec] = {}
    with suppress(ConfigError):  # its own faults are told by the commands of provisioning
        networks = load_networks(environment)
    for name, service in services.items():
        if isinstance(service.strategy, VmReplica):
            found = _replicated(environment, inventory, networks, service)
        elif isinstance(service.strategy, AwsPilotLight):
            found = _pilot(environment, inventory, networks, service)
        else:
            continue
        for key, message in found:
            yield Finding(("services", name, "strategy", *key), message)


def _replicated(
    environment: Environment, inventory: Inventory, networks: Mapping[str, NetworkSpec], service: Service
) -> _Found:
    strategy = service.strategy
    assert isinstance(strategy, VmReplica)
    yield from _providers(environment, service, "vsphere", "hosts")
    for group, vms in enumerate(strategy.vms):
        for number, vm in enumerate(vms):
            server = inventory.servers.get(vm)
            if server is None or server.provider != "vsphere":
                how = f"is of provider {server.provider}" if server else "is not in the inventory"
                yield ("vms", group, number), f"{vm} {how}; give it server_provider: vsphere there"
    for here, there in strategy.networks.items():
        for one in (here, there):
            if networks and one not in networks:
                yield ("networks", here), f"{one} is not in networks.yml; {near(one, tuple(networks))}"
    yield from _test_network(networks, strategy.test_network, "vsphere", service.recovery)


def _pilot(
    environment: Environment, inventory: Inventory, networks: Mapping[str, NetworkSpec], service: Service
) -> _Found:
    strategy = service.strategy
    assert isinstance(strategy, AwsPilotLight)
    yield from _providers(environment, service, "aws", "hosts")
    for number, host in enumerate(strategy.hosts.get(service.recovery, ())):
        spec = inventory.specs.get(host)
        if spec is None or spec.provider != "aws":
            message = f"{host} is not declared as a server of AWS, so nothing can launch it; "
            yield ("hosts", service.recovery, number), f"{message}give it server_provider: aws and its size"
        elif not spec.networks:
            yield ("hosts", service.recovery, number), f"{host} declares no server_networks"
    yield from _test_network(networks, strategy.test_network, "aws", service.recovery)
    path = environment.folder / "backups.yml"
    with suppress(ConfigError):  # its own faults are told by the commands of backups
        known = tuple(load_backups(path).resources) if path.is_file() else ()
        if strategy.images not in known:
            yield ("images",), f"is no resource of backups.yml; {near(strategy.images, known)}"


def _providers(environment: Environment, service: Service, kind: str, key: str) -> _Found:
    for site in (service.primary, service.recovery):
        if not any((one.kind, one.site) == (kind, site) for one in environment.providers.values()):
            yield (key, site), f"environment.yml names no provider of kind {kind} at {site}; add one"


def _test_network(networks: Mapping[str, NetworkSpec], name: str, kind: str, site: str) -> _Found:
    network = networks.get(name)
    if network is None:
        yield ("test_network",), f"{name} is not in networks.yml; declare it there, isolated: true"
    elif (network.provider, network.site) != (kind, site):
        yield ("test_network",), f"{name} is of {network.provider} at {network.site}; a test is at {site}"
    elif not network.isolated:
        yield ("test_network",), f"{name} is not declared isolated: a copy would reach production"
