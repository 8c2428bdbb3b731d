"""Forward packets between the sites of a lab as a WAN would: late, lossy, slow, or not at all.

Runs beside the lab's supervisor; standard library only. Opens the TUN device `wan0` in the network
namespace of every site and moves IPv4 packets between them by destination subnet.

    wan.py --lab-id ID --sites '{"city-hall": {"namespace": "/run/netns/lab-x", "subnet": "10.77.1.0/24"}}'

Standard input takes one JSON object a line, {"a>b": {"up": true, "delay_ms": 10, ...}}: the directed
links to change. Each line is answered on standard output with the whole table as it is now in force.
End of input ends the program.
"""

import argparse
import ctypes
import fcntl
import heapq
import ipaddress
import json
import os
import random
import select
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

DEVICE = "wan0"
VNET_HEADER_BYTES = 10  # struct virtio_net_hdr, before every packet because of IFF_VNET_HDR
PACKET_BYTES = 65535 + VNET_HEADER_BYTES
BATCH = 64  # packets read from one site before the others get their turn
QUEUE_S = 0.2  # a rate-limited link holds this many seconds of traffic, then drops

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN = 1, 2, 4, 8


@dataclass(frozen=True)
class Condition:
    """How a directed link treats packets; `rate_mbit` 0 is no limit."""

    up: bool = True
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    rate_mbit: float = 0.0

    def __post_init__(self) -> None:
        if min(self.delay_ms, self.jitter_ms, self.rate_mbit) < 0 or not 0 <= self.loss <= 1:
            raise ValueError(f"{self}: delay, jitter and rate are 0 or more; loss is between 0 and 1")


@dataclass
class Link:
    """One direction between two sites: decides when a packet arrives, or that it never does."""

    condition: Condition = field(default_factory=Condition)
    free_at: float = 0.0
    last_due: float = 0.0

    def schedule(self, now: float, size_bytes: int, chance: random.Random) -> float | None:
        """Give the moment a packet arrives, or None if it is lost.

        Packets keep their order: jitter delays the ones behind, as a queue in a router does.
        """
        condition = self.condition
        if not condition.up or (condition.loss and chance.random() < condition.loss):
            return None
        sent = now
        if condition.rate_mbit:
            start = max(now, self.free_at)
            if start - now > QUEUE_S:
                return None
            sent = self.free_at = start + size_bytes * 8 / (condition.rate_mbit * 1e6)
        due = sent + (condition.delay_ms + condition.jitter_ms * chance.random()) / 1000
        self.last_due = due = max(due, self.last_due)
        return due


class Table:
    """All directed links, by the name `from>to`."""

    def __init__(self, sites: Mapping[str, str]) -> None:
        self.links = {f"{a}>{b}": Link() for a in sites for b in sites if a != b}
        self._networks = [(ipaddress.IPv4Network(subnet), site) for site, subnet in sites.items()]
        self._site_of: dict[bytes, str | None] = {}

    def site_of(self, address: bytes) -> str | None:
        """Give the site that an IPv4 address, in network order, belongs to."""
        if address not in self._site_of:
            if len(self._site_of) > 4096:
                self._site_of.clear()
            wanted = ipaddress.IPv4Address(address)
            self._site_of[address] = next((site for net, site in self._networks if wanted in net), None)
        return self._site_of[address]

    def change(self, wanted: Mapping[str, Mapping[str, object]]) -> None:
        """Change the named links, all or none.

        Raises:
            KeyError: no such link.
            TypeError, ValueError: a condition that makes no sense.
        """
        changed = {
            name: replace(self.links[name].condition, **settings)  # type: ignore[arg-type]
            for name, settings in wanted.items()
        }
        for name, condition in changed.items():
            self.links[name].condition = condition

    def in_force(self) -> dict[str, dict[str, object]]:
        """Give the condition of every link, as JSON can carry it."""
        return {name: asdict(link.condition) for name, link in self.links.items()}


class Forwarder:
    """Moves packets between TUN devices, each when the table says that it is due."""

    def __init__(self, table: Table, devices: Mapping[str, int]) -> None:
        self.table = table
        self._fd_of = dict(devices)
        self._site_at = {fd: site for site, fd in devices.items()}
        self._due: list[tuple[float, int, int, bytes]] = []
        self._sequence = 0
        self._chance = random.Random()

    def run(self, commands: int) -> None:
        """Forward until `commands` reaches its end."""
        watched = [commands, *self._site_at]
        # select, not poll or epoll: only its timeout is finer than a millisecond.
        while True:
            wait_s = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            for fd in select.select(watched, [], [], wait_s)[0]:
                if fd != commands:
                    self._receive(fd)
                elif not self._obey(commands):
                    return
            self._deliver()

    def _receive(self, fd: int) -> None:
        origin = self._site_at[fd]
        for _ in range(BATCH):
            try:
                packet = os.read(fd, PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:  # the device is down: a failed site sends nothing
                return
            target = self.table.site_of(packet[VNET_HEADER_BYTES + 16 : VNET_HEADER_BYTES + 20])
            if target is None or target == origin or packet[VNET_HEADER_BYTES] >> 4 != 4:
                continue
            link = self.table.links[f"{origin}>{target}"]
            due = link.schedule(time.monotonic(), len(packet) - VNET_HEADER_BYTES, self._chance)
            if due is not None:
                self._sequence += 1
                heapq.heappush(self._due, (due, self._sequence, self._fd_of[target], packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, fd, packet = heapq.heappop(self._due)
            try:
                os.write(fd, packet)
            except OSError:  # the device is down, or its queue full: the packet is lost
                continue

    def _obey(self, commands: int) -> bool:
        line = _read_line(commands)
        if not line:
            return False
        try:
            self.table.change(json.loads(line))
            answer: dict[str, object] = {"links": self.table.in_force()}
        except (KeyError, TypeError, ValueError) as exc:
            answer = {"error": f"{type(exc).__name__}: {exc}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
        return True


def _read_line(fd: int) -> bytes:
    """Read one line without reading ahead, so that select sees what follows."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            return b""
        line += byte
    return bytes(line)


def enter_namespace(path: str) -> None:
    """Move this thread into a network namespace (os.setns exists from Python 3.12 only)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter network namespace {path}")
    finally:
        os.close(fd)


def open_device(namespace: str) -> int:
    """Create the TUN device in a namespace; it lives as long as the descriptor."""
    enter_namespace(namespace)
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    request = struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR)
    fcntl.ioctl(fd, TUNSETIFF, request)
    # Offloads let the kernel hand over 64 KiB super-packets instead of 1500-byte ones.
    fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
    return fd


def _raise_priority() -> None:
    """Ask for real-time scheduling; delays must hold while the machine is busy."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        os.setpriority(os.PRIO_PROCESS, 0, -15)


def main() -> None:
    """Open the devices, say so with a first table, forward."""
    parser = argparse.ArgumentParser(description="user-space WAN of a Mainstay lab")
    parser.add_argument("--lab-id", required=True)
    parser.add_argument("--sites", required=True, type=json.loads)
    options = parser.parse_args()
    devices = {site: open_device(at["namespace"]) for site, at in options.sites.items()}
    table = Table({site: at["subnet"] for site, at in options.sites.items()})
    _raise_priority()
    print(json.dumps({"links": table.in_force()}), flush=True)
    Forwarder(table, devices).run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
