"""Which proofs are due: every copy, every part, whatever days were missed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.backups.entries import Entry, Noted
from automation.backups.folding import fold
from automation.backups.verifying import (
    Checked,
    Duty,
    History,
    Proven,
    Wanted,
    history_of,
    list_duties,
    next_parts,
)
from automation.model.backup_evidence import PointProven, ProofFailed, RepositoryChecked
from automation.model.recovery_points import Level
from tests.backups.policies import DATABASE, DUMP, SHARE, make_backups

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
DAY = timedelta(days=1)
DUE = Wanted()


def share(*rules: dict[str, object]) -> dict[str, object]:
    return SHARE | {"verify": list(rules)}


def places(duties: tuple[Duty, ...]) -> list[tuple[str, str]]:
    return [(duty.resource, duty.store) for duty in duties]


def proven(store: str, days_ago: float, level: Level = Level.L3, *, whole: bool = True) -> Proven:
    return Proven("share", store, f"p-{store}", level, whole, NOW - days_ago * DAY)


# --- every copy ------------------------------------------------------------------------------------


def test_a_resource_is_proven_in_every_store_that_has_a_copy_of_it() -> None:
    duties = list_duties(make_backups(share=SHARE, db=DATABASE), History(), DUE, NOW)
    assert sorted(places(duties)) == sorted(
        [
            ("share", "nas"),
            ("share", "far"),
            ("share", "vault"),
            ("db", "pg"),
            ("db", "pg-far"),
            ("db", "pg-vault"),
        ]
    )


def test_a_proof_in_one_store_says_nothing_of_another() -> None:
    history = History(proofs=[proven("nas", 1)])
    assert places(list_duties(make_backups(share=SHARE), history, DUE, NOW)) == [
        ("share", "far"),
        ("share", "vault"),
    ]


@pytest.mark.parametrize(("days_ago", "stores"), [(6.9, 0), (6.97, 3), (8.0, 3)])
def test_a_proof_is_due_again_after_its_time_and_hardly_before(days_ago: float, stores: int) -> None:
    history = History(proofs=[proven(store, days_ago) for store in ("nas", "far", "vault")])
    assert len(list_duties(make_backups(share=SHARE), history, DUE, NOW)) == stores


def test_a_higher_level_proves_a_lower_one_and_a_sample_does_not_prove_all() -> None:
    backups = make_backups(
        share=share(
            {"level": "L3", "every": "1 week", "sample": {"files": 9}},
            {"level": "L3", "every": "1 quarter", "sample": "all"},
        )
    )
    stores = ("nas", "far", "vault")
    sampled = History(proofs=[proven(store, 1, whole=False) for store in stores])
    assert {duty.rule.sample for duty in list_duties(backups, History(), DUE, NOW)} == {"all"}
    duties = list_duties(backups, sampled, DUE, NOW)
    assert len(duties) == 3
    assert {duty.rule.sample for duty in duties} == {"all"}
    opened = History(proofs=[proven(store, 1, Level.L4) for store in stores])
    assert not list_duties(backups, opened, DUE, NOW)


def test_a_rule_of_two_picks_is_due_until_both_were_proven() -> None:
    rule = {"level": "L3", "every": "1 week", "pick": [{"point": "latest"}, {"point": "random"}]}
    backups = make_backups(share=share(rule) | {"to": ["nas", "far", "vault"]})
    history = History(proofs=[proven("nas", 1), proven("far", 1), proven("far", 1.01)])
    duties = list_duties(backups, history, DUE, NOW)
    assert [(duty.store, duty.done) for duty in duties] == [("nas", 1), ("vault", 0)]


def test_what_a_person_asks_for_is_proven_whether_it_is_due_or_not() -> None:
    history = History(proofs=[proven(store, 0.1) for store in ("nas", "far", "vault")])
    wanted = Wanted("share", "far", Level.L3, due_only=False)
    assert places(list_duties(make_backups(share=SHARE, dump=DUMP), history, wanted, NOW)) == [
        ("share", "far")
    ]


# --- whole repositories ----------------------------------------------------------------------------


def test_a_repository_is_looked_at_once_for_all_its_resources_by_the_strictest_rule() -> None:
    backups = make_backups(
        share=share({"level": "L2", "every": "1 day", "part": "1/30"}, {"level": "L3", "every": "1 week"}),
        dump=DUMP
        | {"verify": [{"level": "L2", "every": "1 week", "part": "1/2"}, {"level": "L3", "every": "1 week"}]},
    )
    duties = [duty for duty in list_duties(backups, History(), DUE, NOW) if not duty.resource]
    assert [(duty.store, duty.part, duty.parts) for duty in duties] == [
        ("far", 1, 2),
        ("nas", 1, 2),
        ("vault", 1, 2),
    ]


def test_reading_a_part_looks_at_the_structure_too() -> None:
    rules = (
        {"level": "L1", "every": "1 day"},
        {"level": "L2", "every": "1 week"},
        {"level": "L3", "every": "1 week"},
    )
    backups = make_backups(share=share(*rules))
    first = list_duties(backups, History(), Wanted(store="nas"), NOW)
    assert [duty.level for duty in first] == [Level.L2, Level.L3]
    read = History(checks=[Checked("nas", Level.L2, 1, 1, NOW - 2 * DAY)], proofs=[proven("nas", 1)])
    assert [duty.level for duty in list_duties(backups, read, Wanted(store="nas"), NOW)] == [Level.L1]


def test_a_stanza_that_is_read_whole_or_not_is_read_once_in_its_period() -> None:
    backups = make_backups(
        db=DATABASE | {"verify": [{"level": "L2", "every": "1 day", "part": "1/7"}, *DATABASE["verify"]]}
    )
    six = History(checks=[Checked("pg", Level.L2, 1, 1, NOW - 6 * DAY)])
    seven = History(checks=[Checked("pg", Level.L2, 1, 1, NOW - 7 * DAY)])
    wanted = Wanted("db", "pg", Level.L2)
    assert not list_duties(backups, six, wanted, NOW)
    assert [(duty.part, duty.parts) for duty in list_duties(backups, seven, wanted, NOW)] == [(1, 1)]


def test_a_person_has_all_of_a_doubtful_repository_read() -> None:
    backups = make_backups(share=share({"level": "L2", "every": "1 day", "part": "1/4"}, *SHARE["verify"]))
    history = History(
        checks=[Checked("nas", Level.L2, part, 4, NOW - DAY * part / 24) for part in (1, 2)],
        doubtful=frozenset({"nas"}),
    )
    asked = Wanted(store="nas", level=Level.L2, due_only=False)
    assert [duty.part for duty in list_duties(backups, history, asked, NOW)] == [3, 4]


# --- parts -----------------------------------------------------------------------------------------


@given(
    st.integers(1, 12),
    st.lists(st.tuples(st.booleans(), st.integers(-1200, 1200)), min_size=1, max_size=80),
)
def test_no_part_stays_unread_beyond_the_period_but_for_the_days_that_were_missed(
    parts: int, days: list[tuple[bool, int]]
) -> None:
    """Right after every run each part is younger than the period, and one a day from there on keeps it so."""
    read: dict[int, datetime | None] = dict.fromkeys(range(1, parts + 1))
    period = DAY * parts
    for number, (runs, jitter_s) in enumerate(days):
        now = NOW + number * DAY + timedelta(seconds=jitter_s)
        if not runs and number:
            continue
        chosen = next_parts(read, DAY, since=NOW, now=now)
        read |= dict.fromkeys(chosen, now)
        deadlines = sorted((at or NOW) + period for at in read.values())
        slack = timedelta(seconds=3600)
        assert all(now + (place + 1) * DAY <= end + DAY + slack for place, end in enumerate(deadlines))
        assert all(end + slack > now for end in deadlines)


@given(st.integers(2, 40))
def test_day_by_day_every_part_is_read_within_the_period(parts: int) -> None:
    read: dict[int, datetime | None] = dict.fromkeys(range(1, parts + 1))
    for number in range(3 * parts):
        now = NOW + number * DAY
        chosen = next_parts(read, DAY, since=NOW, now=now)
        assert len(chosen) == 1
        read |= dict.fromkeys(chosen, now)
        if number >= parts - 1:
            assert all(at is not None and now - at < DAY * parts for at in read.values())


def test_after_missed_days_so_many_more_are_read_that_one_a_day_is_enough_again() -> None:
    read: dict[int, datetime | None] = {part: NOW - DAY * (31 - part) for part in range(1, 31)}
    assert next_parts(read, DAY, since=NOW - 60 * DAY, now=NOW) == (1,)
    late = NOW + 5 * DAY
    assert next_parts(read, DAY, since=NOW - 60 * DAY, now=late) == (1, 2, 3, 4, 5, 6)


def test_a_new_repository_is_read_part_by_part_and_not_all_at_once() -> None:
    assert next_parts(dict.fromkeys(range(1, 31)), DAY, since=NOW, now=NOW) == (1,)


# --- what a ledger knows -----------------------------------------------------------------------------


def entry(number: int, days_ago: float, noted: Noted) -> Entry:
    return Entry(at=NOW - days_ago * DAY, run_id="run-1", sequence=number, actor="a", noted=noted)


def of_point(store: str = "nas", *, whole: bool = True) -> PointProven:
    return PointProven(
        resource="share",
        store=store,
        point="p",
        level=Level.L3,
        seconds=1,
        size_bytes=1,
        found=("equal",),
        whole=whole,
        host="bk-b",
    )


def of_part(part: int) -> RepositoryChecked:
    return RepositoryChecked(store="nas", level=Level.L2, part=part, parts=4, seconds=1, size_bytes=1)


def test_what_was_proven_before_something_failed_there_counts_no_more() -> None:
    bad = ProofFailed(resource="share", store="nas", point="p", level=Level.L3, found=("differs",))
    entries = [
        entry(1, 3, of_point()),
        entry(2, 3, of_point("far")),
        entry(3, 2, bad),
        entry(4, 1, of_part(2)),
    ]
    history = history_of(fold(entries), make_backups(share=SHARE))
    assert [proof.store for proof in history.proofs] == ["far"]
    assert [check.part for check in history.checks] == [2]
    assert history.doubtful == {"nas"}
    again = history_of(fold([*entries, entry(5, 0.5, of_point())]), make_backups(share=SHARE))
    assert sorted(proof.store for proof in again.proofs) == ["far", "nas"]


def test_a_sample_stays_one_in_the_ledger() -> None:
    history = history_of(fold([entry(1, 1, of_point(whole=False))]), make_backups(share=SHARE))
    assert [proof.whole for proof in history.proofs] == [False]


def test_a_store_whose_every_part_was_read_again_is_believed() -> None:
    bad = ProofFailed(store="nas", level=Level.L2, found=("pack 4f",))
    read = [entry(number, 1, of_part(number)) for number in (1, 2, 3, 4)]
    assert history_of(fold([entry(9, 2, bad), *read[:3]]), make_backups(share=SHARE)).doubtful == {"nas"}
    assert not history_of(fold([entry(9, 2, bad), *read]), make_backups(share=SHARE)).doubtful
