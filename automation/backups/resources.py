"""What is saved, when, to which stores, and how it is proven."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from automation.backups.durations import CalendarSpan
from automation.backups.guard_settings import LevelWord, Share
from automation.backups.rules import Tag
from automation.model.base import DurationS, Model
from automation.model.environment import Inventory
from automation.model.errors import ConfigError
from automation.model.recovery_points import Level
from automation.model.refusals import near
from automation.model.strategy import HostName, Name, Role, SizeBytes
from automation.model.terminals import DeviceLogin

_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"
AbsolutePath = Annotated[str, Field(pattern=r"^/\S.*$|^/$")]
WhenDue = Annotated[
    str,
    Field(
        pattern=rf"^(daily|((mon|tue|wed|thu|fri|sat|sun)(,(mon|tue|wed|thu|fri|sat|sun))*)) {_CLOCK}$",
        examples=["daily 01:00", "sun 01:00", "mon,thu 23:30"],
    ),
]


class Files(Model):
    """Files and folders of one host."""

    kind: Literal["files"] = Field(description="files and folders, by restic")
    host: HostName = Field(description="where they lie")
    paths: tuple[AbsolutePath, ...] = Field(min_length=1, description="what is saved")
    exclude: tuple[str, ...] = Field(default=(), description="patterns that are left out")
    must_exist: tuple[AbsolutePath, ...] = Field(
        min_length=1, description="files that show that every path is mounted; one missing is a failure"
    )


class Postgresql(Model):
    """A whole PostgreSQL cluster with its WAL, for any moment of a window."""

    kind: Literal["postgresql"] = Field(description="a whole cluster with its WAL, by pgBackRest")
    host: HostName = Field(description="where the primary is")
    cluster: str = Field(pattern=r"^\d+/[a-z0-9_-]+$", description="version/name, as Debian names clusters")


class PostgresqlDump(Model):
    """One small database, dumped to a file that is checked before it is saved."""

    kind: Literal["postgresql-dump"] = Field(description="one database, by pg_dump to a file")
    host: HostName = Field(description="where the primary is")
    cluster: str = Field(pattern=r"^\d+/[a-z0-9_-]+$", description="version/name, as Debian names clusters")
    database: str = Field(min_length=1, max_length=63, description="its name")


class DeviceConfig(Model):
    """The running configuration of network devices."""

    kind: Literal["device-config"] = Field(description="running configurations, read by SSH")
    devices: tuple[HostName, ...] = Field(default=(), description="devices by name")
    group: str = Field(default="", description="devices of a group of the inventory")
    vendor: Literal["frr", "cisco-ios", "junos"] = Field(description="whose prompts and commands")
    split_secrets: bool = Field(default=True, description="keep passwords and keys in a file of their own")
    login: DeviceLogin = Field(default=DeviceLogin(), description="who logs in to them")

    @model_validator(mode="after")
    def _names_some(self) -> "DeviceConfig":
        if bool(self.devices) == bool(self.group):
            raise ValueError("give devices or a group of the inventory, one of both")
        return self

    def names(self, inventory: Inventory) -> tuple[str, ...]:
        """Name the devices.

        Raises:
            ConfigError: the inventory has none of them.
        """
        found = self.devices or inventory.groups.get(self.group, ())
        if not found:
            raise ConfigError(
                f"group {self.group} of the inventory has no device; nothing was touched",
                hint=f"backups.yml, in the source: {near(self.group, tuple(inventory.groups))}",
            )
        return tuple(inventory.server(name).name for name in found)


class EbsSnapshots(Model):
    """All disks of some servers at AWS; those of one server as they were at one moment."""

    kind: Literal["ebs-snapshots"] = Field(description="all disks of servers at AWS, by EBS snapshots")
    servers: tuple[HostName, ...] = Field(
        min_length=1, max_length=20, description="one point is all of their disks; none else has them"
    )


class MachineImage(Model):
    """A server at AWS as an image, from which others like it are launched."""

    kind: Literal["machine-image"] = Field(description="a server at AWS, as an image (AMI)")
    server: HostName = Field(description="of which the image is made")
    reboot: bool = Field(default=False, description="stop it for it, so that its files are whole")


class RdsSnapshots(Model):
    """A database of AWS RDS, by manual snapshots, which stay when the instance goes."""

    kind: Literal["rds-snapshots"] = Field(description="a database of AWS RDS, by manual snapshots")
    database: str = Field(
        pattern=r"^[a-z](-?[a-z0-9])*$", max_length=63, description="its DB instance identifier"
    )


class VsphereSnapshots(Model):
    """Snapshots of one VM, to roll a change back with for two days; they are no backup."""

    kind: Literal["vsphere-snapshots"] = Field(description="a VM's snapshots to roll a change back")
    vm: HostName = Field(description="the VM")
    quiesce: bool = Field(default=True, description="have its tools write out files first")


CloudSource = EbsSnapshots | MachineImage | RdsSnapshots
Source = Annotated[
    Files
    | Postgresql
    | PostgresqlDump
    | DeviceConfig
    | EbsSnapshots
    | MachineImage
    | RdsSnapshots
    | VsphereSnapshots,
    Field(discriminator="kind"),
]


class Take(Model):
    """When a backup is taken; times are of the file's `tz`."""

    every: CalendarSpan | None = Field(default=None, description="again and again: 4 hours")
    at: WhenDue | None = Field(default=None, description="days and time: daily 01:00")
    full: WhenDue | None = Field(default=None, description="postgresql: all of it: sun 01:00")
    diff: WhenDue | None = Field(default=None, description="postgresql: what changed since: daily 01:00")
    wal: Literal["continuous"] | None = Field(default=None, description="postgresql: every change, at once")

    on_demand: bool = Field(default=False, description="vsphere-snapshots: when somebody asks for one")

    @model_validator(mode="after")
    def _is_due(self) -> "Take":
        if self.on_demand != (not any((self.every, self.at, self.full))):
            raise ValueError("is never due, or due and on_demand; give one of every, at, full and on_demand")
        if self.diff and not self.full:
            raise ValueError("diff needs a full backup before it; give full")
        return self


