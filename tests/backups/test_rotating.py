"""What a rotation notes, marks and deletes; and the disasters, each of which deletes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.backups.entries import Entry, PointsMissed, PointsSeen
from automation.backups.folding import fold
from automation.backups.guard_settings import MaxDelete
from automation.backups.ledger import Ledger
from automation.backups.needed import pitr_holds
from automation.backups.rotating import Decision, decide_one, deleted, plan_rotation
from automation.backups.rules import RetentionRules
from automation.backups.sighting import Observed, StoreSeen, news, observe
from automation.backups.spec import Backups
from automation.model.actions import AcceptPolicy, ExpireBackups, ForgetPoints, MarkPoints, ReclaimSpace
from automation.model.backup_evidence import PointsDeleted, PointsMarked, PolicyAccepted, SpaceReclaimed
from automation.model.plan import Plan
from automation.model.recovery_points import Level, RecoveryPoint
from tests.backups.entries import (
    NOW,
    cleared,
    entry,
    make_backups,
    proof_failed,
    proven,
    take_failed,
    taken,
)
from tests.backups.points import make_point

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Backups:
    return make_backups(tmp_path_factory.mktemp("policy"))


@dataclass
class World:
    """The share in its first store, in order: a point a day, proven, shown and marked long ago."""

    backups: Backups
    days: int = 20
    story: list[Entry] = field(default_factory=list)
    points: list[RecoveryPoint] = field(default_factory=list)
    problem: str = ""
    disk_full: bool = False
    now: datetime = NOW

    def __post_init__(self) -> None:
        for day in range(self.days):
            at = NOW - HOUR - day * DAY
            self.story.append(taken(f"p{day:02}", at, claimed_at=at))
            self.points.append(make_point(at, f"p{day:02}", resource="share"))
        self.story += [
            proven("p01", NOW - HOUR),
            entry(PolicyAccepted(resource="share", store="nas", policy_digest=self.digest), NOW - 9 * DAY),
            entry(
                PointsMarked(resource="share", store="nas", points=tuple(p.id for p in self.points[7:])),
                NOW - 8 * DAY,
            ),
        ]

    @property
    def digest(self) -> str:
        return self.backups.policy_digest("share", "nas")

    @property
    def ledger(self) -> Ledger:
        return fold(self.story)

    def decide(self) -> Decision:
        ledger = self.ledger
        seen = StoreSeen(
            store="nas", points=tuple(self.points), problem=self.problem, disk_full=self.disk_full
        )
        observed = observe(self.backups, ledger, [seen], self.now)
        return decide_one(self.backups, ledger, observed, ("share", "nas"), 86400.0)

    def plan(self) -> Plan:
        return plan_rotation(self.backups, self.ledger, [self.decide()], now=self.now, environment="lab")

    def acts(self, kind: type) -> list[object]:
        return [step.run for step in self.plan().steps if isinstance(step.run, kind)]


# --- the way of a point ---------------------------------------------------------------------------


def test_what_every_guard_lets_go_is_deleted_by_its_full_id_and_all_else_must_stay(backups: Backups) -> None:
    world = World(backups)
    (act,) = world.acts(ForgetPoints)
    assert isinstance(act, ForgetPoints)
    assert set(act.points) == {f"p{day:02}" for day in range(10, 20)}, "half of twenty at most, the oldest"
    assert set(act.points) | set(act.stay) == {point.id for point in world.points}
    assert not set(act.points) & set(act.stay)
    assert (act.host, act.of.url) == ("bk-a", "/main")


def test_a_new_policy_is_only_shown_and_what_it_expires_is_marked(backups: Backups) -> None:
    world = World(backups)
    world.story = [one for one in world.story if not isinstance(one.noted, PolicyAccepted | PointsMarked)]
    plan = world.plan()
    assert [step.id for step in plan.steps] == ["share/nas/accept", "share/nas/mark"]
    assert world.decide().frozen == ()
    world.story += [
        entry(PolicyAccepted(resource="share", store="nas", policy_digest=world.digest), NOW),
        entry(PointsMarked(resource="share", store="nas", points=tuple(p.id for p in world.points[7:])), NOW),
    ]
    assert world.plan().steps == (), "the time of grace has begun: nothing to do"


def test_a_mark_is_renewed_when_what_is_expired_changes(backups: Backups) -> None:
    world = World(backups)
    assert world.acts(MarkPoints) == []
    world.points.insert(0, make_point(NOW - timedelta(minutes=5), "new", resource="share"))
    world.story.append(taken("new", NOW - timedelta(minutes=5), claimed_at=NOW - timedelta(minutes=5)))
    world.points.append(make_point(NOW - 30 * DAY, "older", resource="share"))
    (mark,) = world.acts(MarkPoints)
    assert isinstance(mark, MarkPoints)
    assert {"older", "p19"} <= set(mark.points)


def test_nothing_expired_is_nothing_to_do(backups: Backups) -> None:
    world = World(backups, days=5)
    world.story = [one for one in world.story if not isinstance(one.noted, PointsMarked)]
    assert world.plan().steps == ()
    assert world.decide().frozen == ()


def test_space_is_reclaimed_a_time_of_grace_after_a_deletion_and_once_for_all_until_then(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    alone = make_backups(tmp_path_factory.mktemp("alone"))
    only = {"share": alone.resources["share"]}
    world = World(alone.model_copy(update={"resources": only}))
    assert world.acts(ReclaimSpace) == []
    gone = PointsDeleted(resource="share", store="nas", points=("x",), left=20)
    world.story.append(entry(gone, NOW - 6 * DAY))
    assert world.acts(ReclaimSpace) == []
    world.story.append(entry(gone, NOW - 8 * DAY))
    assert len(world.acts(ReclaimSpace)) == 1
    plan = world.plan()
    assert plan.by_id["share/nas/delete"].after == ("reclaim/nas",), "what goes now can be brought back"
    (going,), (act,) = world.acts(ForgetPoints), world.acts(ReclaimSpace)
    assert isinstance(going, ForgetPoints)
    assert isinstance(act, ReclaimSpace)
    assert act.stay == going.stay
    world.story.append(take_failed(NOW - HOUR))
    assert world.acts(ReclaimSpace) == [], "what is in doubt may have to be brought back"
    world.story.pop()
    world.story.append(entry(SpaceReclaimed(store="nas", before_bytes=2, after_bytes=1), NOW - DAY))
    assert world.acts(ReclaimSpace) == []


def test_space_is_not_reclaimed_while_another_resource_of_the_store_was_not_judged(backups: Backups) -> None:
    world = World(backups)
    gone = PointsDeleted(resource="share", store="nas", points=("x",), left=20)
    world.story.append(entry(gone, NOW - 8 * DAY))
    assert world.acts(ReclaimSpace) == []


def test_a_point_that_was_found_bad_stands_in_for_no_good_one_of_its_day(backups: Backups) -> None:
    world = World(backups)
    at = world.points[4].claimed_at - HOUR
    world.points.append(make_point(at, "good", resource="share"))
    world.story.append(taken("good", at, claimed_at=at))
    before = world.decide()
    assert before.case is not None
    assert "good" not in before.case.retention.reasons
    world.story += [
        proof_failed(NOW - HOUR / 2, point="p04", resource="share", level=Level.L3),
        cleared(NOW - HOUR / 3, store="nas"),
        cleared(NOW - HOUR / 3, resource="share"),
    ]
    after = world.decide()
    assert after.case is not None
    assert "good" in after.case.retention.reasons
    assert deleted(world.plan()) > 0
    assert not any("p04" in act.points for act in world.acts(ForgetPoints) if isinstance(act, ForgetPoints))


@pytest.mark.parametrize(
    ("guards", "most"),
    [({"min_keep": 15}, 5), ({"max_delete": MaxDelete(percent=20, count=100)}, 4)],
    ids=["min_keep", "max_delete"],
)
def test_what_the_law_ends_goes_within_the_limits_that_the_others_have_used(
    backups: Backups, guards: dict[str, object], most: int
) -> None:
    law = {"delete_after": {"age": "15 days", "approve": "city-clerk"}}
    rules = RetentionRules.model_validate({"last": 3, "daily": 7, "keep_oldest": False, **law})
    world = World(
        backups.model_copy(
            update={
                "retention": {"standard": rules},
                "guards": backups.guards.model_copy(update=guards),
            }
        )
    )
    decision = world.decide()
    both = plan_rotation(world.backups, world.ledger, [decision], now=NOW, environment="lab", legal=True)
    assert decision.rotation is not None
    assert decision.rotation.delete
    assert deleted(both) == most


# --- disasters ------------------------------------------------------------------------------------


def unreachable(world: World) -> None:
    world.problem, world.points = "no answer in 30 s", []


def emptied(world: World) -> None:
    world.points = []


def attackers_deletions(world: World) -> None:
    world.points = world.points[:1] + world.points[5:]
    seen = StoreSeen(store="nas", points=tuple(world.points))
    found = tuple(news(world.ledger, [seen], {"nas": NOW - HOUR}, NOW))
    assert any(isinstance(one, PointsMissed) for one in found)
    world.story += [entry(one, NOW) for one in found]


def outage(world: World) -> None:
    world.now = NOW + 39 * DAY


def ransomware(world: World) -> None:
    figures = {"new_files": 2000, "added_bytes": 10**9, "stored_bytes": 98 * 10**7}
    world.story.append(taken("odd", NOW - 1800 * timedelta(seconds=1), figures=figures))
    world.points.insert(0, make_point(NOW - timedelta(minutes=31), "odd", resource="share"))


def hidden_ransomware(world: World) -> None:
    ransomware(world)
    world.story.append(taken("next", NOW - timedelta(seconds=60)))
    world.points.insert(0, make_point(NOW - timedelta(seconds=90), "next", resource="share"))


def mass_deletion(world: World) -> None:
    world.story.append(taken("small", NOW - timedelta(seconds=60), figures={"files": 500}))
    world.points.insert(0, make_point(NOW - timedelta(seconds=90), "small", resource="share"))


def missing_source(world: World) -> None:
    world.story.append(take_failed(NOW - HOUR / 2))


def unmounted_share(world: World) -> None:
    world.story.append(take_failed(NOW - HOUR / 2, fault="/srv/share/.here is not there"))


def damaged_pack(world: World) -> None:
    world.story.append(proof_failed(NOW - HOUR / 2))


def never_proven(world: World) -> None:
    world.story = [one for one in world.story if one.noted.kind != "point-proven"]


def clock_of_2099(world: World) -> None:
    """The process that saves has the wrong time: everything it takes claims to be of 2099."""
    for number in range(3):
        at = NOW - HOUR / 2 + number * timedelta(seconds=60)
        claimed = datetime.fromisoformat(f"2099-01-0{number + 1}T00:00:00+00:00")
        world.story.append(taken(f"f{number}", at, claimed_at=claimed))
        world.points.insert(0, make_point(claimed, f"f{number}", resource="share"))
    world.points = world.points[:3] + world.points[6:]  # nothing newer of a time that is right


def clock_of_2099_once(world: World) -> None:
    """One job had the wrong time, and those after it were right again."""
    world.story.append(
        taken("f0", NOW - 2 * DAY, claimed_at=datetime.fromisoformat("2099-01-01T00:00:00+00:00"))
    )
    world.points.insert(
        0, make_point(datetime.fromisoformat("2099-01-01T00:00:00+00:00"), "f0", resource="share")
    )


def clock_of_1980_once(world: World) -> None:
    world.story.append(
        taken("f0", NOW - 2 * DAY, claimed_at=datetime.fromisoformat("1980-01-01T00:00:00+00:00"))
    )
    world.points.append(
        make_point(datetime.fromisoformat("1980-01-01T00:00:00+00:00"), "f0", resource="share")
    )


def changed_policy(world: World) -> None:
    rules = world.backups.retention["standard"].model_copy(update={"last": 1, "daily": None})
    world.backups = world.backups.model_copy(update={"retention": {"standard": rules}})


def foreign_newest(world: World) -> None:
    """Somebody with the store's password saves there, too; none of our jobs made it."""
    world.story.append(
        entry(PointsSeen(resource="share", store="nas", points=("alien",), since=NOW - HOUR), NOW)
    )
    world.points.insert(0, make_point(NOW - timedelta(seconds=60), "alien", resource="share"))


