package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	switchKey    = "key-vim.host.VirtualSwitch-"
	portGroupKey = "key-vim.host.PortGroup-"
)

// The switches and port groups of one host; a port group of the same name on several hosts is one network.
//
// govmomi refuses the second of that name, and cannot change one.
type networkSystem struct {
	*simulator.HostNetworkSystem
	center *vcenter
}

func (one *networkSystem) AddVirtualSwitch(ctx *simulator.Context, asked *types.AddVirtualSwitch) soap.HasFault {
	answer := one.HostNetworkSystem.AddVirtualSwitch(asked)
	if answer.Fault() == nil {
		made := &one.NetworkInfo.Vswitch[len(one.NetworkInfo.Vswitch)-1]
		made.Key, made.NumPorts, made.Mtu = switchKey+made.Name, 128, 1500
		if asked.Spec != nil {
			made.Spec = *asked.Spec
		}
	}
	return answer
}

func (one *networkSystem) RemoveVirtualSwitch(ctx *simulator.Context, asked *types.RemoveVirtualSwitch) soap.HasFault {
	for _, group := range one.NetworkInfo.Portgroup {
		if group.Spec.VswitchName == asked.VswitchName {
			return &methods.RemoveVirtualSwitchBody{Fault_: refusal(&types.ResourceInUse{Name: asked.VswitchName})}
		}
	}
	return one.HostNetworkSystem.RemoveVirtualSwitch(asked)
}

func (one *networkSystem) AddPortGroup(ctx *simulator.Context, asked *types.AddPortGroup) soap.HasFault {
	spec := asked.Portgrp
	vswitch := one.switchNamed(spec.VswitchName)
	switch {
	case spec.Name == "":
		return &methods.AddPortGroupBody{Fault_: refusal(&types.InvalidArgument{InvalidProperty: "name"})}
	case vswitch == nil:
		return &methods.AddPortGroupBody{Fault_: refusal(&types.NotFound{})}
	case one.group(spec.Name) >= 0:
		return &methods.AddPortGroupBody{Fault_: refusal(&types.AlreadyExists{Name: spec.Name})}
	}
	one.NetworkInfo.Portgroup = append(one.NetworkInfo.Portgroup, types.HostPortGroup{
		Key: portGroupKey + spec.Name, Vswitch: vswitch.Key, Spec: spec, ComputedPolicy: computed(spec.Policy, vswitch),
	})
	vswitch.Portgroup = append(vswitch.Portgroup, portGroupKey+spec.Name)
	one.join(ctx, spec.Name)
	return &methods.AddPortGroupBody{Res: &types.AddPortGroupResponse{}}
}

func (one *networkSystem) UpdatePortGroup(ctx *simulator.Context, asked *types.UpdatePortGroup) soap.HasFault {
	place := one.group(asked.PgName)
	vswitch := one.switchNamed(asked.Portgrp.VswitchName)
	if place < 0 || vswitch == nil {
		return &methods.UpdatePortGroupBody{Fault_: refusal(&types.NotFound{})}
	}
	if asked.Portgrp.Name != asked.PgName { // a new name would have to reach every port
		return &methods.UpdatePortGroupBody{Fault_: refusal(&types.NotSupported{})}
	}
	group := &one.NetworkInfo.Portgroup[place]
	group.Spec, group.ComputedPolicy = asked.Portgrp, computed(asked.Portgrp.Policy, vswitch)
	return &methods.UpdatePortGroupBody{Res: &types.UpdatePortGroupResponse{}}
}

func (one *networkSystem) RemovePortGroup(ctx *simulator.Context, asked *types.RemovePortGroup) soap.HasFault {
	place := one.group(asked.PgName)
	if place < 0 {
		return &methods.RemovePortGroupBody{Fault_: refusal(&types.NotFound{})}
	}
	if used := one.usedBy(ctx, asked.PgName); used {
		return &methods.RemovePortGroupBody{Fault_: refusal(&types.ResourceInUse{Type: "Network", Name: asked.PgName})}
	}
	one.NetworkInfo.Portgroup = slices.Delete(one.NetworkInfo.Portgroup, place, place+1)
	for number := range one.NetworkInfo.Vswitch {
		vswitch := &one.NetworkInfo.Vswitch[number]
		vswitch.Portgroup = slices.DeleteFunc(vswitch.Portgroup, func(key string) bool { return key == portGroupKey+asked.PgName })
	}
	one.leave(ctx, asked.PgName)
	return &methods.RemovePortGroupBody{Res: &types.RemovePortGroupResponse{}}
}

