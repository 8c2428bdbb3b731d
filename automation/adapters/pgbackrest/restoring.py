"""A cluster restored under a name of its own, beside whatever else a host has."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from automation.adapters.pgbackrest.door import HERE, RESTORE_SETTINGS
from automation.adapters.pgbackrest.listing import Backup, Told, read_info
from automation.adapters.pgbackrest.restore_script import RESTORE
from automation.model.actions import RestoreCluster
from automation.model.actions.databases import RESTORED_MARKERS
from automation.model.backup_evidence import PointRestored, ProofFailed
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Progress, Remote
from automation.model.recovery_points import Level

REFUSED, NOT_REACHED, NOT_OPENED = 10, 21, 22
# What pgBackRest tells in whole seconds may have ended later within the last of them.
_ROUNDING = timedelta(seconds=1)
# A file of the repository that is not what its manifest says (checksum), that cannot be unpacked (format), or
# that is gone from a backup.
_DAMAGED = re.compile(r"\[02[69]\]|\[055\].*missing file '[^']*/backup/[^']*/pg_data/")


class Made(NamedTuple):
    """What the script said of the cluster that it made, perhaps for a controller that died meanwhile."""

    label: str
    system_identifier: str
    timeline: int
    seconds: float
    last_commit: datetime | None


def restore(action: RestoreCluster, ctx: Context) -> Outcome:
    """Restore a cluster, recover it to a moment, and open it there.

    It archives nothing, has no slots and no subscription that works, follows nobody, and starts with the host
    only by hand. With `until`, the commits up to that moment are in it, and PostgreSQL has met a later one.

    Raises:
        AdapterError: refused before anything was made; or the moment lies after the last commit of the
            archive, or it does not open: then what was made is removed again.
    """
    remote = ctx.remote(action.host)
    settings = _settings(remote)
    of_settings = [word for word in settings if word.startswith("--config=")]
    backup = choose_backup(action, read_info(remote, action.of, *of_settings))
    words = _words(action, ctx, backup, settings)
    done = ctx.run_unit(action.host, ["sh", "-c", RESTORE, "restore", *words])
    if done.exit_code:
        raise _failed(action, done)
    made = _read(done.stdout)
    reached = action.until or made.last_commit
    evidence = PointRestored(
        resource=action.resource,
        store=action.of.store,
        point=made.label,
        host=action.host,
        to=action.cluster,
        seconds=made.seconds,
        size_bytes=backup.size_bytes,
        until=reached,
        system_identifier=made.system_identifier,
        timeline=made.timeline,
    )
    when = f", as of {reached:%Y-%m-%d %H:%M:%S.%f} UTC" if reached else ", as the backup has it"
    summary = f"{action.resource} restored from {made.label} to {action.cluster} on {action.host}{when}"
    return Outcome(changed=True, summary=summary, evidence=evidence)


def verify_restore(action: RestoreCluster, ctx: Context) -> Progress:
    """Say how far a restore came; a half-made cluster bears the marker and can be removed."""
    state = ctx.unit_state(action.host)
    if state == "absent":
        return Progress(state="not_done", why=f"nothing was begun on {action.host}")
    if state == "lost":
        why = f"its unit left no result; {action.cluster} on {action.host} may be there in part"
        return Progress(state="unknown", why=f"{why}, and nothing uses it")
    return Progress(state="in_progress", why=f"its unit {'runs' if state == 'running' else 'has ended'}")


def choose_backup(action: RestoreCluster, told: Told) -> Backup:
    """Give the backup to begin with: the named one, or the last that ended before the moment. Pure.

    Raises:
        AdapterError: there is none, or the named one does not fit.
    """
    good = [backup for backup in told.of_now() if not backup.damaged]
    if action.until is not None:
        good = [backup for backup in good if backup.stopped_at + _ROUNDING <= action.until]
    named = [backup for backup in good if action.point in (None, backup.label)]
    if named:
        return named[-1]
    wanted = f"{action.point} is not there, is damaged or ended" if action.point else "no good backup ended"
    before = f" before {action.until:%Y-%m-%d %H:%M:%S} UTC" if action.until else ""
    raise AdapterError(
        f"{action.resource} in {action.of.store}: {wanted}{before}; nothing was restored",
        hint=f"./inv backup.list --env NAME --resource {action.resource}",
    )


def _settings(remote: Remote) -> tuple[str, ...]:
    """Where a host has settings for restores, those count: they know every repository and no database."""
    there = remote.run(["test", "-e", RESTORE_SETTINGS]).exit_code == 0
    return (f"--config={RESTORE_SETTINGS}",) if there else HERE


def _words(action: RestoreCluster, ctx: Context, backup: Backup, settings: Sequence[str]) -> list[str]:
    until = f"{action.until.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00" if action.until else ""
    return [
        action.cluster,
        action.of.stanza,
        str(action.of.repo),
        backup.label,
        until,
        str(action.port),
        action.listen,
        str(backup.size_bytes),
        f"{RESTORED_MARKERS}/{action.cluster.replace('/', '-')}",
        f"{ctx.run_id}/{ctx.step_id}",
        " ".join(settings),
    ]


def _failed(action: RestoreCluster, done: Completed) -> AdapterError:
    said = "; ".join(line.strip() for line in done.stderr.splitlines()[-12:] if line.strip())
    where = f"{action.cluster} on {action.host}"
    if done.exit_code == REFUSED:
        return AdapterError(f"{where}: {said}; nothing was changed")
    bad = None
    if _DAMAGED.search(said):
        point, store = action.point or "", action.of.store
        bad = ProofFailed(
            resource=action.resource, store=store, point=point, level=Level.L3, found=(said[-300:],)
        )
    if done.exit_code == NOT_REACHED:
        return AdapterError(
            f"{where}: {action.until} was not reached: {said}; what was restored is removed again",
            hint="give a moment before the last commit in the archive, or none for all there is",
            evidence=bad,
        )
    return AdapterError(f"{where} was not restored: {said}; what was made is removed again", evidence=bad)


def _read(said: str) -> Made:
    told: Mapping[str, str] = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return Made(
        label=told["label"],
        system_identifier=told["identifier"],
        timeline=int(told["timeline"]),
        seconds=float(told["seconds"]),
        last_commit=_moment(told.get("last", "")),
    )


def _moment(text: str) -> datetime | None:
    """Read a time of PostgreSQL's log: 2026-11-22 07:38:02.789299+00."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?)\+00", text.strip())
    return datetime.fromisoformat(f"{found[1]}+00:00") if found else None
