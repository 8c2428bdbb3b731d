"""Which ports of an instance a block of ours has cut off, and the groups that it took from them."""

from collections.abc import Callable, Iterator

from automation.adapters.aws.marks import named
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError

FENCED = "fenced"  # name of the group that lets nothing through, one of each VPC
GROUPS = "mainstay:groups"  # on a port or database: the groups that its block took from it


def is_cut_off(port: Shown) -> bool:
    """Whether a port is in groups alone that let nothing through; its tag tells that later than they do."""
    names = [str(one.get("GroupName", "")) for one in port.get("Groups", ())]
    return bool(names) and all(name.endswith(f":{FENCED}") for name in names)


def stays_cut_off(region: Region, look: Callable[[], Shown | None]) -> bool:
    """Whether a block holds any port of a server still when a release of just now is certain to be shown."""
    for _ in region.settled():
        instance = look()
        if instance is None or not any(map(is_cut_off, ports_of(instance))):
            return False
    return True


def taken_from(region: Region, look: Callable[[], Shown]) -> list[tuple[Shown, list[str]]]:
    """Give the blocked ports of a server, each with the groups that its block took.

    Raises:
        AdapterError: a port is cut off, and what it had is written nowhere.
    """
    return [(port, groups) for port in ports_of(look()) if (groups := _taken(region, port, look))]


def _taken(region: Region, port: Shown, look: Callable[[], Shown]) -> list[str]:
    groups = kept_groups(region, port)
    if groups or not is_cut_off(port):
        return groups
    for _ in region.settled():  # a tag of just now may not be shown yet
        if groups := kept_groups(region, port):
            return groups
    instance, port_id = look(), port["NetworkInterfaceId"]
    if not any(is_cut_off(one) for one in ports_of(instance) if one["NetworkInterfaceId"] == port_id):
        return []  # given back a moment ago: its tag was gone before its groups were shown
    raise AdapterError(
        f"server {instance['InstanceId']}: {port_id} is cut off, and no tag {GROUPS} says "
        "which groups it had; nothing was changed",
        hint="give the port its groups back at AWS",
    )


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
