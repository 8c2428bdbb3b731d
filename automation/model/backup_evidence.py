"""What steps on backups prove; folded over all runs into the ledger of recovery points."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from automation.model.base import Model
from automation.model.recovery_points import Level

Source = Literal["real", "simulated"]


class Figures(Model):
    """Figures of one backup job, by which a strange one is told from a usual one."""

    files: int = Field(default=0, ge=0, description="files or, of a database, relations")
    new_files: int = Field(default=0, ge=0)
    changed_files: int = Field(default=0, ge=0)
    total_bytes: int = Field(default=0, ge=0, description="of the source")
    added_bytes: int = Field(default=0, ge=0, description="new data before it was packed")
    stored_bytes: int = Field(default=0, ge=0, description="what it took in the repository, packed")
    dump_bytes: int | None = Field(default=None, ge=0)


class PointTaken(Model):
    """A recovery point was made."""

    kind: Literal["point-taken"] = "point-taken"
    resource: str
    store: str
    point: str
    claimed_at: datetime
    status: Literal["ok", "partial"] = "ok"
    figures: Figures
    seconds: float
    manifest: str = Field(default="", description="artifact: what was there, file by file, with hashes")
    faults: tuple[str, ...] = Field(default=(), description="in words, why it is partial")
    source: Source = "real"


class TakeFailed(Model):
    """A backup job failed; nothing older may be deleted until a person or a good, proven point clears it."""

    kind: Literal["take-failed"] = "take-failed"
    resource: str
    store: str
    faults: tuple[str, ...] = Field(min_length=1, description="in words: missing source /srv/share")


class PointsCopied(Model):
    """Points that another store took over: id there to id in the store they came from."""

    kind: Literal["points-copied"] = "points-copied"
    resource: str
    store: str = Field(description="that took them over")
    source: str = Field(description="store that they came from")
    points: Mapping[str, str]
    seconds: float
    size_bytes: int = 0


class PointsDeleted(Model):
    """Points that were deleted and seen to be gone, and how many are there now."""

    kind: Literal["points-deleted"] = "points-deleted"
    resource: str
    store: str
    points: tuple[str, ...]
    left: int


class SpaceReclaimed(Model):
    """What a repository takes before and after unused data was removed."""

    kind: Literal["space-reclaimed"] = "space-reclaimed"
    store: str
    before_bytes: int
    after_bytes: int


class RepositoryChecked(Model):
    """A repository was looked at as a whole (L1), or one of n parts of it was read (L2)."""

    kind: Literal["repository-checked"] = "repository-checked"
    store: str
    level: Level
    part: int = Field(description="which part was read; 0: the structure alone")
    parts: int
    seconds: float
    size_bytes: int = Field(description="bytes read, or as far as the tool says")
    points: tuple[str, ...] = Field(default=(), description="ids in it; every one is proven that far")
    source: Source = "real"


class PointProven(Model):
    """A recovery point was restored and found good."""

    kind: Literal["point-proven"] = "point-proven"
    resource: str
    store: str
    point: str
    level: Level
    seconds: float = Field(description="of the restore alone; 0: as long as the steps took that made it")
    size_bytes: int
    found: tuple[str, ...] = Field(description="in words, what was compared or asserted, and its result")
    until: datetime | None = Field(default=None, description="moment to which a database was recovered")
    whole: bool = Field(default=True, description="all of it was looked at; false: a sample")
    host: str
    source: Source = "real"


class ProofFailed(Model):
    """A point, or a repository, was found bad; stands in the failure of the step."""

    kind: Literal["proof-failed"] = "proof-failed"
    resource: str = Field(default="", description="empty: the whole repository")
    store: str
    point: str = ""
    level: Level
    found: tuple[str, ...] = Field(min_length=1)


class PointRestored(Model):
    """A point was restored for people to use, or to be looked at."""

    kind: Literal["point-restored"] = "point-restored"
    resource: str
    store: str
    point: str
    host: str
    to: str = Field(description="folder or cluster")
    seconds: float
    size_bytes: int
    files: int = 0
    until: datetime | None = Field(default=None, description="moment to which a database was recovered")
    system_identifier: str = ""
    timeline: int = 0


class DatabaseDumped(Model):
    """A dump that was written whole and read once."""

    kind: Literal["database-dumped"] = "database-dumped"
    host: str
    database: str
    file: str
    size_bytes: int
    tables: int
    seconds: float


class ConfigFetched(Model):
    """A device's running configuration was read."""

    kind: Literal["config-fetched"] = "config-fetched"
    device: str
    lines: int
    secrets: int = Field(description="lines whose secret was put into the other file")
    changed: bool = Field(description="against what was fetched before")


