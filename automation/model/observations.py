"""What adapters saw, for planners to decide on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field

from automation.model.base import Model
from automation.model.servers import Size


class PostgresqlCluster(Model):
    """Identity and role of one PostgreSQL cluster, read from itself."""

    host: str
    system_identifier: str
    timeline: int
    in_recovery: bool


class PrimaryPosition(Model):
    """How far a primary had written when it was seen; positions are bytes from the start of its WAL."""

    host: str
    system_identifier: str
    timeline: int
    in_recovery: bool
    written_bytes: int
    at: datetime


class Archiving(Model):
    """How the WAL of a primary goes to its archive, as it says itself; one that waits is not in it yet."""

    host: str
    mode: str
    timeout_s: float = Field(description="After this a segment goes that is not full; 0: never.")
    waiting: int
    waits_s: float | None = Field(description="How long the oldest one that waits has waited.")
    last_archived_at: datetime | None
    last_failed_at: datetime | None


class StandbyPosition(Model):
    """How far a standby has come by itself, whether its primary lives or not."""

    host: str
    system_identifier: str
    timeline: int
    in_recovery: bool
    streaming: bool
    received_bytes: int = Field(description="on its disk or replayed, whichever is more")
    replayed_bytes: int
    replayed_at: datetime | None = Field(description="commit time of the last transaction it replayed")
    at: datetime


class ObservedServer(Model):
    """One server as its provider sees it."""

    name: str
    power: Literal["on", "off"]
    autostart: bool
    network: Literal["connected", "blocked"]
    site: str = Field(default="", description="where it was made; empty: not told")
    address: str = ""
    image: str = Field(default="", description="name of what it was made of")
    size: Size = Field(default=Size(), description="what it may use; of one that runs, as the kernel has it")


class ObservedLab(Model):
    """A lab as the kernel and the file system show it."""

    running: bool
    simulators: tuple[str, ...] = Field(default=(), description="those that run")
    missing_images: tuple[str, ...]
    missing_keys: tuple[str, ...]
    servers: Mapping[str, ObservedServer]
    failed_sites: tuple[str, ...] = ()
    cut_sites: tuple[str, ...] = Field(default=(), description="their hosts cannot be reached from here")
    dark_sites: tuple[str, ...] = Field(default=(), description="their management does not answer")
