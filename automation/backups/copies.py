"""Copies that nobody can delete: trying whether that is so, and putting one together again. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from automation.backups.guards import Case, judge
from automation.backups.locking import least_s
from automation.backups.retention import decide
from automation.backups.rotating import Decision
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore, PgbackrestStore, ResticStore, Store, VsphereStore
from automation.model.actions import CheckRepository, LengthenLocks, RecoverCopy, TryDelete
from automation.model.actions.restic import Repository
from automation.model.errors import ConfigError
from automation.model.plan import Plan, Step
from automation.model.secrets import SecretRef

CANARY_PLAN = "backup-canary"
RECOVER_PLAN = "backup-recover-copy"
_CANARY_S, _LENGTHEN_S, _RECOVER_S, _CHECK_S = 120.0, 12 * 3600.0, 24 * 3600.0, 6 * 3600.0


def bucket_of(store: Store) -> str:
    """Give the address of a store's bucket; empty where it is in none that we can name.

    restic takes s3:HOST/BUCKET for s3:https://HOST/BUCKET.
    """
    if isinstance(store, AwsStore | VsphereStore):
        return ""
    if isinstance(store, PgbackrestStore):
        return store.bucket
    url = store.repository.removeprefix("s3:")
    if url == store.repository or url.startswith("http://"):
        return ""
    return url if url.startswith("https://") else f"https://{url}"


def login_of(store: Store) -> SecretRef | None:
    """Give where the login of a store's bucket stands."""
    return store.login if isinstance(store, ResticStore | PgbackrestStore) else None


def locked_stores(backups: Backups) -> tuple[str, ...]:
    """Give the stores that are said to refuse deletions, and that can be asked to."""
    return tuple(name for name, one in backups.stores.items() if one.lock and bucket_of(one))


def plan_canary(
    backups: Backups,
    stores: Iterable[str],
    *,
    environment: str,
    running_out: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
) -> Plan:
    """Plan to try each lock on a small object of our own, and to lengthen those of what is needed.

    What one store does stops no other.

    Args:
        running_out: of a store, the points whose locks are left alone, so that a rotation can delete them.

    Raises:
        ConfigError: one of them is in no bucket, or is not said to be locked.
    """
    steps = []
    for name in stores:
        store = backups.stores[name]
        if not store.lock or not bucket_of(store):
            raise ConfigError(
                f"{name} is no locked bucket; nothing was touched",
                hint=f"stores with a lock: {', '.join(locked_stores(backups)) or 'none'}",
            )
        run = TryDelete(
            store=name,
            bucket_url=bucket_of(store),
            login=login_of(store),
            lock_mode=store.lock.mode,
            lock_s=store.lock.span.about_s * 0.99,  # months are of 28 to 31 days
        )
        why = f"{store.lock.mode} for {store.lock.span.words}, or so it is declared"
        tried = Step(
            id=f"{name}/canary", run=run, why=why, timeout_s=_CANARY_S, on_failure="continue", retries=1
        )
        steps += [tried, _lengthen(name, store, tried, running_out.get(name, ()))]
    return Plan(name=CANARY_PLAN, environment=environment, mode="apply", steps=tuple(steps))


def _lengthen(name: str, store: Store, tried: Step, running_out: tuple[str, ...]) -> Step:
    assert store.lock is not None
    run = LengthenLocks(
        store=name,
        bucket_url=bucket_of(store),
        login=login_of(store),
        lock_mode=store.lock.mode,
        lock_s=store.lock.span.about_s,
        least_s=least_s(store.lock),
        running_out=running_out,
    )
    return Step(
        id=f"{name}/locks",
        run=run,
        why="a new point needs what was written long ago, whose locks would end",
        after=(tried.id,),
        timeout_s=_LENGTHEN_S,
        on_failure="continue",
        retries=1,
    )


def running_out(decisions: Iterable[Decision]) -> Mapping[str, tuple[str, ...]]:
    """Give of each store the points that a rotation would delete, and that only its lock keeps.

    Were their locks lengthened as all others are, nothing would ever be rotated there. While anything is
    doubtful there are none: then all is locked anew.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for one in decisions:
        if one.case is not None:
            found[one.store] |= {point.id for point in judge(_as_unlocked(one.case)).delete}
    return {store: tuple(sorted(points)) for store, points in found.items()}


def _as_unlocked(case: Case) -> Case:
    """Give a case as it is when all locks have ended, who must agree did, and one run deletes any number."""
    policy = case.retention.policy
    points = [point.model_copy(update={"locked_until": None}) for point in case.points]
    most = case.settings.max_delete.model_copy(update={"percent": 100.0, "count": max(len(points), 1)})
    return replace(
        case,
        retention=decide(points, policy, now=case.now),
        settings=case.settings.model_copy(update={"max_delete": most}),
        agreed_roles=frozenset({policy.keep.delete_after.approve} if policy.keep.delete_after else ()),
    )


def plan_recovery(backups: Backups, name: str, as_of: datetime, to: str, *, environment: str) -> Plan:
    """Plan to put the objects of a moment together in another bucket, and to look if it opens.

    Raises:
        ConfigError: the store is in no bucket, or the target is no other one.
    """
    store, bucket = backups.stores[name], bucket_of(backups.stores[name])
    target = to.removeprefix("s3:").rstrip("/")
    if not bucket:
        raise ConfigError(f"{name} is in no bucket; nothing was touched", hint="--store one with https://...")
    if not target.startswith("https://") or target == bucket.rstrip("/"):
        raise ConfigError(
            f"--to {to} is no other bucket; nothing was touched",
            hint=f"a new one at the same endpoint: {bucket.rstrip('/')}-recovered",
        )
    recover = RecoverCopy(
        store=name, bucket_url=bucket, login=login_of(store), as_of=as_of, to_bucket_url=target
    )
    why = f"what it held at {as_of:%Y-%m-%d %H:%M:%S} UTC, whatever was deleted since"
    first = Step(id=f"{name}/recover", run=recover, why=why, timeout_s=_RECOVER_S, retries=2)
    steps: tuple[Step, ...] = (first,)
    if isinstance(store, ResticStore):
        of = Repository(store=f"{name}-recovered", url=f"s3:{target}", credentials=name)
        check = CheckRepository(host=store.keeper.host, of=of)
        looked = Step(
            id=f"{name}/check",
            run=check,
            why="it opens and holds together",
            needs=(first.id,),
            timeout_s=_CHECK_S,
        )
        steps = (first, looked)
    return Plan(name=RECOVER_PLAN, environment=environment, mode="apply", steps=steps)


def restore_from(name: str, backups: Backups, to: str, env: str) -> tuple[str, ...]:
    """Give what to do next with a copy that was put together again."""
    target = to.removeprefix("s3:").rstrip("/")
    store = backups.stores[name]
    if isinstance(store, PgbackrestStore):
        bucket = target.rpartition("/")[2]
        return (
            f"on the host that restores, in /etc/pgbackrest.conf: repo{store.repo}-s3-bucket={bucket}",
            f"pgbackrest --stanza={store.stanza} --repo={store.repo} info shows what can be restored",
        )
    named = next((one for one, resource in backups.resources.items() if name in resource.to), "NAME")
    flags = f"--resource {named} --at latest --store {name} --repository s3:{target} --to HOST"
    return (f"./inv backup.restore --env {env} {flags}",)
