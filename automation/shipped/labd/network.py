"""Site networks, server ports, fences and the control link."""

import errno
import fcntl
import ipaddress
import json
import os
import socket
import struct
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from .isolation import forget, isolate, let_through
from .namespaces import NAMESPACES, batch, ip_in, path_of, set_sysctls
from .netlink import open_socket, set_prohibited
from .refusing import DEVICE, Refuser
from .system import LabError, in_namespace, make_namespace, remove_namespace, run
from .topology import Site, Topology, mac_of, port_of

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
RTF_REJECT = 0x0200
NO_IPV6 = {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}


class Network:
    """All network namespaces of the lab; the kernel is the only place that knows their state."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._sockets: dict[str, socket.socket] = {}
        self._routes: dict[str, socket.socket] = {}
        self._refuser, self._refusing = Refuser(), dict[str, int]()
        self._routing = threading.Lock()

    def build(self) -> None:
        """Make the site networks and the control link; the WAN devices come with the forwarder.

        Raises:
            LabError: the machine uses the lab's prefix already.
        """
        refuse_used_prefix(self.topology)
        NAMESPACES.mkdir(parents=True, exist_ok=True)
        for site in self.topology.sites.values():
            namespace = path_of(site.namespace)
            make_namespace(namespace)
            self._sockets[site.name] = in_namespace(namespace, partial(_build_site, site))
            self._routes[site.name] = in_namespace(namespace, open_socket)
            self._refusing[site.name] = in_namespace(namespace, self._refuser.open)
            ip_in(site.namespace, f"link set {DEVICE} up")
        self._connect_control()

    def route_wan(self, site: Site) -> None:
        """Bring the WAN device of a site up, with the route that its going down removes."""
        prefix, gateway = self.topology.prefix, site.gateway
        ip_in(site.namespace, "link set wan0 up", f"route replace {prefix} dev wan0 src {gateway}")

    def cut_site(self, site: Site) -> None:
        """Take a site off the WAN and silence its bridge, in well under a millisecond."""
        for device in ("wan0", "br0"):
            if has_device(self._sockets[site.name], device):  # the forwarder may just be starting again
                set_up(self._sockets[site.name], device, False)

    def join_site(self, site: Site) -> None:
        """Undo a cut."""
        set_up(self._sockets[site.name], "br0", True)
        self.route_wan(site)

    def site_is_up(self, site: Site) -> bool:
        """Read back whether a site's bridge and WAN device are up."""
        return all(is_up(self._sockets[site.name], device) for device in ("br0", "wan0"))

    def attach(self, server: str, site: Site, address: str, *, fenced: bool) -> str:
        """Make a server's network namespace afresh, plug it into its site, and give its path.

        Afresh, so that no connection of an earlier life sends another packet.
        """
        self._connect(server, site, address, site.subnet.prefixlen, f"link set {port_of(server)} master br0")
        self.set_port(server, site, not fenced)
        return path_of(f"host-{server}")

    def attach_isolated(self, server: str, site: Site, address: str, reach: Sequence[str]) -> str:
        """Make a server's network namespace afresh, on a network of its own behind its site's router.

        The rules of the router are there before the port is up.
        """
        self._connect(server, site, address, 32)
        isolate(site, address, port_of(server), reach)
        return path_of(f"host-{server}")

    def attach_management(self, name: str, mac: str) -> str:
        """Plug a program into the management network, without any address yet; give its namespace's path.

        That is the control site: a site that is cut off by its WAN keeps its management.
        """
        site = self.topology.site(self.topology.control_site)
        self._cable(name, site, mac, f"link set {port_of(name)} master br0")
        ip_in(f"host-{name}", "link set lo up", "link set host0 up", sysctls=NO_IPV6)
        self.set_port(name, site, True)
        return path_of(f"host-{name}")

    def set_addresses(self, name: str, addresses: Sequence[str]) -> None:
        """Give a program of the management network these addresses, and take all others from it.

        Single ones, so that none leans on another; the routes go with the last one and come with the first.
        """
        site = self.topology.site(self.topology.control_site)
        routes = (
            f"route replace {site.subnet} dev host0",
            f"route replace default via {site.gateway} dev host0",
        )
        ip_in(
            f"host-{name}",
            "address flush dev host0",
            *(f"address add {address}/32 dev host0" for address in addresses),
            *(routes if addresses else ()),
        )

    def let_through(self, server: str, site: Site, address: str) -> list[str]:
        """Read back with which addresses the router lets an isolated server exchange packets.

        Raises:
            LabError: the router has no rules, or others than ours: nothing says that it is isolated.
        """
        return let_through(site, address, port_of(server))

    def forget_isolated(self, server: str, site: Site, address: str) -> None:
        """Remove the rules of an isolated server, once the server is gone."""
        forget(site, address, port_of(server))

    def _connect(self, server: str, site: Site, address: str, prefix: int, *commands: str) -> None:
        """Make a server's network namespace and the cable to its site's router, at which it is down."""
        self._cable(server, site, mac_of(address), *commands)
        ip_in(
            f"host-{server}",
            "link set lo up",
            f"address add {address}/{prefix} dev host0",
            "link set host0 up",
            f"route add default via {site.gateway} dev host0 onlink",
            sysctls=NO_IPV6,
        )

    def _cable(self, server: str, site: Site, mac: str, *commands: str) -> None:
        """Make a network namespace afresh, with a cable to a site's router, and do commands there."""
        self.detach(server, site)
        namespace, port = f"host-{server}", port_of(server)
        make_namespace(path_of(namespace))
        fd = os.open(path_of(namespace), os.O_RDONLY)
        try:
            pair = f"type veth peer name host0 address {mac} netns /proc/{os.getpid()}/fd/{fd}"
            ip_in(site.namespace, f"link add name {port} {pair}", *commands)
        finally:
            os.close(fd)

    def detach(self, server: str, site: Site) -> None:
        """Unplug a server and let go of its namespace."""
        port = port_of(server)
        if has_device(self._sockets[site.name], port):
            ip_in(site.namespace, f"link delete {port}")
        remove_namespace(path_of(f"host-{server}"))

    def set_port(self, server: str, site: Site, up: bool) -> None:
        """Set a server's port on the bridge; a server that is off has none."""
        try:
            set_up(self._sockets[site.name], port_of(server), up)
        except OSError as exc:
            if exc.errno != errno.ENODEV:  # a dying server takes its port with it at any moment
                raise

    def port_is_up(self, server: str, site: Site) -> bool:
        """Read back a server's port."""
        return is_up(self._sockets[site.name], port_of(server))

    def prohibit(self, address: str, wanted: bool) -> None:
        """Make every router refuse packets to an address at once, or stop doing so.

        Packets for hosts at the same site never meet the router; the port being down stops those.
        """
        with self._routing:  # one request and its answer at a time
            for site, routes in self._routes.items():
                set_prohibited(routes, address, wanted, self._refusing[site])

    def prohibited_at(self, address: str) -> list[str]:
        """Read back which sites' routers refuse packets to an address."""
        sites = self.topology.sites.values()
        return [site.name for site in sites if address in _prohibited_in(site.namespace)]

    def _connect_control(self) -> None:
        topology, link = self.topology, self.topology.control_link
        site = topology.site(topology.control_site)
        address, gateway = topology.control_address, site.gateway
        fd = os.open(path_of(site.namespace), os.O_RDONLY)
        try:
            peer = f"type veth peer name control netns /proc/{os.getpid()}/fd/{fd}"
            batch([f"link add name {link} address {mac_of(str(address))} {peer}"])
        finally:
            os.close(fd)
        ip_in(site.namespace, "link set control master br0", "link set control up")
        batch(
            [
                f"address add {address}/{site.subnet.prefixlen} dev {link}",
                f"link set {link} up",
                f"route add {topology.prefix} via {gateway} dev {link} src {address}",
            ]
        )


