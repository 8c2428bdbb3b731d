"""A standby that follows a primary: its slot, its start, and whether commits wait for it."""

import time

from automation.adapters.postgresql.door import psql
from automation.adapters.postgresql.script import progress_of, run_script
from automation.model.actions import DropSlot, Follow, KeepSynchronous, MakeSlot
from automation.model.errors import AdapterError
from automation.model.evidence import Synchrony
from automation.model.records import Context, Outcome, Progress, Remote

# $2 the primary's address, $3 user, $4 identifier, $5 slot, $6 the run.
_FOLLOW = """
login=$(login_of "$2" "$3")
expect_identifier "$4"
expect_primary "$login" "$4"
if is_up; then
  [ "$(ask 'SELECT pg_is_in_recovery()')" = t ] || refuse "it is a primary that serves"
  is_only_standby_of "$login" "$5" || refuse "it is a standby of another primary"
else
  ! runs || refuse "a server of its data runs outside its unit"
  [ -e "$data/standby.signal" ] || refuse "it would start as a primary"
  only_as_standby_of "$login" "$5"
  rm -f -- "$data/postgresql.auto.conf.before-$6"
  systemctl unmask --quiet "$unit"
  systemctl start "$unit"
fi
[ "$(ask 'SELECT pg_is_in_recovery()')" = t ] || { echo "it is no standby" >&2; exit 1; }
"""


def follow(action: Follow, ctx: Context) -> Outcome:
    """Start the cluster as the standby of the expected primary; one that is none already is never started."""
    primary = ctx.inventory.server(action.primary)
    words = [action.cluster, primary.address, action.user, action.expect_system_identifier, action.slot]
    done = run_script(ctx, action.host, _FOLLOW, [*words, ctx.run_id])
    if done.exit_code:
        raise AdapterError(
            f"{action.host} does not follow {action.primary}: {done.stderr.strip()}; "
            "it can only be a standby",
            hint=f"look at the PostgreSQL log of {action.host}, then resume the run",
        )
    return Outcome(changed=True, summary=f"{action.host} runs as a standby of {action.primary}")


def verify_follow(action: Follow, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)


_MAKE_SLOT = """
SELECT count(pg_create_physical_replication_slot(:'slot', true)) FROM (SELECT 1) one
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = :'slot');
"""

_DROP_SLOT = """
SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots
WHERE slot_name = :'slot' AND NOT active;
"""

# It waits until the reader is gone: the slot is free at once, before the standby can come again.
_END_READER = """
SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
WHERE slot_name = :'slot' AND active \\g /dev/null
"""
_IS_THERE = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = :'slot';"
GOES_WITHIN_S = 20.0


def make_slot(action: MakeSlot, ctx: Context) -> Outcome:
    """Make a physical slot that keeps WAL from now on; one that is there is left alone."""
    made = _change_slot(action, ctx, _MAKE_SLOT)
    return Outcome(
        changed=made, summary=f"slot {action.slot} on {action.host} {'made' if made else 'is there'}"
    )


def drop_slot(action: DropSlot, ctx: Context) -> Outcome:
    """Drop a physical slot that nobody reads; one in use is left alone, or loses its reader first.

    A slot whose standby is fenced next would keep WAL until the disk of the primary is full.
    """
    if action.end_reader:
        return _drop_with_reader(action, ctx)
    gone = _change_slot(action, ctx, _DROP_SLOT)
    word = "dropped" if gone else "is not there, or in use"
    return Outcome(changed=gone, summary=f"slot {action.slot} on {action.host} {word}")


