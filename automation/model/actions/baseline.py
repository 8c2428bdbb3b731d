"""Actions of security baselines."""

from typing import ClassVar, Literal

from pydantic import Field

from automation.model.actions.base import BaseAction, Effect


class CollectFacts(BaseAction):
    """Run the collector on a host once, and keep its facts as an artifact."""

    do: Literal["collector.collect"] = "collector.collect"
    effect: ClassVar[Effect] = "read"
    locks: ClassVar[bool] = False
    host: str
    walk_s: float = Field(gt=0, description="after so long the walk over its disks is cut short, and says so")
