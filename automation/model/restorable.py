"""What can be restored of a database from one copy, as it was seen a moment ago."""

from datetime import datetime

from pydantic import AwareDatetime, Field

from automation.model.actions.databases import Stanza
from automation.model.base import Model
from automation.model.recovery_points import Level
from automation.model.strategy import Name


class Moments(Model):
    """Moments from the first to the last, both included."""

    first: AwareDatetime
    last: AwareDatetime


class Backup(Model):
    """One physical backup that a restore may begin with."""

    label: str
    at: AwareDatetime


class Copy(Model):
    """One repository that holds a resource, and from where it is looked at."""

    of: Stanza
    keeper: str = Field(description="host from which it is looked after")


class Restorable(Model):
    """A resource in one copy: which moments can be reached, and how well that is proven."""

    resource: Name
    kept: Copy
    site: Name = Field(description="where that copy stands")
    backups: tuple[Backup, ...] = Field(description="oldest first; whole ones alone")
    moments: tuple[Moments, ...] = Field(description="in their order, with gaps between them")
    seen_at: AwareDatetime
    level: Level | None = Field(
        default=None, description="how far its newest proof goes; none: no proof counts"
    )
    proven_at: AwareDatetime | None = None
    restore_s: float | None = Field(default=None, ge=0, description="what its last proven restore took")
    size_bytes: int = Field(default=0, ge=0)
    simulated: bool = Field(default=False, description="a simulator answers as the store")

    @property
    def latest(self) -> datetime | None:
        """The last moment that can be reached; of a database nobody has written to, its last backup's."""
        last = [*(one.last for one in self.moments[-1:]), *(one.at for one in self.backups[-1:])]
        return max(last, default=None)

    @property
    def behind_s(self) -> float | None:
        """How much would be lost if the primary were gone now; None when nothing can be restored."""
        latest = self.latest
        return None if latest is None else max(0.0, (self.seen_at - latest).total_seconds())
