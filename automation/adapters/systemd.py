"""Units of systemd on a host, through `ctx.remote`."""

from automation.model.actions import StartUnit
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Remote

_START = """
systemctl is-active --quiet "$1" && echo was-active && exit
systemctl start "$1" && systemctl is-active "$1"
"""


def start_unit(action: StartUnit, ctx: Context) -> Outcome:
    """Start a unit and see it active; one that is active already is left alone."""
    done = ctx.remote(action.host).run(
        ["sudo", "-n", "sh", "-c", _START, "start", action.unit], timeout_s=ctx.timeout_s
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


def is_active(unit: str, remote: Remote) -> bool:
    """Tell whether a unit runs; changes nothing."""
    return remote.run(["systemctl", "is-active", "--quiet", unit], timeout_s=10.0).exit_code == 0