def forged_past(world: World) -> None:
    """Points of years ago, put there today to push real ones out of their periods."""
    forged = [make_point(NOW - (365 * year + 1) * DAY, f"z{year}", resource="share") for year in range(1, 4)]
    world.points += forged
    names = tuple(point.id for point in forged)
    world.story.append(entry(PointsSeen(resource="share", store="nas", points=names, since=NOW - HOUR), NOW))
    world.points = [point for point in world.points if point.id in {*names, "p00", "p01", "p02"}]


FREEZING: dict[str, tuple[Callable[[World], None], str]] = {
    "a store that somebody emptied": (emptied, "freeze_if_stale"),
    "points that an attacker deleted": (attackers_deletions, "freeze_if_doubted"),
    "39 days without a backup": (outage, "freeze_if_stale"),
    "an encrypted share": (ransomware, "freeze_if_anomalous"),
    "an encrypted share with a quiet day after it": (hidden_ransomware, "freeze_if_anomalous"),
    "a mass deletion": (mass_deletion, "freeze_if_anomalous"),
    "a missing source": (missing_source, "freeze_if_doubted"),
    "an unmounted share": (unmounted_share, "freeze_if_doubted"),
    "a damaged pack": (damaged_pack, "never_drop_last_verified"),
    "no proof at all": (never_proven, "never_drop_last_verified"),
    "a clock set to 2099": (clock_of_2099, "freeze_if_stale"),
    "a clock that was of 2099 once": (clock_of_2099_once, "freeze_if_doubted"),
    "a clock that was of 1980 once": (clock_of_1980_once, "freeze_if_doubted"),
    "somebody else's point as the newest": (foreign_newest, "freeze_if_anomalous"),
}


