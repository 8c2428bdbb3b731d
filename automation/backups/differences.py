"""What a change of rules changes: which points only the old rule kept, and which only the new one."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from automation.backups.retention import Retention
from automation.model.recovery_points import RecoveryPoint

SHOWN = 5


class Difference(NamedTuple):
    """Two decisions on the same points, beside each other; each list is newest first."""

    old: int
    new: int
    only_old: tuple[RecoveryPoint, ...]
    only_new: tuple[RecoveryPoint, ...]

    def __str__(self) -> str:
        said = f"your old rule kept {self.old}, this one keeps {self.new}"
        if not self.only_old and not self.only_new:
            return f"{said}: the same"
        parts = [f"{len(self.only_new)} more, {_few(self.only_new)}" if self.only_new else ""]
        parts.append(f"no longer {len(self.only_old)}, {_few(self.only_old)}" if self.only_old else "")
        return f"{said}: {'; '.join(part for part in parts if part)}"


def compare_with(old: Collection[str], new: Retention) -> Difference:
    """Compare the ids that another rule keeps with a decision of ours on the same points."""
    ordered = sorted(
        (*(kept.point for kept in new.kept), *new.expired),
        key=lambda point: (point.claimed_at, point.id),
        reverse=True,
    )
    ours = {kept.point.id for kept in new.kept}
    known = set(old) & {point.id for point in ordered}
    return Difference(
        old=len(known),
        new=len(ours),
        only_old=tuple(point for point in ordered if point.id in known - ours),
        only_new=tuple(point for point in ordered if point.id in ours - known),
    )


def _few(points: Sequence[RecoveryPoint]) -> str:
    named = ", ".join(f"{point.claimed_at:%Y-%m-%d %H:%M} ({point.id[:8]})" for point in points[:SHOWN])
    more = len(points) - SHOWN
    return f"{named}{f' and {more} others' if more > 0 else ''}"
