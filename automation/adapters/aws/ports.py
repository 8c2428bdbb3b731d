"""The further ports of an EC2 instance: attached, and removed when they are ours; the first one stays."""

import time
from typing import Any

from automation.adapters.aws.instances import Doing, by_id, done_once, made_once
from automation.adapters.aws.marks import Marks, named, specified, tags_of, token
from automation.adapters.aws.places import Place, places_of
from automation.adapters.aws.session import Region, Shown
from automation.model.actions import ChangeInstance
from automation.model.errors import AdapterError
from automation.model.servers import OWNER

_POLL_S, _LONGEST_POLL_S = 0.25, 5.0


def change_ports(region: Region, instance: Shown, action: ChangeInstance, doing: Doing) -> tuple[str, ...]:
    """Give the server a port in each declared network, and none of ours in another; give what was done."""
    name = action.host
    places = places_of(region, action.spec.networks, name)
    has = {one["SubnetId"]: one for one in instance.get("NetworkInterfaces", ())}
    first = next((one for one in has.values() if one["Attachment"]["DeviceIndex"] == 0), None)
    if places and first is not None and first["SubnetId"] != places[0].subnet_id:
        raise AdapterError(
            f"server {name} has its first port in {first['SubnetId']}, declared is {places[0].network} "
            f"({places[0].subnet_id}); no instance changes its first port; nothing was changed",
            hint=f"./inv provision.apply --env {region.environment} --replace {name} makes it anew",
        )
    done: list[str] = []
    for place in places:
        done += _regroup(region, has[place.subnet_id], place, name) if place.subnet_id in has else ()
    for index, place in enumerate(places):
        if place.subnet_id not in has:
            done += _add(region, instance, place, index, action, doing)
    wanted = {place.subnet_id for place in places}
    for port in has.values():
        if port["SubnetId"] not in wanted and port["Attachment"]["DeviceIndex"] != 0:
            done += _remove(region, port, action, doing)
    return tuple(done)


def _regroup(region: Region, port: Shown, place: Place, server: str) -> tuple[str, ...]:
    """Give a port the group of its network, and no other."""
    if [one["GroupId"] for one in port.get("Groups", ())] == [place.group_id]:
        return ()
    region.change(
        "ec2.modify_network_interface_attribute",
        f"server {server}: its port in {place.network} could not be given its group",
        NetworkInterfaceId=port["NetworkInterfaceId"],
        Groups=[place.group_id],
    )
    return (f"rules of {place.network}",)


def _add(
    region: Region, instance: Shown, place: Place, index: int, action: ChangeInstance, doing: Doing
) -> tuple[str, ...]:
    name = action.host
    port = _loose(region, name, place) or _make(region, place, action, doing)
    what = f"server {name}: its port in {place.network} could not be attached"
    here = by_id(region, instance["InstanceId"], name) or instance
    taken = {one["Attachment"]["DeviceIndex"] for one in here.get("NetworkInterfaces", ())}
    free = index if index not in taken else max(taken) + 1
    port_id = port["NetworkInterfaceId"]
    done_once(
        lambda: region.change(
            "ec2.attach_network_interface",
            what,
            NetworkInterfaceId=port_id,
            InstanceId=instance["InstanceId"],
            DeviceIndex=free,
        ),
        lambda: _attached_to(_port(region, port_id, name)) == instance["InstanceId"],
    )
    attached = _port(region, port_id, name) or port
    bound = {"AttachmentId": attached["Attachment"]["AttachmentId"], "DeleteOnTermination": True}
    region.change(
        "ec2.modify_network_interface_attribute", what, NetworkInterfaceId=port_id, Attachment=bound
    )
    return (f"port in {place.network}",)


def _attached_to(port: Shown | None) -> str:
    return str((port or {}).get("Attachment", {}).get("InstanceId", ""))


def _loose(region: Region, server: str, place: Place) -> Shown | None:
    """Find a port that was made for this server and is not attached yet: by a step that was killed."""
    filters = [
        *Marks(region.environment, server, "").filters(),
        named("subnet-id", place.subnet_id),
        named("status", "pending", "available"),
    ]
    what = f"ports of {server} could not be looked for"
    found = list(region.pages("ec2.describe_network_interfaces", "NetworkInterfaces", what, Filters=filters))
    return min(found, key=lambda one: str(one["NetworkInterfaceId"]), default=None)


def _make(region: Region, place: Place, action: ChangeInstance, doing: Doing) -> Shown:
    name = action.host
    request: dict[str, Any] = {
        "SubnetId": place.subnet_id,
        "Groups": [place.group_id],
        "ClientToken": token(doing.run_id, doing.step_id, name, region.environment, place.network),
        "TagSpecifications": specified(
            ("network-interface",), Marks(region.environment, name, doing.run_id).tags()
        ),
    }
    what = f"server {name}: its port in {place.network} could not be made"

    def make() -> Shown:
        made: Shown = region.change("ec2.create_network_interface", what, **request)["NetworkInterface"]
        return made

    return made_once(region, what, make, lambda: _loose(region, name, place))


def _remove(region: Region, port: Shown, action: ChangeInstance, doing: Doing) -> tuple[str, ...]:
    """Detach and remove a port that we made; another's stays."""
    name, port_id = action.host, port["NetworkInterfaceId"]
    seen = _port(region, port_id, name)
    if seen is None or tags_of(seen).get(OWNER) != region.environment:
        return ()
    what = f"server {name}: its port in {port['SubnetId']} could not be removed"
    region.change(
        "ec2.detach_network_interface", what, AttachmentId=port["Attachment"]["AttachmentId"], Force=True
    )
    _await_loose(region, port_id, name, doing.deadline)
    region.change("ec2.delete_network_interface", what, NetworkInterfaceId=port_id)
    return (f"no port in {port['SubnetId']}",)


def _await_loose(region: Region, port_id: str, server: str, deadline: float) -> None:
    pause_s = _POLL_S
    while (seen := _port(region, port_id, server)) is not None and seen["Status"] != "available":
        if time.monotonic() > deadline:
            raise AdapterError(
                f"server {server}: port {port_id} is {seen['Status']}, not yet detached",
                transient=True,
                hint="a resumed run goes on waiting",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)


def _port(region: Region, port_id: str, server: str) -> Shown | None:
    what = f"port {port_id} of {server} could not be looked at"
    filters = [named("network-interface-id", port_id)]
    found = region.read("ec2.describe_network_interfaces", what, Filters=filters)["NetworkInterfaces"]
    return found[0] if found else None
