"""Making and adopting VMs of ours: the mark goes with the very call that makes one."""

import time
from collections.abc import Sequence
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.changing import set_size
from automation.adapters.vsphere.devices import Port, disks, found_disks, place, plan_cards, plan_disks
from automation.adapters.vsphere.folders import make_folder
from automation.adapters.vsphere.guestinfo import first_boot
from automation.adapters.vsphere.marks import Mark, token
from automation.adapters.vsphere.outcomes import changed_server, mark_of, marked, remark, within
from automation.adapters.vsphere.places import (
    VM_PATHS,
    Vm,
    find_vm,
    host_for,
    light_vms,
    places_of,
    pool_of,
    read_vm,
    require,
    vm_of,
)
from automation.adapters.vsphere.port_groups import port_named
from automation.adapters.vsphere.powering import start
from automation.adapters.vsphere.reading import read_one
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.adapters.vsphere.settling import await_tasks, run_task, running_tasks, settle
from automation.model.actions import AdoptVm, CreateVm
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import ServerSpec, name_disks

# --- creating -------------------------------------------------------------------------------------


def create_vm(action: CreateVm, ctx: Context) -> Outcome:
    """Clone a VM from its template with disks and mark, and power it on; one that is there is found."""
    with at(ctx, action.site, f"VM {action.host} could not be made") as vcenter:
        known = find_vm(vcenter, action.host)
        deadline = time.monotonic() + within(ctx)
        vm, verb = known or _clone(vcenter, action.spec, ctx), "found" if known else "created"
        vcenter.made(changed_server(vcenter, vm, verb, changed=True).evidence)
        was_on = vm.on
        if action.power_on:
            vm = start(vcenter, vm, timeout_s=max(1.0, deadline - time.monotonic()))
        return changed_server(vcenter, vm, verb, changed=known is None or vm.on != was_on)


