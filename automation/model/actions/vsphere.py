"""Actions of the strategy vm-replica: VMs whose disks another vCenter sees on a replicated datastore.

A VM is found by our mark, else on the datastore by its folder. Nothing here deletes a file of a replicated
datastore: what a test runs on is a copy, made elsewhere and removed by its run's mark.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.strategy import HostName


class LookAtReplicas(BaseAction):
    """See that the replicated datastore shows every VM's files at a site, and how new they are."""

    do: Literal["vsphere.look_at_replicas"] = "vsphere.look_at_replicas"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    site: str
    datastore: str
    vms: tuple[HostName, ...] = Field(min_length=1)
    no_older_than: AwareDatetime | None = Field(
        default=None, description="what was seen, and agreed to, when the plan was made; older is refused"
    )


class AwaitReplicas(BaseAction):
    """Wait until a site's datastore shows the files of VMs as another's does: none older, none shorter."""

    do: Literal["vsphere.await_replicas"] = "vsphere.await_replicas"
    effect: ClassVar[Effect] = "read"
    site: str
    source: str = Field(description="the site where the VMs ran, and are off now")
    datastore: str
    vms: tuple[HostName, ...] = Field(min_length=1)


class RegisterReplica(BaseAction):
    """Register a replicated VM, powered off, its adapters in the networks of this site; marked as ours."""

    do: Literal["vsphere.register_replica"] = "vsphere.register_replica"
    effect: ClassVar[Effect] = "change"
    host: HostName = Field(description="name of the VM, at both vCenters")
    site: str
    datastore: str
    networks: Mapping[str, str] = Field(description="network at the other site to network at this one")


class UnregisterVm(BaseAction):
    """Take a VM of ours that is powered off out of a vCenter; its files stay."""

    do: Literal["vsphere.unregister_vm"] = "vsphere.unregister_vm"
    effect: ClassVar[Effect] = "change"
    host: HostName
    site: str


class BlockVm(BaseAction):
    """Disconnect every network adapter of a VM, now and at power-on, and read it back."""

    do: Literal["vsphere.block_vm"] = "vsphere.block_vm"
    effect: ClassVar[Effect] = "change"
    holds: ClassVar[bool] = True
    host: HostName
    site: str
    unseen_is_off: bool = Field(
        default=False, description="cut off is, too, a VM that no host has, while each answers its vCenter"
    )


class ReleaseVm(BaseAction):
    """Connect a VM's network adapters again, and let it start with its host; it is not powered on."""

    do: Literal["vsphere.release_vm"] = "vsphere.release_vm"
    effect: ClassVar[Effect] = "change"
    host: HostName
    site: str


class CopyReplica(BaseAction):
    """Copy a replicated VM's files to another datastore, and register the copy in an isolated network."""

    do: Literal["vsphere.copy_replica"] = "vsphere.copy_replica"
    effect: ClassVar[Effect] = "change"
    host: HostName = Field(description="name of the copy")
    of: HostName = Field(description="the replicated VM")
    site: str
    datastore: str = Field(description="the replicated one, which is only read")
    network: str = Field(description="isolated port group, for all of its adapters")


class RemoveCopy(BaseAction):
    """Power a VM that this run made off, and destroy it with its files; any other is refused."""

    do: Literal["vsphere.remove_copy"] = "vsphere.remove_copy"
    effect: ClassVar[Effect] = "destroy"
    host: HostName
    site: str


class ProvePortGroup(BaseAction):
    """See that a port group's switch has no way out: no uplink at any host of the cluster."""

    do: Literal["vsphere.prove_network"] = "vsphere.prove_network"
    effect: ClassVar[Effect] = "read"
    holds: ClassVar[bool] = True
    guards: ClassVar[bool] = True
    site: str
    name: str


class ListVcenter(BaseAction):
    """List every VM and network of a vCenter, and the folders of its datastores, as they are read back."""

    do: Literal["vsphere.list_all"] = "vsphere.list_all"
    effect: ClassVar[Effect] = "read"
    site: str


ReplicaAction = (
    AwaitReplicas
    | BlockVm
    | CopyReplica
    | ListVcenter
    | LookAtReplicas
    | ProvePortGroup
    | RegisterReplica
    | ReleaseVm
    | RemoveCopy
    | UnregisterVm
)
