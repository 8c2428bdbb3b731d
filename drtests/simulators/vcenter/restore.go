package main

import (
	"fmt"
	"log"
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Brings back what a former life kept. Lost are sessions, tasks, events, and branches of snapshots.
func (center *vcenter) bringBack(was kept) error {
	root := center.service.Context
	for _, field := range was.Fields {
		manager := &fields{CustomFieldsManager: root.Map.CustomFieldsManager(), center: center}
		manager.AddCustomFieldDef(root, &types.AddCustomFieldDef{
			Name: field.Name, MoType: field.ManagedObjectType,
		})
	}
	for _, path := range was.Folders {
		center.folderAt(path)
	}
	for _, one := range root.Map.All("HostSystem") {
		center.bringBackHost(one.(*simulator.HostSystem), was)
	}
	for _, one := range root.Map.All("Network") {
		center.setValues(one.Reference(), was.Marks[one.(*mo.Network).Name])
	}
	highest := 0
	for _, one := range was.Machines {
		if err := center.bringBackMachine(one); err != nil {
			log.Printf("machine %s at %s is lost: %v", one.Name, one.Path, err)
		}
		var number int
		_, _ = fmt.Sscanf(one.ID, "vm-%d", &number)
		highest = max(highest, number)
	}
	center.skipTo(highest)
	return nil
}

// Uses up numbers, so that nothing new gets the reference of something kept.
func (center *vcenter) skipTo(highest int) {
	registry := center.service.Context.Map
	for number := 0; number <= highest; {
		spent := registry.Put(&simulator.VirtualMachine{}).Reference()
		registry.Remove(center.service.Context, spent)
		_, _ = fmt.Sscanf(spent.Value, "vm-%d", &number)
	}
}

// Gives a folder below that of all machines, which is made if it is missing.
func (center *vcenter) folderAt(path string) *simulator.Folder {
	root, folder := center.service.Context, center.machineFolder()
	for _, name := range strings.Split(path, "/") {
		if name == "" {
			continue
		}
		found := root.Map.FindByName(name, folder.ChildEntity)
		if found == nil {
			made := folder.CreateFolder(root, &types.CreateFolder{This: folder.Self, Name: name})
			found = root.Map.Get(made.(*methods.CreateFolderBody).Res.Returnval).(*simulator.Folder)
		}
		folder = found.(*simulator.Folder)
	}
	return folder
}

func (center *vcenter) bringBackHost(host *simulator.HostSystem, was kept) {
	root := center.service.Context
	ports := root.Map.Get(*host.ConfigManager.NetworkSystem).(*networkSystem)
	for _, group := range was.Networks[host.Name] {
		policy := types.HostNetworkPolicy{Security: group.Security}
		if ports.group(group.Name) < 0 {
			if ports.switchNamed(group.Switch) == nil {
				ports.AddVirtualSwitch(root, &types.AddVirtualSwitch{VswitchName: group.Switch})
			}
			spec := types.HostPortGroupSpec{Name: group.Name, VswitchName: group.Switch, VlanId: group.Vlan, Policy: policy}
			ports.AddPortGroup(root, &types.AddPortGroup{Portgrp: spec})
			continue
		}
		spec := ports.NetworkInfo.Portgroup[ports.group(group.Name)].Spec
		spec.Policy.Security = group.Security
		ports.UpdatePortGroup(root, &types.UpdatePortGroup{PgName: group.Name, Portgrp: spec})
	}
	services := root.Map.Get(*host.ConfigManager.ServiceSystem).(*serviceSystem)
	for _, service := range was.Services[host.Name] {
		services.change(root, service.Key, func(now *types.HostService) {
			now.Running, now.Policy = service.Running, service.Policy
		})
	}
	if access, kept := was.Access[host.Name]; kept {
		manager := root.Map.Get(*host.ConfigManager.HostAccessManager).(*accessManager)
		manager.mode(root, access.Mode)
		manager.exceptions = access.Exceptions
	}
	host.Config.DateTimeInfo.NtpConfig = &types.HostNtpConfig{Server: was.Ntp[host.Name]}
	var options []types.BaseOptionValue
	for key, value := range was.Options[host.Name] {
		if value.value() != nil {
			options = append(options, &types.OptionValue{Key: key, Value: value.value()})
		}
	}
	advanced := root.Map.Get(*host.ConfigManager.AdvancedOption).(*simulator.OptionManager)
	advanced.UpdateOptions(&types.UpdateOptions{ChangedValue: options})
}

// Registers a machine again as it was, under the reference that it had.
func (center *vcenter) bringBackMachine(was keptMachine) error {
	root := center.service.Context
	into := &folder{Folder: center.folderAt(was.Folder), center: center}
	asked := &types.RegisterVM_Task{This: into.Self, Path: was.Path, Name: was.Name, Pool: &center.pool}
	for _, one := range root.Map.All("HostSystem") {
		if one.Entity().Name == was.Host {
			asked.Host = &one.(*simulator.HostSystem).Self
		}
	}
	made, fault := into.registerAs(root, asked, readVmx(was.File))
	if fault != nil {
		return fmt.Errorf("%T", fault)
	}
	vm := root.Map.Get(made.(types.ManagedObjectReference)).(*simulator.VirtualMachine)
	center.rename(vm, types.ManagedObjectReference{Type: vm.Self.Type, Value: was.ID})
	center.bringBackValues(vm, was)
	for _, snapshot := range was.Snapshots {
		center.bringBackSnapshot(vm, snapshot)
	}
	if was.Power == string(types.VirtualMachinePowerStatePoweredOn) {
		began := vm.PowerOnVMTask(root, &types.PowerOnVM_Task{This: vm.Self})
		if _, fault := await(root, began.(*methods.PowerOnVM_TaskBody).Res.Returnval); fault != nil {
			return fmt.Errorf("%T", fault)
		}
		one := &machine{vm, center}
		one.tellGuest(root, one.keptKey())
	}
	if was.Template {
		vm.MarkAsTemplate(&types.MarkAsTemplate{This: vm.Self})
	}
	return nil
}

func (center *vcenter) bringBackValues(vm *simulator.VirtualMachine, was keptMachine) {
	root := center.service.Context
	center.setValues(vm.Self, was.Values)
	if was.Autostart != nil {
		host := root.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
		starts := root.Map.Get(*host.ConfigManager.AutoStartManager).(*autostart)
		info := types.AutoStartPowerInfo{
			Key: vm.Self, StartOrder: was.Autostart.Order, StartAction: was.Autostart.Action, StartDelay: -1,
			WaitForHeartbeat: types.AutoStartWaitHeartbeatSettingSystemDefault, StopAction: "systemDefault", StopDelay: -1,
		}
		spec := types.HostAutoStartManagerConfig{PowerInfo: []types.AutoStartPowerInfo{info}}
		starts.ReconfigureAutostart(root, &types.ReconfigureAutostart{Spec: spec})
	}
}

func (center *vcenter) setValues(of types.ManagedObjectReference, values map[string]string) {
	root := center.service.Context
	for _, field := range root.Map.CustomFieldsManager().Field {
		if value, there := values[field.Name]; there {
			root.Map.CustomFieldsManager().SetField(root, &types.SetField{Entity: of, Key: field.Key, Value: value})
		}
	}
}

func (center *vcenter) bringBackSnapshot(vm *simulator.VirtualMachine, was keptSnapshot) {
	root := center.service.Context
	began := vm.CreateSnapshotTask(root, &types.CreateSnapshot_Task{
		This: vm.Self, Name: was.Name, Description: was.Description,
	})
	made, fault := await(root, began.(*methods.CreateSnapshot_TaskBody).Res.Returnval)
	if fault != nil {
		log.Printf("snapshot %s of %s is lost: %T", was.Name, vm.Name, fault)
		return
	}
	list := vm.Snapshot.RootSnapshotList
	for len(list) > 0 {
		last := &list[len(list)-1]
		if last.Snapshot == made.(types.ManagedObjectReference) {
			last.CreateTime = was.At
		}
		list = last.ChildSnapshotList
	}
}

// Gives a machine another reference, everywhere.
func (center *vcenter) rename(vm *simulator.VirtualMachine, wanted types.ManagedObjectReference) {
	root, old := center.service.Context, vm.Self
	if old == wanted {
		return
	}
	folder := root.Map.Get(*vm.Parent).(*simulator.Folder)
	host := root.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	pool := root.Map.Get(*vm.ResourcePool).(*simulator.ResourcePool)
	lists := []*[]types.ManagedObjectReference{&folder.ChildEntity, &host.Vm, &pool.Vm}
	for _, reference := range vm.Datastore {
		lists = append(lists, &root.Map.Get(reference).(*simulator.Datastore).Vm)
	}
	for _, list := range lists {
		place := slices.Index(*list, old)
		if place >= 0 {
			(*list)[place] = wanted
		}
	}
	root.Map.Remove(root, old)
	vm.Self = wanted
	vm.Summary.Vm = &vm.Self
	root.Map.Put(vm)
}
