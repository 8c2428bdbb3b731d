"""Deleting what was kept of a server's disks: by the ids that the plan saw, all of them or none.

Before the first call every one is looked at again: whether it is what the plan saw, its days are over, and no
image, launch template or lock needs it.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from automation.adapters.aws.kept import as_kept
from automation.adapters.aws.marks import RETIRED, named, tags_of
from automation.adapters.aws.points import HELD
from automation.adapters.aws.points_deleting import is_gone
from automation.adapters.aws.points_usage import templates_with
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import DeleteKept
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import OWNER, KeptSnapshot

_MOST_VALUES = 200  # that a filter of EC2 takes


def delete_kept(action: DeleteKept, ctx: Context) -> Outcome:
    """Delete what is still there of the snapshots that are named, then look until they are gone."""
    region = region_of(ctx, action.site)
    there = _shown(region, action)
    _refuse_changed(region, action, there)
    _refuse_used(region, action, [one["SnapshotId"] for one in there])
    for one in there:
        _delete(region, action, one["SnapshotId"])
    return _gone(region, action, changed=bool(there))


def verify_delete_kept(action: DeleteKept, ctx: Context) -> Progress:
    """Look whether all of them are gone; what is not can be deleted again by the same ids."""
    region = region_of(ctx, action.site)
    if left := _shown(region, action):
        why = f"{len(left)} of {len(action.snapshots)} snapshots are still there"
        return Progress(state="not_done", why=why)
    return Progress(state="done", outcome=_gone(region, action, changed=True))


def _shown(region: Region, action: DeleteKept) -> list[Shown]:
    """Give what is there under the plan's ids, whatever it bears."""
    region.require_account()
    ids, found = [one.id for one in action.snapshots], list[Shown]()
    what = f"snapshots kept of {action.host} could not be looked at"
    for first in range(0, len(ids), _MOST_VALUES):
        some = [named("snapshot-id", *ids[first : first + _MOST_VALUES])]
        found += region.pages("ec2.describe_snapshots", "Snapshots", what, OwnerIds=["self"], Filters=some)
    return found


def _refuse_changed(region: Region, action: DeleteKept, there: Sequence[Shown]) -> None:
    """See that each is ours, was kept of this server, is what the plan saw, and that its days are over."""
    planned, today = {one.id: one for one in action.snapshots}, datetime.now(UTC).date()
    for shown in there:
        tags, seen = tags_of(shown), as_kept(shown, region.provider)
        if tags.get(OWNER) != region.environment or RETIRED not in tags or seen.server != action.host:
            _refuse(region, action, f"{seen.id} does not bear the mark of what was kept of it")
        if seen != planned[seen.id]:
            _refuse(region, action, f"{seen.id} is not what the plan saw: {_told_of(planned[seen.id], seen)}")
        if not seen.is_over(today):
            _refuse(region, action, f"{seen.id} is kept until {seen.until or 'a day that its tag must tell'}")


def _told_of(planned: KeptSnapshot, seen: KeptSnapshot) -> str:
    names = (name for name, old in vars(planned).items() if getattr(seen, name) != old)
    return ", ".join(f"{name} was {getattr(planned, name)}, is {getattr(seen, name)}" for name in names)


def _refuse_used(region: Region, action: DeleteKept, ids: Sequence[str]) -> None:
    """See that no image is made of them, no launch template makes disks of them, and no lock holds them."""
    if not ids:
        return
    used = [*_images(region, ids), *_locks(region, ids)]
    used += [(id_, by) for id_, names in templates_with(region, ids).items() for by in names]
    if used:
        told = "; ".join(f"{id_} is used by {by}" for id_, by in used[:3])
        _refuse(region, action, f"{told}{f'; and {len(used) - 3} more' if len(used) > 3 else ''}")


def _refuse(region: Region, action: DeleteKept, why: str) -> None:
    raise AdapterError(
        f"what was kept of server {action.host} at {action.site} could not be deleted: {why}; nothing was "
        "deleted by this attempt",
        hint=f"./inv provision.show --env {region.environment} shows what is kept; once that is as it should "
        f"be, ./inv provision.retire --env {region.environment} --host {action.host} --kept plans anew",
    )


def _images(region: Region, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    what = f"images of {region.provider.site} could not be listed"
    for image in region.pages("ec2.describe_images", "Images", what, Owners=["self"], IncludeDisabled=True):
        for disk in image.get("BlockDeviceMappings", ()):
            if (id_ := disk.get("Ebs", {}).get("SnapshotId", "")) in ids:
                yield id_, f"image {image['ImageId']}"


def _locks(region: Region, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    what = f"locks of snapshots of {region.provider.site} could not be read"
    for one in region.pages("ec2.describe_locked_snapshots", "Snapshots", what):
        if one["SnapshotId"] in ids and one.get("LockState") in HELD:
            yield one["SnapshotId"], f"a lock ({one['LockState']})"


def _delete(region: Region, action: DeleteKept, id_: str) -> None:
    what = f"{id_}, kept of server {action.host}, could not be deleted"
    try:
        region.change("ec2.delete_snapshot", what, SnapshotId=id_)
    except AdapterError as exc:
        if not is_gone(exc):
            raise


def _gone(region: Region, action: DeleteKept, *, changed: bool) -> Outcome:
    """Look until none of them is shown any more, and name them all for the journal.

    Raises:
        AdapterError: one is still there.
    """
    for _ in region.settled():
        if not (left := _shown(region, action)):
            break
    if left:
        raise AdapterError(
            f"snapshots kept of {action.host} were deleted, and {left[0]['SnapshotId']} is still there",
            transient=True,
        )
    evidence = ProviderChange(
        provider="aws",
        site=action.site,
        what="snapshots",
        name=action.host,
        verb="deleted",
        ids={f"snapshot:{one.disk}:{one.id}": one.id for one in action.snapshots},
        source=region.source,
    )
    count = len(action.snapshots)
    said = f"{count} snapshots kept of {action.host} {'deleted' if changed else 'were gone already'}"
    return Outcome(changed=changed, summary=said, evidence=evidence)
