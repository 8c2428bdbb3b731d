"""The catalog: sites, services, their objectives, and how each is recovered."""

import re
from collections.abc import Mapping
from datetime import date
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from automation.model.base import DurationS, Model
from automation.model.loading import load_model

_SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def parse_size_bytes(value: object) -> object:
    """Turn `16 MiB` into bytes; a number is taken as bytes already."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB|GiB)", value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size; write for example 512 KiB, 16 MiB or 1 GiB")
    return int(match[1]) * _SIZES[match[2]]


SizeBytes = Annotated[int, BeforeValidator(parse_size_bytes)]


class Site(Model):
    """A place that fails as one."""

    title: str
    dns_server: str = Field(description="host of the site's authoritative DNS server")


class Endpoint(Model):
    """Where clients reach a service: a DNS name that failover moves, and a port."""

    name: str
    port: int = Field(ge=1, le=65535)


class ServiceProbe(Model):
    """What the witness does to see the service as a client does."""

    kind: Literal["http", "http-write", "postgresql", "tcp"]
    endpoint: str
    path: str = "/"
    expect_status: int = 200
    stored_in: str | None = Field(default=None, description="http-write: the service that keeps the writes")
    database: str | None = None
    query: str | None = Field(default=None, description="http-write: gives the reference of every kept write")

    @model_validator(mode="after")
    def _writes_can_be_counted(self) -> "ServiceProbe":
        given = [self.stored_in is not None, self.database is not None, self.query is not None]
        if self.kind == "http-write" and not all(given):
            raise ValueError(
                "an http-write probe needs stored_in, database and query, so that writes can be counted"
            )
        if self.kind != "http-write" and any(given):
            raise ValueError(f"stored_in, database and query are for http-write probes, not {self.kind}")
        return self


class PostgresqlStandby(Model):
    """Promote the streaming standby of the recovery site."""

    kind: Literal["postgresql-standby"]
    cluster: str = Field(pattern=r"^\d+/[a-z0-9_-]+$", description="version/name, as Debian names clusters")
    hosts: Mapping[str, str] = Field(description="site to host")
    max_lag_bytes: SizeBytes = Field(alias="max_lag")


class Redeploy(Model):
    """Start the stateless service that is installed at the recovery site."""

    kind: Literal["redeploy"]
    unit: str
    hosts: Mapping[str, str] = Field(description="site to host")


class Playbooks(Model):
    """A city's own playbooks, one for each verb; each is run with `mainstay_service`, `_site` and `_mode`."""

    kind: Literal["playbooks"]
    hosts: Mapping[str, tuple[str, ...]] = Field(description="site to the hosts the playbooks act on")
    recover: str = Field(description="makes the service run at the recovery site")
    fence: str | None = Field(default=None, description="makes the primary unable to serve; must fail if not")
    verify: str | None = Field(default=None, description="fails unless the service is well; changes nothing")
    fail_back: str | None = Field(default=None, description="brings the service home")


class ManualStep(Model):
    """One line of a checklist that people work through."""

    do: str = Field(description="what to do, in the words of those who do it")
    expect: str = Field(default="", description="what they see when it is done")
    takes_s: DurationS = Field(default=300.0, alias="takes", gt=0, description="how long it usually takes")


class Manual(Model):
    """People recover it by a checklist; every line is timed and signed off."""

    kind: Literal["manual"]
    checklist: tuple[ManualStep, ...] = Field(min_length=1)
    sign_off: str = Field(description="role that says it is done")


class Vendor(Model):
    """Hosted by another, or at one site alone: nothing of ours recovers it, and somebody accepts that."""

    kind: Literal["vendor"]
    vendor: str
    accepted_risk: str = Field(min_length=10, description="what happens when it is lost, in a sentence")
    accepted_by: str = Field(description="role that bears it")
    review_by: date = Field(description="the day on which the acceptance ends")


Strategy = Annotated[
    PostgresqlStandby | Redeploy | Playbooks | Manual | Vendor, Field(discriminator="kind")
]


class Contact(Model):
    """Whom to call, by role and by where the number stands; a number itself may be given."""

    role: str
    reach: str = Field(description="telephone, radio channel, or the page of the contact list")


class Service(Model):
    """What people use, who owns it, how fast it must be back and what it stands on."""

    title: str
    owner: str
    tier: int = Field(ge=0, le=5)
    rto_s: DurationS = Field(alias="rto", gt=0)
    rpo_s: DurationS = Field(alias="rpo", ge=0)
    mtd_s: DurationS | None = Field(default=None, alias="mtd", gt=0, description="longest outage survived")
    wrt_s: DurationS = Field(default=0.0, alias="wrt", ge=0, description="work recovery time after it is up")
    primary: str
    recovery: str
    depends_on: tuple[str, ...] = ()
    stands_on: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, description="site to the hosts it stands on, beside those of its strategy"
    )
    contacts: tuple[Contact, ...] = ()
    controls: tuple[str, ...] = Field(default=(), description="what a drill is evidence for: NIST-800-53:CP-4")
    endpoints: Mapping[str, Endpoint] = Field(default_factory=dict)
    probes: Mapping[str, ServiceProbe] = Field(default_factory=dict)
    strategy: Strategy

    @model_validator(mode="after")
    def _hangs_together(self) -> "Service":
        if self.primary == self.recovery and not isinstance(self.strategy, Vendor):
            raise ValueError("recovery site is the primary site: losing it loses both")
        if isinstance(self.strategy, PostgresqlStandby | Redeploy | Playbooks):
            for site in (self.primary, self.recovery):
                if site not in self.strategy.hosts:
                    raise ValueError(f"strategy.hosts names no host at site {site}")
        if isinstance(self.strategy, PostgresqlStandby | Redeploy) and not self.endpoints:
            raise ValueError("needs endpoints: a failover moves their names")
        for name, probe in self.probes.items():
            if probe.endpoint not in self.endpoints:
                raise ValueError(
                    f"probe {name} watches endpoint {probe.endpoint!r}, which the service does not have"
                )
        return self

    def hosts_at(self, site: str) -> tuple[str, ...]:
        """Every host that the service stands on at a site, those of its strategy first."""
        hosts: tuple[str, ...] = ()
        if isinstance(self.strategy, PostgresqlStandby | Redeploy):
            hosts = (self.strategy.hosts[site],) if site in self.strategy.hosts else ()
        elif isinstance(self.strategy, Playbooks):
            hosts = self.strategy.hosts.get(site, ())
        return tuple(dict.fromkeys((*hosts, *self.stands_on.get(site, ()))))


class Catalog(Model):
    """`services.yml`: every site and service of an environment."""

    sites: Mapping[str, Site]
    services: Mapping[str, Service]

    @model_validator(mode="after")
    def _hangs_together(self) -> "Catalog":
        for name, service in self.services.items():
            for site in (service.primary, service.recovery):
                if site not in self.sites:
                    raise ValueError(f"service {name} stands at site {site!r}, which is not declared")
            for other in (
                *service.depends_on,
                *(p.stored_in for p in service.probes.values() if p.stored_in),
            ):
                if other not in self.services:
                    raise ValueError(f"service {name} names service {other!r}, which is not declared")
        try:
            TopologicalSorter({name: service.depends_on for name, service in self.services.items()}).prepare()
        except CycleError as exc:
            raise ValueError(f"services depend on each other: {' -> '.join(exc.args[1])}") from None
        return self


def load_catalog(path: Path) -> Catalog:
    """Read `services.yml`.

    Raises:
        ConfigError: every fault, with file, line and key.
    """
    return load_model(path, Catalog)
