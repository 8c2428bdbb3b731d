"""`networks.yml`: the networks that servers of AWS and vSphere stand in, and whether all hangs together."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from automation.model.base import Model, format_size
from automation.model.environment import Environment
from automation.model.errors import ConfigError, Problem
from automation.model.loading import load_model, read_document
from automation.model.refusals import Where, near
from automation.model.servers import Network, NetworkSpec, ServerSpec, Size
from automation.model.strategy import Name

FILE = "networks.yml"
# AWS keeps the first four addresses of a subnet and its last; a broadcast address is nobody's.
_KEPT = {"aws": 4}
_LEAST_BYTES = 2**26  # a bare host takes 13 MB, and needs room for what it is for


class Networks(Model):
    """`inventories/<env>/networks.yml`."""

    networks: Mapping[Name, Network] = Field(description="networks, each by its name")


class Wrong(NamedTuple):
    """One fault of the networks: the path of its key, and what to do."""

    where: Where
    message: str


def load_networks(environment: Environment) -> Mapping[str, NetworkSpec]:
    """Read the networks of an environment; none, where it has no such file.

    Raises:
        ConfigError: every fault of the file, each with its line and key.
    """
    path = environment.folder / FILE
    if not path.is_file():
        return {}
    declared = load_model(path, Networks)
    wrong = tuple(check_networks(environment, declared.networks))
    if wrong:
        raise ConfigError(f"{FILE} is not valid; nothing was touched", problems=_problems(path, wrong))
    return {name: NetworkSpec(name=name, **dict(network)) for name, network in declared.networks.items()}


def _problems(path: Path, wrong: Iterable[Wrong]) -> list[Problem]:
    document = read_document(path)
    problems = [document.problem(one.where, one.message) for one in wrong]
    return sorted(problems, key=lambda problem: problem.line)


# --- networks ---------------------------------------------------------------------------------------


def check_networks(environment: Environment, networks: Mapping[str, Network]) -> Iterator[Wrong]:
    """Find networks that no provider has, or that are not what their provider knows. Pure."""
    for name, network in networks.items():
        for key, message in _check_network(environment, network, networks):
            yield Wrong(("networks", name, *key), message)
    yield from _overlaps(networks)


def _check_network(
    environment: Environment, network: Network, networks: Mapping[str, Network]
) -> Iterator[tuple[Where, str]]:
    yield from _check_place(environment, network)
    yield from _check_cidr(network)
    if network.provider == "aws" and not network.part_of:
        yield ("part_of",), "is missing: name the VPC that it is a part of"
    if network.provider == "aws" and network.vlan:
        yield ("vlan",), "AWS has no VLANs; delete it"
    if network.provider == "vsphere" and network.rules:
        yield ("rules",), "a port group keeps no rules; let a firewall or the servers do it, and delete them"
    for number, rule in enumerate(network.rules):
        if rule.source not in networks and _range(rule.source) is None:
            known = tuple(networks)
            message = f"{rule.source!r} is neither a range nor a network; {near(rule.source, known)}"
            yield ("rules", number, "from"), message


def _check_place(environment: Environment, network: Network) -> Iterator[tuple[Where, str]]:
    if network.provider == "nspawn":
        sites = tuple(environment.lab.sites) if environment.lab else ()
    else:
        sites = tuple(one.site for one in environment.providers.values() if one.kind == network.provider)
    if not sites:
        yield ("provider",), f"environment.yml names no provider of kind {network.provider}"
    elif network.site not in sites:
        yield ("site",), f"no {network.provider} is at site {network.site!r}; {near(network.site, sites)}"


def _check_cidr(network: Network) -> Iterator[tuple[Where, str]]:
    if network.provider == "aws" and not network.cidr:
        yield ("cidr",), "is missing: a subnet of AWS has one"
    if not network.cidr:
        return
    found = _range(network.cidr)
    if found is None:
        yield ("cidr",), f"{network.cidr!r} is no range of addresses; write for example 10.20.1.0/24"
    elif network.provider == "aws" and not 16 <= found.prefixlen <= 28:
        yield ("cidr",), f"{network.cidr}: a subnet of AWS has /16 to /28"


def _overlaps(networks: Mapping[str, Network]) -> Iterator[Wrong]:
    """Subnets of one VPC, or port groups of one switch and VLAN, that share addresses."""
    seen: list[tuple[str, Network, IPv4Network]] = []
    for name, network in networks.items():
        own = _range(network.cidr)
        if own is None or network.isolated:
            continue  # a test network is cut off from the one whose addresses it has
        for other, beside, range_ in seen:
            if _together(network) == _together(beside) and own.overlaps(range_):
                yield Wrong(("networks", name, "cidr"), f"{network.cidr} overlaps that of {other}, {range_}")
        seen.append((name, network, own))


def _together(network: Network) -> tuple[str, str, str]:
    return network.provider, network.site, network.part_of if network.provider == "aws" else ""


def _range(text: str) -> IPv4Network | None:
    try:
        found = ip_network(text)
    except ValueError:
        return None
    return found if isinstance(found, IPv4Network) else None


# --- servers ----------------------------------------------------------------------------------------


def require_servers(
    environment: Environment, specs: Mapping[str, ServerSpec], networks: Mapping[str, NetworkSpec]
) -> None:
    """See that what the inventory says of servers hangs together.

    Raises:
        ConfigError: names every host and variable that is wrong.
    """
    problems = [f"  {host}: {message}" for host, message in check_servers(environment, specs, networks)]
    if problems:
        raise ConfigError(
            "the inventory's servers are not as they should be; nothing was touched\n" + "\n".join(problems)
        )


def check_servers(
    environment: Environment, specs: Mapping[str, ServerSpec], networks: Mapping[str, NetworkSpec]
) -> Iterator[tuple[str, str]]:
    """Find hosts, and of each the variable, that no provider could make so. Pure."""
    for name, spec in specs.items():
        found = (
            _check_lab_server(spec)
            if spec.provider == "nspawn"
            else _check_server(environment, spec, networks)
        )
        for message in found:
            yield name, message
    yield from _shared_addresses(specs)


def _check_lab_server(spec: ServerSpec) -> Iterator[str]:
    """What a host of a lab cannot have: it shares this machine and the network of its site."""
    yield from _check_bounds(spec.size)
    said = {
        "disks": spec.disks,
        "networks": spec.networks,
        "tags": spec.tags,
        "cloud_init": spec.cloud_init,
    }
    for key in (key for key, given in said.items() if given):
        yield f"server_{key}: a server of a lab (nspawn) has none of its own; delete it"


def _check_bounds(size: Size) -> Iterator[str]:
    if size.type:
        yield "server_size: a lab has no types of servers; write for example {cpus: 2, memory: 1 GiB}"
    if size.memory_bytes and size.memory_bytes < _LEAST_BYTES:
        yield f"server_size: memory: give a host of a lab {format_size(_LEAST_BYTES)} or more"
    if size.memory_bytes % 2**20:
        yield "server_size: memory: is no whole number of MiB"


def _check_server(
    environment: Environment, spec: ServerSpec, networks: Mapping[str, NetworkSpec]
) -> Iterator[str]:
    sites = tuple(one.site for one in environment.providers.values() if one.kind == spec.provider)
    if not sites:
        yield f"server_provider: environment.yml names no provider of kind {spec.provider}"
    elif spec.site not in sites:
        yield f"server_site: no {spec.provider} is at site {spec.site!r}; {near(spec.site, sites)}"
    if not spec.image:
        yield "server_image: is missing: nothing says what it is made of"
    yield from _check_size(spec)
    names = [disk.name for disk in spec.disks]
    for twice in sorted({name for name in names if names.count(name) > 1}):
        yield f"server_disks: {twice!r} stands twice; a disk is known by its name"
    for disk in spec.disks:
        if disk.size_bytes % 2**30:
            yield f"server_disks: {disk.name}: its size is no whole number of GiB"
    yield from _check_networks_of(spec, networks)


def _check_size(spec: ServerSpec) -> Iterator[str]:
    has_counts = bool(spec.size.cpus or spec.size.memory_bytes)
    if spec.provider == "aws" and (not spec.size.type or has_counts):
        yield "server_size: AWS has instance types; write for example t3.medium"
    if spec.provider == "vsphere" and (spec.size.type or not (spec.size.cpus and spec.size.memory_bytes)):
        yield "server_size: write for example {cpus: 2, memory: 4 GiB}"


def _check_networks_of(spec: ServerSpec, networks: Mapping[str, NetworkSpec]) -> Iterator[str]:
    if not spec.networks:
        yield f"server_networks: is missing: name networks of {FILE}"
    for name in spec.networks:
        network = networks.get(name)
        if network is None:
            yield f"server_networks: {FILE} has no {name!r}; {near(name, tuple(networks))}"
        elif (network.provider, network.site) != (spec.provider, spec.site):
            place = f"{network.provider} at {network.site or 'no site'}"
            yield f"server_networks: {name} is of {place}, the server of {spec.provider} at {spec.site}"
    first = networks.get(spec.networks[0]) if spec.networks else None
    if spec.address:
        yield from _check_address(spec, first)


def _check_address(spec: ServerSpec, first: NetworkSpec | None) -> Iterator[str]:
    try:
        address = ip_address(spec.address)
    except ValueError:
        yield f"server_address: {spec.address!r} is no address; without it the provider gives one"
        return
    range_ = _range(first.cidr) if first else None
    if first is None or range_ is None:
        return
    if address not in range_:
        yield f"server_address: {address} is not in {first.name}, {range_}"
    elif not isinstance(address, IPv4Address) or _is_kept(address, range_, spec.provider):
        yield f"server_address: {address} of {first.name} is no server's: the network keeps it for itself"


def _is_kept(address: IPv4Address, range_: IPv4Network, provider: str) -> bool:
    place = int(address) - int(range_.network_address)
    return place < _KEPT.get(provider, 1) or address == range_.broadcast_address


def _shared_addresses(specs: Mapping[str, ServerSpec]) -> Iterator[tuple[str, str]]:
    """Addresses that two servers of one site would have; a test network's are another's."""
    seen: dict[tuple[str, str, str], str] = {}
    for name, spec in specs.items():
        place = (spec.provider, spec.site, spec.address)
        if spec.provider == "nspawn" or not spec.address:
            continue
        if place in seen:
            yield name, f"server_address: {spec.address} is that of {seen[place]}, too"
        seen.setdefault(place, name)
