"""What of a lab is not real: programs that stand for a city's cloud; all from them says `simulated`."""

from collections.abc import Mapping
from typing import Literal

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
