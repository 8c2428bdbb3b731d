package main

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Advanced options that every host has, as ESXi 8 ships them; govmomi knows few.
var seeded = map[string]any{
	"Security.AccountLockFailures":            int64(5),
	"Security.AccountUnlockTime":              int64(900),
	"Security.PasswordQualityControl":         "retry=3 min=disabled,disabled,disabled,7,7",
	"Security.PasswordHistory":                int64(0),
	"UserVars.ESXiShellInteractiveTimeOut":    int64(0),
	"UserVars.ESXiShellTimeOut":               int64(0),
	"UserVars.DcuiTimeOut":                    int64(600),
	"UserVars.SuppressShellWarning":           int64(0),
	"UserVars.HostClientSessionTimeout":       int64(900),
	"Syslog.global.logHost":                   "",
	"Syslog.global.certificate.checkSSLCerts": false,
	"Syslog.global.auditRecord.storageEnable": false,
	"Syslog.global.auditRecord.remoteEnable":  false,
	"Config.HostAgent.plugins.solo.enableMob": false,
	"Config.HostAgent.log.level":              "info",
	"DCUI.Access":                             "root",
	"Annotations.WelcomeMessage":              "",
	"Config.Etc.issue":                        "",
	"Mem.ShareForceSalting":                   int64(2),
	"Net.BlockGuestBPDU":                      int64(1),
	"VMkernel.Boot.execInstalledOnly":         false,
}

// Gives a host systems of its own; govmomi's hosts share them, or have none.
func (center *vcenter) equip(host *simulator.HostSystem) error {
	root := center.service.Context
	put := func(one mo.Reference) *types.ManagedObjectReference {
		reference := root.Map.Put(one).Reference()
		return &reference
	}
	number := host.Self.Value
	named := func(kind string) types.ManagedObjectReference {
		return types.ManagedObjectReference{Type: kind, Value: fmt.Sprintf("%s-%s", kind, number)}
	}
	services := &serviceSystem{host: host}
	services.Self = named("HostServiceSystem")
	services.ServiceInfo = *host.Config.Service
	host.ConfigManager.ServiceSystem = put(services)

	clock := &dateTimeSystem{host: host}
	clock.Self = named("HostDateTimeSystem")
	clock.DateTimeInfo = types.HostDateTimeInfo{
		TimeZone:            types.HostDateTimeSystemTimeZone{Key: "UTC", Name: "UTC", Description: "UTC"},
		SystemClockProtocol: "ntp", NtpConfig: &types.HostNtpConfig{}, Enabled: types.NewBool(true),
	}
	host.Config.DateTimeInfo = &clock.DateTimeInfo
	host.ConfigManager.DateTimeSystem = put(clock)

	starts := &autostart{host: host}
	starts.Self = named("HostAutoStartManager")
	starts.HostAutoStartManager.Config.Defaults = host.Config.AutoStart.Defaults
	host.Config.AutoStart = &starts.HostAutoStartManager.Config
	host.ConfigManager.AutoStartManager = put(starts)

	access := &accessManager{host: host}
	access.Self = named("HostAccessManager")
	access.LockdownMode = types.HostLockdownModeLockdownDisabled
	host.Config.LockdownMode = access.LockdownMode
	host.ConfigManager.HostAccessManager = put(access)

	host.Capability.UefiSecureBoot = types.NewBool(center.SecureBoot)

	if err := center.plug(host); err != nil {
		return err
	}
	forgetMissing(host, root.Map)
	return seed(root.Map.Get(*host.ConfigManager.AdvancedOption).(*simulator.OptionManager))
}

// Gives a host its port groups.
func (center *vcenter) plug(host *simulator.HostSystem) error {
	root := center.service.Context
	ports := &networkSystem{HostNetworkSystem: root.Map.Get(*host.ConfigManager.NetworkSystem).(*simulator.HostNetworkSystem), center: center}
	ports.NetworkInfo = host.Config.Network
	root.Map.Put(ports)
	for _, name := range center.Networks {
		spec := types.HostPortGroupSpec{Name: name, VswitchName: "vSwitch0"}
		answer := ports.AddPortGroup(root, &types.AddPortGroup{Portgrp: spec})
		if fault := faultOf(answer); fault != nil {
			if _, there := fault.(*types.AlreadyExists); !there {
				return fmt.Errorf("port group %s: %T", name, fault)
			}
		}
	}
	return nil
}

