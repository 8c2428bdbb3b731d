"""What forbids a deletion that the retention rules would allow. Pure; a guard can only ever keep more.

Every guard looks at one resource in one copy and answers allow, hold (these points stay) or refuse (all
stay). `judge` puts them together: a single refusal keeps everything.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field

from automation.backups.durations import Span
from automation.backups.guard_settings import GuardSettings, MaxDelete
from automation.backups.retention import Retention, distrust, legal_deadline
from automation.model.base import Model, format_duration
from automation.model.recovery_points import Hold, Proof, RecoveryPoint

Answer = Literal["allow", "hold", "refuse"]


class Ruling(NamedTuple):
    """What one guard says, and why; `points` are the ids that it holds."""

    guard: str
    answer: Answer
    reason: str
    points: tuple[str, ...] = ()


class Signals(Model):
    """Figures of the newest backup job, and what was usual before it."""

    files: int = Field(ge=0)
    usual_files: int = Field(ge=0)
    changed_share: float = Field(ge=0, allow_inf_nan=False)
    stored_ratio: float = Field(ge=0, allow_inf_nan=False)
    usual_stored_ratio: float = Field(ge=0, allow_inf_nan=False)
    dump_bytes: int | None = Field(default=None, ge=0)
    missing_sources: tuple[str, ...] = ()
    cleared_by: str = ""  # the person or proof that judged these figures to be right


@dataclass(frozen=True)
class Case:
    """One resource in one copy, with all that the guards look at."""

    retention: Retention
    settings: GuardSettings
    rpo_s: float
    proofs: Sequence[Proof] = ()  # of the whole repository: what one of them shows wrong stops all
    holds: Sequence[Hold] = ()
    signals: Signals | None = None
    policy_digest: str = ""
    accepted_digest: str = ""  # of the policy whose effect was shown last
    marked: Mapping[str, datetime] = field(default_factory=dict)  # when a point was first found expired
    agreed_roles: frozenset[str] = frozenset()
    disk_full: bool = False
    doubts: Sequence[str] = ()  # what was seen and neither a proof nor a person has cleared
    rollback: bool = False  # snapshots of a VM, which are no backup: that none of them grows old is safest

    @property
    def now(self) -> datetime:
        """The time of the decision."""
        return self.retention.now

    @property
    def points(self) -> tuple[RecoveryPoint, ...]:
        """All points there are."""
        return (*(kept.point for kept in self.retention.kept), *self.retention.expired)


class Rotation(NamedTuple):
    """What may be deleted now, and every guard's ruling."""

    delete: tuple[RecoveryPoint, ...]
    held: tuple[RecoveryPoint, ...]
    rulings: tuple[Ruling, ...]
    alarms: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether a guard keeps everything."""
        return any(ruling.answer == "refuse" for ruling in self.rulings)


def judge(case: Case) -> Rotation:
    """Ask every guard, and give what all of them let go; chains of what stays are kept last of all."""
    rulings = [guard(case) for guard in (ROLLBACK_GUARDS if case.rollback else GUARDS)]
    going = _left(case.retention.expired, rulings)
    for guard in () if case.rollback else LATER_GUARDS:
        rulings.append(guard(case, going))
        going = _left(going, rulings[-1:])
    if any(ruling.answer == "refuse" for ruling in rulings):
        going = ()
    ids = {point.id for point in going}
    held = tuple(point for point in case.retention.expired if point.id not in ids)
    return Rotation(going, held, tuple(rulings), tuple(_alarms(case, rulings)))


# --- what freezes everything ----------------------------------------------------------------------


def never_drop_last_verified(case: Case) -> Ruling:
    """Keep the newest point that was proven, and what it is restored from; without one keep all.

    An expired proof counts; a suspended one means that the repository is doubtful. A point that is not whole,
    or of a time that is not believed, is never the newest.
    """
    name, level = "never_drop_last_verified", case.settings.never_drop_last_verified
    listed = {point.id: point for point in case.points}
    if suspended := next((proof for proof in case.proofs if proof.suspended), None):
        return Ruling(name, "refuse", f"the proofs of this repository are suspended: {suspended.suspended}")
    proven = {p.point for p in case.proofs if p.level >= level and p.point in listed and p.at <= case.now}
    last = next((point for point in case.retention.counted if point.id in proven), None)
    if last is None:
        return Ruling(name, "refuse", f"no point is proven at {level.name}; nothing may go until one is")
    chain = _chain(last.id, listed)
    if lacking := sorted(chain - listed.keys()):
        return Ruling(name, "refuse", f"{last.id} is proven at {level.name}, but {lacking[0]} of it is gone")
    return Ruling(name, "hold", f"{last.id} is the newest one proven at {level.name}", tuple(sorted(chain)))


def freeze_if_stale(case: Case) -> Ruling:
    """Keep all while no good new point comes."""
    anchor, setting = case.retention.anchor, case.settings.freeze_if_stale
    if anchor is None:
        return Ruling("freeze_if_stale", "refuse", "there is no good point of a time that can be believed")
    limit_s = setting.about_s if isinstance(setting, Span) else setting.times * case.rpo_s
    age_s = (case.now - anchor.claimed_at).total_seconds()
    if age_s > limit_s:
        said = f"the newest good point is {format_duration(age_s)} old, more than {format_duration(limit_s)}"
        return Ruling("freeze_if_stale", "refuse", said)
    return Ruling("freeze_if_stale", "allow", f"the newest good point is {format_duration(age_s)} old")


def freeze_if_anomalous(case: Case) -> Ruling:
    """Keep all when the newest backup looks as if its source were lost, emptied or encrypted."""
    name = "freeze_if_anomalous"
    if case.signals is None:
        return Ruling(name, "refuse", "the newest backup left no figures to judge it by")
    odd = "; ".join(oddities(case.signals, case.settings))
    if odd and case.signals.cleared_by:
        return Ruling(name, "allow", f"{odd}; cleared by {case.signals.cleared_by}")
    return Ruling(name, "refuse", odd) if odd else Ruling(name, "allow", "the newest backup is as usual")


def freeze_if_doubted(case: Case) -> Ruling:
    """Keep all while a failed job, a failed proof or points that somebody deleted are not cleared."""
    if not case.doubts:
        return Ruling("freeze_if_doubted", "allow", "nothing stands against it")
    return Ruling("freeze_if_doubted", "refuse", "; ".join(case.doubts))


def policy_change(case: Case) -> Ruling:
    """Keep all in the first run of a changed policy: it only shows what it would do."""
    if case.policy_digest and case.policy_digest == case.accepted_digest:
        return Ruling("policy_change", "allow", "the policy is the one whose effect was shown")
    return Ruling(
        "policy_change", "refuse", "the policy is new or was changed; this run only shows its effect"
    )


def failed_never_counts(case: Case) -> Ruling:
    """Say which points are not whole; none of them ever stands in for a good one."""
    broken = [point for point in case.points if point.status != "ok"]
    if not case.retention.counted:
        return Ruling("failed_never_counts", "refuse", f"no point is good; {len(broken)} are not whole")
    return Ruling("failed_never_counts", "allow", f"{len(broken)} points are not whole and fill no period")


# --- what holds single points ---------------------------------------------------------------------


def time_trust(case: Case) -> Ruling:
    """Keep every point whose own time cannot be believed."""
    policy = case.retention.policy
    doubted = [(point, why) for point in case.points if (why := distrust(point, policy, case.now))]
    if not doubted:
        return Ruling("time_trust", "allow", "every point's time fits to when it was seen")
    point, why = doubted[0]
    said = f"{len(doubted)} points of a time that is not believed, first {point.id}: {why}"
    return Ruling("time_trust", "hold", said, tuple(point.id for point, _ in doubted))


def holds(case: Case) -> Ruling:
    """Keep what a person has said must stay."""
    held = {
        point.id: hold
        for hold in reversed(case.holds)
        for point in case.points
        if hold.covers(point, case.now)
    }
    if not held:
        return Ruling("holds", "allow", "nobody holds a point")
    words = dict.fromkeys(
        f"{hold.owner}, until {hold.until.date() if hold.until else 'released'}: {hold.reason}"
        for hold in held.values()
    )
    return Ruling("holds", "hold", "; ".join(words), tuple(held))


def lock_aware(case: Case) -> Ruling:
    """Keep what the store would not let go anyway, and say from when on it would."""
    locked = [p for p in case.retention.expired if p.locked_until is not None and p.locked_until > case.now]
    if not locked:
        return Ruling("lock_aware", "allow", "no expired point is locked")
    last = max(point.locked_until for point in locked if point.locked_until is not None)
    size = sum(point.size_bytes for point in locked)
    said = f"{len(locked)} expired points ({size} bytes) cannot be deleted before {last:%Y-%m-%d %H:%M}"
    return Ruling("lock_aware", "hold", said, tuple(point.id for point in locked))


def in_use(case: Case) -> Ruling:
    """Keep what its provider shows to be in use, and say by what."""
    used = [point for point in case.retention.expired if point.used_by]
    if not used:
        return Ruling("in_use", "allow", "no expired point is in use")
    by = ", ".join(used[0].used_by[:3]) + (", ..." if len(used[0].used_by) > 3 else "")
    said = f"{len(used)} expired points are in use, first {used[0].id} by {by}"
    return Ruling("in_use", "hold", said, tuple(point.id for point in used))


def grace(case: Case) -> Ruling:
    """Keep what was not marked long enough ago, so that a person can still object."""
    zone, span = ZoneInfo(case.retention.policy.tz), case.settings.grace
    fresh = tuple(
        point.id
        for point in case.retention.expired
        if (at := case.marked.get(point.id)) is None or span.after(at, zone) > case.now
    )
    if not fresh:
        return Ruling("grace", "allow", "every expired point was marked long enough ago")
    return Ruling("grace", "hold", f"{len(fresh)} were marked less than {span.words} ago, or now", fresh)


def legal_age(case: Case) -> Ruling:
    """Keep what only the law's age expires until the role agrees that must."""
    rule, deadline = case.retention.policy.keep.delete_after, legal_deadline(case.retention.policy, case.now)
    if rule is None or deadline is None or rule.approve in case.agreed_roles:
        return Ruling("legal_age", "allow", "no deletion waits for a person")
    old = tuple(p.id for p in case.retention.expired if p.claimed_at.timestamp() <= deadline)
    if not old:
        return Ruling("legal_age", "allow", "no deletion waits for a person")
    return Ruling(
        "legal_age", "hold", f"{len(old)} older than {rule.age.words}; {rule.approve} must agree", old
    )


