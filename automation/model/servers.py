"""What servers and networks are to be, and what a provider shows them to be."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, field_validator

from automation.model.base import Model
from automation.model.strategy import HostName, Name, SizeBytes

ProviderKind = Literal["nspawn", "aws", "vsphere"]
Source = Literal["real", "simulated"]
Power = Literal["on", "off", "changing"]

# How what is ours is marked at a provider: tags at AWS, custom attributes at vSphere.
OWNER, ROLE, RUN = "mainstay:environment", "mainstay:name", "mainstay:run"


class Disk(Model):
    """One disk beside that of the system, which is the image's."""

    name: Name
    size_bytes: SizeBytes = Field(alias="size", ge=2**30, description="100 GiB; whole GiB")
    kind: str = Field(default="", description="gp3, io2; thin, thick; empty: as the provider likes")
    model_config = Model.model_config | {"populate_by_name": True}


class Size(Model):
    """How large a server is: a type (AWS), processors and memory (vSphere), or bounds of both (nspawn)."""

    type: str = Field(default="", description="t3.medium")
    cpus: int = Field(default=0, ge=0, le=768)
    memory_bytes: SizeBytes = Field(default=0, alias="memory", description="4 GiB")
    model_config = Model.model_config | {"populate_by_name": True}


class ServerSpec(Model):
    """What is said of one server in the inventory: variables server_*."""

    name: HostName
    provider: ProviderKind
    site: str
    image: str = Field(default="", description="AMI by name or id; template by name; image of a lab")
    size: Size = Size()
    disks: tuple[Disk, ...] = ()
    networks: tuple[Name, ...] = Field(default=(), description="of networks.yml, in the order of its ports")
    address: str = Field(default="", description="in the first network; empty: the provider gives one")
    tags: Mapping[str, str] = Field(default_factory=dict)
    cloud_init: str = Field(default="", description="file of templates/cloud_init; empty: default.yml.j2")
    groups: tuple[str, ...] = Field(default=(), description="of the inventory")


class Rule(Model):
    """What may come in; all may go out, unless its network is isolated."""

    protocol: Literal["tcp", "udp", "icmp"] = Field(description="tcp, udp, icmp")
    ports: Annotated[str, Field(pattern=r"^(\d{1,5}(-\d{1,5})?)?$")] = Field(
        default="", description="443, 8000-8099; empty: all"
    )
    source: str = Field(alias="from", description="10.0.0.0/8, or the name of another network")
    model_config = Model.model_config | {"populate_by_name": True}

    @field_validator("source")
    @classmethod
    def _as_a_range(cls, source: str) -> str:
        """Write one address as the range that providers show it as."""
        with suppress(ValueError):
            return str(ip_network(source))
        return source

    @field_validator("ports")
    @classmethod
    def _shortest(cls, ports: str) -> str:
        first, _, last = ports.partition("-")
        return "" if ports == "0-65535" else first if first == last else ports


class Network(Model):
    """A network of `networks.yml`: a subnet with its security group (AWS), a port group (vSphere)."""

    provider: ProviderKind = Field(description="what it is a network of")
    site: str = Field(description="the site where it is")
    cidr: str = Field(default="", description="10.20.1.0/24; of a port group: for people and checks")
    part_of: str = Field(default="", description="AWS: name of the VPC; vSphere: name of the switch")
    vlan: int = Field(default=0, ge=0, le=4094, description="vSphere: its VLAN; 0: none")
    isolated: bool = Field(default=False, description="no way out, and none in but from itself")
    rules: tuple[Rule, ...] = Field(default=(), description="AWS: what may come in")
    tags: Mapping[str, str] = Field(default_factory=dict, description="put on it beside our own marks")


class NetworkSpec(Network):
    """One network of `networks.yml`, with its name."""

    name: Name


# --- what was found ----------------------------------------------------------------------------------


class FoundDisk(Model):
    """One disk of a server."""

    id: str
    name: str = Field(description="as declared; empty: not ours to name")
    size_bytes: int
    kind: str = ""


