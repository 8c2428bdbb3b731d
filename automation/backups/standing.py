"""How every resource stands: its newest good point, how far it is proven, what its copies are worth. Pure.

Red is not only what failed, but what nobody has proven: a proof that is missing, suspended or too old, a copy
that does not have the newest point, a lock that nobody has tried lately.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.archiving import unarchived, unseen_archiving
from automation.backups.doubts import doubts_of
from automation.backups.durations import Span
from automation.backups.guard_settings import TimesRpo
from automation.backups.ledger import SHELF_LIVES, Appeared, Ledger
from automation.backups.locking import lasts
from automation.backups.needed import without_bad
from automation.backups.proof_age import last_proven
from automation.backups.resources import Verify, VsphereSnapshots
from automation.backups.retention import decide
from automation.backups.rotating import stale_base_s
from automation.backups.sighting import Observed
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore
from automation.backups.taking import due_at
from automation.backups.verifying import period_s
from automation.model.backup_evidence import Source
from automation.model.base import Model, format_duration
from automation.model.recovery_points import Level, Proof, RecoveryPoint

# The canary is tried each week; what is older than two of them proves nothing.
CANARY_LIVES = timedelta(days=14)

State = Literal["good", "red", "unknown"]
Place = tuple[str, str]


class ProofSeen(Model):
    """The best proof that is believed, of the newest point that has it."""

    level: Level
    store: str
    at: datetime
    expires: datetime
    point: str
    by: str
    seconds: float
    size_bytes: int
    source: Source = "real"


class CopyStanding(Model):
    """One copy of a resource: what is really there."""

    store: str
    site: str
    medium: str
    points: int = 0
    newest_at: datetime | None = None
    current: bool = False
    locked: bool = False
    locked_until: datetime | None = None  # of the newest point, as its provider says
    lock_proven_at: datetime | None = None
    locks_last: bool = False
    problem: str = ""


class ResourceStanding(Model):
    """One resource: what could be restored, how far that is proven, and all that is wrong."""

    resource: str
    service: str | None
    kind: str
    state: State
    rpo_s: float
    last_good_at: datetime | None
    restorable_to: datetime | None
    age_s: float | None
    proof: ProofSeen | None
    rpo_achieved_s: float | None
    rto_sample_s: float | None
    copies: tuple[CopyStanding, ...]
    immutable: int
    due_at: datetime | None
    frozen: tuple[str, ...] = ()
    wrong: tuple[str, ...]
    unknown: tuple[str, ...]


class BackupStanding(Model):
    """Every resource of an environment at one time."""

    environment: str
    at: datetime
    resources: tuple[ResourceStanding, ...]
    strangers: tuple[str, ...] = ()


class Reach(NamedTuple):
    """How far a database can be restored from one store, and where WAL is missing before that."""

    latest: datetime | None
    gaps: tuple[str, ...] = ()


class Facts(NamedTuple):
    """What a resource is judged by."""

    backups: Backups
    ledger: Ledger
    observed: Observed
    reach: Mapping[Place, Reach]  # of databases, by resource and store
    simulated: frozenset[str] = frozenset()  # stores at a simulator: what they prove is proven of it alone


def stand(facts: Facts, resource: str, rpo_s: float) -> ResourceStanding:
    """Judge one resource; `rpo_s` is what may be lost of it."""
    backups, now = facts.backups, facts.observed.at
    if isinstance(backups.resources[resource].source, VsphereSnapshots):
        return _stand_rollbacks(facts, resource, rpo_s)
    newest = {store: _newest(facts, resource, store) for store in backups.resources[resource].to}
    last = max((one.claimed_at for one in newest.values() if one), default=None)
    limit_s = stale_limit_s(backups, resource, rpo_s, now)
    copies = tuple(_copy(facts, resource, store, newest[store], limit_s) for store in newest)
    proof = _best(facts, resource)
    doubts = tuple(one.line for one in doubts_of(facts.ledger, backups, resource))
    stale = last is None or (now - last).total_seconds() > limit_s
    wrong = tuple(
        dict.fromkeys(
            [
                *_late(facts, resource, last, limit_s),
                *unarchived(backups, facts.observed, resource, rpo_s),
                *doubts,
                *_unproven(facts, resource),
                *_breaks(facts, resource, copies),
            ]
        )
    )
    unknown = (
        *(f"{copy.store} cannot be looked at: {copy.problem}" for copy in copies if copy.problem),
        *_unseen_wal(facts, resource, copies),
        *unseen_archiving(backups, facts.observed, resource),
    )
    moment = _moment(facts, resource)
    known = max((at for at in (moment, last) if at), default=None)
    return ResourceStanding(
        resource=resource,
        service=backups.resources[resource].service,
        kind=backups.resources[resource].source.kind,
        state="red" if wrong else "unknown" if unknown else "good",
        rpo_s=rpo_s,
        last_good_at=last,
        restorable_to=moment,
        age_s=(now - known).total_seconds() if known else None,
        proof=proof,
        rpo_achieved_s=_achieved(facts, resource),
        rto_sample_s=(proof.seconds or None) if proof and proof.level >= Level.L3 else None,
        copies=copies,
        immutable=sum(_is_immutable(copy, now) for copy in copies),
        due_at=due_at(backups, resource, facts.observed),
        frozen=(*doubts, *(("its newest good point is too old",) if stale else ())),
        wrong=wrong,
        unknown=unknown,
    )


def _stand_rollbacks(facts: Facts, resource: str, rpo_s: float) -> ResourceStanding:
    """Judge snapshots of a VM: none is no fault, and one that grows old or a long chain is."""
    (store,) = facts.backups.resources[resource].to
    spec, points = facts.backups.stores[store], facts.observed.points(resource, store)
    seen = facts.observed.stores.get(store)
    newest = max((one.claimed_at for one in points or ()), default=None)
    problem = facts.observed.problem(store) if points is None else ""
    copy = CopyStanding(
        store=store,
        site=spec.site,
        medium=spec.medium,
        points=len(points or ()),
        newest_at=newest,
        problem=problem,
    )
    wrong = seen.alarms if seen is not None else ()
    return ResourceStanding(
        resource=resource,
        service=facts.backups.resources[resource].service,
        kind="vsphere-snapshots",
        state="red" if wrong else "unknown" if problem else "good",
        rpo_s=rpo_s,
        last_good_at=newest,
        restorable_to=None,
        age_s=(facts.observed.at - newest).total_seconds() if newest else None,
        proof=None,
        rpo_achieved_s=None,
        rto_sample_s=None,
        copies=(copy,),
        immutable=0,
        due_at=None,
        wrong=wrong,
        unknown=(f"{store} cannot be looked at: {problem}",) if problem else (),
    )


def stale_limit_s(backups: Backups, resource: str, rpo_s: float, now: datetime) -> float:
    """Give the age beyond which the newest point of a resource is too old, as its guard sees it."""
    setting = backups.guards.freeze_if_stale
    if isinstance(setting, Span):
        return setting.about_s
    assert isinstance(setting, TimesRpo)
    return setting.times * stale_base_s(backups, resource, rpo_s, now)


# --- points and copies ------------------------------------------------------------------------------


def _newest(facts: Facts, resource: str, store: str) -> RecoveryPoint | None:
    """Give the newest good point of a time that is believed."""
    points = facts.observed.points(resource, store)
    if not points:
        return None
    sound = without_bad(points, facts.ledger.found_bad(resource, store))
    return decide(sound, facts.backups.policy(resource, store), now=facts.observed.at).anchor


def _copy(
    facts: Facts, resource: str, store: str, newest: RecoveryPoint | None, limit_s: float
) -> CopyStanding:
    spec, points = facts.backups.stores[store], facts.observed.points(resource, store)
    age_s = (facts.observed.at - newest.claimed_at).total_seconds() if newest else None
    return CopyStanding(
        store=store,
        site=spec.site,
        medium=spec.medium,
        points=len(points or ()),
        newest_at=newest.claimed_at if newest else None,
        current=age_s is not None and age_s <= limit_s,
        locked=spec.lock is not None,
        locked_until=newest.locked_until if newest and isinstance(spec, AwsStore) else None,
        lock_proven_at=facts.ledger.canaries_at.get(store),
        locks_last=_locks_last(facts, store),
        problem=facts.observed.problem(store) if points is None else "",
    )


def _locks_last(facts: Facts, store: str) -> bool:
    """Whether the locks of all that a store shows were lengthened lately."""
    lock, done = facts.backups.stores[store].lock, facts.ledger.lengthened.get(store)
    return lock is not None and done is not None and lasts(lock, done.until, facts.observed.at)


def _is_tried(copy: CopyStanding, now: datetime) -> bool:
    """Whether the store of a copy has lately refused to delete."""
    return copy.lock_proven_at is not None and now - copy.lock_proven_at <= CANARY_LIVES


def _is_immutable(copy: CopyStanding, now: datetime) -> bool:
    """Whether a copy has the newest point, and all that it needs is locked, and the lock was tried.

    A snapshot of EBS needs no other, and its provider says until when it refuses to delete it.
    """
    if copy.locked_until is not None:
        return copy.current and copy.locked_until > now
    return copy.current and copy.locked and copy.locks_last and _is_tried(copy, now)


def _moment(facts: Facts, resource: str) -> datetime | None:
    found = [reach.latest for (name, _), reach in facts.reach.items() if name == resource and reach.latest]
    return max(found, default=None)


def _unseen_wal(facts: Facts, resource: str, copies: tuple[CopyStanding, ...]) -> Iterator[str]:
    if facts.backups.resources[resource].take.wal:
        for copy in copies:
            if copy.points and (resource, copy.store) not in facts.reach:
                yield f"how far the WAL in {copy.store} reaches cannot be seen"


# --- proofs ----------------------------------------------------------------------------------------


def _proofs(facts: Facts, resource: str) -> Iterator[tuple[str, Proof]]:
    spec = facts.backups.resources[resource]
    for store in spec.to:
        yield from ((store, proof) for proof in facts.ledger.proofs(resource, store, spec))


def _best(facts: Facts, resource: str) -> ProofSeen | None:
    """Give the highest proof of what is there that is believed and not too old, the latest of equal ones.

    One in a real store says more than any in a simulated one.
    """
    now = facts.observed.at
    seen = {store: facts.observed.points(resource, store) for store in facts.backups.resources[resource].to}
    there = {(store, one.id) for store, points in seen.items() for one in points or ()}
    good = [
        (store, one)
        for store, one in _proofs(facts, resource)
        if one.is_current(now) and (seen[store] is None or (store, one.point) in there)
    ]
    best = max(good, key=lambda pair: (_is_real(facts, *pair), pair[1].level, pair[1].at), default=None)
    if best is None:
        return None
    store, proof = best
    return ProofSeen(
        level=proof.level,
        store=store,
        at=proof.at,
        expires=proof.expires,
        point=proof.point,
        by=proof.by,
        seconds=proof.seconds,
        size_bytes=proof.size_bytes,
        source="real" if _is_real(facts, store, proof) else "simulated",
    )


def _is_real(facts: Facts, store: str, proof: Proof) -> bool:
    return store not in facts.simulated and proof.source == "real"


def _achieved(facts: Facts, resource: str) -> float | None:
    """Give the age of the newest moment that is proven to be restorable, from a real store."""
    level, now = facts.backups.guards_of(resource).never_drop_last_verified, facts.observed.at
    moments = []
    for store in facts.backups.resources[resource].to:
        if facts.ledger.suspended(store) or store in facts.simulated:
            continue
        bad = facts.ledger.found_bad(resource, store)
        listed = {one.id: one.claimed_at for one in facts.observed.points(resource, store) or ()}
        for _, found in facts.ledger.proven.get((resource, store), ()):
            real = found.source == "real"
            if real and found.level >= level and found.point in listed.keys() - bad:
                moments.append(found.until or listed[found.point])
    return (now - max(moments)).total_seconds() if moments else None


def _unproven(facts: Facts, resource: str) -> Iterator[str]:
    """Say which rules of `verify` are not kept, and in which stores."""
    spec, now = facts.backups.resources[resource], facts.observed.at
    believed = []
    for store in spec.to:
        if suspended := facts.ledger.suspended(store):
            yield f"no proof in {store} is believed: {suspended}"
        else:
            believed.append(store)
    proofs = {store: facts.ledger.proofs(resource, store, spec) for store in believed}
    if not set(spec.to) - facts.simulated:
        yield "it is proven in simulated stores alone"
    for level, rule in {rule.level: rule for rule in _strictest_last(spec.verify)}.items():
        proven = {store: last_proven(facts.ledger, store, rule, proofs[store]) for store in believed}
        last = _by_drill(proven) if rule.by == "drill" else proven
        if never := [store for store, at in last.items() if at is None]:
            yield f"{level.name} was never proven in {', '.join(never)}"
        for store, at in last.items():
            if at and (age_s := (now - at).total_seconds()) > SHELF_LIVES * rule.every.about_s:
                age = format_duration(age_s)
                yield f"{level.name} in {store} was proven {age} ago, and is due every {rule.every.words}"
            elif at and level is Level.L2:
                yield from _unread(facts, store, rule)


def _by_drill(last: Mapping[str, datetime | None]) -> Mapping[str, datetime | None]:
    """A drill copies from one store, that of the other region: what it proves there is all that it can."""
    proven = {store: at for store, at in last.items() if at is not None}
    newest = max(proven, key=lambda store: proven[store], default=None)
    return last if newest is None else {newest: proven[newest]}


def _unread(facts: Facts, store: str, rule: Verify) -> Iterator[str]:
    """Say which parts of a repository nobody has read for long, though others are read."""
    coverage, most_s = facts.ledger.coverage(store), SHELF_LIVES * period_s(rule)
    first = min((one.by for one in _appeared(facts.ledger, store)), default=facts.observed.at)
    read = {part: coverage.read.get(part, first) for part in range(1, coverage.parts + 1)}
    old = [part for part, at in read.items() if (facts.observed.at - at).total_seconds() > most_s]
    if old:
        yield f"{len(old)} of {coverage.parts} parts of {store} were not read for {format_duration(most_s)}"


def _appeared(ledger: Ledger, store: str) -> Iterator[Appeared]:
    for (_, place), points in ledger.appeared.items():
        if place == store:
            yield from points.values()


def _strictest_last(rules: tuple[Verify, ...]) -> list[Verify]:
    return sorted(rules, key=lambda rule: -rule.every.about_s)


# --- what is wrong ----------------------------------------------------------------------------------


def _late(facts: Facts, resource: str, last: datetime | None, limit_s: float) -> Iterator[str]:
    now = facts.observed.at
    seen = any(facts.observed.points(resource, to) is not None for to in facts.backups.resources[resource].to)
    if last is None:
        if seen:
            yield "there is no good point"
        return
    if (age_s := (now - last).total_seconds()) > limit_s:
        yield f"the newest good point is {format_duration(age_s)} old, more than {format_duration(limit_s)}"
    for (name, store), reach in facts.reach.items():
        if name == resource:
            yield from (f"WAL is missing in {store}: {gap}" for gap in reach.gaps)


def _breaks(facts: Facts, resource: str, copies: tuple[CopyStanding, ...]) -> Iterator[str]:
    """Hold the copies that really have the newest point to the rule; one that was not seen is none."""
    rule, zone = facts.backups.rule, ZoneInfo(facts.backups.tz)
    current = [copy for copy in copies if copy.current]
    home = copies[0].site
    counts = {
        "copies": (1 + len(current), rule.copies),
        "media": (len({"disk", *(copy.medium for copy in current)}), rule.media),
        "offsite": (sum(copy.site != home for copy in current), rule.offsite),
        "immutable": (sum(_is_immutable(copy, facts.observed.at) for copy in current), rule.immutable),
    }
    exempt = facts.backups.resources[resource].exempt
    lacking = [
        f"{there} of {most} {word}"
        for word, (there, most) in counts.items()
        if there < most and word not in exempt
    ]
    if lacking:
        yield f"the newest point has {', '.join(lacking)}"
    for copy in copies:
        if not copy.current and not copy.problem:
            last = copy.newest_at
            yield (
                f"{copy.store} has no new point; its last is of {last.astimezone(zone):%Y-%m-%d %H:%M}"
                if last
                else f"{copy.store} has no good point"
            )
        if copy.current and copy.locked:
            yield from _faults_of_lock(facts, copy)


def _faults_of_lock(facts: Facts, copy: CopyStanding) -> Iterator[str]:
    if isinstance(facts.backups.stores[copy.store], AwsStore):
        if copy.locked_until is None or copy.locked_until <= facts.observed.at:
            yield f"the newest point in {copy.store} is not locked"
        return
    if (deleted := facts.ledger.unlocked.get(copy.store)) is not None:
        yield f"the lock of {copy.store} does not hold: {'; '.join(deleted.found)}"
    elif not _is_tried(copy, facts.observed.at):
        yield f"nobody has tried the lock of {copy.store} for {CANARY_LIVES.days} days"
    if not copy.locks_last:
        done, zone = facts.ledger.lengthened.get(copy.store), ZoneInfo(facts.backups.tz)
        yield (
            f"the locks of {copy.store} were not lengthened in time: the first ends "
            f"{done.until.astimezone(zone):%Y-%m-%d %H:%M}"
            if done
            else f"the locks of {copy.store} were never lengthened: what a point needs may be unlocked"
        )
