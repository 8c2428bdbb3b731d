"""What of a lab is not real: programs that stand for a city's cloud; all from them says `simulated`.

An object store stands in the subnet of its site. AWS and vCenters stand on the management network, which is
the control subnet: what cuts a site's hosts off leaves its management answering. A site that is dark or has
no power loses the addresses of its management; one AWS serves all its regions, each by an address of its own.

A machine that is named in `powers` has a host of the lab. Its simulator tells the lab's supervisor of each
change of power by one line of JSON on a UNIX socket; settings.json gives `supervisor` (the socket's path; 107
bytes and more are reached through /proc/self/fd of its folder), `lab_id` and `simulator` (its own name):

    {"request": "power_machine", "lab_id": ..., "simulator": ..., "machine": KEY OF POWERS,
     "power": "on" | "off" | "down" | "gone", "network": NAME}

`off` cuts power, `down` asks the guest to shut down first, `gone` removes the host with its disk. `network`
is that of the machine's first port; one that is not `Powered.network` isolates the host: nothing but the
control node exchanges packets with it. The answer, when the host begins to boot or has ended:

    {"ok": true, "result": {"host": ..., "address": ..., "power": "on" | "off", "isolated": false,
                            "host_key": "ssh-ed25519 AAAA..."}}
    {"ok": false, "error": ..., "hint": ...}

`host_key` is the public key of its sshd, for the console's output or guestinfo; empty once it is gone. The
host does not run cloud-init: whom it lets in, the lab has written on its disk.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from automation.model.base import Model


class BucketLock(Model):
    """How long a bucket refuses to delete each version that is written to it."""

    mode: Literal["governance", "compliance"] = Field(description="compliance: nobody can lift it")
    days: int = Field(ge=1, le=36500, description="from the moment it is written; S3 counts whole days")


class ObjectStoreSimulator(Model):
    """An S3 object store: versioned buckets with Object Lock, behind TLS of the lab's own authority."""

    kind: Literal["object-store"] = Field(description="S3, by moto")
    site: str = Field(description="site of the lab where it stands")
    address: str = Field(description="its own, in the subnet of its site")
    name: str = Field(description="its name in the lab's DNS: s3.city.lab")
    buckets: Mapping[str, BucketLock] = Field(min_length=1, description="made when it starts, by name")
    logins: Mapping[Literal["writer", "owner"], str] = Field(
        description="file of the state folder for each: a writer deletes no version and changes no lock"
    )

    @property
    def endpoint(self) -> str:
        return f"https://{self.name}"

    @property
    def places(self) -> dict[str, str]:
        """Site to the address at which it answers for it; so has every simulator."""
        return {self.site: self.address}


class Powered(Model):
    """A host of the lab that runs while a simulated machine is powered on.

    A replicated machine has a host at each site, and both stand for the one disk that its storage keeps in
    step: the one that is powered on gets the disk of the other if that ran since. Copied at that moment, so
    it lacks nothing; a storage that lags is not shown.
    """

    host: str = Field(description="name of the lab's host")
    address: str = Field(description="its own, in the subnet of the site")
    site: str = Field(description="site of the lab where it stands")
    image: str = Field(default="debian-12", description="what it is made from, the first time")
    disk_of: str = Field(default="", description="host whose disk it gets when it is made, if that is there")
    replicated: bool = Field(default=False, description="that host and this one are the same machine")
    network: str = Field(default="", description="in any other network it is isolated; empty: in none")


class RegionEndpoint(Model):
    """Where one region answers."""

    site: str = Field(description="site of the lab that is this region")
    address: str = Field(description="its own, in the control subnet")


class AwsSimulator(Model):
    """The services of AWS in one or more regions of one account, behind TLS of the lab's own authority."""

    kind: Literal["aws"] = Field(description="EC2, RDS, Route 53 and more, by moto")
    name: str = Field(description="its name in its certificate: aws.city.lab")
    regions: Mapping[str, RegionEndpoint] = Field(min_length=1, description="us-east-2 to where it answers")
    account: str = Field(default="123456789012", pattern=r"^\d{12}$", description="its twelve digits")
    logins: Mapping[str, str] = Field(description="file of the state folder for each login")
    images: tuple[str, ...] = Field(default=(), description="AMIs that each region has from the first")
    databases: Mapping[str, str] = Field(
        default_factory=dict,
        description="databases that it has from the first, region/name: empty, or region/name of the source",
    )
    changes_take_s: float = Field(default=1.0, ge=0, description="time that a change of state takes")
    lag_told_s: float = Field(
        default=60.0,
        ge=1,
        le=60,
        description="how often a replica's lag is told; by AWS itself, once a minute",
    )
    powers: Mapping[str, Powered] = Field(
        default_factory=dict, description="instance of ours, region/name, to the host that it starts"
    )

    @property
    def places(self) -> dict[str, str]:
        return {one.site: one.address for one in self.regions.values()}


class VcenterSimulator(Model):
    """A vCenter with one cluster, behind TLS of the lab's own authority."""

    kind: Literal["vcenter"] = Field(description="vSphere's web services, by govmomi's simulator")
    site: str = Field(description="site of the lab whose hosts it manages")
    address: str = Field(description="its own, in the control subnet")
    name: str = Field(description="its name in its certificate: vcenter-hall.city.lab")
    logins: Mapping[str, str] = Field(description="file of the state folder for each login")
    datacenter: str = Field(default="city", description="the only one it has")
    cluster: str = Field(default="main", description="the only one it has")
    hosts: int = Field(default=2, ge=1, le=32, description="how many its cluster has")
    datastores: tuple[str, ...] = Field(default=("local",), min_length=1, description="its own ones")
    replicated: Mapping[str, str] = Field(
        default_factory=dict, description="datastore to the folder, below the state folder, that two share"
    )
    networks: tuple[str, ...] = Field(default=("VM Network",), description="port groups on each host")
    templates: tuple[str, ...] = Field(default=(), description="that VMs are cloned from")
    idle_s: float = Field(default=1800.0, gt=0, description="after it, a session that says nothing ends")
    powers: Mapping[str, Powered] = Field(
        default_factory=dict, description="name of the VM to the host of the lab that it starts"
    )

    @property
    def places(self) -> dict[str, str]:
        return {self.site: self.address}


Simulator = Annotated[ObjectStoreSimulator | AwsSimulator | VcenterSimulator, Field(discriminator="kind")]
