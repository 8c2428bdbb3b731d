"""What adapters saw, for planners to decide on."""

from collections.abc import Mapping
from typing import Literal

from automation.model.base import Model


class PostgresqlCluster(Model):
    """Identity and role of one PostgreSQL cluster, read from itself."""

    host: str
    system_identifier: str
    timeline: int
    in_recovery: bool


class ObservedServer(Model):
    """One server as its provider sees it."""

    name: str
    power: Literal["on", "off"]
    autostart: bool
    network: Literal["connected", "blocked"]


class ObservedLab(Model):
    """A lab as the kernel and the file system show it."""

    running: bool
    missing_images: tuple[str, ...]
    missing_keys: tuple[str, ...]
    servers: Mapping[str, ObservedServer]
    failed_sites: tuple[str, ...] = ()
