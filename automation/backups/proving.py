"""Proofs as steps: which point, which moment, what is restored where, and what is removed again. Pure.

Random choices are drawn here, from one seed that stands in the reasons of the steps: a plan shows what was
chosen, and the same seed over the same points chooses the same again. Units that use one host or one store
follow each other, so that there is one scratch restore at a time; what fails in one does not stop another,
and what was restored is removed all the same.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.clouds import check_of
from automation.backups.places import repository
from automation.backups.proof_steps import Chosen, Proof, stanza, steps_of
from automation.backups.resources import Pick, Postgresql, PostgresqlDump, Sample
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore, PgbackrestStore, ResticStore
from automation.backups.verifying import Duty
from automation.model.actions import Action, CheckRepository, CheckStanza
from automation.model.base import Model, format_size
from automation.model.plan import Plan, Step
from automation.model.recovery_points import Level, RecoveryPoint

PLAN_NAME = "backup-verify"
# Beside what is restored a host keeps this much: what a full disk stops is more than a proof.
SPARE_BYTES = 256 * 2**20
# Of a cluster is known what it takes packed, and it replays WAL; a loaded dump has indexes, and was packed.
_ROOM_FOR = {"files": 1.1, "postgresql": 5.0, "postgresql-dump": 7.0, "device-config": 2.0}
# WAL is kept from the last full backup before a day began, and looked for from the last one before it ended,
# however long that day was: what a rotation of the same day lets go is not missed.
_A_DAY = timedelta(hours=25)
_PATIENCE_S, _SLOWEST_BYTES_S, _UNKNOWN_S = 1800.0, 4 * 2**20, 6 * 3600.0
# pgBackRest tells the end of a backup in whole seconds: it may have ended later within the last of them.
WHOLE_SECOND = timedelta(seconds=1)
Place = tuple[str, str]


class Moments(NamedTuple):
    """A stretch of time, each moment of which a database can be recovered to."""

    first: datetime
    last: datetime


@dataclass(frozen=True)
class Seen:
    """What was looked at before planning; what is missing was not to be had, for a reason."""

    points: Mapping[Place, Sequence[RecoveryPoint]]
    moments: Mapping[Place, Sequence[Moments]] = field(default_factory=dict)
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of a resource
    primaries: Mapping[str, str] = field(default_factory=dict)  # where its database is written now
    silent: Mapping[str, str] = field(default_factory=dict)  # store that cannot be looked at to why
    blind: Mapping[Place, str] = field(default_factory=dict)  # why nobody knows its moments
    free_bytes: int | None = None  # on the scratch host
    simulated: Collection[str] = ()  # stores at which a simulator answers


class Draw(NamedTuple):
    """From what a plan's random choices and names are made."""

    seed: int
    now: datetime
    point: str = ""  # asked for by a person; empty: as the rules say

    def random(self, duty: Duty, number: int) -> Random:
        """Give the choices of one proof, whatever else is planned with it."""
        return Random(f"{self.seed}:{duty.resource}:{duty.store}:{duty.level.name}:{number}")

    def token(self, number: int) -> str:
        """Name what one proof of this plan restores, unlike any of another plan."""
        return f"verify_{self.now:%Y%m%d_%H%M%S}_{self.seed % 0x10000:04x}_{number}"


class Unit(Model):
    """One proof and its steps; `point` is empty of a repository as a whole."""

    resource: str
    store: str
    level: Level
    point: str = ""
    until: datetime | None = None
    steps: tuple[str, ...]


class LeftOut(Model):
    """A proof that is not tried, and why."""

    resource: str
    store: str
    level: Level
    reason: str


class Proofs(NamedTuple):
    """A plan of proofs, its units in order, and what is left out."""

    plan: Plan
    units: tuple[Unit, ...]
    left_out: tuple[LeftOut, ...]


def plan_proofs(
    backups: Backups, duties: Iterable[Duty], seen: Seen, draw: Draw, *, environment: str
) -> Proofs:
    """Compile what is due into one plan."""
    units: list[tuple[Unit, tuple[Step, ...]]] = []
    left_out: list[LeftOut] = []
    taken: dict[str, str] = {}  # host or store to the last step that used it
    for duty in duties:
        before_it = sum((u.resource, u.store) == (duty.resource, duty.store) for u, _ in units)
        for made in _made(backups, duty, seen, draw, (len(units), before_it)):
            if isinstance(made, LeftOut):
                left_out.append(made)
                continue
            unit, steps = made
            keys = {f"host:{getattr(steps[0].run, 'host', unit.store)}", f"store:{unit.store}"}
            before = tuple(sorted({taken[key] for key in keys if key in taken}))
            units.append((unit, (steps[0].model_copy(update={"after": before}), *steps[1:])))
            taken |= dict.fromkeys(keys, steps[-1].id)
    plan = Plan(
        name=PLAN_NAME,
        environment=environment,
        mode="apply",
        steps=tuple(step for _, steps in units for step in steps),
    )
    return Proofs(plan, tuple(unit for unit, _ in units), tuple(left_out))


