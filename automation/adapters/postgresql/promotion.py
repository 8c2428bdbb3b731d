"""Promotion: compare and set in one session, in a unit that outlives its controller."""

import json
from typing import Any

from automation.adapters.postgresql.door import psql_words
from automation.adapters.postgresql.observe import STANDBY_TIMELINE, observe
from automation.model.actions import Promote
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.evidence import Promotion
from automation.model.observations import PostgresqlCluster
from automation.model.records import Completed, Context, Outcome, Progress


def promote(action: Promote, ctx: Context) -> Outcome:
    """Promote the expected standby and see it writable.

    A cluster that left recovery on a later timeline was promoted before: left alone.
    """
    words = psql_words(action.cluster, "postgres", _promotion_variables(action, ctx.timeout_s))
    done = ctx.run_unit(action.host, ["runuser", "-u", "postgres", "--", *words], stdin=_PROMOTE)
    if done.exit_code:
        raise _failed(action, ctx, done)
    seen = json.loads(done.stdout.removeprefix(f"{_ASKED}\n"))
    problem = _unexpected(action, seen)
    if problem:
        raise AdapterError(f"{action.host} was not promoted: {problem}; nothing was changed")
    if seen["in_recovery_after"]:
        seen = _look_again(action, ctx, seen)
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


def verify_promote(action: Promote, ctx: Context) -> Progress:
    """Say how far a promotion came: its unit first, then the cluster itself."""
    unit = ctx.unit_state(action.host)
    if unit == "running":
        return Progress(state="in_progress", why="its unit runs")
    if unit == "ended":
        return Progress(state="in_progress", why="its unit has ended; joining it reads its answer")
    now = observe(action.host, action.cluster, ctx.remote(action.host))
    if _was_promoted(action, now):
        evidence = Promotion(
            server=action.host,
            system_identifier=now.system_identifier,
            timeline_before=action.expect_timeline,
            timeline_after=now.timeline,
            last_lsn="unknown",
        )
        summary = f"{action.host} is promoted: timeline {action.expect_timeline} -> {now.timeline}"
        return Progress(
            state="done", why=summary, outcome=Outcome(changed=True, summary=summary, evidence=evidence)
        )
    if unit == "lost":
        why = f"its unit began on {action.host}, left no result, and the cluster is still a standby"
        return Progress(state="unknown", why=why)
    return Progress(state="not_done", why=f"{action.host} was not asked to promote")


def _was_promoted(action: Promote, cluster: PostgresqlCluster) -> bool:
    same = cluster.system_identifier == action.expect_system_identifier
    return same and not cluster.in_recovery and cluster.timeline > action.expect_timeline


def _failed(action: Promote, ctx: Context, done: Completed) -> AdapterError | OutcomeUnknown:
    """Say whether a promotion whose script stopped has happened all the same."""
    said = done.stderr.strip()
    try:
        now = observe(action.host, action.cluster, ctx.remote(action.host))
    except AdapterError as exc:
        return OutcomeUnknown(f"promoting {action.host}: {said}; then {exc}; state unknown")
    if now.in_recovery and _ASKED in done.stdout:
        return OutcomeUnknown(
            f"promoting {action.host}: {said}; it was told to, and is still in recovery; state unknown",
            hint=f"look at the PostgreSQL log of {action.host}, then resume the run",
        )
    if now.in_recovery:
        return AdapterError(f"{action.host} was not promoted: {said}; nothing was changed")
    return OutcomeUnknown(f"promoting {action.host}: {said}; it is a primary on timeline {now.timeline}")


def _look_again(action: Promote, ctx: Context, seen: dict[str, Any]) -> dict[str, Any]:
    """See whether a cluster that took longer than its time has left recovery since.

    Raises:
        OutcomeUnknown: it has not.
    """
    now = observe(action.host, action.cluster, ctx.remote(action.host))
    if not _was_promoted(action, now):
        raise OutcomeUnknown(
            f"{action.host} was told to promote and is still in recovery",
            hint=f"look at the PostgreSQL log of {action.host}",
        )
    return {**seen, "promoted": True, "timeline_after": now.timeline}


_ASKED = "asked to promote"  # said before it is: from then on it may happen, whatever becomes of the session

# Compare and set in one session: nothing is promoted unless every value is the expected one. A new primary
# that waits for a dead standby would block every commit, so synchronous_standby_names is emptied.
_PROMOTE = r"""
\set ON_ERROR_STOP on
SELECT system_identifier::text AS identifier FROM pg_control_system() \gset
SELECT pg_is_in_recovery() AS in_recovery, coalesce(pg_last_wal_replay_lsn()::text, '') AS replayed,
  $STANDBY_TIMELINE AS timeline \gset
SELECT :'in_recovery'::bool AND :'identifier' = :'wanted_identifier' AND :timeline = :wanted_timeline AS go
\gset
\if :go
\echo $ASKED
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
""".replace("$STANDBY_TIMELINE", STANDBY_TIMELINE).replace("$ASKED", _ASKED)


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
