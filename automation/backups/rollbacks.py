"""Snapshots of VMs as rollback guards: what may stay, and how such a resource stands. Pure.

They are no backup: their VM's datastore holds them. So no rule of retention and no proof is asked; what is
older than it may be goes, or more than a chain may have, the oldest first. What a person holds stays.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from automation.backups.retention import Kept, Reason, Retention
from automation.backups.rules import RetentionPolicy
from automation.model.actions.points import LONGEST_CHAIN, OLDEST_ROLLBACK_S
from automation.model.recovery_points import RecoveryPoint


def decide_rollbacks(points: Sequence[RecoveryPoint], policy: RetentionPolicy, *, now: datetime) -> Retention:
    """Split the snapshots of a VM into kept and expired; `all_for` counts from now, 48 hours at most."""
    span = policy.keep.all_for
    limit = timedelta(seconds=min(span.about_s if span else OLDEST_ROLLBACK_S, OLDEST_ROLLBACK_S))
    ordered = sorted(points, key=lambda one: (one.claimed_at, one.id), reverse=True)
    kept: list[Kept] = []
    expired: list[RecoveryPoint] = []
    for point in ordered:
        if len(kept) < LONGEST_CHAIN and now - point.claimed_at <= limit:
            words = f"one of {LONGEST_CHAIN}, and not older than {limit.total_seconds() / 3600:.0f} h"
            kept.append(Kept(point, (Reason("rollback", words=words),)))
        else:
            expired.append(point)
    return Retention(policy, now, tuple(ordered), (), tuple(kept), tuple(expired))