# --- what looks at all that would go --------------------------------------------------------------


def min_keep(case: Case, going: Sequence[RecoveryPoint]) -> Ruling:
    """Keep so many good points whatever the rules say; the newest of those that would go stay."""
    going_ids = {point.id for point in going}
    stay = sum(point.id not in going_ids for point in case.retention.counted)
    lacking = case.settings.min_keep - stay
    if lacking <= 0:
        return Ruling("min_keep", "allow", f"{stay} good points stay")
    good = {point.id for point in case.retention.counted}
    more = tuple(point.id for point in going if point.id in good)[:lacking]
    if not stay and not more:
        return Ruling("min_keep", "refuse", "not one good point would stay")
    said = f"only {stay} good points would stay of at least {case.settings.min_keep}"
    return Ruling("min_keep", "hold", said, more)


def max_delete(case: Case, going: Sequence[RecoveryPoint]) -> Ruling:
    """Let go so many in one run, the oldest first; the others wait for the next one."""
    limit, total = case.settings.max_delete, len(case.points)
    most = most_at_once(limit, total)
    if going and len(going) == total:
        return Ruling("max_delete", "refuse", f"all {total} points would go")
    if len(going) <= most:
        return Ruling("max_delete", "allow", f"{len(going)} of {total} would go")
    said = f"{len(going)} of {total} would go, but {most} is the most for one run; the newer ones wait"
    return Ruling("max_delete", "hold", said, tuple(point.id for point in going[: len(going) - most]))


