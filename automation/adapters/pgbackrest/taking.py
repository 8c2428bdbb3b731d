"""A backup taken into one repository."""

import json
import re

from automation.adapters.pgbackrest.door import said
from automation.adapters.pgbackrest.listing import ANNOTATION, Backup, Told, read_info
from automation.model.actions import TakeBackup
from automation.model.backup_evidence import Figures, PointTaken, TakeFailed
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Progress

# WAL that waits is told from so many files on; one or two are on their way at any time.
_MANY_WAIT = 3
_ARCHIVE_S = 60
_NOT_WELL = "archiving: "

_LOOK = """
SELECT json_build_object('system_identifier', s.system_identifier::text, 'in_recovery', pg_is_in_recovery(),
  'archive_mode', current_setting('archive_mode'),
  'waiting', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'failing', a.last_failed_time > coalesce(a.last_archived_time, '-infinity'),
  'last_failed', coalesce(a.last_failed_wal, ''))
FROM pg_control_system() s, pg_stat_archiver a;
"""


class Primary(Model):
    """What a primary says of itself and of its archiving."""

    system_identifier: str
    in_recovery: bool
    archive_mode: str
    waiting: int
    failing: bool | None
    last_failed: str


def take(action: TakeBackup, ctx: Context) -> Outcome:
    """Take a backup of the primary, after a look at it, at the stanza and at the archive.

    Nothing is expired by it. A backup in which pages were found damaged stays, and is a failure.

    Raises:
        AdapterError: it was refused or failed; its evidence says why, for the ledger.
    """
    try:
        return _take(action, ctx)
    except AdapterError as exc:
        why = TakeFailed(resource=action.resource, store=action.to.store, faults=(str(exc),))
        exc.evidence = exc.evidence or why  # a host that does not answer leaves none of its own
        raise


def _take(action: TakeBackup, ctx: Context) -> Outcome:
    if ctx.unit_state(action.host) == "absent":
        _look_before(action, ctx)
    done = ctx.run_unit(action.host, ["sh", "-c", _TAKE, "take", *_words(action, ctx)])
    if done.exit_code:
        raise _failed(action, f"pgbackrest: {said(done)}", *_archiving(action, ctx, done))
    for fault in _archiving(action, ctx, done):
        ctx.say(fault)
    told = read_info(ctx.remote(action.host), action.to)
    backup = _find(told, _own(ctx))
    if backup is None:
        raise _failed(action, "pgbackrest ended well, and the repository lists no backup of this step")
    return _outcome(action, backup, _files(done), _damage(done))


def verify_take(action: TakeBackup, ctx: Context) -> Progress:
    """Say how far a backup came: its unit first, then what the repository lists."""
    state = ctx.unit_state(action.host)
    if state in ("running", "ended"):
        word = "runs" if state == "running" else "has ended; joining it reads what it said"
        return Progress(state="in_progress", why=f"its unit on {action.host} {word}")
    if state == "absent":
        return Progress(state="not_done", why=f"nothing was begun on {action.host}")
    backup = _find(read_info(ctx.remote(action.host), action.to), _own(ctx))
    if backup is not None and not backup.damaged:
        outcome = _outcome(action, backup, 0, "")
        return Progress(state="done", why=outcome.summary, outcome=outcome)
    why = f"its unit on {action.host} left no result, and no good backup of this step is listed"
    return Progress(state="unknown", why=f"{why}; to say that it was not done is safe")


# As root: $1 stanza, $2 repository, $3 type, $4 run and step, $5 seconds that the archive may take. The
# check tells in words what is wrong with archiving, but of every repository that this host knows. Whether
# this one works is seen by the backup, which waits for WAL in it before it copies anything.
_TAKE = """
set -u
pgbackrest() {
  runuser -u postgres -- pgbackrest "--stanza=$stanza" --no-log-timestamp "--archive-timeout=$limit" "$@"
}
stanza=$1 repo=$2 type=$3 by=$4 limit=$5
pgbackrest --log-level-console=off --log-level-stderr=error check 2>&1 | sed "s/^/$NOT_WELL/"
pgbackrest "--repo=$repo" "--type=$type" "--annotation=$ANNOTATION=$by" --no-expire-auto --start-fast \\
  --log-level-console=info --log-level-stderr=warn backup
""".replace("$ANNOTATION", ANNOTATION).replace("$NOT_WELL", _NOT_WELL)


