"""What EC2 shows, in the words of a plan. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from automation.adapters.aws.creating import GIB
from automation.adapters.aws.instances import disk_of, state_of
from automation.adapters.aws.marks import others, tags_of
from automation.adapters.aws.rules import Passage, everything, is_closed, read_passages, shown_rules
from automation.adapters.aws.session import Shown
from automation.model.servers import OWNER, ROLE, RUN, FoundDisk, FoundNetwork, FoundServer, Power, Size

_POWER: dict[str, Power] = {"running": "on", "stopped": "off"}


class Seen(NamedTuple):
    """All that EC2 answered, one list a kind."""

    instances: tuple[Shown, ...] = ()
    volumes: tuple[Shown, ...] = ()
    subnets: tuple[Shown, ...] = ()
    groups: tuple[Shown, ...] = ()
    tables: tuple[Shown, ...] = ()
    vpcs: tuple[Shown, ...] = ()


def found_servers(seen: Seen, site: str, images: Mapping[str, str]) -> tuple[FoundServer, ...]:
    """Give every server that is there, ours or not, by name.

    Args:
        images: name of an image to its id.
    """
    attached: dict[str, list[Shown]] = {}
    for volume in seen.volumes:
        for one in volume.get("Attachments", ()):
            attached.setdefault(str(one.get("InstanceId", "")), []).append(volume)
    networks = {one["SubnetId"]: tags_of(one).get(ROLE, "") for one in seen.subnets}
    names = {image_id: name for name, image_id in images.items()}
    found = [
        _server(one, attached.get(one["InstanceId"], []), networks, names, site) for one in seen.instances
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.id)))


def _server(
    instance: Shown,
    volumes: Iterable[Shown],
    networks: Mapping[str, str],
    images: Mapping[str, str],
    site: str,
) -> FoundServer:
    tags = tags_of(instance)
    ports = sorted(instance.get("NetworkInterfaces", ()), key=lambda one: one["Attachment"]["DeviceIndex"])
    addresses = [*(one.get("PrivateIpAddress") for one in ports), instance.get("PublicIpAddress")]
    return FoundServer(
        name=tags.get(ROLE) or tags.get("Name") or instance["InstanceId"],
        id=instance["InstanceId"],
        provider="aws",
        site=site,
        owner=tags.get(OWNER, ""),
        power=_POWER.get(state_of(instance), "changing"),
        image=images.get(instance.get("ImageId", ""), ""),
        image_id=instance.get("ImageId", ""),
        size=Size(type=instance.get("InstanceType", "")),
        disks=tuple(_disk(volume, instance) for volume in sorted(volumes, key=lambda one: _device(one))),
        networks=tuple(networks.get(one["SubnetId"]) or one["SubnetId"] for one in ports),
        addresses=tuple(str(one) for one in dict.fromkeys(addresses) if one),
        tags=others(tags),
        made_by=tags.get(RUN, ""),
        made_at=_made_at(instance),
        zone=instance.get("Placement", {}).get("AvailabilityZone", ""),
    )


def _disk(volume: Shown, instance: Shown) -> FoundDisk:
    return FoundDisk(
        id=volume["VolumeId"],
        name=disk_of(volume, instance),
        size_bytes=int(volume["Size"]) * GIB,
        kind=volume.get("VolumeType", ""),
    )


def _device(volume: Shown) -> str:
    return next((str(one.get("Device", "")) for one in volume.get("Attachments", ())), "")


def _made_at(instance: Shown) -> datetime | None:
    """Say since when it has its system disk: the time of launch is that of its last start."""
    root = instance.get("RootDeviceName")
    attached = [
        one["Ebs"].get("AttachTime")
        for one in instance.get("BlockDeviceMappings", ())
        if one["DeviceName"] == root
    ]
    made: datetime | None = next((one for one in attached if one), instance.get("LaunchTime"))
    return made


def found_networks(seen: Seen, site: str) -> tuple[FoundNetwork, ...]:
    """Give every network that bears a mark, by name."""
    vpcs = {one["VpcId"]: tags_of(one) for one in seen.vpcs}
    names = {one["GroupId"]: tags_of(one).get(ROLE) or one["GroupId"] for one in seen.groups}
    groups = {_mark(one): one for one in seen.groups}
    used: dict[str, int] = {}
    for instance in seen.instances:
        for port in instance.get("NetworkInterfaces", ()):
            used[port["SubnetId"]] = used.get(port["SubnetId"], 0) + 1
    found = [
        _network(one, groups.get(_mark(one), {}), seen.tables, names).model_copy(
            update={
                "site": site,
                "part_of": _vpc_name(one["VpcId"], vpcs),
                "used_by": used.get(one["SubnetId"], 0),
            }
        )
        for one in seen.subnets
        if tags_of(one).get(OWNER)
    ]
    return tuple(sorted(found, key=lambda one: (one.name, one.id)))


def _network(subnet: Shown, group: Shown, tables: Iterable[Shown], names: Mapping[str, str]) -> FoundNetwork:
    tags, own = tags_of(subnet), str(group.get("GroupId", ""))
    into = read_passages(group.get("IpPermissions", ()))
    out = read_passages(group.get("IpPermissionsEgress", ()))
    leads_out = _leads_out(subnet, tables)
    isolated = bool(group) and is_closed(out, own) and not leads_out
    return FoundNetwork(
        name=tags.get(ROLE) or subnet["SubnetId"],
        id=subnet["SubnetId"],
        provider="aws",
        site="",
        owner=tags.get(OWNER, ""),
        cidr=subnet.get("CidrBlock", ""),
        isolated=isolated,
        leads_out=leads_out,
        rules=shown_rules(_declarable(into, own, isolated), names),
    )


def _declarable(into: frozenset[Passage], own: str, isolated: bool) -> frozenset[Passage]:
    """Leave out what an isolated network lets in without a declaration: itself."""
    return into - {everything("UserIdGroupPairs", own)} if isolated else into


def _leads_out(subnet: Shown, tables: Iterable[Shown]) -> bool:
    """Whether a subnet's routes, its own or else those of its VPC, lead anywhere but within the VPC."""
    here = [one for one in tables if one.get("VpcId") == subnet["VpcId"]]
    own = [one for one in here if _is_for(one, "SubnetId", subnet["SubnetId"])]
    ruling = own or [one for one in here if _is_for(one, "Main", True)]
    return any(route.get("GatewayId") != "local" for one in ruling for route in one.get("Routes", ()))


def _is_for(table: Shown, key: str, value: object) -> bool:
    return any(one.get(key) == value for one in table.get("Associations", ()))


def _mark(shown: Shown) -> tuple[str, str, str]:
    tags = tags_of(shown)
    return tags.get(OWNER, ""), tags.get(ROLE, ""), shown["VpcId"]


def _vpc_name(vpc_id: str, vpcs: Mapping[str, Mapping[str, str]]) -> str:
    tags = vpcs.get(vpc_id, {})
    return tags.get(ROLE) or tags.get("Name") or vpc_id
