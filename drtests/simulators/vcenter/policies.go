package main

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Gives a port group's policy as it is in effect: what it leaves open its switch decides.
func computed(policy types.HostNetworkPolicy, vswitch *types.HostVirtualSwitch) types.HostNetworkPolicy {
	var own, above types.HostNetworkSecurityPolicy
	if policy.Security != nil {
		own = *policy.Security
	}
	if vswitch.Spec.Policy != nil && vswitch.Spec.Policy.Security != nil {
		above = *vswitch.Spec.Policy.Security
	}
	policy.Security = &types.HostNetworkSecurityPolicy{
		AllowPromiscuous: cmp.Or(own.AllowPromiscuous, above.AllowPromiscuous),
		MacChanges:       cmp.Or(own.MacChanges, above.MacChanges),
		ForgedTransmits:  cmp.Or(own.ForgedTransmits, above.ForgedTransmits),
	}
	return policy
}

// --- distributed switches -------------------------------------------------------------------------

// Makes port groups that say what they let VMs do; govmomi's leave it open.
type distributedSwitch struct {
	*simulator.DistributedVirtualSwitch
}

func (one *distributedSwitch) AddDVPortgroupTask(ctx *simulator.Context, asked *types.AddDVPortgroup_Task) soap.HasFault {
	for number := range asked.Spec {
		spec := &asked.Spec[number]
		setting, ok := spec.DefaultPortConfig.(*types.VMwareDVSPortSetting)
		if !ok {
			setting = &types.VMwareDVSPortSetting{}
			spec.DefaultPortConfig = setting
		}
		if setting.MacManagementPolicy == nil {
			setting.MacManagementPolicy = &types.DVSMacManagementPolicy{
				AllowPromiscuous: types.NewBool(false), MacChanges: types.NewBool(false), ForgedTransmits: types.NewBool(false),
			}
		}
		spec.ConfigVersion = "1"
	}
	one.nameUplinks(ctx)
	return one.DistributedVirtualSwitch.AddDVPortgroupTask(ctx, asked)
}

// Says of the port group that govmomi makes with a switch that it is its way out.
func (one *distributedSwitch) nameUplinks(ctx *simulator.Context) {
	for _, reference := range one.Portgroup {
		group := ctx.Map.Get(reference).(*simulator.DistributedVirtualPortgroup)
		if strings.HasPrefix(group.Name, one.Name+"-DVUplinks") {
			group.Config.Uplink = types.NewBool(true)
		}
	}
}

// Changes of a port group what is told, and keeps the rest; govmomi forgets it.
type distributedGroup struct {
	*simulator.DistributedVirtualPortgroup
}

func (one *distributedGroup) ReconfigureDVPortgroupTask(ctx *simulator.Context, asked *types.ReconfigureDVPortgroup_Task) soap.HasFault {
	now := one.Config
	if asked.Spec.ConfigVersion != now.ConfigVersion {
		return &methods.ReconfigureDVPortgroup_TaskBody{Fault_: refusal(&types.ConcurrentAccess{})}
	}
	was, _ := now.DefaultPortConfig.(*types.VMwareDVSPortSetting)
	told, ok := asked.Spec.DefaultPortConfig.(*types.VMwareDVSPortSetting)
	merged := types.VMwareDVSPortSetting{}
	if was != nil {
		merged = *was
	}
	if ok {
		merged.Vlan = cmp.Or(told.Vlan, merged.Vlan)
		merged.MacManagementPolicy = cmp.Or(told.MacManagementPolicy, merged.MacManagementPolicy)
		merged.SecurityPolicy = cmp.Or(told.SecurityPolicy, merged.SecurityPolicy)
	}
	whole := types.DVPortgroupConfigSpec{
		Name: cmp.Or(asked.Spec.Name, now.Name), NumPorts: cmp.Or(asked.Spec.NumPorts, now.NumPorts),
		Type: cmp.Or(asked.Spec.Type, now.Type), Description: cmp.Or(asked.Spec.Description, now.Description),
		AutoExpand: cmp.Or(asked.Spec.AutoExpand, now.AutoExpand), DefaultPortConfig: &merged, Policy: now.Policy,
		PortNameFormat: now.PortNameFormat, BackingType: now.BackingType,
	}
	asked.Spec = whole
	answer := one.DistributedVirtualPortgroup.ReconfigureDVPortgroupTask(ctx, asked)
	version, _ := strconv.Atoi(now.ConfigVersion)
	one.Config.ConfigVersion = strconv.Itoa(version + 1)
	return answer
}