def _words(action: TakeBackup, ctx: Context) -> list[str]:
    limit = str(_ARCHIVE_S)
    return [action.to.stanza, str(action.to.repo), action.type, _own(ctx), limit]


def _own(ctx: Context) -> str:
    return f"{ctx.run_id}/{ctx.step_id}"


def _look_before(action: TakeBackup, ctx: Context) -> None:
    """Refuse what cannot become a backup of this cluster; tell of WAL that waits."""
    primary = _look_at_primary(action, ctx)
    told = read_info(ctx.remote(action.host), action.to)
    if primary.waiting >= _MANY_WAIT:
        ctx.say(f"{primary.waiting} WAL files wait on {action.primary} to be archived")
    if primary.in_recovery:
        raise _failed(action, f"{action.primary} is a standby now, not the primary")
    if primary.system_identifier != told.system_identifier:
        raise _failed(
            action,
            f"{action.primary} has system identifier {primary.system_identifier}, the stanza "
            f"{action.to.stanza} is of {told.system_identifier}",
        )
    if primary.archive_mode == "off":
        raise _failed(action, f"archive_mode is off on {action.primary}: no WAL is archived")
    if told.backup_runs:
        raise _failed(action, "another backup of this stanza runs")


def _look_at_primary(action: TakeBackup, ctx: Context) -> Primary:
    argv = ["sudo", "-n", "-u", "postgres", "psql", "--cluster", action.cluster, "-XqAt", "-d", "postgres"]
    done = ctx.remote(action.primary).run([*argv, "--set=ON_ERROR_STOP=1", "-f", "-"], stdin=_LOOK)
    if done.exit_code:
        raise _failed(action, f"{action.primary} ({action.cluster}) does not answer: {done.stderr.strip()}")
    return Primary.model_validate(json.loads(done.stdout))


def _archiving(action: TakeBackup, ctx: Context, done: Completed) -> tuple[str, ...]:
    """Say what the check found wrong with archiving, and what the primary knows of it."""
    lines = [line for line in done.stdout.splitlines() if line.startswith(_NOT_WELL)]
    if not lines:
        return ()
    wrong = " ".join(line.removeprefix(_NOT_WELL).strip() for line in lines)[-600:]
    try:
        primary = _look_at_primary(action, ctx)
    except AdapterError as exc:
        return f"{_NOT_WELL}{wrong}", str(exc)
    last = f", {primary.last_failed} failed last" if primary.failing else ""
    return f"{_NOT_WELL}{wrong}", f"{primary.waiting} WAL files wait on {action.primary}{last}"


def _failed(action: TakeBackup, *why: str) -> AdapterError:
    return AdapterError(
        f"no good {action.type} backup of {action.resource} in {action.to.store}: {'; '.join(why)}",
        hint=f"on {action.host}, as postgres: pgbackrest --stanza={action.to.stanza} check",
        evidence=TakeFailed(resource=action.resource, store=action.to.store, faults=why),
    )


def _find(told: Told, own: str) -> Backup | None:
    """The backup that a step took, by the words it left in it."""
    return next((one for one in reversed(told.backups) if one.taken_by == own), None)


def _files(done: Completed) -> int:
    found = re.search(r"file total = (\d+)", done.stdout)
    return int(found[1]) if found else 0


def _damage(done: Completed) -> str:
    """What it said of pages whose checksum is wrong; a backup of them ends with exit code 0."""
    return "; ".join(line for line in done.stderr.splitlines() if "checksum" in line)


def _outcome(action: TakeBackup, backup: Backup, files: int, damaged: str) -> Outcome:
    """Tell what was taken.

    Raises:
        AdapterError: pages of it are damaged.
    """
    if backup.damaged:
        raise _failed(action, f"{backup.label} has damaged pages: {damaged or 'pgbackrest info says so'}")
    seconds = (backup.stopped_at - backup.started_at).total_seconds()
    figures = Figures(
        files=files,
        total_bytes=backup.size_bytes,
        added_bytes=backup.added_bytes,
        stored_bytes=backup.stored_bytes,
    )
    evidence = PointTaken(
        resource=action.resource,
        store=action.to.store,
        point=backup.label,
        claimed_at=backup.stopped_at,
        figures=figures,
        seconds=seconds,
    )
    instead = f" (asked for {action.type}: there was none to build on)" if backup.type != action.type else ""
    mib = backup.stored_bytes / 2**20
    summary = f"{action.resource}: {backup.type} backup {backup.label}{instead}, {mib:.1f} MiB stored"
    return Outcome(changed=True, summary=summary, evidence=evidence)