@pytest.mark.parametrize(("disaster", "guard"), FREEZING.values(), ids=FREEZING)
def test_a_disaster_deletes_nothing_and_is_told(
    backups: Backups, disaster: Callable[[World], None], guard: str
) -> None:
    world = World(backups)
    assert deleted(world.plan()) == 10
    disaster(world)
    assert deleted(world.plan()) == 0
    assert world.acts(MarkPoints) == [], "what is frozen is not marked either"
    assert any(line.startswith(guard) for line in world.decide().frozen)


def test_a_store_that_cannot_be_looked_at_is_unknown_and_not_empty(backups: Backups) -> None:
    world = World(backups)
    unreachable(world)
    decision = world.decide()
    assert (decision.problem, decision.rotation, decision.frozen) == ("no answer in 30 s", None, ())
    assert world.plan().steps == ()


def test_a_changed_policy_deletes_nothing_before_it_was_shown(backups: Backups) -> None:
    world = World(backups)
    changed_policy(world)
    assert deleted(world.plan()) == 0
    assert len(world.acts(AcceptPolicy)) == 1
    assert world.decide().frozen == ()


def test_forged_points_of_the_past_push_nothing_out(backups: Backups) -> None:
    world = World(backups)
    forged_past(world)
    decision = world.decide()
    assert decision.case is not None
    assert {"p00", "p01", "p02"} <= decision.case.retention.reasons.keys()
    assert deleted(world.plan()) == 0


