"""Giving a server the moves of names that it missed, as other servers tell them.

One that answers takes them in a signed update with what it holds as prerequisite, without a moment's silence.
One that does not run takes them into its zone file by its own guard (shipped/dns_guard.py), and answers then.
"""

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import dns.name
import dns.rcode
import dns.tsig
import dns.update

from automation.adapters.dns.asking import ask, key_of, list_moves
from automation.model.actions import ReconcileServer
from automation.model.errors import AdapterError
from automation.model.evidence import RecordsReconciled
from automation.model.moves import Missed, Move, find_missed, stamp_name
from automation.model.records import Context, Outcome

Moves = Mapping[str, Move]
# A message over TCP holds 64 KiB; a name, its addresses and stamps take less than 512 bytes.
NAMES_A_MESSAGE = 100
GUARD = "/usr/local/lib/mainstay/dns_guard.py"
TRIES = 5
START_S = 15.0
RUNS = 75
# It is started on the guard's word alone: the sources must answer the guard, too.
_START = f"""
case "$(systemctl show --property=ActiveState --value named)" in active|*ing) exit {RUNS};; esac
test -f {GUARD} || {{ echo "it has no guard" >&2; exit 1; }}
python3 -I {GUARD} --require "$@" && systemctl start named
"""


def reconcile_server(action: ReconcileServer, ctx: Context) -> Outcome:
    """Read the moves of names from all sources and the server, and give it those that it missed.

    Every source must answer before anything is changed. A name of which two servers tell different addresses
    under one stamp is left as it is, and that is an error: nobody here can know which is right.
    """
    key = key_of(ctx)
    with ThreadPoolExecutor(max_workers=len(action.sources)) as pool:
        answers = pool.map(lambda name: _told_by(name, ctx, key), action.sources)
        told = dict(zip(action.sources, answers, strict=True))
    try:
        own: Moves = list_moves(action.server, ctx, key)
    except AdapterError as silence:
        started = _start_reconciled(action, ctx, silence)
        own = _await_moves(action.server, ctx, key)
        if started is not None:
            return _outcome(action, started | _take_missed(action, own, told, ctx), started=True)
    return _outcome(action, _take_missed(action, own, told, ctx), started=False)


def observe_moves(server: str, ctx: Context) -> dict[str, Move]:
    """Read which names were moved on a server, and when; changes nothing.

    Raises:
        AdapterError: no answer.
    """
    return list_moves(server, ctx, key_of(ctx))


def _told_by(source: str, ctx: Context, key: dns.tsig.Key) -> Moves:
    try:
        return list_moves(source, ctx, key)
    except AdapterError as exc:
        raise AdapterError(
            f"{source} cannot say what was moved: {exc}; nothing was changed",
            transient=True,
            hint=f"./inv lab.ssh --env {ctx.environment.name} --host {source} "
            "--command 'systemctl status named'",
        ) from exc


def _take_missed(
    action: ReconcileServer, own: Moves, told: Mapping[str, Moves], ctx: Context
) -> dict[str, str]:
    """Take what was missed until nothing is; the server's own guard may be doing the same meanwhile."""
    key = key_of(ctx)
    taken: dict[str, str] = {}
    for _ in range(TRIES):
        missed = find_missed(own, told)
        names = tuple(missed.moves)
        if not names:
            _refuse_undecided(action, missed, ctx)
            return taken
        for first in range(0, len(names), NAMES_A_MESSAGE):
            some = {name: missed.moves[name] for name in names[first : first + NAMES_A_MESSAGE]}
            if _take(action.server, some, own, ctx):
                taken |= {name: move.addresses[0] for name, move in some.items()}
        own = list_moves(action.server, ctx, key)
    raise AdapterError(
        f"{action.server} still tells old addresses of {', '.join(missed.moves)}: somebody changes them, too",
        transient=True,
    )


def _take(server: str, moves: Moves, own: Moves, ctx: Context) -> bool:
    """Change several names in one message, all or none; False if one is no longer what was read."""
    zone, key = ctx.environment.dns.zone, key_of(ctx)
    update = dns.update.UpdateMessage(zone, keyring=key)
    for name, move in moves.items():
        assert move.stamp is not None
        held = own.get(name, Move(addresses=(), ttl_s=0, stamp=None))
        stamps = (f'"{held.stamp.text}"',) if held.stamp else ()
        _replace(update, zone, (name, "A"), held.addresses, (move.ttl_s, move.addresses[0]))
        _replace(update, zone, (stamp_name(name), "TXT"), stamps, (move.ttl_s, f'"{move.stamp.text}"'))
    code = ask(update, server, ctx.inventory.server(server).address, stream=True).rcode()
    if code in (dns.rcode.NOERROR, dns.rcode.NXRRSET, dns.rcode.YXRRSET):
        return code == dns.rcode.NOERROR
    raise AdapterError(
        f"DNS server {server} refused {', '.join(moves)}: {dns.rcode.to_text(code)}; nothing was changed"
    )


def _replace(
    update: dns.update.UpdateMessage,
    zone: str,
    record: tuple[str, str],
    held: tuple[str, ...],
    wanted: tuple[int, str],
) -> None:
    name, kind = dns.name.from_text(record[0]).relativize(dns.name.from_text(zone)), record[1]
    if held:
        update.present(name, kind, *held)
    else:
        update.absent(name, kind)
    update.replace(name, wanted[0], kind, wanted[1])


def _start_reconciled(action: ReconcileServer, ctx: Context, silence: AdapterError) -> dict[str, str] | None:
    """Let a server that does not run take what it missed, and start it then; None if it is just starting."""
    argv = ["sudo", "-n", "sh", "-c", _START, "start", *action.sources]
    done = ctx.remote(action.server).run(argv, timeout_s=ctx.timeout_s)
    if done.exit_code == RUNS:
        return None
    if done.exit_code:
        raise AdapterError(
            f"{silence}, and on {action.server}: {(done.stderr or done.stdout).strip()}; not reconciled",
            hint=f"./inv provision.converge --env {ctx.environment.name} --limit {action.server} sets it up",
        )
    try:
        taken: dict[str, str] = json.loads(done.stdout.splitlines()[0])["taken"]
    except (ValueError, KeyError, IndexError) as exc:
        raise AdapterError(
            f"the guard of {action.server} said {done.stdout[:200]!r}; it was started"
        ) from exc
    return taken


def _await_moves(server: str, ctx: Context, key: dns.tsig.Key) -> Moves:
    """Read the moves of a server that is just starting; it waits for others before it answers."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return list_moves(server, ctx, key)
        except AdapterError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _refuse_undecided(action: ReconcileServer, missed: Missed, ctx: Context) -> None:
    if missed.undecided:
        raise AdapterError(
            f"{', '.join(missed.undecided)}: {action.server} and {', '.join(action.sources)} tell different "
            "addresses of one move, so one of them was changed by hand; left as it is, all others are equal",
            hint=f"./inv dr.status --env {ctx.environment.name} shows them; set the wrong one with nsupdate",
        )


def _outcome(action: ReconcileServer, taken: Mapping[str, str], *, started: bool) -> Outcome:
    told = ", ".join(f"{name} is {address}" for name, address in taken.items())
    summary = f"{action.server} took from {', '.join(action.sources)}: {told}"
    if not taken:
        summary = f"{action.server} tells the same as {', '.join(action.sources)}"
    if started:
        summary += "; it was started"
    evidence = RecordsReconciled(server=action.server, sources=action.sources, taken=taken, started=started)
    return Outcome(changed=bool(taken) or started, summary=summary, evidence=evidence)
