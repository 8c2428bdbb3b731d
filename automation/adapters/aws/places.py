"""Where servers stand: subnets and security groups of ours, by the names of networks.yml."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from automation.adapters.aws.marks import named, tags_of
from automation.adapters.aws.session import Region
from automation.model.errors import AdapterError
from automation.model.servers import OWNER, ROLE


class Place(NamedTuple):
    """A subnet and the security group of its servers."""

    network: str
    subnet_id: str
    group_id: str
    zone: str = ""


def places_of(region: Region, networks: Sequence[str], server: str) -> tuple[Place, ...]:
    """Give the subnet and group of each network, in their order.

    Raises:
        AdapterError: one of them is not there, or not ours.
    """
    if not networks:
        return ()
    subnets = _marked(region, "subnets", networks, server)
    groups = _marked(region, "security_groups", networks, server)
    lacking = [name for name in networks if name not in subnets or name not in groups]
    if lacking:
        raise AdapterError(
            f"server {server}: network {', '.join(lacking)} of {region.environment} is not at "
            f"{region.provider.region}; nothing was changed",
            hint=f"declare it in networks.yml, then ./inv provision.plan --env {region.environment}",
        )
    return tuple(
        Place(
            name,
            subnets[name]["SubnetId"],
            groups[name]["GroupId"],
            subnets[name].get("AvailabilityZone", ""),
        )
        for name in networks
    )


def _marked(region: Region, kind: str, names: Sequence[str], server: str) -> Mapping[str, Mapping[str, str]]:
    call, key = _CALLS[kind]
    filters = [named(f"tag:{OWNER}", region.environment), named(f"tag:{ROLE}", *dict.fromkeys(names))]
    found = list(region.pages(call, key, f"networks of {server} could not be looked for", Filters=filters))
    by_name = {tags_of(one)[ROLE]: one for one in found}
    if len(by_name) < len(found):
        raise AdapterError(
            f"server {server}: networks {', '.join(sorted(by_name))}: one of their {kind} is there twice; "
            "nothing was changed",
            hint=f"look at both; take the tag {OWNER} from the one that is not it",
        )
    return by_name


_CALLS = {
    "subnets": ("ec2.describe_subnets", "Subnets"),
    "security_groups": ("ec2.describe_security_groups", "SecurityGroups"),
}