// Takes away what leads nowhere: govmomi's hosts name managers that there are not.
func forgetMissing(host *simulator.HostSystem, registry *simulator.Registry) {
	managers := reflect.ValueOf(&host.ConfigManager).Elem()
	for number := range managers.NumField() {
		reference, ok := managers.Field(number).Interface().(*types.ManagedObjectReference)
		if ok && reference != nil && registry.Get(*reference) == nil {
			managers.Field(number).SetZero()
		}
	}
}

func seed(options *simulator.OptionManager) error {
	var wanted []types.BaseOptionValue
	for key, value := range seeded {
		wanted = append(wanted, &types.OptionValue{Key: key, Value: value})
	}
	if fault := faultOf(options.UpdateOptions(&types.UpdateOptions{ChangedValue: wanted})); fault != nil {
		return fmt.Errorf("advanced options: %T", fault)
	}
	return nil
}

// --- services -------------------------------------------------------------------------------------

type serviceSystem struct {
	mo.HostServiceSystem
	host *simulator.HostSystem
}

// Changes one service, in both places where it is read.
func (one *serviceSystem) change(ctx *simulator.Context, id string, change func(*types.HostService)) *soap.Fault {
	services := slices.Clone(one.ServiceInfo.Service)
	place := slices.IndexFunc(services, func(service types.HostService) bool { return service.Key == id })
	if place < 0 {
		return refusal(&types.NotFound{})
	}
	change(&services[place])
	ctx.Update(one, []types.PropertyChange{{Name: "serviceInfo.service", Val: services}})
	ctx.Map.AtomicUpdate(ctx, one.host, []types.PropertyChange{{Name: "config.service.service", Val: services}})
	return nil
}

func (one *serviceSystem) StartService(ctx *simulator.Context, asked *types.StartService) soap.HasFault {
	fault := one.change(ctx, asked.Id, func(service *types.HostService) { service.Running = true })
	return &methods.StartServiceBody{Res: &types.StartServiceResponse{}, Fault_: fault}
}

func (one *serviceSystem) StopService(ctx *simulator.Context, asked *types.StopService) soap.HasFault {
	fault := one.change(ctx, asked.Id, func(service *types.HostService) { service.Running = false })
	return &methods.StopServiceBody{Res: &types.StopServiceResponse{}, Fault_: fault}
}

func (one *serviceSystem) RestartService(ctx *simulator.Context, asked *types.RestartService) soap.HasFault {
	fault := one.change(ctx, asked.Id, func(service *types.HostService) { service.Running = true })
	return &methods.RestartServiceBody{Res: &types.RestartServiceResponse{}, Fault_: fault}
}

func (one *serviceSystem) UpdateServicePolicy(ctx *simulator.Context, asked *types.UpdateServicePolicy) soap.HasFault {
	if !slices.Contains([]string{"on", "off", "automatic"}, asked.Policy) {
		return &methods.UpdateServicePolicyBody{Fault_: refusal(&types.InvalidArgument{InvalidProperty: "policy"})}
	}
	fault := one.change(ctx, asked.Id, func(service *types.HostService) { service.Policy = asked.Policy })
	return &methods.UpdateServicePolicyBody{Res: &types.UpdateServicePolicyResponse{}, Fault_: fault}
}

func (one *serviceSystem) RefreshServices(*types.RefreshServices) soap.HasFault {
	return &methods.RefreshServicesBody{Res: &types.RefreshServicesResponse{}}
}

// --- the clock ------------------------------------------------------------------------------------

type dateTimeSystem struct {
	mo.HostDateTimeSystem
	host *simulator.HostSystem
}

func (one *dateTimeSystem) UpdateDateTimeConfig(ctx *simulator.Context, asked *types.UpdateDateTimeConfig) soap.HasFault {
	told := one.DateTimeInfo
	if asked.Config.NtpConfig != nil {
		told.NtpConfig = asked.Config.NtpConfig
	}
	if asked.Config.Protocol != "" {
		told.SystemClockProtocol = asked.Config.Protocol
	}
	if asked.Config.Enabled != nil {
		told.Enabled = asked.Config.Enabled
	}
	ctx.Update(one, []types.PropertyChange{{Name: "dateTimeInfo", Val: told}})
	return &methods.UpdateDateTimeConfigBody{Res: &types.UpdateDateTimeConfigResponse{}}
}

func (one *dateTimeSystem) QueryDateTime(*types.QueryDateTime) soap.HasFault {
	return &methods.QueryDateTimeBody{Res: &types.QueryDateTimeResponse{Returnval: time.Now().UTC()}}
}

func (one *dateTimeSystem) RefreshDateTimeSystem(*types.RefreshDateTimeSystem) soap.HasFault {
	return &methods.RefreshDateTimeSystemBody{Res: &types.RefreshDateTimeSystemResponse{}}
}

