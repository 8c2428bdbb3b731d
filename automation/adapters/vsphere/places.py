"""Where things are in a vCenter: cluster, datastores, networks, hosts; and the VM that bears a name."""

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary
from zlib import crc32

from pyVmomi import vim

from automation.adapters.vsphere.marks import PATH, Mark, read_mark
from automation.adapters.vsphere.reading import Seen, read_one, sweep
from automation.adapters.vsphere.sessions import Vcenter
from automation.model.errors import AdapterError

VM_PATHS = (
    "name",
    PATH,
    "config.template",
    "config.changeVersion",
    "config.instanceUuid",
    "config.files.vmPathName",
    "config.cpuHotAddEnabled",
    "config.memoryHotAddEnabled",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.hardware.device",
    "runtime.powerState",
    "runtime.host",
    "guest.toolsRunningStatus",
    "guest.ipAddress",
    "parent",
)
_LIGHT = ("name", PATH, "config.template", "parent")
_KINDS: Mapping[type, tuple[str, ...]] = {
    vim.Datacenter: ("name", "vmFolder"),
    vim.Folder: ("name", "parent"),
    vim.ClusterComputeResource: ("name", "resourcePool", "configuration.drsConfig.enabled"),
    vim.ResourcePool: ("name",),
    vim.Datastore: ("name", "summary.capacity", "summary.freeSpace", "browser"),
    vim.HostSystem: (
        "name",
        "parent",
        "runtime.connectionState",
        "config.network.portgroup",
        "config.network.vswitch",
        "configManager.networkSystem",
        "configManager.autoStartManager",
    ),
    vim.Network: ("name", "customValue"),
    vim.dvs.DistributedVirtualPortgroup: ("name", "key", "config.distributedVirtualSwitch", "customValue"),
    vim.DistributedVirtualSwitch: ("name", "uuid"),
}


class Places(NamedTuple):
    """What one datacenter holds beside VMs; read in one round trip a page."""

    datacenter: Any
    vm_folder: Any
    objects: tuple[Seen, ...]

    def named(self, kind: type, name: str) -> Seen | None:
        return next((one for one in self.of(kind) if one.get("name") == name), None)

    def of(self, kind: type) -> list[Seen]:
        return [one for one in self.objects if isinstance(one.ref, kind)]

    def by_id(self, moid: str) -> Seen | None:
        return next((one for one in self.objects if one.moid == moid), None)

    def hosts_of(self, cluster: Seen) -> list[Seen]:
        return [one for one in self.of(vim.HostSystem) if one.get("parent") == cluster.ref]


def read_places(vcenter: Vcenter) -> Places:
    """Read all of a datacenter but its VMs.

    Raises:
        AdapterError: there is no such datacenter.
    """
    provider = vcenter.provider
    datacenter = vcenter.read(lambda content: content.searchIndex.FindByInventoryPath(provider.datacenter))
    if datacenter is None:
        raise _missing(vcenter, "datacenter", provider.datacenter)
    objects = tuple(sweep(vcenter, datacenter, _KINDS))
    folder = next(one.get("vmFolder") for one in objects if isinstance(one.ref, vim.Datacenter))
    return Places(datacenter, folder, objects)


def require(vcenter: Vcenter, places: Places, kind: type, name: str, word: str) -> Seen:
    """Give what bears a name; an error says what it would have been."""
    found = places.named(kind, name)
    if found is None:
        raise _missing(vcenter, word, name)
    return found


def our_folder(vcenter: Vcenter, places: Places) -> Any | None:
    """The folder of ours for VMs; None until it is made."""
    return next(
        (
            one.ref
            for one in places.of(vim.Folder)
            if one.get("name") == vcenter.provider.folder and one.get("parent") == places.vm_folder
        ),
        None,
    )


def pool_of(vcenter: Vcenter, places: Places) -> Any:
    """The declared resource pool; else that of the cluster."""
    name = vcenter.provider.resource_pool
    if name:
        return require(vcenter, places, vim.ResourcePool, name, "resource pool").ref
    return cluster_of(vcenter, places).get("resourcePool")


def cluster_of(vcenter: Vcenter, places: Places) -> Seen:
    """Give the declared cluster."""
    return require(vcenter, places, vim.ClusterComputeResource, vcenter.provider.cluster, "cluster")


def host_for(vcenter: Vcenter, places: Places, name: str) -> Any | None:
    """Choose the host of a new VM where no DRS does: always the same for a name, spread over all."""
    cluster = cluster_of(vcenter, places)
    if cluster.get("configuration.drsConfig.enabled"):
        return None
    hosts = [one for one in places.hosts_of(cluster) if one.get("runtime.connectionState") == "connected"]
    ranked = sorted(hosts, key=lambda one: str(one.get("name")))
    return ranked[crc32(name.encode()) % len(ranked)].ref if ranked else None