def verify_create_vm(action: CreateVm, ctx: Context) -> Progress:
    """See whether a VM bears our mark and this name, and whether its clone is still being made."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = find_vm(vcenter, action.host)
        if vm is None:
            template = _template(vcenter, action.spec)
            busy = running_tasks(vcenter, template.ref)
            why = f"{len(busy)} tasks of its template run" if busy else "there is no such VM"
            return Progress(state="not_done", why=why)
        if action.power_on and not (vm.on and vm.address):
            return Progress(state="not_done", why=f"{vm.moid} is there, and does not run yet")
        verb = "created" if mark_of(vm).run == ctx.run_id else "found"
        return Progress(state="done", outcome=changed_server(vcenter, vm, verb, changed=verb == "created"))


def _clone(vcenter: Vcenter, spec: ServerSpec, ctx: Context) -> Vm:
    what = f"VM {spec.name} could not be made"
    template = _template(vcenter, spec)

    def look() -> Vm | None:
        folder = make_folder(vcenter)
        there = vcenter.read(lambda content: content.searchIndex.FindChild(folder, spec.name))
        found = None if there is None else read_vm(vcenter, there)
        if found is not None and _is_being_made(found):
            await_tasks(vcenter, template.ref, timeout_s=within(ctx))
            found = read_vm(vcenter, found.ref)
        if found is not None and not found.owned_by(vcenter.environment, vcenter.site):
            raise AdapterError(
                f"{what}: {found.moid} in folder {vcenter.provider.folder} of {vcenter.provider.address} has "
                "this name and does not bear our mark; nothing was changed",
                hint=f"./inv provision.adopt --env {vcenter.environment}",
            )
        return found

    def act() -> None:
        template, folder = _template(vcenter, spec), make_folder(vcenter)
        clone = _clone_spec(vcenter, template, spec, ctx)
        run_task(
            vcenter,
            what,
            lambda _content: template.ref.CloneVM_Task(folder, spec.name, clone),
            timeout_s=within(ctx),
        )

    return settle(vcenter, what, look, act, busy=template.ref, timeout_s=within(ctx))


def _is_being_made(vm: Vm) -> bool:
    """A clone bears its name from the start, and gets its settings, our mark among them, at the end."""
    return vm.seen.get("config.instanceUuid") is None


def _clone_spec(vcenter: Vcenter, template: Vm, spec: ServerSpec, ctx: Context) -> Any:
    places = places_of(vcenter)
    ports = [port_named(vcenter, places, name) for name in spec.networks]
    disk_changes = plan_disks(spec.name, template.devices, {}, spec.disks)
    instance = token(ctx.run_id, ctx.step_id, spec.name)
    mark = Mark(
        environment=vcenter.environment,
        name=spec.name,
        site=vcenter.site,
        run=ctx.run_id,
        step=ctx.step_id,
        image=spec.image,
        tags=dict(spec.tags),
        disks=disk_changes.places,
    )
    config = vim.vm.ConfigSpec(
        instanceUuid=instance,
        annotation=f"Mainstay: environment {vcenter.environment}, server {spec.name}, run {ctx.run_id}",
        deviceChange=[*disk_changes.changes, *_cards(template.devices, ports)],
        extraConfig=[marked(mark), *first_boot(spec, ctx, instance)],
    )
    set_size(config, spec)
    datastore = require(vcenter, places, vim.Datastore, vcenter.provider.datastore, "datastore").ref
    location = vim.vm.RelocateSpec(
        datastore=datastore, pool=pool_of(vcenter, places), host=host_for(vcenter, places, spec.name)
    )
    return vim.vm.CloneSpec(location=location, config=config, powerOn=False, template=False)


def _cards(devices: Sequence[Any], ports: Sequence[Port]) -> tuple[Any, ...]:
    """A server whose networks nobody declared keeps those of its template."""
    return plan_cards(devices, ports) if ports else ()


def _template(vcenter: Vcenter, spec: ServerSpec) -> Vm:
    """Find the template by name or id.

    Raises:
        AdapterError: there is none, or several of that name.
    """
    found = [
        vm
        for vm in light_vms(vcenter)
        if vm.seen.get("config.template") and spec.image in (vm.seen.get("name"), vm.moid)
    ]
    if len(found) != 1:
        raise AdapterError(
            f"VM {spec.name}: {vcenter.provider.address} has {len(found)} templates {spec.image}, one is "
            "needed; nothing was changed",
            hint="correct server_image in the inventory",
        )
    seen = read_one(vcenter, found[0].ref, VM_PATHS)
    return found[0] if seen is None else vm_of(seen)


# --- adopting -------------------------------------------------------------------------------------


def adopt_vm(action: AdoptVm, ctx: Context) -> Outcome:
    """Mark the VM that the plan saw as ours; one that bears another's mark is refused."""
    with at(ctx, action.site, f"VM {action.host} could not be adopted") as vcenter:
        vm = _adopted(vcenter, action)
        if vm.mark is not None:
            return changed_server(vcenter, vm, "found", changed=False)
        mark = Mark(
            environment=vcenter.environment,
            name=action.host,
            site=vcenter.site,
            run=ctx.run_id,
            step=ctx.step_id,
        )
        vm = remark(vcenter, vm._replace(mark=mark), {"disks": _named_disks(action, vm, ctx)})
        return changed_server(vcenter, vm, "adopted", changed=True)


def verify_adopt_vm(action: AdoptVm, ctx: Context) -> Progress:
    """See whether it bears our mark."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        vm = _adopted(vcenter, action)
        if vm.mark is None:
            return Progress(state="not_done", why=f"{vm.moid} bears no mark")
        return Progress(state="done", outcome=changed_server(vcenter, vm, "adopted", changed=True))


def _adopted(vcenter: Vcenter, action: AdoptVm) -> Vm:
    vm = read_vm(vcenter, vcenter.object(vim.VirtualMachine, action.id))
    if vm is None:
        raise AdapterError(
            f"VM {action.host}: {vcenter.provider.address} has no {action.id}; nothing was changed"
        )
    if vm.seen.get("config.template"):
        raise AdapterError(f"VM {action.host}: {action.id} is a template; nothing was changed")
    ours = vm.mark is None or (vm.owned_by(vcenter.environment, vcenter.site) and vm.mark.name == action.host)
    if not ours:
        raise AdapterError(
            f"VM {action.host}: {action.id} bears the mark of {mark_of(vm).environment}/{mark_of(vm).name}; "
            "nothing was changed"
        )
    return vm


def _named_disks(action: AdoptVm, vm: Vm, ctx: Context) -> dict[str, str]:
    """Say which of its disks after that of the system are the declared ones, and where they are."""
    spec = ctx.inventory.specs.get(action.host)
    others = disks(vm.devices)[1:]
    places = {f"{vm.moid}/{place(one)}": place(one) for one in others}
    named = name_disks(() if spec is None else spec.disks, found_disks(vm.moid, others, {}))
    return {name: places[id_] for name, id_ in named.items()}
