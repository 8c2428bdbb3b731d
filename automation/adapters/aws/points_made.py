"""What is the same for all that makes points: their marks, the wait until they are complete, their locks."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from automation.adapters.aws.points import Part, look
from automation.adapters.aws.session import Region
from automation.model.actions.points import PARTS, POINT, RESOURCE, TAKEN, Family, PointLock
from automation.model.errors import AdapterError
from automation.model.records import Context
from automation.model.servers import OWNER, RUN

_PAUSE_S, _LONGEST_PAUSE_S, _DAY_S = 0.2, 30.0, 86400.0
_COMPLIANCE_COOLS_H = 1  # the shortest time in which a compliance lock can still be lifted


def point_id(ctx: Context, resource: str) -> str:
    """Name the point that this step makes, the same whenever it is tried."""
    words = f"{ctx.run_id}\0{ctx.step_id}\0{resource}"
    return f"pt-{hashlib.sha256(words.encode()).hexdigest()[:17]}"


def marks_of(ctx: Context, resource: str, point: str, taken: datetime, parts: int) -> dict[str, str]:
    """Give the marks that every part of a point bears from its first moment."""
    return {
        OWNER: ctx.environment.name,
        RUN: ctx.run_id,
        RESOURCE: resource,
        POINT: point,
        TAKEN: taken.isoformat(timespec="seconds"),
        PARTS: str(parts),
    }


def make_once(region: Region, make: Callable[[], object], find: Callable[[], Sequence[Part]]) -> None:
    """Make what was seen not to be there; of a call whose answer was lost, look what became of it.

    Raises:
        AdapterError: it was refused, or it is not there; either way it was not made.
    """
    try:
        make()
    except AdapterError as exc:
        if not exc.unknown:
            raise
        for _ in region.settled():
            if find():
                return
        raise AdapterError(f"{exc}; it was looked for, and is not there", transient=True) from exc


def await_complete(
    region: Region, family: Family, wanted: Mapping[str, int], resource: str, ctx: Context
) -> tuple[Part, ...]:
    """Wait until each of some points has all its parts, complete or failed.

    Args:
        wanted: how many parts each point has.

    Raises:
        AdapterError: they are not complete in the time of the step; the next attempt goes on waiting.
    """
    deadline, pause_s = time.monotonic() + ctx.timeout_s, _PAUSE_S
    while True:
        parts = tuple(one for one in look(region, (family,)).of(resource) if one.point in wanted)
        waiting = sum(one.status == "running" for one in parts)
        lacking = sum(wanted.values()) - len(parts)
        if not waiting and lacking <= 0:
            return parts
        if time.monotonic() > deadline:
            raise AdapterError(
                f"{waiting} parts of {resource} in {region.provider.site} are not complete and {lacking} not "
                f"there after {ctx.timeout_s:.0f} s; AWS goes on with them",
                transient=True,
            )
        ctx.say(f"{resource}: waiting for {waiting + max(lacking, 0)} of {sum(wanted.values())} parts")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def lock_all(region: Region, parts: Sequence[Part], lock: PointLock | None) -> None:
    """Have EC2 refuse to delete snapshots for a time; one that is locked so long already is left alone."""
    for part in parts if lock is not None else ():
        if not part.id.startswith("snap-"):
            continue
        assert lock is not None
        more: dict[str, Any] = {"CoolOffPeriod": _COMPLIANCE_COOLS_H} if lock.mode == "compliance" else {}
        region.change(
            "ec2.lock_snapshot",
            f"snapshot {part.id} could not be locked",
            SnapshotId=part.id,
            LockMode=lock.mode,
            LockDuration=max(1, round(lock.span_s / _DAY_S)),
            **more,
        )