def most_at_once(limit: MaxDelete, total: int) -> int:
    """Give how many of so many points one run may delete."""
    return min(limit.count, max(int(total * limit.percent / 100), 1))


def keep_chains(case: Case, going: Sequence[RecoveryPoint]) -> Ruling:
    """Keep what a point that stays is restored from."""
    listed = {point.id: point for point in case.points}
    going_ids = {point.id for point in going}
    needed: set[str] = set()
    for point in case.points:
        if point.depends_on and point.id not in going_ids:
            needed |= _chain(point.id, listed) & going_ids
    if not needed:
        return Ruling("keep_chains", "allow", "no point that stays needs one that goes")
    return Ruling(
        "keep_chains", "hold", f"{len(needed)} are needed by points that stay", tuple(sorted(needed))
    )


GUARDS: tuple[Callable[[Case], Ruling], ...] = (
    never_drop_last_verified,
    freeze_if_stale,
    freeze_if_anomalous,
    freeze_if_doubted,
    policy_change,
    failed_never_counts,
    time_trust,
    holds,
    lock_aware,
    in_use,
    grace,
    legal_age,
)
ROLLBACK_GUARDS = (holds,)
LATER_GUARDS: tuple[Callable[[Case, Sequence[RecoveryPoint]], Ruling], ...] = (
    min_keep,
    max_delete,
    keep_chains,
)


