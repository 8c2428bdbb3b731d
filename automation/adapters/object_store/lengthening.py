"""Locks that last as long as an object is needed, whatever wrote it and however long ago.

A lock begins when an object is written, and restic and pgBackRest never touch it again. A new snapshot needs
packs that were written long before; once their locks have run out, who has the store's credentials can delete
them for good, and the newest snapshot with them. So what a store shows is locked anew, as if it were written
now. A lock that still lasts long enough is left as it is: an object costs a request to look at it, and only
now and then one to lock it.

What a delete marker hides is no longer needed, if it was a rotation that deleted it: it is not locked anew,
only counted. So an attack must be noticed, and `recover-copy` run, before those locks run out.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

from automation.adapters.object_store.client import AT_ONCE, Bucket, ObjectVersion, Retention, source_of
from automation.adapters.object_store.locks import point_of
from automation.adapters.object_store.moment import LEFT_OUT, name_of_content
from automation.model.actions import LengthenLocks
from automation.model.backup_evidence import LocksLengthened
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome

_BATCH = 1000  # objects between two looks at the clock
_TELL_EVERY_S = 5.0
_ROUNDED = 0.99  # months are of 28 to 31 days, the default of a bucket is of whole days


def lengthen_locks(action: LengthenLocks, ctx: Context) -> Outcome:
    """Lock anew what would not be locked for long enough; done again at once, it changes nothing."""
    teller = _Teller(ctx)
    bucket = Bucket.of(action.bucket_url, action.login, ctx)
    now = datetime.now(UTC).replace(microsecond=0)  # a store's clock has seconds
    locker = _Locker(bucket, action, now, now + _span(action, bucket))
    shown = _Shown(bucket.place.prefix, frozenset(action.running_out))
    sum_ = _Sum()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        needed = shown.needed(bucket.versions())
        while batch := list(islice(needed, _BATCH)):
            teller.tell(sum_)
            for one in threads.map(locker.lock, batch):
                sum_ = sum_.with_(one)
    evidence = LocksLengthened(
        store=action.store,
        objects=sum_.objects,
        lengthened=sum_.lengthened,
        lapsed=sum_.lapsed,
        running_out=shown.running_out,
        hidden=shown.hidden,
        overwritten=shown.overwritten,
        until=sum_.until or locker.until,
        source=source_of(action.bucket_url, ctx),
    )
    return Outcome(
        changed=bool(sum_.lengthened), summary=f"{action.store}: {evidence.words}", evidence=evidence
    )


def _span(action: LengthenLocks, bucket: Bucket) -> timedelta:
    """Give how long to lock: as declared, and never longer than the bucket itself does.

    A lock of compliance cannot be taken back by anybody: a wrong number in a file of ours must not bind a
    city for years. The owner of the bucket has said how long it may be.
    """
    default, wanted = bucket.default_lock(), timedelta(seconds=action.lock_s)
    if default is not None and default.span >= wanted * _ROUNDED:
        return min(default.span, wanted)
    found = "has no default lock" if default is None else f"locks for {default.span.days} d"
    raise AdapterError(
        f"no lock of {action.store} was lengthened: its bucket {found}, declared are "
        f"{wanted / timedelta(days=1):g} d; nothing was changed",
        hint=f"give the bucket Object Lock with a default of {action.lock_mode} for so long, or correct "
        f"`lock` of {action.store} in backups.yml",
    )


class _Locked(NamedTuple):
    """How one object is locked now."""

    until: datetime
    lengthened: bool = False
    lapsed: bool = False


class _Sum(NamedTuple):
    """How all objects are locked that were looked at."""

    objects: int = 0
    lengthened: int = 0
    lapsed: int = 0
    until: datetime | None = None

    def with_(self, one: _Locked) -> "_Sum":
        until = one.until if self.until is None else min(self.until, one.until)
        return _Sum(self.objects + 1, self.lengthened + one.lengthened, self.lapsed + one.lapsed, until)


class _Locker:
    """Locks one object after the other."""

    def __init__(self, bucket: Bucket, action: LengthenLocks, now: datetime, until: datetime) -> None:
        self._bucket, self._action, self._now, self.until = bucket, action, now, until
        self._least = now + timedelta(seconds=action.least_s)

    def lock(self, one: ObjectVersion) -> _Locked:
        """Lock a version anew if its lock would end too soon, in the mode that it has."""
        had = self._bucket.retention(one.key, one.version)
        if had is not None and had.until >= self._least:
            return _Locked(had.until)
        wanted = Retention(had.mode if had else self._action.lock_mode, self.until)
        if not self._bucket.lock(one.key, one.version, wanted):
            return _Locked(self._by_another(one, wanted))
        return _Locked(wanted.until, lengthened=True, lapsed=had is None or had.until <= self._now)

    def _by_another(self, one: ObjectVersion, wanted: Retention) -> datetime:
        """Give the end of a lock that another lengthened meanwhile, who cannot be overruled."""
        now = self._bucket.retention(one.key, one.version)
        if now is not None and now.until >= wanted.until:
            return now.until
        raise AdapterError(
            f"the login of {self._action.store} may lock nothing: {one.key} was to be locked "
            f"({wanted.mode}) until {wanted.until:%Y-%m-%d %H:%M} UTC, and the store refused; "
            "what was lengthened before it stays",
            hint=f"give `login` of {self._action.store} the right to put retention (s3:PutObjectRetention), "
            "and no host that saves",
        )


class _Shown:
    """Chooses what a store shows and what is needed; counts the rest.

    Versions come by key, and of one key the newest first.
    """

    def __init__(self, prefix: str, running_out: frozenset[str]) -> None:
        self._prefix, self._expired = prefix, running_out
        self.hidden = self.overwritten = self.running_out = 0

    def needed(self, versions: Iterable[ObjectVersion]) -> Iterator[ObjectVersion]:
        """Give the current version of every object that is to stay."""
        current: ObjectVersion | None = None
        for one in versions:
            key = one.key.removeprefix(self._prefix)
            if key.startswith(LEFT_OUT):
                continue
            if one.marker:
                self.hidden += one.latest
            elif not one.latest:
                if current is not None and _replaced(one, current, key):
                    self.overwritten += 1
                    current = None  # counted once
            else:
                current = one
                if point_of(key) in self._expired:
                    self.running_out += 1
                else:
                    yield one


def _replaced(old: ObjectVersion, current: ObjectVersion, key: str) -> bool:
    """Whether an object that is named by its content has another one than before."""
    same = (old.etag, old.size_bytes) == (current.etag, current.size_bytes)
    return old.key == current.key and not same and name_of_content(key) is not None


class _Teller:
    """Says how far it is, and when the time of the step is up."""

    def __init__(self, ctx: Context) -> None:
        self._ctx, self._told = ctx, time.monotonic()
        self._deadline = self._told + ctx.timeout_s

    def tell(self, done: _Sum) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._ctx.say(f"{done.objects} objects looked at, {done.lengthened} locks lengthened")
        if now > self._deadline:
            raise AdapterError(
                f"the time of the step is up, {done.objects} objects were looked at; the "
                f"{done.lengthened} locks that were lengthened stay",
                hint=f"./inv backup.canary --env {self._ctx.environment.name} looks at all of them again, "
                "and locks the others",
            )
