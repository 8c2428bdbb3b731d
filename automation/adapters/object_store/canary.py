"""The canary: whether a store really refuses to delete what is locked.

Nothing but our own small objects is ever touched. They are locked by the bucket's default alone: a lock that
we ask for would prove nothing about what restic and pgBackRest write there.
"""

from datetime import UTC, datetime, timedelta

from automation.adapters.object_store.client import Bucket, Default, Retention, source_of
from automation.model.actions import TryDelete
from automation.model.backup_evidence import CanaryRefused, NotImmutable
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome

CANARIES = "mainstay-canary/"
_STRICTNESS = {"governance": 1, "compliance": 2}
_SLACK = timedelta(minutes=10)  # clocks of the store and of this machine


def try_delete(action: TryDelete, ctx: Context) -> Outcome:
    """Write a canary, try to delete it by version, and see that it is still there."""
    bucket = Bucket.of(action.bucket_url, action.login, ctx)
    default = _default_lock(action, bucket, ctx)
    swept = _sweep(bucket, datetime.now(UTC))
    key = f"{bucket.place.prefix}{CANARIES}{ctx.run_id}-{ctx.step_id.replace('/', '-')}"
    version = bucket.put(key, f"A canary of Mainstay, run {ctx.run_id}: deleting it must fail.\n".encode())
    retention = _lock_of(action, bucket, key, version, ctx)
    refused = bucket.delete(key, version)
    if refused and default.mode == "governance":
        lifted = not bucket.delete(key, version, lift_governance=True)
        if lifted:
            raise _not_immutable(action, ctx, "this login may lift the lock (governance), and did")
    if not refused:
        raise _not_immutable(action, ctx, f"version {version} of {key} was deleted in spite of its lock")
    if not bucket.has(key, version):
        raise _not_immutable(action, ctx, f"deleting was refused ({refused}), yet {key} is gone")
    evidence = CanaryRefused(
        store=action.store,
        key=key,
        version=version,
        locked_until=retention.until,
        refused_with=refused,
        refused_by="lock" if _may_delete(bucket, key) else "rights",
        source=source_of(action.bucket_url, ctx),
    )
    summary = (
        f"{action.store} refused to delete {key} ({refused.split(':')[0]}), locked ({retention.mode}) until "
        f"{retention.until:%Y-%m-%d %H:%M} UTC"
    )
    if swept:
        summary += f"; {swept} old canaries removed"
    if evidence.refused_by == "rights":
        summary += "; this login may delete no version at all, so its lock is read, not tried"
    return Outcome(changed=True, summary=summary, evidence=evidence)


def _may_delete(bucket: Bucket, key: str) -> bool:
    """Whether this login may delete a version that no lock protects: the marker that hides our canary."""
    marker = bucket.hide(key)
    return bool(marker) and not bucket.delete(key, marker)


def _default_lock(action: TryDelete, bucket: Bucket, ctx: Context) -> Default:
    """Give the lock that everything written to the bucket gets; one that is too weak is a failure."""
    if not bucket.keeps_versions():
        raise _not_immutable(action, ctx, "the bucket keeps no versions: what is overwritten is gone")
    default = bucket.default_lock()
    if default is None:
        raise _not_immutable(action, ctx, "the bucket has no default lock: nothing written to it is locked")
    if _STRICTNESS.get(default.mode, 0) < _STRICTNESS[action.lock_mode]:
        raise _not_immutable(action, ctx, f"its lock is {default.mode}, not {action.lock_mode}")
    if default.span.total_seconds() < action.lock_s:
        wanted = timedelta(seconds=action.lock_s)
        raise _not_immutable(action, ctx, f"it locks for {default.span.days} d, not {wanted.days} d")
    return default


def _lock_of(action: TryDelete, bucket: Bucket, key: str, version: str, ctx: Context) -> Retention:
    """Read back how the canary is locked."""
    if not version:
        raise _not_immutable(action, ctx, f"{key} got no version")
    retention = bucket.retention(key, version)
    if retention is None:
        raise _not_immutable(action, ctx, f"{key} was written and is not locked")
    least = datetime.now(UTC) + timedelta(seconds=action.lock_s) - _SLACK
    if retention.until < least:
        raise _not_immutable(action, ctx, f"{key} is locked until {retention.until:%Y-%m-%d %H:%M} UTC only")
    return retention


def _sweep(bucket: Bucket, now: datetime) -> int:
    """Delete canaries of before whose lock has ended; give how many went."""
    swept = 0
    for old in tuple(bucket.versions(CANARIES)):
        retention = None if old.marker else bucket.retention(old.key, old.version)
        if retention is None or retention.until <= now:
            swept += not bucket.delete(old.key, old.version)
    return swept


def _not_immutable(action: TryDelete, ctx: Context, found: str) -> AdapterError:
    return AdapterError(
        f"{action.store} is NOT immutable: {found}; nothing but our own canary was touched",
        hint=f"do not count {action.store} as the immutable copy: give the bucket versioning and a default "
        f"lock ({action.lock_mode}), then ./inv backup.canary --env {ctx.environment.name} again",
        evidence=NotImmutable(store=action.store, found=(found,), source=source_of(action.bucket_url, ctx)),
    )
