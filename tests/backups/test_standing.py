"""What a locked copy is worth: its lock was tried, and all that its newest point needs is locked for long."""

from datetime import datetime, timedelta

import pytest

from automation.backups.entries import Entry
from automation.backups.folding import fold
from automation.backups.sighting import StoreSeen, observe
from automation.backups.spec import Backups
from automation.backups.standing import Facts, Reach, ResourceStanding, stand
from automation.model.backup_evidence import LocksLengthened, NotImmutable
from automation.model.recovery_points import Level
from tests.backups.entries import (
    NOW,
    canary,
    checked,
    cleared,
    entry,
    make_backups,
    proof_failed,
    proven,
    taken,
)
from tests.backups.points import make_point

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Backups:
    return make_backups(tmp_path_factory.mktemp("policy"))


def lengthened(until: datetime, at: datetime = NOW) -> Entry:
    found = LocksLengthened(store="vault", objects=9, lengthened=9, hidden=0, until=until)
    return entry(found, at)


def standing(backups: Backups, *story: Entry, simulated: frozenset[str] = frozenset()) -> ResourceStanding:
    """The share with a new point in each of its stores."""
    ledger = fold(story)
    point = make_point(NOW - timedelta(hours=1), "p", resource="share")
    seen = [
        StoreSeen(store=store, points=(point.model_copy(update={"copy_name": store}),))
        for store in backups.resources["share"].to
    ]
    facts = Facts(backups, ledger, observe(backups, ledger, seen, NOW), {}, simulated)
    return stand(facts, "share", 86400.0)


def told_of_locks(row: ResourceStanding) -> list[str]:
    return [line for line in row.wrong if "lock" in line]


def test_a_copy_counts_as_immutable_when_its_lock_was_tried_and_all_of_it_is_locked(backups: Backups) -> None:
    row = standing(backups, canary("vault"), lengthened(NOW + 24 * DAY))
    assert row.immutable == 1
    assert told_of_locks(row) == []


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ([canary("vault")], "the locks of vault were never lengthened"),
        (
            [canary("vault"), lengthened(NOW + 11 * DAY, NOW - 13 * DAY)],
            "the locks of vault were not lengthened in time: the first ends",
        ),
        ([canary("eoc"), lengthened(NOW + 24 * DAY)], "nobody has tried the lock of vault"),
        (
            [canary("vault", NOW - 15 * DAY), lengthened(NOW + 24 * DAY)],
            "nobody has tried the lock of vault",
        ),
    ],
    ids=["never lengthened", "less than a third is left", "never tried", "tried long ago"],
)
def test_a_lock_that_was_not_seen_to_is_red_and_says_so(
    story: list[Entry], said: str, backups: Backups
) -> None:
    row = standing(backups, *story)
    assert row.immutable == 0
    assert any(line.startswith(said) for line in told_of_locks(row))
    assert any("0 of 1 immutable" in line for line in row.wrong)


def test_the_last_time_that_locks_were_lengthened_counts(backups: Backups) -> None:
    late = lengthened(NOW + 9 * DAY, NOW - 14 * DAY)
    assert standing(backups, lengthened(NOW + 24 * DAY), canary("vault"), late).immutable == 1


def test_a_lock_that_did_not_hold_is_red_until_it_holds_again(backups: Backups) -> None:
    deleted = NotImmutable(store="vault", found=("version v of key k could be deleted",))
    story = [canary("vault", NOW - 7 * DAY), entry(deleted, NOW - DAY), lengthened(NOW + 24 * DAY)]
    row = standing(backups, *story)
    assert row.immutable == 0
    assert told_of_locks(row) == ["the lock of vault does not hold: version v of key k could be deleted"]
    assert standing(backups, *story, canary("vault", NOW)).immutable == 1


# --- proofs ---------------------------------------------------------------------------------------


def test_a_proof_of_what_is_gone_is_not_the_best_one(backups: Backups) -> None:
    row = standing(backups, taken("gone", NOW - 2 * DAY), proven("gone", NOW - DAY))
    assert row.proof is None
    row = standing(backups, taken("p", NOW - 2 * DAY), proven("p", NOW - DAY))
    assert row.proof is not None


def test_a_point_that_was_found_bad_is_neither_new_nor_proven(backups: Backups) -> None:
    story = [taken("p", NOW - DAY), proven("p", NOW - DAY / 2)]
    assert standing(backups, *story).rpo_achieved_s is not None
    story += [
        proof_failed(NOW - DAY / 3, point="p", resource="share", level=Level.L3),
        cleared(NOW - DAY / 4, store="nas"),
    ]
    row = standing(backups, *story)
    assert row.rpo_achieved_s is None
    assert "nas has no good point" in row.wrong


def test_nothing_is_proven_by_a_simulated_store_alone(backups: Backups) -> None:
    story = [taken("p", NOW - DAY), proven("p", NOW - DAY / 2)]
    real = standing(backups, *story, simulated=frozenset({"vault"}))
    assert real.proof is not None
    assert real.proof.source == "real"
    row = standing(backups, *story, simulated=frozenset(backups.resources["share"].to))
    assert row.proof is not None
    assert row.proof.source == "simulated"
    assert row.rpo_achieved_s is None
    assert "it is proven in simulated stores alone" in row.wrong


def test_parts_that_nobody_reads_are_red_though_others_are_read(backups: Backups) -> None:
    story = [taken("old", NOW - 40 * DAY), checked(1, 3, NOW - DAY / 2), checked(2, 3, NOW - DAY)]
    row = standing(backups, *story)
    assert any(line.startswith("1 of 3 parts of nas were not read") for line in row.wrong)
    whole = standing(backups, *story, checked(3, 3, NOW - 2 * DAY))
    assert not any("parts" in line for line in whole.wrong)


def test_wal_that_cannot_be_looked_at_is_unknown_and_not_good(backups: Backups) -> None:
    ledger = fold(())
    point = make_point(NOW - timedelta(hours=1), "p", resource="ledger-db", copy_name="pg")
    observed = observe(backups, ledger, [StoreSeen(store="pg", points=(point,))], NOW)
    unseen = "how far the WAL in pg reaches cannot be seen"
    row = stand(Facts(backups, ledger, observed, {}), "ledger-db", 300.0)
    assert unseen in row.unknown
    row = stand(Facts(backups, ledger, observed, {("ledger-db", "pg"): Reach(NOW)}), "ledger-db", 300.0)
    assert unseen not in row.unknown
