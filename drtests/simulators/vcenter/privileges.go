package main

import (
	"regexp"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// What calls need, by the "Required Privileges" of the vSphere Web Services API reference: not made from what
// Mainstay believes, so that the two can be compared. Reading needs nothing here; in a vCenter it needs
// System.View and System.Read, which are in every role.

// Methods that need one privilege on their own object, or on the entity whose part it is.
var onItself = map[string]string{
	"CreateFolder":                   "Folder.Create",
	"Rename_Task":                    "VirtualMachine.Config.Rename",
	"PowerOnVM_Task":                 "VirtualMachine.Interact.PowerOn",
	"PowerOffVM_Task":                "VirtualMachine.Interact.PowerOff",
	"ShutdownGuest":                  "VirtualMachine.Interact.PowerOff",
	"RebootGuest":                    "VirtualMachine.Interact.Reset",
	"ResetVM_Task":                   "VirtualMachine.Interact.Reset",
	"SuspendVM_Task":                 "VirtualMachine.Interact.Suspend",
	"CustomizeVM_Task":               "VirtualMachine.Provisioning.Customize",
	"MarkAsTemplate":                 "VirtualMachine.Provisioning.MarkAsTemplate",
	"CreateSnapshot_Task":            "VirtualMachine.State.CreateSnapshot",
	"RemoveSnapshot_Task":            "VirtualMachine.State.RemoveSnapshot",
	"RemoveAllSnapshots_Task":        "VirtualMachine.State.RemoveSnapshot",
	"ConsolidateVMDisks_Task":        "VirtualMachine.State.RemoveSnapshot",
	"RevertToSnapshot_Task":          "VirtualMachine.State.RevertToSnapshot",
	"RenameSnapshot":                 "VirtualMachine.State.RenameSnapshot",
	"AddVirtualSwitch":               "Host.Config.Network",
	"RemoveVirtualSwitch":            "Host.Config.Network",
	"AddPortGroup":                   "Host.Config.Network",
	"UpdatePortGroup":                "Host.Config.Network",
	"RemovePortGroup":                "Host.Config.Network",
	"ReconfigureAutostart":           "Host.Config.AutoStart",
	"StartService":                   "Host.Config.NetService",
	"StopService":                    "Host.Config.NetService",
	"RestartService":                 "Host.Config.NetService",
	"UpdateServicePolicy":            "Host.Config.NetService",
	"UpdateDateTimeConfig":           "Host.Config.DateTime",
	"ChangeLockdownMode":             "Host.Config.Settings",
	"QueryLockdownExceptions":        "Global.Settings",
	"UpdateLockdownExceptions":       "Host.Config.Settings",
	"AddCustomFieldDef":              "Global.ManageCustomFields",
	"RemoveCustomFieldDef":           "Global.ManageCustomFields",
	"RenameCustomFieldDef":           "Global.ManageCustomFields",
	"SearchDatastore_Task":           "Datastore.Browse",
	"SearchDatastoreSubFolders_Task": "Datastore.Browse",
	"AddAuthorizationRole":           "Authorization.ModifyRoles",
	"UpdateAuthorizationRole":        "Authorization.ModifyRoles",
	"RemoveAuthorizationRole":        "Authorization.ModifyRoles",
	"TerminateSession":               "Sessions.TerminateSession",
}

// Methods that need nothing beyond reading.
var onlyReads = regexp.MustCompile(`^(Retrieve|ContinueRetrieve|CancelRetrieve|WaitFor|CancelWaitFor|CheckForUpdates|Fetch|Find|Has|Login$|Logout$|CurrentTime$|Create(ContainerView|Filter|PropertyCollector)$|Destroy(View|PropertyFilter|PropertyCollector)$)`)

// Gives what a call needs; a method that is not known here may be called by whoever may do all.
func (center *vcenter) needsOf(ctx *simulator.Context, method *simulator.Method) ([]need, bool) {
	itself := center.entityOf(ctx, method.This)
	if privilege, known := onItself[method.Name]; known {
		return []need{{privilege, itself}}, true
	}
	switch asked := method.Body.(type) {
	case *types.CloneVM_Task:
		return center.needsOfClone(ctx, asked), true
	case *types.ReconfigVM_Task:
		return center.needsOfReconfigure(ctx, asked), true
	case *types.RegisterVM_Task:
		return append([]need{{"VirtualMachine.Inventory.Register", itself}}, onPool(asked.Pool)...), true
	case *types.Destroy_Task:
		return center.needsOfRemoval(ctx, itself, removals[itself.Type])
	case *types.UnregisterVM:
		return center.needsOfRemoval(ctx, itself, "VirtualMachine.Inventory.Unregister")
	case *types.SetField:
		return []need{{"Global.SetCustomField", asked.Entity}}, true
	case *types.UpdateOptions:
		if itself == center.client.ServiceContent.RootFolder {
			return []need{{"Global.Settings", itself}}, true
		}
		return []need{{"Host.Config.AdvancedConfig", itself}}, true
	case *types.ReconfigureDVPortgroup_Task:
		return needsOfPortgroup(itself, asked.Spec), true
	case *types.SetEntityPermissions:
		return []need{{"Authorization.ModifyPermissions", asked.Entity}}, true
	case *types.HasPrivilegeOnEntities:
		var needs []need
		for _, entity := range asked.Entity {
			needs = append(needs, need{"System.Read", entity})
		}
		return needs, true
	}
	if files, known := filesOf(method.Body); known {
		return center.needsOfFiles(ctx, files), true
	}
	return nil, onlyReads.MatchString(method.Name)
}

// What the removal of an entity needs, on itself and on what it stands in.
var removals = map[string]string{
	"VirtualMachine":              "VirtualMachine.Inventory.Delete",
	"Folder":                      "Folder.Delete",
	"DistributedVirtualPortgroup": "DVPortgroup.Delete",
	"Network":                     "Network.Delete",
}

func (center *vcenter) needsOfRemoval(ctx *simulator.Context, entity types.ManagedObjectReference, privilege string) ([]need, bool) {
	if privilege == "" {
		return nil, false
	}
	needs := []need{{privilege, entity}}
	if parent := parentOf(ctx, entity); parent != nil {
		needs = append(needs, need{privilege, *parent})
	}
	return needs, true
}

// The reference names a group's policy apart; what its ports have by default is policy, too, and is in the
// same spec as all else.
func needsOfPortgroup(group types.ManagedObjectReference, spec types.DVPortgroupConfigSpec) []need {
	needs := []need{{"DVPortgroup.Modify", group}}
	if spec.Policy != nil || spec.DefaultPortConfig != nil {
		needs = append(needs, need{"DVPortgroup.PolicyOp", group})
	}
	if len(spec.Scope) > 0 {
		needs = append(needs, need{"DVPortgroup.ScopeOp", group})
	}
	return needs
}

// --- files ------------------------------------------------------------------------------------------

// Gives the paths that a call on files of datastores names, of the source and of the destination.
func filesOf(asked types.AnyType) ([]string, bool) {
	switch one := asked.(type) {
	case *types.MakeDirectory:
		return []string{one.Name}, true
	case *types.DeleteDatastoreFile_Task:
		return []string{one.Name}, true
	case *types.DeleteVirtualDisk_Task:
		return []string{one.Name}, true
	case *types.CopyDatastoreFile_Task:
		return []string{one.SourceName, one.DestinationName}, true
	case *types.MoveDatastoreFile_Task:
		return []string{one.SourceName, one.DestinationName}, true
	case *types.CopyVirtualDisk_Task:
		return []string{one.SourceName, one.DestName}, true
	case *types.MoveVirtualDisk_Task:
		return []string{one.SourceName, one.DestName}, true
	}
	return nil, false
}

func (center *vcenter) needsOfFiles(ctx *simulator.Context, files []string) []need {
	var needs []need
	for _, file := range files {
		if store := storeOf(ctx, file); store != nil {
			needs = append(needs, need{"Datastore.FileManagement", *store})
		}
	}
	return needs
}

// Gives the datastore of a path; none where there is no such one, which the call itself then says.
func storeOf(ctx *simulator.Context, file string) *types.ManagedObjectReference {
	var path object.DatastorePath
	if !path.FromString(file) {
		return nil
	}
	stores := ctx.Map.All("Datastore")
	number := slices.IndexFunc(stores, func(one mo.Entity) bool { return one.Entity().Name == path.Datastore })
	if number < 0 {
		return nil
	}
	reference := stores[number].Reference()
	return &reference
}