def patience_s(size_bytes: int) -> float:
    """Say how long reading or restoring so much may take; 0: nobody knows how much it is."""
    return _PATIENCE_S + size_bytes / _SLOWEST_BYTES_S if size_bytes else _UNKNOWN_S


def size_of(point: RecoveryPoint, points: Sequence[RecoveryPoint]) -> int:
    """Give the size of a point with all that it is restored from."""
    return point.size_bytes + sum(one.size_bytes for one in points if one.id in point.depends_on)


def room_for(kind: str, size_bytes: int) -> int:
    """Say how many free bytes a restore needs where it goes."""
    return int(size_bytes * _ROOM_FOR[kind]) + SPARE_BYTES


# --- one duty --------------------------------------------------------------------------------------

Made = tuple[Unit, tuple[Step, ...]] | LeftOut


def _made(backups: Backups, duty: Duty, seen: Seen, draw: Draw, before: tuple[int, int]) -> list[Made]:
    """Compile one duty; `before`: how many units there are already, and how many of its place."""
    place = (duty.resource, duty.store)
    if duty.store in seen.silent:
        return [_left_out(duty, seen.silent[duty.store])]
    if not duty.resource:
        return [_check(backups, duty, seen, draw.now)]
    if place in seen.blind:
        return [_left_out(duty, seen.blind[place])]
    good = [p for p in seen.points.get(place, ()) if p.status == "ok" and p.claimed_at <= draw.now]
    if draw.point:
        good = [p for p in good if p.id == draw.point]
    if not good:
        return [_left_out(duty, "there is no good point in this store")]
    chosen = list(dict.fromkeys(_choices(backups, duty, good, seen.moments.get(place, ()), draw)))
    wanted = chosen[duty.done :]
    return [
        _restore(
            backups, duty, one, seen, draw, _Number(before[0] + extra, before[1] + extra, extra + duty.done)
        )
        for extra, one in enumerate(wanted)
    ]


def _left_out(duty: Duty, reason: str) -> LeftOut:
    return LeftOut(resource=duty.resource, store=duty.store, level=duty.level, reason=reason)


def _check(backups: Backups, duty: Duty, seen: Seen, now: datetime) -> tuple[Unit, tuple[Step, ...]]:
    """Plan a look at a repository's structure, or the reading of a part of it."""
    store, reads = backups.stores[duty.store], duty.level >= Level.L2
    why = "its structure holds together" if not reads else "every byte of it can be read"
    if reads and duty.parts > 1:
        why = f"part {duty.part} of {duty.parts} can be read; it was last {_when(duty.last)}"
    since = backups.pitr_since(duty.store, now)
    run: Action
    if isinstance(store, AwsStore):
        run, why = check_of(backups, duty.store), "every point has all its parts, whole and encrypted"
    elif isinstance(store, ResticStore):
        run = CheckRepository(
            host=store.keeper.host,
            of=repository(backups, duty.store, store.keeper.host),
            part=duty.part if reads else 0,
            parts=duty.parts if reads else 1,
        )
    else:
        assert isinstance(store, PgbackrestStore)
        run = CheckStanza(
            host=store.keeper.host,
            of=stanza(backups, duty.store),
            bytes_read=reads,
            pitr_since=None if since is None else since + _A_DAY,
            simulated=duty.store in seen.simulated,
        )
    word = f"read-{duty.part}" if reads else "check"
    step = Step(
        id=f"{duty.store}/{word}", run=run, why=why, timeout_s=_UNKNOWN_S, on_failure="continue", retries=2
    )
    return Unit(resource="", store=duty.store, level=duty.level, steps=(step.id,)), (step,)


def _when(at: datetime | None) -> str:
    return f"read {at:%Y-%m-%d}" if at else "read never"


# --- which point, which moment ---------------------------------------------------------------------


