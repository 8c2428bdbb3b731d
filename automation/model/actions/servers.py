"""Actions on servers and networks of AWS and vSphere; the two take the same words.

What is to be made is named by the server's own name: the adapter looks for what bears our marks (`OWNER`,
`ROLE`) before it makes anything, and marks what it makes in the same call. Tokens that make a call idempotent
are derived from run, step and name.
"""

from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.servers import KeptSnapshot, NetworkSpec, ServerSpec


class _OnServer(BaseAction):
    host: str
    site: str


class _Create(_OnServer):
    effect: ClassVar[Effect] = "change"
    spec: ServerSpec
    power_on: bool = True


class _Change(_OnServer):
    effect: ClassVar[Effect] = "change"
    spec: ServerSpec
    changes: tuple[str, ...] = Field(description="what differs: size, disks, networks, tags")
    restart: bool = Field(default=False, description="whether it may be stopped for it")


class _Start(_OnServer):
    effect: ClassVar[Effect] = "change"


class _Stop(_OnServer):
    effect: ClassVar[Effect] = "change"
    patience_s: float = Field(default=60.0, description="for the guest to end by itself; then power is cut")


class _Fence(_OnServer):
    """Power off and no autostart, both read back."""

    effect: ClassVar[Effect] = "change"
    holds: ClassVar[bool] = True


class _Adopt(_OnServer):
    effect: ClassVar[Effect] = "change"
    id: str = Field(description="the provider's; it must bear nobody's mark")


class _Delete(_OnServer):
    effect: ClassVar[Effect] = "destroy"
    irreversible: ClassVar[bool] = True
    id: str = Field(description="what the plan saw; another one of that name is refused")
    keep_snapshot: bool = Field(default=True, description="of every disk, before it goes")


class _LearnKey(_OnServer):
    """Read a new server's SSH host key by the provider's own channel, and keep it in known_hosts."""

    effect: ClassVar[Effect] = "change"


class _CreateNetwork(BaseAction):
    effect: ClassVar[Effect] = "change"
    network: NetworkSpec

    @property
    def site(self) -> str:
        return self.network.site


class _ChangeNetwork(_CreateNetwork):
    changes: tuple[str, ...] = Field(description="what differs: rules, vlan")


class _DeleteNetwork(BaseAction):
    effect: ClassVar[Effect] = "destroy"
    irreversible: ClassVar[bool] = True
    name: str
    site: str
    id: str


# --- AWS ---------------------------------------------------------------------------------------------


class CreateInstance(_Create):
    """Make an EC2 instance with its disks, marked in the same call."""

    do: Literal["aws.create_instance"] = "aws.create_instance"


class ChangeInstance(_Change):
    """Make an EC2 instance what it was declared to be."""

    do: Literal["aws.change_instance"] = "aws.change_instance"


class StartInstance(_Start):
    """Start an EC2 instance of ours, and wait until it runs."""

    do: Literal["aws.start_instance"] = "aws.start_instance"


class StopInstance(_Stop):
    """Stop an EC2 instance of ours, and wait until it stands."""

    do: Literal["aws.stop_instance"] = "aws.stop_instance"


class AdoptInstance(_Adopt):
    """Mark an EC2 instance as ours."""

    do: Literal["aws.adopt_instance"] = "aws.adopt_instance"


class TerminateInstance(_Delete):
    """Terminate a stopped EC2 instance of ours, with its disks."""

    do: Literal["aws.terminate_instance"] = "aws.terminate_instance"


class DeleteKept(_OnServer):
    """Delete snapshots that were kept of the disks of an EC2 instance that went."""

    do: Literal["aws.delete_kept"] = "aws.delete_kept"
    effect: ClassVar[Effect] = "destroy"
    irreversible: ClassVar[bool] = True
    snapshots: tuple[KeptSnapshot, ...] = Field(
        min_length=1, description="as the plan saw them; none goes that is not so any more"
    )


class LearnInstanceKey(_LearnKey):
    """Read an EC2 instance's host key from its console output."""

    do: Literal["aws.learn_host_key"] = "aws.learn_host_key"


class CreateSubnet(_CreateNetwork):
    """Make a VPC if it is missing, a subnet in it, and its security group."""

    do: Literal["aws.create_network"] = "aws.create_network"


class ChangeSubnet(_ChangeNetwork):
    """Make a security group's rules what was declared."""

    do: Literal["aws.change_network"] = "aws.change_network"


class DeleteSubnet(_DeleteNetwork):
    """Remove a subnet that nothing uses, its security group, and its VPC with the last one."""

    do: Literal["aws.delete_network"] = "aws.delete_network"


# --- vSphere -----------------------------------------------------------------------------------------


class CreateVm(_Create):
    """Clone a VM from its template, with its disks and marks, and power it on."""

    do: Literal["vsphere.create_vm"] = "vsphere.create_vm"


class ChangeVm(_Change):
    """Make a VM what it was declared to be."""

    do: Literal["vsphere.change_vm"] = "vsphere.change_vm"


class PowerOnVm(_Start):
    """Power a VM of ours on, and wait for its tools and its address."""

    do: Literal["vsphere.power_on_vm"] = "vsphere.power_on_vm"


class ShutDownVm(_Stop):
    """Shut a VM of ours down by its tools; without answer its power is cut."""

    do: Literal["vsphere.shut_down_vm"] = "vsphere.shut_down_vm"


class FenceVm(_Fence):
    """Power a VM off and take it from its host's autostart, both read back."""

    do: Literal["vsphere.fence_vm"] = "vsphere.fence_vm"
    absent_is_off: bool = Field(
        default=False, description="a VM that its vCenter has no more, as a later step takes it out, is off"
    )
    unseen_is_off: bool = Field(
        default=False, description="off is, too, a VM that no host has, while each answers its vCenter"
    )


class AdoptVm(_Adopt):
    """Mark a VM as ours."""

    do: Literal["vsphere.adopt_vm"] = "vsphere.adopt_vm"


class DestroyVm(_Delete):
    """Destroy a VM of ours that is powered off, with its disks."""

    do: Literal["vsphere.destroy_vm"] = "vsphere.destroy_vm"


class LearnVmKey(_LearnKey):
    """Read a VM's host key from its guestinfo."""

    do: Literal["vsphere.learn_host_key"] = "vsphere.learn_host_key"


class CreatePortGroup(_CreateNetwork):
    """Make a port group on the switch of every host of the cluster."""

    do: Literal["vsphere.create_network"] = "vsphere.create_network"


class ChangePortGroup(_ChangeNetwork):
    """Make a port group what was declared."""

    do: Literal["vsphere.change_network"] = "vsphere.change_network"


class DeletePortGroup(_DeleteNetwork):
    """Remove a port group that nothing uses."""

    do: Literal["vsphere.delete_network"] = "vsphere.delete_network"


ServerAction = (
    CreateInstance
    | ChangeInstance
    | StartInstance
    | StopInstance
    | AdoptInstance
    | TerminateInstance
    | DeleteKept
    | LearnInstanceKey
    | CreateSubnet
    | ChangeSubnet
    | DeleteSubnet
    | CreateVm
    | ChangeVm
    | PowerOnVm
    | ShutDownVm
    | FenceVm
    | AdoptVm
    | DestroyVm
    | LearnVmKey
    | CreatePortGroup
    | ChangePortGroup
    | DeletePortGroup
)