def refuse_used_prefix(topology: Topology) -> None:
    """Refuse when this machine has an address in, or a route into, the lab's prefix.

    Raises:
        LabError: it has; nothing was changed.
    """
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]))
    used = [f"route {route['dst']} dev {route.get('dev', '-')}" for route in routes]
    clash = overlapping(topology.prefix, used)
    if clash:
        raise LabError(
            f"lab {topology.lab_id}: {topology.prefix} is in use here ({clash}); nothing was changed",
            hint="stop the lab or VPN that uses it, or give this lab another prefix",
        )


def overlapping(prefix: ipaddress.IPv4Network, routes: Iterable[str]) -> str | None:
    """Give the first `route <destination> ...` into a prefix; the default route does not count."""
    for route in routes:
        destination = route.split()[1]
        if destination != "default" and ipaddress.IPv4Network(destination, strict=False).overlaps(prefix):
            return route
    return None


def refused_addresses(routes: str) -> list[str]:
    """Pick the single addresses that are refused out of the kernel's /proc/net/route."""
    rows = [line.split() for line in routes.splitlines()[1:]]
    return [
        str(ipaddress.IPv4Address(socket.ntohl(int(row[1], 16))))
        for row in rows
        if int(row[3], 16) & RTF_REJECT and int(row[7], 16) == 0xFFFFFFFF
    ]


def set_up(control: socket.socket, device: str, up: bool) -> None:
    """Set a device up or down in the namespace that a socket was opened in."""
    flags = _flags(control, device)
    wanted = flags | IFF_UP if up else flags & ~IFF_UP
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh22x", device.encode(), wanted))


def is_up(control: socket.socket, device: str) -> bool:
    """Tell whether a device exists and is set up."""
    try:
        return bool(_flags(control, device) & IFF_UP)
    except OSError:
        return False


def has_device(control: socket.socket, device: str) -> bool:
    """Tell whether a device exists in the namespace that a socket was opened in."""
    try:
        _flags(control, device)
    except OSError:
        return False
    return True


def _prohibited_in(namespace: str) -> list[str]:
    return refused_addresses(
        in_namespace(path_of(namespace), lambda: Path("/proc/thread-self/net/route").read_text())
    )


def _flags(control: socket.socket, device: str) -> int:
    answer = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh22x", device.encode(), 0))
    flags: int = struct.unpack("16sh22x", answer)[1]
    return flags


def _build_site(site: Site) -> socket.socket:
    """Build a site's router in the current namespace; give a socket that stays in it."""
    set_sysctls(
        {
            "net/ipv4/ip_forward": "1",
            "net/ipv4/icmp_ratelimit": "0",  # a fenced server is refused at once, every time
            "net/ipv6/conf/all/disable_ipv6": "1",
            "net/ipv6/conf/default/disable_ipv6": "1",
        }
    )
    bridge = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
    batch(
        [
            "link set lo up",
            f"link add name br0 address {mac_of(str(site.gateway))} {bridge}",
            f"address add {site.gateway}/{site.subnet.prefixlen} dev br0",
            "link set br0 up",
        ]
    )
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
