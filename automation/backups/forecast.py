"""What rotation will do if backups go on as they do: when each point goes, how many there are. Pure."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from automation.backups.retention import Retention, decide
from automation.model.recovery_points import RecoveryPoint

ASSUMED = "if a good point comes every {every}, the policy stays as it is, and no guard holds anything"


class Day(NamedTuple):
    """One rotation of the future."""

    at: datetime
    kept: int
    size_bytes: int
    expired: tuple[RecoveryPoint, ...]


def departures(retention: Retention, every_s: float, until: datetime) -> Mapping[str, datetime | None]:
    """Give the time in UTC at which each kept point will be expired; None: not until then.

    Args:
        retention: what was decided.
        every_s: seconds from one good point to the next, counted on from the newest one (see ASSUMED).
        until: aware; how far to look. A look of 400 days at six points a day takes about a second.
    """
    found: dict[str, datetime | None] = {kept.point.id: None for kept in retention.kept}
    for day in simulate(retention, every_s, until):
        found |= {point.id: day.at for point in day.expired if point.id in found}
    return found


def simulate(retention: Retention, every_s: float, until: datetime) -> Iterator[Day]:
    """Rotate by the same planner each time that a new point will have come, as large as the newest one.

    What is expired is taken for deleted at once; a point whose time is not believed stays.
    """
    anchor = retention.anchor
    if anchor is None:
        return
    there = [kept.point for kept in retention.kept]
    at = anchor.claimed_at.astimezone(UTC)
    number = 0
    while (at := at + timedelta(seconds=every_s)) <= until:
        number += 1
        new = {
            "id": f"to-come-{number:06}",
            "claimed_at": at,
            "observed_at": at,
            "depends_on": (),
            "tags": (),
        }
        there.append(anchor.model_copy(update=new | {"locked_until": None}))
        found = decide(there, retention.policy, now=max(at, retention.now))
        there = [kept.point for kept in found.kept]
        yield Day(at, len(there), sum(point.size_bytes for point in there), found.expired)
