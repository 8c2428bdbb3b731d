"""Until when a store refuses to delete recovery points, seen from their own objects.

That is the object without which a point is none: a snapshot, a backup's manifest. A rotation waits for the
end of its lock. The data that a point needs may have been written long before, and restic and pgBackRest
never lengthen a lock: `lengthening` does.
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import Field

from automation.adapters.object_store.client import AT_ONCE, Bucket, ObjectVersion
from automation.model.base import Model
from automation.model.records import Context
from automation.model.secrets import SecretRef

_POINT = re.compile(
    r"(?:^|/)snapshots/(?P<restic>[0-9a-f]{64})$"
    r"|(?:^|/)backup/[^/]+/(?P<label>\d{8}-\d{6}F(?:_\d{8}-\d{6}[DI])?)/backup\.manifest$"
)


class Locks(Model):
    """What a store itself keeps undeleted."""

    points: Mapping[str, datetime] = Field(
        default_factory=dict, description="id or label to the end of the lock of its own object"
    )


def locks_of(url: str, login: SecretRef | None, ctx: Context) -> Locks:
    """Read until when the points of a bucket are locked; changes nothing.

    Args:
        url: https://endpoint/bucket[/prefix], or as restic writes it.
        login: lines AWS_ACCESS_KEY_ID= and the like; None: as boto3 finds it.
        ctx: only its secrets, state folder and environment are used.
    """
    bucket = Bucket.of(url, login, ctx)
    shown = (one for one in bucket.versions() if one.latest and not one.marker)
    named = {point: one for one in shown if (point := point_of(one.key))}

    def until(one: ObjectVersion) -> datetime | None:
        retention = bucket.retention(one.key, one.version)
        return retention.until if retention else None

    with ThreadPoolExecutor(AT_ONCE) as threads:
        ends = dict(zip(named, threads.map(until, named.values()), strict=True))
    return Locks(points={point: end for point, end in ends.items() if end is not None})


def point_of(key: str) -> str | None:
    """Give the point whose own object that is; None for any other object."""
    found = _POINT.search(key)
    return (found["restic"] or found["label"]) if found else None
