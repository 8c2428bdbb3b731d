"""The calls by which controls change a vCenter, by name, and what each one sets."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from automation.adapters.vsphere import hosts
from automation.adapters.vsphere.closing import PortGroup
from automation.adapters.vsphere.host_settings import (
    Clock,
    Goal,
    Host,
    Lockdown,
    Options,
    Services,
    Setting,
    all_true,
    end_within,
    lock_out,
)
from automation.adapters.vsphere.hosts import name_of
from automation.adapters.vsphere.reading import sweep
from automation.adapters.vsphere.sessions import Vcenter
from automation.model.errors import AdapterError


class Reach(NamedTuple):
    """A vCenter and its hosts by name, as they were found when an action began."""

    vcenter: Vcenter
    hosts: Mapping[str, Any]


def reach_of(vcenter: Vcenter) -> Reach:
    """Find the hosts of a vCenter."""
    root = vcenter.read(lambda content: content.rootFolder)
    return Reach(vcenter, {name_of(one): one.ref for one in sweep(vcenter, root, {hosts.KIND: ("name",)})})


def setting_of(reach: Reach, call: str, on: str) -> Setting:
    """Give what a call sets at what bears a name.

    Raises:
        AdapterError: there is no such call, or no such host.
    """
    if call == "close_port_group":
        return PortGroup(reach.vcenter, on, tuple(reach.hosts.values()))
    if call not in _AT_HOSTS:
        raise AdapterError(f"no call {call!r} is known at a vCenter; nothing was changed")
    if on not in reach.hosts:
        raise AdapterError(f"{call}: the vCenter shows no host {on!r}; nothing was changed")
    return _AT_HOSTS[call](Host(reach.vcenter, on, reach.hosts[on]))


def _options(keys: Mapping[str, str], goal: Goal) -> Callable[[Host], Setting]:
    return lambda host: Options(host, keys, goal)


_AT_HOSTS: Mapping[str, Callable[[Host], Setting]] = {
    "lock_host_down": Lockdown,
    "stop_shells": lambda host: Services(host, {"ssh": hosts.SSH, "shell": hosts.SHELL}, False, "off"),
    "start_clock_service": lambda host: Clock(Services(host, {"clock": hosts.CLOCK}, True, "on")),
    "set_shell_timeouts": _options(
        {"timeout_s": hosts.SHELL_TIMEOUT, "idle_timeout_s": hosts.IDLE_TIMEOUT}, end_within
    ),
    "set_host_lockout": _options({"tries": hosts.TRIES, "unlock_s": hosts.UNLOCK}, lock_out),
    "check_log_certificates": _options({"checks_certificate": hosts.LOG_CERTIFICATES}, all_true),
    "send_audit_records": _options({"audit_records": hosts.AUDIT_RECORDS}, all_true),
}
CALLS = frozenset({*_AT_HOSTS, "close_port_group"})
