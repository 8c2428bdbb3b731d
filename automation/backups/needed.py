"""What stays though the rules would let it go: something else may be worth less than it seems. Pure."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from automation.backups.retention import decide
from automation.backups.rules import RetentionPolicy
from automation.backups.spec import Backups
from automation.model.recovery_points import Hold, RecoveryPoint

OWNER = "policy"


def pitr_holds(
    backups: Backups, resource: str, points: Sequence[RecoveryPoint], now: datetime
) -> tuple[Hold, ...]:
    """Hold what every moment of a database's window is restored from: the newest point before it begins.

    That point and what it depends on, down to its full backup, stay; so does the oldest good one while none
    is older than the window.
    """
    window = backups.resources[resource].keep.pitr_window
    good = sorted(
        (one for one in points if one.status == "ok" and one.claimed_at <= now),
        key=lambda one: (one.claimed_at, one.id),
    )
    if window is None or not good:
        return ()
    begins = window.before(now, ZoneInfo(backups.tz))
    before = [one for one in good if one.claimed_at <= begins]
    anchor = before[-1] if before else good[0]
    listed = {one.id: one for one in points}
    chain, waiting = {anchor.id}, [anchor.id]
    while waiting:
        known = listed.get(waiting.pop())
        more = set(known.depends_on if known else ()) - chain
        chain |= more
        waiting += more
    return _held(chain, f"every moment of the last {window.words} is restored from it")


def without_bad(points: Sequence[RecoveryPoint], bad: Collection[str]) -> list[RecoveryPoint]:
    """Give points as they count: one of which a proof failed stands in for no good one."""
    return [one.model_copy(update={"status": "failed"}) if one.id in bad else one for one in points]


def bad_holds(
    points: Sequence[RecoveryPoint], bad: Collection[str], policy: RetentionPolicy, now: datetime
) -> tuple[Hold, ...]:
    """Hold the bad points that the rules would keep if they were good: it may be the proof that was wrong."""
    if not bad:
        return ()
    kept = decide(points, policy, now=now).reasons.keys() & set(bad)
    return _held(kept, "a proof of it failed; were it good, it would be kept")


def _held(points: Iterable[str], reason: str) -> tuple[Hold, ...]:
    return tuple(Hold(owner=OWNER, reason=reason, point=point) for point in sorted(points))
