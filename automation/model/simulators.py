"""What of a lab is not real: programs that stand for a city's cloud; all from them says `simulated`."""

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


class Powered(Model):
    """A host of the lab that runs while a simulated machine is powered on."""

    host: str = Field(description="name of the lab's host")
    address: str = Field(description="its own, in the subnet of the site")
    site: str = Field(description="site of the lab where it stands")


class AwsSimulator(Model):
    """The services of AWS in one or more regions of one account, behind TLS of the lab's own authority."""

    kind: Literal["aws"] = Field(description="EC2, RDS, Route 53 and more, by moto")
    site: str = Field(description="site of the lab where it stands")
    address: str = Field(description="its own, in the subnet of its site")
    name: str = Field(description="its name in the lab's DNS: aws.city.lab")
    regions: tuple[str, ...] = Field(min_length=1, description="us-east-1, us-west-2")
    account: str = Field(default="123456789012", pattern=r"^\d{12}$", description="its number")
    logins: Mapping[str, str] = Field(description="file of the state folder for each login")
    changes_take_s: float = Field(default=1.0, ge=0, description="time that a change of state takes")
    powers: Mapping[str, Powered] = Field(
        default_factory=dict, description="instance of ours, region/name, to the host that it starts"
    )


class VcenterSimulator(Model):
    """A vCenter with one cluster, behind TLS of the lab's own authority."""

    kind: Literal["vcenter"] = Field(description="vSphere's web services, by govmomi's simulator")
    site: str = Field(description="site of the lab where it stands")
    address: str = Field(description="its own, in the subnet of its site")
    name: str = Field(description="its name in the lab's DNS: vcenter-hall.city.lab")
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


Simulator = Annotated[ObjectStoreSimulator | AwsSimulator | VcenterSimulator, Field(discriminator="kind")]
