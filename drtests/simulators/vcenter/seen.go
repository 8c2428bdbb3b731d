package main

import (
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Gives what is to live on, as it is now.
func (center *vcenter) seen() kept {
	root := *center.service.Context // a name of its own, for the locks
	now := kept{
		Networks: map[string][]keptGroup{}, Services: map[string][]types.HostService{},
		Ntp: map[string][]string{}, Marks: map[string]map[string]string{}, Options: map[string]map[string]optionValue{},
		Access: map[string]keptAccess{},
	}
	now.Fields = slices.Clone(root.Map.CustomFieldsManager().Field)
	for _, one := range root.Map.All("Folder") {
		if path := center.pathOfFolder(one.Reference()); path != "" {
			now.Folders = append(now.Folders, path)
		}
	}
	slices.Sort(now.Folders) // parents come first
	for _, one := range root.Map.All("HostSystem") {
		host := one.(*simulator.HostSystem)
		root.WithLock(host.Self, func() { now.addHost(host) })
		access := root.Map.Get(*host.ConfigManager.HostAccessManager).(*accessManager)
		root.WithLock(access.Self, func() {
			now.Access[host.Name] = keptAccess{Mode: access.LockdownMode, Exceptions: slices.Clone(access.exceptions)}
		})
	}
	for _, one := range root.Map.All("Network") {
		network := one.(*mo.Network)
		if values := center.valuesOf(one); len(values) > 0 {
			now.Marks[network.Name] = values
		}
	}
	starts := startsOf(&root)
	for _, one := range root.Map.All("VirtualMachine") {
		vm := one.(*simulator.VirtualMachine)
		root.WithLock(vm.Self, func() {
			if vm.Config != nil && vm.Runtime.Host != nil && vm.Parent != nil {
				now.Machines = append(now.Machines, center.seenMachine(vm, starts))
			}
		})
	}
	slices.SortFunc(now.Machines, func(a, b keptMachine) int {
		if len(a.ID) != len(b.ID) {
			return len(a.ID) - len(b.ID)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return now
}

func startsOf(root *simulator.Context) map[types.ManagedObjectReference]keptStart {
	starts := map[types.ManagedObjectReference]keptStart{}
	for _, one := range root.Map.AllReference("HostAutoStartManager") {
		if manager, ok := one.(*autostart); ok {
			root.WithLock(manager.Self, func() {
				for _, info := range manager.HostAutoStartManager.Config.PowerInfo {
					starts[info.Key] = keptStart{Order: info.StartOrder, Action: info.StartAction}
				}
			})
		}
	}
	return starts
}

func (now *kept) addHost(host *simulator.HostSystem) {
	for _, group := range host.Config.Network.Portgroup {
		told := keptGroup{
			Name: group.Spec.Name, Switch: group.Spec.VswitchName, Vlan: group.Spec.VlanId, Security: group.Spec.Policy.Security,
		}
		now.Networks[host.Name] = append(now.Networks[host.Name], told)
	}
	now.Services[host.Name] = slices.Clone(host.Config.Service.Service)
	if ntp := host.Config.DateTimeInfo.NtpConfig; ntp != nil {
		now.Ntp[host.Name] = ntp.Server
	}
	options := map[string]optionValue{}
	for _, option := range host.Config.Option {
		one := option.GetOptionValue()
		options[one.Key] = keepOption(one.Value)
	}
	now.Options[host.Name] = options
}

func keepOption(value any) optionValue {
	switch one := value.(type) {
	case string:
		return optionValue{Text: &one}
	case bool:
		return optionValue{Truth: &one}
	case int64:
		return optionValue{Number: &one}
	case int32:
		number := int64(one)
		return optionValue{Number: &number}
	}
	return optionValue{}
}

func (one optionValue) value() any {
	switch {
	case one.Text != nil:
		return *one.Text
	case one.Truth != nil:
		return *one.Truth
	case one.Number != nil:
		return *one.Number
	}
	return nil
}

func (center *vcenter) seenMachine(vm *simulator.VirtualMachine, starts map[types.ManagedObjectReference]keptStart) keptMachine {
	registry := center.service.Context.Map
	host := registry.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	one := keptMachine{
		ID: vm.Self.Value, Name: vm.Name, Path: vm.Config.Files.VmPathName, File: vmx(vm),
		Folder: center.pathOfFolder(*vm.Parent), Host: host.Name,
		Power: string(vm.Runtime.PowerState), Template: vm.Config.Template, Values: center.valuesOf(vm),
	}
	if start, listed := starts[vm.Self]; listed {
		one.Autostart = &start
	}
	if vm.Snapshot != nil {
		one.Snapshots = chain(vm.Snapshot.RootSnapshotList)
	}
	return one
}

// Gives the custom attributes of an entity by their names.
func (center *vcenter) valuesOf(one mo.Entity) map[string]string {
	values := map[string]string{}
	for _, value := range one.Entity().CustomValue {
		told, ok := value.(*types.CustomFieldStringValue)
		if !ok {
			continue
		}
		for _, field := range center.service.Context.Map.CustomFieldsManager().Field {
			if field.Key == told.Key {
				values[field.Name] = told.Value
			}
		}
	}
	return values
}

// Gives all snapshots of a tree, parents first; branches become one chain.
func chain(tree []types.VirtualMachineSnapshotTree) []keptSnapshot {
	var all []keptSnapshot
	for _, one := range tree {
		all = append(all, keptSnapshot{Name: one.Name, Description: one.Description, At: one.CreateTime})
		all = append(all, chain(one.ChildSnapshotList)...)
	}
	return all
}

// Gives a folder's path below that of all machines; empty for that one, and for any other.
func (center *vcenter) pathOfFolder(reference types.ManagedObjectReference) string {
	registry, top := center.service.Context.Map, center.machineFolder().Self
	var names []string
	for reference != top {
		entity, ok := registry.Get(reference).(mo.Entity)
		if !ok || entity.Entity().Parent == nil {
			return ""
		}
		names = append(names, entity.Entity().Name)
		reference = *entity.Entity().Parent
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}
