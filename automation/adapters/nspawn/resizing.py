"""A server of the lab that is given more or less of this machine."""

from collections.abc import Mapping
from typing import Any

from automation.adapters.nspawn import status
from automation.adapters.nspawn.client import Supervisor
from automation.model.actions.lab import ResizeServer
from automation.model.base import format_size
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome
from automation.model.servers import Size

ANSWER_S = 90.0  # it is shut down first, and has 30 s for it


def resize_server(action: ResizeServer, ctx: Context) -> Outcome:
    """Bound what a server may use; what was put in force is read back from the kernel."""
    lab = Supervisor(ctx.state, ctx.environment.require_lab().id)
    before = lab.ask("server_state", server=action.host)
    if _is_so(action.size, before):
        return _outcome(action, ctx, before, did="")
    wanted = {"cpus": action.size.cpus, "memory_bytes": action.size.memory_bytes}
    after = lab.ask("resize_server", server=action.host, restart=action.restart, within_s=ANSWER_S, **wanted)
    if not _is_so(action.size, after) or after["power"] != before["power"]:
        raise AdapterError(
            f"server {action.host}: {_words(after)}, power {after['power']}, after it was resized"
        )
    did = "bounded, and restarted for it" if after["restarted"] else f"bounded while it is {after['power']}"
    return _outcome(action, ctx, after, did=did)


def _is_so(wanted: Size, shown: Mapping[str, Any]) -> bool:
    pairs = ((wanted.cpus, shown["cpus"]), (wanted.memory_bytes, shown["memory_bytes"]))
    return all(bound in (0, found) for bound, found in pairs)


def _outcome(action: ResizeServer, ctx: Context, shown: Mapping[str, Any], *, did: str) -> Outcome:
    return Outcome(
        changed=bool(did),
        summary=f"server {action.host} {did or 'is so'}: {_words(shown)}",
        evidence=ProviderChange(
            provider="nspawn",
            site=shown["site"],
            what="server",
            name=action.host,
            verb="changed" if did else "found",
            ids={"server": status.id_of(ctx.environment.require_lab().id, action.host)},
            address=shown["address"],
        ),
    )


def _words(shown: Mapping[str, Any]) -> str:
    cpus, memory = shown["cpus"], shown["memory_bytes"]
    return f"processors {cpus or 'unbounded'}, memory {format_size(memory) if memory else 'unbounded'}"
