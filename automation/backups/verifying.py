"""Which proofs are due: of every resource, in every store that holds a copy of it. Pure.

A rule of `verify` holds for each store of its resource alike: a copy that nobody ever restored is none.
What is looked at as a whole, a repository's structure (L1) and its bytes (L2), is looked at once for all
resources in it, as often as the strictest of their rules says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.durations import Span
from automation.backups.ledger import Ledger
from automation.backups.resources import Pick, Verify
from automation.backups.spec import Backups
from automation.model.backup_evidence import ProofFailed
from automation.model.recovery_points import Level

# A timer comes some minutes earlier today than yesterday: that is no reason to wait a whole day more.
_EARLY_SHARE, _EARLY_MOST = 0.1, timedelta(hours=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Checked(NamedTuple):
    """A repository was looked at as a whole, or one of its parts was read; both found it good."""

    store: str
    level: Level
    part: int
    parts: int
    at: datetime


class Proven(NamedTuple):
    """A point was restored and found good, and nothing since then made that doubtful."""

    resource: str
    store: str
    point: str
    level: Level
    whole: bool
    at: datetime


@dataclass(frozen=True)
class History:
    """What was proven so far, in any order, of what is still believed.

    `since`: when a store was first seen. `doubtful`: stores in which something was found bad since.
    """

    checks: Sequence[Checked] = ()
    proofs: Sequence[Proven] = ()
    since: Mapping[str, datetime] = field(default_factory=dict)
    doubtful: frozenset[str] = frozenset()


def history_of(ledger: Ledger, backups: Backups) -> History:
    """Give what a ledger knows of proofs; what was proven before something failed there counts no more."""
    checks = [
        Checked(store, one.found.level, one.part, one.found.parts, one.at)
        for store in backups.stores
        for one in ledger.checks.get(store, ())
        if store not in ledger.suspensions or one.at > ledger.suspensions[store].at
    ]
    proofs = [
        Proven(resource, store, found.point, found.level, found.whole, entry.at)
        for (resource, store), several in ledger.proven.items()
        for entry, found in several
        if entry.at > _failed_last(ledger, resource, store)
    ]
    since = {
        store: min(one.by for one in points.values())
        for (_, store), points in sorted(ledger.appeared.items())
        if points
    }
    return History(tuple(checks), tuple(proofs), since, frozenset(ledger.suspensions))


def _failed_last(ledger: Ledger, resource: str, store: str) -> datetime:
    failed = (
        one.at
        for one in ledger.failed_proofs.get(store, ())
        if isinstance(one.found, ProofFailed) and one.found.resource in ("", resource)
    )
    return max(failed, default=_LONG_AGO)


class Duty(NamedTuple):
    """One thing to prove: of a resource in a store, or of a whole repository where `resource` is empty."""

    resource: str
    store: str
    level: Level
    rule: Verify
    last: datetime | None
    part: int = 0
    parts: int = 1
    done: int = 0  # picks of the rule that were proven in this period already

    @property
    def is_whole(self) -> bool:
        """Whether all of a point is looked at, and not a sample."""
        return self.rule.sample in (None, "all")

    @property
    def picks(self) -> tuple[Pick, ...]:
        """Which points are looked at; without a word the newest."""
        return self.rule.pick or (Pick(),)


class Wanted(NamedTuple):
    """What a person or a job asks for; what is empty is not limited."""

    resource: str = ""
    store: str = ""
    level: Level | None = None
    due_only: bool = True

    def takes(self, resource: str, store: str, rule: Verify) -> bool:
        """Whether a rule of a resource is meant, for one of its stores."""
        return (
            self.resource in ("", resource)
            and self.store in ("", store)
            and (self.level is None or rule.level is self.level)
        )


def list_duties(backups: Backups, history: History, wanted: Wanted, now: datetime) -> tuple[Duty, ...]:
    """Give what is to be proven now: repositories first, the cheap looks before the restores.

    Args:
        now: aware.
    """
    zone = ZoneInfo(backups.tz)
    rules = [
        (name, store, rule)
        for name, resource in backups.resources.items()
        for store in resource.to
        for rule in resource.verify
        if rule.by == "verify" and rule.level > Level.L0 and wanted.takes(name, store, rule)
    ]
    restores = tuple(_restores(rules, history, wanted, now, zone))
    left = [one for one in restores if not any(_covers(other, one) for other in restores)]
    duties = [*_checks(backups, rules, history, wanted, now), *left]
    return tuple(sorted(duties, key=lambda duty: (duty.level, duty.store, duty.resource, duty.part)))


def is_due(last: datetime | None, every: Span, now: datetime, zone: ZoneInfo) -> bool:
    """Whether something is to be done again that was done last at a moment; a little early is in time."""
    if last is None:
        return True
    return every.after(last, zone) - min(_EARLY_MOST, timedelta(seconds=every.about_s * _EARLY_SHARE)) <= now


# --- whole repositories ----------------------------------------------------------------------------


def _checks(
    backups: Backups,
    rules: Iterable[tuple[str, str, Verify]],
    history: History,
    wanted: Wanted,
    now: datetime,
) -> Iterator[Duty]:
    by_store: dict[tuple[str, Level], list[Verify]] = {}
    for _, store, rule in rules:
        if rule.level <= Level.L2:
            by_store.setdefault((store, rule.level), []).append(rule)
    for (store, level), several in by_store.items():
        rule = min(several, key=lambda one: (period_s(one), one.every.about_s))
        if level is Level.L2:
            yield from _readings(backups, store, rule, history, wanted, now)
        elif not _reads_anyway(by_store, store, history, now, ZoneInfo(backups.tz), wanted):
            last = _last(check.at for check in history.checks if check.store == store)
            if not wanted.due_only or is_due(last, rule.every, now, ZoneInfo(backups.tz)):
                yield Duty("", store, level, rule, last)


def _reads_anyway(
    by_store: Mapping[tuple[str, Level], Sequence[Verify]],
    store: str,
    history: History,
    now: datetime,
    zone: ZoneInfo,
    wanted: Wanted,
) -> bool:
    """Whether a part of the store is read now: that looks at the structure first."""
    reading = by_store.get((store, Level.L2), ())
    last = _last(c.at for c in history.checks if c.store == store and c.level >= Level.L2)
    return any(not wanted.due_only or is_due(last, rule.every, now, zone) for rule in reading)


def period_s(rule: Verify) -> float:
    """Give the time within which every byte of a repository is read."""
    return rule.every.about_s * (rule.part or 1)


def _readings(
    backups: Backups, store: str, rule: Verify, history: History, wanted: Wanted, now: datetime
) -> Iterator[Duty]:
    whole = backups.stores[store].type == "pgbackrest"  # it reads all of it or nothing
    parts = 1 if whole else rule.part or 1
    every = timedelta(seconds=rule.every.about_s * (rule.part or 1 if whole else 1))
    read = [check for check in history.checks if check.store == store and check.level >= Level.L2]
    last = _last(check.at for check in read)
    if wanted.due_only and last is not None:
        slack = min(_EARLY_MOST, every * _EARLY_SHARE)
        if last + every - slack > now:
            return
    when = {
        part: _last(check.at for check in read if (check.part, check.parts) == (part, parts))
        for part in range(1, parts + 1)
    }
    since = min([*(check.at for check in read), history.since.get(store, now), now])
    chosen = next_parts(when, every, since=since, now=now)
    if store in history.doubtful and not wanted.due_only:
        chosen = tuple(part for part in when if when[part] is None) or chosen
    for part in chosen:
        yield Duty("", store, Level.L2, rule, when[part], part, parts)


def next_parts(
    read: Mapping[int, datetime | None], every: timedelta, *, since: datetime, now: datetime
) -> tuple[int, ...]:
    """Give the parts to read now, the one read longest ago first, so that all are read within the period.

    The period is `every` for each part. One part is read each time; when days were missed, so many more that
    one each time is enough again.

    Args:
        read: every part, with when it was read last; None: never.
        since: when a part that was never read began to wait.
    """
    waiting = sorted(read, key=lambda part: (read[part] is not None, read[part] or since, part))
    deadlines = [(read[part] or since) + every * len(read) for part in waiting]
    count = 1
    for place, deadline in enumerate(deadlines):
        slots = max(0, int((deadline - now) / every))  # readings to come until then, after this one
        count = max(count, place + 1 - slots)
    return tuple(waiting[:count])


# --- points that are restored ----------------------------------------------------------------------


def _restores(
    rules: Iterable[tuple[str, str, Verify]],
    history: History,
    wanted: Wanted,
    now: datetime,
    zone: ZoneInfo,
) -> Iterator[Duty]:
    for resource, store, rule in rules:
        if rule.level <= Level.L2:
            continue
        proofs = sorted(proof.at for proof in history.proofs if _counts(proof, resource, store, rule))
        last = proofs[-1] if proofs else None
        recent = sum(not is_due(at, rule.every, now, zone) for at in proofs)
        if not wanted.due_only:
            yield Duty(resource, store, rule.level, rule, last)
        elif recent < len(rule.pick or (Pick(),)):
            yield Duty(resource, store, rule.level, rule, last, done=recent)


def _covers(other: Duty, one: Duty) -> bool:
    """Whether one duty proves all that another one asks for: all files of a point, and not some of them."""
    if (other.resource, other.store) != (one.resource, one.store) or other is one:
        return False
    more = (other.level, other.is_whole) > (one.level, one.is_whole) and other.is_whole >= one.is_whole
    return more and set(one.picks) <= set(other.picks)


def _counts(proof: Proven, resource: str, store: str, rule: Verify) -> bool:
    """Whether a proof is one that a rule asks for: a sample is none where all is to be looked at."""
    same = (proof.resource, proof.store) == (resource, store) and proof.level >= rule.level
    return same and (proof.whole or rule.sample not in (None, "all"))


def _last(times: Iterable[datetime]) -> datetime | None:
    return max(times, default=None)
