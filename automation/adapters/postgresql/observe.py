"""What clusters say of themselves and of each other; changes nothing."""

import json
import time
from collections.abc import Callable, Sequence

from automation.adapters.postgresql.door import psql
from automation.model.actions import AwaitStreaming, LookAtReplication
from automation.model.errors import AdapterError
from automation.model.evidence import Replication, ReplicationSeen
from automation.model.observations import PostgresqlCluster, PrimaryPosition, StandbyPosition
from automation.model.records import Context, Outcome, Remote

# The timeline that a standby is on. While its primary answers, what it receives says it. Afterwards the last
# checkpoint that it replayed may be of an older one; the file that holds its last record is not.
STANDBY_TIMELINE = """coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (
  SELECT greatest(max(known.timeline_id), max(('x' || substr(file.name, 1, 8))::bit(32)::int))
  FROM (SELECT timeline_id FROM pg_control_checkpoint()) known
  CROSS JOIN (SELECT setting::bigint AS bytes FROM pg_settings WHERE name = 'wal_segment_size') segment
  CROSS JOIN LATERAL (SELECT (pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint - 1) / segment.bytes
    AS number, 4294967296 / segment.bytes AS per_log) last
  LEFT JOIN pg_ls_waldir() file ON file.name ~ '^[0-9A-F]{24}$' AND substr(file.name, 9) = upper(
    lpad(to_hex(last.number / last.per_log), 8, '0') || lpad(to_hex(last.number % last.per_log), 8, '0'))))"""

_IDENTITY = f"""
SELECT json_build_object('system_identifier', s.system_identifier::text,
  'timeline', CASE WHEN pg_is_in_recovery() THEN {STANDBY_TIMELINE}
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
  'in_recovery', pg_is_in_recovery())
FROM pg_control_system() s;
"""


def observe(host: str, cluster: str, remote: Remote) -> PostgresqlCluster:
    """Read who a cluster is and whether it is a standby; changes nothing."""
    seen = json.loads(psql(remote, host, cluster, "postgres", _IDENTITY, 10.0))
    return PostgresqlCluster(host=host, **seen)


def find_primary(hosts: Sequence[str], cluster: str, remote_of: Callable[[str], Remote]) -> str:
    """Ask every host of a cluster what it is now; give the one that is primary.

    Raises:
        AdapterError: none is, or more than one; a host that does not answer is named, and decides nothing.
    """
    said: dict[str, str] = {}
    for host in hosts:
        try:
            seen = observe(host, cluster, remote_of(host))
            said[host] = "a standby" if seen.in_recovery else "primary"
        except AdapterError as exc:
            said[host] = str(exc)
    primaries = [host for host, what in said.items() if what == "primary"]
    if len(primaries) == 1:
        return primaries[0]
    seen_as = "; ".join(f"{host}: {what}" for host, what in said.items())
    if primaries:
        raise AdapterError(f"{cluster}: more than one primary: SPLIT_BRAIN_SUSPECTED ({seen_as})")
    raise AdapterError(f"{cluster}: no primary found ({seen_as}); nothing was changed")


_PRIMARY = f"""
SELECT json_build_object('system_identifier', s.system_identifier::text, 'in_recovery', pg_is_in_recovery(),
  'timeline', CASE WHEN pg_is_in_recovery() THEN {STANDBY_TIMELINE}
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
  'written_bytes', pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
    ELSE pg_current_wal_lsn() END, '0/0')::bigint,
  'at', clock_timestamp())
FROM pg_control_system() s;
"""

_STANDBY = f"""
SELECT json_build_object('system_identifier', s.system_identifier::text, 'in_recovery', pg_is_in_recovery(),
  'timeline', {STANDBY_TIMELINE},
  'streaming', EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  'received_bytes', coalesce(pg_wal_lsn_diff(
    greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()), '0/0'), 0)::bigint,
  'replayed_bytes', coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint,
  'replayed_at', pg_last_xact_replay_timestamp(), 'at', clock_timestamp())
FROM pg_control_system() s;
"""


def observe_primary(host: str, cluster: str, remote: Remote) -> PrimaryPosition:
    """Read how far a primary has written; changes nothing."""
    return PrimaryPosition(host=host, **json.loads(psql(remote, host, cluster, "postgres", _PRIMARY, 10.0)))


def observe_standby(host: str, cluster: str, remote: Remote) -> StandbyPosition:
    """Read how far a standby has received and replayed; changes nothing."""
    return StandbyPosition(host=host, **json.loads(psql(remote, host, cluster, "postgres", _STANDBY, 10.0)))


