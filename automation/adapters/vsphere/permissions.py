"""What may be asked of a vCenter: every method that this adapter calls, and the privileges it needs. Pure.

A method that does not stand here is not called: the stub refuses it. So what `provision.permissions` prints
lacks nothing. System.Anonymous, System.View and System.Read are in every role of vSphere.
Source: the "Required Privileges" of each method in the vSphere Web Services API reference.
"""

from collections.abc import Iterable, Mapping

_BROWSE = ("Datastore.Browse",)
_FILES = ("Datastore.FileManagement",)
_HARDWARE = (
    "VirtualMachine.Config.AddNewDisk",
    "VirtualMachine.Config.AddRemoveDevice",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.Annotation",
    "VirtualMachine.Config.CPUCount",
    "VirtualMachine.Config.DiskExtend",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Config.Memory",
    "VirtualMachine.Config.RemoveDisk",
    "VirtualMachine.Config.Settings",
    "Datastore.AllocateSpace",
    "Network.Assign",
)

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
        *_HARDWARE,
    ),
    "ReconfigVM_Task": _HARDWARE,
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
# What a login for VMs alone may lack.
OF_BASELINES = frozenset({"vsphere.collect_facts", "vsphere.enforce_calls", "vsphere.undo_calls"})


def privileges_of(methods: Iterable[str]) -> tuple[str, ...]:
    """Give the privileges that methods need, sorted."""
    return tuple(sorted({privilege for method in methods for privilege in METHODS[method]}))


def privileges_for(addresses: Iterable[str]) -> tuple[str, ...]:
    """Give the privileges that actions need; an address of another adapter needs none here."""
    methods = {method for address in addresses for method in ACTIONS.get(address, ())}
    return privileges_of(methods)


def place_of(privilege: str) -> str:
    """Say on what a privilege is to be granted, in the words of a vCenter's inventory."""
    group = privilege.partition(".")[0]
    return {
        "Datastore": "datastore",
        "Network": "networks",
        "DVPortgroup": "networks",
        "Resource": "resource pool",
        "Host": "cluster",
        "Global": "root folder",
    }.get(group, "datacenter")
