"""What the ledger remembers: in any order, however often it is told, and no longer than it should."""

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.backups.doubts import doubts_of, signals_of
from automation.backups.entries import Entry, PointsGoing, PointsMissed, PointsSeen
from automation.backups.folding import fold, of_the_real
from automation.backups.guards import never_drop_last_verified
from automation.backups.ledger import Ledger, dress, shelf_life_s
from automation.backups.rotating import make_case
from automation.backups.sighting import StoreSeen, news
from automation.backups.spec import Backups
from automation.model.backup_evidence import PointsDeleted, PointsMarked, PolicyAccepted, SpaceReclaimed
from automation.model.recovery_points import Level, Proof
from tests.backups.entries import (
    NOW,
    checked,
    cleared,
    copied,
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


def proofs(ledger: Ledger, backups: Backups, store: str = "nas") -> list[Proof]:
    return list(ledger.proofs("share", store, backups.resources["share"]))


# --- however it is told ---------------------------------------------------------------------------

STORY = [
    entry(PointsSeen(resource="share", store="nas", points=("old",)), NOW - 9 * DAY),
    taken("a", NOW - 8 * DAY),
    copied({"a2": "a"}, NOW - 8 * DAY + HOUR),
    proven("a", NOW - 7 * DAY),
    take_failed(NOW - 6 * DAY),
    taken("b", NOW - 5 * DAY, figures={"files": 10}),
    cleared(NOW - 5 * DAY + HOUR, resource="share"),
    taken("c", NOW - 4 * DAY),
    checked(1, 2, NOW - 3 * DAY, ("a", "b", "c")),
    proof_failed(NOW - 3 * DAY + HOUR, point="b", resource="share", level=Level.L3),
    checked(1, 2, NOW - 2 * DAY, ("a", "b", "c")),
    checked(2, 2, NOW - 2 * DAY + HOUR, ("a", "c")),
    entry(PointsMarked(resource="share", store="nas", points=("old", "a")), NOW - DAY),
    entry(PointsMarked(resource="share", store="nas", points=("old",)), NOW - HOUR),
    entry(PolicyAccepted(resource="share", store="nas", policy_digest="d"), NOW - HOUR),
    entry(PointsGoing(resource="share", store="nas", points=("old",)), NOW),
    entry(PointsDeleted(resource="share", store="nas", points=("old",), left=3), NOW),
    entry(PointsMissed(resource="share", store="nas", points=("b",)), NOW + HOUR),
    entry(SpaceReclaimed(store="nas", before_bytes=2, after_bytes=1), NOW + 2 * HOUR),
]


@given(st.randoms(use_true_random=False), st.integers(min_value=1, max_value=3))
def test_order_and_repetition_change_nothing(rng: random.Random, times: int) -> None:
    told = STORY * times
    rng.shuffle(told)
    assert fold(told) == fold(STORY)


@given(st.lists(st.integers(min_value=0, max_value=len(STORY)), max_size=3))
def test_folding_what_was_kept_with_what_is_replayed_is_folding_it_once(cuts: list[int]) -> None:
    kept: list[Entry] = []
    for cut in cuts:  # a controller was killed after so many; the next one reads its run from the start
        kept += STORY[:cut]
    assert fold([*kept, *STORY]) == fold(STORY)


def test_a_line_comes_back_from_json_as_it_was() -> None:
    assert [Entry.model_validate_json(one.model_dump_json()) for one in STORY] == STORY


# --- points ---------------------------------------------------------------------------------------


def test_a_copy_came_to_be_when_what_it_copies_did() -> None:
    ledger = fold([taken("a", NOW - 3 * DAY), copied({"a2": "a"}, NOW)])
    point = make_point(NOW - 3 * DAY - timedelta(seconds=30), "a2", resource="share", copy_name="eoc")
    assert dress(point, ledger, {}).observed_at == point.claimed_at
    assert ledger.origin("share", "eoc", "a2") == ledger.taken("share", "nas")[0]


def test_a_copy_that_was_cut_off_before_it_was_written_down_is_known_by_its_time() -> None:
    ledger = fold(
        [
            taken("a", NOW - 3 * DAY),
            entry(PointsSeen(resource="share", store="eoc", points=("a2",), since=NOW - HOUR)),
        ]
    )
    job = ledger.taken("share", "nas")[0]
    point = make_point(job.claimed_at, "a2", resource="share", copy_name="eoc")
    assert dress(point, ledger, {job.claimed_at: job}).observed_at == point.claimed_at
    assert dress(point, ledger, {}).observed_at == NOW - HOUR


def test_a_long_backup_is_believed_and_one_that_claims_another_time_is_not() -> None:
    long = taken("a", NOW, claimed_at=NOW - 5 * HOUR).model_copy(update={"began_at": NOW - 6 * HOUR})
    ledger = fold([long])
    inside = make_point(NOW - 5 * HOUR, "a", resource="share")
    future = make_point(NOW + 9000 * DAY, "a", resource="share")
    past = make_point(NOW - 900 * DAY, "a", resource="share")
    assert dress(inside, ledger, {}).observed_at == NOW - 5 * HOUR
    assert dress(future, ledger, {}).observed_at == NOW
    assert dress(past, ledger, {}).observed_at == NOW - 6 * HOUR


def test_what_was_there_before_anybody_looked_is_believed_unless_it_is_of_the_future() -> None:
    ledger = fold([entry(PointsSeen(resource="share", store="nas", points=("x", "y")), NOW)])
    old, late = (
        make_point(at, name, resource="share") for at, name in ((NOW - 900 * DAY, "x"), (NOW + DAY, "y"))
    )
    assert dress(old, ledger, {}).observed_at == old.claimed_at
    assert dress(late, ledger, {}).observed_at == NOW


def test_what_a_job_could_not_save_whole_is_partial_in_every_copy() -> None:
    ledger = fold([taken("a", status="partial"), copied({"a2": "a"})])
    point = make_point(NOW, "a2", resource="share", copy_name="eoc")
    assert dress(point, ledger, {}).status == "partial"


def test_a_mark_that_is_not_renewed_is_taken_back() -> None:
    ledger = fold(STORY)
    assert ledger.marks["share", "nas"] == {"old": NOW - DAY}


def test_points_that_a_rotation_began_to_delete_are_not_missed() -> None:
    ledger = fold([taken("a"), entry(PointsGoing(resource="share", store="nas", points=("a",)), NOW + HOUR)])
    assert ledger.known("share", "nas") == frozenset()


# --- proofs ---------------------------------------------------------------------------------------


def test_what_a_simulator_proved_holds_no_point_and_clears_no_doubt_of_the_real_store(
    backups: Backups,
) -> None:
    simulated = checked(0, 1, NOW - HOUR, ("a",), level=Level.L1)
    looked = simulated.noted.model_copy(update={"source": "simulated"})
    story = [
        taken("a", NOW - 2 * DAY),
        take_failed(NOW - 3 * DAY),
        proven("a", NOW - DAY, source="simulated"),
        simulated.model_copy(update={"noted": looked}),
    ]
    point = make_point(NOW - 2 * DAY, "a", resource="share", copy_name="nas")

    def ruling(answering: set[str]) -> tuple[str, int]:
        ledger = fold(of_the_real(story, answering))
        case = make_case(backups, ledger, (point,), ("share", "nas"), NOW)
        return never_drop_last_verified(case).answer, len(case.doubts)

    assert ruling({"nas"}) == ("hold", 0)
    assert ruling({"eoc"}) == ("refuse", 1)


def test_a_look_at_a_simulators_repository_is_a_simulated_proof(backups: Backups) -> None:
    look = checked(0, 1, NOW, ("a",), level=Level.L1)
    simulated = look.noted.model_copy(update={"source": "simulated"})
    ledger = fold([taken("a", NOW - DAY), look.model_copy(update={"noted": simulated})])
    assert [one.source for one in proofs(ledger, backups)] == ["simulated"]


def test_what_stands_against_a_store_stays_wherever_it_was_seen(backups: Backups) -> None:
    story = [taken("a", NOW - DAY), proof_failed(NOW, point="a", resource="share", level=Level.L3)]
    assert fold(of_the_real(story, ())).suspended("nas")


def test_a_proof_is_believed_for_twice_the_time_after_which_it_is_due(backups: Backups) -> None:
    share = backups.resources["share"]
    lives = [
        shelf_life_s(share, level) / 86400 for level in (Level.L1, Level.L2, Level.L3, Level.L4, Level.L5)
    ]
    assert lives == [2, 2, 14, 14, 14]
    (proof,) = proofs(fold([taken("a"), proven("a")]), backups)
    assert proof.is_current(NOW + 13 * DAY)
    assert not proof.is_current(NOW + 15 * DAY)


def test_points_are_proven_as_far_as_every_part_was_read_since_they_were_there(backups: Backups) -> None:
    story = [taken("a", NOW - DAY), checked(1, 2, NOW, ("a",)), taken("b", NOW + HOUR)]
    assert {one.level for one in proofs(fold(story), backups)} == {Level.L1}
    story.append(checked(2, 2, NOW + DAY, ("a", "b")))
    found = {(one.point, one.level): one.at for one in proofs(fold(story), backups)}
    assert found == {("a", Level.L1): NOW + DAY, ("b", Level.L1): NOW + DAY, ("a", Level.L2): NOW}


def test_a_failed_read_suspends_all_until_every_part_was_read_after_it(backups: Backups) -> None:
    story = [
        taken("a", NOW - 9 * DAY),
        proven("a", NOW - 8 * DAY),
        checked(2, 2, NOW - DAY, ("a",)),
        proof_failed(NOW),
        checked(1, 2, NOW + HOUR, ("a",)),
    ]
    assert all(proof.suspended for proof in proofs(fold(story), backups))
    assert "pack 4" in proofs(fold(story), backups)[0].suspended
    story.append(checked(2, 2, NOW + 2 * HOUR, ("a",)))
    assert not any(proof.suspended for proof in proofs(fold(story), backups))
    assert Level.L3 in {proof.level for proof in proofs(fold(story), backups)}


def test_parts_of_another_cut_do_not_make_a_whole(backups: Backups) -> None:
    story = [taken("a"), proven("a"), proof_failed(NOW + HOUR)]
    story += [checked(1, 2, NOW + 2 * HOUR, ("a",)), checked(2, 3, NOW + 3 * HOUR, ("a",))]
    assert fold(story).suspended("nas")
    assert fold([*story, checked(1, 1, NOW + 4 * HOUR, ("a",))]).suspended("nas") == ""


def test_a_look_at_the_structure_does_not_lift_a_suspension(backups: Backups) -> None:
    story = [taken("a"), proof_failed(NOW + HOUR), checked(0, 1, NOW + DAY, ("a",), level=Level.L1)]
    assert fold(story).suspended("nas")


def test_a_person_lifts_a_suspension_by_the_store_and_not_by_a_resource() -> None:
    story = [taken("a"), proof_failed(NOW + HOUR)]
    assert fold([*story, cleared(NOW + DAY, resource="share")]).suspended("nas")
    assert fold([*story, cleared(NOW + DAY, store="nas")]).suspended("nas") == ""
    assert fold([*story, cleared(NOW, store="nas")]).suspended("nas")


def test_a_point_that_failed_its_proof_stays_unproven_when_the_store_is_believed_again(
    backups: Backups,
) -> None:
    story = [
        taken("a", NOW - 2 * DAY),
        taken("b", NOW - DAY),
        proven("a", NOW - DAY),
        proven("b", NOW - HOUR),
        proof_failed(NOW, point="b", resource="share", level=Level.L3),
        cleared(NOW + HOUR, store="nas"),
    ]
    assert {one.point for one in proofs(fold(story), backups)} == {"a"}
    again = fold([*story, proven("b", NOW + DAY)])
    assert {one.point for one in proofs(again, backups)} == {"a", "b"}


def test_a_proof_in_one_store_is_none_in_another(backups: Backups) -> None:
    ledger = fold([taken("a"), copied({"a2": "a"}), proven("a")])
    assert proofs(ledger, backups, "eoc") == []


# --- doubts ---------------------------------------------------------------------------------------


def kinds(story: list[Entry], backups: Backups, resource: str = "share") -> list[str]:
    return [one.kind for one in doubts_of(fold(story), backups, resource)]


def test_a_failed_take_is_cleared_by_a_later_point_that_is_proven_far_enough(backups: Backups) -> None:
    story = [taken("a", NOW - DAY), take_failed(NOW)]
    assert kinds(story, backups) == ["take failed"]
    assert kinds([*story, proven("a", NOW + HOUR)], backups) == ["take failed"], "that point was there before"
    story.append(taken("b", NOW + DAY))
    assert kinds(story, backups) == ["take failed"], "good, and nobody has proven it"
    assert kinds([*story, proven("b", NOW + 2 * DAY, level=Level.L2)], backups) == ["take failed"]
    assert kinds([*story, proven("b", NOW + 2 * DAY)], backups) == []


def test_a_point_that_may_be_older_than_the_failure_clears_nothing(backups: Backups) -> None:
    """The store could not be looked at before: nobody knows since when its points are there."""
    seen = entry(PointsSeen(resource="share", store="nas", points=("old",)), NOW + HOUR)
    assert kinds([take_failed(NOW), seen, proven("old", NOW + DAY)], backups) == ["take failed"]


def test_a_copy_that_is_proven_clears_it_too(backups: Backups) -> None:
    story = [take_failed(NOW), taken("b", NOW + DAY), copied({"b2": "b"}, NOW + DAY)]
    assert kinds([*story, proven("b2", NOW + 2 * DAY, store="eoc")], backups) == []


def test_a_failed_proof_is_cleared_by_one_that_holds_in_the_same_store(backups: Backups) -> None:
    story = [taken("a"), proof_failed(NOW + HOUR, point="a", resource="share", level=Level.L3)]
    assert kinds(story, backups) == ["proof failed"]
    assert kinds([*story, proven("x", NOW + DAY, store="eoc")], backups) == ["proof failed"]
    assert kinds([*story, proven("a", NOW + DAY)], backups) == []


STRANGE = {
    "encrypted": {"new_files": 2000, "added_bytes": 10**9, "stored_bytes": 98 * 10**7},
    "emptied": {"files": 600},
    "no longer shrinking": {"stored_bytes": 98 * 10**6},
}


@pytest.mark.parametrize("odd", STRANGE.values(), ids=STRANGE)
def test_strange_figures_stay_a_doubt_until_a_person_clears_them(
    backups: Backups, odd: dict[str, int]
) -> None:
    story = [taken(f"p{day}", NOW + day * DAY) for day in range(5)]
    story += [taken("odd", NOW + 5 * DAY, figures=odd), taken("after", NOW + 6 * DAY)]
    story += [proven("after", NOW + 7 * DAY)]
    assert kinds(story, backups) == ["strange figures"], "neither the next day nor a proof makes it usual"
    assert kinds([*story, cleared(NOW + 8 * DAY, resource="share")], backups) == []
    assert kinds([*story, cleared(NOW + 4 * DAY, resource="share")], backups) == ["strange figures"]


def test_what_a_person_found_right_is_usual_from_then_on(backups: Backups) -> None:
    story = [taken(f"p{day}", NOW + day * DAY) for day in range(5)]
    story += [taken("moved", NOW + 5 * DAY, figures={"files": 600}), cleared(NOW + 6 * DAY, resource="share")]
    story += [taken("small", NOW + 7 * DAY, figures={"files": 590})]
    assert kinds(story, backups) == []
    assert kinds([*story, taken("less", NOW + 8 * DAY, figures={"files": 300})], backups) == [
        "strange figures"
    ]


def test_the_guard_is_shown_the_strange_job_and_not_the_quiet_one_after_it(backups: Backups) -> None:
    story = [taken("a"), taken("odd", NOW + DAY, figures=STRANGE["encrypted"]), taken("b", NOW + 2 * DAY)]
    signals = signals_of(fold(story), backups, "share", "vault")
    assert signals is not None
    assert signals.changed_share > 0.9


def test_the_first_job_of_all_is_not_strange(backups: Backups) -> None:
    first = taken("a", figures={"new_files": 2000, "added_bytes": 10**9, "stored_bytes": 9 * 10**8})
    assert kinds([first, taken("b", NOW + DAY)], backups) == []


def test_a_little_data_that_does_not_shrink_says_nothing(backups: Backups) -> None:
    few = {"added_bytes": 40_000, "stored_bytes": 39_999}
    assert kinds([taken("a"), taken("b", NOW + DAY, figures=few)], backups) == []


def test_a_dump_is_new_each_time_and_no_encrypted_share(backups: Backups) -> None:
    figures = {"files": 2, "new_files": 1, "changed_files": 1, "added_bytes": 10**9, "stored_bytes": 10**9}
    story = [taken(f"d{day}", NOW + day * DAY, resource="ledger-dump", figures=figures) for day in range(4)]
    assert kinds(story, backups, "ledger-dump") == []
    gone = taken("d9", NOW + 9 * DAY, resource="ledger-dump", figures=figures | {"dump_bytes": 0})
    assert kinds([*story, gone], backups, "ledger-dump") == ["strange figures"]


def test_points_that_somebody_deleted_are_cleared_by_a_person_alone(backups: Backups) -> None:
    story = [taken("a"), taken("b", NOW + HOUR)]
    story += [entry(PointsMissed(resource="share", store="nas", points=("a",)), NOW + DAY)]
    story += [taken("c", NOW + 2 * DAY), proven("c", NOW + 3 * DAY)]
    assert kinds(story, backups) == ["points gone"]
    assert kinds([*story, cleared(NOW + 4 * DAY, store="nas")], backups) == []
    assert kinds([*story, cleared(NOW + 4 * DAY, store="eoc")], backups) == ["points gone"]


def test_points_that_came_back_can_be_missed_again_and_do_not_clear_that_they_were(backups: Backups) -> None:
    story = [taken("a"), taken("b", NOW + HOUR)]
    story += [entry(PointsMissed(resource="share", store="nas", points=("a",)), NOW + DAY)]
    both = StoreSeen(
        store="nas", points=tuple(make_point(NOW, name, resource="share") for name in ("a", "b"))
    )
    (back,) = news(fold(story), [both], {}, NOW + 2 * DAY)
    assert back == PointsSeen(resource="share", store="nas", points=("a",))
    story.append(entry(back, NOW + 2 * DAY))
    assert list(news(fold(story), [both], {}, NOW + 3 * DAY)) == []
    assert kinds(story, backups) == ["points gone"]
    story.append(cleared(NOW + 3 * DAY, resource="share"))
    empty = StoreSeen(store="nas", points=both.points[1:])
    (gone,) = news(fold(story), [empty], {}, NOW + 4 * DAY)
    assert gone == PointsMissed(resource="share", store="nas", points=("a",))


def test_the_usual_figures_are_no_doubt(backups: Backups) -> None:
    assert kinds([taken(f"p{day}", NOW + day * DAY) for day in range(40)], backups) == []
