"""Proofs as plans: what is chosen is told and drawn again from its seed, and nothing restored stays."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.backups.proving import Draw, Moments, Proofs, Seen, plan_proofs, random_moment
from automation.backups.verifying import History, Wanted, list_duties
from automation.model.actions import ExamineCluster, LoadDump, ProveConfig, ProveFiles, RestoreCluster
from automation.model.plan import Step
from automation.model.recovery_points import RecoveryPoint
from tests.backups.policies import DATABASE, DUMP, ROUTERS, SHARE, make_backups

NOW = datetime(2026, 11, 22, 7, 30, tzinfo=UTC)
DAY = timedelta(days=1)
ALL = {"share": SHARE, "db": DATABASE, "dump": DUMP, "routers": ROUTERS}


def points(resource: str, store: str, count: int = 5, size_bytes: int = 1000) -> list[RecoveryPoint]:
    return [
        RecoveryPoint(
            id=f"label-{n}" if store.startswith("pg") else sha256(f"{store}{n}".encode()).hexdigest(),
            resource=resource,
            copy_name=store,
            claimed_at=NOW - timedelta(hours=n + 1),
            size_bytes=size_bytes,
        )
        for n in range(count)
    ]


def plan(
    resources: dict[str, dict[str, Any]],
    *,
    seed: int = 7,
    point: str = "",
    wanted: Wanted | None = None,
    **more: Any,
) -> Proofs:
    backups = make_backups(**resources)
    duties = list_duties(backups, History(), wanted or Wanted(), NOW)
    there = {(d.resource, d.store): points(d.resource, d.store) for d in duties if d.resource}
    moments = {place: (Moments(NOW - timedelta(days=3), NOW - timedelta(minutes=3)),) for place in there}
    words: dict[str, Any] = {"points": there, "moments": moments, "devices": {"routers": ("rtr-a", "rtr-b")}}
    return plan_proofs(backups, duties, Seen(**(words | more)), Draw(seed, NOW, point), environment="lab")


def actions(made: Proofs, kind: type) -> list[Any]:
    return [step.run for step in made.plan.steps if isinstance(step.run, kind)]


def test_every_kind_is_restored_opened_and_removed() -> None:
    made = plan(ALL)
    words = {
        resource: [
            step.id.rpartition("/")[2] for step in made.plan.steps if step.id.startswith(f"{resource}/")
        ]
        for resource in ALL
    }
    assert words["share"] == ["prove", "clear"] * 3
    assert words["db"] == ["restore", "examine", "remove"] * 3
    assert words["dump"] == ["restore", "load", "examine", "remove", "clear"] * 3
    assert words["routers"] == ["restore", "prove", "clear"] * 3


def test_what_is_restored_is_removed_whatever_fails_before() -> None:
    made = plan(ALL)
    for unit in made.units:
        steps = [made.plan.step(name) for name in unit.steps]
        removals = [step for step in steps if step.cleanup]
        assert removals
        for step in steps:
            assert step.on_failure == "continue"
        restores = [step for step in steps if step.run.effect == "change"]
        for removal in removals:
            assert {step.id for step in restores} <= {*removal.after, removal.id}
            assert not removal.needs


def test_two_rules_of_one_copy_are_two_proofs_that_draw_apart() -> None:
    some = {"level": "L3", "every": "1 week", "sample": {"files": 5}, "pick": [{"point": "random"}]}
    whole = {"level": "L3", "every": "1 quarter"}
    made = plan({"share": SHARE | {"to": ["nas", "far", "vault"], "verify": [some, whole]}})
    assert [step.id for step in made.plan.steps if "/nas/" in step.id] == [
        "share/nas/prove",
        "share/nas/clear",
        "share/nas/2/prove",
        "share/nas/2/clear",
    ]


def uses(step: Step) -> set[str]:
    store = getattr(step.run, "store", None) or getattr(getattr(step.run, "of", None), "store", None)
    return {f"host:{step.run.host}", *([f"store:{store}"] if store else [])}  # type: ignore[union-attr]


def test_one_scratch_restore_at_a_time_and_no_two_looks_at_one_repository() -> None:
    made = plan(ALL | {"share": SHARE | {"verify": [{"level": "L2", "every": "1 day"}, *SHARE["verify"]]}})
    before = {step.id: _all_before(made, step.id) for step in made.plan.steps}
    for one, other in _pairs(made.plan.steps):
        if uses(one) & uses(other):
            assert one.id in before[other.id] or other.id in before[one.id]


def _all_before(made: Proofs, step: str) -> set[str]:
    found: set[str] = set()
    open_ = list(made.plan.waits_for[step])
    while open_:
        name = open_.pop()
        if name not in found:
            found.add(name)
            open_ += made.plan.waits_for[name]
    return found


def _pairs(steps: Sequence[Step]) -> Iterable[tuple[Step, Step]]:
    return ((one, other) for place, one in enumerate(steps) for other in steps[place + 1 :])


def test_the_same_seed_chooses_the_same_and_another_seed_another() -> None:
    random = SHARE | {"verify": [{"level": "L3", "every": "1 week", "pick": [{"point": "random"}]}]}
    resources = {"share": random, "db": DATABASE}
    assert plan(resources).plan.digest == plan(resources).plan.digest
    chosen = {tuple((u.point, u.until) for u in plan(resources, seed=seed).units) for seed in range(12)}
    assert len(chosen) > 6


def test_what_else_is_planned_changes_no_choice() -> None:
    alone = {(u.store, u.point, u.until) for u in plan({"db": DATABASE}).units}
    together = {(u.store, u.point, u.until) for u in plan(ALL).units if u.resource == "db"}
    assert alone == together


def test_a_plan_says_what_was_drawn_and_from_which_seed() -> None:
    made = plan({"db": DATABASE}, seed=4711)
    for unit in made.units:
        first = made.plan.step(unit.steps[0])
        assert isinstance(first.run, RestoreCluster)
        assert first.run.until == unit.until
        assert unit.until is not None
        assert f"{unit.until:%Y-%m-%d %H:%M}" in first.why
        assert "seed 4711" in first.why


def test_a_database_begins_with_the_newest_backup_before_its_moment() -> None:
    for seed in range(20):
        for unit in plan({"db": DATABASE}, seed=seed).units:
            listed = {p.id: p.claimed_at for p in points("db", unit.store)}
            assert unit.until is not None
            before = [name for name, at in listed.items() if at < unit.until]
            if before:
                assert unit.point == max(before, key=listed.__getitem__)


def test_assertions_are_asked_of_the_restored_and_where_compared_of_the_source() -> None:
    examined = actions(plan({"db": DATABASE}), ExamineCluster)
    assert {(run.source, run.source_cluster) for run in examined} == {("pg-a", "15/main")}
    assert [bool(one.amcheck) for one in examined[0].assertions] == [False, True]
    moved = actions(plan({"db": DATABASE}, primaries={"db": "pg-b"}), ExamineCluster)
    assert {run.source for run in moved} == {"pg-b"}
    dumped = actions(plan({"dump": DUMP}), ExamineCluster)
    assert {(run.source, run.assertions[0].database) for run in dumped} == {(None, "payments")}


def test_what_is_loaded_is_what_was_dumped_below_the_scratch_folder() -> None:
    (load, *_) = actions(plan({"dump": DUMP}), LoadDump)
    assert load.file.startswith("/var/lib/mainstay/scratch/verify_")
    assert load.file.endswith("/var/lib/mainstay/dumps/dump/database.dump")
    (look, *_) = actions(plan({"routers": ROUTERS}), ProveConfig)
    assert look.folder.endswith("/var/lib/mainstay/configs/routers")
    assert look.devices == ("rtr-a", "rtr-b")


def test_a_sample_and_the_files_that_must_be_in_it_go_into_the_proof() -> None:
    rule = {
        "level": "L4",
        "every": "1 week",
        "sample": {"files": 20, "bytes": "1 GiB", "newest": "70%"},
        "assert": [{"file": "/srv/share/.here"}],
    }
    proofs = actions(plan({"share": SHARE | {"verify": [rule]}}), ProveFiles)
    assert [(p.files, p.max_bytes, p.newest, p.must_hold) for p in proofs] == [
        (20, 2**30, 0.7, ("/srv/share/.here",))
    ] * 3
    assert len({p.folder for p in proofs}) == 3


def test_a_point_is_reached_from_the_scratch_host_as_that_host_reaches_it() -> None:
    urls = {p.of.store: p.of.url for p in actions(plan({"share": SHARE}), ProveFiles)}
    assert urls == {"nas": "sftp:b@nas:/main", "far": "/main", "vault": "s3:https://s3.city.lab/b"}


# --- what is left out ------------------------------------------------------------------------------


def big_points() -> dict[tuple[str, str], list[RecoveryPoint]]:
    return {
        ("share", store): points("share", store, size_bytes=9 * 2**30) for store in ("nas", "far", "vault")
    }


def test_what_does_not_fit_on_the_scratch_host_is_left_out_and_told() -> None:
    big = big_points()
    made = plan({"share": SHARE}, points=big, free_bytes=5 * 2**30)
    assert not made.units
    assert [one.reason for one in made.left_out] == ["bk-b has 5.0 GiB free, and 10.1 GiB are needed"] * 3


def test_a_sample_needs_room_for_the_sample_alone() -> None:
    rule = {"level": "L3", "every": "1 week", "sample": {"files": 20, "bytes": "1 GiB"}}
    big = big_points()
    made = plan({"share": SHARE | {"verify": [rule]}}, points=big, free_bytes=5 * 2**30)
    assert len(made.units) == 3


def test_a_store_that_does_not_answer_or_has_no_good_point_stops_no_other() -> None:
    there = {("share", "nas"): points("share", "nas"), ("share", "far"): []}
    made = plan({"share": SHARE}, points=there, silent={"vault": "no answer in 30 s"})
    assert [unit.store for unit in made.units] == ["nas"]
    assert {(one.store, one.reason) for one in made.left_out} == {
        ("far", "there is no good point in this store"),
        ("vault", "no answer in 30 s"),
    }


def test_a_store_whose_moments_nobody_knows_is_read_all_the_same() -> None:
    rules = [{"level": "L2", "every": "1 day"}, *DATABASE["verify"]]
    made = plan({"db": DATABASE | {"verify": rules}}, blind={("db", "pg"): "no pg_waldump"})
    assert [unit.level.name for unit in made.units if unit.store == "pg"] == ["L2"]
    assert [(one.store, one.reason) for one in made.left_out] == [("pg", "no pg_waldump")]


def test_a_point_that_a_person_names_is_proven_where_it_is() -> None:
    named = points("share", "far")[3].id
    made = plan({"share": SHARE}, point=named, wanted=Wanted("share", due_only=False))
    assert [(unit.store, unit.point) for unit in made.units] == [("far", named)]


# --- moments ---------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.lists(st.integers(1, 100_000), min_size=2, max_size=8))
def test_a_random_moment_can_be_reached(seed: int, gaps_s: list[int]) -> None:
    ends = [NOW]
    for gap in gaps_s:
        ends.append(ends[-1] + timedelta(seconds=gap, microseconds=17))
    spans = [Moments(ends[n], ends[n + 1]) for n in range(0, len(ends) - 1, 2)]
    at = random_moment(spans, Random(seed))
    assert any(one.first <= at <= one.last for one in spans)


def test_moments_are_full_minutes_each_as_likely_as_the_others() -> None:
    spans = [Moments(NOW, NOW + timedelta(minutes=9)), Moments(NOW + DAY, NOW + DAY + timedelta(minutes=89))]
    drawn = [random_moment(spans, Random(seed)) for seed in range(2000)]
    assert all(at.second == 0 and at.microsecond == 0 for at in drawn)
    first = sum(at <= spans[0].last for at in drawn)
    assert 140 < first < 265  # a tenth of them, within four deviations and some


@pytest.mark.parametrize("seed", range(5))
def test_nothing_earlier_than_asked_for_is_drawn_unless_nothing_else_is_there(seed: int) -> None:
    spans = [Moments(NOW - 9 * DAY, NOW)]
    assert random_moment(spans, Random(seed), not_before=NOW - DAY) >= NOW - DAY
    assert random_moment(spans, Random(seed), not_before=NOW + DAY) <= NOW
