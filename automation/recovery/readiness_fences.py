"""Readiness of the fences at vCenters and regions: do they answer, are the machines there, may we act? Pure.

Judged by what a failover would stop at: a provider that is silent, a power that may not be cut, a machine
that lost its mark. One that is not there a failover takes for off; a service of which none is, is amiss.
"""

from collections.abc import Iterator, Mapping

from automation.model.base import Model
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.environment import Inventory
from automation.model.servers import FoundServer, Source
from automation.recovery.readiness_findings import Finding, amiss, well


class FencesSeen(Model):
    """What a provider showed at the site that a failover would fence."""

    site: str
    silent: str = ""
    servers: tuple[FoundServer, ...] = ()
    denied: Mapping[str, str] = {}
    source: Source = "real"


def fenced_machines(service: Service) -> tuple[str, ...]:
    """Name the VMs or instances that a failover of a service would hold off; none for another strategy."""
    strategy = service.strategy
    if isinstance(strategy, VmReplica):
        return strategy.all_vms
    return strategy.hosts[service.primary] if isinstance(strategy, AwsPilotLight) else ()


def judge_fences(
    services: Mapping[str, Service], inventory: Inventory, seen: Mapping[str, FencesSeen], *, env: str
) -> Iterator[Finding]:
    """Judge the fences of every service that stands on VMs or instances.

    Args:
        seen: what was seen, by site; a site that nobody looked at gives no finding.
    """
    for name, service in services.items():
        machines = fenced_machines(service)
        if machines and service.primary in seen:
            addresses = {one: _address_of(inventory, one) for one in machines}
            yield from _judge(name, addresses, seen[service.primary], env)


def _judge(name: str, machines: Mapping[str, str], seen: FencesSeen, env: str) -> Iterator[Finding]:
    if seen.silent:
        act = "bring the site's management back: without it a failover stops before promotion"
        yield amiss("fence", name, f"{seen.site} does not answer: {seen.silent}", act)
        return
    there = {one.name for one in seen.servers if one.owner == env} & machines.keys()
    faults = [*_denied(seen, env), *_unmarked(machines, there, seen, env)]
    if not there and not faults:
        said = f"{seen.site} has none of {', '.join(machines)}"
        faults = [(said, f"see where {name} runs: ./inv dr.status --env {env}")]
    yield from (amiss("fence", name, *fault) for fault in faults)
    if not faults:
        yield well("fence", name, _words(machines, there, seen))


def _denied(seen: FencesSeen, env: str) -> Iterator[tuple[str, str]]:
    if seen.denied:
        call, words = next(iter(seen.denied.items()))
        said = f"{seen.site} lets us not do all that a fence needs: {call}: {words}"
        yield said, f"./inv provision.permissions --env {env} prints what must be granted"


def _unmarked(
    machines: Mapping[str, str], there: set[str], seen: FencesSeen, env: str
) -> Iterator[tuple[str, str]]:
    for name in sorted(machines.keys() - there):
        for one in seen.servers:
            if one.name == name or machines[name] in one.addresses:
                said = f"{one.id} has the name or address of {name} and not its mark: a failover stops at it"
                yield said, f"./inv provision.adopt --env {env}, if it is that machine"


def _words(machines: Mapping[str, str], there: set[str], seen: FencesSeen) -> str:
    missing = [one for one in machines if one not in there]
    gone = f"; not there, and taken for off: {', '.join(missing)}" if missing else ""
    told = " (simulated: nothing is proven of a real one)" if seen.source == "simulated" else ""
    return f"{seen.site} answers and lets {', '.join(sorted(there))} be held off{gone}{told}"


def _address_of(inventory: Inventory, name: str) -> str:
    server = inventory.servers.get(name)
    return server.address if server else ""
