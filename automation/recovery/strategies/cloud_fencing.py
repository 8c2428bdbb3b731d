"""Fences of VMs and instances: power and network at their provider, or at the lab that stands for it. Pure.

A vCenter or a region that does not answer fences nothing. Then a lab has its own means, out of band; anywhere
else a plan is made only where two people bear that the old site may still serve.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from automation.model.actions import (
    Action,
    BlockDatabase,
    BlockInstance,
    BlockServer,
    BlockVm,
    FenceInstance,
    FenceVm,
    PowerOffServer,
)
from automation.model.environment import Environment
from automation.model.errors import PreflightError
from automation.model.plan import OnFailure, Step
from automation.model.simulators import AwsSimulator, VcenterSimulator
from automation.recovery.strategies.fencing import by_hand, prove
from automation.recovery.strategies.scope import Scope


class Machine(NamedTuple):
    """One machine of a lost site, and the two means by which its provider holds it off."""

    name: str
    power: Action | None
    network: Action


def vms(scope: Scope, names: Sequence[str]) -> tuple[Machine, ...]:
    """Give the VMs of a lost site; one that was deleted there since holds nothing up."""
    site = scope.service.primary
    return tuple(
        Machine(
            name,
            FenceVm(host=name, site=site, unseen_is_off=True),
            BlockVm(host=name, site=site, unseen_is_off=True),
        )
        for name in names
    )


def instances(scope: Scope, names: Sequence[str], database: str) -> tuple[Machine, ...]:
    """Give the instances of a lost region, and its database if there is one.

    A managed database is blocked, not stopped; who writes to it are the instances, which are both. One that
    only a failover makes need not be there, nor one that was seen to be gone when this was planned.
    """
    site, found = scope.service.primary, list[Machine]()
    for name in names:
        server = scope.inventory.servers.get(name)
        gone = name in scope.cloud.absent or (server is not None and server.on_demand)
        power = FenceInstance(host=name, site=site, absent_is_off=gone)
        found.append(Machine(name, power, BlockInstance(host=name, site=site, absent_is_off=gone)))
    if database:
        found.append(Machine(database, None, BlockDatabase(site=site, database=database)))
    return tuple(found)


def fence(scope: Scope, machines: Sequence[Machine]) -> tuple[Step, ...]:
    """Give both fences of every machine, and the proof that needs them all.

    Raises:
        PreflightError: the provider of the lost site does not answer, nothing else fences it, and nobody
            bears that.
    """
    if scope.service.primary in scope.cloud.silent:
        others = _of_the_lab(scope, machines)
        if others is None and not scope.accepted.unfenced:
            return _unfenced(scope, machines)
        machines = others or machines
    fences = tuple(_fences(scope, machines))
    old = scope.inventory.server(scope.old_host)
    beside = scope.catalog.sites[scope.service.recovery].dns_server
    return (*fences, prove(scope, old, tuple(step.id for step in fences), beside))


def _fences(scope: Scope, machines: Sequence[Machine]) -> Iterator[Step]:
    otherwise: OnFailure = "continue" if scope.accepted.unfenced else "halt"
    for one in machines:
        means = (
            ("fence-power", one.power, "must not serve again by itself when its site returns"),
            ("fence-network", one.network, "must not be reached even if it runs: a second means"),
        )
        for what, run, why in means:
            if run is None:
                continue
            yield Step(
                id=scope.step_id(f"{what}-{one.name}"),
                service=scope.name,
                run=run,
                why=f"{one.name} {why}",
                needs=(scope.declared,),
                timeout_s=120,
                on_failure=otherwise,
            )


def _unfenced(scope: Scope, machines: Sequence[Machine]) -> tuple[Step, ...]:
    site = scope.service.primary
    if scope.mode == "walkthrough":
        return by_hand(scope, ", ".join(one.name for one in machines), "that does not answer")
    raise PreflightError(
        f"{scope.name}: the provider at {site} does not answer, so {machines[0].name} cannot be fenced; "
        "nothing was changed",
        hint="bring it back; or two people bear it: --accept-unfenced --reason '...'",
    )


def _of_the_lab(scope: Scope, machines: Sequence[Machine]) -> tuple[Machine, ...] | None:
    """The lab's own hosts that stand for these machines; None where one has none.

    A managed database has no host: who could write to it are the instances of its region.
    """
    site = scope.service.primary
    hosts = {one.name: lab_host(scope.environment, site, one.name) for one in machines if one.power}
    if not all(hosts.values()):
        return None
    return tuple(Machine(host, PowerOffServer(host=host), BlockServer(host=host)) for host in hosts.values())


def lab_host(environment: Environment, site: str, machine: str) -> str:
    """Name the host of the lab that runs while a simulated machine does; empty: it has none."""
    for one in environment.lab.simulators.values() if environment.lab else ():
        if isinstance(one, VcenterSimulator) and one.site == site and machine in one.powers:
            return one.powers[machine].host
        if isinstance(one, AwsSimulator):
            for region, endpoint in one.regions.items():
                powered = one.powers.get(f"{region}/{machine}")
                if endpoint.site == site and powered is not None:
                    return powered.host
    return ""
