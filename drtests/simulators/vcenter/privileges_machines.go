package main

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Where a machine is, or will be: what it has, what its settings are judged on, where new disks go.
type machinePlace struct {
	devices []types.BaseVirtualDevice
	on      types.ManagedObjectReference
	home    *types.ManagedObjectReference
}

func (center *vcenter) placeOf(ctx *simulator.Context, reference types.ManagedObjectReference) (machinePlace, bool) {
	vm, ok := ctx.Map.Get(reference).(*simulator.VirtualMachine)
	if !ok {
		return machinePlace{}, false
	}
	var place machinePlace
	ctx.WithLock(vm.Self, func() {
		place = machinePlace{vm.Config.Hardware.Device, vm.Self, storeOf(ctx, vm.Config.Files.VmPathName)}
	})
	return place, true
}

func (center *vcenter) needsOfReconfigure(ctx *simulator.Context, asked *types.ReconfigVM_Task) []need {
	place, there := center.placeOf(ctx, asked.This)
	if !there {
		return nil
	}
	return center.needsOfConfig(ctx, asked.Spec, place)
}

// A clone's settings are judged where it will stand: on its folder.
func (center *vcenter) needsOfClone(ctx *simulator.Context, asked *types.CloneVM_Task) []need {
	source, there := center.placeOf(ctx, asked.This)
	if !there {
		return nil
	}
	isTemplate := ctx.Map.Get(asked.This).(*simulator.VirtualMachine).Config.Template
	spec, kind := asked.Spec, "Clone"
	switch {
	case isTemplate && spec.Template:
		kind = "CloneTemplate"
	case isTemplate:
		kind = "DeployTemplate"
	case spec.Template:
		kind = "CreateTemplateFromVM"
	}
	needs := []need{
		{"VirtualMachine.Provisioning." + kind, asked.This},
		{"VirtualMachine.Inventory.CreateFromExisting", asked.Folder},
	}
	if spec.Customization != nil {
		needs = append(needs, need{"VirtualMachine.Provisioning.Customize", asked.This})
	}
	if !spec.Template {
		needs = append(needs, onPool(spec.Location.Pool)...)
	}
	place := machinePlace{source.devices, asked.Folder, source.home}
	if spec.Location.Datastore != nil {
		place.home = spec.Location.Datastore
	}
	if place.home != nil {
		needs = append(needs, need{"Datastore.AllocateSpace", *place.home})
	}
	var config types.VirtualMachineConfigSpec
	if spec.Config != nil {
		config = *spec.Config
	}
	config.DeviceChange = append(config.DeviceChange[:len(config.DeviceChange):len(config.DeviceChange)], spec.Location.DeviceChange...)
	needs = append(needs, center.onKeptNetworks(ctx, source.devices, config.DeviceChange)...)
	return append(needs, center.needsOfConfig(ctx, config, place)...)
}

func onPool(pool *types.ManagedObjectReference) []need {
	if pool == nil {
		return nil
	}
	return []need{{"Resource.AssignVMToPool", *pool}}
}

// A clone is connected to the networks of its source, unless its adapters are changed.
func (center *vcenter) onKeptNetworks(ctx *simulator.Context, devices []types.BaseVirtualDevice, changes []types.BaseVirtualDeviceConfigSpec) []need {
	changed := map[int32]bool{}
	for _, change := range changes {
		if device := change.GetVirtualDeviceConfigSpec().Device; device != nil {
			changed[device.GetVirtualDevice().Key] = true
		}
	}
	var needs []need
	for _, device := range devices {
		if !changed[device.GetVirtualDevice().Key] {
			needs = append(needs, center.onNetwork(ctx, device)...)
		}
	}
	return needs
}

// Settings with a privilege of their own, by the names of their fields; DeviceChange is looked into.
var ofSettings = map[string]string{
	"Name":                  "VirtualMachine.Config.Rename",
	"Annotation":            "VirtualMachine.Config.Annotation",
	"NumCPUs":               "VirtualMachine.Config.CPUCount",
	"NumCoresPerSocket":     "VirtualMachine.Config.CPUCount",
	"MemoryMB":              "VirtualMachine.Config.Memory",
	"ExtraConfig":           "VirtualMachine.Config.AdvancedConfig",
	"SwapPlacement":         "VirtualMachine.Config.SwapPlacement",
	"ChangeTrackingEnabled": "VirtualMachine.Config.ChangeTracking",
	"MaxMksConnections":     "VirtualMachine.Config.MksControl",
	"GuestAutoLockEnabled":  "VirtualMachine.Config.MksControl",
	"ManagedBy":             "VirtualMachine.Config.ManagedBy",
	"CpuAllocation":         "VirtualMachine.Config.Resource",
	"MemoryAllocation":      "VirtualMachine.Config.Resource",
	"CpuAffinity":           "VirtualMachine.Config.Resource",
	"MemoryAffinity":        "VirtualMachine.Config.Resource",
	"NetworkShaper":         "VirtualMachine.Config.Resource",
}

