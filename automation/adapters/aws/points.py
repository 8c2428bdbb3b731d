"""Recovery points of a region: everything that bears the mark of one is one, with all its parts.

One round trip for each page of snapshots, images and RDS snapshots, whatever their number; only where there
are images of ours, those of instances, launch templates and auto-scaling groups, too.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from automation.adapters.aws.marks import named, tags_of
from automation.adapters.aws.points_usage import users_of
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions.points import COPIED_FROM, PARTS, POINT, RESOURCE, TAKEN, Family, Vault
from automation.model.errors import AdapterError
from automation.model.records import Context
from automation.model.recovery_points import RecoveryPoint, Status
from automation.model.servers import OWNER

GIB = 2**30
_RDS_PAGE = 100
_STATES: Mapping[str, Status] = {
    "completed": "ok",
    "available": "ok",
    "pending": "running",
    "recovering": "running",
    "creating": "running",
    "copying": "running",
}
HELD = ("governance", "compliance", "compliance-cooloff")


class Part(NamedTuple):
    """One thing of ours that belongs to a point: a snapshot, an image, an RDS snapshot by its ARN."""

    id: str
    tags: Mapping[str, str]
    status: Status
    size_bytes: int
    encrypted: bool
    at: datetime
    snapshots: tuple[str, ...] = ()  # of an image

    @property
    def point(self) -> str:
        return self.tags.get(POINT, "")

    @property
    def resource(self) -> str:
        return self.tags.get(RESOURCE, "")

    @property
    def copied_from(self) -> str:
        return self.tags.get(COPIED_FROM, "")


class PointsSeen(NamedTuple):
    """All points of a region, and until when it refuses to delete them."""

    points: tuple[RecoveryPoint, ...]
    locked_until: Mapping[str, datetime]
    locks_problem: str
    round_trips: int


class Look(NamedTuple):
    """All parts of points in a region, and the snapshots that images of others are made of."""

    parts: tuple[Part, ...]
    registered: Mapping[str, tuple[str, ...]]

    def of(self, resource: str, point: str = "") -> tuple[Part, ...]:
        """Give the parts of a resource's points, or of one of them."""
        return tuple(p for p in self.parts if p.resource == resource and point in ("", p.point))

    def used(self, region: Region) -> Mapping[str, tuple[str, ...]]:
        """Say of each part what would break without it."""
        images = {part.id for part in self.parts if part.id.startswith("ami-")}
        return {**self.registered, **(users_of(region, images) if images else {})}


def list_points(of: Vault, families: Sequence[Family], ctx: Context) -> PointsSeen:
    """List every point of this environment in a region; changes nothing."""
    region = region_of(ctx, of.site)
    before = region.round_trips
    seen = look(region, families)
    points = tuple(points_of(seen.parts, of.store, seen.used(region)))
    locks: Mapping[str, datetime] = {}
    problem = ""
    try:
        locks = _locks(region, seen.parts)
    except AdapterError as exc:
        problem = str(exc)
    return PointsSeen(points, locks, problem, region.round_trips - before)


def look(region: Region, families: Sequence[Family]) -> Look:
    """List all that bears our marks; whatever does not is passed over."""
    parts: list[Part] = []
    registered: dict[str, tuple[str, ...]] = {}
    if {"snapshots", "images"} & set(families):
        parts += _snapshots(region)
        images = tuple(_images(region))
        parts += (one for one in images if is_ours(one, region))
        registered = _registered(parts, images)
    if "databases" in families:
        parts += (one for one in _database_snapshots(region) if is_ours(one, region))
    return Look(tuple(parts), registered)


def is_ours(part: Part, region: Region) -> bool:
    """Whether something bears the marks of a point of this environment."""
    return part.tags.get(OWNER) == region.environment and bool(part.point)


def points_of(
    parts: Iterable[Part], store: str, used: Mapping[str, tuple[str, ...]] | None = None
) -> Iterator[RecoveryPoint]:
    """Put parts together to points; one that lacks a part is partial, whoever took that away. Pure."""
    together: dict[tuple[str, str], list[Part]] = defaultdict(list)
    for part in parts:
        together[part.resource, part.point].append(part)
    for (resource, point), several in together.items():
        members = sorted((part.id for part in several), key=lambda one: (not one.startswith("ami-"), one))
        disks = [part for part in several if not part.id.startswith("ami-")]
        yield RecoveryPoint(
            id=point,
            resource=resource,
            copy=store,
            claimed_at=taken_at(several[0]),
            status=_status(several),
            size_bytes=sum(part.size_bytes for part in disks),
            members=tuple(members),
            used_by=tuple(word for one in members for word in (used or {}).get(one, ())),
        )


