"""`inventories/<env>/baseline.yml`: which profile is asked of whom, and what may be enforced where."""

from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

from pydantic import Field

from automation.baseline.controls import PROFILES, Profile
from automation.model.approvals import ApprovalRule
from automation.model.base import DurationS, Model

ALL = "all"


class MayEnforce(Model):
    """What Mainstay may change by itself, and where; all else is audited alone."""

    controls: tuple[str, ...] = Field(min_length=1, description="ids of controls, or patterns: lin.ssh.*")
    groups: tuple[str, ...] = Field(
        min_length=1, description="groups of the inventory; hosts, accounts, providers by name; or all"
    )

    def covers(self, control: str, names: Collection[str]) -> bool:
        """Whether a control may be enforced on a subject of these names and groups."""
        return any(fnmatchcase(control, one) for one in self.controls) and (
            ALL in self.groups or any(one in names for one in self.groups)
        )


class Baseline(Model):
    """What is asked of the hosts of an environment."""

    profile: Profile = Field(description="of every host: standard, cis-l1, cjis")
    profiles: Mapping[str, Profile] = Field(
        default_factory=dict, description="group of the inventory to a stricter one: police: cjis"
    )
    walk_s: DurationS = Field(
        default=20.0, alias="walk", gt=0, le=600, description="time for the walk over a host's disks: 20 s"
    )
    enforce: tuple[MayEnforce, ...] = Field(
        default=(), description="what baseline.enforce may change, and where; nothing without it"
    )
    switch_s: DurationS = Field(
        default=60.0,
        alias="switch",
        ge=20,
        le=900,
        description="so long after a change that may lock people out a host takes it back by itself: 60 s",
    )
    together: tuple[str, ...] = Field(
        default=(), description="groups whose hosts do not stand in for each other: one wave may have several"
    )
    approvals: ApprovalRule | None = Field(
        default=None, description="who signs an enforcement before it starts; none: who runs it says yes"
    )

    def profile_of(self, groups: tuple[str, ...]) -> Profile:
        """Give the strictest profile that is asked of a host of these groups."""
        asked = [self.profile, *(self.profiles[one] for one in groups if one in self.profiles)]
        return max(asked, key=PROFILES.index)

    def may_enforce(self, control: str, names: Collection[str]) -> bool:
        """Whether a control may be enforced on a subject of these names and groups."""
        return any(one.covers(control, names) for one in self.enforce)