// Gives what new settings need: all that have no privilege of their own are "basic settings".
func (center *vcenter) needsOfConfig(ctx *simulator.Context, spec types.VirtualMachineConfigSpec, place machinePlace) []need {
	var needs []need
	fields := reflect.ValueOf(spec)
	for number := range fields.NumField() {
		name := fields.Type().Field(number).Name
		if fields.Field(number).IsZero() || name == "ChangeVersion" || name == "DeviceChange" || name == "DynamicData" {
			continue
		}
		privilege, own := ofSettings[name]
		if !own {
			privilege = "VirtualMachine.Config.Settings"
		}
		needs = append(needs, need{privilege, place.on})
	}
	for _, change := range spec.DeviceChange {
		needs = append(needs, center.needsOfDevice(ctx, change.GetVirtualDeviceConfigSpec(), place)...)
	}
	return needs
}

func (center *vcenter) needsOfDevice(ctx *simulator.Context, change *types.VirtualDeviceConfigSpec, place machinePlace) []need {
	if change.Device == nil {
		return nil
	}
	of := func(privilege string) need { return need{"VirtualMachine.Config." + privilege, place.on} }
	disk, isDisk := change.Device.(*types.VirtualDisk)
	switch {
	case change.Operation == types.VirtualDeviceConfigSpecOperationRemove && isDisk:
		return []need{of("RemoveDisk")}
	case change.Operation == types.VirtualDeviceConfigSpecOperationRemove:
		return []need{of("AddRemoveDevice")}
	case change.Operation == types.VirtualDeviceConfigSpecOperationEdit && isDisk:
		return needsOfDisk(ctx, disk, place)
	case change.Operation == types.VirtualDeviceConfigSpecOperationEdit:
		return center.needsOfEdit(ctx, change.Device, place)
	case isDisk && change.FileOperation == "":
		return []need{of("AddExistingDisk")}
	case isDisk:
		return append(onStore(ctx, disk, place), of("AddNewDisk"))
	}
	return append(center.onNetwork(ctx, change.Device), of("AddRemoveDevice"))
}

func needsOfDisk(ctx *simulator.Context, disk *types.VirtualDisk, place machinePlace) []need {
	was, ok := deviceOf(place.devices, disk.Key).(*types.VirtualDisk)
	if ok && max(disk.CapacityInKB, disk.CapacityInBytes/1024) > was.CapacityInKB {
		return append(onStore(ctx, disk, place), need{"VirtualMachine.Config.DiskExtend", place.on})
	}
	return []need{{"VirtualMachine.Config.EditDevice", place.on}}
}

func onStore(ctx *simulator.Context, disk *types.VirtualDisk, place machinePlace) []need {
	store := place.home
	if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
		told := backing.GetVirtualDeviceFileBackingInfo()
		if told.Datastore != nil {
			store = told.Datastore
		} else if named := storeOf(ctx, told.FileName); named != nil {
			store = named
		}
	}
	if store == nil {
		return nil
	}
	return []need{{"Datastore.AllocateSpace", *store}}
}

// An adapter that is connected or cut now needs another privilege than one whose settings are changed.
func (center *vcenter) needsOfEdit(ctx *simulator.Context, device types.BaseVirtualDevice, place machinePlace) []need {
	var needs []need
	is, was := device.GetVirtualDevice(), deviceOf(place.devices, device.GetVirtualDevice().Key)
	before := stateOf(was)
	after := before
	if is.Connectable != nil {
		after = *is.Connectable
	}
	if after.Connected != before.Connected {
		needs = append(needs, need{"VirtualMachine.Interact.DeviceConnection", place.on})
	}
	network := center.networkOf(ctx, device)
	if was == nil || network != center.networkOf(ctx, was) {
		needs = append(needs, center.onNetwork(ctx, device)...)
	}
	moved := was == nil || network != center.networkOf(ctx, was)
	if moved || after.StartConnected != before.StartConnected || after.AllowGuestControl != before.AllowGuestControl {
		needs = append(needs, need{"VirtualMachine.Config.EditDevice", place.on})
	}
	return needs
}

func stateOf(device types.BaseVirtualDevice) types.VirtualDeviceConnectInfo {
	if device == nil || device.GetVirtualDevice().Connectable == nil {
		return types.VirtualDeviceConnectInfo{}
	}
	return *device.GetVirtualDevice().Connectable
}

func deviceOf(devices []types.BaseVirtualDevice, key int32) types.BaseVirtualDevice {
	for _, one := range devices {
		if one.GetVirtualDevice().Key == key {
			return one
		}
	}
	return nil
}

func (center *vcenter) onNetwork(ctx *simulator.Context, device types.BaseVirtualDevice) []need {
	network := center.networkOf(ctx, device)
	if network.Value == "" {
		return nil
	}
	return []need{{"Network.Assign", network}}
}

// Gives the network of an adapter; none of any other device, and of one whose network is not here.
func (center *vcenter) networkOf(ctx *simulator.Context, device types.BaseVirtualDevice) types.ManagedObjectReference {
	switch backing := device.GetVirtualDevice().Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		if backing.Network != nil && ctx.Map.Get(*backing.Network) != nil {
			return *backing.Network
		}
		if network := center.network(ctx, backing.DeviceName); network != nil {
			return network.Self
		}
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		return types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: backing.Port.PortgroupKey}
	}
	return types.ManagedObjectReference{}
}

func parentOf(ctx *simulator.Context, reference types.ManagedObjectReference) *types.ManagedObjectReference {
	one, ok := ctx.Map.Get(reference).(mo.Entity)
	if !ok {
		return nil
	}
	return one.Entity().Parent
}
