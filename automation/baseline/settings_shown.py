"""Settings for people: what each is about, and how it is now by the facts. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from automation.baseline.asking import Asker, NoAnswer
from automation.baseline.checks import show
from automation.model.facts import Facts
from automation.model.host_settings import (
    FileContent,
    FileMode,
    HostSetting,
    KeyValueSetting,
    PackageState,
    SshdSetting,
    SysctlSetting,
    UnitState,
)

_LATER = "looked at when it is set"
# Where facts hold the values of a file of keys and values.
_SECTIONS: Mapping[str, str] = {
    "/etc/login.defs": "login_defs",
    "/etc/security/faillock.conf": "pam.faillock",
    "/etc/security/pwquality.conf": "pam.pwquality",
    "/etc/systemd/journald.conf.d/zz-mainstay.conf": "journald.settings",
}


def shown(setting: HostSetting, facts: Facts) -> str:
    """Say what a setting is about, how it is, and how it is to be."""
    return f"{what(setting)}: {show(now(setting, facts))} -> {wanted(setting)}"


def what(setting: HostSetting) -> str:
    """Name what a setting is about; two of the same name want the same thing set."""
    match setting:
        case SshdSetting():
            return f"sshd {setting.keyword}"
        case SysctlSetting():
            return f"sysctl {setting.name}"
        case KeyValueSetting():
            return f"{setting.path} {setting.name}"
        case FileMode():
            return f"mode of {setting.path}"
        case FileContent():
            return f"file {setting.path}"
        case UnitState():
            return f"unit {setting.unit}"
        case PackageState():
            return f"package {setting.name}"


def wanted(setting: HostSetting) -> str:
    """Say how it is to be."""
    match setting:
        case SshdSetting() | SysctlSetting() | KeyValueSetting():
            value = setting.value
            return show(",".join(map(str, value)) if isinstance(value, list) else value)
        case FileMode():
            return f"{setting.owner}:{setting.group} {setting.mode} or stricter"
        case FileContent():
            return show(str(setting.content).strip().replace("\n", "; "))
        case UnitState() | PackageState():
            return setting.state


def key(setting: HostSetting) -> str:
    """Give the word by which facts speak of what a setting is about."""
    match setting:
        case SshdSetting():
            return setting.keyword.lower()
        case SysctlSetting() | KeyValueSetting() | PackageState():
            return setting.name
        case FileMode() | FileContent():
            return setting.path
        case UnitState():
            return setting.unit


def is_so(setting: HostSetting, facts: Facts) -> bool:
    """Whether the facts say that it is as wanted already, now and after the next boot."""
    return not isinstance(setting, FileMode | FileContent) and show(now(setting, facts)) == wanted(setting)


def now(setting: HostSetting, facts: Facts) -> JsonValue:
    """Give what the facts say of it; where they do not tell, the words for that."""
    match setting:
        case SshdSetting():
            found = _asked(f'sshd.effective."{setting.keyword.lower()}"', facts)
            return ",".join(map(str, found)) if isinstance(found, list) else _or(found, "not set")
        case SysctlSetting():
            running = _or(_asked(f'sysctl.running."{setting.name}"', facts), "not set")
            written = _asked(f'sysctl.persistent."{setting.name}"', facts)
            after = "in no file" if written is None else f"after a boot {show(written)}"
            return running if written == running else f"{running}, {after}"
        case KeyValueSetting(path=path) if path in _SECTIONS:
            return _or(_asked(f'{_SECTIONS[path]}."{setting.name}"', facts), "not set")
        case FileMode():
            told = _asked(f'files."{setting.path}"', facts)
            if not isinstance(told, dict) or not {"owner", "group", "mode"} <= told.keys():
                return _LATER
            return f"{told['owner']}:{told['group']} {told['mode']}"
        case UnitState():
            return _or(_asked(f'units.all."{setting.unit}".enabled', facts), "not there")
        case PackageState():
            return "present" if _asked(f'packages."{setting.name}"', facts) else "absent"
    return _LATER


def _or(found: Any, otherwise: str) -> JsonValue:
    value: JsonValue = otherwise if found is None else found
    return value


def _asked(expression: str, facts: Facts) -> Any:
    try:
        return Asker(facts).search(expression)
    except NoAnswer:
        return None
