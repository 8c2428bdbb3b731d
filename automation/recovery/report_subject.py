"""What a run is about: its services with their targets, as they were declared when it began. Pure.

It is kept beside the plan and sealed with it, so that a report read years later does not change with the
catalog of that day.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from automation.model.base import Model
from automation.model.catalog import Service
from automation.recovery.planner import rpo_s, rto_s
from automation.recovery.spec import Cadence, Drill, Failover

SUBJECT_FILE = "subject.json"


class Target(Model):
    """What one service was promised for this run."""

    rto_s: float
    rpo_s: float
    predicted_s: float | None = Field(default=None, description="what the plan was expected to take")


class Subject(Model):
    """What stood in the declarations when a run began."""

    name: str = ""
    title: str = ""
    recovery_plan: str = ""
    site: str = Field(default="", description="the site that is lost")
    expect: Literal["recovered", "stopped-before-promotion"] = "recovered"
    services: Mapping[str, Service] = Field(default_factory=dict)
    targets: Mapping[str, Target] = Field(default_factory=dict)
    cadence: Cadence = Cadence()
    lab: bool = False
    timezone: str = Field(default="UTC", description="of the people of this environment")
    sustained: int = 10
    inventory_digest: str = ""
    kept: bool = Field(default=True, description="written when the run began, not taken from today's files")


def subject_of(spec: Drill | Failover, services: Mapping[str, Service], cadence: Cadence) -> Subject:
    """Give what a drill or a failover is about; what it says of its environment is filled in elsewhere."""
    return Subject(
        name=spec.name,
        title=spec.title,
        recovery_plan=spec.plan,
        site=spec.site,
        expect=spec.expect if isinstance(spec, Drill) else "recovered",
        services=services,
        targets={
            name: Target(rto_s=rto_s(spec, name, service), rpo_s=rpo_s(spec, name, service))
            for name, service in services.items()
        },
        cadence=cadence,
    )
