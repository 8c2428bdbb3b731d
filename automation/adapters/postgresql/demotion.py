"""A primary put down in good order, its standby seen to hold all of it, and the way back.

Invariant: from before the stop on, the next start of the old primary is that of a standby; only
`restore_primary` takes that back, and only while its standby was not promoted.
"""

import json
import time

from automation.adapters.postgresql.observe import observe, observe_standby
from automation.adapters.postgresql.script import progress_of, read_script, run_here, run_script
from automation.model.actions import AwaitReplayed, Demote, RestorePrimary
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.evidence import Demotion, NothingLost
from automation.model.records import Context, Outcome, Progress, Remote

# What demotes and what takes that back exclude each other. A demotion that was only asked for, and has not
# begun when its run is taken back, must never begin: a mark that bears the run's name stops it.
_ALONE = """
not_demoted=$data.not-demoted-
exec 9>"$data.role-lock"
flock -w 5 9 || refuse "a step that changes its role still runs here, and may stop it yet \
(systemctl list-units 'mainstay-*'): wait for its end"
"""

# $2 the standby's name, $3 its address, $4 user, $5 slot, $6 identifier, $7 timeline, $8 the run.
_DEMOTE = (
    _ALONE
    + """
before=$data/postgresql.auto.conf.before-$8
[ ! -e "$not_demoted$8" ] || refuse "this run was taken back"
expect_identifier "$6"
login=$(login_of "$3" "$4")
if runs; then
  [ "$(ask 'SELECT pg_is_in_recovery()')" = f ] || refuse "it is no primary"
  timeline=$(ask "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int")
  [ "$timeline" = "$7" ] || refuse "it is on timeline $timeline, expected $7"
  streams=$(ask "SELECT count(*) FROM pg_stat_replication
    WHERE state = 'streaming' AND application_name = '$2'")
  [ "$streams" = 1 ] || refuse "$2 does not stream from it"
  if [ ! -e "$before" ]; then
    cp -p -- "$data/postgresql.auto.conf" "$before.new"
    mv -T -- "$before.new" "$before"
  fi
  only_as_standby_of "$login" "$5"
  systemctl stop "$unit"
elif [ ! -e "$before" ]; then
  refuse "it does not run, and this run did not stop it"
fi
! runs || { echo "it still runs" >&2; exit 1; }
is_only_standby_of "$login" "$5" || { echo "it was stopped, and could come back as a primary" >&2; exit 1; }
state=$(control "Database cluster state")
[ "$state" = "shut down" ] || { echo "it was not stopped cleanly: it is $state" >&2; exit 1; }
echo "$(control "Latest checkpoint's TimeLineID") $(control "Latest checkpoint location")"
"""
)

# $2 identifier, $3 the run. The copy of the settings is let go last: without it nothing is to be taken back.
_RESTORE = (
    _ALONE
    + """
before=$data/postgresql.auto.conf.before-$3
expect_identifier "$2"
touch "$not_demoted$3"
sync "$not_demoted$3" "${data%/*}"
[ -e "$before" ] || { echo untouched; exit 0; }
if runs && [ "$(ask 'SELECT pg_is_in_recovery()')" = t ]; then systemctl stop "$unit"; fi
rm -f -- "$data/standby.signal"
cp -p -- "$before" "$data/postgresql.auto.conf"
sync "$data/postgresql.auto.conf" "$data"
if is_up; then systemctl reload "$unit"; else systemctl start "$unit"; fi
[ "$(ask 'SELECT pg_is_in_recovery()')" = f ] || { echo "it came back as a standby" >&2; exit 1; }
rm -- "$before"
echo restored
"""
)

_LOOK = """
printf '{"identifier": "%s", "state": "%s", "timeline": %s, "checkpoint": "%s", "runs": %s, "signal": %s}' \
  "$(control "Database system identifier")" "$(control "Database cluster state")" \
  "$(control "Latest checkpoint's TimeLineID")" "$(control "Latest checkpoint location")" \
  "$(runs && echo true || echo false)" "$([ -e "$data/standby.signal" ] && echo true || echo false)"
"""


class Stopped(Model):
    """What the files of a cluster say of it."""

    identifier: str
    state: str
    timeline: int
    checkpoint: str
    runs: bool
    signal: bool


def demote(action: Demote, ctx: Context) -> Outcome:
    """Make the expected primary one that can only come back as a standby, then stop it; both read back."""
    words = [
        action.cluster,
        action.standby,
        ctx.inventory.server(action.standby).address,
        action.user,
        action.slot,
        action.expect_system_identifier,
        str(action.expect_timeline),
        ctx.run_id,
    ]
    done = run_script(ctx, action.host, _DEMOTE, words)
    if done.exit_code:
        raise AdapterError(
            f"{action.host} was not demoted: {done.stderr.strip()}; "
            "it may be stopped, and comes back only as a standby",
            hint="to have it back as primary: "
            f"./inv run.abort --env {ctx.environment.name} --run {ctx.run_id} --undo --reason '...'",
        )
    timeline, checkpoint = done.stdout.split()
    evidence = Demotion(
        server=action.host,
        standby=action.standby,
        system_identifier=action.expect_system_identifier,
        timeline=int(timeline),
        checkpoint=checkpoint,
    )
    summary = (
        f"{action.host} is stopped at {checkpoint} and can only come back as a standby of {action.standby}"
    )
    return Outcome(changed=True, summary=summary, evidence=evidence)