def _left(going: Sequence[RecoveryPoint], rulings: Iterable[Ruling]) -> tuple[RecoveryPoint, ...]:
    held = {point for ruling in rulings for point in ruling.points}
    return tuple(point for point in going if point.id not in held)


def _chain(point: str, listed: Mapping[str, RecoveryPoint]) -> set[str]:
    """Give a point and all that it cannot be restored without, also what is not listed."""
    found, open_ = {point}, [point]
    while open_:
        known = listed.get(open_.pop())
        more = set(known.depends_on if known else ()) - found
        found |= more
        open_ += more
    return found


def oddities(signals: Signals, settings: GuardSettings) -> Iterable[str]:
    """Say what is strange in the figures of a job."""
    limits = settings.freeze_if_anomalous
    if signals.missing_sources:
        yield f"{', '.join(signals.missing_sources[:3])} was not there"
    if limits.empty_dump and signals.dump_bytes == 0:
        yield "the dump is empty"
    if signals.usual_files and signals.files < signals.usual_files * (1 - limits.files_drop):
        yield f"{signals.files} files instead of about {signals.usual_files}"
    if signals.changed_share > limits.changed:
        yield f"{signals.changed_share:.0%} of the files are new or changed"
    if signals.usual_stored_ratio and (
        signals.stored_ratio > signals.usual_stored_ratio * limits.stored_ratio_jump
    ):
        now, usual = signals.stored_ratio, signals.usual_stored_ratio
        yield f"files hardly shrink: to {now:.2f}, usually to {usual:.2f}"


def _alarms(case: Case, rulings: Sequence[Ruling]) -> Iterable[str]:
    frozen = [ruling for ruling in rulings if ruling.answer == "refuse"]
    for ruling in frozen:
        yield f"{ruling.guard}: {ruling.reason}"
    if case.disk_full:
        so = "and rotation is frozen; nothing is deleted" if frozen else "rotation goes by its rules alone"
        yield f"the store is full, {so}: a person must make room"
    yield from (r.reason for r in rulings if r.guard == "time_trust" and r.answer == "hold")
