"""Deleting points: by the ids that the plan names and no others, and seen to be gone.

AWS takes one id in a call; calls go in batches, some at once, slower when it says that they come too often.
Before each batch its images are looked at again: what somebody launched from since stays.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from botocore.exceptions import ClientError

from automation.adapters.aws.faults import read_refusal
from automation.adapters.aws.points import Look, Part, look, points_of
from automation.adapters.aws.session import Region, region_of
from automation.model.actions.points import DeleteVaultPoints
from automation.model.backup_evidence import PointsDeleted
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress

BATCH = 200  # members; the most values that a filter of EC2 takes, and some seconds of its rate
AT_ONCE = 8
_GONE = frozenset({"InvalidSnapshot.NotFound", "InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"})


def delete_points(action: DeleteVaultPoints, ctx: Context) -> Outcome:
    """Delete what is still there of the points that are named, then list again and compare."""
    region = region_of(ctx, action.of.site)
    seen = look(region, (action.family,))
    _refuse(action, seen, region)
    there = {part.id: part for part in seen.of(action.resource)}
    done = 0
    for batch in _batches(action, there):
        _refuse_used(action, batch, region)
        _delete_batch(region, batch)
        done += len(batch)
        ctx.say(f"{action.resource} in {action.of.store}: {done} of {len(there)} parts deleted")
    return _compared(action, region, changed=bool(done))


def verify_delete_points(action: DeleteVaultPoints, ctx: Context) -> Progress:
    """Look whether all of it is gone; what is not can be deleted again by the same ids."""
    region = region_of(ctx, action.of.site)
    left = {part.point for part in look(region, (action.family,)).of(action.resource)} & {*action.points}
    if left:
        return Progress(state="not_done", why=f"{len(left)} of {len(action.points)} points are still there")
    return Progress(state="done", outcome=_compared(action, region, changed=True))


def _refuse(action: DeleteVaultPoints, seen: Look, region: Region) -> None:
    """Refuse the whole deletion where anything is not as the plan saw it.

    Raises:
        AdapterError: a point has parts that the plan does not name, is used, or one that must stay is gone.
    """
    parts = seen.of(action.resource)
    going = [part for part in parts if part.point in action.points]
    strange = [part.id for part in going if part.id not in action.members.get(part.point, ())]
    gone = sorted({*action.stay} - {part.point for part in parts})
    if strange or gone:
        what = (
            f"{strange[0]} belongs to a point that goes, and the plan does not name it"
            if strange
            else f"{gone[0]} is gone, which must stay"
        )
        raise AdapterError(f"{action.resource} in {action.of.store}: {what}; nothing was deleted")
    _refuse_used(action, going, region, seen)


def _refuse_used(
    action: DeleteVaultPoints, parts: Sequence[Part], region: Region, seen: Look | None = None
) -> None:
    if seen is None and not any(part.id.startswith("ami-") for part in parts):
        return
    used = (seen or Look(tuple(parts), {})).used(region)
    for part in parts:
        if by := used.get(part.id):
            raise AdapterError(
                f"{part.id} of point {part.point} ({action.resource}) is used by {', '.join(by[:3])}; it was "
                "not deleted, nor was anything after it",
                hint=f"./inv backup.plan --env {region.environment} --resource {action.resource}",
            )


def _batches(action: DeleteVaultPoints, there: dict[str, Part]) -> Iterator[list[Part]]:
    """Put points together, oldest ids of the plan first; a point is not torn apart between two batches."""
    batch: list[Part] = []
    for point in action.points:
        parts = [there[one] for one in action.members.get(point, ()) if one in there]
        if batch and len(batch) + len(parts) > BATCH:
            yield batch
            batch = []
        batch += parts
    if batch:
        yield batch


def _delete_batch(region: Region, batch: Sequence[Part]) -> None:
    """Delete images before their snapshots, which EC2 keeps as long as an image is made of them."""
    images = [part for part in batch if part.id.startswith("ami-")]
    others = [part for part in batch if not part.id.startswith("ami-")]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda part: _delete(region, part), images))
        list(pool.map(lambda part: _delete(region, part), others))


def _delete(region: Region, part: Part) -> None:
    what = f"{part.id} of point {part.point} could not be deleted"
    try:
        if part.id.startswith("ami-"):
            region.change("ec2.deregister_image", what, ImageId=part.id)
        elif part.id.startswith("snap-"):
            region.change("ec2.delete_snapshot", what, SnapshotId=part.id)
        else:
            name = part.id.rpartition(":")[2]
            region.change("rds.delete_db_snapshot", what, DBSnapshotIdentifier=name)
    except AdapterError as exc:
        if not is_gone(exc):
            raise


def is_gone(exc: AdapterError) -> bool:
    """Whether a refusal only says that it is there no more: a call whose answer was lost did it."""
    cause = exc.__cause__
    if not isinstance(cause, ClientError):
        return False
    code = read_refusal(cause).code
    return code in _GONE or code.startswith("DBSnapshotNotFound")


def _compared(action: DeleteVaultPoints, region: Region, *, changed: bool) -> Outcome:
    """List again, until what was deleted is shown no more.

    Raises:
        AdapterError: something of it is still there, or a point that must stay is not whole any more.
    """
    for _ in region.settled():
        parts = look(region, (action.family,)).of(action.resource)
        left = sorted({part.point for part in parts} & {*action.points})
        if not left:
            break
    there = {point.id for point in points_of(parts, action.of.store)}
    if left or (gone := sorted({*action.stay} - there)):
        what = f"{left[0]} is still there" if left else f"{gone[0]} is gone, which must stay"
        raise AdapterError(
            f"{action.resource} in {action.of.store}: {len(action.points)} points were deleted, and {what}",
            transient=bool(left),
        )
    evidence = PointsDeleted(
        resource=action.resource, store=action.of.store, points=action.points, left=len(there)
    )
    said = f"{len(action.points)} points of {action.resource} deleted; {len(there)} are left"
    return Outcome(changed=changed, summary=said, evidence=evidence)