func (one *networkSystem) switchNamed(name string) *types.HostVirtualSwitch {
	for number := range one.NetworkInfo.Vswitch {
		if one.NetworkInfo.Vswitch[number].Name == name {
			return &one.NetworkInfo.Vswitch[number]
		}
	}
	return nil
}

func (one *networkSystem) group(name string) int {
	return slices.IndexFunc(one.NetworkInfo.Portgroup, func(group types.HostPortGroup) bool { return group.Spec.Name == name })
}

func (one *networkSystem) usedBy(ctx *simulator.Context, name string) bool {
	for _, entity := range ctx.Map.All("VirtualMachine") {
		vm := entity.(*simulator.VirtualMachine)
		for _, device := range vm.Config.Hardware.Device {
			backing, ok := device.GetVirtualDevice().Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
			if ok && backing.DeviceName == name && vm.Runtime.Host != nil && *vm.Runtime.Host == one.Host.Self {
				return true
			}
		}
	}
	return false
}

// Makes a host part of the network of a name, which the first host makes.
func (one *networkSystem) join(ctx *simulator.Context, name string) {
	network := one.center.network(ctx, name)
	if network == nil {
		// By govmomi's own method at a host that stands for nobody: it alone fills folders right.
		scratch := &mo.HostSystem{}
		*scratch = *one.Host
		maker := simulator.HostNetworkSystem{Host: scratch}
		maker.NetworkInfo = &types.HostNetworkInfo{Vswitch: []types.HostVirtualSwitch{{Name: "made"}}}
		maker.AddPortGroup(ctx, &types.AddPortGroup{Portgrp: types.HostPortGroupSpec{Name: name, VswitchName: "made"}})
		network = one.center.network(ctx, name)
	}
	host, cluster := one.Host, one.cluster(ctx)
	if !slices.Contains(network.Host, host.Self) {
		network.Host = append(network.Host, host.Self)
	}
	if !slices.Contains(host.Network, network.Self) {
		host.Network = append(slices.Clone(host.Network), network.Self)
	}
	if cluster != nil && !slices.Contains(cluster.Network, network.Self) {
		cluster.Network = append(slices.Clone(cluster.Network), network.Self)
	}
}

// Takes a host out of a network, which goes with its last host.
func (one *networkSystem) leave(ctx *simulator.Context, name string) {
	network := one.center.network(ctx, name)
	if network == nil {
		return
	}
	is := func(wanted types.ManagedObjectReference) func(types.ManagedObjectReference) bool {
		return func(reference types.ManagedObjectReference) bool { return reference == wanted }
	}
	network.Host = slices.DeleteFunc(network.Host, is(one.Host.Self))
	one.Host.Network = slices.DeleteFunc(slices.Clone(one.Host.Network), is(network.Self))
	if len(network.Host) > 0 {
		return
	}
	if cluster := one.cluster(ctx); cluster != nil {
		cluster.Network = slices.DeleteFunc(slices.Clone(cluster.Network), is(network.Self))
	}
	scratch := &mo.HostSystem{}
	*scratch = *one.Host
	maker := simulator.HostNetworkSystem{Host: scratch}
	maker.NetworkInfo = &types.HostNetworkInfo{Vswitch: []types.HostVirtualSwitch{{Name: "made", Portgroup: []string{name}}}}
	maker.RemovePortGroup(ctx, &types.RemovePortGroup{PgName: name})
}

func (one *networkSystem) cluster(ctx *simulator.Context) *simulator.ClusterComputeResource {
	if one.Host.Parent == nil {
		return nil
	}
	cluster, _ := ctx.Map.Get(*one.Host.Parent).(*simulator.ClusterComputeResource)
	return cluster
}