class KeptSnapshot(Model):
    """What was kept of one disk when its server went."""

    id: str
    site: str
    server: str
    disk: str
    size_bytes: int = Field(description="of the disk")
    at: AwareDatetime
    run_id: str = Field(description="that retired or replaced the server")
    until: date | None = Field(
        default=None, description="last day of UTC that it is kept; none: its tag tells no day"
    )

    def is_over(self, today: date) -> bool:
        """Whether its days are over, so that a person may let it be deleted."""
        return self.until is not None and self.until < today


class KeptDisk(Model):
    """A disk of a VM that was moved aside when it went; a person removes it."""

    file: str = Field(description="[local] mainstay-kept/gis-1-vm-42/data.vmdk")
    site: str
    server: str
    disk: str
    at: AwareDatetime
    run_id: str = Field(description="that retired or replaced the VM")


def name_disks(declared: Sequence[Disk], found: Sequence[FoundDisk]) -> dict[str, str]:
    """Say which disks of a server that nobody of ours made are the declared ones: declared name to id.

    Those of the very size and kind come first, then those of the size, and what is left goes by its order: no
    empty disk is to be made beside one that has the data.

    Args:
        found: without that of the system, in the order of their devices.
    """
    left, names = list(found), dict[str, str]()
    fits: tuple[Callable[[Disk, FoundDisk], bool], ...] = (
        lambda disk, one: (disk.size_bytes, disk.kind or one.kind) == (one.size_bytes, one.kind),
        lambda disk, one: disk.size_bytes == one.size_bytes,
        lambda disk, one: True,
    )
    for fit in fits:
        for disk in declared:
            match = next((one for one in left if fit(disk, one)), None)
            if disk.name not in names and match is not None:
                names[disk.name] = match.id
                left.remove(match)
    return names


class FoundServer(Model):
    """One server as its provider shows it, ours or not."""

    name: str = Field(description="its mark if it bears one, else the provider's name for it")
    id: str
    provider: ProviderKind
    site: str
    owner: str = Field(default="", description="environment that it bears the mark of; empty: nobody's")
    power: Power
    image: str = Field(default="", description="name of what it was made of; empty: not known")
    image_id: str = ""
    size: Size = Size()
    disks: tuple[FoundDisk, ...] = ()
    networks: tuple[str, ...] = Field(default=(), description="declared names of those of ours, else ids")
    addresses: tuple[str, ...] = ()
    tags: Mapping[str, str] = Field(default_factory=dict, description="without our own marks")
    made_by: str = Field(default="", description="run that made it")
    made_at: datetime | None = None
    zone: str = ""


class FoundNetwork(Model):
    """One network of ours as its provider shows it."""

    name: str
    id: str
    provider: ProviderKind
    site: str
    owner: str = ""
    cidr: str = ""
    part_of: str = ""
    vlan: int = 0
    isolated: bool = False
    rules: tuple[Rule, ...] = ()
    used_by: int = Field(default=0, description="ports of servers in it")
    leads_out: bool = Field(default=True, description="a route leads beyond it; asked of AWS alone")


class Quota(Model):
    """How much of something there may be, and is."""

    name: str = Field(
        description="servers, cpus, memory-bytes, disk-bytes, networks: what a plan adds to them is counted"
    )
    limit: float
    used: float


class ProviderView(Model):
    """All that a plan needs to know of one provider at one site, read in as few round trips as can be."""

    provider: ProviderKind
    site: str
    at: AwareDatetime
    servers: tuple[FoundServer, ...] = ()
    networks: tuple[FoundNetwork, ...] = ()
    images: Mapping[str, str] = Field(default_factory=dict, description="images that were asked for: to id")
    quotas: tuple[Quota, ...] = ()
    denied: Mapping[str, str] = Field(default_factory=dict, description="what we may not do: call to words")
    clock_skew_s: float = Field(default=0.0, description="the provider's clock less ours")
    round_trips: int = 0
    source: Source = "real"
