"""Whether the archive of a database keeps its RPO: what its primary says of WAL that waits. Pure.

The last commit in an archive does not tell: that of a database in which nobody writes is old, too.
"""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from automation.backups.sighting import Observed
from automation.backups.spec import Backups
from automation.model.base import format_duration
from automation.model.observations import Archiving


def unarchived(backups: Backups, observed: Observed, resource: str, rpo_s: float) -> Iterator[str]:
    """Say how more than `rpo_s` may be lost of a database, because its WAL is not in the archive."""
    seen = observed.archivers.get(resource)
    if not backups.resources[resource].take.wal or seen is None or seen.archiving is None:
        return
    found, rpo = seen.archiving, format_duration(rpo_s)
    if found.mode == "off":
        yield f"archive_mode is off on {found.host}: no WAL is archived"
        return
    if found.waits_s is not None and found.waits_s > rpo_s:
        waits = f"WAL waits {format_duration(found.waits_s)} on {found.host} to be archived"
        yield f"{waits}, more than the RPO of {rpo}; {_last_try(found, ZoneInfo(backups.tz))}"
    if not found.timeout_s:
        yield (
            f"archive_timeout is 0 on {found.host}: "
            "a quiet database may lose all since its last full segment of WAL"
        )
    elif found.timeout_s > rpo_s:
        timeout = format_duration(found.timeout_s)
        yield (
            f"archive_timeout is {timeout} on {found.host}, more than the RPO of {rpo}: "
            f"a quiet database may lose up to {timeout}"
        )


def unseen_archiving(backups: Backups, observed: Observed, resource: str) -> Iterator[str]:
    """Say why nothing is known of the archiving of a database."""
    if not backups.resources[resource].take.wal:
        return
    seen = observed.archivers.get(resource)
    if seen is None or seen.archiving is None:
        why = seen.problem if seen else "its primary was not asked"
        yield f"whether its WAL waits to be archived cannot be seen: {why}"


def _last_try(found: Archiving, zone: ZoneInfo) -> str:
    """Say how the last try ended; PostgreSQL forgets it when its statistics are reset."""
    failed, done = found.last_failed_at, found.last_archived_at
    if failed and (done is None or failed > done):
        return f"the last try failed at {_moment(failed, zone)}"
    return f"the last was archived at {_moment(done, zone)}" if done else "no try is known"


def _moment(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
