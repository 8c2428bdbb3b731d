"""Actions on servers, sites and disks of a lab (systemd-nspawn), and its keys and image."""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect
from automation.model.servers import Size


class MakeKeys(BaseAction):
    """Make the automation user's SSH key and the secrets that do not exist yet.

    Certificates are signed by an authority of the environment's own, which is made with the first.
    """

    do: Literal["keys.make"] = "keys.make"
    effect: ClassVar[Effect] = "change"
    secrets: tuple[str, ...]
    logins: tuple[str, ...] = Field(
        default=(), description="of object stores and AWS: access key and its secret"
    )
    vcenter_logins: tuple[str, ...] = Field(default=(), description="of vCenters: user and password")
    certificates: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict, description="file name to the names and addresses that it is for"
    )


class BuildImage(BaseAction):
    """Build the golden image if the state folder has none of this recipe."""

    do: Literal["nspawn.build_image"] = "nspawn.build_image"
    effect: ClassVar[Effect] = "change"
    image: str


class StartLab(BaseAction):
    """Start the lab's supervisor, its site networks and the WAN."""

    do: Literal["nspawn.start_lab"] = "nspawn.start_lab"
    effect: ClassVar[Effect] = "change"


class StartSimulator(BaseAction):
    """Run one of the lab's simulators until the lab ends, and wait until it answers."""

    do: Literal["nspawn.start_simulator"] = "nspawn.start_simulator"
    effect: ClassVar[Effect] = "change"
    simulator: str


class CreateServer(BaseAction):
    """Make a host's disk, keys and network port, and boot it."""

    do: Literal["nspawn.create_server"] = "nspawn.create_server"
    effect: ClassVar[Effect] = "change"
    host: str
    site: str
    address: str
    image: str
    size: Size = Field(default=Size(), description="what it may use of this machine; nothing: no bound")


class ResizeServer(BaseAction):
    """Bound what a host may use of this machine: at once, or with a restart where it is left less memory."""

    do: Literal["nspawn.resize_server"] = "nspawn.resize_server"
    effect: ClassVar[Effect] = "change"
    host: str
    size: Size = Field(description="what is not named stays as it is")
    restart: bool = Field(default=False, description="a person lets it be shut down and booted for it")


class StartServer(BaseAction):
    """Power on a host that exists; a fence in force is an error."""

    do: Literal["nspawn.start_server"] = "nspawn.start_server"
    effect: ClassVar[Effect] = "change"
    host: str


class PowerOffServer(BaseAction):
    """Cut a host's power and switch its autostart off, then read both back."""

    do: Literal["nspawn.power_off_server"] = "nspawn.power_off_server"
    effect: ClassVar[Effect] = "change"
    holds: ClassVar[bool] = True
    host: str


class HoldServer(BaseAction):
    """Cut a host's power until it is started again; no fence, and its autostart stays as it is."""

    do: Literal["nspawn.hold_server"] = "nspawn.hold_server"
    effect: ClassVar[Effect] = "change"
    host: str


class DestroyServer(BaseAction):
    """Remove a host that is kept off, the very one that was seen; its disk is kept."""

    do: Literal["nspawn.destroy_server"] = "nspawn.destroy_server"
    effect: ClassVar[Effect] = "destroy"
    host: str
    site: str
    address: str = Field(description="what it was seen to have: another host of the name is refused")


class BlockServer(BaseAction):
    """Cut a host off the network, persistently, then read it back."""

    do: Literal["nspawn.block_server"] = "nspawn.block_server"
    effect: ClassVar[Effect] = "change"
    holds: ClassVar[bool] = True
    host: str


class UnblockServer(BaseAction):
    """Lift the network fence of a host."""

    do: Literal["nspawn.unblock_server"] = "nspawn.unblock_server"
    effect: ClassVar[Effect] = "change"
    host: str


class FailSite(BaseAction):
    """Power loss: the site's network goes, then all its hosts, at once."""

    do: Literal["nspawn.fail_site"] = "nspawn.fail_site"
    effect: ClassVar[Effect] = "fault"
    site: str


class HealSite(BaseAction):
    """Power and network return; fenced hosts stay as they are."""

    do: Literal["nspawn.heal_site"] = "nspawn.heal_site"
    effect: ClassVar[Effect] = "change"
    site: str


class CutLink(BaseAction):
    """Cut the WAN between two sites, both ways."""

    do: Literal["nspawn.cut_link"] = "nspawn.cut_link"
    effect: ClassVar[Effect] = "fault"
    sites: tuple[str, str]


class HealLink(BaseAction):
    """Mend the WAN between two sites."""

    do: Literal["nspawn.heal_link"] = "nspawn.heal_link"
    effect: ClassVar[Effect] = "change"
    sites: tuple[str, str]


class PartitionSite(BaseAction):
    """A site is cut off from every other one; its hosts run on and its management answers."""

    do: Literal["nspawn.partition_site"] = "nspawn.partition_site"
    effect: ClassVar[Effect] = "fault"
    site: str


class DarkenSite(BaseAction):
    """Nothing of a site answers, its management neither; nobody outside knows whether its hosts run."""

    do: Literal["nspawn.darken_site"] = "nspawn.darken_site"
    effect: ClassVar[Effect] = "fault"
    site: str


class RejoinSite(BaseAction):
    """Mend a site's way to every other one, and its management."""

    do: Literal["nspawn.rejoin_site"] = "nspawn.rejoin_site"
    effect: ClassVar[Effect] = "change"
    site: str


class RestoreManagement(BaseAction):
    """Bring the management of a dark site back; its network stays as it is."""

    do: Literal["nspawn.restore_management"] = "nspawn.restore_management"
    effect: ClassVar[Effect] = "change"
    site: str


class LookAtServer(BaseAction):
    """Ask a server's provider for its state: what cannot be asked cannot be fenced."""

    do: Literal["nspawn.look_at_server"] = "nspawn.look_at_server"
    effect: ClassVar[Effect] = "read"
    host: str


class SaveDisks(BaseAction):
    """Shut all hosts down in good order, keep a named copy of their disks, and boot them again."""

    do: Literal["nspawn.save_disks"] = "nspawn.save_disks"
    effect: ClassVar[Effect] = "change"
    name: str


class RestoreDisks(BaseAction):
    """Cut all power, put a named copy of the disks back, mend network and fences, and boot."""

    do: Literal["nspawn.restore_disks"] = "nspawn.restore_disks"
    effect: ClassVar[Effect] = "fault"
    name: str


class InspectDisk(BaseAction):
    """Run a program on a copy-on-write view of a powered-off host's disk, without any network."""

    do: Literal["nspawn.inspect_disk"] = "nspawn.inspect_disk"
    effect: ClassVar[Effect] = "read"
    host: str
    argv: tuple[str, ...]
    artifact: str


LabAction = (
    MakeKeys
    | BuildImage
    | StartLab
    | CreateServer
    | ResizeServer
    | StartServer
    | StartSimulator
    | PowerOffServer
    | HoldServer
    | DestroyServer
    | BlockServer
    | UnblockServer
    | FailSite
    | HealSite
    | CutLink
    | HealLink
    | PartitionSite
    | DarkenSite
    | RestoreManagement
    | RejoinSite
    | LookAtServer
    | SaveDisks
    | RestoreDisks
    | InspectDisk
)