def _choices(
    backups: Backups, duty: Duty, good: Sequence[RecoveryPoint], moments: Sequence[Moments], draw: Draw
) -> Iterable[Chosen]:
    zone = ZoneInfo(backups.tz)
    for number, pick in enumerate(duty.picks):
        random = draw.random(duty, number)
        if pick.moment == "random" and moments and not draw.point:
            oldest = min(point.claimed_at for point in good) + WHOLE_SECOND  # nothing is there before
            begin = max(oldest, pick.within.before(draw.now, zone)) if pick.within else oldest
            until = random_moment(moments, random, not_before=begin)
            if fit := [point for point in good if point.claimed_at + WHOLE_SECOND <= until]:
                yield Chosen(max(fit, key=_age_key), until)
                continue
        yield Chosen(_point(pick, good, random, draw.now, zone), None)


def _point(
    pick: Pick, good: Sequence[RecoveryPoint], random: Random, now: datetime, zone: ZoneInfo
) -> RecoveryPoint:
    ordered = sorted(good, key=_age_key)
    if pick.point == "oldest":
        return ordered[0]
    if pick.point == "latest":
        return ordered[-1]
    begin = pick.within.before(now, zone) if pick.within else None
    young = [point for point in ordered if begin is None or point.claimed_at >= begin]
    return random.choice(young or ordered[-1:])


def _age_key(point: RecoveryPoint) -> tuple[datetime, str]:
    return point.claimed_at, point.id


def random_moment(
    moments: Sequence[Moments], random: Random, *, not_before: datetime | None = None
) -> datetime:
    """Draw a full minute of what can be reached, each as likely as any other; a second of a short stretch.

    Args:
        moments: at least one stretch.
        not_before: leave out what is earlier, unless nothing else is there.
    """
    cut = [Moments(max(one.first, not_before), one.last) for one in moments if not_before] or list(moments)
    spans = [one for one in cut if one.first <= one.last] or list(moments)
    minutes = [
        (begin, count)
        for one in spans
        if (begin := _next(one.first, 60)) <= one.last
        for count in [int((one.last - begin) / timedelta(minutes=1)) + 1]
    ]
    if not minutes:
        one = spans[-1]
        begin = _next(one.first, 1)
        return min(
            begin + timedelta(seconds=random.randrange(max(1, int(_s(one.last - begin)) + 1))), one.last
        )
    place = random.randrange(sum(count for _, count in minutes))
    for begin, count in minutes:
        if place < count:
            return begin + timedelta(minutes=place)
        place -= count
    raise AssertionError("a place among the minutes is in one of the stretches")


def _next(at: datetime, seconds: int) -> datetime:
    """Round up to a full minute or second."""
    whole = at.replace(microsecond=0)
    whole -= timedelta(seconds=whole.second % seconds)
    return whole if whole == at else whole + timedelta(seconds=seconds)


def _s(span: timedelta) -> float:
    return span.total_seconds()


# --- a restore that is looked at -------------------------------------------------------------------


class _Number(NamedTuple):
    """The place of a proof in its plan, among those of its resource and store, and in its rule."""

    in_all: int
    in_place: int
    in_rule: int


def _restore(backups: Backups, duty: Duty, chosen: Chosen, seen: Seen, draw: Draw, number: _Number) -> Made:
    source = backups.resources[duty.resource].source
    size = size_of(chosen.point, seen.points[duty.resource, duty.store])
    most = duty.rule.sample.max_bytes if isinstance(duty.rule.sample, Sample) else size
    needed = room_for(source.kind, min(size, most))
    if size and seen.free_bytes is not None and seen.free_bytes < needed:
        free, room = format_size(seen.free_bytes), format_size(needed)
        return _left_out(duty, f"{backups.scratch} has {free} free, and {room} are needed")
    name = f"{duty.resource}/{duty.store}" + (f"/{number.in_place + 1}" if number.in_place else "")
    heavy = isinstance(source, Postgresql | PostgresqlDump)
    steps = steps_of(
        Proof(
            backups,
            duty,
            chosen,
            name=name,
            token=draw.token(number.in_all),
            seed=draw.random(duty, number.in_rule).getrandbits(31),
            why=f"{_said(chosen)} (seed {draw.seed})",
            devices=seen.devices.get(duty.resource, ()),
            primary=seen.primaries.get(duty.resource, ""),
            patience_s=patience_s(size * 2 if heavy else size),
            simulated=duty.store in seen.simulated,
        )
    )
    unit = Unit(
        resource=duty.resource,
        store=duty.store,
        level=duty.level,
        point=chosen.point.id,
        until=chosen.until,
        steps=tuple(step.id for step in steps),
    )
    return unit, steps


def _said(chosen: Chosen) -> str:
    if chosen.until is not None:
        return f"recovered to {chosen.until:%Y-%m-%d %H:%M:%S} UTC"
    return f"the point of {chosen.point.claimed_at:%Y-%m-%d %H:%M}"
