"""What a test in a region stands on: a network that leads nowhere, and all that was there before."""

from collections.abc import Iterator, Mapping

from automation.adapters.aws.marks import Marks, named
from automation.adapters.aws.rds import list_databases
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import ListRegion, ProveSubnet
from automation.model.drill_evidence import Listing
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.replicas import NetworkProven

_GONE = ("terminated", "shutting-down", "deleted")


def prove_network(action: ProveSubnet, ctx: Context) -> Outcome:
    """Read back that nothing leads out of a network of ours, and that its group lets in none but itself.

    Raises:
        AdapterError: something does; nothing was changed.
    """
    region = region_of(ctx, action.site)
    subnet, group = _parts(region, action.name)
    ways = [*_ways_out(region, subnet, action.name), *_holes(group)]
    if ways:
        raise AdapterError(
            f"network {action.name} ({subnet['SubnetId']}) is not isolated: {'; '.join(ways)}; nothing was "
            "changed",
            hint=f"declare it isolated in a VPC of its own, then ./inv provision.plan --env "
            f"{region.environment}",
        )
    seen = (f"VPC {subnet['VpcId']} has no gateway, peer or endpoint", "its one route is local")
    evidence = NetworkProven(
        provider="aws",
        site=region.provider.site,
        name=action.name,
        id=subnet["SubnetId"],
        seen=(*seen, f"group {group['GroupId']} knows itself alone"),
        source=region.source,
    )
    return Outcome(changed=False, summary=f"network {action.name} leads nowhere", evidence=evidence)


def list_all(action: ListRegion, ctx: Context) -> Outcome:
    """List what stands in a region, whoever made it."""
    region = region_of(ctx, action.site)
    items = {thing: state for kind in _LISTED for thing, state in _list(region, *kind)}
    items |= list_databases(region)
    return Outcome(
        changed=False,
        summary=f"{len(items)} things stand in {region.provider.region}",
        evidence=Listing(of="servers", where=region.provider.site, items=items, source=region.source),
    )


def _parts(region: Region, name: str) -> tuple[Shown, Shown]:
    filters = Marks(region.environment, name, "").filters()
    found = []
    for call, key in (
        ("ec2.describe_subnets", "Subnets"),
        ("ec2.describe_security_groups", "SecurityGroups"),
    ):
        one = list(region.pages(call, key, f"network {name} could not be looked for", Filters=filters))
        if len(one) != 1:
            raise AdapterError(
                f"network {name} of {region.environment} is not at {region.provider.region}; nothing was "
                "changed",
                hint=f"declare it isolated in networks.yml, then ./inv provision.apply --env "
                f"{region.environment}",
            )
        found += one
    return found[0], found[1]


def _ways_out(region: Region, subnet: Shown, name: str) -> Iterator[str]:
    what, vpc = f"what leads out of network {name} could not be looked for", subnet["VpcId"]
    for table in _tables(region, subnet, what):
        for route in table.get("Routes", ()):
            if route.get("GatewayId") != "local":
                where = next((str(route[key]) for key in _DESTINATIONS if route.get(key)), "somewhere")
                yield f"a route to {where}"
    for words, call, key, filter_name in _DOORS:
        for one in region.read(call, what, Filters=[named(filter_name, vpc)]).get(key, ()):
            if str(one.get("State", one.get("Status", {}))) not in ("deleted", "{'Code': 'deleted'}"):
                yield words


def _tables(region: Region, subnet: Shown, what: str) -> list[Shown]:
    """The subnet's own table; without one, the main one of its VPC."""
    own = [named("association.subnet-id", subnet["SubnetId"])]
    tables = list(region.read("ec2.describe_route_tables", what, Filters=own)["RouteTables"])
    if tables:
        return tables
    main = [named("vpc-id", subnet["VpcId"]), named("association.main", "true")]
    return list(region.read("ec2.describe_route_tables", what, Filters=main)["RouteTables"])


_DESTINATIONS = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
_DOORS = (
    (
        "an internet gateway",
        "ec2.describe_internet_gateways",
        "InternetGateways",
        "attachment.vpc-id",
    ),
    ("a peer", "ec2.describe_vpc_peering_connections", "VpcPeeringConnections", "requester-vpc-info.vpc-id"),
    ("a peer", "ec2.describe_vpc_peering_connections", "VpcPeeringConnections", "accepter-vpc-info.vpc-id"),
    ("an endpoint of a service", "ec2.describe_vpc_endpoints", "VpcEndpoints", "vpc-id"),
)


def _holes(group: Shown) -> Iterator[str]:
    """Rules of a group that name anything but the group itself."""
    for way, key in (("in", "IpPermissions"), ("out", "IpPermissionsEgress")):
        for rule in group.get(key, ()):
            others = [one.get("CidrIp") or one.get("CidrIpv6") for one in _ranges(rule)]
            others += [one["GroupId"] for one in rule.get("UserIdGroupPairs", ())]
            others += [one["PrefixListId"] for one in rule.get("PrefixListIds", ())]
            yield from (f"a rule {way} for {one}" for one in others if one != group["GroupId"])


def _ranges(rule: Mapping[str, list[Mapping[str, str]]]) -> Iterator[Mapping[str, str]]:
    yield from rule.get("IpRanges", ())
    yield from rule.get("Ipv6Ranges", ())


# --- everything --------------------------------------------------------------------------------------

_LISTED = (
    ("disk", "ec2.describe_volumes", "Volumes", "VolumeId", 500),
    ("subnet", "ec2.describe_subnets", "Subnets", "SubnetId", 1000),
    ("security group", "ec2.describe_security_groups", "SecurityGroups", "GroupId", 1000),
    ("VPC", "ec2.describe_vpcs", "Vpcs", "VpcId", 1000),
    ("route table", "ec2.describe_route_tables", "RouteTables", "RouteTableId", 100),
    ("port", "ec2.describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", 1000),
    ("server", "ec2.describe_instances", "Reservations", "InstanceId", 1000),
)


def _list(
    region: Region, words: str, call: str, key: str, id_key: str, page: int
) -> Iterator[tuple[str, str]]:
    for shown in region.pages(call, key, f"each {words} could not be listed", page=page):
        for one in shown["Instances"] if key == "Reservations" else (shown,):
            state = one.get("State", one.get("Status", ""))
            state = str(state["Name"]) if isinstance(state, Mapping) else str(state)
            if state not in _GONE:
                yield f"{words} {one[id_key]}", state
