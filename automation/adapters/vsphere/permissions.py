"""What may be asked of a vCenter: every method that this adapter calls, and the privileges it needs. Pure.

A method that does not stand here is not called: the stub refuses it. So what `provision.permissions` prints
lacks nothing. System.Anonymous, System.View and System.Read are in every role of vSphere.
Source: the "Required Privileges" of each method in the vSphere Web Services API reference.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

_BROWSE = ("Datastore.Browse",)
_FILES = ("Datastore.FileManagement",)
_NEW_DISK = ("VirtualMachine.Config.AddNewDisk", "Datastore.AllocateSpace")
_ADAPTERS = ("VirtualMachine.Config.EditDevice", "VirtualMachine.Config.AddRemoveDevice", "Network.Assign")
_SIZE = ("VirtualMachine.Config.CPUCount", "VirtualMachine.Config.Memory")
_CONNECTION = ("VirtualMachine.Interact.DeviceConnection", "VirtualMachine.Config.EditDevice")

READS: Mapping[str, tuple[str, ...]] = {
    "RetrieveServiceContent": (),
    "Login": (),
    "Logout": (),
    "CurrentTime": (),
    "RetrievePropertiesEx": (),
    "ContinueRetrievePropertiesEx": (),
    "FindByInventoryPath": (),
    "FindChild": (),
    "HasPrivilegeOnEntities": (),
    "SearchDatastore_Task": _BROWSE,
    "QueryLockdownExceptions": ("Global.Settings",),
}
CHANGES: Mapping[str, tuple[str, ...]] = {
    "CreateFolder": ("Folder.Create",),
    "CloneVM_Task": (
        "VirtualMachine.Provisioning.DeployTemplate",
        "VirtualMachine.Inventory.CreateFromExisting",
        "Resource.AssignVMToPool",
        "VirtualMachine.Config.AdvancedConfig",
        "VirtualMachine.Config.Annotation",
        "VirtualMachine.Config.Settings",
        *_NEW_DISK,
        *_ADAPTERS,
        *_SIZE,
    ),
    "ReconfigVM_Task": ("VirtualMachine.Config.AdvancedConfig",),  # our mark; what else a call sets: SETTINGS
    "PowerOnVM_Task": ("VirtualMachine.Interact.PowerOn",),
    "PowerOffVM_Task": ("VirtualMachine.Interact.PowerOff",),
    "ShutdownGuest": ("VirtualMachine.Interact.PowerOff",),
    "ReconfigureAutostart": ("Host.Config.AutoStart",),
    "Destroy_Task": ("VirtualMachine.Inventory.Delete",),
    "UnregisterVM": ("VirtualMachine.Inventory.Unregister",),
    "RegisterVM_Task": ("VirtualMachine.Inventory.Register", "Resource.AssignVMToPool"),
    "MakeDirectory": _FILES,
    "CopyDatastoreFile_Task": _FILES,
    "CopyVirtualDisk_Task": _FILES,
    "DeleteDatastoreFile_Task": _FILES,
    "MoveVirtualDisk_Task": _FILES,
    "AddVirtualSwitch": ("Host.Config.Network",),
    "AddPortGroup": ("Host.Config.Network",),
    "UpdatePortGroup": ("Host.Config.Network",),
    "RemovePortGroup": ("Host.Config.Network",),
    "AddCustomFieldDef": ("Global.ManageCustomFields",),
    "SetField": ("Global.SetCustomField",),
    "CreateSnapshot_Task": ("VirtualMachine.State.CreateSnapshot",),
    "RemoveSnapshot_Task": ("VirtualMachine.State.RemoveSnapshot",),
    "ConsolidateVMDisks_Task": ("VirtualMachine.State.RemoveSnapshot",),
    "StartService": ("Host.Config.NetService",),
    "StopService": ("Host.Config.NetService",),
    "UpdateServicePolicy": ("Host.Config.NetService",),
    "UpdateOptions": ("Host.Config.AdvancedConfig",),
    "ChangeLockdownMode": ("Host.Config.Settings",),
    "ReconfigureDVPortgroup_Task": ("DVPortgroup.Modify", "DVPortgroup.PolicyOp"),
}
METHODS: Mapping[str, tuple[str, ...]] = {**READS, **CHANGES}

_POWER_ON = frozenset({"PowerOnVM_Task"})
_SHUT_DOWN = frozenset({"ShutdownGuest", "PowerOffVM_Task"})
_MARKED = frozenset({"ReconfigVM_Task"})
_BROWSED = frozenset({"SearchDatastore_Task"})
_HARDENED = frozenset(
    {
        "QueryLockdownExceptions",
        "StartService",
        "StopService",
        "UpdateServicePolicy",
        "UpdateOptions",
        "ChangeLockdownMode",
        "UpdatePortGroup",
        "ReconfigureDVPortgroup_Task",
    }
)
_NAMED = frozenset({"CreateFolder", "AddCustomFieldDef", "SetField"})
# What each action may change or browse; every action may read.
ACTIONS: Mapping[str, frozenset[str]] = {
    "vsphere.create_vm": frozenset({"CreateFolder", "CloneVM_Task"}) | _POWER_ON,
    "vsphere.change_vm": _MARKED | _SHUT_DOWN | _POWER_ON,
    "vsphere.power_on_vm": _POWER_ON,
    "vsphere.shut_down_vm": _SHUT_DOWN,
    "vsphere.fence_vm": _MARKED | {"PowerOffVM_Task", "ReconfigureAutostart"},
    "vsphere.adopt_vm": _MARKED,
    "vsphere.destroy_vm": _MARKED | _BROWSED | {"MakeDirectory", "MoveVirtualDisk_Task", "Destroy_Task"},
    "vsphere.learn_host_key": frozenset(),
    "vsphere.create_network": _NAMED | {"AddVirtualSwitch", "AddPortGroup", "UpdatePortGroup"},
    "vsphere.change_network": frozenset({"AddPortGroup", "UpdatePortGroup"}),
    "vsphere.delete_network": frozenset({"RemovePortGroup"}),
    "vsphere.look_at_replicas": _BROWSED,
    "vsphere.await_replicas": _BROWSED,
    "vsphere.register_replica": _BROWSED | _MARKED | {"CreateFolder", "RegisterVM_Task"},
    "vsphere.unregister_vm": frozenset({"UnregisterVM"}),
    "vsphere.block_vm": _MARKED,
    "vsphere.release_vm": _MARKED | {"ReconfigureAutostart"},
    "vsphere.copy_replica": _BROWSED
    | _MARKED
    | {
        "CreateFolder",
        "MakeDirectory",
        "CopyDatastoreFile_Task",
        "CopyVirtualDisk_Task",
        "RegisterVM_Task",
    },
    "vsphere.remove_copy": frozenset(
        {"PowerOffVM_Task", "Destroy_Task", "DeleteDatastoreFile_Task", "SearchDatastore_Task"}
    ),
    "vsphere.prove_network": frozenset(),
    "vsphere.list_all": _BROWSED,
    "vsphere.take_rollback": frozenset({"CreateSnapshot_Task"}),
    "vsphere.remove_rollbacks": frozenset({"RemoveSnapshot_Task", "ConsolidateVMDisks_Task"}),
    "vsphere.collect_facts": frozenset({"QueryLockdownExceptions"}),
    "vsphere.enforce_calls": _HARDENED,
    "vsphere.undo_calls": _HARDENED,
}
# What the settings need that an action changes of a VM beside its mark.
SETTINGS: Mapping[str, tuple[str, ...]] = {
    "vsphere.change_vm": (*_NEW_DISK, *_ADAPTERS, *_SIZE, "VirtualMachine.Config.DiskExtend"),
    "vsphere.destroy_vm": ("VirtualMachine.Config.RemoveDisk",),
    "vsphere.block_vm": _CONNECTION,
    "vsphere.release_vm": _CONNECTION,
    "vsphere.register_replica": ("VirtualMachine.Config.EditDevice", "Network.Assign"),  # it is off
    "vsphere.copy_replica": ("VirtualMachine.Config.EditDevice", "Network.Assign"),
}
# What plans of servers and networks do: a login for them alone may lack the rest.
OF_SERVERS = frozenset(
    {
        "vsphere.create_vm",
        "vsphere.change_vm",
        "vsphere.power_on_vm",
        "vsphere.shut_down_vm",
        "vsphere.adopt_vm",
        "vsphere.destroy_vm",
        "vsphere.create_network",
        "vsphere.change_network",
        "vsphere.delete_network",
    }
)


class Grant(NamedTuple):
    """What one role holds, where in a vCenter it is given, and whether all below has it, too."""

    place: str
    propagate: bool
    privileges: tuple[str, ...]


# A role on an object counts there instead of what is given above it, so each holds all that is needed there;
# a VM alone has what its folder and what its resource pool hand down.
_PLACES: Mapping[str, tuple[bool, tuple[str, ...]]] = {
    "root folder": (False, ("Global.ManageCustomFields",)),
    "datacenter": (
        True,
        ("VirtualMachine.", "Folder.", "Network.", "DVPortgroup.", "Global.SetCustomField", *_BROWSE),
    ),
    "cluster": (True, ("Host.", "Resource.", "Global.Settings")),
    "datastores": (False, ("Datastore.",)),
}


def privileges_of(methods: Iterable[str]) -> tuple[str, ...]:
    """Give the privileges that methods need, sorted."""
    return tuple(sorted({privilege for method in methods for privilege in METHODS[method]}))


def privileges_for(addresses: Iterable[str]) -> tuple[str, ...]:
    """Give the privileges that actions need; an address of another adapter needs none here."""
    known = [address for address in addresses if address in ACTIONS]
    methods = {method for address in known for method in ACTIONS[address]}
    of_settings = {privilege for address in known for privilege in SETTINGS.get(address, ())}
    return tuple(sorted({*privileges_of(methods), *of_settings}))


def grants_for(addresses: Iterable[str]) -> tuple[Grant, ...]:
    """Give the roles by which actions succeed; that on the root folder may be for reading alone.

    Source: vSphere Security, "Hierarchical Inheritance of Permissions" and "Multiple Permission Settings".
    """
    needed = privileges_for(addresses)
    grants = (
        Grant(place, below, tuple(one for one in needed if one.startswith(kinds)))
        for place, (below, kinds) in _PLACES.items()
    )
    return tuple(one for one in grants if one.privileges or one.place in ("root folder", "datacenter"))
