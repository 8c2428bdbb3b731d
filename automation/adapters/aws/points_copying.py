"""Copying points to another region, or to another account whose keys and logins nobody of the first has."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

from automation.adapters.aws.marks import as_tags, specified
from automation.adapters.aws.points import Part, look, points_of
from automation.adapters.aws.points_made import await_complete, lock_all, make_once
from automation.adapters.aws.points_sharing import shared
from automation.adapters.aws.session import Region, region_of
from automation.model.actions.points import COPIED_FROM, CopyVaultPoints
from automation.model.backup_evidence import PointsCopied
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.servers import RUN

# AWS has at most 20 copies of snapshots to one region at work at once.
AT_ONCE = 20


class _Copying(NamedTuple):
    """Two regions, and what is in the second."""

    source: Region
    target: Region
    action: CopyVaultPoints
    ctx: Context

    def there(self) -> set[str]:
        """Give the parts that were copied, or are being copied."""
        parts = look(self.target, (self.action.family,)).of(self.action.resource)
        return {one.copied_from for one in parts}

    def find(self, part: Part) -> tuple[Part, ...]:
        """Look whether a part was copied, or is being copied."""
        there = look(self.target, (self.action.family,)).of(self.action.resource, part.point)
        return tuple(one for one in there if one.copied_from == part.id)


def copy_points(action: CopyVaultPoints, ctx: Context) -> Outcome:
    """Copy each whole point that the target lacks, oldest first, as many at once as AWS does."""
    began = time.monotonic()
    source, target = region_of(ctx, action.source.site), region_of(ctx, action.target.site)
    copying = _Copying(source, target, action, ctx)
    lacking = _lacking(copying)
    for group in _groups(lacking):
        _copy_group(copying, group)
    copied = {parts[0].point: parts[0].point for parts in lacking}
    size = sum(part.size_bytes for parts in lacking for part in parts)
    evidence = PointsCopied(
        resource=action.resource,
        store=action.target.store,
        source=action.source.store,
        points=copied,
        seconds=time.monotonic() - began,
        size_bytes=size,
    )
    said = f"{action.target.store} took over {len(copied)} points of {action.resource}"
    return Outcome(changed=bool(copied), summary=said, evidence=evidence)


def _lacking(copying: _Copying) -> list[tuple[Part, ...]]:
    """Give the parts of every whole point that is not whole in the target, by age."""
    action = copying.action
    here = look(copying.source, (action.family,)).of(action.resource)
    there = look(copying.target, (action.family,)).of(action.resource)
    whole = {point.id for point in points_of(there, action.target.store) if point.status == "ok"}
    points = sorted(points_of(here, action.source.store), key=lambda one: (one.claimed_at, one.id))
    return [
        tuple(part for part in here if part.point == point.id)
        for point in points
        if point.status == "ok" and point.id not in whole and point.id not in action.leave
    ]


def _groups(lacking: Sequence[tuple[Part, ...]]) -> Iterator[list[tuple[Part, ...]]]:
    """Put points together, as many as have not more parts than AWS copies at once; at least one."""
    group: list[tuple[Part, ...]] = []
    for parts in lacking:
        if group and sum(map(len, group)) + len(parts) > AT_ONCE:
            yield group
            group = []
        group.append(parts)
    if group:
        yield group


def _copy_group(copying: _Copying, group: Sequence[tuple[Part, ...]]) -> None:
    """Copy some points, see them complete, and as large as what they are copies of."""
    action = copying.action
    asked = [part for parts in group for part in _asked(parts)]
    with shared(copying.source, copying.target, [part for parts in group for part in parts]):
        there = copying.there()
        for part in asked:
            if part.id not in there:
                find = partial(copying.find, part)
                make_once(copying.target, partial(_copy, copying, part), find)
        wanted = {parts[0].point: len(parts) for parts in group}
        made = await_complete(copying.target, action.family, wanted, action.resource, copying.ctx)
    sizes = {parts[0].point: sum(part.size_bytes for part in parts) for parts in group}
    for point in points_of(made, action.target.store):
        if point.status != "ok" or point.size_bytes != sizes[point.id]:
            raise AdapterError(
                f"copy {point.id} of {action.resource} in {action.target.store} is {point.status} and of "
                f"{point.size_bytes} bytes, its original of {sizes[point.id]}; the original was not touched"
            )
    lock_all(copying.target, made, action.lock)


def _asked(parts: Sequence[Part]) -> Sequence[Part]:
    """Give what is asked for: an image brings its snapshots with it."""
    images = [part for part in parts if part.id.startswith("ami-")]
    return images or parts


def _copy(copying: _Copying, part: Part) -> None:
    source, target, action = copying.source, copying.target, copying.action
    marks = {key: value for key, value in part.tags.items() if not key.startswith("aws:")}
    tags = as_tags({**marks, RUN: copying.ctx.run_id, COPIED_FROM: part.id})
    key: dict[str, Any] = {"KmsKeyId": action.kms_key} if action.kms_key else {}
    what = f"{part.id} of {source.provider.region} could not be copied to {target.provider.region}"
    if part.id.startswith("snap-"):
        target.change(
            "ec2.copy_snapshot",
            what,
            once=True,
            SourceRegion=source.provider.region,
            SourceSnapshotId=part.id,
            Description=f"{action.resource}, copied by Mainstay",
            TagSpecifications=specified(["snapshot"], tags),
            **({"Encrypted": True} if part.encrypted or key else {}),
            **key,
        )
    elif part.id.startswith("ami-"):
        target.change(
            "ec2.copy_image",
            what,
            once=True,
            SourceRegion=source.provider.region,
            SourceImageId=part.id,
            Name=f"mainstay-{action.resource}-{part.point}",
            TagSpecifications=specified(["image", "snapshot"], tags),
            **({"Encrypted": True, **key} if key else {}),
        )
    else:
        _copy_database_snapshot(copying, part, tags, what)


def _copy_database_snapshot(copying: _Copying, part: Part, tags: list[dict[str, str]], what: str) -> None:
    source, target, action = copying.source, copying.target, copying.action
    key: dict[str, Any] = {"KmsKeyId": action.kms_key or "alias/aws/rds"} if part.encrypted else {}
    target.change(
        "rds.copy_db_snapshot",
        what,
        once=True,
        SourceDBSnapshotIdentifier=part.id,
        TargetDBSnapshotIdentifier=part.id.rpartition(":")[2],
        SourceRegion=source.provider.region,
        Tags=tags,
        **key,
    )
