"""PostgreSQL on a host, spoken to by its own psql as the cluster's owner.

Each function is one psql call, because each call costs a round trip and 50 ms.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from automation.model.actions import AwaitStreaming, ListWrites, Promote
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.evidence import Promotion, Replication, WritesListed
from automation.model.observations import PostgresqlCluster
from automation.model.records import Context, Outcome, Remote

_IDENTITY = """
SELECT json_build_object('system_identifier', s.system_identifier::text,
  'timeline', CASE WHEN pg_is_in_recovery()
    THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), c.timeline_id)
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END,
  'in_recovery', pg_is_in_recovery())
FROM pg_control_system() s, pg_control_checkpoint() c;
"""


def observe(host: str, cluster: str, remote: Remote) -> PostgresqlCluster:
    """Read who a cluster is and whether it is a standby; changes nothing."""
    seen = json.loads(_psql(remote, host, cluster, "postgres", _IDENTITY, 10.0))
    return PostgresqlCluster(host=host, **seen)


def promote(action: Promote, ctx: Context) -> Outcome:
    """Promote the expected standby and see it writable.

    A cluster that left recovery on a later timeline was promoted before: left alone.
    """
    remote = ctx.remote(action.host)
    seen = json.loads(
        _psql(
            remote,
            action.host,
            action.cluster,
            "postgres",
            _PROMOTE,
            ctx.timeout_s,
            _promotion_variables(action, ctx.timeout_s),
        )
    )
    problem = _unexpected(action, seen)
    if problem:
        raise AdapterError(f"{action.host} was not promoted: {problem}; nothing was changed")
    if seen["in_recovery_after"]:
        raise OutcomeUnknown(
            f"{action.host} was told to promote and is still in recovery",
            hint=f"look at the PostgreSQL log of {action.host}",
        )
    evidence = Promotion(
        server=action.host,
        system_identifier=seen["system_identifier"],
        timeline_before=action.expect_timeline,
        timeline_after=seen["timeline_after"],
        last_lsn=seen["replayed"] or "unknown",
    )
    word = "promoted" if seen["promoted"] else "was already promoted"
    summary = f"{action.host} {word}: timeline {evidence.timeline_before} -> {evidence.timeline_after}"
    return Outcome(changed=seen["promoted"], summary=summary, evidence=evidence)


# Compare and set in one session: nothing is promoted unless every value is the expected one. A new primary
# that waits for a dead standby would block every commit, so synchronous_standby_names is emptied.
_PROMOTE = r"""
\set ON_ERROR_STOP on
SELECT system_identifier::text AS identifier FROM pg_control_system() \gset
SELECT pg_is_in_recovery() AS in_recovery, coalesce(pg_last_wal_replay_lsn()::text, '') AS replayed,
  coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (SELECT timeline_id FROM pg_control_checkpoint()))
    AS timeline \gset
SELECT :'in_recovery'::bool AND :'identifier' = :'wanted_identifier' AND :timeline = :wanted_timeline AS go
\gset
\if :go
SELECT pg_promote(true, :wait_s) AS promoted \gset
SELECT current_setting('synchronous_standby_names') <> '' AS waits \gset
\if :waits
ALTER SYSTEM SET synchronous_standby_names = '';
SELECT pg_reload_conf() AS reloaded \gset
\endif
\else
\set promoted false
\endif
SELECT json_build_object('promoted', :'promoted'::bool, 'system_identifier', :'identifier',
  'in_recovery', :'in_recovery'::bool, 'timeline', :timeline, 'replayed', :'replayed',
  'in_recovery_after', pg_is_in_recovery(),
  'timeline_after', CASE WHEN pg_is_in_recovery() THEN :timeline
    ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END);
"""


def _promotion_variables(action: Promote, timeout_s: float) -> dict[str, str]:
    return {
        "wanted_identifier": action.expect_system_identifier,
        "wanted_timeline": str(action.expect_timeline),
        "wait_s": str(max(1, int(timeout_s) - 5)),
    }


def _unexpected(action: Promote, seen: dict[str, Any]) -> str | None:
    """Say why the cluster is not the expected standby; None when it is, or was until it was promoted."""
    if seen["system_identifier"] != action.expect_system_identifier:
        return f"system identifier {seen['system_identifier']}, expected {action.expect_system_identifier}"
    if not seen["in_recovery"]:
        if seen["timeline_after"] > action.expect_timeline:
            return None
        return f"it is a primary on timeline {seen['timeline_after']} and was never a standby of this plan"
    if seen["timeline"] != action.expect_timeline:
        return f"it is on timeline {seen['timeline']}, expected {action.expect_timeline}"
    return None


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
    names = _psql(remote, action.primary, action.cluster, "postgres", "SHOW synchronous_standby_names;", 10.0)
    if not names.strip():
        raise AdapterError(
            f"{action.primary}: the service's RPO is 0 and replication is asynchronous; nothing was changed",
            hint="set postgresql_synchronous: true in the inventory and ./inv provision.converge",
        )


def _look_at_standby(
    action: AwaitStreaming, ctx: Context, primary: PostgresqlCluster
) -> tuple[str, Replication | None]:
    remote = ctx.remote(action.primary)
    name = {"standby": action.standby}
    rows = json.loads(_psql(remote, action.primary, action.cluster, "postgres", _STANDBYS, 10.0, name))
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


def list_writes(action: ListWrites, ctx: Context) -> Outcome:
    """Write the reference of every write that the database holds into an artifact, one a line."""
    remote = ctx.remote(action.host)
    sql = f"COPY ({action.query}) TO STDOUT;\n"
    listed = _psql(remote, action.host, action.cluster, action.database, sql, ctx.timeout_s)
    (ctx.artifacts / action.artifact).write_text(listed)
    count = len(listed.splitlines())
    evidence = WritesListed(server=action.host, file=action.artifact, count=count)
    return Outcome(changed=False, summary=f"{action.host} holds {count} writes", evidence=evidence)


def _psql(
    remote: Remote,
    host: str,
    cluster: str,
    database: str,
    sql: str,
    timeout_s: float,
    variables: Mapping[str, str] | None = None,
) -> str:
    settings = [f"--set={name}={value}" for name, value in (variables or {}).items()]
    argv = ["sudo", "-n", "-u", "postgres", "psql", "--cluster", cluster, "-XqAt", "-d", database, *settings]
    done = remote.run([*argv, "--set=ON_ERROR_STOP=1", "-f", "-"], stdin=sql, timeout_s=timeout_s)
    if done.exit_code:
        raise AdapterError(f"psql on {host} ({cluster}, database {database}): {done.stderr.strip()}")
    return done.stdout
