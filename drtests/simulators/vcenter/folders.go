package main

import (
	"os"
	"path"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// A folder: govmomi's, and what it leaves out.
type folder struct {
	*simulator.Folder
	center *vcenter
}

// The custom attributes: govmomi's, which end in a panic where the entity is gone.
type fields struct {
	*simulator.CustomFieldsManager
	center *vcenter
}

func (one *fields) SetField(ctx *simulator.Context, asked *types.SetField) soap.HasFault {
	if missing := missingOf(ctx, &asked.Entity); missing != nil {
		return &methods.SetFieldBody{Fault_: refusal(missing)}
	}
	return one.CustomFieldsManager.SetField(ctx, asked)
}

// Defines an attribute of text, as every one is; govmomi says the type of its objects instead.
func (one *fields) AddCustomFieldDef(ctx *simulator.Context, asked *types.AddCustomFieldDef) soap.HasFault {
	answer := one.CustomFieldsManager.AddCustomFieldDef(ctx, asked)
	if body, ok := answer.(*methods.AddCustomFieldDefBody); ok && body.Res != nil {
		body.Res.Returnval.Type = "string"
		one.Field[len(one.Field)-1].Type = "string"
	}
	return answer
}

// Creates a machine, unless its name is taken in the folder; govmomi takes it twice.
func (one *folder) CreateVMTask(ctx *simulator.Context, asked *types.CreateVM_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "CreateVM_Task", "createVm", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		made, fault := one.createAlone(own, asked)
		if fault != nil {
			return nil, fault
		}
		one.center.writeFile(own, one.center.complete(own, made))
		return made, nil
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task}}
}

func (one *folder) createAlone(own *simulator.Context, asked *types.CreateVM_Task) (types.AnyType, types.BaseMethodFault) {
	one.center.naming.Lock()
	defer one.center.naming.Unlock()
	if asked.Config.Files == nil {
		return nil, &types.InvalidVmConfig{Property: "configSpec.files"}
	}
	faults := []types.BaseMethodFault{
		one.center.checkName(own, one.Self, asked.Config.Name),
		missingOf(own, &asked.Pool, asked.Host),
		one.center.checkPath(asked.Config.Files.VmPathName),
		one.center.checkDevices(own, asked.Config.DeviceChange),
	}
	for _, fault := range faults {
		if fault != nil {
			return nil, fault
		}
	}
	began := one.Folder.CreateVMTask(own, asked)
	return await(own, began.(*methods.CreateVM_TaskBody).Res.Returnval)
}

// Registers a machine with the hardware that its file tells; govmomi gives it one processor and no disk.
func (one *folder) RegisterVMTask(ctx *simulator.Context, asked *types.RegisterVM_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "RegisterVM_Task", "registerVm", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return one.registerAlone(own, asked)
	})
	return &methods.RegisterVM_TaskBody{Res: &types.RegisterVM_TaskResponse{Returnval: task}}
}

func (one *folder) registerAlone(own *simulator.Context, asked *types.RegisterVM_Task) (types.AnyType, types.BaseMethodFault) {
	one.center.naming.Lock()
	defer one.center.naming.Unlock()
	if fault := one.center.checkPath(asked.Path); fault != nil {
		return nil, fault
	}
	content, err := os.ReadFile(one.center.pathOf(asked.Path))
	if err != nil {
		return nil, &types.NotFound{}
	}
	made, fault := one.registerAs(own, asked, readVmx(string(content)))
	if fault == nil {
		one.center.takeFile(asked.Path)
	}
	return made, fault
}

func (one *folder) registerAs(own *simulator.Context, asked *types.RegisterVM_Task, told map[string]string) (types.AnyType, types.BaseMethodFault) {
	if asked.Name == "" {
		asked.Name = told["displayName"]
	}
	if fault := one.center.checkName(own, one.Self, asked.Name); fault != nil {
		return nil, fault
	}
	if fault := missingOf(own, asked.Pool, asked.Host); fault != nil {
		return nil, fault
	}
	one.center.makeBeside(asked.Path, asked.Name+".nvram", "vmware.log") // govmomi wants both
	began := one.Folder.RegisterVMTask(own, asked)
	made, fault := await(own, began.(*methods.RegisterVM_TaskBody).Res.Returnval)
	if fault != nil {
		return nil, fault
	}
	vm := one.center.complete(own, made)
	return made, one.center.furnish(own, vm, told)
}

