"""Making a VM of ours what it was declared to be: hot where it can be, else while it is off."""

from typing import Any

from pyVmomi import vim, vmodl

from automation.adapters.vsphere.devices import plan_cards, plan_disks
from automation.adapters.vsphere.outcomes import changed_server, mark_of, remark, within
from automation.adapters.vsphere.places import Vm, places_of, require_vm
from automation.adapters.vsphere.port_groups import port_named
from automation.adapters.vsphere.powering import start, stop
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.model.actions import ChangeVm
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import ServerSpec

_MIB = 2**20
_PATIENCE_S = 120.0  # for a guest that is shut down to be changed


def change_vm(action: ChangeVm, ctx: Context) -> Outcome:
    """Make a VM what was declared: hot where it can be, else only where it may be stopped for it."""
    with at(ctx, action.site, f"VM {action.host} could not be changed") as vcenter:
        vm = require_vm(vcenter, action.host)
        if _is_so(vcenter, action, vm):
            return changed_server(vcenter, vm, "found", changed=False)
        was_on, needs_stop = vm.on, _needs_stop(action, vm)
        if was_on and needs_stop:
            if not action.restart:
                raise AdapterError(
                    f"VM {action.host} runs and {needs_stop}; nothing was changed",
                    hint=f"./inv provision.apply --env {vcenter.environment} --restart {action.host}",
                )
            vm = stop(vcenter, vm, patience_s=_PATIENCE_S, timeout_s=within(ctx))
        try:
            vm = _reconfigured(vcenter, action, vm, within(ctx))
        except (vmodl.MethodFault, vmodl.RuntimeFault):
            if was_on and not vm.on:  # what was stopped for a change that is refused must not stay off
                start(vcenter, vm, timeout_s=within(ctx))
            raise
        if was_on and not vm.on:
            vm = start(vcenter, vm, timeout_s=within(ctx))
        return changed_server(vcenter, vm, "changed", changed=True)


def verify_change_vm(action: ChangeVm, ctx: Context) -> Progress:
    """See whether it is as declared; one that was stopped for it and is still off is not done."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = require_vm(vcenter, action.host)
        if not _is_so(vcenter, action, vm):
            return Progress(state="not_done", why=f"{vm.moid} is not as declared")
        if action.restart and not vm.on:
            # Whether it ran before nobody can tell any more; P's plan starts it where it is to run.
            return Progress(state="not_done", why=f"{vm.moid} is off")
        return Progress(state="done", outcome=changed_server(vcenter, vm, "changed", changed=True))


def _reconfigured(vcenter: Vcenter, action: ChangeVm, vm: Vm, timeout_s: float) -> Vm:
    places = _disk_places(action, vm)
    changes: dict[str, object] = {"disks": places}
    if "tags" in action.changes:
        changes["tags"] = dict(action.spec.tags)
    return remark(vcenter, vm, changes, spec=lambda now: _config(vcenter, action, now), timeout_s=timeout_s)


def _config(vcenter: Vcenter, action: ChangeVm, vm: Vm) -> Any | None:
    """What is still to be changed of a VM beside its mark; None when nothing is."""
    spec, config = action.spec, vim.vm.ConfigSpec()
    changes: list[Any] = []
    if "size" in action.changes and not _has_size(action, vm):
        set_size(config, spec)
    if "disks" in action.changes:
        # Places that the mark names before the disk is there are not there: it is added again.
        changes += plan_disks(spec.name, vm.devices, mark_of(vm).disks, spec.disks).changes
    if "networks" in action.changes and spec.networks:
        known = places_of(vcenter)
        changes += plan_cards(vm.devices, [port_named(vcenter, known, name) for name in spec.networks])
    if not changes and config.numCPUs is None and config.memoryMB is None:
        return None
    config.deviceChange = changes
    return config


def _is_so(vcenter: Vcenter, action: ChangeVm, vm: Vm) -> bool:
    tags_are = "tags" not in action.changes or dict(mark_of(vm).tags) == dict(action.spec.tags)
    return tags_are and _config(vcenter, action, vm) is None


def _disk_places(action: ChangeVm, vm: Vm) -> dict[str, str]:
    if "disks" not in action.changes:
        return dict(mark_of(vm).disks)
    return dict(plan_disks(action.spec.name, vm.devices, mark_of(vm).disks, action.spec.disks).places)


def _has_size(action: ChangeVm, vm: Vm) -> bool:
    wanted = action.spec.size
    cpus = vm.seen.get("config.hardware.numCPU")
    memory_mb = vm.seen.get("config.hardware.memoryMB")
    return (not wanted.cpus or cpus == wanted.cpus) and (
        not wanted.memory_bytes or memory_mb == wanted.memory_bytes // _MIB
    )


def _needs_stop(action: ChangeVm, vm: Vm) -> str:
    """Say what cannot be changed while it runs; empty when everything can."""
    if "size" not in action.changes or _has_size(action, vm):
        return ""
    wanted, seen = action.spec.size, vm.seen
    cpus, memory = seen.get("config.hardware.numCPU", 0), seen.get("config.hardware.memoryMB", 0) * _MIB
    if (
        wanted.cpus
        and wanted.cpus != cpus
        and (wanted.cpus < cpus or not seen.get("config.cpuHotAddEnabled"))
    ):
        return f"its {cpus} processors become {wanted.cpus} only while it is off"
    hot = seen.get("config.memoryHotAddEnabled")
    if wanted.memory_bytes and wanted.memory_bytes != memory and (wanted.memory_bytes < memory or not hot):
        return f"its {memory // _MIB} MiB of memory become {wanted.memory_bytes // _MIB} only while it is off"
    return ""


def set_size(config: Any, spec: ServerSpec) -> None:
    """Write a declared size into a configuration; what is not declared stays as the template's."""
    if spec.size.cpus:
        config.numCPUs = spec.size.cpus
    if spec.size.memory_bytes:
        config.memoryMB = spec.size.memory_bytes // _MIB