// --- lockdown -------------------------------------------------------------------------------------

type accessManager struct {
	mo.HostAccessManager
	host       *simulator.HostSystem
	exceptions []string
}

func (one *accessManager) ChangeLockdownMode(ctx *simulator.Context, asked *types.ChangeLockdownMode) soap.HasFault {
	one.mode(ctx, asked.Mode)
	return &methods.ChangeLockdownModeBody{Res: &types.ChangeLockdownModeResponse{}}
}

func (one *accessManager) mode(ctx *simulator.Context, mode types.HostLockdownMode) {
	ctx.Update(one, []types.PropertyChange{{Name: "lockdownMode", Val: mode}})
	ctx.Map.AtomicUpdate(ctx, one.host, []types.PropertyChange{{Name: "config.lockdownMode", Val: mode}})
}

func (one *accessManager) QueryLockdownExceptions(*types.QueryLockdownExceptions) soap.HasFault {
	answer := &types.QueryLockdownExceptionsResponse{Returnval: slices.Clone(one.exceptions)}
	return &methods.QueryLockdownExceptionsBody{Res: answer}
}

func (one *accessManager) UpdateLockdownExceptions(asked *types.UpdateLockdownExceptions) soap.HasFault {
	one.exceptions = slices.Clone(asked.Users)
	return &methods.UpdateLockdownExceptionsBody{Res: &types.UpdateLockdownExceptionsResponse{}}
}

// --- advanced options -----------------------------------------------------------------------------

// Sets options of a host as ESXi does: only those that it has, each to a value of its type.
//
// govmomi takes any.
type hostOptions struct{ *simulator.OptionManager }

func (one *hostOptions) UpdateOptions(asked *types.UpdateOptions) soap.HasFault {
	for _, change := range asked.ChangedValue {
		wanted := change.GetOptionValue()
		place := slices.IndexFunc(one.Setting, func(now types.BaseOptionValue) bool { return now.GetOptionValue().Key == wanted.Key })
		if place < 0 {
			return &methods.UpdateOptionsBody{Fault_: refusal(&types.InvalidName{Name: wanted.Key})}
		}
		if reflect.TypeOf(one.Setting[place].GetOptionValue().Value) != reflect.TypeOf(wanted.Value) {
			fault := refusal(&types.InvalidArgument{InvalidProperty: "changedValue.value"})
			return &methods.UpdateOptionsBody{Fault_: fault}
		}
	}
	return one.OptionManager.UpdateOptions(asked)
}

// --- what starts by itself ------------------------------------------------------------------------

type autostart struct {
	mo.HostAutoStartManager
	host *simulator.HostSystem
}

// Merges what is told of each machine into what was; a machine whose order is -1 and whose action is none
// starts no more.
func (one *autostart) ReconfigureAutostart(ctx *simulator.Context, asked *types.ReconfigureAutostart) soap.HasFault {
	told := one.HostAutoStartManager.Config
	told.PowerInfo = slices.Clone(told.PowerInfo)
	if asked.Spec.Defaults != nil {
		told.Defaults = asked.Spec.Defaults
	}
	for _, info := range asked.Spec.PowerInfo {
		if missing := missingOf(ctx, &info.Key); missing != nil {
			return &methods.ReconfigureAutostartBody{Fault_: refusal(missing)}
		}
		told.PowerInfo = withoutMachine(told.PowerInfo, info.Key)
		if info.StartAction != "none" {
			told.PowerInfo = append(told.PowerInfo, info)
		}
	}
	ctx.Update(one, []types.PropertyChange{{Name: "config", Val: told}})
	return &methods.ReconfigureAutostartBody{Res: &types.ReconfigureAutostartResponse{}}
}

func withoutMachine(all []types.AutoStartPowerInfo, machine types.ManagedObjectReference) []types.AutoStartPowerInfo {
	return slices.DeleteFunc(all, func(info types.AutoStartPowerInfo) bool { return info.Key == machine })
}

// Takes a machine that is gone from every host's list.
func (center *vcenter) leaveAutostart(ctx *simulator.Context, machine types.ManagedObjectReference) {
	for _, one := range ctx.Map.AllReference("HostAutoStartManager") {
		if starts, ok := one.(*autostart); ok {
			ctx.WithLock(starts.Self, func() {
				kept := withoutMachine(slices.Clone(starts.HostAutoStartManager.Config.PowerInfo), machine)
				starts.HostAutoStartManager.Config.PowerInfo = kept
			})
		}
	}
}
