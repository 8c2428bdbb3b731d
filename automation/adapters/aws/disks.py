"""The data disks of an EC2 instance: added and made larger; never detached, never made smaller."""

import time
from collections.abc import Sequence
from typing import Any

from automation.adapters.aws.creating import DEFAULT_DISK, GIB
from automation.adapters.aws.instances import Doing, by_id, disk_of, done_once, made_once
from automation.adapters.aws.marks import (
    DISK,
    DISKS,
    LONGEST_TAG,
    Marks,
    adopted_marks,
    as_tags,
    device,
    disk_names,
    named,
    specified,
    tags_of,
    token,
    with_disk,
)
from automation.adapters.aws.session import Region, Shown
from automation.model.actions import ChangeInstance
from automation.model.errors import AdapterError
from automation.model.servers import OWNER, Disk, FoundDisk, name_disks

_POLL_S, _LONGEST_POLL_S = 0.25, 5.0


def change_disks(region: Region, instance: Shown, action: ChangeInstance, doing: Doing) -> tuple[str, ...]:
    """Make, attach and grow what was declared; give what was done."""
    has = {disk_of(one, instance): one for one in volumes_of(region, instance, action.host)}
    smaller = [
        disk.name
        for disk in action.spec.disks
        if disk.name in has and disk.size_bytes < has[disk.name]["Size"] * GIB
    ]
    if smaller:
        raise AdapterError(
            f"server {action.host}: disk {', '.join(smaller)} would become smaller; nothing was changed",
            hint="declare its size as it is, or make a new disk and move the data",
        )
    done: list[str] = []
    for disk in action.spec.disks:
        if disk.name in has:
            done += _modify(region, has[disk.name], disk, action.host)
        else:
            done += _add(region, instance, disk, action, doing)
    return tuple(done)


def volumes_of(region: Region, instance: Shown, name: str) -> list[Shown]:
    """List the volumes that are attached to an instance."""
    filters = [named("attachment.instance-id", instance["InstanceId"])]
    what = f"disks of {name} could not be listed"
    return list(region.pages("ec2.describe_volumes", "Volumes", what, page=500, Filters=filters))


def _modify(region: Region, volume: Shown, disk: Disk, server: str) -> tuple[str, ...]:
    wanted: dict[str, Any] = {}
    if disk.size_bytes > volume["Size"] * GIB:
        wanted["Size"] = disk.size_bytes // GIB
    if disk.kind and disk.kind != volume.get("VolumeType"):
        wanted["VolumeType"] = disk.kind
    if wanted:
        what = f"server {server}: disk {disk.name} could not be changed"
        region.change("ec2.modify_volume", what, VolumeId=volume["VolumeId"], **wanted)
    return tuple(f"{part} of disk {disk.name}" for part in wanted)


def _add(
    region: Region, instance: Shown, disk: Disk, action: ChangeInstance, doing: Doing
) -> tuple[str, ...]:
    """Make a disk where its server is, attach it, and let it go with its server."""
    name = action.host
    volume = _loose(region, name, disk) or _make(region, instance, disk, action, doing)
    volume = _await_volume(region, volume, "available", name, doing.deadline)
    here = by_id(region, instance["InstanceId"], name) or instance
    at = _free_device(here, name)
    done_once(
        lambda: region.change(
            "ec2.attach_volume",
            f"server {name}: disk {disk.name} could not be attached",
            InstanceId=instance["InstanceId"],
            VolumeId=volume["VolumeId"],
            Device=at,
        ),
        lambda: any(one["VolumeId"] == volume["VolumeId"] for one in volumes_of(region, instance, name)),
    )
    _await_volume(region, volume, "in-use", name, doing.deadline)
    region.change(
        "ec2.modify_instance_attribute",
        f"server {name}: disk {disk.name} could not be bound to its server",
        InstanceId=instance["InstanceId"],
        BlockDeviceMappings=[{"DeviceName": at, "Ebs": {"DeleteOnTermination": True}}],
    )
    _name(region, here, at, disk.name, name)
    return (f"disk {disk.name}",)


