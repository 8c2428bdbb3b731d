"""Actions on recovery points at cloud providers: taking, copying, checking and deleting them.

A point is all that bears one mark `POINT`: the snapshots of all disks of some servers, an image with its
snapshots, or one snapshot of a database. The mark is derived from run and step, so that a call whose answer
was lost is found again and not made twice. What bears no such mark is never touched.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.actions.databases import ExpireBackups
from automation.model.actions.restic import ForgetPoints
from automation.model.base import Model

# Marks beside OWNER and RUN of `model.servers`: which point, of which resource, when, of how many parts.
POINT, RESOURCE, TAKEN, PARTS = "mainstay:point", "mainstay:resource", "mainstay:taken", "mainstay:parts"
COPIED_FROM, SERVER = "mainstay:copied-from", "mainstay:server"

# VMware: a snapshot is no backup; 2 to 3 in a chain, none longer than 24 to 72 hours ("Best practices for
# using VMware snapshots", KB 1025279).
LONGEST_CHAIN, OLDEST_ROLLBACK_S = 3, 48 * 3600.0

Family = Literal["snapshots", "images", "databases"]


class Vault(Model):
    """The region and account in which a store of backups.yml keeps its points."""

    store: str = Field(description="its name in backups.yml")
    site: str = Field(description="site of environment.yml that is this region of this account")


class PointLock(Model):
    """How long the provider refuses to delete what is made."""

    mode: Literal["governance", "compliance"]
    span_s: float = Field(gt=0)


class _OnPoints(BaseAction):
    # The lock is that of the resource: neither a server nor the environment is changed.
    locks: ClassVar[bool] = False
    resource: str


class _Take(_OnPoints):
    to: Vault
    lock: PointLock | None = None


class TakeSnapshots(_Take):
    """Make one point of all disks of some servers: those of one server at one moment (crash-consistent)."""

    do: Literal["aws.take_snapshots"] = "aws.take_snapshots"
    effect: ClassVar[Effect] = "change"
    servers: tuple[str, ...] = Field(min_length=1)


class TakeImage(_Take):
    """Make an image of a server with snapshots of all its disks."""

    do: Literal["aws.take_image"] = "aws.take_image"
    effect: ClassVar[Effect] = "change"
    server: str
    reboot: bool = Field(default=False, description="stop it for it, so that its files are whole")


class TakeDatabaseSnapshot(_Take):
    """Make a manual snapshot of an RDS instance, which stays when the instance goes."""

    do: Literal["aws.take_database_snapshot"] = "aws.take_database_snapshot"
    effect: ClassVar[Effect] = "change"
    database: str = Field(description="its DB instance identifier")


class CopyVaultPoints(_OnPoints):
    """Copy every whole point that another region or account lacks, oldest first."""

    do: Literal["aws.copy_points"] = "aws.copy_points"
    effect: ClassVar[Effect] = "change"
    family: Family
    source: Vault
    target: Vault
    lock: PointLock | None = None
    kms_key: str = Field(default="", description="that encrypts the copies; empty: the target's own")
    leave: tuple[str, ...] = Field(default=(), description="points that the target had, and that expired")


class DeleteVaultPoints(_OnPoints):
    """Delete exactly these points by the ids of their members, and see that these and no others are gone."""

    do: Literal["aws.delete_points"] = "aws.delete_points"
    effect: ClassVar[Effect] = "destroy"
    family: Family
    of: Vault
    points: tuple[str, ...] = Field(min_length=1)
    members: Mapping[str, tuple[str, ...]] = Field(description="of each point, every id that goes with it")
    stay: tuple[str, ...] = Field(description="points of the resource that must be there after it")


class CheckVault(BaseAction):
    """L1: every point has all its parts, complete, encrypted, and as large as what it was copied from."""

    do: Literal["aws.check_points"] = "aws.check_points"
    effect: ClassVar[Effect] = "read"
    of: Vault
    families: tuple[Family, ...] = Field(min_length=1)
    copy_of: Vault | None = None
    encrypted: bool = Field(default=True, description="whether a part that is not fails")


# --- vSphere -----------------------------------------------------------------------------------------


class TakeRollback(_OnPoints):
    """Make a snapshot of a VM to roll a change back with; a chain of three is the longest there may be."""

    do: Literal["vsphere.take_rollback"] = "vsphere.take_rollback"
    effect: ClassVar[Effect] = "change"
    to: Vault
    vm: str
    quiesce: bool = Field(default=True, description="have the VM's tools write its files out first")


class RemoveRollbacks(_OnPoints):
    """Remove exactly these snapshots of a VM, whose state stays as it is, and see its disks consolidated."""

    do: Literal["vsphere.remove_rollbacks"] = "vsphere.remove_rollbacks"
    effect: ClassVar[Effect] = "destroy"
    of: Vault
    vm: str
    points: tuple[str, ...] = Field(min_length=1)
    members: Mapping[str, tuple[str, ...]] = Field(description="of each point, its snapshot at the vCenter")
    stay: tuple[str, ...]


PointTaker = TakeSnapshots | TakeImage | TakeDatabaseSnapshot | TakeRollback
Deletion = ForgetPoints | ExpireBackups | DeleteVaultPoints | RemoveRollbacks
