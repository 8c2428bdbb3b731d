"""Random histories and rules, put before restic or borg and before our own account of them."""

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.dialects import Dialect, GoSpan, OldRules, decide_as
from automation.model.recovery_points import RecoveryPoint
from tests.lab.oracles import BorgCase, ResticOracle, Snapshot, ask_borg

ZONES = (
    "UTC",
    "America/New_York",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Europe/London",
    "Asia/Kathmandu",
)
TAGS = ("gold", "litigation", "monthly", "keep-me")
STEPS_S = (60, 900, 3600, 4 * 3600, 86400, 7 * 86400, 40 * 86400)


class Count(NamedTuple):
    """What was compared."""

    snapshots: int = 0
    groups: int = 0
    kept: int = 0
    different: tuple[str, ...] = ()

    def plus(self, other: "Count") -> "Count":
        """Add two counts."""
        return Count(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def make_history(chance: random.Random, now: datetime, most: int) -> list[tuple[datetime, tuple[str, ...]]]:
    """Give times and tags of one group: a cadence with gaps and bursts, offsets that may change midway."""
    step_s = chance.choice(STEPS_S)
    zones = [ZoneInfo(name) for name in chance.sample(ZONES, chance.choice((1, 1, 2)))]
    begin = now - timedelta(seconds=chance.uniform(7200, 86400 * chance.choice((1, 30, 400, 3000))))
    if chance.random() < 0.3:  # ends in a week in which clocks are changed
        begin = datetime(chance.choice((2023, 2024, 2025)), chance.choice((3, 4, 10, 11)), 1, tzinfo=UTC)
        begin += timedelta(days=chance.uniform(0, 31))
    if chance.random() < 0.04:
        begin = now + timedelta(days=chance.uniform(1, 400))
    times: set[datetime] = set()
    at = begin
    for _ in range(chance.randint(1, most)):
        times.add(at.replace(microsecond=chance.choice((0, chance.randrange(10**6)))))
        at -= timedelta(seconds=step_s * chance.choice((1, 1, 1, 1, chance.random(), chance.uniform(1, 30))))
    return [(_local(one, chance.choice(zones)), _tags(chance)) for one in sorted(times)]


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(timezone(at.astimezone(zone).utcoffset() or timedelta()))


def _tags(chance: random.Random) -> tuple[str, ...]:
    return tuple(chance.sample(TAGS, chance.choice((0, 0, 0, 1, 2))))


def make_rules(chance: random.Random, dialect: Dialect) -> OldRules:
    """Give rules as people, scripts and accidents write them: also -1, and tags that nothing bears."""
    counts = [1, 2, 3, 7, 12, 24, 40, -1]
    kinds = ["last", "hourly", "daily", "weekly", "monthly", "yearly"]
    if dialect == "borg-1.4":
        kinds += ["minutely", "quarterly"]
    given: dict[str, object] = {
        kind: chance.choice(counts) for kind in kinds if chance.random() < 0.35 or kind == "daily"
    }
    if chance.random() < 0.4:
        given["within"] = _span(chance, dialect)
    if dialect != "borg-1.4":
        given |= {f"within_{k}": _span(chance, dialect) for k in kinds[1:] if chance.random() < 0.2}
        if chance.random() < 0.3:
            given["tags"] = tuple(
                tuple(chance.sample((*TAGS, "typo"), chance.choice((1, 2))))
                for _ in range(chance.choice((1, 2)))
            )
    return OldRules.model_validate({**given, "tz": chance.choice(ZONES)})


def _span(chance: random.Random, dialect: Dialect) -> GoSpan:
    parts = {
        unit: chance.choice((0, 0, 1, 2, 5, 30))
        for unit in ("months", "days", "hours")
        if chance.random() < 0.6
    }
    if not any(parts.values()):
        parts = {"years": 1}
    if dialect == "restic-0.14" and chance.random() < 0.1:
        parts = {"days": -1}
    return GoSpan(**parts)


def restic_flags(rules: OldRules, dialect: Dialect) -> list[str]:
    """Give the flags of restic's forget for rules; since 0.16 `unlimited` is its word for -1."""
    words = {-1: "unlimited"} if dialect == "restic-0.16" else {}
    counts = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
    flags = [f"--keep-{name}={words.get(n, n)}" for name in counts if (n := getattr(rules, name))]
    spans = ("within", *(f"within_{name}" for name in counts[1:]))
    for name in spans:
        if (span := getattr(rules, name)) != GoSpan():
            length = f"{span.years}y{span.months}m{span.days}d{span.hours}h"
            flags.append(f"--keep-{name.replace('_', '-')}={length}")
    return flags + [f"--keep-tag={','.join(tags)}" for tags in rules.tags]


def compare_with_restic(
    oracle: ResticOracle, dialect: Dialect, chance: random.Random, groups: int, most: int, runs: int
) -> Count:
    """Write random groups, then ask restic and ourselves by several random rules."""
    now = datetime.now(UTC)
    oracle.clear()
    points: dict[str, list[RecoveryPoint]] = {}
    for number in range(groups):
        history = make_history(chance, now, most)
        host = f"host-{number}"
        ids = oracle.write(Snapshot(_go_time(at), host, tags) for at, tags in history)
        points[host] = [
            RecoveryPoint(id=name, resource=host, copy_name="c", claimed_at=at, tags=tags)
            for name, (at, tags) in zip(ids, history, strict=True)
        ]
    total = Count()
    for _ in range(runs):
        rules = make_rules(chance, dialect)
        said = oracle.forget(restic_flags(rules, dialect), rules.tz)
        total = total.plus(_compare(said, points, rules, dialect))
    return total


def _compare(
    said: dict[str, tuple[set[str], set[str]]],
    points: dict[str, list[RecoveryPoint]],
    rules: OldRules,
    dialect: Dialect,
) -> Count:
    now, count = datetime.now(UTC), Count()
    if said.keys() != points.keys():
        raise AssertionError(f"restic answered on {len(said)} groups of {len(points)}")
    for host, mine in points.items():
        keep, remove = said[host]
        ours = decide_as(dialect, mine, rules, now=now)
        same = ours.kept.keys() == keep and set(ours.removed) == remove
        words = f"{dialect} {host} of {len(mine)}, TZ={rules.tz}: {' '.join(restic_flags(rules, dialect))}"
        count = count.plus(Count(len(mine), 1, len(keep), () if same else (words,)))
    return count


def _go_time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def compare_with_borg(chance: random.Random, cases: int, most: int) -> Count:
    """Ask borg's own functions and ourselves about random histories, each with random rules."""
    asked = [_borg_case(chance, most) for _ in range(cases)]
    kept = ask_borg([case for case, _, _ in asked])
    count = Count()
    for (case, rules, points), theirs in zip(asked, kept, strict=True):
        ours = decide_as("borg-1.4", points, rules, now=datetime.fromisoformat(case.now))
        words = f"borg-1.4, TZ={rules.tz}, {rules.model_dump(exclude_defaults=True)}, {len(points)} archives"
        same = ours.kept.keys() == theirs
        count = count.plus(Count(len(points), 1, len(theirs), () if same else (words,)))
    return count


def _borg_case(chance: random.Random, most: int) -> tuple[BorgCase, OldRules, Sequence[RecoveryPoint]]:
    now = datetime(2026, 11, 22, 5, tzinfo=UTC)
    rules = make_rules(chance, "borg-1.4")
    history = make_history(chance, now, most)
    points = [
        RecoveryPoint(id=f"{n:06}", resource="r", copy_name="c", claimed_at=at)
        for n, (at, _) in enumerate(history)
    ]
    named = {"secondly": rules.last, "quarterly_3monthly": rules.quarterly}
    same = ("minutely", "hourly", "daily", "weekly", "monthly", "yearly")
    span = rules.within
    hours = (span.years * 365 + span.months * 31 + span.days) * 24 + span.hours
    case = BorgCase(
        tz=rules.tz,
        now=now.isoformat(),
        within=hours,
        rules=named | {name: getattr(rules, name) for name in same},
        archives=[(point.id, point.claimed_at.astimezone(UTC).isoformat()) for point in points],
    )
    return case, rules, points


def rounds(seed: int) -> Iterator[random.Random]:
    """Give a chance for each round, all from one seed."""
    return (random.Random(f"{seed}/{number}") for number in range(10**9))
