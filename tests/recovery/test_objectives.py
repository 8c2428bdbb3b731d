"""RTA and RPA: rules one by one, then against a slow and plain second implementation."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.recovery.history import History, ProbeRecord, WriteFate, WriteRecord
from automation.recovery.objectives import (
    Loss,
    Milestones,
    Outage,
    find_outage,
    judge_rpo,
    judge_rto,
    measure_loss,
    measure_outage,
    split_outage,
)

START = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)
MS = 1_000_000


def ns(at_ms: float) -> int:
    return int(START.timestamp()) * 1_000_000_000 + int(at_ms * MS)


def at(at_ms: float) -> datetime:
    return START + timedelta(milliseconds=at_ms)


def beats(pattern: str, *, beat_ms: int = 100, lasts_ms: int = 10) -> tuple[ProbeRecord, ...]:
    """`+` good, `x` failed, `.` no record, one a beat."""
    return tuple(
        ProbeRecord(
            seq, ns(seq * beat_ms), ns(seq * beat_ms + lasts_ms), None if sign == "+" else "connect_refused"
        )
        for seq, sign in enumerate(pattern)
        if sign != "."
    )


def seen(pattern: str, fault_ms: float | None = 550, **more: object) -> Outage:
    marks = Milestones(fault_at=None if fault_ms is None else at(fault_ms), declared_at=at(900))
    return measure_outage(History(probes={"pay": beats(pattern, **more)}), ["pay"], marks, sustained=3)  # type: ignore[arg-type]


def test_an_outage_runs_from_the_first_failure_to_the_first_sustained_answer() -> None:
    outage = seen("++++++xxxx+++++")
    assert (outage.status, outage.rta_s, outage.brownout_s) == ("measured", 0.41, 0.0)
    assert (outage.first_failed_at, outage.client_good_at) == (at(600), at(1010))
    assert outage.resolution_s == 0.1


def test_a_probe_under_way_at_the_loss_begins_the_outage() -> None:
    outage = seen("++++++xxxx+++++", fault_ms=605)
    assert outage.first_failed_at == at(600)


def test_a_failure_before_the_loss_is_another_matter() -> None:
    assert seen("+x++++xxxx+++++").first_failed_at == at(600)


def test_two_good_answers_are_not_yet_a_recovery_but_a_brownout() -> None:
    outage = seen("++++++xxx++x+x++++")
    assert outage.client_good_at == at(1410)
    assert outage.hard_down_s == 0.31
    assert outage.brownout_s == pytest.approx(0.5)


def test_a_missing_number_breaks_a_sustained_answer() -> None:
    assert seen("++++++xxxx++.+++").client_good_at == at(1310)


def test_a_service_that_does_not_come_back_was_out_at_least_so_long() -> None:
    outage = seen("++++++xxxx++")
    assert (outage.status, outage.rta_s, outage.client_good_at) == ("not-recovered", 0.51, None)
    assert judge_rto(outage, rto_s=3600) == "missed"


def test_no_failure_is_an_outage_of_nothing() -> None:
    outage = seen("++++++++++++++")
    assert (outage.status, outage.rta_s, judge_rto(outage, 0.0)) == ("none-seen", 0.0, "met")


@pytest.mark.parametrize(
    ("pattern", "fault_ms"),
    [("", 550), (".......xxx++++", 550), ("+++", 550), ("xxxxxxxxxx++++", 550), ("xx++xxxxxx++++", None)],
    ids=["no-record", "started-too-late", "ended-too-early", "never-well", "never-sustained"],
)
def test_what_no_witness_saw_is_not_measured(pattern: str, fault_ms: float | None) -> None:
    outage = seen(pattern, fault_ms=fault_ms)
    assert (outage.status, outage.rta_s) == ("not-measured", None)
    assert judge_rto(outage, 3600) == "not-measured"


def test_without_a_known_fault_the_loss_is_the_last_one_before_the_declaration() -> None:
    assert seen("++x++++xxxx+++++", fault_ms=None).first_failed_at == at(700)


def test_a_service_is_back_when_its_last_probe_is() -> None:
    probes = {"web": beats("++++++xxx+++++++++"), "write": beats("++++++++xxxxxx++++")}
    marks = Milestones(fault_at=at(550))
    outage = measure_outage(History(probes=probes), probes, marks, sustained=3)
    assert (outage.first_failed_at, outage.client_good_at) == (at(600), at(1410))
    assert outage.deciding_probe == "write"


def test_failures_after_the_recovery_are_counted_apart() -> None:
    assert seen("++++++xx++++x+x+").failed_afterwards == 2


def test_a_stalled_witness_shows_in_the_resolution() -> None:
    assert seen("+++++...xxx+++").resolution_s == 0.4


def test_the_split_names_every_part() -> None:
    marks = Milestones(
        fault_at=at(0), detected_at=at(300), declared_at=at(350), approved_at=at(360), run_ended_at=at(800)
    )
    parts = split_outage(ns(100), ns(1000), marks)
    assert [(part.name, part.seconds) for part in parts] == [
        ("detect", 0.2),
        ("declare", 0.05),
        ("approve", 0.01),
        ("run", 0.44),
        ("client-good", 0.2),
    ]


def test_a_mark_that_was_not_made_gives_its_time_to_the_next_part() -> None:
    parts = split_outage(ns(0), ns(1000), Milestones(detected_at=at(300), run_ended_at=at(800)))
    assert [part.seconds for part in parts] == [0.3, None, None, 0.5, 0.2]


# --- RPA -----------------------------------------------------------------------------------------


def ledger(**fates: tuple[WriteFate, float]) -> History:
    return History(
        writes={"pay/write": {ref: WriteRecord(fate, ns(at_ms)) for ref, (fate, at_ms) in fates.items()}}
    )


def test_lost_writes_are_counted_and_aged_from_the_oldest_to_the_loss() -> None:
    history = ledger(
        a=("acknowledged", 0), b=("acknowledged", 400), c=("acknowledged", 900), d=("acknowledged", 1600)
    )
    loss = measure_loss(history, ["pay/write"], {"a", "d", "of-somebody-else"}, at(1000))
    assert (loss.acknowledged, loss.missing, loss.rpa_s) == (4, ("b", "c"), 0.6)
    assert (judge_rpo(loss, 0.6), judge_rpo(loss, 0.5)) == ("met", "missed")


def test_writes_in_doubt_are_told_apart() -> None:
    history = ledger(a=("acknowledged", 0), b=("in_doubt", 1), c=("in_doubt", 2), d=("refused", 3))
    loss = measure_loss(history, ["pay/write"], {"a", "b"}, at(1000))
    assert (loss.in_doubt_present, loss.in_doubt_absent, loss.refused_absent, loss.missing) == (1, 1, 1, ())


def test_a_write_that_was_refused_and_is_there_is_named() -> None:
    history = ledger(a=("acknowledged", 0), b=("refused", 1))
    assert measure_loss(history, ["pay/write"], {"a", "b"}, at(1000)).refused_present == ("b",)


def test_an_rpo_of_zero_allows_no_lost_write_whenever_it_was_acknowledged() -> None:
    history = ledger(a=("acknowledged", 0), b=("acknowledged", 2500))
    loss = measure_loss(history, ["pay/write"], {"a"}, at(1000))
    assert (loss.rpa_s, loss.missing_after_loss, judge_rpo(loss, 0.0)) == (0.0, 1, "missed")


@pytest.mark.parametrize(
    ("history", "present", "loss_at"),
    [
        (ledger(a=("acknowledged", 0)), None, at(1000)),
        (ledger(a=("acknowledged", 1500)), {"a"}, at(1000)),
        (ledger(a=("acknowledged", 0)), {"a"}, None),
        (ledger(), set(), at(1000)),
    ],
    ids=["nobody-looked", "witness-came-late", "no-loss-known", "nothing-written"],
)
def test_a_loss_that_nobody_could_see_is_not_measured(
    history: History, present: set[str] | None, loss_at: datetime | None
) -> None:
    loss = measure_loss(history, ["pay/write"], present, loss_at)
    assert (loss.status, loss.rpa_s, judge_rpo(loss, 3600)) == ("not-measured", None, "not-measured")


# --- properties ----------------------------------------------------------------------------------

steps = st.tuples(
    st.sampled_from([1, 1, 1, 1, 2]), st.integers(1, 300), st.integers(0, 500), st.sampled_from("+++xx")
)


@st.composite
def records(draw: st.DrawFn) -> tuple[ProbeRecord, ...]:
    seq, start, made = 0, 0, []
    for more, gap, lasts, sign in draw(st.lists(steps, max_size=40)):
        seq, start = seq + more, start + gap
        made.append(ProbeRecord(seq, ns(start), ns(start + lasts), None if sign == "+" else "no_answer"))
    return tuple(made)


def slowly(found: tuple[ProbeRecord, ...], loss_ns: int, sustained: int) -> tuple[int | None, int | None]:
    """Start of the first failure and end of the first sustained answer, by the words of the definition."""
    by_seq = {one.seq: one for one in found}
    failures = [one for one in found if not one.good and one.end_ns > loss_ns]
    if not failures:
        return None, None
    first = min(failures, key=lambda one: one.seq)
    too_early = max((one.seq for one in found if one.end_ns <= loss_ns), default=-1)
    answers = [
        one
        for one in found
        if one.seq > max(first.seq, too_early)
        and all(
            one.seq + ahead in by_seq and by_seq[one.seq + ahead].error is None for ahead in range(sustained)
        )
    ]
    lasting = [
        one for one in answers if not relapses([later for later in found if later.seq > one.seq], sustained)
    ]
    return first.start_ns, min(lasting, key=lambda one: one.seq).end_ns if lasting else None


def relapses(later: list[ProbeRecord], sustained: int) -> bool:
    """Say whether so many probes in a row failed again."""
    verdicts = "".join("." if one.good else "x" for one in sorted(later, key=lambda one: one.seq))
    return "x" * sustained in verdicts


@given(records(), st.integers(0, 5000), st.integers(1, 5))
def test_the_outage_is_the_one_of_the_definition(
    found: tuple[ProbeRecord, ...], fault_ms: int, sustained: int
) -> None:
    outage = find_outage(found, Milestones(fault_at=at(fault_ms)), sustained)
    well_before = any(one.good and one.end_ns <= ns(fault_ms) for one in found)
    seen_after = bool(found) and found[-1].start_ns >= ns(fault_ms)
    assert bool(outage.reason) == (not (well_before and seen_after))
    if not outage.reason:
        first = outage.failed.start_ns if outage.failed else None
        back = outage.good.end_ns if outage.good else None
        assert (first, back) == slowly(found, ns(fault_ms), sustained)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), records(), min_size=1),
    st.integers(0, 3000),
    st.integers(1, 4),
    st.lists(st.one_of(st.none(), st.integers(0, 6000)), min_size=4, max_size=4),
)
def test_an_outage_is_never_negative_and_its_parts_add_up(
    probes: dict[str, tuple[ProbeRecord, ...]], fault_ms: int, sustained: int, mark_ms: list[int | None]
) -> None:
    names = ("detected_at", "declared_at", "approved_at", "run_ended_at")
    given_marks = {name: at(value) for name, value in zip(names, mark_ms, strict=True) if value is not None}
    marks = Milestones(fault_at=at(fault_ms), **given_marks)
    outage = measure_outage(History(probes=probes), probes, marks, sustained=sustained)
    if outage.status == "not-measured":
        assert outage.rta_s is None
        assert outage.reason
        return
    assert outage.rta_s is not None
    assert outage.rta_s >= 0
    if outage.hard_down_s is not None and outage.brownout_s is not None:
        assert min(outage.hard_down_s, outage.brownout_s) >= 0
        assert outage.hard_down_s + outage.brownout_s == pytest.approx(outage.rta_s)
    if outage.split:
        assert all(part.seconds is None or part.seconds >= 0 for part in outage.split)
        assert sum(part.seconds or 0 for part in outage.split) == pytest.approx(outage.rta_s)


fates = st.sampled_from(["acknowledged", "refused", "in_doubt"])
references = st.integers(0, 60).map(str)


@given(
    st.dictionaries(references, st.tuples(fates, st.integers(0, 2000))),
    st.sets(references),
    st.integers(0, 2000),
)
def test_every_write_is_classified_exactly_once(
    fates_of: dict[str, tuple[WriteFate, float]], present: set[str], loss_ms: int
) -> None:
    loss = measure_loss(ledger(**fates_of), ["pay/write"], present, at(loss_ms))
    if loss.status == "not-measured":
        return
    kept = {ref for ref, (fate, _) in fates_of.items() if fate == "acknowledged" and ref in present}
    assert set(loss.missing) | kept == {ref for ref, (fate, _) in fates_of.items() if fate == "acknowledged"}
    assert set(loss.missing) & present == set()
    doubtful = loss.in_doubt_present + loss.in_doubt_absent
    assert loss.acknowledged + doubtful + len(loss.refused_present) + loss.refused_absent == len(fates_of)
    ages = [loss_ms - fates_of[ref][1] for ref in loss.missing]
    assert loss.rpa_s == pytest.approx(max([0, *ages]) / 1000)


@given(records(), st.integers(0, 3000))
def test_one_more_failure_never_shortens_an_outage(found: tuple[ProbeRecord, ...], fault_ms: int) -> None:
    marks = Milestones(fault_at=at(fault_ms))
    outage = find_outage(found, marks, 2)
    if outage.good is None or outage.failed is None:
        return
    worse = tuple(one._replace(error="no_answer") if one is outage.good else one for one in found)
    later = find_outage(worse, marks, 2)
    assert later.failed == outage.failed
    assert later.good is None or later.good.seq > outage.good.seq


def probe(number: int, good: bool) -> ProbeRecord:
    return ProbeRecord(number, ms(number * 100), ms(number * 100 + 5), None if good else "no_answer")


def ms(offset: int) -> int:
    return round(at(offset).timestamp() * 1e9)


def test_a_service_that_fails_again_for_as_long_has_not_recovered() -> None:
    seen = tuple(probe(n, good=n < 5 or 10 <= n < 20) for n in range(40))
    assert find_outage(seen, Milestones(fault_at=at(450)), 5).good is None


def test_a_blip_before_the_declaration_is_not_the_recovery() -> None:
    """The link failed first, a probe or two with it; the site that followed is the outage."""
    seen = tuple(probe(n, good=n not in (5, 6) and not 20 <= n < 30) for n in range(50))
    marks = Milestones(fault_at=at(450), last_fault_at=at(1950), declared_at=at(2300))
    found = find_outage(seen, marks, 5)
    assert found.good is not None
    assert found.good.seq == 30


def test_a_write_acknowledged_long_after_the_loss_and_missing_meets_no_target() -> None:
    loss = Loss(status="measured", acknowledged=9, missing=("w1",), rpa_s=0.0, missing_after_loss=1)
    assert judge_rpo(loss, 3600.0) == "missed"
