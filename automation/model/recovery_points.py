"""What can be restored: recovery points, the proofs that they can, and the holds that keep them."""

from datetime import datetime
from enum import IntEnum
from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import Model
from automation.model.strategy import Name

Status = Literal["ok", "partial", "failed", "running"]


class Level(IntEnum):
    """How far somebody went to see that a recovery point is good."""

    L0 = 0  # it is listed
    L1 = 1  # the structure of its repository holds together
    L2 = 2  # every byte was read
    L3 = 3  # restored to a scratch host, equal to the manifest written at backup
    L4 = 4  # the application opened it
    L5 = 5  # a service was recovered from it, and the time taken


class RecoveryPoint(Model):
    """One backup of one resource in one copy, as a store lists it."""

    id: str = Field(min_length=1, description="the store's full id, unique in resource and copy")
    resource: Name = Field(description="what was saved")
    copy_name: Name = Field(alias="copy", description="the store that holds it")
    claimed_at: AwareDatetime = Field(description="when it was taken, as it says itself, with its own offset")
    observed_at: AwareDatetime | None = Field(
        default=None, description="when we or the store first saw it; none: it was there before we looked"
    )
    status: Status = Field(default="ok", description="only ok can be restored whole, and only ok counts")
    size_bytes: int = Field(default=0, ge=0)
    depends_on: tuple[str, ...] = Field(default=(), description="points it cannot be restored without")
    tags: tuple[str, ...] = ()
    members: tuple[str, ...] = Field(
        default=(), description="at a cloud provider: ids of all that it consists of, by which it is deleted"
    )
    used_by: tuple[str, ...] = Field(
        default=(), description="what would break without it: instance i-0a, launch template web version 3"
    )
    locked_until: AwareDatetime | None = Field(default=None, description="no one can delete it before")

    model_config = Model.model_config | {"populate_by_name": True}


class Proof(Model):
    """That a recovery point was looked at, how far, and what was found."""

    point: str = Field(description="id of the recovery point")
    level: Level
    at: AwareDatetime
    expires: AwareDatetime
    seconds: float = Field(ge=0, allow_inf_nan=False)
    size_bytes: int = Field(ge=0)
    by: str = Field(min_length=1, description="run or person")
    evidence: str = Field(default="", description="where it can be read")
    suspended: str = Field(default="", description="why it is not believed: a later check of its repository")
    source: Literal["real", "simulated"] = "real"

    def is_current(self, now: datetime) -> bool:
        """Whether it is believed and not too old."""
        return not self.suspended and self.at <= now < self.expires


class Hold(Model):
    """A person's word that a recovery point, or all with a tag, stays."""

    owner: str = Field(min_length=1, description="role that can release it")
    reason: str = Field(min_length=1)
    point: str = Field(default="", description="id of one recovery point")
    tag: str = Field(default="", description="every recovery point that bears it")
    until: AwareDatetime | None = Field(default=None, description="none: until it is released")

    def covers(self, point: RecoveryPoint, now: datetime) -> bool:
        """Whether it keeps a recovery point now; one that names neither point nor tag keeps all."""
        if self.until is not None and now >= self.until:
            return False
        everything = not self.point and not self.tag
        return everything or point.id == self.point or (bool(self.tag) and self.tag in point.tags)