func (one *folder) MoveIntoFolderTask(ctx *simulator.Context, asked *types.MoveIntoFolder_Task) soap.HasFault {
	for number := range asked.List {
		if missing := missingOf(ctx, &asked.List[number]); missing != nil {
			return &methods.MoveIntoFolder_TaskBody{Fault_: refusal(missing)}
		}
	}
	return one.Folder.MoveIntoFolderTask(ctx, asked)
}

// --- checks, without which govmomi ends in a panic ------------------------------------------------

func (center *vcenter) checkName(own *simulator.Context, folder types.ManagedObjectReference, name string) types.BaseMethodFault {
	parent, ok := own.Map.Get(folder).(*simulator.Folder)
	if !ok {
		return &types.ManagedObjectNotFound{Obj: folder}
	}
	if name == "" {
		return &types.InvalidName{Name: name}
	}
	if taken := own.Map.FindByName(name, parent.ChildEntity); taken != nil {
		return &types.DuplicateName{Name: name, Object: taken.Reference()}
	}
	return nil
}

func (center *vcenter) checkClone(own *simulator.Context, asked *types.CloneVM_Task) types.BaseMethodFault {
	where := asked.Spec.Location
	if fault := missingOf(own, &asked.Folder, where.Pool, where.Host, where.Datastore); fault != nil {
		return fault
	}
	if fault := center.checkDevices(own, where.DeviceChange); fault != nil || asked.Spec.Config == nil {
		return fault
	}
	return center.checkDevices(own, asked.Spec.Config.DeviceChange)
}

func (center *vcenter) checkDevices(own *simulator.Context, changes []types.BaseVirtualDeviceConfigSpec) types.BaseMethodFault {
	for number, change := range changes {
		spec := change.GetVirtualDeviceConfigSpec()
		property := types.InvalidVmConfig{Property: "deviceChange.device.backing"}
		wrong := &types.InvalidDeviceBacking{InvalidDeviceSpec: types.InvalidDeviceSpec{
			InvalidVmConfig: property, DeviceIndex: int32(number),
		}}
		if spec.Device == nil {
			return wrong
		}
		switch backing := spec.Device.GetVirtualDevice().Backing.(type) {
		case *types.VirtualEthernetCardNetworkBackingInfo:
			if center.network(own, backing.DeviceName) == nil && spec.Operation != types.VirtualDeviceConfigSpecOperationRemove {
				return wrong
			}
			if backing.Network == nil && spec.Operation == types.VirtualDeviceConfigSpecOperationRemove {
				backing.Network = &types.ManagedObjectReference{Type: "Network", Value: "missing"}
			}
		case types.BaseVirtualDeviceFileBackingInfo:
			file := backing.GetVirtualDeviceFileBackingInfo().FileName
			if file != "" && center.checkPath(file) != nil {
				return wrong
			}
		}
	}
	return nil
}

func (center *vcenter) network(own *simulator.Context, name string) *mo.Network {
	for _, one := range own.Map.All("Network") {
		if network, ok := one.(*mo.Network); ok && network.Name == name {
			return network
		}
	}
	return nil
}

// Refuses a path on a datastore that there is not, or out of it.
func (center *vcenter) checkPath(name string) types.BaseMethodFault {
	var file object.DatastorePath
	if !file.FromString(name) || strings.Contains(file.Path, "..") {
		return &types.InvalidDatastorePath{DatastorePath: name}
	}
	if center.folders[file.Datastore] == "" {
		return &types.InvalidDatastore{Name: file.Datastore}
	}
	return nil
}

// Gives the file of the machine we run on that a path on a datastore stands for.
func (center *vcenter) pathOf(name string) string {
	var file object.DatastorePath
	file.FromString(name)
	return path.Join(center.folders[file.Datastore], file.Path)
}

func (center *vcenter) makeBeside(name string, files ...string) {
	for _, file := range files {
		beside := path.Join(path.Dir(center.pathOf(name)), file)
		if made, err := os.OpenFile(beside, os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			_ = made.Close()
		}
	}
}

func missingOf(own *simulator.Context, wanted ...*types.ManagedObjectReference) types.BaseMethodFault {
	for _, one := range wanted {
		if one != nil && own.Map.Get(*one) == nil {
			return &types.ManagedObjectNotFound{Obj: *one}
		}
	}
	return nil
}
