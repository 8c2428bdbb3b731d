"""The shape of a lab's network, as its topology file tells it."""

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LAB_ID = re.compile(r"[a-z][a-z0-9]{0,8}")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


class TopologyError(Exception):
    """The topology contradicts itself, or a request contradicts the topology."""


@dataclass(frozen=True)
class Site:
    """A subnet behind one router."""

    name: str
    subnet: ipaddress.IPv4Network
    gateway: ipaddress.IPv4Address

    @property
    def namespace(self) -> str:
        return f"site-{self.name}"


@dataclass(frozen=True)
class Topology:
    """Sites, the WAN between them, and where the control node stands."""

    lab_id: str
    prefix: ipaddress.IPv4Network
    control_site: str
    control_address: ipaddress.IPv4Address
    sites: Mapping[str, Site]
    links: Mapping[str, Mapping[str, object]]

    @property
    def control_link(self) -> str:
        return f"ms-{self.lab_id}"

    def site(self, name: str) -> Site:
        """Give a site by name.

        Raises:
            TopologyError: there is none of that name.
        """
        if name not in self.sites:
            raise TopologyError(f"lab {self.lab_id} has no site {name!r}; it has {', '.join(self.sites)}")
        return self.sites[name]

    def check_server(self, name: str, site: str, address: str) -> None:
        """Refuse a server whose name or address does not fit its site.

        Raises:
            TopologyError: it does not fit.
        """
        if not NAME.fullmatch(name):
            raise TopologyError(f"server name {name!r} is not a host name in lower case")
        place = self.site(site)
        if ipaddress.IPv4Address(address) not in place.subnet:
            raise TopologyError(f"server {name}: {address} is outside {place.subnet}, the subnet of {site}")
        if address in (str(place.gateway), str(self.control_address)):
            raise TopologyError(f"server {name}: {address} is taken by the gateway or the control node")

    def check_reach(self, name: str, address: str, reach: Sequence[str]) -> None:
        """Refuse what an isolated server may reach if it is no single address of another host of the lab.

        Raises:
            TopologyError: it is not.
        """
        gateways = {str(site.gateway) for site in self.sites.values()}
        for other in reach:
            if ipaddress.IPv4Address(other) not in self.prefix or other in {address, *gateways}:
                raise TopologyError(f"server {name}: {other} is no other host of {self.prefix}")

    def link_names(self, sites: tuple[str, str]) -> tuple[str, str]:
        """Name the two directed WAN links between two sites."""
        first, second = (self.site(site).name for site in sites)
        if first == second:
            raise TopologyError(f"no WAN link leads from {first} to itself")
        return f"{first}>{second}", f"{second}>{first}"


def parse(text: str) -> Topology:
    """Read a topology from its JSON text.

    Raises:
        TopologyError: a key is missing or a value does not fit the others.
    """
    try:
        raw = json.loads(text)
        sites = {
            name: Site(name, ipaddress.IPv4Network(at["subnet"]), ipaddress.IPv4Address(at["gateway"]))
            for name, at in raw["sites"].items()
        }
        topology = Topology(
            lab_id=raw["lab_id"],
            prefix=ipaddress.IPv4Network(raw["prefix"]),
            control_site=raw["control"]["site"],
            control_address=ipaddress.IPv4Address(raw["control"]["address"]),
            sites=sites,
            links=raw.get("links", {}),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise TopologyError(f"topology: {type(exc).__name__}: {exc}") from exc
    _check(topology)
    return topology


def load(path: Path) -> Topology:
    """Read a topology file.

    Raises:
        TopologyError: it is missing or wrong.
    """
    try:
        return parse(path.read_text())
    except OSError as exc:
        raise TopologyError(f"cannot read the topology {path}: {exc.strerror}") from exc


def _check(topology: Topology) -> None:
    if not LAB_ID.fullmatch(topology.lab_id):
        raise TopologyError(f"lab id {topology.lab_id!r}: a letter, then up to 8 letters and digits")
    for site in topology.sites.values():
        if not NAME.fullmatch(site.name):
            raise TopologyError(f"site name {site.name!r} is not a host name in lower case")
        if not site.subnet.subnet_of(topology.prefix) or site.gateway not in site.subnet:
            raise TopologyError(f"site {site.name}: subnet or gateway is outside {topology.prefix}")
    sites = list(topology.sites.values())
    for position, site in enumerate(sites):
        for other in sites[position + 1 :]:
            if site.subnet.overlaps(other.subnet):
                raise TopologyError(f"sites {site.name} and {other.name} have overlapping subnets")
    if topology.control_address not in topology.site(topology.control_site).subnet:
        raise TopologyError("the control node's address is outside its site")
    for link in topology.links:
        topology.link_names((link.partition(">")[0], link.partition(">")[2]))


def mac_of(address: str) -> str:
    """Give the fixed MAC address of an IPv4 address.

    Fixed, so that neighbours' ARP caches stay right when a host boots again.
    """
    return ":".join(["02", "4d", *(f"{octet:02x}" for octet in ipaddress.IPv4Address(address).packed)])


def port_of(server: str) -> str:
    """Name a server's port on its site's bridge, within the kernel's 15 characters."""
    if len(server) <= 13:
        return f"v-{server}"
    return f"v-{hashlib.sha256(server.encode()).hexdigest()[:13]}"
