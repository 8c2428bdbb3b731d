"""Backups deleted by label, and nothing else."""

from automation.adapters.pgbackrest.checking import find_anchor
from automation.adapters.pgbackrest.door import said
from automation.adapters.pgbackrest.listing import Told, read_info
from automation.model.actions import ExpireBackups
from automation.model.backup_evidence import PointsDeleted
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.records import Context, Outcome, Progress


def expire(action: ExpireBackups, ctx: Context) -> Outcome:
    """Delete the named backups, each by its label, and see by listing again that no other went.

    A backup that needs one of them goes with it, and must be named too. Those that are gone already are left
    out. WAL goes that no backup needs any more, and of backups before `pitr_since` all but their own.

    Raises:
        AdapterError: it was refused before anything was deleted, or pgBackRest stopped at one.
        OutcomeUnknown: something is gone that should have stayed.
    """
    if ctx.unit_state(action.host) == "absent":
        told = read_info(ctx.remote(action.host), action.of)
        if problem := find_problem(action, told):
            raise AdapterError(
                f"{action.resource} in {action.of.store}: {problem}; nothing was deleted",
                hint=f"plan the rotation again: ./inv backup.rotate --env NAME --resource {action.resource}",
            )
        words = [
            action.of.stanza,
            str(action.of.repo),
            str(count_fulls(action, told)),
            *in_order(action, told),
        ]
    else:
        words = []
    done = ctx.run_unit(action.host, ["sh", "-c", _EXPIRE, "expire", *words])
    left = read_info(ctx.remote(action.host), action.of)
    _compare(action, left)
    there = sorted({backup.label for backup in left.backups} & set(action.points))
    if done.exit_code or there:
        still = (
            f"{', '.join(there)} is still there" if there else "the backups are gone, their WAL may not be"
        )
        raise AdapterError(f"{action.resource} in {action.of.store}: {said(done)}; {still}")
    return _outcome(action, left)


def verify_expire(action: ExpireBackups, ctx: Context) -> Progress:
    """Say which of them are gone; to delete the rest by their labels is safe at any time."""
    state = ctx.unit_state(action.host)
    if state in ("running", "ended"):
        return Progress(state="in_progress", why=f"its unit on {action.host} {state}")
    told = read_info(ctx.remote(action.host), action.of)
    left = {backup.label for backup in told.backups}
    if left.isdisjoint(action.points) and left.issuperset(action.stay):
        outcome = _outcome(action, told)
        return Progress(state="done", why=outcome.summary, outcome=outcome)
    there = sorted(left & set(action.points))
    if state == "lost":
        return Progress(state="unknown", why=f"its unit left no result; {', '.join(there)} is still there")
    return Progress(state="not_done", why=f"{len(there)} of {len(action.points)} are still there")


def find_problem(action: ExpireBackups, told: Told) -> str:
    """Say why a deletion must not begin; empty: it may. Pure."""
    there = {backup.label: backup for backup in told.backups}
    going = set(action.points)
    if both := sorted(going & set(action.stay)):
        return f"{', '.join(both)} is named to go and to stay"
    if lost := sorted(set(action.stay) - set(there)):
        return f"{', '.join(lost)} must stay and is not there"
    for label, backup in sorted(there.items()):
        if label not in going and (needed := sorted(going & set(backup.needs))):
            return f"{label} cannot live without {', '.join(needed)} and is not named to go"
    if told.backup_runs:
        return "a backup of this stanza runs, and may build on one of them"
    staying = [backup for backup in told.backups if backup.label not in going and not backup.damaged]
    if not any(backup.type == "full" for backup in staying):
        return "no good full backup would be left"
    return ""


def in_order(action: ExpireBackups, told: Told) -> tuple[str, ...]:
    """The labels that are still there, each before those that it needs. Pure."""
    there = [backup for backup in told.backups if backup.label in action.points]
    return tuple(one.label for one in sorted(there, key=lambda one: len(one.needs), reverse=True))


def count_fulls(action: ExpireBackups, told: Told) -> int:
    """From how many of the newest full backups on all WAL stays: those from the anchor on. Pure."""
    staying = [backup for backup in told.of_now() if backup.label not in action.points]
    first = find_anchor(staying, action.pitr_since)
    return max(1, sum(backup.type == "full" for backup in staying[first:]))


def _compare(action: ExpireBackups, left: Told) -> None:
    """See that nothing is gone but what was named.

    Raises:
        OutcomeUnknown: something is.
    """
    if gone := sorted(set(action.stay) - {backup.label for backup in left.backups}):
        raise OutcomeUnknown(
            f"{action.resource} in {action.of.store}: {', '.join(gone)} is gone and should have stayed",
            hint=f"on {action.host}, as postgres: pgbackrest --stanza={action.of.stanza} info",
        )


def _outcome(action: ExpireBackups, left: Told) -> Outcome:
    evidence = PointsDeleted(
        resource=action.resource,
        store=action.of.store,
        points=action.points,
        left=len(left.backups),
    )
    summary = f"{action.of.store}: {len(action.points)} backups are gone, {len(left.backups)} are left"
    return Outcome(changed=True, summary=summary, evidence=evidence)


# As root: $1 stanza, $2 repository, $3 from how many full backups on WAL stays, then labels. pgBackRest takes
# one set a call. Retention of backups is at its maximum whatever the settings say; only WAL follows a count,
# and by the last call alone: before that the count is of other backups.
_EXPIRE = """
set -u
stanza=$1 repo=$2 fulls=$3
shift 3
expire() {
  runuser -u postgres -- pgbackrest "--stanza=$stanza" "--repo=$repo" --log-level-console=off \\
    --log-level-stderr=error --no-log-timestamp "--repo$repo-retention-full-type=count" \\
    "--repo$repo-retention-full=9999999" "--repo$repo-retention-diff=9999999" \\
    "--repo$repo-retention-archive-type=full" "$@" expire
}
for label in "$@"; do
  expire "--repo$repo-retention-archive=9999999" "--set=$label" || exit
  echo "$label"
done
expire "--repo$repo-retention-archive=$fulls"
"""
