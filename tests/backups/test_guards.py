"""What forbids a deletion: each guard alone, all of them together, and the disasters that others had."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from automation.backups import guards
from automation.backups.dialects import GoSpan, OldRules, decide_as
from automation.backups.guard_settings import GuardSettings
from automation.backups.guards import GUARDS, LATER_GUARDS, Case, Rotation, judge
from automation.backups.retention import decide
from automation.backups.rules import RetentionPolicy
from automation.model.recovery_points import Hold, Level
from tests.backups.fuzz import check_one
from tests.backups.points import (
    NOW,
    USUAL,
    dailies,
    kept_ids,
    make_case,
    make_point,
    make_policy,
    prove,
)

POINTS = dailies(40)


def ruling(rotation: Rotation, guard: str) -> guards.Ruling:
    return next(one for one in rotation.rulings if one.guard == guard)


def going(rotation: Rotation) -> set[str]:
    return {point.id for point in rotation.delete}


def test_with_everything_in_order_exactly_the_expired_points_go() -> None:
    case = make_case(POINTS, make_policy(daily=30, keep_oldest=False))
    assert going(judge(case)) == {point.id for point in POINTS[30:]}
    assert judge(case).alarms == ()


def test_every_guard_has_a_ruling_of_its_own_name() -> None:
    rotation = judge(make_case(POINTS))
    assert [one.guard for one in rotation.rulings] == [g.__name__ for g in (*GUARDS, *LATER_GUARDS)]
    assert all(one.reason for one in rotation.rulings)


# --- each guard -------------------------------------------------------------------------------------

FREEZES: dict[str, tuple[str, dict[str, Any]]] = {
    "no proof": ("never_drop_last_verified", {"proofs": ()}),
    "proof of too low a level": ("never_drop_last_verified", {"proofs": (prove(POINTS[0], Level.L2),)}),
    "proof of a point that is gone": (
        "never_drop_last_verified",
        {"proofs": (prove(make_point(NOW - timedelta(days=1), "gone")),)},
    ),
    "a suspended proof beside a good one": (
        "never_drop_last_verified",
        {"proofs": (prove(POINTS[0]), prove(POINTS[9], Level.L2, suspended="pack 4 is damaged"))},
    ),
    "a stale newest point": ("freeze_if_stale", {"rpo_s": 1000.0}),
    "no figures of the newest backup": ("freeze_if_anomalous", {"signals": None}),
    "a policy that was changed": ("policy_change", {"policy_digest": "new"}),
    "a policy that was never shown": ("policy_change", {"accepted_digest": ""}),
}
STRANGE: dict[str, dict[str, Any]] = {
    "a source that was not there": {"missing_sources": ("/srv/shares",)},
    "an empty mount": {"files": 0},
    "a mass deletion": {"files": 600},
    "an encrypted share": {"changed_share": 1.0, "stored_ratio": 0.98},
    "only the stored ratio": {"stored_ratio": 0.98},
    "an empty dump": {"dump_bytes": 0},
}
FREEZES |= {
    name: ("freeze_if_anomalous", {"signals": USUAL.model_copy(update=odd)}) for name, odd in STRANGE.items()
}


@pytest.mark.parametrize(("guard", "changed"), FREEZES.values(), ids=FREEZES)
def test_it_freezes_everything_and_says_so(guard: str, changed: dict[str, Any]) -> None:
    rotation = judge(make_case(POINTS, **changed))
    assert rotation.delete == ()
    assert ruling(rotation, guard).answer == "refuse"
    assert any(guard in alarm for alarm in rotation.alarms)
    assert [one.guard for one in rotation.rulings if one.answer == "refuse"] == [guard]


@pytest.mark.parametrize("name", STRANGE)
def test_a_person_or_a_proof_clears_strange_figures(name: str) -> None:
    signals = USUAL.model_copy(update={**STRANGE[name], "cleared_by": "ana"})
    assert judge(make_case(POINTS, signals=signals)).delete


def test_an_expired_proof_still_counts_and_its_point_stays_however_old() -> None:
    old = POINTS[33]
    proof = prove(old, at=NOW - timedelta(days=30), expires=NOW - timedelta(days=20))
    case = make_case(POINTS, make_policy(daily=30, keep_oldest=False), proofs=(proof,))
    assert old in case.retention.expired
    rotation = judge(case)
    assert going(rotation) == {point.id for point in POINTS[30:]} - {old.id}
    assert not proof.is_current(NOW)


def test_what_the_last_verified_point_is_restored_from_stays_too() -> None:
    full, diff, incr = (
        make_point(NOW - timedelta(days=day), name) for day, name in ((9, "f"), (8, "d"), (7, "i"))
    )
    diff = diff.model_copy(update={"depends_on": ("f",)})
    incr = incr.model_copy(update={"depends_on": ("d",)})
    newer = make_point(NOW - timedelta(hours=1), "newer")
    case = make_case([newer, incr, diff, full], make_policy(last=1, keep_oldest=False), proofs=(prove(incr),))
    assert {point.id for point in case.retention.expired} == {"i", "d", "f"}
    assert judge(case).delete == ()
    lacking = make_case([newer, incr, diff], make_policy(last=1, keep_oldest=False), proofs=(prove(incr),))
    assert ruling(judge(lacking), "never_drop_last_verified").answer == "refuse"


def test_a_full_backup_that_a_kept_one_needs_stays() -> None:
    points = dailies(6)
    points[0] = points[0].model_copy(update={"depends_on": (points[5].id,)})
    case = make_case(points, make_policy(last=2, keep_oldest=False))
    assert points[5] in case.retention.expired
    assert points[5].id not in going(judge(case))


def test_so_many_good_points_stay_and_failed_ones_are_none_of_them() -> None:
    points = dailies(8)
    points[1:4] = [one.model_copy(update={"status": "failed"}) for one in points[1:4]]
    settings = GuardSettings.model_validate({"min_keep": 4, "max_delete": {"percent": 50}})
    case = make_case(points, make_policy(last=1, keep_oldest=False), settings=settings)
    rotation = judge(case)
    good = [point for point in points if point.status == "ok" and point.id not in going(rotation)]
    assert len(good) == 4
    assert good == [points[0], *points[4:7]]


def test_one_run_deletes_so_many_and_the_oldest_first() -> None:
    settings = GuardSettings.model_validate({"max_delete": {"percent": 20, "count": 50}})
    case = make_case(POINTS, make_policy(last=10, keep_oldest=False), settings=settings)
    assert going(judge(case)) == {point.id for point in POINTS[-8:]}


def test_a_hold_keeps_by_id_tag_or_all_until_its_end() -> None:
    points = [
        point.model_copy(update={"tags": ("case-7",)}) if n == 35 else point for n, point in enumerate(POINTS)
    ]
    policy = make_policy(last=30, keep_oldest=False)

    def held(**hold: Any) -> set[str]:
        holds = (Hold(owner="city-attorney", reason="a court asked", **hold),)
        return {point.id for point in judge(make_case(points, policy, holds=holds)).held}

    assert held(tag="case-7") == {points[35].id}
    assert held(point=points[38].id) == {points[38].id}
    assert len(held()) == 10
    assert held(until=NOW) == set()
    assert len(held(until=NOW + timedelta(seconds=1))) == 10


def test_a_locked_point_is_held_and_costed() -> None:
    locked = POINTS[39].model_copy(update={"locked_until": NOW + timedelta(days=5), "size_bytes": 7})
    rotation = judge(make_case([*POINTS[:39], locked], make_policy(last=30, keep_oldest=False)))
    assert locked in rotation.held
    assert (
        "1 expired points (7 bytes) cannot be deleted before 2026-11-27"
        in ruling(rotation, "lock_aware").reason
    )


def test_a_point_goes_only_when_it_was_marked_long_enough() -> None:
    policy = make_policy(last=38, keep_oldest=False)
    marked = {POINTS[38].id: NOW - timedelta(days=6, hours=23), POINTS[39].id: NOW - timedelta(days=7)}
    assert going(judge(make_case(POINTS, policy, marked=marked))) == {POINTS[39].id}
    assert judge(make_case(POINTS, policy, marked={})).delete == ()


def test_a_proven_point_of_a_time_that_is_not_believed_stands_in_for_no_other() -> None:
    forged = make_point(NOW - timedelta(hours=30), "forged", observed_at=NOW - timedelta(minutes=1))
    proofs = (prove(forged), prove(POINTS[35]))
    rotation = judge(make_case([forged, *POINTS], make_policy(daily=30, keep_oldest=False), proofs=proofs))
    assert ruling(rotation, "never_drop_last_verified").points == (POINTS[35].id,)
    assert POINTS[35].id not in going(rotation)


def test_what_the_law_ends_waits_for_the_role() -> None:
    policy = make_policy(last="all", delete_after={"age": "30 days", "approve": "city-clerk"})
    assert judge(make_case(POINTS, policy)).delete == ()
    assert judge(make_case(POINTS, policy, agreed_roles=frozenset({"city-treasurer"}))).delete == ()
    assert len(judge(make_case(POINTS, policy, agreed_roles=frozenset({"city-clerk"}))).delete) == 10


def test_a_whole_group_never_goes_even_if_no_other_guard_looked() -> None:
    case = make_case(POINTS)
    assert guards.max_delete(case, case.points).answer == "refuse"
    broken = make_case(dailies(3, status="failed"))
    assert guards.min_keep(broken, broken.points).answer == "refuse"


def test_a_full_disk_raises_an_alarm_and_deletes_nothing_more() -> None:
    calm = judge(make_case(POINTS))
    full = judge(make_case(POINTS, disk_full=True))
    frozen = judge(make_case(POINTS, disk_full=True, proofs=()))
    assert full.delete == calm.delete
    assert frozen.delete == ()
    assert any("store is full, and rotation is frozen" in alarm for alarm in frozen.alarms)


# --- what removed everything elsewhere --------------------------------------------------------------


@pytest.mark.parametrize("count", [-1, 0, 2**63, 1e9])
def test_restic_minus_one_and_overflowing_counts_are_no_policy(count: float) -> None:
    with pytest.raises(ValidationError):
        make_policy(daily=count)


@pytest.mark.parametrize("span", ["-1 days", "-1d", "2600000 hours", "2600000h", "0 days", "1w", "30d5d"])
def test_restic_negative_and_overflowing_spans_are_no_policy(span: str) -> None:
    with pytest.raises(ValidationError):
        make_policy(all_for=span)


def test_restic_typo_in_a_tag_is_no_policy_alone_and_never_empties_a_group() -> None:
    with pytest.raises(ValidationError, match="tags alone keep nothing"):
        make_policy(tagged=["litigatoin"])
    found = decide(POINTS, make_policy(last=3, tagged=["litigatoin"], keep_oldest=False), now=NOW)
    assert kept_ids(found) == [point.id for point in POINTS[:3]]


def test_borg_with_all_rules_zero_is_no_policy() -> None:
    with pytest.raises(ValidationError):
        RetentionPolicy.model_validate({"tz": "UTC", "keep": {}})


def test_restic_points_of_2099_do_not_push_real_ones_out() -> None:
    future = [make_point(datetime(2099, 1, day, tzinfo=UTC), f"f{day}") for day in (1, 2, 2 + 1)]
    old = decide_as("restic-0.16", [*POINTS, *future], OldRules(daily=3), now=NOW)
    assert set(old.kept) - {POINTS[-1].id} == {"f1", "f2", "f3"}
    found = decide([*POINTS, *future], make_policy(daily=3, keep_oldest=False), now=NOW)
    assert set(kept_ids(found)) == {"f1", "f2", "f3", *(point.id for point in POINTS[:3])}


def test_restic_two_points_on_one_future_day_both_stay() -> None:
    future = [make_point(datetime(2099, 1, 1, hour, tzinfo=UTC), f"f{hour}") for hour in (1, 2)]
    assert {"f1", "f2"} <= set(kept_ids(decide([*POINTS, *future], make_policy(daily=3), now=NOW)))


def test_borg_future_archive_with_keep_last_one_leaves_the_newest_real_one() -> None:
    future = make_point(datetime(2099, 1, 1, tzinfo=UTC), "future")
    assert set(decide_as("borg-1.4", [*POINTS, future], OldRules(last=1), now=NOW).kept) == {"future"}
    found = decide([*POINTS, future], make_policy(last=1, keep_oldest=False), now=NOW)
    assert set(kept_ids(found)) == {"future", POINTS[0].id}


def test_an_attackers_claimed_times_push_nothing_out() -> None:
    """Points written today that claim to be of the last days, each the newest of its day."""
    forged = [
        make_point(point.claimed_at + timedelta(minutes=30), f"forged-{n}", observed_at=NOW)
        for n, point in enumerate(POINTS)
    ]
    found = decide([*POINTS, *forged[1:]], make_policy(daily=30, keep_oldest=False), now=NOW)
    assert {point.id for point in POINTS[:30]} <= set(kept_ids(found))
    assert {point.id for point in forged[1:]} <= set(kept_ids(found))
    rotation = judge(make_case([*POINTS, *forged[1:]]))
    assert ruling(rotation, "time_trust").answer == "hold"
    assert rotation.alarms


def test_borg_within_after_an_outage_of_a_day_keeps_what_there_is() -> None:
    stale = dailies(10, until=NOW - timedelta(days=2))
    old = decide_as("borg-1.4", stale, OldRules(within=GoSpan(days=1)), now=NOW)
    assert len(old.removed) == 10
    case = make_case(stale, make_policy(all_for="1 day", keep_oldest=False))
    assert len(case.retention.kept) == 1
    assert judge(case).delete == ()
    assert ruling(judge(case), "freeze_if_stale").answer == "refuse"


def test_kopia_pause_of_39_days_loses_no_daily_or_weekly_point() -> None:
    policy = make_policy(daily=7, weekly=4, monthly=12, yearly=3)
    before = dailies(500, until=NOW - timedelta(days=39))
    back = make_point(NOW - timedelta(hours=2), "back")
    at_the_pause = set(kept_ids(decide(before, policy, now=NOW)))
    after = set(kept_ids(decide([back, *before], policy, now=NOW)))
    assert len(at_the_pause - after) <= 3  # the one day, week and month whose place the new point takes
    assert len(after) >= 18


def test_a_clock_set_to_2099_freezes_rotation() -> None:
    case = make_case(POINTS, now=datetime(2099, 6, 1, tzinfo=UTC))
    assert judge(case).delete == ()
    assert ruling(judge(case), "freeze_if_stale").answer == "refuse"


def test_a_clock_set_back_makes_all_points_future_ones_and_deletes_none() -> None:
    case = make_case(POINTS, make_policy(last=1), now=NOW - timedelta(days=400), proofs=(prove(POINTS[0]),))
    assert len(case.retention.kept) == 40
    assert judge(case).delete == ()


def test_failed_backups_never_push_a_good_one_out() -> None:
    broken = dailies(30, status="failed")
    good = dailies(10, until=NOW - timedelta(days=30))
    found = decide([*broken, *good], make_policy(last=3, daily=7, keep_oldest=False), now=NOW)
    assert {point.id for point in good[:7]} <= set(kept_ids(found))
    empty_dumps = [point.model_copy(update={"status": "ok", "size_bytes": 0}) for point in broken[:3]]
    signals = USUAL.model_copy(update={"dump_bytes": 0})
    assert judge(make_case([*empty_dumps, *good], signals=signals)).delete == ()


def test_the_only_backup_of_something_dead_stays() -> None:
    last = [make_point(NOW - timedelta(days=900), "only")]
    case = make_case(
        last, make_policy(all_for="30 days", delete_after={"age": "1 year", "approve": "city-clerk"})
    )
    agreed = make_case(
        last,
        make_policy(all_for="30 days", delete_after={"age": "1 year", "approve": "city-clerk"}),
        agreed_roles=frozenset({"city-clerk"}),
        rpo_s=1e9,
    )
    assert judge(case).delete == ()
    assert agreed.retention.kept == ()
    assert judge(agreed).delete == ()


@pytest.mark.parametrize("guard", [*GUARDS], ids=lambda guard: guard.__name__)
def test_taking_a_guard_away_never_keeps_more(
    guard: Callable[[Case], guards.Ruling], monkeypatch: pytest.MonkeyPatch
) -> None:
    holds = (Hold(owner="o", reason="r", point=POINTS[35].id),)
    case = make_case(POINTS, make_policy(daily=30, keep_oldest=False), holds=holds)
    whole = going(judge(case))
    monkeypatch.setattr(guards, "GUARDS", tuple(one for one in GUARDS if one is not guard))
    assert whole <= going(judge(case))


def test_two_thousand_random_cases_lose_nothing_that_must_stay() -> None:
    deleted = [check_one(random.Random(seed)) for seed in range(2000)]
    assert sum(count > 0 for count in deleted) > 100
