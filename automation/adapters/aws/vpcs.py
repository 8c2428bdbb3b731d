"""The VPC that a network is part of: the city's own, or one of ours that comes and goes with its subnets."""

import ipaddress

from automation.adapters.aws.instances import done_once, made_once
from automation.adapters.aws.marks import Marks, as_tags, is_marked, named, specified, tags_of
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError
from automation.model.servers import OWNER, ROLE, NetworkSpec

_LARGEST = 16  # a VPC has at most a /16 in one piece


def vpc_name(region: Region, network: NetworkSpec) -> str:
    """Give the VPC that a network is declared to be part of; that of the environment where none is named."""
    return network.part_of or region.environment


def find_vpc(region: Region, name: str) -> Shown | None:
    """Give a VPC by its id, by our mark, or by the name that people gave it; none of another environment.

    Raises:
        AdapterError: several bear the name.
    """
    what = f"VPC {name} could not be looked for"
    filters = [named("vpc-id", name)] if name.startswith("vpc-") else [named("tag:Name", name)]
    found = list(region.pages("ec2.describe_vpcs", "Vpcs", what, Filters=filters))
    found = [one for one in found if is_our_vpc(one, region)] or [
        one for one in found if name == one["VpcId"] or not is_marked(tags_of(one))
    ]
    if len(found) > 1:
        raise AdapterError(
            f"VPC {name} is at {region.provider.region} {len(found)} times: "
            f"{', '.join(one['VpcId'] for one in found)}; nothing was changed",
            hint="write its id at part_of in networks.yml, or give the other one another name",
        )
    return found[0] if found else None


def is_our_vpc(vpc: Shown, region: Region) -> bool:
    """Whether we made it."""
    tags = tags_of(vpc)
    return tags.get(OWNER) == region.environment and bool(tags.get(ROLE))


def have_vpc(region: Region, network: NetworkSpec, run: str) -> Shown:
    """Give the VPC of a network with room for its addresses; make what is missing of it."""
    name = vpc_name(region, network)
    with region.one_at_a_time:  # two networks of one VPC may be made side by side
        vpc = find_vpc(region, name) or _make(region, network, name, run)
    if not _covers(vpc, network.cidr):
        _widen(region, vpc, network, name)
    return vpc


def _make(region: Region, network: NetworkSpec, name: str, run: str) -> Shown:
    what = f"network {network.name}: VPC {name} could not be made"
    if name.startswith("vpc-"):
        raise AdapterError(f"{what}: it is not at {region.provider.region}; nothing was changed")

    def make() -> Shown:
        tags = specified(("vpc",), Marks(region.environment, name, run).tags())
        request = {"CidrBlock": around(network.cidr), "TagSpecifications": tags}
        made: Shown = region.change("ec2.create_vpc", what, once=True, **request)["Vpc"]
        return made

    made = made_once(region, what, make, lambda: find_vpc(region, name))
    for _ in region.settled():
        if find_vpc(region, name) is not None:
            break
    return made


def around(cidr: str) -> str:
    """Give the block of a VPC with room for a subnet and its neighbours. Pure."""
    block = ipaddress.ip_network(cidr)
    return str(block.supernet(new_prefix=_LARGEST) if block.prefixlen > _LARGEST else block)


def _covers(vpc: Shown, cidr: str) -> bool:
    block = ipaddress.ip_network(cidr)
    shown = vpc.get("CidrBlockAssociationSet", ())
    blocks = {one["CidrBlock"] for one in shown if one.get("CidrBlockState", {}).get("State") == "associated"}
    blocks |= {vpc["CidrBlock"]} if vpc.get("CidrBlock") else set()
    return any(
        block.version == whole.version and block.subnet_of(whole)  # type: ignore[arg-type]  # one version
        for whole in map(ipaddress.ip_network, blocks)
    )


def _widen(region: Region, vpc: Shown, network: NetworkSpec, name: str) -> None:
    if not is_our_vpc(vpc, region):
        raise AdapterError(
            f"network {network.name}: {network.cidr} is not within VPC {name} ({vpc['VpcId']}), which is not "
            "ours; nothing was changed",
            hint="choose addresses of that VPC, or add the block to it yourselves",
        )
    what = f"network {network.name}: VPC {name} could not be given {around(network.cidr)}"
    done_once(
        lambda: region.change(
            "ec2.associate_vpc_cidr_block", what, VpcId=vpc["VpcId"], CidrBlock=around(network.cidr)
        ),
        lambda: _covers(find_vpc(region, vpc["VpcId"]) or vpc, network.cidr),
    )


def mark_end(region: Region, vpc_id: str, subnet_id: str, network: str) -> None:
    """Write on a VPC of ours that it may end with a subnet: what is killed half-way finds it by that."""
    vpc = find_vpc(region, vpc_id)
    if vpc is not None and is_our_vpc(vpc, region):
        what = f"network {network}: its VPC {vpc_id} could not be marked"
        region.change("ec2.create_tags", what, Resources=[vpc_id], Tags=as_tags({_end(subnet_id): "yes"}))


def ending_with(region: Region, subnet_id: str, network: str) -> Shown | None:
    """Give the VPC of ours that may end with a subnet."""
    filters = [named("tag-key", _end(subnet_id)), named(f"tag:{OWNER}", region.environment)]
    what = f"network {network}: its VPC could not be looked for"
    return next(iter(region.pages("ec2.describe_vpcs", "Vpcs", what, Filters=filters)), None)


def _end(subnet_id: str) -> str:
    return f"mainstay:ends-with:{subnet_id}"


def remove_vpc(region: Region, vpc_id: str, network: str) -> bool:
    """Remove a VPC of ours that no subnet is left in; whether it was removed."""
    what = f"network {network}: its VPC {vpc_id} could not be removed"
    left = region.read("ec2.describe_subnets", what, Filters=[named("vpc-id", vpc_id)])["Subnets"]
    if left:
        return False
    done_once(
        lambda: region.change("ec2.delete_vpc", what, VpcId=vpc_id),
        lambda: find_vpc(region, vpc_id) is None,
    )
    return True
