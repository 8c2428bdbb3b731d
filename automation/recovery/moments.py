"""The moment to which a database is restored: drawn when the plan is made, and written into it. Pure."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from automation.model.base import format_duration
from automation.model.errors import PreflightError
from automation.model.restorable import Backup, Restorable

# Stores tell whole seconds: a backup may have ended later within the one that it names.
ROUNDING = timedelta(seconds=1)


class Target(NamedTuple):
    """A moment, and the backup from which a restore to it begins.

    Without a moment: as far as the archive goes. After a backup in which nobody has written since there is no
    moment that PostgreSQL could stop at, and nothing that it would leave out.
    """

    until: datetime | None
    backup: Backup

    def __str__(self) -> str:
        at = f"{self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else "as far as the archive goes"
        return f"{at}, from backup {self.backup.label}"


def draw_moment(restorable: Restorable, seed: int) -> Target:
    """Draw a moment from all that can be reached, every second as likely as any other.

    Args:
        seed: recorded with the plan, so that the draw can be repeated.

    Raises:
        PreflightError: nothing can be restored.
    """
    _refuse_nothing(restorable)
    if not restorable.moments:
        return newest_moment(restorable)
    lengths = [(one.last - one.first).total_seconds() for one in restorable.moments]
    at_s = Random(seed).uniform(0.0, sum(lengths))
    index = 0
    while at_s > lengths[index] and index < len(lengths) - 1:
        at_s -= lengths[index]
        index += 1
    drawn = restorable.moments[index].first + timedelta(seconds=int(at_s))
    return Target(drawn.astimezone(UTC), _begin(restorable, drawn))


def newest_moment(restorable: Restorable) -> Target:
    """Give the last moment that can be reached.

    Raises:
        PreflightError: nothing can be restored.
    """
    latest = _refuse_nothing(restorable)
    if not restorable.moments or restorable.moments[-1].last < latest:
        return Target(None, restorable.backups[-1])
    return Target(latest.astimezone(UTC), _begin(restorable, latest))


def _refuse_nothing(restorable: Restorable) -> datetime:
    latest = restorable.latest
    if latest is None or not restorable.backups:
        raise PreflightError(
            f"{restorable.resource}: {restorable.kept.of.store} holds nothing that can be restored; "
            "nothing was changed",
            hint=f"every copy: ./inv backup.list --env NAME --resource {restorable.resource}",
        )
    return latest


def _begin(restorable: Restorable, until: datetime) -> Backup:
    """The newest backup that had ended by then: the shortest way through the WAL."""
    ended = [one for one in restorable.backups if one.at + ROUNDING <= until]
    if not ended:
        raise PreflightError(
            f"{restorable.resource}: no backup in {restorable.kept.of.store} had ended at {until:%H:%M:%S}; "
            "nothing was changed"
        )
    return ended[-1]


def tell(restorable: Restorable) -> str:
    """Say how much would be lost now, how well the copy is proven, and how long it took."""
    behind = restorable.behind_s
    if behind is None:
        return f"{restorable.kept.of.store}: nothing can be restored"
    proof = f"proven at {restorable.level.name}" if restorable.level is not None else "not proven"
    if restorable.proven_at is not None:
        proof += f" {format_duration((restorable.seen_at - restorable.proven_at).total_seconds())} ago"
    took = f", its restore took {format_duration(restorable.restore_s)}" if restorable.restore_s else ""
    return f"{restorable.kept.of.store}: {format_duration(behind)} would be lost now; {proof}{took}"