def _drop_with_reader(action: DropSlot, ctx: Context) -> Outcome:
    deadline = time.monotonic() + min(ctx.timeout_s, GOES_WITHIN_S)
    gone = _change_slot(action, ctx, _END_READER + _DROP_SLOT)
    while _change_slot(action, ctx, _IS_THERE):
        if time.monotonic() > deadline:
            raise AdapterError(
                f"slot {action.slot} on {action.host} stays: its reader was ended and came again; "
                f"it keeps WAL, and the disk of {action.host} fills once nobody reads it",
                hint=f"stop the standby that reads it, then give the run up again: ./inv run.abort "
                f"--env {ctx.environment.name} --run {ctx.run_id} --undo --reason '...'",
            )
        time.sleep(0.2)
        gone = _change_slot(action, ctx, _END_READER + _DROP_SLOT) or gone
    word = "dropped" if gone else "is not there"
    return Outcome(changed=gone, summary=f"slot {action.slot} on {action.host} {word}")


def _change_slot(action: MakeSlot | DropSlot, ctx: Context, sql: str) -> bool:
    remote = ctx.remote(action.host)
    said = psql(remote, action.host, action.cluster, "postgres", sql, 10.0, {"slot": action.slot})
    return said.strip() == "1"


_SHOW = "SHOW synchronous_standby_names;"


def is_synchronous(host: str, cluster: str, remote: Remote) -> bool:
    """Tell whether commits of a cluster wait for a standby; changes nothing."""
    return bool(psql(remote, host, cluster, "postgres", _SHOW, 10.0).strip())


_AS_CONFIGURED = """
ALTER SYSTEM RESET synchronous_standby_names;
SELECT pg_reload_conf() \\g /dev/null
"""
_WAIT_FOR = """
ALTER SYSTEM SET synchronous_standby_names = :'names';
SELECT pg_reload_conf() \\g /dev/null
"""
_IS_SYNCHRONOUS = """
SELECT count(*) FROM pg_stat_replication
WHERE application_name = :'standby' AND state = 'streaming' AND sync_state IN ('sync', 'quorum');
"""
SETTLES_S = 5.0


def keep_synchronous(action: KeepSynchronous, ctx: Context) -> Outcome:
    """Take the promotion's own setting back; let commits wait for the standby if they did before.

    A primary that would wait for anybody but its streaming standby is set not to wait, and that is an error:
    it would acknowledge nothing.
    """
    _sql(action, ctx, _AS_CONFIGURED)
    names = _settled(action, ctx)
    if action.synchronous and f'"{action.standby}"' not in names:
        names = f'"{action.standby}"'
        _sql(action, ctx, _WAIT_FOR, names=names)
    if not names:
        return _synchrony(action, synchronous=False)
    deadline = time.monotonic() + SETTLES_S
    while _sql(action, ctx, _IS_SYNCHRONOUS, standby=action.standby) != "1":
        if time.monotonic() > deadline:
            _sql(action, ctx, _WAIT_FOR, names="")
            raise AdapterError(
                f"{action.host} is set to wait for {names}, and {action.standby} is not counted for it; "
                "it was set to wait for nobody, so writes go on",
                hint=f"see that {action.standby} streams and what postgresql_standby_names says",
            )
        time.sleep(0.2)
    return _synchrony(action, synchronous=True)


def _settled(action: KeepSynchronous, ctx: Context) -> str:
    """Give the setting in force once a reload has reached new sessions: two answers that agree."""
    last = None
    while True:
        shown = _sql(action, ctx, _SHOW)
        if shown == last:
            return shown
        last = shown
        time.sleep(0.2)


def _synchrony(action: KeepSynchronous, *, synchronous: bool) -> Outcome:
    how = f"wait for {action.standby}" if synchronous else "wait for no standby, as its configuration says"
    evidence = Synchrony(server=action.host, standby=action.standby, synchronous=synchronous)
    return Outcome(changed=True, summary=f"commits of {action.host} {how}", evidence=evidence)


def _sql(action: KeepSynchronous, ctx: Context, sql: str, **variables: str) -> str:
    remote = ctx.remote(action.host)
    return psql(remote, action.host, action.cluster, "postgres", sql, 10.0, variables).strip()
