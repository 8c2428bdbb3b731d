"""Actions of the strategy aws-pilot-light: fences in the old region, its database, its name, its test.

An instance is launched by `aws.create_instance`, from the image that was found when the plan was made. What a
test makes is removed by its name and its run's mark: nothing else is, whatever it is called. On the way home
a database gives its name to a replica: it is kept under another one, with a snapshot that is whole.
"""

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.strategy import HostName, Name

Database = str


class _OnInstance(BaseAction):
    effect: ClassVar[Effect] = "change"
    host: HostName
    site: str


class _Fence(_OnInstance):
    holds: ClassVar[bool] = True
    absent_is_off: bool = Field(
        default=False, description="fenced is, too, what has nothing there of its mark, name or address"
    )


class FenceInstance(_Fence):
    """Stop an EC2 instance of ours, and read it back; it stays stopped until somebody starts it."""

    do: Literal["aws.fence_instance"] = "aws.fence_instance"


class BlockInstance(_Fence):
    """Put an EC2 instance into a security group that lets nothing in or out, and read it back."""

    do: Literal["aws.block_instance"] = "aws.block_instance"


class ReleaseInstance(_OnInstance):
    """Give an EC2 instance back the security groups that its block took; it is not started."""

    do: Literal["aws.release_instance"] = "aws.release_instance"
    absent_is_free: bool = Field(
        default=False, description="one that a later step makes is cut off by nothing"
    )


class RemoveInstance(_OnInstance):
    """Terminate an EC2 instance that this run made, with its disks; any other is refused."""

    do: Literal["aws.remove_instance"] = "aws.remove_instance"
    effect: ClassVar[Effect] = "destroy"


class _OnDatabase(BaseAction):
    effect: ClassVar[Effect] = "change"
    site: str
    database: Database = Field(min_length=1, description="its identifier in RDS")


class BlockDatabase(_OnDatabase):
    """Give an RDS instance a security group that lets nothing in, and read it back.

    It is not stopped: RDS refuses that for a database with replicas, and starts any other after seven days.
    """

    do: Literal["aws.block_database"] = "aws.block_database"
    holds: ClassVar[bool] = True


class ReleaseDatabase(_OnDatabase):
    """Give an RDS instance back the security groups that its block took."""

    do: Literal["aws.release_database"] = "aws.release_database"


class PromoteReplica(_OnDatabase):
    """Make a read replica a database of its own, if it is the replica that was seen."""

    do: Literal["aws.promote_replica"] = "aws.promote_replica"
    irreversible: ClassVar[bool] = True
    expect_source: str = Field(min_length=1, description="the database that it copies; any other is refused")
    ready_within_s: float = Field(
        default=3600.0, gt=0, description="how long RDS may back it up or change it before it is asked"
    )


class RestoreDatabase(_OnDatabase):
    """Make an RDS instance of a snapshot, marked in the same call."""

    do: Literal["aws.restore_database"] = "aws.restore_database"
    snapshot: str = Field(min_length=1, description="identifier, of this region")
    taken_at: AwareDatetime
    network: Name = Field(description="of networks.yml: its group, and a subnet group of its VPC's subnets")


class RemoveDatabase(_OnDatabase):
    """Delete an RDS instance that this run made, without a last snapshot; any other is refused."""

    do: Literal["aws.remove_database"] = "aws.remove_database"
    effect: ClassVar[Effect] = "destroy"
    expect_source: str = Field(
        default="", description="a replica of this alone is deleted: one that was promoted holds its own data"
    )


# --- the way home ------------------------------------------------------------------------------------


class SaveDatabase(_OnDatabase):
    """Take a manual snapshot of an RDS instance, and see that it is whole; it outlives the instance."""

    do: Literal["aws.save_database"] = "aws.save_database"
    snapshot: str = Field(min_length=1, description="its identifier: one of that name is taken once")


class RenameDatabase(_OnDatabase):
    """Keep an RDS instance under another name, cut off, so that its own is free; its snapshot is whole."""

    do: Literal["aws.rename_database"] = "aws.rename_database"
    to: Database = Field(min_length=1)
    snapshot: str = Field(min_length=1, description="of this very instance; without it nothing is renamed")
    aside: bool = Field(default=True, description="it is cut off and bears our mark; else it is back")


class CreateReplica(_OnDatabase):
    """Make a read replica of an RDS instance of another region, marked in the same call."""

    do: Literal["aws.create_replica"] = "aws.create_replica"
    source_site: str
    source: Database = Field(min_length=1, description="the database that it copies")
    like: Database = Field(default="", description="an instance here: its class, groups and subnets")
    network: Name = Field(default="default", description="of networks.yml, where it is like no other")


class AwaitReplica(_OnDatabase):
    """Wait until a read replica holds all that its source had when the wait began, or nearly so."""

    do: Literal["aws.await_replica"] = "aws.await_replica"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    expect_source: str = Field(min_length=1, description="the database that it copies; any other is refused")
    behind_s: float = Field(default=0.0, ge=0, description="it may lack what is younger than this")


class DeleteDatabase(_OnDatabase):
    """Delete an RDS instance that another one has replaced, if its snapshot is whole; that stays."""

    do: Literal["aws.delete_database"] = "aws.delete_database"
    effect: ClassVar[Effect] = "destroy"
    irreversible: ClassVar[bool] = True
    snapshot: str = Field(min_length=1, description="of this very instance; without it nothing is deleted")


class SwapRecord(BaseAction):
    """Change the addresses of a name in Route 53, if they are the old ones: one batch deletes and creates."""

    do: Literal["aws.swap_record"] = "aws.swap_record"
    effect: ClassVar[Effect] = "change"
    site: str = Field(description="the region that is asked; the zone is of no region")
    zone: str = Field(min_length=1, description="id of the hosted zone")
    name: str
    old: tuple[str, ...] = Field(min_length=1)
    new: tuple[str, ...] = Field(min_length=1)
    half: tuple[str, ...] = Field(
        default=(), description="taken for the old ones, too: what a move that never scaled out left"
    )


class ProveSubnet(BaseAction):
    """See that a network has no way out: no route but its own, no gateway, no peer, no rule."""

    do: Literal["aws.prove_network"] = "aws.prove_network"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    guards: ClassVar[bool] = True
    site: str
    name: Name


class ListRegion(BaseAction):
    """List every server, disk, database, snapshot and network of a region, as it is read back."""

    do: Literal["aws.list_all"] = "aws.list_all"
    effect: ClassVar[Effect] = "read"
    site: str


PilotAction = (
    AwaitReplica
    | BlockDatabase
    | BlockInstance
    | CreateReplica
    | DeleteDatabase
    | FenceInstance
    | ListRegion
    | PromoteReplica
    | ProveSubnet
    | ReleaseDatabase
    | ReleaseInstance
    | RemoveDatabase
    | RemoveInstance
    | RenameDatabase
    | RestoreDatabase
    | SaveDatabase
    | SwapRecord
)
