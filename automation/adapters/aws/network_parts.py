"""What a network of ours is made of, as far as it is there."""

from typing import NamedTuple

from automation.adapters.aws.marks import Marks
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError
from automation.model.servers import OWNER

_KINDS = {
    "subnet": ("ec2.describe_subnets", "Subnets"),
    "security-group": ("ec2.describe_security_groups", "SecurityGroups"),
    "route-table": ("ec2.describe_route_tables", "RouteTables"),
}
_MOST_TABLES = 100


class Parts(NamedTuple):
    """What a network of ours is made of, as far as it is there."""

    subnet: Shown | None
    group: Shown | None
    table: Shown | None

    @property
    def ids(self) -> dict[str, str]:
        told = (
            ("subnet", self.subnet, "SubnetId"),
            ("security-group", self.group, "GroupId"),
            ("route-table", self.table, "RouteTableId"),
        )
        return {part: one[key] for part, one, key in told if one is not None}


def parts_of(region: Region, name: str) -> Parts:
    """Find all parts of a network by their marks."""
    return Parts(*(part_of(region, kind, name) for kind in _KINDS))


def part_of(region: Region, kind: str, name: str) -> Shown | None:
    """Find one part of a network by its marks.

    Raises:
        AdapterError: there are two, which a person must look at.
    """
    call, key = _KINDS[kind]
    what = f"network {name}: its {kind} could not be looked for"
    page = _MOST_TABLES if kind == "route-table" else 1000
    filters = Marks(region.environment, name, "").filters()
    found = list(region.pages(call, key, what, page=page, Filters=filters))
    if len(found) > 1:
        raise AdapterError(
            f"network {name} of {region.environment} has {len(found)} of its {kind}; nothing was changed",
            hint=f"look at both; take the tag {OWNER} from the one that is not it",
        )
    return found[0] if found else None
