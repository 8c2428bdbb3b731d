package main

import (
	"fmt"
	"log"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type work func(*simulator.Context) (types.AnyType, types.BaseMethodFault)

var standIns atomic.Int64

// Runs something as a task of an entity; a panic is the task's fault, not the simulator's end.
//
// govmomi holds its entity's lock for as long as a task takes, and nobody could read a template while it is
// cloned; ours locks a stand-in.
func (center *vcenter) begin(ctx *simulator.Context, entity mo.Entity, method, name string, do work) types.ManagedObjectReference {
	of := entity.Reference()
	standIn := types.ManagedObjectReference{Type: of.Type, Value: fmt.Sprintf("stand-in-%d", standIns.Add(1))}
	own := *ctx // locks are held in a context's name: the call's own must not be shared
	task := simulator.CreateTask(standIn, name, func(*simulator.Task) (result types.AnyType, fault types.BaseMethodFault) {
		defer func() {
			if said := recover(); said != nil {
				log.Printf("%s of %s: %v\n%s", method, of.Value, said, debug.Stack())
				fault = &types.SystemError{Reason: fmt.Sprint(said)}
			}
		}()
		if planned, found := center.plans.take(method, inTheTask); found {
			log.Printf("planned: %s at %s", planned.Mode, method)
			planned.wait()
			if planned.Mode == modeFailed {
				return nil, must(faultNamed(planned.Fault))
			}
		}
		result, fault = do(&own)
		center.records.touch()
		return result, fault
	})
	reference := task.Run(&own)
	ctx.Map.AtomicUpdate(ctx, task, []types.PropertyChange{
		{Name: "info.entity", Val: of}, {Name: "info.entityName", Val: entity.Entity().Name},
	})
	ctx.WithLock(of, func() {
		recent := append(slices.Clone(entity.Entity().RecentTask), reference)
		ctx.Update(entity, []types.PropertyChange{{Name: "recentTask", Val: recent[max(0, len(recent)-10):]}})
	})
	return reference
}

// Gives tasks on files the datacenter as their entity: govmomi names a manager, which no client can read.
type fileTasks struct {
	self       types.ManagedObjectReference
	datacenter *simulator.Datacenter
}

func (one *fileTasks) Reference() types.ManagedObjectReference { return one.self }

func (one *fileTasks) PutObject(_ *simulator.Context, made mo.Reference) {
	task, ok := made.(*simulator.Task)
	if ok && task.Info.Entity != nil && strings.HasSuffix(task.Info.Entity.Type, "Manager") {
		task.Info.Entity, task.Info.EntityName = &one.datacenter.Self, one.datacenter.Name
	}
}

func (*fileTasks) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}
func (*fileTasks) RemoveObject(*simulator.Context, types.ManagedObjectReference)         {}

// Waits for a task that govmomi itself began.
func await(ctx *simulator.Context, reference types.ManagedObjectReference) (types.AnyType, types.BaseMethodFault) {
	task := ctx.Map.Get(reference).(*simulator.Task)
	task.Wait()
	if task.Info.Error != nil {
		return nil, task.Info.Error.Fault
	}
	return task.Info.Result, nil
}

// Gives the fault of an answer, if it is one.
func faultOf(answer soap.HasFault) types.BaseMethodFault {
	if answer.Fault() == nil {
		return nil
	}
	if fault, ok := answer.Fault().VimFault().(types.BaseMethodFault); ok {
		return fault
	}
	return &types.SystemError{Reason: answer.Fault().String}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func refusal(fault types.BaseMethodFault) *soap.Fault {
	return simulator.Fault(fmt.Sprintf("%T", fault), fault)
}
