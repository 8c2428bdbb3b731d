"""Snapshots of VMs: guards to roll a change back with, never a backup; listed, taken, removed by id."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyVmomi import vim

from automation.adapters.vsphere.marks import PATH
from automation.adapters.vsphere.places import Vm, places_of, vm_of
from automation.adapters.vsphere.reading import read_one, sweep
from automation.adapters.vsphere.sessions import Vcenter
from automation.adapters.vsphere.settling import run_task, settle

_PATHS = ("name", PATH, "snapshot.rootSnapshotList", "runtime.consolidationNeeded")


class Snapshot(NamedTuple):
    """One snapshot as its VM shows it; `depth` is 1 where nothing is below it in its chain."""

    id: str
    vm: str  # name of the VM in our marks
    vm_id: str
    name: str
    description: str
    taken_at: datetime
    depth: int


class Chain(NamedTuple):
    """All snapshots of one VM of ours, oldest first."""

    vm: str
    vm_id: str
    snapshots: tuple[Snapshot, ...]
    consolidation_needed: bool

    @property
    def depth(self) -> int:
        """How many deltas its disks are read through at the most."""
        return max((one.depth for one in self.snapshots), default=0)


def list_chains(vcenter: Vcenter) -> list[Chain]:
    """List the snapshots of every VM of ours, in one round trip a page."""
    seen = sweep(vcenter, places_of(vcenter).datacenter, {vim.VirtualMachine: _PATHS})
    ours = (vm_of(one) for one in seen)
    return [chain_of(vm) for vm in ours if vm.owned_by(vcenter.environment, vcenter.site)]


def read_chain(vcenter: Vcenter, vm: Vm) -> Chain:
    """Read the snapshots of one VM."""
    seen = read_one(vcenter, vm.ref, _PATHS)
    return chain_of(vm if seen is None else vm_of(seen))


def chain_of(vm: Vm) -> Chain:
    """Give a VM's snapshots as it was read. Pure."""
    name = vm.mark.name if vm.mark else str(vm.seen.get("name"))
    roots = vm.seen.get("snapshot.rootSnapshotList") or ()
    found = sorted(_flat(name, vm.moid, roots, 1), key=lambda one: (one.taken_at, one.depth))
    needed = bool(vm.seen.get("runtime.consolidationNeeded"))
    return Chain(name, vm.moid, tuple(found), needed)


def _flat(vm: str, vm_id: str, tree: Sequence[Any], depth: int) -> Iterator[Snapshot]:
    for one in tree:
        taken_at = one.createTime.astimezone(UTC)
        moid = str(one.snapshot._moId)
        yield Snapshot(moid, vm, vm_id, str(one.name), str(one.description or ""), taken_at, depth)
        yield from _flat(vm, vm_id, one.childSnapshotList or (), depth + 1)


def take_snapshot(
    vcenter: Vcenter, vm: Vm, name: str, description: str, *, quiesce: bool, timeout_s: float
) -> Snapshot:
    """Take a snapshot without memory; one of that name and description is found, not made twice."""

    def look() -> Snapshot | None:
        known = read_chain(vcenter, vm).snapshots
        return next((one for one in known if (one.name, one.description) == (name, description)), None)

    return settle(
        vcenter,
        f"snapshot {name} could not be taken",
        look,
        lambda: run_task(
            vcenter,
            f"snapshot {name}",
            lambda _content: vm.ref.CreateSnapshot_Task(name, description, False, quiesce),
            timeout_s=timeout_s,
        ),
        busy=vm.ref,
        timeout_s=timeout_s,
    )


def remove_snapshot(vcenter: Vcenter, vm: Vm, moid: str, *, timeout_s: float) -> bool:
    """Remove one snapshot by its id, its children stay; whether it was there."""
    was_there = moid in {one.id for one in read_chain(vcenter, vm).snapshots}
    ref = vcenter.object(vim.vm.Snapshot, moid)
    settle(
        vcenter,
        f"snapshot {moid} could not be removed",
        lambda: None if moid in {one.id for one in read_chain(vcenter, vm).snapshots} else True,
        lambda: run_task(
            vcenter,
            f"remove snapshot {moid}",
            lambda _content: ref.RemoveSnapshot_Task(False, True),
            timeout_s=timeout_s,
        ),
        busy=vm.ref,
        timeout_s=timeout_s,
    )
    return was_there


def consolidate(vcenter: Vcenter, vm: Vm, *, timeout_s: float) -> bool:
    """Merge deltas that no snapshot owns any more; whether there was anything to merge."""
    needed = read_chain(vcenter, vm).consolidation_needed
    settle(
        vcenter,
        f"disks of {vm.moid} could not be consolidated",
        lambda: None if read_chain(vcenter, vm).consolidation_needed else True,
        lambda: run_task(
            vcenter,
            "consolidate",
            lambda _content: vm.ref.ConsolidateVMDisks_Task(),
            timeout_s=timeout_s,
        ),
        busy=vm.ref,
        timeout_s=timeout_s,
    )
    return needed
