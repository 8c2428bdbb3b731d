"""Which ports of an instance a block of ours has cut off, and the groups that it took from them."""

from collections.abc import Iterator

from automation.adapters.aws.marks import named
from automation.adapters.aws.session import Region, Shown

GROUPS = "mainstay:groups"  # on a port or database: the groups that its block took from it


def is_cut_off(region: Region, instance: Shown) -> bool:
    """Whether a block took groups from any port of a server, and has not given them back."""
    return bool(taken_from(region, instance))


def taken_from(region: Region, instance: Shown) -> list[tuple[Shown, list[str]]]:
    """Give the blocked ports of a server, each with the groups that its block took."""
    return [(port, groups) for port in ports_of(instance) if (groups := kept_groups(region, port))]


def kept_groups(region: Region, port: Shown) -> list[str]:
    """Give the groups that the block of a port took; none: it is not blocked."""
    what, port_id = "the groups of a blocked port could not be read", port["NetworkInterfaceId"]
    filters = [named("resource-id", port_id), named("key", GROUPS)]
    found = region.read("ec2.describe_tags", what, Filters=filters)["Tags"]
    return str(found[0]["Value"]).split("/") if found else []


def ports_of(instance: Shown) -> Iterator[Shown]:
    """Give the network interfaces of a server."""
    yield from instance.get("NetworkInterfaces", ())


def groups_of(port: Shown) -> list[str]:
    """Give the ids of the security groups that a port is in."""
    return sorted(one["GroupId"] for one in port.get("Groups", ()))
