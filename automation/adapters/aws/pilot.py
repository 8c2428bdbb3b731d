"""What of a service stands ready in a region: its newest good image, its database's replica and snapshots."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from automation.adapters.aws.points import Part, look, taken_at
from automation.adapters.aws.rds import find_database, holds_all_up_to, rds_tags, snapshots_of, source_of
from automation.adapters.aws.session import Region, Shown, region_seen
from automation.model.actions.points import POINT
from automation.model.environment import Environment
from automation.model.replicas import DatabaseSeen, ImageSeen, PilotSeen
from automation.model.servers import OWNER, ROLE


def look_at_pilot(
    environment: Environment, site: str, state: Path, images: str, databases: tuple[str, str]
) -> PilotSeen:
    """See what a service could be launched from at a site; changes nothing.

    Args:
        images: resource of backups.yml whose images are launched.
        databases: the one that serves at the other site, and its replica here; empty: none is declared.

    Raises:
        AdapterError: the region does not answer, or does not let us look.
    """
    region = region_seen(environment, site, state)
    region.require_account()
    serving, replica = databases
    return PilotSeen(
        site=site,
        image=_newest_image(region, images),
        replica=_replica(region, replica, serving) if replica else None,
        snapshot=_newest_snapshot(region, serving) if serving else None,
        standing=_standing(region, replica, serving) if replica else "",
        seen_at=datetime.now(UTC),
        source=region.source,
    )


def look_at_instances(environment: Environment, site: str, state: Path) -> dict[str, str]:
    """Give every server of ours in a region with its id."""
    from automation.adapters.aws.looking import look as look_around

    seen = look_around(environment, site, state, (), ())
    return {one.name: one.id for one in seen.servers if one.owner == environment.name}


def _newest_image(region: Region, resource: str) -> ImageSeen | None:
    """The newest image of ours of a resource that is whole; a copy is as old as what it copies."""
    found = [
        part
        for part in look(region, ("images",)).parts
        if part.id.startswith("ami-") and part.resource == resource and part.status == "ok"
    ]
    newest = max(found, key=taken_at, default=None)
    return None if newest is None else ImageSeen(id=newest.id, name=_name(newest), at=taken_at(newest))


def _name(image: Part) -> str:
    return image.tags.get("Name") or f"{image.resource} {image.point}"


def _newest_snapshot(region: Region, database: str) -> DatabaseSeen | None:
    return newest_snapshot(snapshots_of(region, database), database)


def newest_snapshot(shown: Sequence[Shown], database: str) -> DatabaseSeen | None:
    """Give the newest snapshot of a database that serves; what a move kept is of one that no longer did.

    Both regions may know their database by one name: a kept one is young, and its data is as old as the move.
    """
    newest = max((one for one in shown if not _is_kept(one, database)), key=_created, default=None)
    if newest is None:
        return None
    return DatabaseSeen(id=str(newest["DBSnapshotIdentifier"]), of=database, at=_created(newest))


def _is_kept(snapshot: Shown, database: str) -> bool:
    """Whether it bears our mark under a name of its own, and is no part of a point of `backups.yml`."""
    tags = rds_tags(snapshot)
    return bool(tags.get(OWNER)) and not tags.get(POINT) and tags.get(ROLE) != database


def _created(snapshot: Shown) -> datetime:
    """When a snapshot's data was as it is: RDS tells that of the original, of a copy too."""
    at: datetime = snapshot.get("OriginalSnapshotCreateTime") or snapshot["SnapshotCreateTime"]
    return at.astimezone(UTC)


def _replica(region: Region, name: str, serving: str) -> DatabaseSeen | None:
    """The replica, if it copies the database that serves; how far it is behind, by CloudWatch."""
    seen = find_database(region, name)
    if seen is None or source_of(seen) != serving:
        return None
    return DatabaseSeen(id=name, of=serving, at=holds_all_up_to(region, name))


def _standing(region: Region, name: str, serving: str) -> str:
    """A database of that name that is no copy of the one that serves: what it holds it may hold alone."""
    seen = find_database(region, name)
    return name if seen is not None and source_of(seen) != serving else ""
