package main

import (
	"fmt"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// Makes a template with one disk and one port, unless it is there.
func (center *vcenter) makeTemplate(name string) error {
	root := center.service.Context
	folder := center.machineFolder()
	if root.Map.FindByName(name, folder.ChildEntity) != nil {
		return nil
	}
	began := folder.CreateVMTask(root, &types.CreateVM_Task{
		This: folder.Self, Pool: center.pool, Config: center.templateSpec(name),
	})
	made, fault := await(root, began.(*methods.CreateVM_TaskBody).Res.Returnval)
	if fault != nil {
		return fmt.Errorf("%T", fault)
	}
	vm := center.complete(root, made)
	center.writeFile(root, vm)
	if fault := faultOf(vm.MarkAsTemplate(&types.MarkAsTemplate{This: vm.Self})); fault != nil {
		return fmt.Errorf("%T", fault)
	}
	return nil
}

func (center *vcenter) machineFolder() *simulator.Folder {
	root := center.service.Context
	datacenter := root.Map.Any("Datacenter").(*simulator.Datacenter)
	return root.Map.Get(datacenter.VmFolder).(*simulator.Folder)
}

func (center *vcenter) templateSpec(name string) types.VirtualMachineConfigSpec {
	path := fmt.Sprintf("[%s] %s/%s", center.Datastores[0], name, name)
	told := map[string]string{
		"scsi0:0.fileName": path + ".vmdk", "scsi0:0.capacityKB": fmt.Sprint(templateDiskKB), "scsi0:0.thin": "true",
		"ethernet0.networkName": center.Networks[0],
	}
	spec := types.VirtualMachineConfigSpec{
		Name: name, GuestId: defaultGuest, NumCPUs: 1, MemoryMB: templateMB,
		Files: &types.VirtualMachineFileInfo{VmPathName: path + ".vmx"},
	}
	devices := disksOf(told, "")
	for _, card := range cardsOf(told) {
		devices = append(devices, card)
	}
	for _, one := range devices {
		change := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: one}
		if _, disk := one.(*types.VirtualDisk); disk {
			change.FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
		}
		spec.DeviceChange = append(spec.DeviceChange, change)
	}
	return spec
}
