"""What a strategy is given to compile one service's steps."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from automation.model.actions import LookAtRecords, SwapAddress
from automation.model.catalog import AwsPilotLight, Catalog, Manual, Playbooks, Service, Vendor
from automation.model.environment import Environment, Inventory
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Mode, Step
from automation.model.replicas import Cloud
from automation.model.restorable import Restorable
from automation.model.secrets import SecretRef


class Accepted(NamedTuple):
    """What two people have agreed to bear in the failover of a service; empty means nothing."""

    unfenced: str = ""
    lag: str = ""
    roles: tuple[str, str] = ("dr-coordinator", "service-owner")


class Scope(NamedTuple):
    """A service to recover, and all that stands around it."""

    name: str
    service: Service
    catalog: Catalog
    inventory: Inventory
    environment: Environment
    clusters: Mapping[str, PostgresqlCluster]
    declared: str
    ready: tuple[str, ...]
    accepted: Accepted = Accepted()
    mode: Mode = "failover"
    restorables: Mapping[str, Restorable] = MappingProxyType({})
    secrets: Mapping[str, SecretRef] = MappingProxyType({})
    cloud: Cloud = Cloud()
    pause_s: float = 3600.0  # of a move: the longest that clients were told of

    @property
    def old_host(self) -> str:
        """The host that served at the lost site: of several, the first one."""
        return self.service.hosts_at(self.service.primary)[0]

    @property
    def new_host(self) -> str:
        """The host that will serve at the recovery site: of several, the first one."""
        return self.service.hosts_at(self.service.recovery)[0]

    def step_id(self, what: str) -> str:
        return f"{self.name}/{what.lower().replace('_', '-')}"

    def question(self, text: str) -> str:
        """What a person is asked; in a drill they are told that it is one."""
        return f"EXERCISE: {text}" if self.mode == "exercise" else text

    def names_answer(self) -> Step:
        """See that the recovery site's DNS server answers, before anything that cannot be taken back."""
        recovery = self.catalog.sites[self.service.recovery].dns_server
        names = tuple(endpoint.name for endpoint in self.service.endpoints.values())
        return Step(
            id=self.step_id("dns-answers"),
            service=self.name,
            run=LookAtRecords(names=names, servers=(recovery,), required=(recovery,)),
            why=f"a primary that clients cannot be led to helps nobody: {recovery} must answer first",
            needs=(self.declared,),
            timeout_s=10,
        )

    def swaps(self, needs: tuple[str, ...]) -> tuple[Step, ...]:
        """Move every endpoint's name to the recovery host, on every site's DNS server."""
        servers = tuple(dict.fromkeys(site.dns_server for site in self.catalog.sites.values()))
        recovery = self.catalog.sites[self.service.recovery].dns_server
        return tuple(
            Step(
                id=self.step_id(f"dns-{endpoint_id}"),
                service=self.name,
                run=SwapAddress(
                    name=endpoint.name,
                    old=self.inventory.server(self.old_host).address,
                    new=self.inventory.server(self.new_host).address,
                    servers=servers,
                    required=(recovery,),
                ),
                why=f"clients find {self.name} by {endpoint.name}",
                needs=needs,
                timeout_s=15,
            )
            for endpoint_id, endpoint in self.service.endpoints.items()
        )


def cutover_ids(name: str, service: Service) -> tuple[str, ...]:
    """Ids of the steps after which clients reach a service at its recovery site."""
    strategy = service.strategy
    if isinstance(strategy, Manual):
        return (f"{name}/sign-off",)
    if isinstance(strategy, Vendor):
        return (f"{name}/answers" if service.probes else f"{name}/sign-off",)
    if isinstance(strategy, Playbooks) and not service.endpoints:
        return (f"{name}/verify" if strategy.verify else f"{name}/recover",)
    if isinstance(strategy, AwsPilotLight):
        zones = [word for word, used in (("dns", strategy.city_dns), ("route53", strategy.zone)) if used]
        return tuple(f"{name}/{zone}-{endpoint}" for zone in zones for endpoint in service.endpoints)
    return tuple(f"{name}/dns-{endpoint_id}" for endpoint_id in service.endpoints)


def is_moved(service: Service) -> bool:
    """Whether steps of ours move a service; people or a vendor recover the others."""
    return not isinstance(service.strategy, Manual | Vendor)
