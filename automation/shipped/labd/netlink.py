"""Refusing routes, told to the kernel directly: a fence should not wait for programs to start."""

import errno
import os
import socket
import struct

RTM_NEWROUTE, RTM_DELROUTE, NLMSG_ERROR = 24, 25, 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST, RTN_PROHIBIT = 254, 4, 1, 8
RTA_DST, RTA_OIF, RTA_PRIORITY = 1, 4, 6
RT_SCOPE_LINK = 253
LAST = 1000  # the refusing route stands behind the one to whoever says no in its place


def open_socket() -> socket.socket:
    """Open a routing socket; it stays in the network namespace it was opened in."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def set_prohibited(routes: socket.socket, address: str, wanted: bool, by: int | None = None) -> None:
    """Refuse all packets to an address at once, or no longer; what is so already is no error.

    Args:
        by: index of the device whose reader says no to each packet.

    Raises:
        OSError: the kernel refused.
    """
    messages = [route_message(address, wanted), *([] if by is None else [route_message(address, wanted, by)])]
    for message in messages if wanted else reversed(messages):
        _exchange(routes, message, address, errno.EEXIST if wanted else errno.ESRCH)


def _exchange(routes: socket.socket, message: bytes, address: str, harmless: int) -> None:
    routes.send(message)
    answer = routes.recv(4096)
    kind = struct.unpack_from("=IHHII", answer)[1]
    number = -struct.unpack_from("=i", answer, 16)[0] if kind == NLMSG_ERROR else errno.EPROTO
    if number not in (0, harmless):
        raise OSError(number, f"prohibit route for {address}: {os.strerror(number)}")


def route_message(address: str, wanted: bool, device: int | None = None) -> bytes:
    """Encode the request to add or delete the `prohibit` route for one address, or that to a device."""
    flags = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if wanted else 0)
    kind = RTM_NEWROUTE if wanted else RTM_DELROUTE
    protocol = RTPROT_STATIC if wanted else 0
    scope, sort = (0, RTN_PROHIBIT) if device is None else (RT_SCOPE_LINK, RTN_UNICAST)
    route = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, RT_TABLE_MAIN, protocol, scope, sort, 0)
    destination = struct.pack("=HH4s", 8, RTA_DST, socket.inet_aton(address))
    more = struct.pack("=HHI", 8, RTA_PRIORITY, LAST) if device is None else b""
    more += struct.pack("=HHI", 8, RTA_OIF, device) if device is not None else b""
    length = 16 + len(route) + len(destination) + len(more)
    return struct.pack("=IHHII", length, kind, flags, 1, 0) + route + destination + more
