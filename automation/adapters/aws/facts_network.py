"""Facts of what reaches servers: rules of security groups, and how servers answer for their credentials."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from pydantic import JsonValue

from automation.adapters.aws.marks import named
from automation.adapters.aws.session import Region, Shown

_HALF = 1  # of all addresses: two such rules are everybody
_ANY_PROTOCOL, _ALL_PORTS = "-1", -1
_ADMIN_PORTS = ((22, 22), (3389, 3389), (5985, 5986))  # SSH and remote desktops
_GONE = ("terminated", "shutting-down")
NUMBERS = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}  # EC2 takes both, and tells names of these


def security_groups(region: Region) -> list[JsonValue]:
    """List security groups with their rules."""
    what = "security groups could not be listed"
    groups = list(region.pages("ec2.describe_security_groups", "SecurityGroups", what))
    rules: dict[str, list[JsonValue]] = {str(one["GroupId"]): [] for one in groups}
    lists: dict[str, bool] = {}
    for rule in list_rules(region):
        rules.setdefault(str(rule["GroupId"]), []).append(_rule(region, rule, lists))
    by_default = {str(one["GroupId"]): one.get("GroupName") == "default" for one in groups}
    return [
        {"name": group, "default": by_default.get(group, False), "rules": held}
        for group, held in rules.items()
    ]


def list_rules(region: Region, *, id_: str = "", group: str = "") -> Iterator[Shown]:
    """List the rules of security groups: one, those of a group, or all."""
    asked = (("security-group-rule-id", id_), ("group-id", group))
    filters = [named(key, value) for key, value in asked if value]
    more: dict[str, Any] = {"Filters": filters} if filters else {}
    return region.pages(
        "ec2.describe_security_group_rules",
        "SecurityGroupRules",
        "rules of security groups could not be listed",
        **more,
    )


def is_open(region: Region, rule: Shown, lists: dict[str, bool]) -> bool:
    """Whether a rule is for everybody: by its addresses, or those of a prefix list.

    Args:
        lists: prefix lists that were read already, to whether they name everybody; is added to.
    """
    cidr = rule.get("CidrIpv4") or rule.get("CidrIpv6")
    if cidr:
        return _is_everybody(cidr)
    name = rule.get("PrefixListId")
    if not name:
        return False
    if name not in lists:
        what = f"prefix list {name} could not be read"
        entries = region.pages(
            "ec2.get_managed_prefix_list_entries", "Entries", what, page=100, PrefixListId=name
        )
        lists[name] = any(_is_everybody(str(one["Cidr"])) for one in entries)
    return lists[name]


def is_for_administrators(protocol: JsonValue, first: JsonValue, last: JsonValue) -> bool:
    """Whether EC2's rule lets in what `aws.network.admin-ports` forbids to everybody. Pure."""
    told = NUMBERS.get(str(protocol), str(protocol))
    if told not in (_ANY_PROTOCOL, "tcp"):
        return False
    if (
        told == _ANY_PROTOCOL
        or not isinstance(first, int)
        or not isinstance(last, int)
        or first == _ALL_PORTS
    ):
        return True
    return any(first <= high and last >= low for low, high in _ADMIN_PORTS)


def servers(region: Region) -> list[JsonValue]:
    """List servers, and whether their metadata ask for a session."""
    return [{"name": str(one["InstanceId"]), "metadata": metadata_of(one)} for one in list_servers(region)]


def list_servers(region: Region, id_: str = "") -> Iterator[Shown]:
    """List servers that are not gone: all, or the one of an id."""
    what = "servers could not be listed"
    more: dict[str, Any] = {"Filters": [named("instance-id", id_)]} if id_ else {}
    for reservation in region.pages("ec2.describe_instances", "Reservations", what, **more):
        for one in reservation["Instances"]:
            if one["State"]["Name"] not in _GONE:
                yield one


def metadata_of(server: Shown) -> str:
    """Say how a server answers for its credentials; optional where it does not say."""
    options = server.get("MetadataOptions") or {}
    if options.get("HttpEndpoint") == "disabled":
        return "off"
    return "required" if options.get("HttpTokens") == "required" else "optional"


def _rule(region: Region, shown: Shown, lists: dict[str, bool]) -> JsonValue:
    protocol = str(shown["IpProtocol"])
    every = protocol == _ANY_PROTOCOL
    first, last = shown.get("FromPort", _ALL_PORTS), shown.get("ToPort", _ALL_PORTS)
    return {
        "name": str(shown["SecurityGroupRuleId"]),
        "direction": "out" if shown.get("IsEgress") else "in",
        "open": is_open(region, shown, lists),
        "protocol": NUMBERS.get(protocol, protocol),
        "from_port": None if every or first == _ALL_PORTS else int(first),
        "to_port": None if every or last == _ALL_PORTS else int(last),
    }


def _is_everybody(cidr: str) -> bool:
    return ip_network(cidr, strict=False).prefixlen <= _HALF