def test_a_frozen_resource_on_a_full_disk_alarms_and_deletes_nothing(backups: Backups) -> None:
    world = World(backups, disk_full=True)
    missing_source(world)
    decision = world.decide()
    assert decision.rotation is not None
    assert any("full" in line for line in decision.rotation.alarms)
    assert deleted(world.plan()) == 0


@pytest.mark.parametrize(
    "disaster", [ransomware, mass_deletion, missing_source], ids=lambda one: one.__name__
)
def test_a_person_clears_it_and_the_rotation_goes_on(
    backups: Backups, disaster: Callable[[World], None]
) -> None:
    world = World(backups)
    disaster(world)
    world.story.append(cleared(NOW, resource="share"))
    assert deleted(world.plan()) > 0


@settings(max_examples=150, deadline=None)
@given(
    days=st.lists(st.integers(min_value=0, max_value=400), unique=True, min_size=1, max_size=60),
    proven_day=st.integers(min_value=0, max_value=59),
    freeze=st.sampled_from([None, *(one for one, _ in FREEZING.values() if one is not attackers_deletions)]),
)
def test_whatever_happens_the_last_proven_point_and_enough_others_stay(
    backups: Backups, days: list[int], proven_day: int, freeze: Callable[[World], None] | None
) -> None:
    world = World(backups, days=0)
    world.story, world.points = [], []
    for day in sorted(days):
        at = NOW - HOUR - day * DAY
        world.story.append(taken(f"p{day:03}", at, claimed_at=at))
        world.points.append(make_point(at, f"p{day:03}", resource="share"))
    last = world.points[proven_day % len(world.points)]
    everything = tuple(point.id for point in world.points)
    world.story += [
        proven(last.id, NOW - HOUR),
        entry(PolicyAccepted(resource="share", store="nas", policy_digest=world.digest), NOW - 9 * DAY),
        entry(PointsMarked(resource="share", store="nas", points=everything), NOW - 8 * DAY),
    ]
    if freeze is not None:
        freeze(world)
        assert deleted(world.plan()) == 0
        return
    gone = {
        point for act in world.acts(ForgetPoints) if isinstance(act, ForgetPoints) for point in act.points
    }
    assert last.id not in gone
    assert len(everything) - len(gone) >= min(len(everything), backups.guards.min_keep)
    assert not gone or max(days) > min(days)


