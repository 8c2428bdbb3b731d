"""Taking points: sets of EBS snapshots, images of servers, snapshots of RDS instances."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from automation.adapters.aws.marks import as_tags, named, specified, tags_of
from automation.adapters.aws.points import Part, look, taken_at
from automation.adapters.aws.points_made import await_complete, lock_all, make_once, marks_of, point_id
from automation.adapters.aws.session import Region, region_of
from automation.model.actions.points import SERVER, Family, TakeDatabaseSnapshot, TakeImage, TakeSnapshots
from automation.model.backup_evidence import Figures, PointTaken, TakeFailed
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.servers import OWNER, ROLE

_THERE = ("pending", "running", "stopping", "stopped")


class Machine(NamedTuple):
    """A server of ours, and the disks that it has now."""

    id: str
    volumes: tuple[str, ...]


class _Making(NamedTuple):
    """A point that is being made."""

    region: Region
    ctx: Context
    action: TakeSnapshots | TakeImage | TakeDatabaseSnapshot
    family: Family
    point: str
    there: tuple[Part, ...]
    began: float

    @property
    def taken(self) -> datetime:
        """When it was begun first: a second attempt adds to the same point."""
        return taken_at(self.there[0]) if self.there else datetime.now(UTC)

    def has(self, server: str = "") -> bool:
        """Whether an earlier attempt made it, of a server or at all."""
        return any(server in ("", part.tags.get(SERVER, "")) for part in self.there)

    def find(self, server: str = "") -> tuple[Part, ...]:
        """Look for what is there of it by now."""
        found = look(self.region, (self.family,)).of(self.action.resource, self.point)
        return tuple(part for part in found if server in ("", part.tags.get(SERVER, "")))

    def marks(self, parts: int, **more: str) -> list[dict[str, str]]:
        marks = marks_of(self.ctx, self.action.resource, self.point, self.taken, parts)
        return as_tags({"Name": f"{self.action.resource} {self.taken:%Y-%m-%d %H:%M}", **marks, **more})


def take_snapshots(action: TakeSnapshots, ctx: Context) -> Outcome:
    """Make one set of snapshots for each server, all of one point, and see them complete."""
    making = _begin(action, ctx, "snapshots")
    region = making.region
    machines = machines_of(region, action.servers)
    parts = sum(len(one.volumes) for one in machines.values())
    for server, machine in machines.items():
        tags = making.marks(parts, **{SERVER: server})
        if not making.has(server):
            make = partial(_save_disks, making, server, machine, tags)
            make_once(region, make, partial(making.find, server))
    return _ended(making, parts)


def _save_disks(making: _Making, server: str, machine: Machine, tags: list[dict[str, str]]) -> None:
    """Have EC2 save all disks of a server at one moment; it has no token for that."""
    making.region.change(
        "ec2.create_snapshots",
        f"the disks of {server} ({machine.id}) could not be saved",
        once=True,
        InstanceSpecification={"InstanceId": machine.id, "ExcludeBootVolume": False},
        Description=f"{making.action.resource}, by Mainstay",
        TagSpecifications=specified(["snapshot"], tags),
    )


def take_image(action: TakeImage, ctx: Context) -> Outcome:
    """Make an image of a server; it and its snapshots are complete when this ends."""
    making = _begin(action, ctx, "images")
    machine = machines_of(making.region, (action.server,))[action.server]
    parts = 1 + len(machine.volumes)
    tags = making.marks(parts, **{SERVER: action.server})
    make = partial(
        making.region.change,
        "ec2.create_image",
        f"an image of {action.server} ({machine.id}) could not be made",
        once=True,
        InstanceId=machine.id,
        Name=f"mainstay-{action.resource}-{making.point}",
        Description=f"{action.resource}, by Mainstay",
        NoReboot=not action.reboot,
        TagSpecifications=specified(["image", "snapshot"], tags),
    )
    if not making.has():
        make_once(making.region, make, making.find)
    return _ended(making, parts)


def take_database_snapshot(action: TakeDatabaseSnapshot, ctx: Context) -> Outcome:
    """Make a manual snapshot of an RDS instance, and see it complete."""
    making = _begin(action, ctx, "databases")
    make = partial(
        making.region.change,
        "rds.create_db_snapshot",
        f"a snapshot of RDS instance {action.database} could not be made",
        once=True,
        DBInstanceIdentifier=action.database,
        DBSnapshotIdentifier=f"mainstay-{action.resource}-{making.point}",
        Tags=making.marks(1),
    )
    if not making.has():
        make_once(making.region, make, making.find)
    return _ended(making, 1)


def machines_of(region: Region, servers: Sequence[str]) -> Mapping[str, Machine]:
    """Find servers of ours by their marks, with the volumes that they have now.

    Raises:
        AdapterError: one is not there, or more than once, or has no volume.
    """
    what = f"instances of {region.provider.site} could not be listed"
    filters = [
        named(f"tag:{OWNER}", region.environment),
        named(f"tag:{ROLE}", *servers),
        named("instance-state-name", *_THERE),
    ]
    found: dict[str, list[Machine]] = {server: [] for server in servers}
    for reservation in region.pages("ec2.describe_instances", "Reservations", what, Filters=filters):
        for one in reservation["Instances"]:
            disks = (disk.get("Ebs", {}).get("VolumeId", "") for disk in one.get("BlockDeviceMappings", ()))
            machine = Machine(one["InstanceId"], tuple(filter(None, disks)))
            found[tags_of(one)[ROLE]].append(machine)
    for server, several in found.items():
        if len(several) != 1 or not several[0].volumes:
            why = f"{len(several)} instances" if len(several) != 1 else "no disk that can be saved"
            raise AdapterError(
                f"{server} has {why} of ours in {region.provider.site}; nothing was saved of it",
                hint=f"./inv provision.show --env {region.environment}",
            )
    return {server: several[0] for server, several in found.items()}


def _begin(action: TakeSnapshots | TakeImage | TakeDatabaseSnapshot, ctx: Context, family: Family) -> _Making:
    region, point = region_of(ctx, action.to.site), point_id(ctx, action.resource)
    there = look(region, (family,)).of(action.resource, point)
    return _Making(region, ctx, action, family, point, there, time.monotonic())


def _ended(making: _Making, parts: int) -> Outcome:
    """Wait until all of it is complete, lock it, and say what there is."""
    action, resource = making.action, making.action.resource
    made = await_complete(making.region, making.family, {making.point: parts}, resource, making.ctx)
    failed = [part.id for part in made if part.status == "failed"]
    if failed:
        faults = (f"AWS says that {', '.join(failed[:3])} failed",)
        raise AdapterError(
            f"{resource}: {faults[0]}; the point {making.point} is not whole",
            evidence=TakeFailed(resource=resource, store=action.to.store, faults=faults),
        )
    lock_all(making.region, made, action.lock)
    disks = [part for part in made if not part.id.startswith("ami-")]
    size = sum(part.size_bytes for part in disks)
    evidence = PointTaken(
        resource=resource,
        store=action.to.store,
        point=making.point,
        claimed_at=taken_at(made[0]),
        figures=Figures(files=len(disks), total_bytes=size),
        seconds=time.monotonic() - making.began,
        source=making.region.source,
    )
    said = f"{resource}: point {making.point} of {len(made)} parts, {size // 2**30} GiB of disks"
    return Outcome(changed=True, summary=said, evidence=evidence)