def verify_demote(action: Demote, ctx: Context) -> Progress:
    """Say how far a demotion came."""
    return progress_of(ctx, action.host)


def restore_primary(action: RestorePrimary, ctx: Context) -> Outcome:
    """Bring a demoted primary back as it was; refused once its standby is one no more.

    A standby that does not answer was not promoted by this run: a run whose promotion has begun takes
    nothing back that it stands on.
    """
    said = "is still a standby"
    try:
        other = observe(action.standby, action.cluster, ctx.remote(action.standby))
    except AdapterError as exc:
        said = f"does not answer ({exc}), and this run did not promote it"
    else:
        same = other.system_identifier == action.expect_system_identifier
        if not (same and other.in_recovery and other.timeline == action.expect_timeline):
            raise AdapterError(
                f"{action.standby} is not, or no more, a standby of it on timeline {action.expect_timeline}: "
                f"{action.host} stays demoted, or there would be two primaries; nothing was changed"
            )
    words = [action.cluster, action.expect_system_identifier, ctx.run_id]
    done = run_here(ctx, action.host, _RESTORE, words)
    if done.exit_code:
        raise AdapterError(
            f"{action.host} is not back as primary: {done.stderr.strip()}; abort the run again"
        )
    changed = done.stdout.strip() == "restored"
    word = "is primary again" if changed else "was not stopped by this run"
    return Outcome(changed=changed, summary=f"{action.host} {word}; {action.standby} {said}")


def await_replayed(action: AwaitReplayed, ctx: Context) -> Outcome:
    """See the old primary stopped for good at its last record, and wait until the standby has replayed it."""
    deadline = time.monotonic() + ctx.timeout_s
    old = _look_at_stopped(action, ctx)
    _check_stopped(action, old)
    wanted = _bytes(old.checkpoint)
    remote = ctx.remote(action.standby)
    while True:
        seen = observe_standby(action.standby, action.cluster, remote)
        if not seen.in_recovery or seen.system_identifier != action.expect_system_identifier:
            raise AdapterError(
                f"{action.standby} is not the standby of {action.primary}; nothing was changed"
            )
        if seen.replayed_bytes > wanted:  # the record begins there: past it means all of it
            break
        if time.monotonic() > deadline:
            behind = wanted - seen.replayed_bytes
            raise AdapterError(
                f"{action.standby} has not replayed the last record of {action.primary} ({old.checkpoint}), "
                f"{behind} bytes or more are missing: to promote it would lose writes; nothing was changed"
            )
        time.sleep(0.05)
    evidence = NothingLost(
        primary=action.primary,
        standby=action.standby,
        checkpoint=old.checkpoint,
        replayed=f"{seen.replayed_bytes >> 32:X}/{seen.replayed_bytes & 0xFFFFFFFF:X}",
        timeline=old.timeline,
    )
    summary = f"{action.standby} has replayed {evidence.replayed}, past the last record of {action.primary}"
    return Outcome(changed=False, summary=f"{summary} ({old.checkpoint}): nothing is lost", evidence=evidence)


def _look_at_stopped(action: AwaitReplayed, ctx: Context) -> Stopped:
    """Read the old primary's files; behind its network fence, on a resumed run, by its console."""
    try:
        return _read_files(ctx.remote(action.primary), action)
    except AdapterError as exc:
        if not exc.transient:
            raise
        ctx.say(f"{action.primary} is cut off: asking its console")
        return _read_files(ctx.console(action.primary), action)


def _read_files(remote: Remote, action: AwaitReplayed) -> Stopped:
    return Stopped.model_validate(json.loads(read_script(remote, action.primary, _LOOK, [action.cluster])))


def _check_stopped(action: AwaitReplayed, old: Stopped) -> None:
    problem = None
    if old.identifier != action.expect_system_identifier:
        problem = f"its system identifier is {old.identifier}, expected {action.expect_system_identifier}"
    elif old.runs or old.state != "shut down":
        problem = f"it is not stopped cleanly ({old.state}{', running' if old.runs else ''})"
    elif not old.signal:
        problem = "it could come back as a primary"
    elif old.timeline != action.expect_timeline:
        problem = f"it is on timeline {old.timeline}, expected {action.expect_timeline}"
    if problem:
        raise AdapterError(f"{action.primary}: {problem}; nothing was changed")


def _bytes(location: str) -> int:
    high, low = location.split("/")
    return (int(high, 16) << 32) + int(low, 16)
