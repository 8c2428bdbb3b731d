"""Hosts as baselines see them: the properties that are read of each, and the words for them. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue
from pyVmomi import vim

from automation.adapters.vsphere.errors import reason
from automation.adapters.vsphere.reading import Seen
from automation.model.errors import AdapterError

SHELL_TIMEOUT, IDLE_TIMEOUT = "UserVars.ESXiShellTimeOut", "UserVars.ESXiShellInteractiveTimeOut"
TRIES, UNLOCK = "Security.AccountLockFailures", "Security.AccountUnlockTime"
LOG_TARGETS = "Syslog.global.logHost"
LOG_CERTIFICATES, AUDIT_RECORDS = (
    "Syslog.global.certificate.checkSSLCerts",
    "Syslog.global.auditRecord.remoteEnable",
)
ONLY_INSTALLED = "VMkernel.Boot.execInstalledOnly"
SSH, SHELL, CLOCK = "TSM-SSH", "TSM", "ntpd"
LOCKDOWN: Mapping[str, str] = {
    "lockdownDisabled": "disabled",
    "lockdownNormal": "normal",
    "lockdownStrict": "strict",
}
MODE, SERVICES, SERVERS = "config.lockdownMode", "config.service.service", "config.dateTimeInfo.ntpConfig"
SECURE_BOOT = "capability.uefiSecureBoot"
STATE, VERSION = "runtime.connectionState", "config.product.version"
ACCESS, OPTIONS, SERVICE_SYSTEM, NETWORK_SYSTEM = (
    f"configManager.{one}"
    for one in ("hostAccessManager", "advancedOption", "serviceSystem", "networkSystem")
)
GROUPS, SWITCHES = "config.network.portgroup", "config.network.vswitch"


class NotTold(AdapterError):
    """A property that a vCenter did not give, and why."""


def option(key: str) -> str:
    """Give the path of an advanced option."""
    return f'config.option["{key}"]'


# What each section is made from; one that a vCenter does not give makes that section unknown, and no other.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "lockdown": (MODE,),
    "shells": (SERVICES, option(SHELL_TIMEOUT), option(IDLE_TIMEOUT)),
    "logs": (option(LOG_TARGETS), option(LOG_CERTIFICATES), option(AUDIT_RECORDS)),
    "clocks": (SERVICES, SERVERS),
    "trusted_boot": (SECURE_BOOT, option(ONLY_INSTALLED)),
    "lockouts": (option(TRIES), option(UNLOCK)),
    "support": (VERSION,),
    "port_groups": (GROUPS, SWITCHES),
}


def name_of(host: Seen) -> str:
    """Give a host's name."""
    return str(host.get("name") or host.moid)


def connected(host: Seen) -> bool:
    """Whether what a vCenter says of a host is how it is now."""
    return str(host.get(STATE)) == "connected"


def require_told(host: Seen, section: str) -> None:
    """See that a vCenter gave all that a section is made from.

    Raises:
        NotTold: it did not; a property that is merely unset was given.
    """
    for path in NEEDED[section]:
        if path in host.missing:
            raise NotTold(f"{name_of(host)}: {path}: {reason(host.missing[path])}")


def option_of(host: Seen, key: str) -> Any:
    """Give the value of an advanced option; none where the host has no such option."""
    found = host.get(option(key))
    return getattr(found, "value", found)


def plain(value: Any) -> JsonValue:
    """Give an option's value as JSON has it: pyVmomi's numbers are of types of their own."""
    if isinstance(value, bool) or value is None:
        return value
    return int(value) if isinstance(value, int) else str(value)


def service(host: Seen, key: str) -> dict[str, JsonValue]:
    """Give whether a service runs and when it is started; one that is not named may still run.

    Raises:
        NotTold: the services of the host were not given, or this one is not among them.
    """
    services = host.get(SERVICES)
    if services is None:
        raise NotTold(f"{name_of(host)}: its services were not given")
    found = next((one for one in services if one.key == key), None)
    if found is None:
        raise NotTold(f"{name_of(host)}: service {key} is not among those that it names")
    return {"running": bool(found.running), "policy": str(found.policy)}


def shells(host: Seen) -> dict[str, JsonValue]:
    """Give its two shells, and when they end by themselves."""
    return {
        "name": name_of(host),
        "ssh": service(host, SSH),
        "shell": service(host, SHELL),
        "timeout_s": plain(option_of(host, SHELL_TIMEOUT)),
        "idle_timeout_s": plain(option_of(host, IDLE_TIMEOUT)),
    }


def logs(host: Seen) -> dict[str, JsonValue]:
    """Give where its logs go, and by what that is checked."""
    targets = str(option_of(host, LOG_TARGETS) or "")
    return {
        "name": name_of(host),
        "targets": [one.strip() for one in targets.split(",") if one.strip()],
        "checks_certificate": plain(option_of(host, LOG_CERTIFICATES)),
        "audit_records": plain(option_of(host, AUDIT_RECORDS)),
    }


def clocks(host: Seen) -> dict[str, JsonValue]:
    """Give its time servers, and whether the service that asks them runs."""
    return {
        "name": name_of(host),
        "servers": list(servers_of(host)),
        **service(host, CLOCK),
    }


def servers_of(host: Seen) -> list[str]:
    """Give the servers that a host takes the time from."""
    return [str(one) for one in getattr(host.get(SERVERS), "server", None) or ()]


def trusted_boot(host: Seen) -> dict[str, JsonValue]:
    """How a host booted; one before ESXi 8.0 U3 does not say it.

    Raises:
        NotTold: it does not say it.
    """
    secure = host.get(SECURE_BOOT)
    if secure is None:
        raise NotTold(
            f"{name_of(host)} does not say whether it booted by UEFI Secure Boot, as before ESXi 8.0 U3"
        )
    return {
        "name": name_of(host),
        "secure_boot": bool(secure),
        "only_installed_programs": plain(option_of(host, ONLY_INSTALLED)),
    }


def lockouts(host: Seen) -> dict[str, JsonValue]:
    """Give after how many failed logins it locks an account, and for how long."""
    return {
        "name": name_of(host),
        "tries": plain(option_of(host, TRIES)),
        "unlock_s": plain(option_of(host, UNLOCK)),
    }


def paths(*, secure_boot: bool) -> tuple[str, ...]:
    """Give all that is read of every host, in one round trip a page.

    Args:
        secure_boot: whether the vCenter knows the property by which a host says how it booted.
    """
    needed = dict.fromkeys(path for some in NEEDED.values() for path in some)
    if not secure_boot:  # who asks for a property of a later API gets none at all
        del needed[SECURE_BOOT]
    return ("name", STATE, ACCESS, OPTIONS, SERVICE_SYSTEM, NETWORK_SYSTEM, *needed)


KIND = vim.HostSystem
