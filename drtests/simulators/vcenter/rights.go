package main

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// A privilege, and what it must be held on.
type need struct {
	privilege string
	on        types.ManagedObjectReference
}

// Which privileges the calls of limited logins needed, in their order, for tests to ask.
type askedFor struct {
	lock       sync.Mutex
	privileges []string
}

func (all *askedFor) note(privilege string) {
	all.lock.Lock()
	defer all.lock.Unlock()
	if !slices.Contains(all.privileges, privilege) {
		all.privileges = append(all.privileges, privilege)
	}
}

// Gives what was noted since it was asked last.
func (all *askedFor) take() []string {
	all.lock.Lock()
	defer all.lock.Unlock()
	taken := all.privileges
	all.privileges = nil
	return append([]string{}, taken...)
}

// Refuses a call for which a limited login lacks a privilege, as a vCenter does: the first that is missing.
//
// A vCenter tells some of them as the end of a task; here every one is told at the call.
func (center *vcenter) refuseUnentitled(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault {
	user := ctx.Session.UserName
	if !center.isLimited(user) {
		return nil
	}
	needs, known := center.needsOf(ctx, method)
	if !known {
		return &types.NoPermission{Object: &method.This} // for whoever may do all
	}
	for _, one := range needs {
		center.asked.note(one.privilege)
		if !slices.Contains(center.heldOn(ctx, user, one.on), one.privilege) {
			return &types.NoPermission{Object: &one.on, PrivilegeId: one.privilege}
		}
	}
	return nil
}

// Gives the privileges that a user holds on an entity.
//
// A permission on it counts before all that stand above; without one, those propagate that are nearest above,
// of a machine by its folder and by its resource pool.
// Source: vSphere Security, "Hierarchical Inheritance of Permissions" and "Multiple Permission Settings".
func (center *vcenter) heldOn(ctx *simulator.Context, user string, entity types.ManagedObjectReference) []string {
	manager := ctx.Map.Get(*center.client.ServiceContent.AuthorizationManager).(*simulator.AuthorizationManager)
	var held []string
	ctx.WithLock(manager.Self, func() {
		for _, id := range rolesOn(ctx, manager, principal(user), entity, false) {
			for _, role := range manager.RoleList {
				if role.RoleId == id {
					held = append(held, role.Privilege...)
				}
			}
		}
	})
	return held
}

func rolesOn(ctx *simulator.Context, manager *simulator.AuthorizationManager, user string, entity types.ManagedObjectReference, above bool) []int32 {
	one, ok := ctx.Map.Get(entity).(mo.Entity)
	if !ok {
		return nil
	}
	var roles []int32
	for _, permission := range permissionsOn(ctx, manager, entity) {
		if principal(permission.Principal) == user && (permission.Propagate || !above) {
			roles = append(roles, permission.RoleId)
		}
	}
	if len(roles) > 0 {
		return roles
	}
	parents := []*types.ManagedObjectReference{one.Entity().Parent}
	if vm, ok := one.(*simulator.VirtualMachine); ok {
		parents = append(parents, vm.ResourcePool)
	}
	for _, parent := range parents {
		if parent != nil {
			roles = append(roles, rolesOn(ctx, manager, user, *parent, true)...)
		}
	}
	return roles
}

func permissionsOn(ctx *simulator.Context, manager *simulator.AuthorizationManager, entity types.ManagedObjectReference) []types.Permission {
	answer := manager.RetrieveEntityPermissions(ctx, &types.RetrieveEntityPermissions{Entity: entity})
	return answer.(*methods.RetrieveEntityPermissionsBody).Res.Returnval
}

// Gives one form for name@domain and DOMAIN\name.
func principal(user string) string {
	if domain, name, ok := strings.Cut(user, `\`); ok {
		user = name + "@" + domain
	}
	return strings.ToLower(user)
}

// --- what a client asks and sets --------------------------------------------------------------------

// Roles and permissions: govmomi's, which grants all, and tells no role's number.
type authorization struct {
	*simulator.AuthorizationManager
	center *vcenter
}

// Adds a role; govmomi's first would have the number of none, and its answer names none.
func (one *authorization) AddAuthorizationRole(asked *types.AddAuthorizationRole) soap.HasFault {
	answer := one.AuthorizationManager.AddAuthorizationRole(asked)
	if answer.Fault() != nil {
		return answer
	}
	made := &one.RoleList[len(one.RoleList)-1]
	for _, role := range one.RoleList[:len(one.RoleList)-1] {
		made.RoleId = max(made.RoleId, role.RoleId+1, 1)
	}
	return &methods.AddAuthorizationRoleBody{Res: &types.AddAuthorizationRoleResponse{Returnval: made.RoleId}}
}

// Sets permissions on an entity beside those of others; govmomi forgets these.
func (one *authorization) SetEntityPermissions(ctx *simulator.Context, asked *types.SetEntityPermissions) soap.HasFault {
	if missing := missingOf(ctx, &asked.Entity); missing != nil {
		return &methods.SetEntityPermissionsBody{Fault_: refusal(missing)}
	}
	all := slices.Clone(asked.Permission)
	for _, known := range permissionsOn(ctx, one.AuthorizationManager, asked.Entity) {
		replaced := slices.ContainsFunc(asked.Permission, func(by types.Permission) bool {
			return by.Group == known.Group && principal(by.Principal) == principal(known.Principal)
		})
		if !replaced {
			all = append(all, known)
		}
	}
	set := &types.SetEntityPermissions{This: asked.This, Entity: asked.Entity, Permission: all}
	return one.AuthorizationManager.SetEntityPermissions(set)
}

func (one *authorization) HasPrivilegeOnEntities(ctx *simulator.Context, asked *types.HasPrivilegeOnEntities) soap.HasFault {
	var told []types.EntityPrivilege
	for _, entity := range asked.Entity {
		told = append(told, types.EntityPrivilege{Entity: entity, PrivAvailability: one.availability(ctx, asked, entity)})
	}
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: told}}
}

func (one *authorization) availability(ctx *simulator.Context, asked *types.HasPrivilegeOnEntities, entity types.ManagedObjectReference) []types.PrivilegeAvailability {
	sessions := one.center.openSessions()
	number := slices.IndexFunc(sessions, func(open types.UserSession) bool { return open.Key == asked.SessionId })
	if number < 0 {
		return nil
	}
	user := sessions[number].UserName
	held := one.center.heldOn(ctx, user, entity)
	var told []types.PrivilegeAvailability
	for _, id := range asked.PrivId {
		granted := !one.center.isLimited(user) || slices.Contains(held, id)
		told = append(told, types.PrivilegeAvailability{PrivId: id, IsGranted: granted})
	}
	return told
}

func (one *authorization) HasPrivilegeOnEntity(ctx *simulator.Context, asked *types.HasPrivilegeOnEntity) soap.HasFault {
	all := &types.HasPrivilegeOnEntities{SessionId: asked.SessionId, PrivId: asked.PrivId}
	granted := make([]bool, len(asked.PrivId))
	for number, told := range one.availability(ctx, all, asked.Entity) {
		granted[number] = told.IsGranted
	}
	return &methods.HasPrivilegeOnEntityBody{Res: &types.HasPrivilegeOnEntityResponse{Returnval: granted}}
}

// --- the entity of what is none ---------------------------------------------------------------------

// Gives the entity that permissions on an object are those of: of a host's system the host, of a snapshot its
// machine, of a datastore's browser the datastore; of the vCenter's own parts the root folder.
func (center *vcenter) entityOf(ctx *simulator.Context, reference types.ManagedObjectReference) types.ManagedObjectReference {
	switch one := ctx.Map.Get(reference).(type) {
	case *simulator.VirtualMachineSnapshot:
		return one.Vm
	case mo.Entity:
		return reference
	}
	for _, one := range ctx.Map.All("Datastore") {
		if one.(*simulator.Datastore).Browser == reference {
			return one.Reference()
		}
	}
	for _, one := range ctx.Map.All("HostSystem") {
		if slices.Contains(systemsOf(one.(*simulator.HostSystem)), reference) {
			return one.Reference()
		}
	}
	return center.client.ServiceContent.RootFolder
}

func systemsOf(host *simulator.HostSystem) []types.ManagedObjectReference {
	has := host.ConfigManager
	var all []types.ManagedObjectReference
	for _, one := range []*types.ManagedObjectReference{
		has.NetworkSystem, has.AutoStartManager, has.ServiceSystem, has.HostAccessManager, has.DateTimeSystem,
		has.AdvancedOption,
	} {
		all = append(all, *cmp.Or(one, &types.ManagedObjectReference{}))
	}
	return all
}