def _missing(vcenter: Vcenter, word: str, name: str) -> AdapterError:
    return AdapterError(
        f"{vcenter.provider.address} has no {word} {name}, or does not show it; nothing was changed",
        hint="correct environment.yml or networks.yml, then ./inv provision.plan "
        f"--env {vcenter.environment}",
    )


# --- what is kept of it ---------------------------------------------------------------------------

_KEPT: WeakKeyDictionary[Vcenter, tuple[str, Places]] = WeakKeyDictionary()
_KEEPING = threading.Lock()


def places_of(vcenter: Vcenter, *, fresh: bool = False) -> Places:
    """Give what a datacenter holds; what does not move within a session is read once.

    A vCenter that was restored from its backup has other ids, and has ended every session.
    """
    with _KEEPING:
        session, known = _KEPT.get(vcenter, ("", None))
    if known is None or fresh or session != vcenter.session_key:
        known = read_places(vcenter)
        with _KEEPING:
            _KEPT[vcenter] = vcenter.session_key, known
    return known


def forget_places(vcenter: Vcenter) -> None:
    """Read anew what a datacenter holds, when it is asked for next: an id was not known any more."""
    with _KEEPING:
        _KEPT.pop(vcenter, None)


# --- VMs ------------------------------------------------------------------------------------------


class Vm(NamedTuple):
    """One VM as it was read, with its mark."""

    seen: Seen
    mark: Mark | None

    @property
    def ref(self) -> Any:
        return self.seen.ref

    @property
    def moid(self) -> str:
        return self.seen.moid

    @property
    def on(self) -> bool:
        return bool(self.seen.get("runtime.powerState") != "poweredOff")

    @property
    def devices(self) -> tuple[Any, ...]:
        return tuple(self.seen.get("config.hardware.device") or ())

    @property
    def address(self) -> str:
        return str(self.seen.get("guest.ipAddress") or "")

    def owned_by(self, environment: str, site: str) -> bool:
        """Whether it bears our mark of this site: one that its disk brought from another is not enough."""
        mark = self.mark
        return mark is not None and (mark.environment, mark.site) == (environment, site)


def vm_of(seen: Seen) -> Vm:
    """Give what was read of a VM, with its mark. Pure."""
    return Vm(seen, read_mark(seen.get(PATH)))


def find_vm(vcenter: Vcenter, name: str) -> Vm | None:
    """Find the VM of ours that bears a name: in our folder, else anywhere by its mark.

    Raises:
        AdapterError: two bear it.
    """
    inside = _in_our_folder(vcenter, name)
    if inside is not None and _is(vcenter, inside, name):
        return inside
    ours = [vm for vm in light_vms(vcenter) if _is(vcenter, vm, name)]
    if len(ours) > 1:
        raise AdapterError(
            f"{vcenter.provider.address}: {' and '.join(vm.moid for vm in ours)} both bear the mark of "
            f"{name}; nothing was changed",
            hint=f"./inv provision.show --env {vcenter.environment}",
        )
    return None if not ours else read_vm(vcenter, ours[0].ref)


def _in_our_folder(vcenter: Vcenter, name: str) -> Vm | None:
    folder = our_folder(vcenter, places_of(vcenter))
    if folder is None:
        return None
    child = vcenter.read(lambda content: content.searchIndex.FindChild(folder, name))
    return read_vm(vcenter, child) if isinstance(child, vim.VirtualMachine) else None


def require_vm(vcenter: Vcenter, name: str) -> Vm:
    """Give the VM of ours that bears a name; nobody else's is touched."""
    found = find_vm(vcenter, name)
    if found is None:
        raise AdapterError(
            f"{vcenter.provider.address} has no VM {name} that bears the mark of {vcenter.environment}; "
            "nothing was changed",
            hint=f"./inv provision.plan --env {vcenter.environment}",
        )
    return found


def read_vm(vcenter: Vcenter, ref: Any) -> Vm | None:
    """Read one VM; None when it is gone."""
    seen = read_one(vcenter, ref, VM_PATHS)
    return None if seen is None else vm_of(seen)


def light_vms(vcenter: Vcenter) -> list[Vm]:
    """Every VM of the datacenter with its name and mark alone."""
    places = places_of(vcenter)
    return [vm_of(seen) for seen in sweep(vcenter, places.datacenter, {vim.VirtualMachine: _LIGHT})]


def _is(vcenter: Vcenter, vm: Vm, name: str) -> bool:
    return vm.owned_by(vcenter.environment, vcenter.site) and vm.mark is not None and vm.mark.name == name


def ids_of(vm: Vm, disks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the ids of a VM's parts: the server, and each disk that was declared."""
    return {"server": vm.moid, **{f"disk:{name}": f"{vm.moid}/{at}" for name, at in (disks or {}).items()}}
