"""Destroying VMs of ours: the one that the plan saw, powered off; its disks may outlive it."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from pyVmomi import vim

from automation.adapters.vsphere.devices import disks, place
from automation.adapters.vsphere.files import folder_of, list_files, make_directory, move_disk, store_of
from automation.adapters.vsphere.outcomes import changed_server, mark_of, remark, within
from automation.adapters.vsphere.places import Vm, find_vm, read_vm
from automation.adapters.vsphere.sessions import Vcenter, at, seen
from automation.adapters.vsphere.settling import run_task, settle
from automation.adapters.vsphere.snapshots import read_chain
from automation.model.actions import DestroyVm, UnregisterVm
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress

KEPT = "mainstay-kept"
_SYSTEM = "system"


def destroy_vm(action: DestroyVm, ctx: Context) -> Outcome:
    """Destroy the VM that the plan saw; with `keep_snapshot` its disks are moved aside first.

    A snapshot of vSphere goes with its VM, so the disks themselves are kept: detached, and moved to a folder
    of their own in their datastore.
    """
    with at(ctx, action.site, f"VM {action.host} could not be destroyed") as vcenter:
        vm = _doomed(vcenter, action)
        if vm is None:
            return _gone(vcenter, action, _kept_files(vcenter, action), changed=False)
        kept: Mapping[str, str] = {}
        if action.keep_snapshot:
            _refuse_snapshots(vcenter, vm, action)
            kept = _keep_disks(vcenter, vm, within(ctx))
        settle(
            vcenter,
            f"VM {action.host} could not be destroyed",
            lambda: True if _doomed(vcenter, action) is None else None,
            lambda: run_task(
                vcenter, "destroy", lambda _content: vm.ref.Destroy_Task(), timeout_s=within(ctx)
            ),
            timeout_s=within(ctx),
        )
        return _gone(vcenter, action, kept, changed=True)


def verify_destroy_vm(action: DestroyVm, ctx: Context) -> Progress:
    """See whether the VM is gone; where its disks went, stands in its folder of kept ones."""
    with at(ctx, action.site, f"VM {action.host} could not be looked at") as vcenter:
        if _doomed(vcenter, action) is not None:
            return Progress(state="not_done", why=f"{action.id} is there")
        kept = _kept_files(vcenter, action)
        return Progress(state="done", outcome=_gone(vcenter, action, kept, changed=True))


def still_kept(environment: Environment, site: str, state: Path, files: Collection[str]) -> frozenset[str]:
    """Give those of some files that were moved aside which are there now; changes nothing.

    Raises:
        AdapterError: the vCenter does not answer, or does not let us look.
    """
    with seen(environment, site, state).telling(f"disks kept at {site} could not be looked at") as vcenter:
        folders = {folder_of(file) for file in files}
        listed = {folder: list_files(vcenter, folder, ("*.vmdk",)) or () for folder in folders}
        there = {f"{folder}/{one.name}" for folder, some in listed.items() for one in some}
    return frozenset(there.intersection(files))


def unregister_vm(action: UnregisterVm, ctx: Context) -> Outcome:
    """Take a VM of ours that is powered off out of the vCenter; its files stay."""
    with at(ctx, action.site, f"VM {action.host} could not be unregistered") as vcenter:
        vm = find_vm(vcenter, action.host)
        if vm is None:
            return Outcome(changed=False, summary=f"VM {action.host} is not registered")
        _require_off(vm, action.host)
        done = changed_server(vcenter, vm, "unregistered", changed=True)
        settle(
            vcenter,
            f"VM {action.host} could not be unregistered",
            lambda: True if read_vm(vcenter, vm.ref) is None else None,
            lambda: vcenter.change(lambda _content: vm.ref.UnregisterVM()),
            timeout_s=within(ctx),
        )
        return done


# --- parts of the above ---------------------------------------------------------------------------


def _doomed(vcenter: Vcenter, action: DestroyVm) -> Vm | None:
    """Give the VM of that id; one that is not ours, not of that name, or on, is refused."""
    vm = read_vm(vcenter, vcenter.object(vim.VirtualMachine, action.id))
    if vm is None:
        return None
    if not vm.owned_by(vcenter.environment, vcenter.site) or mark_of(vm).name != action.host:
        raise AdapterError(
            f"VM {action.host}: {action.id} at {vcenter.provider.address} does not bear our mark of that "
            "name; nothing was changed"
        )
    _require_off(vm, action.host)
    return vm


def _require_off(vm: Vm, host: str) -> None:
    if vm.on:
        raise AdapterError(f"VM {host} ({vm.moid}) is powered on; nothing was changed")


def _refuse_snapshots(vcenter: Vcenter, vm: Vm, action: DestroyVm) -> None:
    """See that its disks are whole by themselves: what a snapshot is read through goes with the VM."""
    if found := read_chain(vcenter, vm).snapshots:
        raise AdapterError(
            f"VM {action.host} ({vm.moid}) has {len(found)} snapshots, first {found[0].name!r}, and its "
            "disks cannot be kept without what those hold; nothing was changed",
            hint=f"./inv backup.rotate --env {vcenter.environment} removes ours after 48 hours; remove "
            "others in the vSphere client, then resume the run",
        )


def _kept_folder(store: str, name: str, moid: str) -> str:
    return f"[{store}] {KEPT}/{name}-{moid}"


def _kept_files(vcenter: Vcenter, action: DestroyVm) -> Mapping[str, str]:
    """Give the disks that an earlier attempt moved aside, on the datastore where we make disks."""
    folder = _kept_folder(vcenter.provider.datastore, action.host, action.id)
    files = list_files(vcenter, folder, ("*.vmdk",)) if action.keep_snapshot else ()
    names = [one.name for one in files or () if not one.name.endswith("-flat.vmdk")]
    return {name.removesuffix(".vmdk"): f"{folder}/{name}" for name in names}


def _keep_disks(vcenter: Vcenter, vm: Vm, timeout_s: float) -> Mapping[str, str]:
    """Detach every disk and move its file aside; where each goes stands in the VM's mark before."""
    mark = mark_of(vm)
    names = {at: name for name, at in mark.disks.items()}
    there = {names.get(place(disk), f"{_SYSTEM}-{disk.unitNumber}"): disk for disk in disks(vm.devices)}
    files = {**mark.kept, **{name: str(disk.backing.fileName) for name, disk in there.items()}}
    vm = remark(vcenter, vm, {"kept": files}, spec=_without_disks, timeout_s=timeout_s)
    targets = {}
    for name, file in files.items():
        folder = _kept_folder(store_of(file), mark.name, vm.moid)
        targets[name] = f"{folder}/{name}.vmdk"
        make_directory(vcenter, folder)
        move_disk(vcenter, file, targets[name], timeout_s=timeout_s)
    return targets


def _without_disks(vm: Vm) -> Any | None:
    changes = [vim.vm.device.VirtualDeviceSpec(operation="remove", device=disk) for disk in disks(vm.devices)]
    return vim.vm.ConfigSpec(deviceChange=changes) if changes else None


def _gone(vcenter: Vcenter, action: DestroyVm, kept: Mapping[str, str], *, changed: bool) -> Outcome:
    ids = {"server": action.id, **{f"snapshot:{name}": file for name, file in kept.items()}}
    evidence = ProviderChange(
        provider="vsphere",
        site=vcenter.site,
        what="server",
        name=action.host,
        verb="deleted",
        ids=ids,
        source=vcenter.source,
    )
    told = f"; its disks are kept: {', '.join(kept.values())}" if kept else ""
    return Outcome(
        changed=changed, summary=f"VM {action.host} ({action.id}) is gone{told}", evidence=evidence
    )
