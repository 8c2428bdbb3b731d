"""Facts of what is kept of an account: points of AWS Backup, and our own of disks and databases."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import JsonValue

from automation.adapters.aws.account import by_marker, by_token
from automation.adapters.aws.marks import named, tags_of
from automation.adapters.aws.session import Region, Shown
from automation.model.actions.points import POINT, RESOURCE, TAKEN

_HELD = ("governance", "compliance", "compliance-cooloff")
_RDS_PAGE = 100


class Kept(NamedTuple):
    """A point, or a part of one, as one region shows it."""

    resource: str
    point: str
    at: datetime
    region: str
    locked: bool


class Copied(NamedTuple):
    """A resource of which a point went to another account, which shows it to nobody here."""

    resource: str


def points(region: Region) -> list[Kept | Copied]:
    """List what a region keeps of anything."""
    return [*_of_vaults(region), *_copied(region), *_of_disks(region), *_of_databases(region)]


def protected(kept: Iterable[Kept | Copied]) -> list[JsonValue]:
    """Say of each resource whether its newest point is locked, and a point lies elsewhere. Pure."""
    held: dict[str, list[Kept]] = defaultdict(list)
    sent = set()
    for one in kept:
        if isinstance(one, Copied):
            sent.add(one.resource)
        else:
            held[one.resource].append(one)
    return [
        {
            "name": resource,
            "locked": _is_newest_locked(parts),
            "copied_elsewhere": resource in sent or _lies_elsewhere(resource, parts),
        }
        for resource, parts in sorted(held.items())
    ]


def _is_newest_locked(parts: Iterable[Kept]) -> bool:
    """Whether one copy of the newest point is locked in all its parts."""
    every = tuple(parts)
    newest = max(one.at for one in every)
    copies: dict[tuple[str, str], bool] = {}
    for one in every:
        if one.at == newest:
            place = (one.point, one.region)
            copies[place] = copies.get(place, True) and one.locked
    return any(copies.values())


def _lies_elsewhere(resource: str, parts: Iterable[Kept]) -> bool:
    places = {one.region for one in parts}
    home = resource.split(":")[3] if resource.startswith("arn:") else ""
    return any(place != home for place in places) if home else len(places) > 1


def _of_vaults(region: Region) -> Iterator[Kept]:
    vaults = by_token(region, "backup.list_backup_vaults", "BackupVaultList", "vaults could not be listed")
    for vault in vaults:
        name = str(vault["BackupVaultName"])
        what = f"what vault {name} keeps could not be listed"
        call = "backup.list_recovery_points_by_backup_vault"
        for one in by_token(region, call, "RecoveryPoints", what, {"BackupVaultName": name}):
            if one.get("Status") == "COMPLETED":
                at, arn = one["CreationDate"].astimezone(UTC), str(one["RecoveryPointArn"])
                locked = bool(vault.get("Locked"))
                yield Kept(str(one["ResourceArn"]), arn, at, region.provider.region, locked)


def _copied(region: Region) -> Iterator[Copied]:
    """List what went to vaults of other accounts; AWS Backup tells so for some weeks."""
    jobs = by_token(
        region, "backup.list_copy_jobs", "CopyJobs", "copies could not be listed", {"ByState": "COMPLETED"}
    )
    for one in jobs:
        if str(one["DestinationBackupVaultArn"]).split(":")[4] != region.provider.account:
            yield Copied(str(one["ResourceArn"]))


def _of_disks(region: Region) -> list[Kept]:
    filters = [named("tag-key", POINT)]
    what = "snapshots could not be listed"
    shown = list(
        region.pages("ec2.describe_snapshots", "Snapshots", what, OwnerIds=["self"], Filters=filters)
    )
    locks = {str(one["SnapshotId"]) for one in (_locked(region) if shown else ())}
    return [
        _kept(region, tags_of(one), one["StartTime"], one["SnapshotId"] in locks)
        for one in shown
        if one["State"] == "completed"
    ]


def _locked(region: Region) -> Iterator[Shown]:
    what = "locks of snapshots could not be read"
    pages = region.pages("ec2.describe_locked_snapshots", "Snapshots", what)
    return (one for one in pages if one.get("LockState") in _HELD)


def _of_databases(region: Region) -> Iterator[Kept]:
    """List our own snapshots of databases, which RDS can lock in no way."""
    what, page = (
        "snapshots of databases could not be listed",
        {"SnapshotType": "manual", "MaxRecords": _RDS_PAGE},
    )
    for one in by_marker(region, "rds.describe_db_snapshots", "DBSnapshots", what, page):
        tags = tags_of({"Tags": one.get("TagList", ())})
        if tags.get(POINT) and one.get("Status") == "available":
            yield _kept(region, tags, one["SnapshotCreateTime"], locked=False)


def _kept(region: Region, tags: Mapping[str, str], made: datetime, locked: bool) -> Kept:
    """Put a part together; a copy says when its original was taken."""
    try:
        taken = datetime.fromisoformat(tags.get(TAKEN, ""))
    except ValueError:
        taken = made
    at = taken.astimezone(UTC) if taken.tzinfo else made.astimezone(UTC)
    return Kept(tags.get(RESOURCE, ""), tags.get(POINT, ""), at, region.provider.region, locked)
