"""A server of the lab that is retired: removed while it is kept off, its disk kept beside the lab's own."""

from collections.abc import Iterable

from automation.adapters.nspawn import hostkeys, status
from automation.adapters.nspawn.client import Supervisor
from automation.model.actions.lab import DestroyServer
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress


def destroy_server(action: DestroyServer, ctx: Context) -> Outcome:
    """Remove the very server that was seen, if it is kept off; its disk stays, its key is trusted no more."""
    lab = Supervisor(ctx.state, ctx.environment.require_lab().id)
    known = lab.ask("status")["servers"].get(action.host)
    if known is not None:
        if (known["site"], known["address"]) != (action.site, action.address):
            raise AdapterError(
                f"server {action.host} is {known['address']} at {known['site']}, "
                f"expected {action.address} at {action.site}; nothing was changed"
            )
        lab.ask("remove_server", server=action.host, keep_in=ctx.run_id)
    return _removed(action, ctx, changed=known is not None)


def verify_destroy_server(action: DestroyServer, ctx: Context) -> Progress:
    """Say whether it is gone; half a removal is done again."""
    seen = status.read(ctx.state, ctx.environment.require_lab().id)
    if not seen.running:
        return Progress(state="unknown", why=f"lab {seen.lab_id} does not run")
    if action.host in seen.servers:
        return Progress(state="not_done", why=f"server {action.host} is there")
    return Progress(state="done", outcome=_removed(action, ctx, changed=True))


def _removed(action: DestroyServer, ctx: Context, *, changed: bool) -> Outcome:
    """Trust the key of a server that is gone no more, and tell what is kept of it."""
    lab_id = ctx.environment.require_lab().id
    seen = status.read(ctx.state, lab_id)
    is_taken = any(one.address == action.address for one in seen.servers.values())  # by one made since
    hostkeys.forget(ctx.state / "known_hosts", action.host, "" if is_taken else action.address)
    run_id = _kept_in(seen.kept_disks, action.host)
    disks = {"snapshot:system": f"{action.host}/{run_id}"} if run_id else {}
    if changed and not disks:
        raise AdapterError(
            f"server {action.host} is gone, and its disk is not among those kept", unknown=True
        )
    said = f"removed, its disk kept as lab/kept/{run_id}/{action.host}" if changed else "is not there"
    return Outcome(
        changed=changed,
        summary=f"server {action.host} {said}",
        evidence=ProviderChange(
            provider="nspawn",
            site=action.site,
            what="server",
            name=action.host,
            verb="deleted",
            ids={"server": status.id_of(lab_id, action.host), **disks},
        ),
    )


def _kept_in(kept_disks: Iterable[str], host: str) -> str:
    """Give the run that kept a host's newest disk: where one was cut short, it may be an earlier one."""
    pairs = (one.split("/", 1) for one in kept_disks)
    return max((run_id for name, run_id in pairs if name == host), default="")
