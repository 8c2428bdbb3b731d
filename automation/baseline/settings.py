"""`inventories/<env>/baseline.yml`: which profile is asked of whom."""

from collections.abc import Mapping

from pydantic import Field

from automation.baseline.controls import PROFILES, Profile
from automation.model.base import DurationS, Model


class Baseline(Model):
    """What is asked of the hosts of an environment."""

    profile: Profile = Field(description="of every host: standard, cis-l1, cjis")
    profiles: Mapping[str, Profile] = Field(
        default_factory=dict, description="group of the inventory to a stricter one: police: cjis"
    )
    walk_s: DurationS = Field(
        default=20.0, alias="walk", gt=0, le=600, description="time for the walk over a host's disks: 20 s"
    )

    def profile_of(self, groups: tuple[str, ...]) -> Profile:
        """Give the strictest profile that is asked of a host of these groups."""
        asked = [self.profile, *(self.profiles[one] for one in groups if one in self.profiles)]
        return max(asked, key=PROFILES.index)
