"""Settings of a host that one Ansible module applies: what is wanted, by kind."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from automation.model.base import Model

# R0 changes nothing that runs, R1 reloads something, R2 can lock people out, R3 needs a boot,
# R4 cannot be taken back and is never done by a program.
Risk = Literal["R0", "R1", "R2", "R3", "R4"]
CHANGES = "/var/lib/mainstay-changes"  # on a host: a folder for every change, by its run's id
Path = Annotated[str, Field(pattern=r"^/[^\x00-\x1f]{1,400}$")]
Mode = Annotated[str, Field(pattern=r"^0[0-7]{3}$")]


class SshdSetting(Model):
    """A keyword of sshd, in a drop-in that is read first."""

    kind: Literal["sshd"]
    keyword: str = Field(pattern=r"^[A-Za-z0-9]+$")
    value: JsonValue


class SysctlSetting(Model):
    """A kernel setting, now and after the next boot."""

    kind: Literal["sysctl"]
    name: str = Field(pattern=r"^[a-z0-9_.*-]+$")
    value: JsonValue


class KeyValueSetting(Model):
    """A key in a file of keys and values: login.defs, pwquality.conf, faillock.conf, journald.conf."""

    kind: Literal["key-value"]
    path: Path
    name: str = Field(min_length=1)
    value: JsonValue
    separator: Literal[" ", "=", " = "] = " "
    section: str = Field(default="", description="of an INI file")
    reload: str = Field(default="", description="unit that reads it")


class FileMode(Model):
    """Owner and mode of a file that is there; never made laxer than it is."""

    kind: Literal["file-mode"]
    path: Path
    owner: str = "root"
    group: str = "root"
    mode: Mode


class FileContent(Model):
    """A whole file of ours: a sudoers drop-in, a profile script, a module list."""

    kind: Literal["file-content"]
    path: Path
    content: JsonValue
    mode: Mode = "0644"
    validate_with: tuple[str, ...] = Field(default=(), description="program that refuses a faulty one")


class UnitState(Model):
    """A systemd unit that runs, or does not."""

    kind: Literal["unit"]
    unit: str = Field(pattern=r"^[A-Za-z0-9@_.:-]+$")
    state: Literal["enabled", "disabled", "masked"]


class PackageState(Model):
    """A Debian package that is there, or is not."""

    kind: Literal["package"]
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.+-]+$")
    state: Literal["present", "absent"]


HostSetting = Annotated[
    SshdSetting | SysctlSetting | KeyValueSetting | FileMode | FileContent | UnitState | PackageState,
    Field(discriminator="kind"),
]


# How paths begin and units are called by which people come in. The module on the host has more of them, and
# sees what sshd includes; what is missing here it refuses for want of a switch.
_PATHS_IN = ("/etc/ssh/", "/etc/sudoers", "/etc/pam.", "/etc/security/", "/etc/nftables", "/etc/iptables")
_UNITS_IN = ("ssh.", "sshd.", "nftables.", "iptables.", "netfilter-persistent.")


def may_lock_out(setting: HostSetting) -> bool:
    """Whether a setting touches what lets people in, so that a host makes it only with a switch."""
    match setting:
        case SshdSetting():
            return True
        case KeyValueSetting() | FileMode() | FileContent():
            return f"{setting.path}/".startswith(_PATHS_IN)
        case UnitState():
            return f"{setting.unit}.".startswith(_UNITS_IN)
    return False


class WantedSetting(Model):
    """One setting of a plan, its values filled in, and the control that asks for it."""

    control: str
    risk: Risk
    setting: HostSetting
    shown: str = Field(default="", description="current -> wanted, for people")
