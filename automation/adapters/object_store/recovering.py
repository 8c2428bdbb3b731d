"""A clean copy of a repository from the object versions of a moment, past whatever was done to it since."""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime

from automation.adapters.object_store.client import AT_ONCE, Bucket, ObjectVersion, place_of, source_of
from automation.adapters.object_store.moment import (
    Held,
    count_snapshots,
    held_at,
    is_restic,
    name_of_content,
)
from automation.model.actions import RecoverCopy
from automation.model.backup_evidence import CopyRecovered
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome

_TELL_EVERY_S = 5.0


def recover(action: RecoverCopy, ctx: Context) -> Outcome:
    """Copy, server side, what the bucket held at the moment; what the target has already is left."""
    deadline = time.monotonic() + ctx.timeout_s
    source = Bucket.of(action.bucket_url, action.login, ctx)
    target = _apart(source, action)
    ctx.say(f"listing every version in {source.place.url}")
    held = held_at(source.versions(), action.as_of, source.place.prefix)
    _see_whole(held, action)
    wanted = dict(held.objects) | dict(_genuine(held, source))
    had = _prepare(target, wanted)
    lacking = {key: one for key, one in wanted.items() if not _is_copy(had.get(key), one)}
    _copy_all(lacking, source, target, _Teller(ctx, len(wanted), deadline))
    _compare(wanted, target)
    evidence = CopyRecovered(
        store=action.store,
        as_of=action.as_of,
        to=action.to_bucket_url,
        objects=len(wanted),
        size_bytes=sum(one.size_bytes for one in wanted.values()),
        undeleted=held.undeleted,
        gone_before=held.gone_before,
        rewritten=len(held.rewritten),
        copied=len(lacking),
        snapshots=count_snapshots(wanted) if is_restic(wanted) else 0,
        source=source_of(action.bucket_url, ctx),
    )
    return Outcome(changed=bool(lacking), summary=_summary(evidence, held), evidence=evidence)


def _summary(evidence: CopyRecovered, held: Held) -> str:
    parts = [
        f"{evidence.objects} objects ({evidence.size_bytes} bytes) as of {_told(evidence.as_of)} are in "
        f"{evidence.to}, {evidence.copied} copied now",
        f"{evidence.undeleted} of them had been deleted or overwritten since",
    ]
    if evidence.snapshots:
        parts.append(f"{evidence.snapshots} snapshots: look which are yours, before one is restored")
    if evidence.rewritten:
        parts.append(f"{evidence.rewritten} had been overwritten before, the genuine content was sought")
    if held.last_gone_at is not None:
        parts.append(
            f"{evidence.gone_before} were deleted before that moment and are left out, "
            f"the last at {_told(held.last_gone_at)}"
        )
    return "; ".join(parts)


def _told(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _apart(source: Bucket, action: RecoverCopy) -> Bucket:
    """Open the target, which must be another bucket of the same endpoint."""
    place = place_of(action.to_bucket_url)
    if place.endpoint != source.place.endpoint:
        raise AdapterError(
            f"{place.url} is at another endpoint than {source.place.url}: the store cannot copy to it; "
            "nothing was changed",
            hint=f"name a new bucket at {source.place.endpoint}",
        )
    if place.name == source.place.name:
        raise AdapterError(
            f"{place.url} is in the bucket that was attacked; nothing was changed",
            hint="name a new bucket, to which nobody else has a login",
        )
    return source.elsewhere(place)


def _see_whole(held: Held, action: RecoverCopy) -> None:
    """See that there was something at the moment, and of a restic repository what opens it."""
    keys = held.objects.keys()
    lacks = [] if keys else ["any object"]
    if is_restic(keys):
        lacks += [] if "config" in keys else ["its config"]
        lacks += [] if any(key.startswith("keys/") for key in keys) else ["a key"]
    if lacks:
        ago = f", the last at {_told(held.last_gone_at)}" if held.last_gone_at else ""
        raise AdapterError(
            f"{action.bucket_url} lacked {' and '.join(lacks)} at {_told(action.as_of)}; "
            f"{held.gone_before} objects were deleted before{ago}; nothing was changed",
            hint="name an earlier moment: before the attack began",
        )


def _genuine(held: Held, source: Bucket) -> Iterable[tuple[str, ObjectVersion]]:
    """Of objects that restic names by their content, choose the newest version that has it."""
    for key, versions in held.rewritten.items():
        name = name_of_content(key)
        if name is None:
            continue
        for one in versions:
            if source.sha256(one.key, one.version) == name:
                yield key, one
                break


def _prepare(target: Bucket, wanted: Mapping[str, ObjectVersion]) -> Mapping[str, ObjectVersion]:
    """Make the target if it is not there; give what it has, of which nothing may be foreign."""
    if not target.is_there():
        target.make()
    had = _current(target)
    foreign = sorted(had.keys() - wanted.keys())
    if foreign:
        raise AdapterError(
            f"{target.place.url} holds {len(foreign)} objects that are not of the copy ({foreign[0]} ..); "
            "nothing was changed in it",
            hint="name an empty bucket, or one that this very copy was begun in",
        )
    if not target.keeps_versions():
        target.keep_versions()
    return had


def _current(bucket: Bucket) -> Mapping[str, ObjectVersion]:
    return {
        one.key.removeprefix(bucket.place.prefix): one
        for one in bucket.versions()
        if one.latest and not one.marker
    }


def _is_copy(there: ObjectVersion | None, wanted: ObjectVersion) -> bool:
    """Whether an object is the copy already; one that was sent in parts has an etag of another kind."""
    if there is None or there.size_bytes != wanted.size_bytes:
        return False
    return there.etag == wanted.etag or "-" in there.etag or "-" in wanted.etag


class _Teller:
    """Says how far the copy is, and when its time is up."""

    def __init__(self, ctx: Context, objects: int, deadline: float) -> None:
        self._ctx = ctx
        self._objects = objects
        self.deadline = deadline
        self._told = time.monotonic()

    def tell(self, left: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._ctx.say(f"{self._objects - left} of {self._objects} objects are there")
        if left and now > self.deadline:
            raise AdapterError(
                f"the time of the step is up, {left} of {self._objects} objects are not copied yet; "
                "what was copied stays",
                hint=f"it goes on from there: ./inv run.resume --env {self._ctx.environment.name} "
                f"--run {self._ctx.run_id}",
            )


def _copy_all(lacking: Mapping[str, ObjectVersion], source: Bucket, target: Bucket, teller: _Teller) -> None:
    """Copy many at once; the first that fails ends it, and what was copied stays."""

    def copy(key: str, one: ObjectVersion) -> None:
        target.copy(one, source.place, target.place.prefix + key)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        begun = [threads.submit(copy, key, one) for key, one in lacking.items()]
        try:
            teller.tell(len(begun))
            for number, one in enumerate(as_completed(begun), start=1):
                one.result()
                teller.tell(len(begun) - number)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _compare(wanted: Mapping[str, ObjectVersion], target: Bucket) -> None:
    """List the target again: exactly what was wanted must be there, byte for byte as long."""
    there = _current(target)
    wrong = [
        key for key, one in wanted.items() if key not in there or there[key].size_bytes != one.size_bytes
    ]
    foreign = there.keys() - wanted.keys()
    if wrong or foreign:
        raise AdapterError(
            f"{target.place.url} is no whole copy: {len(wrong)} objects lack or differ, {len(foreign)} are "
            "foreign; what was copied stays",
            hint="see who else writes there, then resume the run",
        )
