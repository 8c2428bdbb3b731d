"""Where servers are made: regions of AWS and vCenters, by name; one of a kind at a site."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from automation.model.base import DurationS, Model
from automation.model.secrets import SecretRef

_DAY_S = 86400.0


class Limits(Model):
    """How much of a provider is used at once."""

    at_once: int = Field(default=8, ge=1, le=64, description="changes that run at the same time")
    servers: int = Field(default=200, ge=1, description="servers of ours there may be")


class AwsProvider(Model):
    """One region of one AWS account."""

    kind: Literal["aws"] = Field(description="Amazon Web Services")
    site: str = Field(description="the site that this region is")
    region: str = Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$", description="us-east-1")
    account: str = Field(pattern=r"^\d{12}$", description="any other is refused before the first change")
    login: SecretRef | None = Field(
        default=None,
        description="lines AWS_ACCESS_KEY_ID=, AWS_SECRET_ACCESS_KEY=; none: as boto3 finds them",
    )
    profile: str = Field(default="", description="of the AWS configuration, where there is no login")
    role: str = Field(default="", description="ARN of the role that is assumed")
    endpoint: str = Field(default="", description="of a simulator: https://aws.city.lab; empty: the real one")
    ca: Path | None = Field(default=None, description="certificates it is trusted by, below the state folder")
    availability_zone: str = Field(default="", description="us-east-1a; empty: AWS chooses")
    instance_profile: str = Field(default="", description="IAM instance profile of servers")
    keep_disks_s: DurationS = Field(
        default=90 * _DAY_S,
        alias="keep_disks",
        ge=_DAY_S,
        le=36_500 * _DAY_S,
        description="how long snapshots of the disks of a server that goes are kept: 90 d; at least 1 d",
    )
    limits: Limits = Field(default=Limits(), description="how much of it is used at once")


class VsphereProvider(Model):
    """One vCenter."""

    kind: Literal["vsphere"] = Field(description="VMware vCenter")
    site: str = Field(description="the site whose hosts it manages")
    address: str = Field(description="its name, as its certificate bears it: vcenter.hall.example")
    port: int = Field(default=443, ge=1, le=65535, description="of its web services")
    login: SecretRef = Field(description="lines VSPHERE_USER=, VSPHERE_PASSWORD=")
    ca: Path | None = Field(
        default=None, description="certificates it is trusted by, below the state folder; none: the system's"
    )
    connect_to: str = Field(
        default="", description="address it is reached at, where its name is not in this machine's DNS"
    )
    datacenter: str = Field(min_length=1, description="by its name there")
    cluster: str = Field(min_length=1, description="by its name there")
    datastore: str = Field(min_length=1, description="where new disks are made")
    folder: str = Field(default="mainstay", description="folder of ours for VMs; made when it is missing")
    resource_pool: str = Field(default="", description="empty: that of the cluster")
    keep_alive_s: DurationS = Field(default=300.0, alias="keep_alive", description="5 min")
    limits: Limits = Field(default=Limits(), description="how much of it is used at once")


Provider = Annotated[AwsProvider | VsphereProvider, Field(discriminator="kind")]