def look_at_replication(action: LookAtReplication, ctx: Context) -> Outcome:
    """Read both positions, the primary's first: what it wrote since then is no lag."""
    silent: dict[str, str] = {}
    primary, standby = None, None
    try:
        primary = observe_primary(action.primary, action.cluster, ctx.remote(action.primary))
    except AdapterError as exc:
        silent[action.primary] = str(exc)
    try:
        standby = observe_standby(action.standby, action.cluster, ctx.remote(action.standby))
    except AdapterError as exc:
        silent[action.standby] = str(exc)
    seen = ReplicationSeen(primary=primary, standby=standby, silent=silent)
    summary = (
        f"{action.primary} and {action.standby} answer" if not silent else f"no answer: {', '.join(silent)}"
    )
    return Outcome(changed=False, summary=summary, evidence=seen)


_STANDBYS = """
SELECT coalesce(json_agg(json_build_object('state', state, 'sync_state', sync_state,
  'lag_bytes', coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint)), '[]')
FROM pg_stat_replication WHERE application_name = :'standby';
"""


def await_streaming(action: AwaitStreaming, ctx: Context) -> Outcome:
    """Wait until the primary sees its standby streaming within the lag, with the identity expected."""
    deadline = time.monotonic() + ctx.timeout_s
    own = observe(action.primary, action.cluster, ctx.remote(action.primary))
    other = observe(action.standby, action.cluster, ctx.remote(action.standby))
    _check_pair(action, own, other)
    _check_synchronous(action, ctx.remote(action.primary))
    while True:
        problem, evidence = _look_at_standby(action, ctx, own)
        if evidence is not None:
            summary = f"{action.standby} streams from {action.primary}, {evidence.lag_bytes} bytes behind"
            return Outcome(changed=False, summary=summary, evidence=evidence)
        if time.monotonic() > deadline:
            raise AdapterError(f"{action.standby} is not a good standby of {action.primary}: {problem}")
        time.sleep(0.2)


def _check_pair(action: AwaitStreaming, primary: PostgresqlCluster, standby: PostgresqlCluster) -> None:
    for cluster in (primary, standby):
        if cluster.system_identifier != action.expect_system_identifier:
            raise AdapterError(
                f"{cluster.host} has system identifier {cluster.system_identifier}, "
                f"expected {action.expect_system_identifier}; nothing was changed"
            )
    if primary.in_recovery:
        raise AdapterError(f"{primary.host} is not a primary; nothing was changed")
    if not standby.in_recovery:
        raise AdapterError(f"{standby.host} is a primary too: SPLIT_BRAIN_SUSPECTED; nothing was changed")


def _check_synchronous(action: AwaitStreaming, remote: Remote) -> None:
    """Refuse at once what waiting cannot mend: a primary that acknowledges before its standby has it."""
    if not action.synchronous:
        return
    names = psql(remote, action.primary, action.cluster, "postgres", "SHOW synchronous_standby_names;", 10.0)
    if not names.strip():
        raise AdapterError(
            f"{action.primary}: the service's RPO is 0 and replication is asynchronous; nothing was changed",
            hint="set postgresql_synchronous: true in the inventory; ./inv provision.converge --env NAME",
        )


def _look_at_standby(
    action: AwaitStreaming, ctx: Context, primary: PostgresqlCluster
) -> tuple[str, Replication | None]:
    remote = ctx.remote(action.primary)
    name = {"standby": action.standby}
    rows = json.loads(psql(remote, action.primary, action.cluster, "postgres", _STANDBYS, 10.0, name))
    if len(rows) != 1:
        return f"{len(rows)} standbys of the name {action.standby} are connected", None
    row = rows[0]
    synchronous = row["sync_state"] in ("sync", "quorum")
    if row["state"] != "streaming":
        return f"its state is {row['state']}", None
    if row["lag_bytes"] > action.max_lag_bytes:
        return f"it is {row['lag_bytes']} bytes behind, allowed are {action.max_lag_bytes}", None
    if action.synchronous and not synchronous:
        return "it is not yet a synchronous standby", None
    return "", Replication(
        primary=action.primary,
        standby=action.standby,
        system_identifier=primary.system_identifier,
        timeline=primary.timeline,
        state=row["state"],
        synchronous=synchronous,
        lag_bytes=row["lag_bytes"],
    )
