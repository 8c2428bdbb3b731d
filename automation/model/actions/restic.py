"""Actions on restic repositories: saving, copying, rotating, checking, proving and restoring files.

Credentials stand on the host, in `/etc/mainstay/stores/<store>.env` of root alone; no action carries one.
"""

from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.base import Model

FULL_ID = r"^[0-9a-f]{64}$"
SCRATCH = "/var/lib/mainstay/scratch"


class Repository(Model):
    """A repository as it is reached from the host of the action."""

    store: str = Field(description="its name in backups.yml; names the file of its credentials on the host")
    url: str = Field(description="as restic names it: /srv/restic/main, sftp:backup@nas:/srv/restic/main")
    credentials: str = Field(
        default="",
        description="store whose credentials open it, of a copy that has none of its own; empty: store",
    )


class TakeFiles(BaseAction):
    """Save paths of a host as one point, with a manifest of what was there; what is missing is a failure."""

    do: Literal["restic.take"] = "restic.take"
    effect: ClassVar[Effect] = "change"
    locks: ClassVar[bool] = False
    host: str
    resource: str
    to: Repository
    paths: tuple[str, ...] = Field(min_length=1)
    exclude: tuple[str, ...] = ()
    must_exist: tuple[str, ...] = Field(min_length=1)
    tags: tuple[str, ...] = ()


class CopyPoints(BaseAction):
    """Copy every point of a resource that another repository lacks; taken over in order of age."""

    do: Literal["restic.copy"] = "restic.copy"
    effect: ClassVar[Effect] = "change"
    host: str = Field(description="keeper of the source; it has the credentials of both")
    resource: str
    source: Repository
    target: Repository
    leave: tuple[str, ...] = Field(
        default=(),
        description="full ids in the source that are not copied: the target had them, and they expired",
    )


class ForgetPoints(BaseAction):
    """Delete exactly these points, by full id, and see by listing again that these and no others are gone."""

    do: Literal["restic.forget"] = "restic.forget"
    effect: ClassVar[Effect] = "destroy"
    host: str = Field(description="keeper of the repository")
    resource: str
    of: Repository
    points: tuple[str, ...] = Field(min_length=1)
    stay: tuple[str, ...] = Field(description="full ids of the resource's points that must be there after it")


class ReclaimSpace(BaseAction):
    """Remove data that no point refers to any more, unless a point is gone that must be there."""

    do: Literal["restic.reclaim"] = "restic.reclaim"
    effect: ClassVar[Effect] = "destroy"
    host: str = Field(description="keeper of the repository")
    of: Repository
    stay: tuple[str, ...] = Field(
        default=(), description="full ids that must be there: the data of one that somebody deleted stays"
    )


class CheckRepository(BaseAction):
    """Look at a repository's structure (L1), or read one of n equal parts of its data (L2)."""

    do: Literal["restic.check"] = "restic.check"
    effect: ClassVar[Effect] = "read"
    host: str = Field(description="keeper of the repository")
    of: Repository
    part: int = Field(default=0, ge=0, description="which part is read; 0: none, the structure alone")
    parts: int = Field(default=1, ge=1, le=256, description="in how many parts the data is read")


class BreakLock(BaseAction):
    """Remove a lock whose holder is seen to be dead, and that was not refreshed for 30 minutes."""

    do: Literal["restic.break_lock"] = "restic.break_lock"
    effect: ClassVar[Effect] = "destroy"
    host: str = Field(description="keeper of the repository")
    of: Repository


class RestoreFiles(BaseAction):
    """Restore a point's files below a folder; what is there already and differs is never overwritten.

    `in_place` puts them over their originals, whose state is saved first.
    """

    do: Literal["restic.restore"] = "restic.restore"
    effect: ClassVar[Effect] = "change"
    host: str
    resource: str
    of: Repository
    point: str = Field(pattern=FULL_ID)
    folder: str = Field(pattern=r"^/", description="below which the paths are put; / with in_place alone")
    include: tuple[str, ...] = Field(default=(), description="paths; none: all")
    in_place: bool = False


class ProveFiles(BaseAction):
    """L3: restore a point, or a sample of it, to scratch, and compare it with the manifest of its backup."""

    do: Literal["restic.prove"] = "restic.prove"
    effect: ClassVar[Effect] = "change"
    host: str = Field(description="scratch host")
    resource: str
    of: Repository
    point: str = Field(pattern=FULL_ID)
    folder: str = Field(
        pattern=rf"^{SCRATCH}/[A-Za-z0-9][A-Za-z0-9._:-]*$",
        description="made for it; a step of its own clears it",
    )
    files: int | None = Field(default=None, ge=1, description="so many at most; none: all")
    must_hold: tuple[str, ...] = Field(
        default=(), description="files that must be in it, compared with the others; given, it is L4"
    )
    max_bytes: int | None = Field(default=None, ge=1)
    newest: float = Field(default=0.5, ge=0, le=1, description="share of the sample that is newest")
    seed: int = Field(description="chosen when planning: the sample can be drawn again")


class ClearScratch(BaseAction):
    """Remove a folder below the scratch folder, with what was restored there."""

    do: Literal["restic.clear_scratch"] = "restic.clear_scratch"
    effect: ClassVar[Effect] = "destroy"
    host: str
    folder: str = Field(pattern=rf"^{SCRATCH}/[A-Za-z0-9][A-Za-z0-9._:-]*$")
