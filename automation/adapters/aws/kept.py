"""Snapshots that were kept of disks when their servers went: nothing of ours removes them."""

from datetime import UTC
from pathlib import Path

from automation.adapters.aws.creating import GIB
from automation.adapters.aws.marks import DISK, RETIRED, named, tags_of
from automation.adapters.aws.session import Shown, region_seen
from automation.model.environment import Environment
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
    seen = region.pages("ec2.describe_snapshots", "Snapshots", what, OwnerIds=["self"], Filters=filters)
    return tuple(sorted((_kept(one, site) for one in seen), key=lambda one: (one.server, one.at, one.id)))


def _kept(shown: Shown, site: str) -> KeptSnapshot:
    tags = tags_of(shown)
    return KeptSnapshot(
        id=shown["SnapshotId"],
        site=site,
        server=tags.get(ROLE, ""),
        disk=tags.get(DISK) or tags[RETIRED],
        size_bytes=int(shown["VolumeSize"]) * GIB,
        at=shown["StartTime"].astimezone(UTC),
        run_id=tags.get(RUN, ""),
    )
