"""One question to one server, and its errors in words."""

import contextlib
import socket
import time

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.zone

from automation.model.errors import AdapterError
from automation.model.moves import LABEL, Move, Stamp, parse_stamp, stamp_name
from automation.model.records import Context

ANSWER_TIMEOUT_S = 3.0
TRANSFER_TIMEOUT_S = 10.0
_EARLY_S = 0.05


def key_of(ctx: Context) -> dns.tsig.Key:
    """Give the key that may change and transfer the zone."""
    settings = ctx.environment.dns
    return dns.tsig.Key(settings.key_name, ctx.secret(settings.key), "hmac-sha256")


def ask(
    message: dns.message.Message, server: str, address: str, *, stream: bool = False
) -> dns.message.Message:
    """Ask one server, by datagram unless the message may be too long for one.

    Raises:
        AdapterError: no answer, or none that its key signed.
    """
    try:
        if stream:
            return dns.query.tcp(message, address, timeout=ANSWER_TIMEOUT_S)
        return dns.query.udp_with_fallback(message, address, timeout=ANSWER_TIMEOUT_S)[0]
    except (dns.exception.DNSException, OSError, EOFError) as exc:
        raise _silent(server, address, exc) from exc


def ask_with_stamp(
    message: dns.message.Message, server: str, address: str, name: str
) -> tuple[dns.message.Message, Stamp | None]:
    """Ask one server, and in the same round trip for the stamp that a name had before."""
    query = dns.message.make_query(stamp_name(name), "TXT")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as early:
        early.setblocking(False)
        with contextlib.suppress(OSError):
            dns.query.send_udp(early, query, (address, 53))
        answer = ask(message, server, address)
        try:
            before, _ = dns.query.receive_udp(early, (address, 53), time.time() + _EARLY_S, query=query)
        except (dns.exception.DNSException, OSError):
            return answer, None
    return answer, _stamp(before.answer)


def read_addresses(server: str, address: str, name: str) -> tuple[tuple[str, ...], int]:
    """Ask one authoritative server for the addresses of a name, sorted, and how long they may be kept."""
    told = ask(dns.message.make_query(name, "A"), server, address).answer
    found = [rrset for rrset in told if rrset.rdtype == dns.rdatatype.A]
    addresses = tuple(sorted(str(item) for rrset in found for item in rrset))
    return addresses, max((rrset.ttl for rrset in found), default=0)


def read_stamp(server: str, address: str, name: str) -> Stamp | None:
    """Ask one authoritative server when a name was last moved."""
    return _stamp(ask(dns.message.make_query(stamp_name(name), "TXT"), server, address).answer)


def list_moves(server: str, ctx: Context, key: dns.tsig.Key) -> dict[str, Move]:
    """Transfer the zone from one server; give every name with an address or a stamp.

    Raises:
        AdapterError: no answer, or the server gives the zone to nobody with our key.
    """
    address, zone_name = ctx.inventory.server(server).address, ctx.environment.dns.zone
    try:
        messages = dns.query.xfr(
            address,
            zone_name,
            timeout=ANSWER_TIMEOUT_S,
            lifetime=TRANSFER_TIMEOUT_S,
            keyring={key.name: key},
            keyname=key.name,
            keyalgorithm=key.algorithm,
            relativize=False,
        )
        zone = dns.zone.from_xfr(messages, relativize=False)
    except (dns.exception.DNSException, OSError, EOFError) as exc:
        reason = str(exc) or type(exc).__name__
        raise AdapterError(
            f"DNS server {server} ({address}) gives no zone: {reason}", transient=True
        ) from exc
    label = LABEL.encode()
    names = {name.parent() if name.labels[0] == label else name for name in zone.nodes}
    moves = {str(name).rstrip("."): _move(zone, name) for name in names}
    return {name: move for name, move in moves.items() if move.addresses or move.stamp}


def _move(zone: dns.zone.Zone, name: dns.name.Name) -> Move:
    found = zone.get_rdataset(name, "A")
    stamp = zone.get_rrset(dns.name.Name((LABEL.encode(), *name.labels)), "TXT")
    return Move(
        addresses=tuple(sorted(str(item) for item in found or ())),
        ttl_s=found.ttl if found else 0,
        stamp=_stamp([stamp] if stamp else []),
    )


def _stamp(answer: list[dns.rrset.RRset]) -> Stamp | None:
    """Read the newest stamp of a set; what is not one of ours is passed over."""
    texts = [
        b"".join(item.strings).decode(errors="replace")
        for rrset in answer
        if rrset.rdtype == dns.rdatatype.TXT
        for item in rrset
    ]
    stamps = [stamp for stamp in map(parse_stamp, texts) if stamp]
    return max(stamps, key=lambda stamp: stamp.order, default=None)


def _silent(server: str, address: str, exc: Exception) -> AdapterError:
    reason = str(exc) or type(exc).__name__
    return AdapterError(
        f"DNS server {server} ({address}): {reason}; state unknown", transient=True, unknown=True
    )
