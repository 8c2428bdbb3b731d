"""Units of systemd on a host, through `ctx.remote`."""

from datetime import UTC, datetime

from automation.model.actions import StartUnit, StopUnit
from automation.model.errors import AdapterError
from automation.model.evidence import ServicePaused
from automation.model.records import Context, Outcome, Remote

_START = """
[ "$2" = leave ] || systemctl enable --quiet "$1" || exit
systemctl is-active --quiet "$1" && echo was-active && exit
systemctl start "$1" && systemctl is-active "$1"
"""


def start_unit(action: StartUnit, ctx: Context) -> Outcome:
    """Start a unit and see it active; one that is active already is left alone."""
    done = ctx.remote(action.host).run(
        ["sudo", "-n", "sh", "-c", _START, "start", action.unit, "enable" if action.enable else "leave"],
        timeout_s=ctx.timeout_s,
    )
    if done.exit_code:
        reason = (done.stderr or done.stdout).strip()
        raise AdapterError(
            f"systemctl start {action.unit} on {action.host}: {reason}; the unit is not active",
            hint=f"./inv lab.ssh --env {ctx.environment.name} --host {action.host} "
            f"--command 'sudo journalctl -u {action.unit}'",
        )
    if "was-active" in done.stdout:
        return Outcome(changed=False, summary=f"{action.unit} was already active on {action.host}")
    return Outcome(changed=True, summary=f"started {action.unit} on {action.host}")


_STOP = """
[ "$2" = leave ] || systemctl disable --quiet "$1" || exit
systemctl is-active --quiet "$1" || echo was-stopped
systemctl stop "$1" && ! systemctl is-active --quiet "$1"
"""


def stop_unit(action: StopUnit, ctx: Context) -> Outcome:
    """Stop a unit and see it stopped; one that is stopped already is left alone."""
    began = datetime.now(UTC)
    how = "disable" if action.disable else "leave"
    done = ctx.remote(action.host).run(
        ["sudo", "-n", "sh", "-c", _STOP, "stop", action.unit, how], timeout_s=ctx.timeout_s
    )
    if done.exit_code:
        reason = (done.stderr or done.stdout).strip() or "it is still active"
        raise AdapterError(f"systemctl stop {action.unit} on {action.host}: {reason}")
    if "was-stopped" in done.stdout:
        return Outcome(changed=False, summary=f"{action.unit} was already stopped on {action.host}")
    evidence = ServicePaused(host=action.host, unit=action.unit, at=began)
    return Outcome(changed=True, summary=f"stopped {action.unit} on {action.host}", evidence=evidence)


def is_active(unit: str, remote: Remote) -> bool:
    """Tell whether a unit runs; changes nothing."""
    return remote.run(["systemctl", "is-active", "--quiet", unit], timeout_s=10.0).exit_code == 0
