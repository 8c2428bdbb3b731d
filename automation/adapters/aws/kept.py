"""Snapshots that were kept of disks when their servers went, and the last day that each is kept."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from automation.adapters.aws.creating import GIB
from automation.adapters.aws.marks import DISK, RETIRED, UNTIL, named, tags_of
from automation.adapters.aws.session import Shown, region_seen
from automation.model.environment import Environment
from automation.model.providers import AwsProvider
from automation.model.servers import OWNER, ROLE, RUN, KeptSnapshot


def list_kept(environment: Environment, site: str, state: Path) -> tuple[KeptSnapshot, ...]:
    """List what retirements and replacements kept in a region, by server and age; changes nothing.

    Raises:
        AdapterError: it does not answer, or does not let us look.
    """
    region = region_seen(environment, site, state)
    region.require_account()
    filters = [named(f"tag:{OWNER}", environment.name), named("tag-key", RETIRED)]
    what = f"snapshots kept in {site} could not be listed"
    shown = region.pages("ec2.describe_snapshots", "Snapshots", what, OwnerIds=["self"], Filters=filters)
    seen = (as_kept(one, region.provider) for one in shown)
    return tuple(sorted(seen, key=lambda one: (one.server, one.at, one.id)))


def as_kept(shown: Shown, provider: AwsProvider) -> KeptSnapshot:
    """Read what a snapshot's marks tell of it."""
    tags, at = tags_of(shown), shown["StartTime"].astimezone(UTC)
    return KeptSnapshot(
        id=shown["SnapshotId"],
        site=provider.site,
        server=tags.get(ROLE, ""),
        disk=tags.get(DISK) or tags.get(RETIRED, ""),
        size_bytes=int(shown["VolumeSize"]) * GIB,
        at=at,
        run_id=tags.get(RUN, ""),
        until=_told(tags[UNTIL]) if UNTIL in tags else last_day(at, provider),
    )


def last_day(at: datetime, provider: AwsProvider) -> date:
    """Give the last day that what is made at a moment is kept, as environment.yml says today."""
    return (at + timedelta(seconds=provider.keep_disks_s)).date()


def _told(tag: str) -> date | None:
    """Read a day; what people wrote into the tag that is none keeps the snapshot for good."""
    try:
        return date.fromisoformat(tag)
    except ValueError:
        return None
