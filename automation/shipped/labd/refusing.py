"""Says no for fenced addresses, to each packet.

A refusing route alone says it to one asker once a second: the kernel holds such answers back by the asker's
address, so that a client that tries many fenced hosts is told nothing of most. Packets for a fenced address
are therefore led to a device of ours, whose reader answers each. The refusing route stands behind it: should
the reader die, the answers end and the fence stays.
"""

import fcntl
import os
import selectors
import socket
import struct
import threading
from contextlib import suppress

DEVICE = "refuse0"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
UNREACHABLE, FILTERED = 3, 13  # ICMP: destination unreachable, communication administratively prohibited
ECHO_REQUEST, ICMP = 8, 1
QUOTED_BYTES = 128


class Refuser:
    """The devices of all sites, and the thread that answers for them."""

    def __init__(self) -> None:
        self._waiting = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._answer_all, daemon=True)

    def open(self) -> int:
        """Make the device in the current network namespace; it lives as long as the lab. Give its index."""
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._waiting.register(device, selectors.EVENT_READ, answers)
        if not self._thread.is_alive():
            self._thread.start()
        return socket.if_nametoindex(DEVICE)

    def _answer_all(self) -> None:
        while True:
            for key, _ in self._waiting.select(1.0):  # devices are added meanwhile
                with suppress(OSError):  # a sender whose network has just gone
                    told = refusal(os.read(key.fd, 65536))
                    if told is not None:
                        key.data.sendto(told[1], (told[0], 0))


def refusal(packet: bytes) -> tuple[str, bytes] | None:
    """Give whom to tell that a packet is refused, and the ICMP message; none: nobody is to be told. Pure."""
    if len(packet) < 28 or packet[0] >> 4 != 4:
        return None
    header_bytes, protocol = (packet[0] & 0xF) * 4, packet[9]
    later_fragment = struct.unpack_from("!H", packet, 6)[0] & 0x1FFF
    if later_fragment or (
        protocol == ICMP and packet[header_bytes : header_bytes + 1] != bytes([ECHO_REQUEST])
    ):
        return None
    rest = bytes(4) + packet[:QUOTED_BYTES]
    total = checksum(bytes([UNREACHABLE, FILTERED, 0, 0]) + rest)
    return socket.inet_ntoa(packet[12:16]), struct.pack("!BBH", UNREACHABLE, FILTERED, total) + rest


def checksum(message: bytes) -> int:
    """Give the internet checksum of a message."""
    padded = message + bytes(len(message) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total
