"""Actions of security baselines."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from automation.model.actions.base import BaseAction, Effect
from automation.model.host_settings import Path, WantedSetting
from automation.model.provider_settings import SavedCall, WantedCall


class CollectFacts(BaseAction):
    """Run the collector on a host once, and keep its facts as an artifact."""

    do: Literal["collector.collect"] = "collector.collect"
    effect: ClassVar[Effect] = "read"
    locks: ClassVar[bool] = False
    host: str
    walk_s: float = Field(gt=0, description="after so long the walk over its disks is cut short, and says so")


class CollectAccountFacts(BaseAction):
    """Read what the controls of an AWS account ask for, in all its regions, and keep it as an artifact."""

    do: Literal["aws.collect_facts"] = "aws.collect_facts"
    effect: ClassVar[Effect] = "read"
    locks: ClassVar[bool] = False
    account: str = Field(description="twelve digits, of one or more providers of environment.yml")


class CollectVcenterFacts(BaseAction):
    """Read what the controls of a vCenter ask for, and keep it as an artifact."""

    do: Literal["vsphere.collect_facts"] = "vsphere.collect_facts"
    effect: ClassVar[Effect] = "read"
    locks: ClassVar[bool] = False
    vcenter: str = Field(description="name of the provider in environment.yml")


class ExpectFacts(BaseAction):
    """Collect the facts of a host again, and stop unless those that its plan was made from are still so."""

    do: Literal["collector.expect"] = "collector.expect"
    effect: ClassVar[Effect] = "read"
    guards: ClassVar[bool] = True
    host: str
    walk_s: float = Field(gt=0, description="as for CollectFacts")
    expected: Mapping[str, JsonValue] = Field(description="JMESPath over the facts, to what it gave")


class EnforceSettings(BaseAction):
    """Apply a host's whole list of settings at once, with a bundle to undo them.

    Where one may lock people out a dead-man switch is armed on the host before, and only a fresh login with
    sudo disarms it: without one the host takes everything back by itself. The change bears the run's id.
    """

    do: Literal["ansible.enforce_settings"] = "ansible.enforce_settings"
    effect: ClassVar[Effect] = "change"
    host: str
    settings: tuple[WantedSetting, ...] = Field(min_length=1)
    switch_s: float = Field(default=0.0, ge=0, description="0: no switch; refused if a setting is of R2")
    resources: tuple[str, ...] = Field(
        default=(), description="of backups.yml that are saved from it: not while it is changed"
    )


class UndoSettings(BaseAction):
    """Restore what an earlier run changed on a host: files byte for byte, and what runs."""

    do: Literal["ansible.undo_settings"] = "ansible.undo_settings"
    effect: ClassVar[Effect] = "change"
    host: str
    change: str = Field(pattern=r"^[A-Za-z0-9-]{6,64}$", description="id of the run that changed it")
    edited: tuple[Path, ...] = Field(
        default=(), description="restored though somebody edited them since; others that were are left alone"
    )
    resources: tuple[str, ...] = Field(default=(), description="as for EnforceSettings")


class EnforceAccount(BaseAction):
    """Make calls that an AWS account's controls ask for, and keep what was before."""

    do: Literal["aws.enforce_calls"] = "aws.enforce_calls"
    effect: ClassVar[Effect] = "change"
    account: str
    calls: tuple[WantedCall, ...] = Field(min_length=1)
    servers_there: tuple[str, ...] = Field(
        default=(), description="of the inventory: none of them is recovered meanwhile"
    )


class UndoAccount(BaseAction):
    """Put back what an earlier run changed in an AWS account: `saved` as it was made, the last first."""

    do: Literal["aws.undo_calls"] = "aws.undo_calls"
    effect: ClassVar[Effect] = "change"
    account: str
    saved: tuple[SavedCall, ...] = Field(min_length=1)
    servers_there: tuple[str, ...] = Field(default=(), description="as for enforcing")


class EnforceVcenter(BaseAction):
    """Make calls that a vCenter's controls ask for, and keep what was before."""

    do: Literal["vsphere.enforce_calls"] = "vsphere.enforce_calls"
    effect: ClassVar[Effect] = "change"
    vcenter: str
    calls: tuple[WantedCall, ...] = Field(min_length=1)
    servers_there: tuple[str, ...] = Field(
        default=(), description="of the inventory: none of them is recovered meanwhile"
    )


class UndoVcenter(BaseAction):
    """Put back what an earlier run changed in a vCenter: `saved` as it was made, the last first."""

    do: Literal["vsphere.undo_calls"] = "vsphere.undo_calls"
    effect: ClassVar[Effect] = "change"
    vcenter: str
    saved: tuple[SavedCall, ...] = Field(min_length=1)
    servers_there: tuple[str, ...] = Field(default=(), description="as for enforcing")
