"""What stands ready at another site: replicated VMs, images, databases; seen for plans, kept as evidence."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import Model
from automation.model.servers import NetworkSpec, ProviderKind, ServerSpec, Source


class ReplicasSeen(Model):
    """Replicated VMs as the vCenter of a site shows their files."""

    kind: Literal["replicas-seen"] = "replicas-seen"
    site: str
    datastore: str
    replicated_at: Mapping[str, AwareDatetime] = Field(
        description="VM to when the newest of its files was last written, by the replicated copy"
    )
    missing: tuple[str, ...] = Field(default=(), description="VMs of which it shows no files")
    seen_at: AwareDatetime
    source: Source = "real"

    @property
    def oldest(self) -> datetime | None:
        """The moment that all of them reach; None when one is missing."""
        return None if self.missing else min(self.replicated_at.values(), default=None)


class ImageSeen(Model):
    """The machine image that instances would be launched from."""

    id: str
    name: str
    at: AwareDatetime = Field(description="when what it holds was as it is")
    proven_at: AwareDatetime | None = Field(default=None, description="none: no proof of it counts")


class DatabaseSeen(Model):
    """What a database would be made of in another region."""

    id: str = Field(description="of the replica, or of the snapshot")
    of: str = Field(description="the database that it is a copy of")
    at: AwareDatetime | None = Field(description="the moment up to which it holds all; none: not known")


class PilotSeen(Model):
    """What of a service stands ready in another region."""

    kind: Literal["pilot-seen"] = "pilot-seen"
    site: str
    image: ImageSeen | None = None
    replica: DatabaseSeen | None = Field(default=None, description="to promote")
    snapshot: DatabaseSeen | None = Field(default=None, description="the newest that is whole, to restore")
    standing: str = Field(default="", description="database that has the replica's name, and is none of it")
    seen_at: AwareDatetime
    source: Source = "real"

    @property
    def point_at(self) -> datetime | None:
        """The moment whose data would serve: that of its database, without one that of its image."""
        database = self.replica or self.snapshot
        if database is not None:
            return database.at
        return self.image.at if self.image else None


class Cloud(Model):
    """What a recovery plan must know of vCenters and regions, beside the inventory."""

    replicas: Mapping[str, ReplicasSeen] = Field(default_factory=dict, description="by service")
    pilots: Mapping[str, PilotSeen] = Field(default_factory=dict, description="by service")
    specs: Mapping[str, ServerSpec] = Field(default_factory=dict, description="server to how it is declared")
    networks: Mapping[str, NetworkSpec] = Field(default_factory=dict, description="by name")
    silent: tuple[str, ...] = Field(default=(), description="sites whose vCenter or region does not answer")
    instances: Mapping[str, str] = Field(default_factory=dict, description="server that is there, to its id")
    absent: tuple[str, ...] = Field(
        default=(), description="instances that should serve, and that a region which answers does not show"
    )


class DatabaseChange(Model):
    """What one step did to a managed database."""

    kind: Literal["database-change"] = "database-change"
    site: str
    database: str
    verb: Literal[
        "found",
        "promoted",
        "restored",
        "stopped",
        "blocked",
        "released",
        "deleted",
        "replicated",
        "saved",
        "renamed",
    ]
    of: str = Field(default="", description="the database it was a replica of, or the snapshot")
    point_at: AwareDatetime | None = Field(
        default=None, description="the moment whose data it serves, as far as the provider says"
    )
    available_at: AwareDatetime | None = Field(default=None, description="by the provider's own clock")
    source: Source = "real"


class NetworkProven(Model):
    """A network without a way out, as its provider reads it back."""

    kind: Literal["network-proven"] = "network-proven"
    provider: ProviderKind
    site: str
    name: str
    id: str
    seen: tuple[str, ...] = Field(description="routes, gateways, peers, rules or uplinks that there are")
    source: Source = "real"
