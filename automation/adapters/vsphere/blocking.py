"""A VM's network fence and its release, and the list of all that a vCenter holds."""

from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.absent import unseen
from automation.adapters.vsphere.devices import cards, is_switched, plan_connections
from automation.adapters.vsphere.files import list_files
from automation.adapters.vsphere.outcomes import mark_of, remark, within
from automation.adapters.vsphere.places import Vm, places_of, require_vm
from automation.adapters.vsphere.powering import fence_state, start_by_itself
from automation.adapters.vsphere.reading import sweep
from automation.adapters.vsphere.sessions import Vcenter, at
from automation.model.actions import BlockVm, ListVcenter, ReleaseVm
from automation.model.drill_evidence import Listing
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress


def block_vm(action: BlockVm, ctx: Context) -> Outcome:
    """Disconnect every adapter of a VM, now and at power-on; read back."""
    with at(ctx, action.site, f"VM {action.host} could not be disconnected") as vcenter:
        if (gone := unseen(vcenter, action, ctx)) is not None:
            return gone
        vm = require_vm(vcenter, action.host)
        was_so = _is_blocked(vm)
        if not was_so:
            vm = remark(
                vcenter,
                vm,
                {"blocked_by": mark_of(vm).blocked_by or ctx.run_id},
                spec=lambda now: _switched(now, connected=False),
                timeout_s=within(ctx),
            )
        if not _is_blocked(vm):
            raise AdapterError(f"VM {action.host}: its adapters are connected after it was blocked")
        return _state(vcenter, action.host, "is disconnected from every network", changed=not was_so)


def verify_block_vm(action: BlockVm, ctx: Context) -> Progress:
    """See whether every adapter is disconnected."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        if (gone := unseen(vcenter, action, ctx)) is not None:
            return Progress(state="done", outcome=gone)
        if not _is_blocked(require_vm(vcenter, action.host)):
            return Progress(state="not_done", why="an adapter is connected")
        done = _state(vcenter, action.host, "is disconnected from every network", changed=True)
        return Progress(state="done", outcome=done)


def release_vm(action: ReleaseVm, ctx: Context) -> Outcome:
    """Lift a VM's fences: adapters connected, autostart as it was; it is not powered on."""
    with at(ctx, action.site, f"VM {action.host} could not be released") as vcenter:
        vm = require_vm(vcenter, action.host)
        mark = mark_of(vm)
        was_so = not (mark.fenced_by or mark.blocked_by)
        if not was_so:
            if mark.autostart:
                start_by_itself(vcenter, vm, timeout_s=within(ctx))
            remark(
                vcenter,
                vm,
                {"fenced_by": "", "blocked_by": "", "autostart": False},
                spec=lambda now: _switched(now, connected=True),
                timeout_s=within(ctx),
            )
        return _state(vcenter, action.host, "is released", changed=not was_so)


def verify_release_vm(action: ReleaseVm, ctx: Context) -> Progress:
    """See whether no fence is left."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        mark = mark_of(require_vm(vcenter, action.host))
        if mark.fenced_by or mark.blocked_by:
            return Progress(state="not_done", why="it is fenced")
        return Progress(state="done", outcome=_state(vcenter, action.host, "is released", changed=True))


def list_all(action: ListVcenter, ctx: Context) -> Outcome:
    """List every VM and network, and the folders of every datastore."""
    with at(ctx, action.site, f"site {action.site} could not be listed") as vcenter:
        places = places_of(vcenter, fresh=True)
        items = {f"network {one.get('name')}": one.moid for one in places.of(vim.Network)}
        items |= _machines(vcenter)
        for store in places.of(vim.Datastore):
            name = store.get("name")
            items |= {
                f"folder [{name}] {one.name}": "there" for one in list_files(vcenter, f"[{name}]") or ()
            }
        evidence = Listing(of="servers", where=vcenter.provider.address, items=items)
        return Outcome(changed=False, summary=f"{len(items)} things at {action.site}", evidence=evidence)


def _machines(vcenter: Vcenter) -> dict[str, str]:
    paths = {vim.VirtualMachine: ("name", "runtime.powerState")}
    seen = sweep(vcenter, places_of(vcenter).datacenter, paths)
    return {f"VM {one.get('name')} ({one.moid})": str(one.get("runtime.powerState")) for one in seen}


def _is_blocked(vm: Vm) -> bool:
    return bool(mark_of(vm).blocked_by) and all(
        is_switched(card, connected=False, running=vm.on) for card in cards(vm.devices)
    )


def _switched(vm: Vm, *, connected: bool) -> Any | None:
    changes = plan_connections(vm.devices, connected=connected, running=vm.on)
    return vim.vm.ConfigSpec(deviceChange=list(changes)) if changes else None


def _state(vcenter: Vcenter, host: str, did: str, *, changed: bool) -> Outcome:
    return Outcome(changed=changed, summary=f"VM {host} {did}", evidence=fence_state(vcenter, host))
