"""The catalog: sites, services, their objectives, and how each is recovered."""

import re
from collections.abc import Mapping
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


Strategy = Annotated[PostgresqlStandby | Redeploy, Field(discriminator="kind")]


class Service(Model):
    """What people use, who owns it, how fast it must be back and what it stands on."""

    title: str
    owner: str
    tier: int = Field(ge=0, le=5)
    rto_s: DurationS = Field(alias="rto", gt=0)
    rpo_s: DurationS = Field(alias="rpo", ge=0)
    primary: str
    recovery: str
    depends_on: tuple[str, ...] = ()
    endpoints: Mapping[str, Endpoint] = Field(min_length=1)
    probes: Mapping[str, ServiceProbe] = Field(default_factory=dict)
    strategy: Strategy

    @model_validator(mode="after")
    def _hangs_together(self) -> "Service":
        if self.primary == self.recovery:
            raise ValueError("recovery site is the primary site: losing it loses both")
        for site in (self.primary, self.recovery):
            if site not in self.strategy.hosts:
                raise ValueError(f"strategy.hosts names no host at site {site}")
        for name, probe in self.probes.items():
            if probe.endpoint not in self.endpoints:
                raise ValueError(
                    f"probe {name} watches endpoint {probe.endpoint!r}, which the service does not have"
                )
        return self


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
