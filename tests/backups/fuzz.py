"""Random policies, histories, proofs and guards: whatever they are, what must stay stays."""

import random
from datetime import timedelta
from functools import cache
from typing import Any

from automation.backups.guard_settings import GuardSettings
from automation.backups.guards import Case, Rotation, Signals, judge
from automation.backups.retention import decide
from automation.backups.rules import RetentionPolicy
from automation.model.recovery_points import Hold, Level, Proof, RecoveryPoint
from tests.backups.points import NOW, USUAL, make_point

SPANS = ("1 hour", "36 hours", "3 days", "2 months", "1 year")
KINDS = ("last", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly")


def check_one(chance: random.Random) -> int:
    """Judge one random case; give how many points it deletes.

    Raises:
        AssertionError: something was deleted that must stay.
    """
    case = make_case(chance)
    rotation = judge(case)
    going = {point.id for point in rotation.delete}
    good = {point.id for point in case.retention.counted}
    assert going <= {point.id for point in case.retention.expired}
    assert not case.points or len(going) < len(case.points), "the group is empty"
    assert len(good - going) >= min(case.settings.min_keep, len(good)), "fewer good points than min_keep"
    assert not going or verified(case), "nothing is verified, and something goes"
    assert not going & verified(case), "the last verified point goes, or what it is restored from"
    assert not (going and any(proof.suspended for proof in case.proofs)), "a suspended repository"
    assert not any(needed in going for one in case.points if one.id not in going for needed in one.depends_on)
    assert not any(p.locked_until and p.locked_until > NOW for p in rotation.delete), "a locked point"
    assert not any(h.covers(p, NOW) for p in rotation.delete for h in case.holds), "a held point"
    assert all(p.claimed_at <= NOW for p in rotation.delete), "a point of the future"
    if chance.random() < 0.2:
        same_on_a_full_disk(case, rotation)
    return len(going)


def same_on_a_full_disk(case: Case, rotation: Rotation) -> None:
    """A full disk makes nobody delete more."""
    words = {name: getattr(case, name) for name in case.__dataclass_fields__}
    full = judge(Case(**{**words, "disk_full": True}))
    assert full.delete == rotation.delete
    assert any("full" in alarm for alarm in full.alarms)


def verified(case: Case) -> set[str]:
    """The newest good point that is proven so far, with all that it needs; by a way of its own."""
    listed = {point.id: point for point in case.points}
    level = case.settings.never_drop_last_verified
    proven = [
        listed[proof.point]
        for proof in case.proofs
        if proof.level >= level and proof.at <= NOW and proof.point in listed
    ]
    proven = sorted((p for p in proven if p.status == "ok"), key=lambda p: (p.claimed_at, p.id))
    if not proven:
        return set()
    found: set[str] = set()
    needed = [proven[-1].id]
    while needed:
        name = needed.pop()
        found.add(name)
        needed += [one for one in listed[name].depends_on if one in listed and one not in found]
    return found


def make_case(chance: random.Random) -> Case:
    """Give a case in which much may be wrong, and mostly little is."""
    points = make_points(chance)
    policy = make_policy(chance)
    digest = chance.choice(("d", "d", "d", "d", "other"))
    return Case(
        retention=decide(points, policy, now=NOW),
        settings=make_settings(
            chance.choice((1, 2, 3, 10)),
            chance.choice((5, 20, 50)),
            chance.choice((1, 5, 50)),
            chance.choice(("L1", "L2", "L3", "L3", "L4")),
            chance.choice(("2x rpo", "400 days")),
        ),
        rpo_s=chance.choice((3600.0, 864000.0)),
        proofs=make_proofs(chance, points),
        holds=make_holds(chance, points),
        signals=chance.choices((USUAL, strange(chance), None), (18, 1, 1))[0],
        policy_digest="d",
        accepted_digest=digest,
        marked={
            point.id: NOW - timedelta(days=chance.choice((1, 8, 30)))
            for point in points
            if chance.random() < 0.9
        },
        agreed_roles=frozenset(chance.choice(((), ("city-clerk",)))),
    )


@cache
def make_settings(least: int, percent: int, count: int, level: str, stale: str) -> GuardSettings:
    words = {"min_keep": least, "max_delete": {"percent": percent, "count": count}}
    return GuardSettings.model_validate(
        {**words, "never_drop_last_verified": level, "freeze_if_stale": stale}
    )


def strange(chance: random.Random) -> Signals:
    odd = chance.choice(({"files": 100}, {"changed_share": 1.0}, {"stored_ratio": 0.98}, {"dump_bytes": 0}))
    return USUAL.model_copy(update=odd)


def make_policy(chance: random.Random) -> RetentionPolicy:
    keep: dict[str, Any] = {
        kind: chance.choice((1, 1, 2, 5, "all")) for kind in KINDS if chance.random() < 0.25
    }
    if chance.random() < 0.3:
        keep[chance.choice(("all_for", "daily_for", "monthly_for"))] = chance.choice(SPANS)
    keep |= {"keep_oldest": chance.random() < 0.5, "tagged": ["typo"] if chance.random() < 0.1 else []}
    if chance.random() < 0.2:
        keep["delete_after"] = {"age": chance.choice(SPANS), "approve": "city-clerk"}
    if not any(kind in keep or f"{kind}_for" in keep for kind in (*KINDS, "all")):
        keep["last"] = 1
    return RetentionPolicy.model_validate({"tz": chance.choice(("UTC", "America/New_York")), "keep": keep})


def make_points(chance: random.Random) -> list[RecoveryPoint]:
    """Give a history with gaps, chains, failures, clocks that lie, locks and tags."""
    points: list[RecoveryPoint] = []
    step_h = chance.choice((1, 6, 24, 24, 200))
    at = NOW - timedelta(hours=chance.choice((1, 1, 1, 30, 9000)))
    for number in range(chance.randint(0, 14)):
        at -= timedelta(hours=step_h * chance.choice((0, 1, 1, 1, 1, 4)), minutes=chance.choice((0, 7)))
        claimed = at + timedelta(days=chance.choice((0,) * 20 + (30000, 500, -500)))
        points.append(
            make_point(
                claimed,
                f"{number:02}",
                observed_at=chance.choice((None, at, at)),
                status=chance.choice(("ok",) * 9 + ("failed", "partial", "running")),
                tags=chance.choice(((), (), ("litigation",))),
                depends_on=(f"{number + chance.choice((1, 1, 2)):02}",) if chance.random() < 0.3 else (),
                locked_until=chance.choice((None, None, None, NOW + timedelta(days=9))),
            )
        )
    chance.shuffle(points)
    return points


def make_proofs(chance: random.Random, points: list[RecoveryPoint]) -> tuple[Proof, ...]:
    chosen = [point for point in points if chance.random() < 0.5]
    return tuple(
        Proof(
            point=point.id,
            level=chance.choice((Level.L1, Level.L2, Level.L3, Level.L3, Level.L4)),
            at=NOW - timedelta(days=chance.choice((0, 5, 300))),
            expires=NOW + timedelta(days=chance.choice((-290, 5))),
            seconds=60,
            size_bytes=1000,
            by="run-1",
            suspended="a pack is damaged" if chance.random() < 0.01 else "",
        )
        for point in chosen
    )


def make_holds(chance: random.Random, points: list[RecoveryPoint]) -> tuple[Hold, ...]:
    until = chance.choice((None, NOW - timedelta(days=1), NOW + timedelta(days=1)))
    hold = Hold(owner="city-attorney", reason="a court asked", tag="litigation", until=until)
    named = Hold(owner="auditor", reason="audit", point=chance.choice(points).id) if points else hold
    return tuple(one for one in (hold, named) if chance.random() < 0.15)
