"""How a service is recovered: one model a strategy, with its parameters."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from automation.model.base import DurationS, Model

_SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def parse_size_bytes(value: object) -> object:
    """Turn `16 MiB` into bytes; a number is taken as bytes already."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d{1,15})\s*(B|KiB|MiB|GiB|TiB)", str(value).strip())
    if match is None:
        raise ValueError(f"{str(value)[:40]!r} is not a size; write for example 512 KiB, 16 MiB or 1 GiB")
    return int(match[1]) * _SIZES[match[2]]


SizeBytes = Annotated[
    int,
    BeforeValidator(parse_size_bytes),
    Field(ge=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*\d{1,15}\s*(B|KiB|MiB|GiB|TiB)\s*$"},
                {"type": "integer", "minimum": 0},
            ],
            "examples": ["512 KiB", "16 MiB", "1 GiB"],
        },
        mode="validation",
    ),
]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Role = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$")]


class PostgresqlStandby(Model):
    """Promote the streaming standby of the recovery site."""

    kind: Literal["postgresql-standby"] = Field(description="promotes a streaming standby")
    cluster: str = Field(pattern=r"^\d+/[a-z0-9_-]+$", description="version/name, as Debian names clusters")
    hosts: Mapping[Name, HostName] = Field(description="site to host")
    max_lag_bytes: SizeBytes = Field(
        alias="max_lag", description="the standby may lack at most this: 512 KiB, 16 MiB, 1 GiB"
    )


class Redeploy(Model):
    """Start the stateless service that is installed at the recovery site."""

    kind: Literal["redeploy"] = Field(description="starts a service that keeps no data of its own")
    unit: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9@_.:-]*$", description="systemd unit: web.service")
    hosts: Mapping[Name, HostName] = Field(description="site to host")


class Playbooks(Model):
    """A city's own playbooks, one for each verb; each is run with `mainstay_service`, `_site` and `_mode`."""

    kind: Literal["playbooks"] = Field(description="runs a city's own playbooks")
    hosts: Mapping[Name, tuple[HostName, ...]] = Field(description="site to the hosts the playbooks act on")
    recover: str = Field(min_length=1, description="makes the service run at the recovery site")
    fence: str | None = Field(default=None, description="makes the primary unable to serve; must fail if not")
    verify: str | None = Field(default=None, description="fails unless the service is well; changes nothing")
    fail_back: str | None = Field(default=None, description="brings the service home")


class ManualStep(Model):
    """One line of a checklist that people work through."""

    do: str = Field(min_length=1, description="what to do, in the words of those who do it")
    expect: str = Field(default="", description="what they see when it is done")
    takes_s: DurationS = Field(
        default=300.0, alias="takes", gt=0, description="how long it usually takes: 5 min"
    )


class Manual(Model):
    """People recover it by a checklist; every line is timed and signed off."""

    kind: Literal["manual"] = Field(description="people work through a checklist")
    checklist: tuple[ManualStep, ...] = Field(min_length=1, description="what people do, line by line")
    sign_off: Role = Field(description="role that says it is done")


class Vendor(Model):
    """Hosted by another, or at one site alone: nothing of ours recovers it, and somebody accepts that."""

    kind: Literal["vendor"] = Field(description="nothing of ours recovers it; somebody accepts the risk")
    vendor: str = Field(min_length=1, description="who hosts or repairs it")
    accepted_risk: str = Field(min_length=10, description="what happens when it is lost, in a sentence")
    accepted_by: Role = Field(description="role that bears it")
    review_by: date = Field(description="the day on which the acceptance ends: 2027-06-30")


class RestoreFromBackup(Model):
    """Restore the database at the recovery site, from a copy that does not stand where it is lost."""

    kind: Literal["restore-from-backup"] = Field(description="restores a database from its backup")
    resource: Name = Field(description="resource of backups.yml, of kind postgresql")
    store: Name = Field(description="the copy that is restored from; not at the primary site")
    cluster: str = Field(pattern=r"^\d+/[a-z0-9_-]+$", description="version/name, as Debian names clusters")
    hosts: Mapping[Name, HostName] = Field(description="site to host")
    configure: str = Field(
        min_length=1, description="playbook that lets clients in again and archives, once it is restored"
    )


class VmReplica(Model):
    """Register replicated VMs at the recovery vCenter and power them on in order."""

    kind: Literal["vm-replica"] = Field(description="powers on replicated VMs at the other vCenter")
    vms: tuple[Annotated[tuple[HostName, ...], Field(min_length=1)], ...] = Field(
        min_length=1, description="VMs by boot group: each group waits for the one before it"
    )
    hosts: Mapping[Name, HostName] = Field(description="site to the host that clients reach there")
    datastore: str = Field(min_length=1, description="replicated datastore, as both vCenters name it")
    networks: Mapping[str, str] = Field(
        min_length=1, description="network at the primary site to network at the recovery site"
    )
    test_network: str = Field(min_length=1, description="isolated port group for test-failover")
    max_lag_s: DurationS = Field(alias="max_lag", gt=0, description="the replica may be at most so old")

    @property
    def all_vms(self) -> tuple[str, ...]:
        """Every VM, in the order in which they are powered on."""
        return tuple(vm for group in self.vms for vm in group)


class AwsPilotLight(Model):
    """Launch servers from images in the recovery region, promote or restore the database, move the name."""

    kind: Literal["aws-pilot-light"] = Field(description="launches the service in another region")
    hosts: Mapping[Name, tuple[HostName, ...]] = Field(description="site to the instances that serve there")
    images: Name = Field(description="resource of backups.yml whose images are launched")
    database: Mapping[Name, str] = Field(
        default_factory=dict, description="site to the RDS instance there: primary, and its replica"
    )
    zone: str = Field(default="", description="id of the Route 53 zone that its names are in; empty: none")
    city_dns: bool = Field(default=True, description="its names are in the city's own DNS")
    test_network: Name = Field(description="isolated network of networks.yml for test-failover")
    scale: int = Field(default=1, ge=1, description="instances at its declared size")
    max_lag_s: DurationS = Field(alias="max_lag", gt=0, description="data may be at most so old")

    def database_at(self, site: str) -> str:
        """Name its RDS instance at a site; where none is declared, one is made under the other's name."""
        return self.database.get(site) or next(iter(self.database.values()), "")


Strategy = Annotated[
    PostgresqlStandby
    | RestoreFromBackup
    | Redeploy
    | VmReplica
    | AwsPilotLight
    | Playbooks
    | Manual
    | Vendor,
    Field(discriminator="kind"),
]
