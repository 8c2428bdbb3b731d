"""Moving a name: one signed update a server, with the old address as prerequisite (compare and set)."""

import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Literal

import dns.name
import dns.rcode
import dns.tsig
import dns.update

from automation.adapters.dns.asking import ANSWER_TIMEOUT_S, ask, ask_with_stamp, key_of, read_addresses
from automation.model.actions import SwapAddress
from automation.model.errors import AdapterError
from automation.model.evidence import DnsChange
from automation.model.moves import Stamp, stamp_name
from automation.model.records import Context, Outcome

# A server that is not required gets as long again as the required ones took, and no less than this.
GRACE_S = 0.05

_Answer = Literal["updated", "was-new"]


def swap_address(action: SwapAddress, ctx: Context) -> Outcome:
    """Replace the one A record of a name on all servers that answer.

    A server that holds the new address already is left alone. One that is required and holds any other
    address than the old one fails the step; one that is not required is told of, to be reconciled.
    """
    key, stamp = key_of(ctx), Stamp(at_ms=time.time_ns() // 1_000_000, run_id=ctx.run_id)
    pool = ThreadPoolExecutor(max_workers=len(action.servers))
    jobs = {name: pool.submit(_swap, name, action, ctx, key, stamp) for name in action.servers}
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


def _swap(server: str, action: SwapAddress, ctx: Context, key: dns.tsig.Key, stamp: Stamp) -> _Answer:
    address = ctx.inventory.server(server).address
    answer, before = ask_with_stamp(
        _update(action, ctx, key, action.old, stamp), server, address, action.name
    )
    code = answer.rcode()
    if code == dns.rcode.NOERROR:
        if before is not None and before.order > stamp.order:
            _stamp_later(server, action, ctx, key, before)
        return "updated"
    held, _ = read_addresses(server, address, action.name)
    if code == dns.rcode.NXRRSET and held == (action.new,):
        return "was-new"
    raise AdapterError(
        f"DNS server {server} refused to change {action.name} from {action.old} to {action.new}: "
        f"{dns.rcode.to_text(code)}; the record is unchanged there",
        hint=f"it holds {', '.join(held) or 'no address'}",
    )


def _stamp_later(server: str, action: SwapAddress, ctx: Context, key: dns.tsig.Key, before: Stamp) -> None:
    """Stamp a move later than the one before it, which a control node with a faster clock had stamped."""
    later = Stamp(at_ms=before.at_ms + 1, run_id=ctx.run_id)
    again = _update(action, ctx, key, action.new, later)
    code = ask(again, server, ctx.inventory.server(server).address).rcode()
    if code != dns.rcode.NOERROR:
        raise AdapterError(
            f"DNS server {server} moved {action.name} and refused a stamp later than {before.at_ms}: "
            f"{dns.rcode.to_text(code)}",
            hint="set the clocks of the control nodes right",
        )


def _update(
    action: SwapAddress, ctx: Context, key: dns.tsig.Key, expect: str, stamp: Stamp
) -> dns.update.UpdateMessage:
    """The address and its stamp in one message: a server takes both or neither."""
    settings = ctx.environment.dns
    update, zone = dns.update.UpdateMessage(settings.zone, keyring=key), dns.name.from_text(settings.zone)
    relative = dns.name.from_text(action.name).relativize(zone)
    stamped = dns.name.from_text(stamp_name(action.name)).relativize(zone)
    update.present(relative, "A", expect)
    update.replace(relative, round(settings.ttl_s), "A", action.new)
    update.replace(stamped, round(settings.ttl_s), "TXT", f'"{stamp.text}"')
    return update
