"""What was collected of one host, account or vCenter, and what of it could not be."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field, JsonValue

from automation.model.base import Model

Platform = Literal["linux", "aws", "vsphere"]


class Facts(Model):
    """The facts of one subject at one moment; there is no secret in them.

    A section that could not be read is not in `sections`: its name stands in `unknown`, with the reason. If
    the other parts of it could be, it lacks that part, and `section.part` stands there.
    """

    format: Literal[1] = 1
    subject: str = Field(min_length=1, max_length=253, description="host, account or vCenter, by name")
    platform: Platform
    collected_at: AwareDatetime
    collector: str = Field(default="", description="sha256 of the program that collected them")
    source: Literal["real", "simulated"] = "real"
    shared_kernel: bool = Field(default=False, description="its kernel is another's too: a container")
    roles: tuple[str, ...] = Field(default=(), description="groups of the inventory it is in")
    sections: Mapping[str, JsonValue] = Field(default_factory=dict)
    unknown: Mapping[str, str] = Field(default_factory=dict, description="section to why it is not known")

    def tree(self) -> dict[str, JsonValue]:
        """All that checks may ask for: the sections, and beside them `host`."""
        about: JsonValue = {"name": self.subject, "roles": list(self.roles), "platform": self.platform}
        return {**self.sections, "host": about}
