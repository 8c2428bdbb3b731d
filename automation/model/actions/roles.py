"""Actions that exchange the roles of a database pair in good order, and bring a fenced one home."""

from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect

SLOT = r"^[a-z0-9_]+$"


class Demote(BaseAction):
    """Stop a primary cleanly so that it can only come back as a standby of its own standby."""

    do: Literal["postgresql.demote"] = "postgresql.demote"
    effect: ClassVar[Effect] = "change"
    host: str
    standby: str = Field(description="host that streams from it now and becomes the primary")
    cluster: str
    expect_system_identifier: str
    expect_timeline: int
    slot: str = Field(pattern=SLOT, description="slot that it will read from at the new primary")
    user: str = "replicator"


class RestorePrimary(BaseAction):
    """Take a demotion back: the same primary on the same timeline, if its standby was not promoted."""

    do: Literal["postgresql.restore_primary"] = "postgresql.restore_primary"
    effect: ClassVar[Effect] = "change"
    host: str
    standby: str
    cluster: str
    expect_system_identifier: str
    expect_timeline: int


class AwaitReplayed(BaseAction):
    """Wait until a standby has replayed the last record that its stopped, demoted primary wrote."""

    do: Literal["postgresql.await_replayed"] = "postgresql.await_replayed"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    primary: str = Field(description="stopped, demoted")
    standby: str
    cluster: str
    expect_system_identifier: str
    expect_timeline: int


class ProveStandby(BaseAction):
    """See, before its network fence is lifted, that an old primary can serve as one no more."""

    do: Literal["postgresql.prove_standby"] = "postgresql.prove_standby"
    effect: ClassVar[Effect] = "read"
    guards: ClassVar[bool] = True
    host: str
    cluster: str
    expect_system_identifier: str
    primary: str | None = Field(
        default=None, description="the one host that it may follow; without it, it must be held down"
    )


class MakeSlot(BaseAction):
    """Keep WAL at a primary for the standby that will come."""

    do: Literal["postgresql.make_slot"] = "postgresql.make_slot"
    effect: ClassVar[Effect] = "change"
    host: str
    cluster: str
    slot: str = Field(pattern=SLOT)


class DropSlot(BaseAction):
    """Let go of WAL that no standby reads any more; a slot in use stays, unless its reader is ended first."""

    do: Literal["postgresql.drop_slot"] = "postgresql.drop_slot"
    effect: ClassVar[Effect] = "change"
    host: str
    cluster: str
    slot: str = Field(pattern=SLOT)
    end_reader: bool = Field(default=False, description="end who reads it; it is an error if the slot stays")


class Follow(BaseAction):
    """Start a cluster that can only be a standby, as the standby of a primary."""

    do: Literal["postgresql.follow"] = "postgresql.follow"
    effect: ClassVar[Effect] = "change"
    host: str
    primary: str
    cluster: str
    expect_system_identifier: str
    slot: str = Field(pattern=SLOT, description="at the primary")
    user: str = "replicator"


class KeepSynchronous(BaseAction):
    """Let commits of a new primary wait for its standby, as the configuration or the old primary says."""

    do: Literal["postgresql.keep_synchronous"] = "postgresql.keep_synchronous"
    effect: ClassVar[Effect] = "change"
    host: str
    standby: str
    cluster: str
    synchronous: bool = Field(description="false: only where the host's own configuration names the standby")


class HoldDown(BaseAction):
    """Behind its network fence: stop an old primary and make it unable to serve as one again."""

    do: Literal["postgresql.hold_down"] = "postgresql.hold_down"
    effect: ClassVar[Effect] = "change"
    host: str
    cluster: str
    expect_system_identifier: str


class KeepData(BaseAction):
    """Keep a copy of the data directory of a cluster that is held down; nothing removes it by itself."""

    do: Literal["postgresql.keep_data"] = "postgresql.keep_data"
    effect: ClassVar[Effect] = "change"
    host: str
    cluster: str
    keep_s: float = Field(gt=0, description="how long nobody should remove it")


class ExportWrites(BaseAction):
    """List the writes that only an old primary holds, and export their rows; changes no row anywhere."""

    do: Literal["postgresql.export_writes"] = "postgresql.export_writes"
    effect: ClassVar[Effect] = "read"
    service: str
    host: str = Field(description="the old primary, held down behind its network fence")
    primary: str
    cluster: str
    database: str
    query: str = Field(description="gives the reference of every write")
    rows: str | None = Field(description="gives whole rows; :refs stands for the references wanted")
    references: str = Field(description="artifact: one reference a line")
    export: str = Field(description="artifact: the rows, CSV with a header")


class Rewind(BaseAction):
    """Undo, in an old primary's data, what the new primary never had (pg_rewind); a kept copy must exist."""

    do: Literal["postgresql.rewind"] = "postgresql.rewind"
    effect: ClassVar[Effect] = "destroy"
    host: str
    primary: str
    cluster: str
    expect_system_identifier: str
    slot: str = Field(pattern=SLOT, description="at the primary")
    user: str = Field(default="replicator", description="role; its password is in the host's passfile")


class StopUnit(BaseAction):
    """Stop a systemd unit and see it stopped; `disable`: it does not come back with the host either."""

    do: Literal["systemd.stop_unit"] = "systemd.stop_unit"
    effect: ClassVar[Effect] = "change"
    host: str
    unit: str
    disable: bool = False


class StartFenced(BaseAction):
    """Power a host on behind its network fence, which stays in force; its console must answer."""

    do: Literal["nspawn.start_fenced"] = "nspawn.start_fenced"
    effect: ClassVar[Effect] = "change"
    host: str


class ReleaseServer(BaseAction):
    """End what is left of a host's fence: it comes back with the power again."""

    do: Literal["nspawn.release_server"] = "nspawn.release_server"
    effect: ClassVar[Effect] = "change"
    host: str
