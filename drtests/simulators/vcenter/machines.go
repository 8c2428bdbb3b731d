package main

import (
	"slices"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// A virtual machine: govmomi's, and what it leaves out.
type machine struct {
	*simulator.VirtualMachine
	center *vcenter
}

// Clones with everything that the spec says; govmomi powers nothing on, and takes over a few fields only.
func (one *machine) CloneVMTask(ctx *simulator.Context, asked *types.CloneVM_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "CloneVM_Task", "cloneVm", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if fault := one.center.checkClone(own, asked); fault != nil {
			return nil, fault
		}
		// govmomi derives both from the path, which two vCenters may share in name only.
		if asked.Spec.Config == nil {
			asked.Spec.Config = &types.VirtualMachineConfigSpec{}
		}
		wanted := asked.Spec.Config
		if wanted.Uuid == "" {
			wanted.Uuid = uuid.NewString()
		}
		if wanted.InstanceUuid == "" {
			wanted.InstanceUuid = uuid.NewString()
		}
		made, fault := one.cloneAlone(own, asked)
		if fault != nil {
			return nil, fault
		}
		clone := &machine{one.center.complete(own, made), one.center}
		return made, clone.finish(own, asked.Spec)
	})
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: task}}
}

func (one *machine) cloneAlone(own *simulator.Context, asked *types.CloneVM_Task) (types.AnyType, types.BaseMethodFault) {
	one.center.naming.Lock()
	defer one.center.naming.Unlock()
	if fault := one.center.checkName(own, asked.Folder, asked.Name); fault != nil {
		return nil, fault
	}
	template := asked.Spec.Template
	asked.Spec.Template = false // marked when it is finished
	defer func() { asked.Spec.Template = template }()
	began := one.VirtualMachine.CloneVMTask(own, asked)
	return await(own, began.(*methods.CloneVM_TaskBody).Res.Returnval)
}

// Gives a new clone what govmomi left out (it changes a copy of the spec), in the order of a real one: settings, customization, power.
func (one *machine) finish(own *simulator.Context, spec types.VirtualMachineCloneSpec) types.BaseMethodFault {
	rest := *spec.Config
	rest.DeviceChange, rest.Files = nil, nil
	began := one.VirtualMachine.ReconfigVMTask(own, &types.ReconfigVM_Task{This: one.Self, Spec: rest})
	if _, fault := await(own, began.(*methods.ReconfigVM_TaskBody).Res.Returnval); fault != nil {
		return fault
	}
	if spec.Customization != nil {
		asked := &types.CustomizeVM_Task{This: one.Self, Spec: *spec.Customization}
		began := one.VirtualMachine.CustomizeVMTask(own, asked)
		if _, fault := await(own, began.(*methods.CustomizeVM_TaskBody).Res.Returnval); fault != nil {
			return fault
		}
	}
	one.center.writeFile(own, one.VirtualMachine)
	if spec.Template {
		return faultOf(one.VirtualMachine.MarkAsTemplate(&types.MarkAsTemplate{This: one.Self}))
	}
	if spec.PowerOn {
		return one.powerOn(own)
	}
	return nil
}

// Reconfigures after the checks that govmomi leaves out, some of which would end the whole simulator.
func (one *machine) ReconfigVMTask(ctx *simulator.Context, asked *types.ReconfigVM_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "ReconfigVM_Task", "reconfigVm", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		var fault types.BaseMethodFault
		own.WithLock(one.Self, func() { fault = one.checkReconfigure(own, &asked.Spec) })
		if fault != nil {
			return nil, fault
		}
		began := one.VirtualMachine.ReconfigVMTask(own, asked)
		if _, fault := await(own, began.(*methods.ReconfigVM_TaskBody).Res.Returnval); fault != nil {
			return nil, fault
		}
		one.center.writeFile(own, one.VirtualMachine)
		return nil, nil
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task}}
}

func (one *machine) checkReconfigure(own *simulator.Context, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	if spec.ChangeVersion != "" && spec.ChangeVersion != one.Config.ChangeVersion {
		return &types.ConcurrentAccess{}
	}
	if one.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
		has := one.Config.Hardware
		if spec.NumCPUs != 0 && spec.NumCPUs != has.NumCPU && !isTrue(one.Config.CpuHotAddEnabled) {
			return &types.CpuHotPlugNotSupported{}
		}
		if spec.MemoryMB != 0 && spec.MemoryMB != int64(has.MemoryMB) && !isTrue(one.Config.MemoryHotAddEnabled) {
			return &types.MemoryHotPlugNotSupported{}
		}
	}
	one.heal()
	return one.center.checkDevices(own, spec.DeviceChange)
}

// Gives a port whose network this vCenter has not a reference, which govmomi follows when the port is changed.
func (one *machine) heal() {
	for _, device := range one.Config.Hardware.Device {
		backing, ok := device.GetVirtualDevice().Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
		if ok && backing.Network == nil {
			backing.Network = &types.ManagedObjectReference{Type: "Network", Value: "missing"}
		}
	}
}

// Gives a new machine the states that govmomi leaves empty, which a client cannot read.
func (center *vcenter) complete(own *simulator.Context, made types.AnyType) *simulator.VirtualMachine {
	vm := own.Map.Get(made.(types.ManagedObjectReference)).(*simulator.VirtualMachine)
	fields := own.Map.CustomFieldsManager().Field
	own.WithLock(vm.Self, func() {
		vm.AvailableField = slices.DeleteFunc(slices.Clone(fields), func(one types.CustomFieldDef) bool {
			return one.ManagedObjectType != "" && one.ManagedObjectType != "VirtualMachine"
		})
		vm.Runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
		vm.Runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
		(&machine{vm, center}).needConsolidation(own, false)
	})
	return vm
}

// Says that disks were consolidated: the state is real, deltas there are none.
func (one *machine) ConsolidateVMDisksTask(ctx *simulator.Context, _ *types.ConsolidateVMDisks_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "ConsolidateVMDisks_Task", "consolidateDisks", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		own.WithLock(one.Self, func() { one.needConsolidation(own, false) })
		return nil, nil
	})
	return &methods.ConsolidateVMDisks_TaskBody{Res: &types.ConsolidateVMDisks_TaskResponse{Returnval: task}}
}

func (one *machine) needConsolidation(own *simulator.Context, needed bool) {
	runtime := one.Runtime
	runtime.ConsolidationNeeded = needed
	own.Update(one.VirtualMachine, []types.PropertyChange{
		{Name: "runtime", Val: runtime}, {Name: "summary.runtime", Val: runtime},
	})
}

func (one *machine) UnregisterVM(ctx *simulator.Context, asked *types.UnregisterVM) soap.HasFault {
	answer := one.VirtualMachine.UnregisterVM(ctx, asked)
	if answer.Fault() == nil {
		one.center.leaveAutostart(ctx, one.Self)
	}
	return answer
}

func (one *machine) RelocateVMTask(ctx *simulator.Context, asked *types.RelocateVM_Task) soap.HasFault {
	spec := asked.Spec
	missing := missingOf(ctx, spec.Datastore, spec.Pool, spec.Host, spec.Folder)
	if missing == nil {
		missing = one.center.checkDevices(ctx, spec.DeviceChange)
	}
	if missing != nil {
		return &methods.RelocateVM_TaskBody{Fault_: refusal(missing)}
	}
	return one.VirtualMachine.RelocateVMTask(ctx, asked)
}

func isTrue(value *bool) bool { return value != nil && *value }
