"""Sites and services: what people write about each of them, and what a service stands on."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from automation.model.base import DurationS, Model
from automation.model.strategy import (
    AwsPilotLight,
    HostName,
    Name,
    Playbooks,
    PostgresqlStandby,
    Redeploy,
    RestoreFromBackup,
    Role,
    Strategy,
    VmReplica,
)

DnsName = Annotated[str, Field(pattern=r"^[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9])?$")]
Control = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9.-]*:[A-Za-z0-9][A-Za-z0-9.()-]*$")]


class Site(Model):
    """A place that fails as one."""

    title: str = Field(min_length=1, description="what people call it")
    dns_server: HostName = Field(description="host of the site's authoritative DNS server")


class Endpoint(Model):
    """Where clients reach a service: a DNS name that failover moves, and a port."""

    name: DnsName = Field(description="DNS name in lower case, one service's own: pay.city.example")
    port: int = Field(ge=1, le=65535, strict=True, description="TCP port")


class ServiceProbe(Model):
    """What the witness does to see the service as a client does."""

    kind: Literal["http", "http-write", "postgresql", "tcp"] = Field(description="what the witness does")
    endpoint: str = Field(description="the endpoint of this service that it looks at")
    path: str = Field(default="/", pattern=r"^/\S*$", description="http: what it asks for")
    expect_status: int = Field(default=200, ge=100, le=599, strict=True, description="http: the good answer")
    stored_in: str | None = Field(default=None, description="http-write: the service that keeps the writes")
    database: str | None = Field(default=None, description="http-write: the database that keeps the writes")
    query: str | None = Field(default=None, description="http-write: gives the reference of every kept write")
    rows: str | None = Field(
        default=None,
        description="http-write: gives whole rows for export; :refs stands for an array of their references",
    )


class Contact(Model):
    """Whom to call, by role and by where the number stands; a number itself may be given."""

    role: Role = Field(description="role, not a person: people change")
    reach: str = Field(min_length=1, description="telephone, radio channel, or the page of the contact list")


class Service(Model):
    """What people use, who owns it, how fast it must be back and what it stands on."""

    title: str = Field(min_length=1, description="what people call it")
    owner: Role = Field(description="role that answers for it: finance-systems")
    tier: int = Field(ge=0, le=5, strict=True, description="0 is recovered first, 5 last")
    rto_s: DurationS = Field(alias="rto", gt=0, description="recovery time objective: 15 min, 4 h")
    rpo_s: DurationS = Field(alias="rpo", ge=0, description="recovery point objective: 0 s, 5 min")
    mtd_s: DurationS | None = Field(
        default=None, alias="mtd", gt=0, description="maximum tolerable downtime; RTO and WRT fit into it"
    )
    wrt_s: DurationS = Field(
        default=0.0, alias="wrt", ge=0, description="work recovery time after it is up: 2 h"
    )
    primary: Name = Field(description="the site where it runs")
    recovery: Name = Field(
        description="the site where it is recovered; with strategy vendor, perhaps the same"
    )
    depends_on: tuple[Name, ...] = Field(default=(), description="services that must be there before it")
    stands_on: Mapping[Name, tuple[HostName, ...]] = Field(
        default_factory=dict, description="site to the hosts it stands on, beside those of its strategy"
    )
    contacts: tuple[Contact, ...] = Field(default=(), description="whom to call, in this order")
    controls: tuple[Control, ...] = Field(
        default=(), description="what a drill is evidence for, FRAMEWORK:ID: NIST-800-53:CP-4(1)"
    )
    endpoints: Mapping[Name, Endpoint] = Field(
        default_factory=dict, description="where clients reach it, by a name of your own"
    )
    probes: Mapping[Name, ServiceProbe] = Field(
        default_factory=dict, description="how the witness sees it, by a name of your own"
    )
    strategy: Strategy = Field(description="how it is recovered")

    def hosts_at(self, site: str) -> tuple[str, ...]:
        """Every host that the service stands on at a site, those of its strategy first."""
        hosts: tuple[str, ...] = ()
        if isinstance(self.strategy, PostgresqlStandby | RestoreFromBackup | Redeploy | VmReplica):
            hosts = (self.strategy.hosts[site],) if site in self.strategy.hosts else ()
        elif isinstance(self.strategy, Playbooks | AwsPilotLight):
            hosts = self.strategy.hosts.get(site, ())
        return tuple(dict.fromkeys((*hosts, *self.stands_on.get(site, ()))))

    @property
    def city_names(self) -> tuple[str, ...]:
        """Its names that the city's own DNS servers hold: none where Route 53 alone has them."""
        if isinstance(self.strategy, AwsPilotLight) and not self.strategy.city_dns:
            return ()
        return tuple(endpoint.name for endpoint in self.endpoints.values())
