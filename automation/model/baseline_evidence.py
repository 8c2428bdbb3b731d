"""What the steps of a baseline prove."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import Model


class FactsCollected(Model):
    """The facts of one host, kept beside the journal that names their digest."""

    kind: Literal["facts-collected"] = "facts-collected"
    host: str
    file: str = Field(description="artifact: Facts as JSON, packed by gzip")
    sha256: str = Field(description="of what is packed")
    collected_at: AwareDatetime
    unknown: Mapping[str, str] = Field(default_factory=dict, description="section to why it is not known")
