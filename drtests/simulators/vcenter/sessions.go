package main

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// What anybody may read before a login: what is needed to log in.
var openToAll = []string{"ServiceInstance", "SessionManager", "PropertyCollector"}

func (center *vcenter) openSessions() []types.UserSession {
	root := center.service.Context
	seen := root.Session.Get(root.Map.SessionManager().Self).(*simulator.SessionManager)
	return seen.SessionList
}

func (center *vcenter) isOpen(session string) bool {
	return slices.ContainsFunc(center.openSessions(), func(one types.UserSession) bool { return one.Key == session })
}

// Ends sessions that said nothing for longer than was told.
func (center *vcenter) endIdleSessions() {
	root, limit := center.service.Context, time.Duration(center.IdleS*float64(time.Second))
	for _, one := range center.openSessions() {
		if time.Since(one.LastActiveTime) > limit {
			end := &types.TerminateSession{SessionId: []string{one.Key}}
			root.Map.SessionManager().TerminateSession(root, end)
		}
	}
}

// Refuses to show to a stranger what a vCenter shows to nobody else; govmomi's simulator shows it all.
func refuseStranger(method *simulator.Method) types.BaseMethodFault {
	var seen []types.ManagedObjectReference
	switch body := method.Body.(type) {
	case *types.RetrieveProperties:
		seen = objectsOf(body.SpecSet)
	case *types.RetrievePropertiesEx:
		seen = objectsOf(body.SpecSet)
	default:
		if method.Name == "Fetch" { // its type is govmomi's own
			this := reflect.ValueOf(method.Body).Elem().FieldByName("This")
			seen = []types.ManagedObjectReference{this.Interface().(types.ManagedObjectReference)}
		}
	}
	for _, one := range seen {
		if !slices.Contains(openToAll, one.Type) {
			permission := types.NoPermission{Object: &one, PrivilegeId: "System.View"}
			return &types.NotAuthenticated{NoPermission: permission}
		}
	}
	return nil
}

func objectsOf(filters []types.PropertyFilterSpec) []types.ManagedObjectReference {
	var seen []types.ManagedObjectReference
	for _, filter := range filters {
		for _, one := range filter.ObjectSet {
			seen = append(seen, one.Obj)
		}
	}
	return seen
}

// Chooses who answers a call: for machines and folders something of ours round govmomi's own.
//
// govmomi looks in the session's registry first, so that ours is put into one that lasts for this call.
func (center *vcenter) dispatch(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if ctx.Session == nil {
		return nil, refuseStranger(method)
	}
	fillDatacenter(method.Body)
	if fault := center.refuseUnentitled(ctx, method); fault != nil {
		return nil, fault
	}
	var ours mo.Reference
	switch one := ctx.Map.Get(method.This).(type) {
	case *simulator.VirtualMachine:
		ours = &machine{VirtualMachine: one, center: center}
	case *simulator.Folder:
		ours = &folder{Folder: one, center: center}
	case *simulator.VirtualMachineSnapshot:
		ours = &snapshot{VirtualMachineSnapshot: one, center: center}
	case *simulator.CustomFieldsManager:
		ours = &fields{CustomFieldsManager: one, center: center}
	case *simulator.OptionManager:
		if setting := center.client.ServiceContent.Setting; setting != nil && one.Self == *setting {
			return nil, nil
		}
		ours = &hostOptions{OptionManager: one}
	case *simulator.AuthorizationManager:
		ours = &authorization{AuthorizationManager: one, center: center}
	case *simulator.DistributedVirtualSwitch:
		ours = &distributedSwitch{DistributedVirtualSwitch: one}
	case *simulator.DistributedVirtualPortgroup:
		ours = &distributedGroup{DistributedVirtualPortgroup: one}
	default:
		if method.Name != "Fetch" {
			return nil, nil
		}
		ours = &reader{PropertyCollector: one.(*simulator.PropertyCollector), session: ctx.Session.Registry}
	}
	ctx.Session.Registry = simulator.NewRegistry()
	ctx.Session.Registry.Put(ours)
	return ours, nil
}

// Copies and moves go to the datacenter they come from, if no other is named; govmomi refuses that.
func fillDatacenter(asked types.AnyType) {
	switch one := asked.(type) {
	case *types.CopyVirtualDisk_Task:
		one.DestDatacenter = cmp.Or(one.DestDatacenter, one.SourceDatacenter)
	case *types.MoveVirtualDisk_Task:
		one.DestDatacenter = cmp.Or(one.DestDatacenter, one.SourceDatacenter)
	case *types.CopyDatastoreFile_Task:
		one.DestinationDatacenter = cmp.Or(one.DestinationDatacenter, one.SourceDatacenter)
	case *types.MoveDatastoreFile_Task:
		one.DestinationDatacenter = cmp.Or(one.DestinationDatacenter, one.SourceDatacenter)
	}
}

// Reads one property of one object; govmomi's answer for one that is unset is no answer to that call.
type reader struct {
	*simulator.PropertyCollector
	session *simulator.Registry
}

type fetchBody struct{ Res *FetchResponse }

// FetchResponse has the name of its element.
type FetchResponse struct {
	Returnval types.AnyType `xml:"returnval,omitempty,typeattr"`
}

func (*fetchBody) Fault() *soap.Fault { return nil }

// Fetch takes what only govmomi has a name for.
func (one *reader) Fetch(ctx *simulator.Context, asked any) soap.HasFault {
	ctx.Session.Registry = one.session
	call := reflect.ValueOf(one.PropertyCollector).MethodByName("Fetch")
	answer := call.Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(asked)})[0].Interface().(soap.HasFault)
	if _, unset := answer.(*methods.RetrievePropertiesExBody); unset && answer.Fault() == nil {
		return &fetchBody{Res: &FetchResponse{}}
	}
	return answer
}