def taken_at(part: Part) -> datetime:
    """Give when a point was taken: a copy says when its original was, AWS only when the copy was made."""
    try:
        at = datetime.fromisoformat(part.tags.get(TAKEN, ""))
    except ValueError:
        return part.at
    return at if at.tzinfo else part.at


def _status(parts: Sequence[Part]) -> Status:
    states = {part.status for part in parts}
    if "failed" in states:
        return "failed"
    if "running" in states:
        return "running"
    return "ok" if str(len(parts)) == parts[0].tags.get(PARTS) else "partial"


# --- listings --------------------------------------------------------------------------------------


def _snapshots(region: Region) -> Iterator[Part]:
    what = f"snapshots of {region.provider.site} could not be listed"
    ours = [named(f"tag:{OWNER}", region.environment), named("tag-key", POINT)]
    for one in region.pages("ec2.describe_snapshots", "Snapshots", what, OwnerIds=["self"], Filters=ours):
        yield Part(
            id=one["SnapshotId"],
            tags=tags_of(one),
            status=_STATES.get(one["State"], "failed"),
            size_bytes=one["VolumeSize"] * GIB,
            encrypted=bool(one.get("Encrypted")),
            at=one["StartTime"].astimezone(UTC),
        )


def _images(region: Region) -> Iterator[Part]:
    """List all images of the account: those that are not ours may be made of our snapshots."""
    what = f"images of {region.provider.site} could not be listed"
    for one in region.pages("ec2.describe_images", "Images", what, Owners=["self"]):
        disks = [disk["Ebs"] for disk in one.get("BlockDeviceMappings", ()) if "Ebs" in disk]
        yield Part(
            id=one["ImageId"],
            tags=tags_of(one),
            status=_STATES.get(one["State"], "failed"),
            size_bytes=0,
            encrypted=True,  # it is its snapshots that are, or are not
            at=_read(one.get("CreationDate", "")),
            snapshots=tuple(disk["SnapshotId"] for disk in disks if disk.get("SnapshotId")),
        )


def _database_snapshots(region: Region) -> Iterator[Part]:
    for one in _pages_of_rds(region):
        yield Part(
            id=one["DBSnapshotArn"],
            tags=tags_of({"Tags": one.get("TagList", ())}),
            status=_STATES.get(one["Status"], "failed"),
            size_bytes=one.get("AllocatedStorage", 0) * GIB,
            encrypted=bool(one.get("Encrypted")),
            at=one.get("SnapshotCreateTime", datetime.now(UTC)).astimezone(UTC),
        )


def _pages_of_rds(region: Region) -> Iterator[Shown]:
    """List all manual snapshots: RDS has no filter for tags, but shows them."""
    what, more = f"RDS snapshots of {region.provider.site} could not be listed", dict[str, str]()
    while True:
        answer = region.read(
            "rds.describe_db_snapshots", what, SnapshotType="manual", MaxRecords=_RDS_PAGE, **more
        )
        yield from answer.get("DBSnapshots", ())
        if not answer.get("Marker"):
            return
        more = {"Marker": answer["Marker"]}


def _locks(region: Region, parts: Sequence[Part]) -> Mapping[str, datetime]:
    """Say until when each point has a snapshot that nobody can delete."""
    owners, found = (
        {part.id: part.point for part in parts if part.id.startswith("snap-")},
        dict[str, datetime](),
    )
    what = f"locks of snapshots of {region.provider.site} could not be read"
    pages = region.pages("ec2.describe_locked_snapshots", "Snapshots", what) if owners else ()
    for one in pages:
        until, point = one.get("LockExpiresOn"), owners.get(one["SnapshotId"])
        if until is not None and point and one.get("LockState") in HELD:
            found[point] = max(until.astimezone(UTC), found.get(point, until.astimezone(UTC)))
    return found


def _registered(parts: Iterable[Part], images: Iterable[Part]) -> dict[str, tuple[str, ...]]:
    """Find snapshots of which somebody made an image that is not of the same point."""
    points = {part.id: part.point for part in parts if part.id.startswith("snap-")}
    by: dict[str, tuple[str, ...]] = {}
    for image in images:
        for snapshot in image.snapshots:
            if snapshot in points and image.point != points[snapshot]:
                by[snapshot] = (*by.get(snapshot, ()), f"image {image.id}")
    return by


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return datetime.now(UTC)
