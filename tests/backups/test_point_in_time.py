"""A restored database is judged by what the witness knows, and by nothing that it cannot know."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.backups.point_in_time import Fate, Write, judge

T = datetime(2026, 11, 22, 8, 0, 0, tzinfo=UTC)


def write(reference: str, sent_s: float, known_s: float, fate: Fate = "acknowledged") -> Write:
    return Write(reference, fate, T + timedelta(seconds=sent_s), T + timedelta(seconds=known_s))


BEFORE = write("before", -2, -1)
ACROSS = write("across", -0.5, 0.5)
AFTER = write("after", 1, 2)
LEDGER = (BEFORE, ACROSS, AFTER)


@pytest.mark.parametrize("found", [{"before"}, {"before", "across"}], ids=["without", "with"])
def test_a_write_whose_span_holds_the_moment_may_be_either(found: set[str]) -> None:
    seen = judge(LEDGER, found, T, clock_s=0)
    assert seen.exact
    assert seen.boundary == ("across",)
    assert (seen.held, seen.must_hold) == (1, 1)


def test_a_write_acknowledged_before_the_moment_that_is_not_there_is_lost() -> None:
    seen = judge(LEDGER, {"across"}, T, clock_s=0)
    assert (seen.verdict, seen.lost) == ("lost", ("before",))


def test_a_write_sent_after_the_moment_that_is_there_is_too_many() -> None:
    seen = judge(LEDGER, {"before", "after"}, T, clock_s=0)
    assert (seen.verdict, seen.too_many) == ("too-many", ("after",))


def test_both_faults_are_told_at_once() -> None:
    seen = judge(LEDGER, {"after"}, T, clock_s=0)
    assert seen.verdict == "lost-and-too-many"
    assert "lost: before" in seen.says()
    assert "after" in seen.says()


def test_a_moment_right_at_an_acknowledgement_counts_it() -> None:
    """PostgreSQL keeps commits up to and with the moment; the acknowledgement came after the commit."""
    assert judge([write("w", -1, 0)], set(), T, clock_s=0).lost == ("w",)


@pytest.mark.parametrize(("clock_s", "verdict"), [(0.5, "lost"), (1.5, "exact")])
def test_clocks_that_may_differ_widen_the_boundary(clock_s: float, verdict: str) -> None:
    assert judge([BEFORE], set(), T, clock_s=clock_s).verdict == verdict


@pytest.mark.parametrize(
    ("one", "found", "verdict"),
    [
        (write("w", -9, -8, "in_doubt"), {"w"}, "exact"),
        (write("w", -9, -8, "in_doubt"), set(), "exact"),
        (write("w", 8, 9, "in_doubt"), {"w"}, "too-many"),
        (write("w", -9, -8, "refused"), {"w"}, "too-many"),
        (write("w", -9, -8, "refused"), set(), "exact"),
    ],
    ids=["doubtful and there", "doubtful and not", "doubtful and later", "refused and there", "refused"],
)
def test_what_was_never_acknowledged(one: Write, found: set[str], verdict: str) -> None:
    assert judge([one], found, T, clock_s=0).verdict == verdict


def test_a_write_that_was_never_answered_is_told_apart_from_the_boundary() -> None:
    seen = judge([*LEDGER, write("silent", -9, -8, "in_doubt")], {"before", "silent"}, T, clock_s=0)
    assert (seen.boundary, seen.unanswered) == (("across",), 1)
    assert "1 sent before it got no answer" in seen.says()


def test_what_the_witness_never_sent_is_counted_apart() -> None:
    seen = judge(LEDGER, {"before", "x", "y"}, T, clock_s=0)
    assert (seen.exact, seen.strangers) == (True, 2)


times = st.integers(-50, 50).map(lambda tenth: tenth / 10)
commits = st.lists(st.tuples(times, st.integers(0, 20), st.integers(0, 20)), max_size=30)


@given(commits, times)
def test_a_database_that_stopped_where_it_was_told_to_is_always_exact(
    spans: list[tuple[float, int, int]], moment: float
) -> None:
    """Whatever the spans, if each commit lies in its span and the database holds those up to the moment."""
    target = T + timedelta(seconds=moment)
    ledger = [write(str(i), at - before / 10, at + after / 10) for i, (at, before, after) in enumerate(spans)]
    found = {str(i) for i, (at, _, _) in enumerate(spans) if T + timedelta(seconds=at) <= target}
    assert judge(ledger, found, target, clock_s=0).exact


@given(commits, times)
def test_one_write_that_certainly_came_before_cannot_vanish_unseen(
    spans: list[tuple[float, int, int]], moment: float
) -> None:
    target = T + timedelta(seconds=moment)
    ledger = [write(str(i), at - before / 10, at + after / 10) for i, (at, before, after) in enumerate(spans)]
    certain = {one.reference for one in ledger if one.known_at <= target}
    for reference in sorted(certain):
        assert judge(ledger, certain - {reference}, target, clock_s=0).lost == (reference,)
