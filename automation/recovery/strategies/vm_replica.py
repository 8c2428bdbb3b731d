"""Fence the VMs of the lost site, register their replicas at the other vCenter, power them on in groups.

Invariant: nothing is registered before the proof of the fence and a look at the replicas; a boot group starts
when every VM of the one before it has its tools and its address.
"""

from datetime import datetime

from automation.model.actions import LookAtReplicas, PowerOnVm, RegisterReplica, UnregisterVm
from automation.model.catalog import Service, VmReplica
from automation.model.errors import PreflightError
from automation.model.plan import Step
from automation.recovery.strategies import cloud_fencing
from automation.recovery.strategies.fencing import accept
from automation.recovery.strategies.scope import Scope

BOOT_TIMEOUT_S = 600.0


def look_at(service: Service, strategy: VmReplica) -> LookAtReplicas:
    """Give the look at the replicas of a service, as new as they are."""
    return LookAtReplicas(site=service.recovery, datastore=strategy.datastore, vms=strategy.all_vms)


def compile_failover(scope: Scope, strategy: VmReplica) -> tuple[Step, ...]:
    """Give the steps that bring the VMs of one service up at its other site.

    Raises:
        PreflightError: nobody has looked at the replicas, some are missing, or nothing fences the old VMs.
    """
    fences = cloud_fencing.fence(scope, cloud_fencing.vms(scope, strategy.all_vms))
    before = (*fences, *accept(scope), scope.names_answer())
    replica = _look(scope, strategy, tuple(step.id for step in before if step not in fences[:-1]))
    registered = register(scope, strategy, (replica.id,))
    started = boot(scope, strategy, tuple(step.id for step in registered))
    return (*before, replica, *registered, *started, *scope.swaps((*last_ids(scope, strategy), *scope.ready)))


def _look(scope: Scope, strategy: VmReplica, needs: tuple[str, ...]) -> Step:
    service = scope.service
    return Step(
        id=scope.step_id("replica"),
        service=scope.name,
        run=look_at(service, strategy).model_copy(update={"no_older_than": _seen(scope)}),
        why=f"{service.recovery} must hold what was seen when this plan was made, and nothing older",
        needs=needs,
        timeout_s=60,
        on_failure="halt",
    )


def _seen(scope: Scope) -> datetime | None:
    """The moment that the replicas reached when the plan was made; none in a walkthrough."""
    seen = scope.cloud.replicas.get(scope.name)
    if seen is None:
        if scope.mode == "walkthrough":
            return None
        raise PreflightError(
            f"the replicas of {scope.name} at {scope.service.recovery} were not looked at: it cannot be "
            "planned; nothing was changed"
        )
    if seen.oldest is None:
        raise PreflightError(
            f"{seen.datastore} shows no files of {', '.join(seen.missing)} at {seen.site}: {scope.name} "
            "cannot be brought up there; nothing was changed",
            hint="see that its storage replicates them",
        )
    return seen.oldest


def register(scope: Scope, strategy: VmReplica, needs: tuple[str, ...]) -> tuple[Step, ...]:
    """Register every VM at the recovery site, side by side, powered off."""
    site = scope.service.recovery
    return tuple(
        Step(
            id=scope.step_id(f"register-{vm}"),
            service=scope.name,
            run=RegisterReplica(
                host=vm, site=site, datastore=strategy.datastore, networks=networks_both_ways(strategy)
            ),
            undo=UnregisterVm(host=vm, site=site),
            why=f"the vCenter of {site} takes {vm} over from {strategy.datastore}",
            needs=needs,
            timeout_s=120,
            on_failure="halt",
        )
        for vm in strategy.all_vms
    )


def networks_both_ways(strategy: VmReplica) -> dict[str, str]:
    """Map the networks of either site to those of the other: a VM comes home by the same declaration."""
    return {there: here for here, there in strategy.networks.items()} | dict(strategy.networks)


def boot(scope: Scope, strategy: VmReplica, needs: tuple[str, ...]) -> tuple[Step, ...]:
    """Power the groups on, one after the other; the first one waits for what the service depends on."""
    steps: list[Step] = []
    before = (*needs, *scope.ready)
    for number, group in enumerate(strategy.vms, start=1):
        started = tuple(_power_on(scope, vm, number, len(strategy.vms), before) for vm in group)
        before = tuple(step.id for step in started)
        steps += started
    return tuple(steps)


def _power_on(scope: Scope, vm: str, group: int, groups: int, needs: tuple[str, ...]) -> Step:
    return Step(
        id=scope.step_id(f"power-on-{vm}"),
        service=scope.name,
        run=PowerOnVm(host=vm, site=scope.service.recovery),
        why=f"boot group {group} of {groups}: up is what says so by its tools and has its address",
        needs=needs,
        timeout_s=BOOT_TIMEOUT_S,
        on_failure="halt",
    )


def last_ids(scope: Scope, strategy: VmReplica) -> tuple[str, ...]:
    """Ids of the steps that power the last group on."""
    return tuple(scope.step_id(f"power-on-{vm}") for vm in strategy.vms[-1])
