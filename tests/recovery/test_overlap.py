"""Two nodes that take writes at once are always found, and only they."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automation.model.errors import AutomationError
from automation.recovery.overlap import (
    PAUSE_MS,
    Attempt,
    count_attempts,
    find_overlaps,
    find_returns,
    fold_writability,
    list_periods,
    read_record,
)

MS = 1_000_000
PAUSE_NS = int(PAUSE_MS * MS)


def write(
    node: str, start_ms: float, took_ms: float = 5, became: str = "committed", **who: object
) -> Attempt:
    start = int(start_ms * MS)
    number = who.pop("number", start)
    parts = {"writer": "client-1", "incarnation": 1, **who, "node": node, "number": number}
    return Attempt(**parts, start_ns=start, end_ns=start + int(took_ms * MS), became=became)  # type: ignore[arg-type]


@st.composite
def periods(draw: st.DrawFn, node: str, begin_ms: int) -> list[Attempt]:
    """Commits of one node, at most half a pause apart, refusals and doubts among them."""
    steps = draw(st.lists(st.integers(1, int(PAUSE_MS / 2)), min_size=2, max_size=20))
    found, at = [], begin_ms
    for step in steps:
        at += step
        found.append(write(node, at, draw(st.integers(1, 300))))
        if draw(st.booleans()):
            found.append(write(node, at, 1, draw(st.sampled_from(["refused", "failed", "in_doubt"]))))
    return found


def end_ms(attempts: list[Attempt]) -> int:
    return max(attempt.end_ns for attempt in attempts) // MS + 1


@settings(deadline=None)
@given(st.data())
def test_one_node_after_the_other_is_no_overlap(data: st.DataObject) -> None:
    before = data.draw(periods("pg-a", 0))
    after = data.draw(periods("pg-b", end_ms(before) + data.draw(st.integers(0, 5000))))
    mixed = data.draw(st.permutations(before + after))
    assert find_overlaps(list_periods(mixed)) == ()
    assert find_returns(mixed) == ()


@settings(deadline=None)
@given(st.data())
def test_a_planted_write_inside_the_other_nodes_period_is_found_and_named(data: st.DataObject) -> None:
    served = data.draw(periods("pg-a", 0))
    (period,) = list_periods(served)
    room_ns = period.last.start_ns - period.first.end_ns
    if room_ns < 4 * MS:
        return
    at_ns = data.draw(st.integers(period.first.end_ns + MS, period.last.start_ns - 2 * MS))
    planted = write("pg-b", at_ns / MS, 0.5, writer="app-b", number=77)
    mixed = data.draw(st.permutations([*served, planted]))
    (overlap,) = find_overlaps(list_periods(mixed))
    assert overlap.certain
    assert ("app-b", "pg-b", 77) in [(one.writer, one.node, one.number) for one in overlap.first]
    assert find_returns(mixed), "what the first node took afterwards"


@settings(deadline=None)
@given(st.data())
def test_every_overlap_is_found_whichever_way_the_periods_cross(data: st.DataObject) -> None:
    one, other = (
        data.draw(periods("pg-a", 0)),
        data.draw(periods("pg-b", data.draw(st.integers(-3000, 3000)))),
    )

    pairs = [(a, b) for a in one for b in other if (a.became, b.became) == ("committed", "committed")]
    found = find_overlaps(list_periods(one + other))
    apart = all(a.end_ns <= b.start_ns for a, b in pairs) or all(b.end_ns <= a.start_ns for a, b in pairs)
    crossed = any(a.end_ns < b.start_ns for a, b in pairs) and any(b.end_ns < a.start_ns for a, b in pairs)
    assert bool(found) == (not apart)
    assert any(overlap.certain for overlap in found) == crossed


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 300)), min_size=1, max_size=40))
def test_every_commit_stands_in_exactly_one_period_and_pauses_lie_between(
    times: list[tuple[int, int]],
) -> None:
    attempts = [write("pg-a", at, took) for at, took in times]
    found = list_periods(attempts)
    assert sum(period.commits for period in found) == len(attempts)
    for earlier, later in pairwise(found):
        assert later.from_ns - earlier.until_ns > PAUSE_NS


def test_writes_at_the_very_moment_of_a_handover_are_perhaps_an_overlap() -> None:
    served = [write("pg-a", at) for at in (0, 20, 40)]
    taken_over = [write("pg-b", at) for at in (42, 60, 80)]
    (overlap,) = find_overlaps(list_periods(served + taken_over))
    assert (overlap.certain, overlap.at_least_ms) == (False, 0.0)


def test_a_node_that_takes_a_write_after_the_other_took_over_has_returned() -> None:
    story = [write("pg-a", 0), write("pg-b", 5_000), write("pg-b", 9_000), write("pg-a", 20_000, number=5)]
    assert find_overlaps(list_periods(story)) == ()
    assert [one.number for one in find_returns(story)] == [5]


def test_a_write_in_doubt_is_counted_and_is_no_commit() -> None:
    story = [write("pg-a", 0), write("pg-b", 5_000), write("pg-a", 6_000, 1, "in_doubt")]
    assert find_returns(story) == ()
    record = read_record(record_of(story))
    rows = {(row.writer, row.node): row for row in fold_writability([record]).coverage}
    assert rows["client-1", "pg-a"].in_doubt == 1


# --- records --------------------------------------------------------------------------------------


def header(writer: str = "client-1", offset_ns: int = 0, namespace: str = "time:[1]") -> str:
    clock = {"mono_ns": 5, "wall_ns": 1_000_000_005 + offset_ns, "time_namespace": namespace}
    return json.dumps({"record": "header", "writer": writer, "clock": clock}) + "\n"


def record_of(attempts: list[Attempt], head: str | None = None) -> str:
    lines = [
        json.dumps(
            {
                "record": "write",
                "node": a.node,
                "n": a.number,
                "start": a.start_ns,
                "end": a.end_ns,
                "became": a.became,
            }
        )
        + "\n"
        for a in attempts
    ]
    return (header() if head is None else head) + "".join(lines)


def test_a_cut_off_line_is_passed_over_and_a_later_start_is_another_incarnation() -> None:
    text = record_of([write("pg-a", 0)]) + '{"record":"wri\n' + record_of([write("pg-a", 50)])
    record = read_record(text + '{"record":"missed","node":"pg-a","beats":3,"at":1,"why":"late"}\n')
    assert [attempt.incarnation for attempt in record.attempts] == [1, 2]
    assert record.missed_beats == 3


@pytest.mark.parametrize("text", ["", '{"record":"write"}\n'], ids=["empty", "no header"])
def test_a_record_without_its_header_is_refused(text: str) -> None:
    with pytest.raises(AutomationError):
        read_record(text)


@pytest.mark.parametrize(
    ("other", "one"),
    [
        (header(offset_ns=10 * MS), True),
        (header(offset_ns=90_000 * MS), False),
        (header(namespace="time:[2]"), False),
    ],
    ids=["a step of NTP", "another machine", "another time namespace"],
)
def test_records_of_different_clocks_are_told(other: str, one: bool) -> None:
    records = [read_record(header()), read_record(other)]
    assert fold_writability(records).one_clock is one


def test_the_resolution_is_the_longest_untried_time_and_the_slowest_commit() -> None:
    tried = [write("pg-a", at, 7, number=at) for at in (0, 20, 75, 95)]
    tried.append(write("pg-a", 9_000, 9, incarnation=2))
    other = [write("pg-b", at, 1, "refused") for at in (0, 20, 40)]
    assert fold_writability([read_record(record_of(tried[:4] + other))]).resolution_ms == 55 + 7


def test_the_time_a_checkers_host_was_down_is_no_gap() -> None:
    text = record_of([write("pg-a", 0)]) + record_of([write("pg-a", 60_000)])
    (row,) = fold_writability([read_record(text)]).coverage
    assert row.longest_gap_ms == 0.0


def test_attempts_after_a_moment_are_counted_by_writer() -> None:
    record = read_record(record_of([write("pg-a", 0), write("pg-a", 50, 1, "failed"), write("pg-a", 60)]))
    assert count_attempts([record], "pg-a", since_ns=40 * MS) == {"client-1": (2, 1)}