MOST_PARTS = 256  # restic tells the parts apart by the first byte of a pack's name
_PART = re.compile(r"1/([1-9][0-9]{0,2})")


def _parse_part(value: object) -> object:
    match = _PART.fullmatch(value.strip()) if isinstance(value, str) else None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_PARTS:
        return value
    if match is None or int(match[1]) > MOST_PARTS:
        raise ValueError(f"{str(value)[:40]!r} is no part; write for example 1/30, 1/{MOST_PARTS} at least")
    return int(match[1])


Part = Annotated[
    int,
    BeforeValidator(_parse_part),
    PlainSerializer(lambda parts: f"1/{parts}", return_type=str),
    WithJsonSchema({"type": "string", "pattern": rf"^{_PART.pattern}$", "examples": ["1/30"]}),
]


class Sample(Model):
    """Which files are restored and compared."""

    files: int = Field(default=200, ge=1, strict=True, description="so many at most")
    max_bytes: SizeBytes = Field(default=5 * 2**30, alias="bytes", description="so much at most: 5 GiB")
    newest: Share = Field(default=0.5, description="share of them that is newest: 50%")
    model_config = Model.model_config | {"populate_by_name": True}


class Pick(Model):
    """Which recovery point is looked at, and for a database which moment."""

    point: Literal["latest", "random", "oldest"] = Field(default="latest", description="which point")
    within: CalendarSpan | None = Field(default=None, description="of a random one: how old at most")
    moment: Literal["end", "random"] = Field(default="end", description="postgresql: to which moment")


