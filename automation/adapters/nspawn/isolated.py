"""Servers that exist for one drill: isolated before their first packet, and gone without a trace after it."""

import uuid

from automation.adapters.nspawn import hostkeys, image, seeds, status
from automation.adapters.nspawn.client import Supervisor
from automation.model.actions import CreateIsolated, ListServers, RemoveServer
from automation.model.drill_evidence import IsolatedServer, Listing
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress

PROVIDER = "nspawn"
ELSEWHERE = (
    "make an isolated network there by its own means, and declare a server of a lab (nspawn) for the drill"
)


def create_isolated(action: CreateIsolated, ctx: Context) -> Outcome:
    """Make a server that reaches a few addresses alone, boot it, and read its isolation back."""
    server = ctx.inventory.server(action.host)
    if server.provider != PROVIDER:
        raise AdapterError(
            f"{action.host}: nothing of ours isolates a server of provider {server.provider}; "
            "nothing was changed",
            hint=ELSEWHERE,
        )
    known = _find(ctx, action.host)
    if known is None:
        _create(action, ctx)
    return _read_back(action, ctx, changed=known is None)


def verify_create_isolated(action: CreateIsolated, ctx: Context) -> Progress:
    """Say whether it is there; what is there is as isolated as it was asked for, or an error."""
    if _find(ctx, action.host) is None:
        return Progress(state="not_done", why=f"there is no server {action.host}")
    return Progress(state="done", outcome=_read_back(action, ctx, changed=True))


def remove_server(action: RemoveServer, ctx: Context) -> Outcome:
    """Remove an isolated server, its disk and its pinned key; one that is not isolated is refused."""
    server = ctx.inventory.server(action.host)
    known = _find(ctx, action.host)
    if known is not None:
        _lab(ctx).ask("remove_server", server=action.host)
    if _find(ctx, action.host) is not None:
        raise AdapterError(f"server {action.host} is still there after it was removed")
    hostkeys.forget(ctx.state / "known_hosts", action.host, server.address)
    said = "removed with its disk and its key" if known else "is not there"
    return Outcome(changed=known is not None, summary=f"server {action.host} {said}")


def verify_remove_server(action: RemoveServer, ctx: Context) -> Progress:
    """Say whether it is gone; half a removal is done again."""
    if _find(ctx, action.host) is not None:
        return Progress(state="not_done", why=f"server {action.host} is there")
    return Progress(state="done", outcome=remove_server(action, ctx))


def list_servers(action: ListServers, ctx: Context) -> Outcome:
    """List every server of the lab with what is read back of it, and every host key that is trusted."""
    seen = status.read(ctx.state, ctx.environment.require_lab().id)
    items = {
        f"server {name}": f"{one.site} {one.address}, power {one.power}, "
        f"autostart {'on' if one.autostart else 'off'}, network {one.network}"
        + ("" if one.isolated_to is None else f", isolated but for {' '.join(one.isolated_to)}")
        for name, one in seen.servers.items()
    }
    items |= {
        f"trusted key of {name}": key for name, key in hostkeys.listed(ctx.state / "known_hosts").items()
    }
    return Outcome(
        changed=False,
        summary=f"{len(seen.servers)} servers",
        evidence=Listing(of="servers", where=seen.lab_id, items=items),
    )


def _create(action: CreateIsolated, ctx: Context) -> None:
    server, public = ctx.inventory.server(action.host), ctx.state / "ssh/id_ed25519.pub"
    key = hostkeys.make(action.host)
    hostkeys.pin(ctx.state / "known_hosts", action.host, action.address, key)
    names = {**action.reach, **action.names}
    files = seeds.first_files(server, (), key, public.read_text(), machine_id=uuid.uuid4().hex, names=names)
    _lab(ctx).ask(
        "create_server",
        server=action.host,
        site=action.site,
        address=action.address,
        image=str(image.root_of(ctx.images, action.image)),
        files=files,
        reach=sorted(set(action.reach.values())),
    )


def _read_back(action: CreateIsolated, ctx: Context, *, changed: bool) -> Outcome:
    seen = _lab(ctx).ask("server_state", server=action.host)
    if seen["isolated_to"] is None:
        raise AdapterError(
            f"server {action.host} is there and is not isolated; nothing was changed",
            hint="a drill makes its server itself: remove this one from the lab first",
        )
    wanted, found = set(action.reach.values()), set(seen["isolated_to"])
    others = found - wanted
    if wanted - found or len(others) != 1:  # the control node is the one other
        raise AdapterError(
            f"server {action.host} is let through to {', '.join(sorted(found))}, expected "
            f"{', '.join(sorted(wanted))} and the control node",
        )
    evidence = IsolatedServer(server=action.host, address=action.address, reaches=tuple(sorted(found)))
    reach = ", ".join(f"{name} ({address})" for name, address in action.reach.items())
    did = "made, and" if changed else "is there, and"
    return Outcome(
        changed=changed,
        summary=f"server {action.host} {did} exchanges packets with {reach} and the control node alone",
        evidence=evidence,
    )


def _find(ctx: Context, host: str) -> dict[str, object] | None:
    servers: dict[str, dict[str, object]] = _lab(ctx).ask("status")["servers"]
    return servers.get(host)


def _lab(ctx: Context) -> Supervisor:
    return Supervisor(ctx.state, ctx.environment.require_lab().id)
