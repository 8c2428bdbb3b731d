"""Refusing routes, told to the kernel directly: a fence should not wait for programs to start."""

import errno
import os
import socket
import struct

RTM_NEWROUTE, RTM_DELROUTE, NLMSG_ERROR = 24, 25, 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_EXCL, NLM_F_CREATE = 1, 4, 0x200, 0x400
RT_TABLE_MAIN, RTPROT_STATIC, RTN_PROHIBIT, RTA_DST = 254, 4, 8, 1


def open_socket() -> socket.socket:
    """Open a routing socket; it stays in the network namespace it was opened in."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def set_prohibited(routes: socket.socket, address: str, wanted: bool) -> None:
    """Refuse all packets to an address at once, or no longer; what is so already is no error.

    Raises:
        OSError: the kernel refused.
    """
    routes.send(route_message(address, wanted))
    answer = routes.recv(4096)
    kind = struct.unpack_from("=IHHII", answer)[1]
    number = -struct.unpack_from("=i", answer, 16)[0] if kind == NLMSG_ERROR else errno.EPROTO
    if number not in (0, errno.EEXIST if wanted else errno.ESRCH):
        raise OSError(number, f"prohibit route for {address}: {os.strerror(number)}")


def route_message(address: str, wanted: bool) -> bytes:
    """Encode the request to add or delete a `prohibit` route for one address."""
    flags = NLM_F_REQUEST | NLM_F_ACK | (NLM_F_CREATE | NLM_F_EXCL if wanted else 0)
    kind = RTM_NEWROUTE if wanted else RTM_DELROUTE
    protocol = RTPROT_STATIC if wanted else 0
    route = struct.pack("=BBBBBBBBI", socket.AF_INET, 32, 0, 0, RT_TABLE_MAIN, protocol, 0, RTN_PROHIBIT, 0)
    destination = struct.pack("=HH4s", 8, RTA_DST, socket.inet_aton(address))
    length = 16 + len(route) + len(destination)
    return struct.pack("=IHHII", length, kind, flags, 1, 0) + route + destination
