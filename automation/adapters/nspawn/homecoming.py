"""A fenced server on its way back: powered on behind its fence, and in the end released wholly."""

import time

from automation.adapters.nspawn.client import Supervisor
from automation.adapters.nspawn.console import Console
from automation.model.actions import ReleaseServer, StartFenced
from automation.model.errors import AdapterError
from automation.model.evidence import ServerState
from automation.model.records import Context, Outcome

_IS_UP = ("systemctl", "is-system-running")
UP = ("running", "degraded")


def start_fenced(action: StartFenced, ctx: Context) -> Outcome:
    """Power a blocked server on, its fence in force, and wait until its console says that it is up."""
    lab = Supervisor(ctx.state, ctx.environment.require_lab().id)
    before = lab.ask("server_state", server=action.host)
    after = lab.ask("start_fenced", server=action.host)
    if after["network"] != "blocked" or after["power"] != "on":
        raise AdapterError(f"server {action.host}: power {after['power']}, network {after['network']}")
    _await_up(Console(lab, action.host), time.monotonic() + ctx.timeout_s)
    changed = before["power"] != "on"
    return Outcome(
        changed=changed,
        summary=f"server {action.host} {'started' if changed else 'is on'} behind its network fence",
        evidence=_state(after),
    )


def release_server(action: ReleaseServer, ctx: Context) -> Outcome:
    """Let a server that is on and unblocked come back with the power again; read back."""
    lab = Supervisor(ctx.state, ctx.environment.require_lab().id)
    before = lab.ask("server_state", server=action.host)
    if before["network"] != "connected":
        raise AdapterError(f"server {action.host} is still blocked on the network; nothing was changed")
    after = lab.ask("start_server", server=action.host, autostart=True)
    if after["power"] != "on" or not after["autostart"]:
        raise AdapterError(f"server {action.host}: power {after['power']}, autostart {after['autostart']}")
    return Outcome(
        changed=not before["autostart"],
        summary=f"server {action.host} is fenced no more: it comes back with the power",
        evidence=_state(after),
    )


def _await_up(console: Console, deadline: float) -> None:
    said = "it has not booted"
    while time.monotonic() < deadline:
        try:
            said = console.run(_IS_UP, timeout_s=10.0).stdout.strip()
        except AdapterError as exc:
            said = str(exc)
        if said in UP:
            return
        time.sleep(0.2)
    raise AdapterError(f"the console of {console.host} does not say that it is up: {said}; it stays fenced")


def _state(shown: dict[str, object]) -> ServerState:
    return ServerState.model_validate(
        {"server": shown["server"]} | {name: shown[name] for name in ("power", "autostart", "network")}
    )
