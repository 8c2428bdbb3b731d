"""Actions that save PostgreSQL, prove what was saved, and bring it back."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.base import Model

CLUSTER = r"^\d+/[a-z0-9_-]+$"
RESTORED = r"^\d+/restored_[a-z0-9_]+$"  # clusters that a restore makes; only such a one is ever removed
# On a host, one file for every cluster that was made by a restore or a load of ours: 15-restored_x.
RESTORED_MARKERS = "/var/lib/mainstay/restored"


class Stanza(Model):
    """One repository of pgBackRest, as the host of the action knows it."""

    store: str = Field(description="its name in backups.yml")
    stanza: str
    repo: int = Field(ge=1, le=256)


class Assertion(Model):
    """A query and what its one value must be, or that every index and heap is checked."""

    sql: str | None = None
    database: str = Field(default="", description="where it is asked; empty: the first that is no template")
    minimum: float | None = None
    share_of_source: float | None = None
    not_older_s: float | None = None
    amcheck: bool = False


class TakeBackup(BaseAction):
    """Take a physical backup of a cluster into one repository, with the WAL that makes it whole."""

    do: Literal["pgbackrest.take"] = "pgbackrest.take"
    effect: ClassVar[Effect] = "change"
    locks: ClassVar[bool] = False
    host: str = Field(
        description="keeper of the repository: pgBackRest takes a backup there and nowhere else"
    )
    resource: str
    primary: str = Field(description="host of the primary now")
    cluster: str = Field(pattern=CLUSTER)
    to: Stanza
    type: Literal["full", "diff", "incr"]


class CheckStanza(BaseAction):
    """L1: the repository's list, and that no WAL is missing; L2: every file is read and compared."""

    do: Literal["pgbackrest.check"] = "pgbackrest.check"
    effect: ClassVar[Effect] = "read"
    host: str = Field(description="keeper of the repository")
    of: Stanza
    bytes_read: bool = Field(description="L2")
    pitr_since: datetime | None = Field(
        default=None, description="every moment since then must be reachable; none: since the oldest backup"
    )
    simulated: bool = Field(default=False, description="a simulator answers as the store")


class ExpireBackups(BaseAction):
    """Delete exactly these backups and what cannot live without them, then list again and compare."""

    do: Literal["pgbackrest.expire"] = "pgbackrest.expire"
    effect: ClassVar[Effect] = "destroy"
    host: str = Field(description="keeper of the repository")
    resource: str
    of: Stanza
    points: tuple[str, ...] = Field(min_length=1)
    stay: tuple[str, ...] = Field(description="labels that must be there after it")
    pitr_since: datetime | None = Field(
        default=None,
        description="every moment since then stays reachable, of older backups their own alone; none: all",
    )


class RestoreCluster(BaseAction):
    """Restore a cluster under a name of its own: no archiving, no slots, nothing sent anywhere.

    The cluster listens on its own socket alone, unless `listen` gives addresses. It is recovered to `until`,
    and opened for writing there.
    """

    do: Literal["pgbackrest.restore"] = "pgbackrest.restore"
    effect: ClassVar[Effect] = "change"
    host: str
    resource: str
    of: Stanza
    cluster: str = Field(pattern=CLUSTER, description="the one to make; never one that is there")
    point: str | None = Field(default=None, description="label of the backup to begin with; none: what fits")
    until: datetime | None = Field(default=None, description="moment to recover to; none: the end of the WAL")
    port: int = Field(default=5433, ge=1024, le=65535)
    listen: str = Field(default="", description="addresses; empty: none")


class ExamineCluster(BaseAction):
    """L4: see that a restored cluster is whole, by pg_amcheck and by queries."""

    do: Literal["postgresql.examine"] = "postgresql.examine"
    effect: ClassVar[Effect] = "read"
    host: str
    resource: str
    store: str
    point: str
    cluster: str = Field(pattern=CLUSTER)
    until: datetime | None = None
    assertions: tuple[Assertion, ...] = Field(min_length=1)
    source: str | None = Field(default=None, description="host of the primary, for what is compared with it")
    source_cluster: str | None = None
    simulated: bool = Field(default=False, description="a simulator answers as the store")


class RemoveCluster(BaseAction):
    """Remove a cluster that was made by a restore of ours, and nothing else."""

    do: Literal["postgresql.remove_restored"] = "postgresql.remove_restored"
    effect: ClassVar[Effect] = "destroy"
    host: str
    cluster: str = Field(pattern=RESTORED)


class DumpDatabase(BaseAction):
    """Dump one database to a file, whole or not at all, and read the file once to see that it is whole."""

    do: Literal["postgresql.dump"] = "postgresql.dump"
    effect: ClassVar[Effect] = "change"
    locks: ClassVar[bool] = False
    host: str
    cluster: str = Field(pattern=CLUSTER)
    database: str
    file: str = Field(pattern=r"^/", description="custom format; its folder is of root and postgres alone")


class LoadDump(BaseAction):
    """Load a dump into a fresh cluster of its own, stopping at the first error."""

    do: Literal["postgresql.load_dump"] = "postgresql.load_dump"
    effect: ClassVar[Effect] = "change"
    host: str
    file: str = Field(pattern=r"^/")
    database: str
    resource: str = Field(
        default="", description="of a recovery point that the dump is of, with store and point"
    )
    store: str = ""
    point: str = ""
    cluster: str = Field(pattern=CLUSTER, description="the one to make; never one that is there")
    port: int = Field(default=5433, ge=1024, le=65535)