def _name(region: Region, instance: Shown, at: str, disk: str, server: str) -> None:
    """Write the disk's name on its server too, as long as EC2 takes one so long; it bears it itself."""
    named_so = with_disk(tags_of(instance), disk, at)
    if len(named_so) <= LONGEST_TAG:
        what = f"server {server}: its disk {disk} could not be named"
        tags = as_tags({DISKS: named_so})
        region.change("ec2.create_tags", what, Resources=[instance["InstanceId"]], Tags=tags)


def name_adopted(region: Region, instance: Shown, declared: Sequence[Disk], server: str) -> dict[str, str]:
    """Give the marks that say which of an instance's disks are the declared ones, without the system's."""
    seen = sorted(volumes_of(region, instance, server), key=_attached_at)
    devices = {one["VolumeId"]: _attached_at(one) for one in seen}
    found = [
        FoundDisk(id=one["VolumeId"], name="", size_bytes=one["Size"] * GIB, kind=one.get("VolumeType", ""))
        for one in seen
        if _attached_at(one) != instance.get("RootDeviceName")
    ]
    named_so = name_disks(declared, found)
    return adopted_marks(server, {devices[volume]: name for name, volume in named_so.items()})


def _attached_at(volume: Shown) -> str:
    return next((str(one.get("Device", "")) for one in volume.get("Attachments", ())), "")


def _loose(region: Region, server: str, disk: Disk) -> Shown | None:
    """Find a disk that was made for this server and is not attached yet: by a step that was killed."""
    filters = [
        *Marks(region.environment, server, "").filters(),
        named(f"tag:{DISK}", disk.name),
        named("status", "creating", "available"),
    ]
    what = f"disk {disk.name} of {server} could not be looked for"
    found = list(region.pages("ec2.describe_volumes", "Volumes", what, page=500, Filters=filters))
    if len(found) > 1:
        ids = ", ".join(one["VolumeId"] for one in found)
        raise AdapterError(
            f"server {server}: disk {disk.name} is there {len(found)} times, attached to nothing: {ids}; "
            "nothing was changed",
            hint=f"look at both; take the tag {OWNER} from the one that is not it",
        )
    return found[0] if found else None


def _make(region: Region, instance: Shown, disk: Disk, action: ChangeInstance, doing: Doing) -> Shown:
    name = action.host
    marks = Marks(region.environment, name, doing.run_id)
    request: dict[str, Any] = {
        "AvailabilityZone": instance["Placement"]["AvailabilityZone"],
        "Size": disk.size_bytes // GIB,
        "VolumeType": disk.kind or DEFAULT_DISK,
        "Encrypted": True,
        "ClientToken": token(
            doing.run_id, doing.step_id, name, region.environment, disk.name, instance["InstanceId"]
        ),
        "TagSpecifications": specified(("volume",), marks.tags({DISK: disk.name})),
    }
    what = f"server {name}: disk {disk.name} could not be made"
    return made_once(
        region,
        what,
        lambda: region.change("ec2.create_volume", what, **request),
        lambda: _loose(region, name, disk),
    )


def _free_device(instance: Shown, server: str) -> str:
    """Give the next device that neither stands on the instance nor is promised by its tag."""
    taken = {one["DeviceName"] for one in instance.get("BlockDeviceMappings", ())}
    taken |= disk_names(tags_of(instance)).keys()
    free = next((one for one in map(device, range(11)) if one not in taken), None)
    if free is None:
        raise AdapterError(f"server {server} has no free device for another disk; nothing was changed")
    return free


def _await_volume(region: Region, volume: Shown, wanted: str, server: str, deadline: float) -> Shown:
    pause_s, seen = _POLL_S, volume
    while seen.get("State") != wanted:
        if time.monotonic() > deadline:
            raise AdapterError(
                f"server {server}: disk {volume['VolumeId']} is {seen.get('State')}, not yet {wanted}",
                transient=True,
                hint="a resumed run goes on waiting",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        what = f"disk {volume['VolumeId']} of {server} could not be looked at"
        filters = [named("volume-id", volume["VolumeId"])]
        found = region.read("ec2.describe_volumes", what, Filters=filters)["Volumes"]
        seen = found[0] if found else seen
    return seen
