"""Until when a store refuses to delete recovery points, seen from its objects.

restic and pgBackRest write an object once and never lengthen its lock. So a point has two ends: that of its
own object (a snapshot, a backup's manifest), before which a rotation could not delete it; and that of the
oldest data that it may need. A new snapshot refers to packs written long ago, whose locks ended long ago:
after that an attacker with the store's credentials can still ruin it. Which packs a snapshot needs stands in
restic's encrypted index alone; the oldest object of the whole repository is the bound that always holds, and
it costs one request.
"""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from pydantic import Field

from automation.adapters.object_store.canary import CANARIES
from automation.adapters.object_store.client import AT_ONCE, Bucket, ObjectVersion
from automation.model.base import Model
from automation.model.environment import SecretRef
from automation.model.records import Context

_POINT = re.compile(
    r"(?:^|/)snapshots/(?P<restic>[0-9a-f]{64})$"
    r"|(?:^|/)backup/[^/]+/(?P<label>\d{8}-\d{6}F(?:_\d{8}-\d{6}[DI])?)/backup\.manifest$"
)
_PASSING = re.compile(rf"(?:^|/)(?:locks/|{CANARIES})")


class Locks(Model):
    """What a store itself keeps undeleted."""

    points: Mapping[str, datetime] = Field(
        default_factory=dict, description="id or label to the end of the lock of its own object"
    )
    all_until: datetime | None = Field(
        default=None, description="no object at all can be deleted before; none: the oldest is not locked"
    )


def locks_of(url: str, login: SecretRef | None, ctx: Context) -> Locks:
    """Read until when the points of a bucket are locked; changes nothing.

    Args:
        url: https://endpoint/bucket[/prefix], or as restic writes it.
        login: lines AWS_ACCESS_KEY_ID= and the like; None: as boto3 finds it.
        ctx: only its secrets, state folder and environment are used.
    """
    bucket = Bucket.of(url, login, ctx)
    current = [
        one
        for one in bucket.versions()
        if one.latest and not one.marker and not _PASSING.search(one.key.removeprefix(bucket.place.prefix))
    ]
    if not current:
        return Locks()

    def until(one: ObjectVersion) -> datetime | None:
        retention = bucket.retention(one.key, one.version)
        return retention.until if retention else None

    named = {found["restic"] or found["label"]: one for one in current if (found := _POINT.search(one.key))}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        ends = dict(zip(named, threads.map(until, named.values()), strict=True))
    return Locks(
        points={point: end for point, end in ends.items() if end is not None},
        all_until=until(min(current, key=lambda one: one.modified)),
    )
