"""The planned move of VMs: off at one site, all of it replicated, registered and on at the other. Pure.

Invariant: nothing is registered before every VM is off, cut off from its networks, and the other site holds
all of its files as they are then. Powering the first one on is the point of no return: what is before it has
an undo, what comes after it has none, because clients may have written by then.
"""

from collections.abc import Collection, Mapping

from automation.model.actions import (
    AwaitReplicas,
    BlockServer,
    BlockVm,
    FenceVm,
    LookAtReplicas,
    PowerOnVm,
    ReleaseServer,
    ReleaseVm,
    ShutDownVm,
    UnblockServer,
    UnregisterVm,
)
from automation.model.catalog import Service, VmReplica
from automation.model.plan import Step
from automation.recovery.strategies import vm_replica
from automation.recovery.strategies.cloud_fencing import lab_host
from automation.recovery.strategies.scope import Scope

STOP_TIMEOUT_S = 600.0
REPLICATED_TIMEOUT_S = 3600.0


def stop_ids(name: str, service: Service) -> tuple[str, ...]:
    """Ids of the steps that shut the VMs of a service down; none for another strategy."""
    if not isinstance(service.strategy, VmReplica):
        return ()
    return tuple(f"{name}/stop-{vm.lower().replace('_', '-')}" for vm in service.strategy.all_vms)


def look_first(scope: Scope, strategy: VmReplica, needs: tuple[str, ...]) -> Step:
    """See that the other site holds the files of every VM, before anything is stopped."""
    service = scope.service
    return Step(
        id=f"steady/{scope.name}",
        service=scope.name,
        run=LookAtReplicas(site=service.recovery, datastore=strategy.datastore, vms=strategy.all_vms),
        why="VMs whose files are not at the other site cannot be moved there",
        needs=needs,
        timeout_s=60,
        on_failure="halt",
    )


def exchange(
    scope: Scope, strategy: VmReplica, before_pause: tuple[str, ...], above: tuple[str, ...]
) -> tuple[Step, ...]:
    """Give the steps that move the VMs of one service.

    Args:
        above: steps that stop what depends on it.
    """
    stopped = _stop(scope, strategy, (*before_pause, *above))
    blocked = tuple(_block(scope, vm, f"{scope.step_id(f'stop-{vm}')}") for vm in strategy.all_vms)
    replicated = Step(
        id=scope.step_id("replicated"),
        service=scope.name,
        run=AwaitReplicas(
            site=scope.service.recovery,
            source=scope.service.primary,
            datastore=strategy.datastore,
            vms=strategy.all_vms,
        ),
        why=f"nothing is lost once {scope.service.recovery} holds all that the VMs wrote until they were off",
        needs=tuple(step.id for step in (*stopped, *blocked)),
        timeout_s=REPLICATED_TIMEOUT_S,
        on_failure="halt",
    )
    registered = vm_replica.register(scope, strategy, (replicated.id, *(step.id for step in blocked)))
    started = vm_replica.boot(scope, strategy, tuple(step.id for step in registered))
    return (*stopped, *blocked, replicated, *registered, *started)


def leave(scope: Scope, strategy: VmReplica) -> tuple[Step, ...]:
    """Take the old VMs out of their vCenter once clients are served: their files are the replicas now."""
    site = scope.service.primary
    served = (*vm_replica.last_ids(scope, strategy), "clients-good")
    return tuple(
        Step(
            id=scope.step_id(f"leave-{vm}"),
            service=scope.name,
            run=UnregisterVm(host=vm, site=site),
            why=f"{site} holds {vm} as a replica from here on, and cannot start it",
            needs=served,
            timeout_s=120,
        )
        for vm in strategy.all_vms
    )


def _stop(scope: Scope, strategy: VmReplica, needs: tuple[str, ...]) -> tuple[Step, ...]:
    """Shut the groups down, the last one first."""
    site, steps = scope.service.primary, list[Step]()
    for group in reversed(strategy.vms):
        stopped = tuple(
            Step(
                id=scope.step_id(f"stop-{vm}"),
                service=scope.name,
                run=ShutDownVm(host=vm, site=site),
                undo=PowerOnVm(host=vm, site=site),
                why=f"{vm} writes its last: from here on clients are without {scope.name}",
                needs=needs,
                timeout_s=STOP_TIMEOUT_S,
                on_failure="halt",
            )
            for vm in group
        )
        needs = tuple(step.id for step in stopped)
        steps += stopped
    return tuple(steps)


def _block(scope: Scope, vm: str, needs: str) -> Step:
    site = scope.service.primary
    return Step(
        id=scope.step_id(f"fence-network-{vm}"),
        service=scope.name,
        run=BlockVm(host=vm, site=site),
        undo=ReleaseVm(host=vm, site=site),
        why=f"{vm} must not be reached at {site} while it comes up at {scope.service.recovery}",
        needs=(needs,),
        timeout_s=120,
        on_failure="halt",
    )


# --- the way home ----------------------------------------------------------------------------------


def make_way(
    scope: Scope, strategy: VmReplica, before: tuple[str, ...], fenced: Collection[str]
) -> tuple[Step, ...]:
    """Take what a failover fenced at home out of the way: off for good, then out of its vCenter.

    Args:
        fenced: hosts of the lab that stand for VMs and are held off by its own means.
    """
    site, steps = scope.service.recovery, list[Step]()
    for vm in strategy.all_vms:
        off = _home(scope, "off", vm, FenceVm(host=vm, site=site, absent_is_off=True), before)
        out = _home(scope, "out", vm, UnregisterVm(host=vm, site=site), (off.id,))
        steps += (off, out)
        host = lab_host(scope.environment, site, vm)
        if host in fenced:
            unblock = _home(scope, "unblock", vm, UnblockServer(host=host), (out.id,))
            unblock = unblock.model_copy(update={"undo": BlockServer(host=host)})
            steps += (unblock, _home(scope, "release", vm, ReleaseServer(host=host), (unblock.id,)))
    return tuple(steps)


_WHY: Mapping[str, str] = {
    "off": "{vm} runs elsewhere now: what is left of it at home must not come up",
    "out": "{vm} is registered anew when it comes home, with what was written meanwhile",
    "unblock": "the host that stands for {vm} has nothing on it that could serve",
    "release": "the host that stands for {vm} comes back with the VM",
}


def _home(
    scope: Scope,
    what: str,
    vm: str,
    run: FenceVm | UnregisterVm | UnblockServer | ReleaseServer,
    needs: tuple[str, ...],
) -> Step:
    return Step(
        id=scope.step_id(f"home-{what}-{vm}"),
        service=scope.name,
        run=run,
        why=_WHY[what].format(vm=vm),
        needs=needs,
        timeout_s=120,
        on_failure="halt",
    )
