"""Actions on PostgreSQL and DNS: how services are moved."""

from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect


class AwaitStreaming(BaseAction):
    """Wait until the standby streams within a lag in bytes; `synchronous`: an RPO of zero demands it."""

    do: Literal["postgresql.await_streaming"] = "postgresql.await_streaming"
    effect: ClassVar[Effect] = "read"
    primary: str
    standby: str
    cluster: str
    expect_system_identifier: str
    max_lag_bytes: int
    synchronous: bool


class LookAtReplication(BaseAction):
    """See how far a primary has written and how far its standby has received and replayed."""

    do: Literal["postgresql.look_at_replication"] = "postgresql.look_at_replication"
    effect: ClassVar[Effect] = "read"
    primary: str
    standby: str
    cluster: str


class Promote(BaseAction):
    """Promote a standby, if it is the one expected; never two primaries of one timeline."""

    do: Literal["postgresql.promote"] = "postgresql.promote"
    effect: ClassVar[Effect] = "change"
    irreversible: ClassVar[bool] = True
    host: str
    cluster: str
    expect_system_identifier: str
    expect_timeline: int


class CloneStandby(BaseAction):
    """Make a host's cluster anew as standby of a primary; its old data directory is kept beside it."""

    do: Literal["postgresql.clone_standby"] = "postgresql.clone_standby"
    effect: ClassVar[Effect] = "destroy"
    host: str
    primary: str
    cluster: str
    expect_system_identifier: str = Field(description="of the primary; what is on the host may be anything")
    slot: str = Field(pattern=r"^[a-z0-9_]+$")
    user: str = Field(default="replicator", description="role; its password is in the host's passfile")
    max_rate_kib_s: int | None = Field(default=None, ge=32, le=1048576)
    keep_s: float = Field(
        default=30 * 86400.0, gt=0, description="how long nobody should remove the old data"
    )


class ListWrites(BaseAction):
    """List the references of all writes that a database holds."""

    do: Literal["postgresql.list_writes"] = "postgresql.list_writes"
    effect: ClassVar[Effect] = "read"
    host: str
    cluster: str
    database: str
    query: str
    artifact: str


class LookAtRecords(BaseAction):
    """Ask every authoritative server for the same names: addresses and time to live."""

    do: Literal["dns.look_at_records"] = "dns.look_at_records"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    names: tuple[str, ...]
    servers: tuple[str, ...]
    required: tuple[str, ...] = Field(default=(), description="their silence is a failure")
    moves: bool = Field(default=False, description="also when each name was last moved")


class SwapAddress(BaseAction):
    """Change a name's address on every reachable authoritative server, if it is the old one."""

    do: Literal["dns.swap_address"] = "dns.swap_address"
    effect: ClassVar[Effect] = "change"
    name: str
    old: str
    new: str
    servers: tuple[str, ...]
    required: tuple[str, ...] = Field(description="servers that must take the change for it to count")


class ReconcileServer(BaseAction):
    """Give an authoritative server every move of a name that it missed, as other servers tell it."""

    do: Literal["dns.reconcile_server"] = "dns.reconcile_server"
    effect: ClassVar[Effect] = "change"
    server: str = Field(description="host of the server that may have missed a move")
    sources: tuple[str, ...] = Field(min_length=1, description="hosts of those that tell it; all must answer")