class Assertion(Model):
    """What the application must show after the restore; one of the checks."""

    sql: str | None = Field(default=None, min_length=1, description="a query that gives one value")
    minimum: float | None = Field(default=None, description="sql: at least this")
    share_of_source: Share | None = Field(default=None, description="sql: of the source's value: 99.9%")
    not_older_s: DurationS | None = Field(
        default=None, alias="not_older_than", gt=0, description="sql: a time, so long before the target"
    )
    amcheck: Literal["all"] | None = Field(default=None, description="every index and heap is checked")
    file: AbsolutePath | None = Field(default=None, description="a file that must be there")
    parse: Literal["vendor"] | None = Field(default=None, description="the vendor's own checker reads it")

    @model_validator(mode="after")
    def _is_one(self) -> "Assertion":
        if sum(part is not None for part in (self.sql, self.amcheck, self.file, self.parse)) != 1:
            raise ValueError("give one of sql, amcheck, file, parse")
        judged = [part for part in (self.minimum, self.share_of_source, self.not_older_s) if part is not None]
        if len(judged) != (self.sql is not None):
            raise ValueError("a query needs one of minimum, share_of_source, not_older_than; others none")
        return self


class Verify(Model):
    """How far, how often, and on what a resource's points are proven."""

    level: LevelWord = Field(
        description="L1 structure, L2 bytes read, L3 restored, L4 the application opens it"
    )
    every: CalendarSpan = Field(description="how often: 1 week")
    part: Part | None = Field(default=None, description="L2: so much of the repository each time: 1/30")
    sample: Literal["all"] | Sample | None = Field(default=None, description="L3: which files; none: all")
    pick: tuple[Pick, ...] = Field(default=(), description="which points; none: the latest")
    asserts: tuple[Assertion, ...] = Field(
        default=(), alias="assert", description="L4: what the application must show"
    )
    by: Literal["verify", "drill"] = Field(
        default="verify", description="drill: a test failover proves it, and `backup.verify` lets it be"
    )

    @model_validator(mode="after")
    def _fits_its_level(self) -> "Verify":
        if self.level is Level.L5:
            raise ValueError("L5 is what a drill proves; write L1 to L4")
        if self.by == "drill":
            if self.level is not Level.L4 or self.asserts or self.pick or self.sample or self.part:
                raise ValueError("by: drill is for L4 alone, and the drill says how: leave all others out")
        elif self.level is Level.L4 and not self.asserts:
            raise ValueError("L4 needs assert: what the application must show")
        return self


class HoldRule(Model):
    """Points that a person keeps whatever the rules say."""

    tag: Tag = Field(description="points that bear it")
    owner: Role = Field(description="role that can release them")
    reason: str = Field(min_length=1, description="why they stay")
    until: date | None = Field(
        default=None,
        description="the last day: 2027-06-30; none: until it is released, which is its deletion here",
    )


class Keep(Model):
    """How long points stay, in every copy or in some of them otherwise."""

    profile: Name = Field(description="a profile of `retention`")
    copies: Mapping[Name, Name] = Field(default_factory=dict, description="store to another profile")
    pitr_window: CalendarSpan | None = Field(
        default=None, description="postgresql: every moment so far back: 35 days"
    )
    holds: tuple[HoldRule, ...] = Field(default=(), description="what a person keeps")
    never_drop_last_verified: LevelWord | None = Field(
        default=None, description="level of proof without which nothing of it is deleted; none: of `guards`"
    )


RuleWord = Literal["copies", "media", "offsite", "immutable"]


class Resource(Model):
    """One thing that is saved and rotated by itself, under its name, whatever its paths are."""

    service: Name | None = Field(default=None, description="the service of the catalog that it belongs to")
    source: Source = Field(description="what is saved, and from where")
    rpo_s: DurationS | None = Field(
        default=None, alias="rpo", gt=0, description="what may be lost; none: the service's: 4 h"
    )
    take: Take = Field(description="when")
    to: tuple[Name, ...] = Field(min_length=1, description="stores: the first takes it, others copy")
    keep: Keep = Field(description="how long")
    verify: tuple[Verify, ...] = Field(min_length=1, description="how it is proven")
    exempt: Mapping[RuleWord, Annotated[str, Field(min_length=10, max_length=200)]] = Field(
        default_factory=dict, description="words of `rule` that it does not keep, each with why"
    )

    @property
    def proven_to(self) -> Level:
        """The highest level at which it is ever proven."""
        return max(one.level for one in self.verify)