# --- databases ------------------------------------------------------------------------------------


def database(day: float, name: str, *needs: str) -> RecoveryPoint:
    return make_point(NOW - day * DAY, name, resource="ledger-db", copy_name="pg", depends_on=needs)


CHAIN = [
    database(0.5, "d4", "f2"),
    database(1.5, "d3", "f2"),
    database(2.5, "f2"),
    database(3.5, "d1", "f1"),
    database(5.5, "d0", "f1"),
    database(8.5, "f1"),
    database(9.5, "f0"),
]


def test_the_newest_point_before_the_window_stays_with_its_full_backup(backups: Backups) -> None:
    held = {hold.point for hold in pitr_holds(backups, "ledger-db", CHAIN, NOW)}
    assert held == {"d1", "f1"}


def test_while_no_point_is_older_than_the_window_the_oldest_good_one_stays(backups: Backups) -> None:
    assert {hold.point for hold in pitr_holds(backups, "ledger-db", CHAIN[:3], NOW)} == {"f2"}


def test_a_full_backup_goes_with_what_depends_on_it_and_never_alone(backups: Backups) -> None:
    story = [
        taken(one.id, one.claimed_at, store="pg", resource="ledger-db", claimed_at=one.claimed_at)
        for one in CHAIN
    ]
    digest = backups.policy_digest("ledger-db", "pg")
    story += [
        proven("d4", NOW - HOUR, store="pg", resource="ledger-db"),
        entry(PolicyAccepted(resource="ledger-db", store="pg", policy_digest=digest), NOW - 9 * DAY),
        entry(
            PointsMarked(resource="ledger-db", store="pg", points=tuple(one.id for one in CHAIN)),
            NOW - 8 * DAY,
        ),
    ]
    tight = backups.retention["standard"].model_copy(update={"last": 2, "daily": None})
    backups = backups.model_copy(update={"retention": {"standard": tight}})
    accepted = PolicyAccepted(
        resource="ledger-db", store="pg", policy_digest=backups.policy_digest("ledger-db", "pg")
    )
    ledger = fold([*story, entry(accepted, NOW - 8 * DAY)])
    observed = observe(backups, ledger, [StoreSeen(store="pg", points=tuple(CHAIN))], NOW)
    decision = decide_one(backups, ledger, observed, ("ledger-db", "pg"), 300.0)
    plan = plan_rotation(backups, ledger, [decision], now=NOW, environment="lab")
    (act,) = (step.run for step in plan.steps if isinstance(step.run, ExpireBackups))
    assert set(act.points) == {"d0", "f0"}, "d1 begins the window, and f1 is what it is restored from"
    assert act.host == "bk-a"


def test_a_database_with_wal_is_not_stale_between_two_backups(backups: Backups) -> None:
    ledger = fold([])
    observed = Observed(NOW, {"pg": StoreSeen(store="pg")}, {("ledger-db", "pg"): tuple(CHAIN)})
    decision = decide_one(backups, ledger, observed, ("ledger-db", "pg"), 300.0)
    assert not any(line.startswith("freeze_if_stale") for line in decision.frozen)
