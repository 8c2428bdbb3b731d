"""Recovery points, policies and cases that a test changes in one respect."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from automation.backups.guard_settings import GuardSettings
from automation.backups.guards import Case, Signals
from automation.backups.retention import Retention, decide
from automation.backups.rules import RetentionPolicy
from automation.model.recovery_points import Level, Proof, RecoveryPoint

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
USUAL = Signals(files=2000, usual_files=2000, changed_share=0.01, stored_ratio=0.27, usual_stored_ratio=0.26)
CITY = {"last": 3, "daily": 7, "weekly": 4, "monthly": 12, "yearly": 3}


def make_point(at: datetime | str, name: str = "", **more: Any) -> RecoveryPoint:
    claimed = datetime.fromisoformat(at) if isinstance(at, str) else at
    words = {"resource": "r", "copy_name": "nas", **more}
    return RecoveryPoint(id=name or f"p-{claimed.astimezone(UTC):%Y%m%dT%H%M%S}", claimed_at=claimed, **words)


def every(step: timedelta, count: int, until: datetime = NOW, **more: Any) -> list[RecoveryPoint]:
    """So many points at equal distances, the newest first, an hour before a time."""
    return [make_point(until - timedelta(hours=1) - step * number, **more) for number in range(count)]


def dailies(count: int, until: datetime = NOW, **more: Any) -> list[RecoveryPoint]:
    return every(timedelta(days=1), count, until, **more)


def make_policy(tz: str = "America/New_York", **keep: Any) -> RetentionPolicy:
    return RetentionPolicy.model_validate({"tz": tz, "keep": keep or CITY})


def kept_ids(retention: Retention) -> list[str]:
    return [kept.point.id for kept in retention.kept]


def prove(point: RecoveryPoint, level: Level = Level.L3, **more: Any) -> Proof:
    at = max(point.claimed_at, NOW - timedelta(days=400)) + timedelta(minutes=5)
    words = {"at": at, "expires": at + timedelta(days=7), "seconds": 60.0, "size_bytes": 1000, "by": "run-1"}
    return Proof(point=point.id, level=level, **(words | more))


def make_case(points: Iterable[RecoveryPoint], policy: RetentionPolicy | None = None, **more: Any) -> Case:
    """A case in which every guard lets go what the rules let go, but for the newest proven point."""
    listed = list(points)
    now = more.pop("now", NOW)
    retention = decide(listed, policy or make_policy(), now=now)
    good = [point for point in listed if point.status == "ok" and point.claimed_at <= now]
    words: dict[str, Any] = {
        "settings": GuardSettings(max_delete={"percent": 50, "count": 10_000}, min_keep=1),
        "rpo_s": 86400.0,
        "proofs": (prove(good[0]),) if good else (),
        "signals": USUAL,
        "policy_digest": "d",
        "accepted_digest": "d",
        "marked": {point.id: now - timedelta(days=8) for point in listed},
    }
    return Case(retention=retention, **(words | more))
