"""L1 of a region's points: every part there, complete, encrypted, and as large as its original."""

import time
from collections.abc import Iterator, Mapping, Sequence

from automation.adapters.aws.points import Part, look, points_of
from automation.adapters.aws.session import region_of
from automation.model.actions.points import CheckVault
from automation.model.backup_evidence import ProofFailed, RepositoryChecked
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.recovery_points import Level, RecoveryPoint

_NAMED = 10


def check_points(action: CheckVault, ctx: Context) -> Outcome:
    """Look at every point of a region; changes nothing.

    What is left of an older point whose deletion was cut off is no fault: it counts for nothing.

    Raises:
        AdapterError: with evidence; one is not whole, not encrypted, or smaller than what it is a copy of.
    """
    began, region = time.monotonic(), region_of(ctx, action.of.site)
    parts = look(region, action.families).parts
    points = tuple(points_of(parts, action.of.store))
    origins = _origins(action, ctx)
    found = [*_torn(points), *_plain(parts, action), *_shrunk(points, origins)]
    if found:
        evidence = ProofFailed(store=action.of.store, level=Level.L1, found=tuple(found[:_NAMED]))
        raise AdapterError(f"{action.of.store}: {found[0]}", evidence=evidence)
    whole = tuple(sorted(point.id for point in points if point.status == "ok"))
    evidence_ = RepositoryChecked(
        store=action.of.store,
        level=Level.L1,
        part=0,
        parts=1,
        seconds=time.monotonic() - began,
        size_bytes=sum(part.size_bytes for part in parts),
        points=whole,
        source=region.source,
    )
    said = f"{len(whole)} points of {action.of.store} are whole, {len(parts)} parts"
    return Outcome(changed=False, summary=said, evidence=evidence_)


def _torn(points: Sequence[RecoveryPoint]) -> Iterator[str]:
    """Find points that AWS failed to make, and the newest of a resource that lacks a part."""
    newest: dict[str, RecoveryPoint] = {}
    for point in sorted(points, key=lambda one: one.claimed_at):
        newest[point.resource] = point
        if point.status == "failed":
            yield f"AWS says that {point.id} of {point.resource} failed"
    for point in newest.values():
        if point.status == "partial":
            yield f"{point.id}, the newest of {point.resource}, has {len(point.members)} parts and lacks one"


def _plain(parts: Sequence[Part], action: CheckVault) -> Iterator[str]:
    for part in parts if action.encrypted else ():
        if not part.encrypted:
            yield f"{part.id} of {part.point} ({part.resource}) is not encrypted"


def _origins(action: CheckVault, ctx: Context) -> Mapping[tuple[str, str], int]:
    """Give the size of what the points are copies of, as far as that is there still."""
    if action.copy_of is None:
        return {}
    parts = look(region_of(ctx, action.copy_of.site), action.families).parts
    points = points_of(parts, action.copy_of.store)
    return {(one.resource, one.id): one.size_bytes for one in points if one.status == "ok"}


def _shrunk(points: Sequence[RecoveryPoint], origins: Mapping[tuple[str, str], int]) -> Iterator[str]:
    for point in points:
        size = origins.get((point.resource, point.id))
        if size is not None and point.status == "ok" and point.size_bytes != size:
            yield f"copy {point.id} of {point.resource} has {point.size_bytes} bytes, its original {size}"
