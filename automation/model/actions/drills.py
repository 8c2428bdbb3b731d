"""Actions of a drill in isolation: its server, the proof that nothing leaves it, what was there before."""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.actions.databases import CLUSTER, Stanza
from automation.model.base import Model


class CreateIsolated(BaseAction):
    """Make a server on a network of its own, before whose first packet all but a few addresses is refused."""

    do: Literal["nspawn.create_isolated"] = "nspawn.create_isolated"
    effect: ClassVar[Effect] = "change"
    host: str
    site: str
    address: str
    image: str
    reach: Mapping[str, str] = Field(
        description="name to address: all that it reaches beside the control node"
    )
    names: Mapping[str, str] = Field(
        default_factory=dict, description="name to address inside: those that clients use lead to the copy"
    )


class RemoveServer(BaseAction):
    """Remove an isolated server with its disk; any other is refused."""

    do: Literal["nspawn.remove_server"] = "nspawn.remove_server"
    effect: ClassVar[Effect] = "destroy"
    host: str


class ListServers(BaseAction):
    """List every server that the provider has, as it reads them back."""

    do: Literal["nspawn.list_servers"] = "nspawn.list_servers"
    effect: ClassVar[Effect] = "read"


class Target(Model):
    """Something that answers on the network, and what it is."""

    what: str = Field(description="in words: primary of payments-db")
    address: str
    port: int = Field(ge=1, le=65535)
    kind: Literal["tcp", "dns"] = Field(default="tcp", description="dns: a question by UDP")

    @property
    def place(self) -> str:
        return f"{self.kind}:{self.address}:{self.port}"


class ProveIsolated(BaseAction):
    """See that a server reaches nothing of production, and nobody of production reaches it.

    What it must not reach has to answer a vantage that is not isolated in the same moment, and the server has
    to reach what it may: a probe that reaches nothing at all proves nothing.
    """

    do: Literal["vantage.prove_isolated"] = "vantage.prove_isolated"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    guards: ClassVar[bool] = True
    host: str
    address: str
    refused: tuple[Target, ...] = Field(min_length=1)
    reached: tuple[Target, ...] = Field(min_length=1)
    vantage: str = Field(description="host of production that reaches all that is refused")
    outsiders: tuple[str, ...] = Field(min_length=1, description="hosts that must not reach it")


class ListFolders(BaseAction):
    """List what stands in folders of a host, by name."""

    do: Literal["folders.list_entries"] = "folders.list_entries"
    effect: ClassVar[Effect] = "read"
    host: str
    folders: tuple[str, ...] = Field(min_length=1)


class ListClusters(BaseAction):
    """List every PostgreSQL cluster of a host: identity, timeline, role, archiving, slots."""

    do: Literal["postgresql.list_clusters"] = "postgresql.list_clusters"
    effect: ClassVar[Effect] = "read"
    host: str


class ListArchive(BaseAction):
    """List every backup and every WAL file of a repository into an artifact."""

    do: Literal["pgbackrest.list_archive"] = "pgbackrest.list_archive"
    effect: ClassVar[Effect] = "read"
    host: str
    of: Stanza
    artifact: str


class LookAtRestored(BaseAction):
    """See that a restored database is open, archives nothing and feeds nobody, and how far it came."""

    do: Literal["postgresql.look_at_restored"] = "postgresql.look_at_restored"
    effect: ClassVar[Effect] = "read"
    host: str
    cluster: str = Field(pattern=CLUSTER)
    until: datetime | None = Field(default=None, description="moment that was asked for; none: the end")
    behind_s: float | None = Field(
        default=None, ge=0, description="what a loss would have cost when the plan was made"
    )


class ProveService(BaseAction):
    """L5: note that a service was recovered from a point in this run; its checks have passed before."""

    do: Literal["postgresql.prove_service"] = "postgresql.prove_service"
    effect: ClassVar[Effect] = "read"
    host: str
    resource: str
    store: str
    point: str = Field(description="label of the backup that the restore began with")
    cluster: str = Field(pattern=CLUSTER)
    services: tuple[str, ...] = Field(min_length=1, description="that run on it, and were checked")
    until: datetime | None = None
    simulated: bool = Field(default=False, description="a simulator answers as the store")


class LookAtPilot(BaseAction):
    """See which image, replica and snapshot a service could come back from in a region."""

    do: Literal["aws.look_at_ready"] = "aws.look_at_ready"
    effect: ClassVar[Effect] = "read"
    site: str
    images: str = Field(description="resource of backups.yml whose images are launched")
    database: str = Field(default="", description="the one that serves elsewhere; empty: there is none")
    replica: str = Field(default="", description="its replica here; empty: none is declared")


class _ProvePoint(BaseAction):
    effect: ClassVar[Effect] = "read"
    site: str
    resource: str = Field(description="of backups.yml; what bears the mark of another proves nothing of it")
    store: str


class ProveImage(_ProvePoint):
    """L4: see that servers launched from an image in this run are well, and note it as the image's proof."""

    do: Literal["aws.prove_image"] = "aws.prove_image"
    image: str = Field(min_length=1, description="id of the image")
    servers: tuple[str, ...] = Field(min_length=1, description="that this run launched from it")


class ProveSnapshot(_ProvePoint):
    """L4: see that a database restored from a snapshot in this run is open, and note it as its proof."""

    do: Literal["aws.prove_snapshot"] = "aws.prove_snapshot"
    snapshot: str = Field(min_length=1, description="identifier, of this region")
    database: str = Field(min_length=1, description="that this run restored from it")


# What a drill or a look only reads.
DrillLook = (
    ListArchive
    | ListClusters
    | ListFolders
    | ListServers
    | LookAtPilot
    | LookAtRestored
    | ProveImage
    | ProveIsolated
    | ProveSnapshot
)