class CanaryRefused(Model):
    """The store refused to delete a locked object of ours."""

    kind: Literal["canary-refused"] = "canary-refused"
    store: str
    key: str
    version: str
    locked_until: datetime
    refused_with: str
    refused_by: Literal["lock", "rights"] = Field(
        default="lock", description="rights: the login may delete no version, locked or not"
    )
    source: Source = "real"


class NotImmutable(Model):
    """A store does not keep what is written there; stands in the failure of the step."""

    kind: Literal["not-immutable"] = "not-immutable"
    store: str
    found: tuple[str, ...] = Field(min_length=1, description="in words: version v of key k could be deleted")
    source: Source = "real"


class LocksLengthened(Model):
    """Every object that a store shows is locked at least until then."""

    kind: Literal["locks-lengthened"] = "locks-lengthened"
    store: str
    objects: int = Field(ge=0, description="that the store shows, without those left out")
    lengthened: int = Field(ge=0, description="of them, now")
    lapsed: int = Field(default=0, ge=0, description="of those lengthened: any login could have deleted them")
    running_out: int = Field(default=0, ge=0, description="expired points whose locks were left alone")
    hidden: int = Field(ge=0, description="objects behind a delete marker: by a rotation, or an attack")
    overwritten: int = Field(
        default=0, ge=0, description="objects named by their content that have two contents: an attack"
    )
    until: datetime = Field(description="the earliest end of a lock of `objects`")
    source: Source = "real"

    @property
    def words(self) -> str:
        """How they are locked now, and what was left out."""
        notes = {
            "of them were locked no longer": self.lapsed,
            "expired points keep their locks' ends": self.running_out,
            "are hidden by delete markers, of a rotation or an attack; their locks run out": self.hidden,
            "were OVERWRITTEN with something else: an attack": self.overwritten,
        }
        said = (
            f"{self.objects} objects are locked until {self.until:%Y-%m-%d %H:%M} UTC at least, "
            f"{self.lengthened} lengthened now"
        )
        return "; ".join([said, *(f"{number} {note}" for note, number in notes.items() if number)])


class CopyRecovered(Model):
    """The objects of a moment were put together in another bucket."""

    kind: Literal["copy-recovered"] = "copy-recovered"
    store: str
    as_of: datetime
    to: str
    objects: int
    size_bytes: int
    undeleted: int = Field(description="objects that were deleted or overwritten since")
    gone_before: int = Field(default=0, description="objects that were deleted before the moment: left out")
    rewritten: int = Field(default=0, description="objects that had several contents until the moment")
    copied: int = Field(default=0, description="objects that were not there yet")
    snapshots: int = Field(default=0, description="of a restic repository")
    source: Source = "real"


class PointsMarked(Model):
    """All points that a rotation found expired; one that was marked before and is not among them is not."""

    kind: Literal["points-marked"] = "points-marked"
    resource: str
    store: str
    points: tuple[str, ...]


class PolicyAccepted(Model):
    """A policy whose effect was shown."""

    kind: Literal["policy-accepted"] = "policy-accepted"
    resource: str
    store: str
    policy_digest: str


class DoubtCleared(Model):
    """A person cleared what stopped rotation."""

    kind: Literal["doubt-cleared"] = "doubt-cleared"
    resource: str
    store: str
    doubts: tuple[str, ...]
    reason: str
    by: str
