"""Authoritative DNS by RFC 2136 dynamic updates, signed with TSIG.

Each site's server is a primary of its own for the zone; a swap goes to every one
that answers, with the old value as prerequisite (compare and set).
"""

import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Literal

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from automation.model.actions import LookAtRecords, SwapAddress
from automation.model.errors import AdapterError
from automation.model.evidence import DnsChange, DnsRecord, RecordsSeen
from automation.model.records import Context, Outcome

ANSWER_TIMEOUT_S = 3.0
# A server that is not required gets as long again as the required ones took, and no less than this.
GRACE_S = 0.05

_Answer = Literal["updated", "was-new"]


def swap_address(action: SwapAddress, ctx: Context) -> Outcome:
    """Replace the one A record of a name on all servers that answer.

    A server that holds the new address already is left alone. One that is required and holds any other
    address than the old one fails the step; one that is not required is told of, to be reconciled.
    """
    key = _key(ctx)
    pool = ThreadPoolExecutor(max_workers=len(action.servers))
    jobs = {name: pool.submit(_swap, name, action, ctx, key) for name in action.servers}
    pool.shutdown(wait=False)
    required = {jobs[name] for name in action.required}
    began = time.monotonic()
    wait(required, timeout=min(ctx.timeout_s, ANSWER_TIMEOUT_S * 2), return_when=FIRST_EXCEPTION)
    wait(jobs.values(), timeout=max(GRACE_S, time.monotonic() - began))
    answers = {name: _settled(job) for name, job in jobs.items()}
    for name in action.required:
        answer = answers[name]
        if answer is None:
            raise AdapterError(
                f"DNS server {name} gave no answer in time; state unknown", transient=True, unknown=True
            )
        if isinstance(answer, AdapterError):
            raise answer
    updated = tuple(name for name, answer in answers.items() if isinstance(answer, str))
    late = tuple(name for name in action.servers if name not in updated)
    evidence = DnsChange(name=action.name, old=action.old, new=action.new, updated=updated, reconcile=late)
    summary = f"{action.name} is {action.new} on {', '.join(updated)}"
    if late:
        summary += f"; reconcile before use: {', '.join(_told(name, answers[name]) for name in late)}"
    return Outcome(changed="updated" in answers.values(), summary=summary, evidence=evidence)


def _told(server: str, answer: _Answer | AdapterError | None) -> str:
    """Tell a server that answered and refused from one that was not heard in time."""
    return f"{server} ({answer})" if isinstance(answer, AdapterError) and not answer.transient else server


def _settled(job: "Future[_Answer]") -> _Answer | AdapterError | None:
    if not job.done():
        return None
    exc = job.exception()
    if exc is None:
        return job.result()
    if isinstance(exc, AdapterError):
        return exc
    raise exc


def _key(ctx: Context) -> dns.tsig.Key:
    settings = ctx.environment.dns
    return dns.tsig.Key(settings.key_name, ctx.secret(settings.key), "hmac-sha256")


def _swap(server: str, action: SwapAddress, ctx: Context, key: dns.tsig.Key) -> _Answer:
    settings = ctx.environment.dns
    address = ctx.inventory.server(server).address
    update = dns.update.UpdateMessage(settings.zone, keyring=key)
    relative = dns.name.from_text(action.name).relativize(dns.name.from_text(settings.zone))
    update.present(relative, "A", action.old)
    update.replace(relative, round(settings.ttl_s), "A", action.new)
    code = _ask(update, server, address).rcode()
    if code == dns.rcode.NOERROR:
        return "updated"
    if code == dns.rcode.NXRRSET and list_addresses(server, address, action.name) == (action.new,):
        return "was-new"
    raise AdapterError(
        f"DNS server {server} refused to change {action.name} from {action.old} to {action.new}: "
        f"{dns.rcode.to_text(code)}; the record is unchanged there",
        hint=f"it holds {', '.join(list_addresses(server, address, action.name)) or 'no address'}",
    )


def list_addresses(server: str, address: str, name: str) -> tuple[str, ...]:
    """Ask one authoritative server for the A records of a name, sorted."""
    answer = _ask(dns.message.make_query(name, "A"), server, address)
    return tuple(
        sorted(str(item) for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A for item in rrset)
    )


def look_at_records(action: LookAtRecords, ctx: Context) -> Outcome:
    """Ask every server for every name, side by side; silence is an answer, except of required ones."""
    answers: dict[str, dict[str, DnsRecord]] = {}
    silent: dict[str, str] = {}
    with ThreadPoolExecutor(max_workers=len(action.servers)) as pool:
        jobs = {name: pool.submit(_read_records, name, action.names, ctx) for name in action.servers}
    for name, job in jobs.items():
        try:
            answers[name] = job.result()
        except AdapterError as exc:
            if name in action.required:
                raise
            silent[name] = str(exc)
    summary = f"{len(answers)} of {len(action.servers)} DNS servers answer"
    return Outcome(changed=False, summary=summary, evidence=RecordsSeen(answers=answers, silent=silent))


def _read_records(server: str, names: tuple[str, ...], ctx: Context) -> dict[str, DnsRecord]:
    address = ctx.inventory.server(server).address
    records = {}
    for name in names:
        answer = _ask(dns.message.make_query(name, "A"), server, address)
        found = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.A]
        addresses = tuple(sorted(str(item) for rrset in found for item in rrset))
        records[name] = DnsRecord(addresses=addresses, ttl_s=max((rrset.ttl for rrset in found), default=0))
    return records


def _ask(message: dns.message.Message, server: str, address: str) -> dns.message.Message:
    try:
        answer, _ = dns.query.udp_with_fallback(message, address, timeout=ANSWER_TIMEOUT_S)
    except (dns.exception.DNSException, OSError) as exc:
        reason = str(exc) or type(exc).__name__
        raise AdapterError(
            f"DNS server {server} ({address}): {reason}; state unknown", transient=True, unknown=True
        ) from exc
    return answer
