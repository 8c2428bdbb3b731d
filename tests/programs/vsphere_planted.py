"""A vCenter as its baseline must not find it: what is planted there, by pyVmomi alone, and how it is now."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyVim.task import WaitForTask
from pyVmomi import VmomiSupport, vim

from tests.programs.simulators_vcenter import VcenterSimulated

KEEP = ["break-glass", "mainstay"]
_LONG = VmomiSupport.vmodlTypes["long"]
_SWITCH = vim.dvs.VmwareDistributedVirtualSwitch
OPTIONS: Mapping[str, Any] = {
    "UserVars.ESXiShellTimeOut": _LONG(0),
    "UserVars.ESXiShellInteractiveTimeOut": _LONG(300),
    "Security.AccountLockFailures": _LONG(10),
    "Security.AccountUnlockTime": _LONG(60),
    "Syslog.global.logHost": "ssl://logs.city.lab:1514",
    "Syslog.global.certificate.checkSSLCerts": False,
    "Syslog.global.auditRecord.remoteEnable": False,
    "VMkernel.Boot.execInstalledOnly": False,
}
SERVICES = {"TSM-SSH": (True, "on"), "TSM": (False, "off"), "ntpd": (False, "off")}


@contextmanager
def hosts_of(vcenter: VcenterSimulated) -> Iterator[list[Any]]:
    """Give the hosts of a vCenter, by name, in a session of their own."""
    with vcenter.session() as instance:
        content = instance.RetrieveContent()
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True)
        yield sorted(view.view, key=lambda one: one.name)


def plant(vcenter: VcenterSimulated) -> None:
    """Have every host and port group of a vCenter be as none should."""
    with hosts_of(vcenter) as hosts:
        for host in hosts:
            _plant_host(host)
            set_policy(host, "city", promiscuous=True)
        group = _distributed_group(hosts[0])
        _forge(group, True)


def _plant_host(host: Any) -> None:
    manager = host.configManager
    if host.runtime.connectionState != "connected":
        WaitForTask(host.ReconnectHost_Task())
    manager.hostAccessManager.ChangeLockdownMode("lockdownDisabled")
    manager.hostAccessManager.UpdateLockdownExceptions(KEEP)
    set_options(host, OPTIONS)
    for key, (running, policy) in SERVICES.items():
        manager.serviceSystem.UpdateServicePolicy(key, policy)
        (manager.serviceSystem.StartService if running else manager.serviceSystem.StopService)(key)
    ntp = vim.host.NtpConfig(server=["ntp1.city.lab"])
    manager.dateTimeSystem.UpdateDateTimeConfig(vim.host.DateTimeConfig(ntpConfig=ntp))


def set_options(host: Any, options: Mapping[str, Any]) -> None:
    """Set advanced options of a host."""
    values = [vim.option.OptionValue(key=key, value=value) for key, value in options.items()]
    host.configManager.advancedOption.UpdateOptions(values)


def set_policy(host: Any, name: str, *, promiscuous: bool) -> None:
    """Have a port group of a host let VMs see all, and leave the rest to its switch."""
    group = next(one for one in host.config.network.portgroup if one.spec.name == name)
    spec = group.spec
    spec.policy = vim.host.NetworkPolicy(
        security=vim.host.NetworkPolicy.SecurityPolicy(allowPromiscuous=promiscuous)
    )
    host.configManager.networkSystem.UpdatePortGroup(name, spec)


def _distributed_group(host: Any) -> Any:
    datacenter = host.parent.parent.parent
    known = [one for one in datacenter.network if one.name == "police"]
    if known:
        return known[0]
    spec = vim.DistributedVirtualSwitch.CreateSpec(configSpec=_SWITCH.ConfigSpec(name="backbone"))
    made = WaitForTask(datacenter.networkFolder.CreateDVS_Task(spec))
    switch = next(one for one in datacenter.networkFolder.childEntity if one.name == "backbone")
    assert made == "success"
    asked = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(name="police", type="earlyBinding", numPorts=8)
    WaitForTask(switch.AddDVPortgroup_Task([asked]))
    return next(one for one in switch.portgroup if one.name == "police")


def _forge(group: Any, let: bool) -> None:
    policy = group.config.defaultPortConfig.macManagementPolicy
    policy.forgedTransmits = let
    WaitForTask(
        group.ReconfigureDVPortgroup_Task(
            vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
                configVersion=group.config.configVersion,
                defaultPortConfig=_SWITCH.VmwarePortConfigPolicy(macManagementPolicy=policy),
            )
        )
    )


def state_of(vcenter: VcenterSimulated) -> dict[str, object]:
    """Give all that a baseline may change of a vCenter, as pyVmomi reads it."""
    with hosts_of(vcenter) as hosts:
        state: dict[str, object] = {one.name: _host_state(one) for one in hosts}
        policy = _distributed_group(hosts[0]).config.defaultPortConfig.macManagementPolicy
        state["police"] = (policy.allowPromiscuous, policy.macChanges, policy.forgedTransmits)
    return state


def _host_state(host: Any) -> dict[str, object]:
    security = {
        one.spec.name: one.spec.policy.security
        and (
            one.spec.policy.security.allowPromiscuous,
            one.spec.policy.security.macChanges,
            one.spec.policy.security.forgedTransmits,
        )
        for one in host.config.network.portgroup
    }
    return {
        "mode": host.configManager.hostAccessManager.lockdownMode,
        "services": {
            one.key: (one.running, one.policy)
            for one in host.configManager.serviceSystem.serviceInfo.service
            if one.key in SERVICES
        },
        "options": {
            one.key: one.value for one in host.configManager.advancedOption.setting if one.key in OPTIONS
        },
        "security": {name: set_ for name, set_ in security.items() if set_ != (None, None, None)},
    }
