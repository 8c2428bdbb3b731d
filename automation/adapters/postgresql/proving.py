"""An old primary, looked at right before its network fence is lifted: it cannot serve as one."""

import json

from automation.adapters.postgresql.script import read_script
from automation.model.actions import ProveStandby
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Remote

# The last line of a setting counts. A server that runs and does not say what it is counts as a primary.
_LOOK = """
runs=false standby=false signal=false held=false
if runs; then
  runs=true
  [ "$(ask 'SELECT pg_is_in_recovery()' || :)" != t ] || standby=true
fi
[ ! -e "$data/standby.signal" ] || signal=true
[ "$(systemctl is-enabled "$unit" || :)" != masked ] || held=true
host_of="s/^primary_conninfo *=.*[' ]host=\\([^' ]*\\).*/\\1/p"
follows=$(sed -n "$host_of" "$data/postgresql.auto.conf" | tail -n 1)
printf '{"identifier": "%s", "runs": %s, "standby": %s, "signal": %s, "held": %s, "follows": "%s"}' \
  "$(control "Database system identifier")" "$runs" "$standby" "$signal" "$held" "$follows"
"""


class Seen(Model):
    """What an old primary is, and what its next start would make of it."""

    identifier: str
    runs: bool
    standby: bool
    signal: bool
    held: bool
    follows: str


def prove_standby(action: ProveStandby, ctx: Context) -> Outcome:
    """See that a cluster is stopped or in recovery, and starts as nothing but a standby; changes nothing."""
    seen = _look(action, ctx)
    problem = _problem(action, seen, ctx)
    if problem:
        raise AdapterError(
            f"{action.host} ({action.cluster}): {problem}; its network fence stays, nothing was changed",
            hint=f"at the console of {action.host}: stop the cluster, keep a copy of its data if it served "
            f"since, and see that only a standby can start ({_wanted(action)}); then look again: "
            f"./inv run.resume --env {ctx.environment.name} --run {ctx.run_id}",
        )
    how = "runs in recovery" if seen.runs else "is stopped"
    whom = action.primary or "nobody until it is rebuilt"
    return Outcome(changed=False, summary=f"{action.host} {how} and can only be a standby of {whom}")


def _look(action: ProveStandby, ctx: Context) -> Seen:
    """Read it by its console while it is cut off, else over the network."""
    try:
        return _read(ctx.remote(action.host), action)
    except AdapterError as exc:
        if not exc.transient:
            raise
        ctx.say(f"{action.host} is cut off: asking its console")
        return _read(ctx.console(action.host), action)


def _read(remote: Remote, action: ProveStandby) -> Seen:
    return Seen.model_validate(json.loads(read_script(remote, action.host, _LOOK, [action.cluster])))


def _wanted(action: ProveStandby) -> str:
    if action.primary is None:
        return "standby.signal in its data, its unit masked"
    return f"standby.signal in its data, primary_conninfo of {action.primary}"


def _problem(action: ProveStandby, seen: Seen, ctx: Context) -> str | None:
    """Say why it could take writes once its fence is gone; None when it cannot."""
    if seen.identifier != action.expect_system_identifier:
        return f"its system identifier is {seen.identifier}, expected {action.expect_system_identifier}"
    if seen.runs and not seen.standby:
        return "it runs and is not in recovery: it could serve as a primary"
    if not seen.signal:
        return "it has no standby.signal: its next start would be that of a primary"
    if action.primary is None:
        return None if seen.held and not seen.runs else "it is not held down: its unit could start"
    address = ctx.inventory.server(action.primary).address
    if seen.follows != address:
        return f"it would follow {seen.follows or 'nobody'}, not {action.primary} ({address})"
    return None
