"""Where recovery points are kept: stores of `backups.yml`, by the program or provider that has them."""

import re
from typing import Annotated, Literal

from pydantic import Field

from automation.backups.durations import CalendarSpan
from automation.model.base import Model
from automation.model.secrets import SecretRef
from automation.model.strategy import HostName, Name

_ADDRESS = re.compile(r"(?:sftp|rest):(?:https?:)?(?://)?(?:[^@/]*@)?([^/:]+)")
Medium = Literal["disk", "object-store", "tape"]


class Lock(Model):
    """How long the store itself refuses to delete a point."""

    mode: Literal["governance", "compliance"] = Field(description="compliance: nobody can lift it")
    span: CalendarSpan = Field(
        alias="for", description="from the day it is written, and anew as long as it is needed: 35 days"
    )


class Keeper(Model):
    """The server from which a repository is checked, rotated, copied and measured."""

    host: HostName = Field(description="it has the credentials of the store, and of those copied to")
    repository: str = Field(
        default="", description="as restic names it from there: /srv/restic/main; none: as everywhere"
    )


class ResticStore(Model):
    """A restic repository."""

    type: Literal["restic"] = Field(description="a restic repository")
    repository: str = Field(min_length=1, description="as restic names it: sftp:backup@nas1:/srv/main")
    keeper: Keeper = Field(description="from where it is looked after")
    site: Name = Field(description="where it stands")
    medium: Medium = Field(default="disk", description="what it is written on")
    repository_password: SecretRef | None = Field(default=None, description="where its password stands")
    login: SecretRef | None = Field(default=None, description="where what the store asks for stands")
    append_only: bool = Field(default=False, description="hosts that save cannot delete")
    lock: Lock | None = Field(default=None, description="what the store itself keeps undeleted")
    copy_of: Name | None = Field(default=None, description="the store whose points it takes over")

    @property
    def kept_at(self) -> str:
        """The repository as its keeper reaches it."""
        return self.keeper.repository or self.repository


class StanzaKeeper(Model):
    """The server on whose own disk a repository of pgBackRest is, or that has its object store's login."""

    host: HostName = Field(description="pgBackRest takes, checks and expires backups there and nowhere else")


class PgbackrestStore(Model):
    """A repository of pgBackRest."""

    type: Literal["pgbackrest"] = Field(description="a repository of pgBackRest")
    keeper: StanzaKeeper = Field(description="from where it is looked after")
    stanza: Name = Field(description="its stanza")
    repo: int = Field(ge=1, le=256, strict=True, description="the number of the repository in its settings")
    site: Name = Field(description="where it stands")
    medium: Medium = Field(default="disk", description="what it is written on")
    lock: Lock | None = Field(default=None, description="what the store itself keeps undeleted")
    bucket: str = Field(
        default="",
        pattern=r"^$|^https://",
        description="of an object store: https://s3.city.lab/city-postgresql",
    )
    login: SecretRef | None = Field(default=None, description="where what the object store asks for stands")


class AwsStore(Model):
    """A region of an AWS account: snapshots, images and RDS snapshots there."""

    type: Literal["aws"] = Field(description="a region of an AWS account")
    site: Name = Field(description="site of environment.yml whose provider is this region of this account")
    medium: Medium = Field(default="object-store", description="what it is written on")
    lock: Lock | None = Field(default=None, description="lock of each EBS snapshot, put by who takes it")
    copy_of: Name | None = Field(default=None, description="the store whose points it takes over")
    encrypted: bool = Field(default=True, description="whether a point that is not encrypted fails its proof")
    kms_key: str = Field(default="", description="key that encrypts copies; empty: the region's own")


class VsphereStore(Model):
    """A vCenter, whose datastores have the snapshots of its VMs beside their disks."""

    type: Literal["vsphere"] = Field(description="a vCenter")
    site: Name = Field(description="site of environment.yml whose provider is this vCenter")
    medium: Medium = Field(default="disk", description="what it is written on")

    @property
    def lock(self) -> None:
        """None: whoever may change a VM deletes its snapshots."""
        return None


def servers_of(store: "Store") -> frozenset[str]:
    """Name the servers without which nothing in a store is reached: its keeper, and where it lies."""
    match store:
        case ResticStore():
            found = [_ADDRESS.match(one) for one in (store.repository, store.kept_at)]
            return frozenset({store.keeper.host, *(one[1] for one in found if one)})
        case PgbackrestStore():
            return frozenset({store.keeper.host})
        case _:
            return frozenset()


Store = Annotated[ResticStore | PgbackrestStore | AwsStore | VsphereStore, Field(discriminator="type")]
