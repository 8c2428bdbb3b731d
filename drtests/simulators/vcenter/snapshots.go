package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// A snapshot: govmomi's, which ends in a panic where two remove it at once.
type snapshot struct {
	*simulator.VirtualMachineSnapshot
	center *vcenter
}

func (one *snapshot) machine(ctx *simulator.Context) (*machine, types.BaseMethodFault) {
	vm, there := ctx.Map.Get(one.Vm).(*simulator.VirtualMachine)
	if !there || ctx.Map.Get(one.Self) == nil {
		return nil, &types.ManagedObjectNotFound{Obj: one.Self}
	}
	return &machine{vm, one.center}, nil
}

func (one *snapshot) RemoveSnapshotTask(ctx *simulator.Context, asked *types.RemoveSnapshot_Task) soap.HasFault {
	of, fault := one.machine(ctx)
	if fault != nil {
		return &methods.RemoveSnapshot_TaskBody{Fault_: refusal(fault)}
	}
	task := one.center.begin(ctx, of, "RemoveSnapshot_Task", "removeSnapshot", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		one.center.naming.Lock()
		defer one.center.naming.Unlock()
		if _, fault := one.machine(own); fault != nil {
			return nil, fault
		}
		began := one.VirtualMachineSnapshot.RemoveSnapshotTask(own, asked)
		_, fault := await(own, began.(*methods.RemoveSnapshot_TaskBody).Res.Returnval)
		of.leaveDeltas(own, "RemoveSnapshot_Task")
		return nil, fault
	})
	return &methods.RemoveSnapshot_TaskBody{Res: &types.RemoveSnapshot_TaskResponse{Returnval: task}}
}

// Goes back to a snapshot: power is that of then; hardware, settings and disks stay what they are.
func (one *snapshot) RevertToSnapshotTask(ctx *simulator.Context, asked *types.RevertToSnapshot_Task) soap.HasFault {
	of, fault := one.machine(ctx)
	if fault != nil {
		return &methods.RevertToSnapshot_TaskBody{Fault_: refusal(fault)}
	}
	task := one.center.begin(ctx, of, "RevertToSnapshot_Task", "revertToSnapshot", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		began := one.VirtualMachineSnapshot.RevertToSnapshotTask(own, asked)
		if _, fault := await(own, began.(*methods.RevertToSnapshot_TaskBody).Res.Returnval); fault != nil {
			return nil, fault
		}
		if of.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			return nil, of.powerOff(own, "off") // no snapshot of ours holds memory
		}
		return nil, nil
	})
	return &methods.RevertToSnapshot_TaskBody{Res: &types.RevertToSnapshot_TaskResponse{Returnval: task}}
}

func (one *machine) RemoveAllSnapshotsTask(ctx *simulator.Context, asked *types.RemoveAllSnapshots_Task) soap.HasFault {
	task := one.center.begin(ctx, one, "RemoveAllSnapshots_Task", "removeAllSnapshots", func(own *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		one.center.naming.Lock()
		defer one.center.naming.Unlock()
		began := one.VirtualMachine.RemoveAllSnapshotsTask(own, asked)
		_, fault := await(own, began.(*methods.RemoveAllSnapshots_TaskBody).Res.Returnval)
		one.leaveDeltas(own, "RemoveAllSnapshots_Task")
		return nil, fault
	})
	return &methods.RemoveAllSnapshots_TaskBody{Res: &types.RemoveAllSnapshots_TaskResponse{Returnval: task}}
}

// Says that disks need consolidation, where that was planned: their deltas could not be merged.
func (one *machine) leaveDeltas(own *simulator.Context, method string) {
	if _, planned := one.center.plans.take(method, []string{modeDeltas}); planned {
		own.WithLock(one.Self, func() { one.needConsolidation(own, true) })
	}
}
