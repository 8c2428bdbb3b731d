"""What is said to whoever sends to a fenced address."""

import socket
import struct

import pytest

from automation.shipped.labd.refusing import checksum, refusal


def packet(protocol: int = 6, first: int = 0, *, fragment: int = 0, version: int = 4) -> bytes:
    start = struct.pack("!BBHHHBBH", version << 4 | 5, 0, 40, 1, fragment, 64, protocol, 0)
    return start + socket.inet_aton("10.9.3.10") + socket.inet_aton("10.9.1.20") + bytes([first]) + bytes(19)


@pytest.mark.parametrize("sent", [packet(), packet(17), packet(1, 8)], ids=["TCP", "UDP", "ping"])
def test_the_sender_is_told_with_its_own_packet(sent: bytes) -> None:
    told = refusal(sent)
    assert told is not None
    address, message = told
    assert address == "10.9.3.10"
    assert message[:2] == bytes((3, 13))
    assert message[8:] == sent
    assert checksum(message) == 0


@pytest.mark.parametrize(
    "sent",
    [packet(1, 3), packet(fragment=2), packet(version=6), packet()[:24]],
    ids=["an error itself", "a later fragment", "IPv6", "cut short"],
)
def test_what_must_not_be_answered_is_not(sent: bytes) -> None:
    assert refusal(sent) is None
