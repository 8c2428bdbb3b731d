"""Where the drawing puts things: within its bounds, in proportion, labels apart."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.recovery.planner import City
from automation.recovery.report_fold import fold_report
from automation.recovery.timeline import LABEL_WIDTH, Axis, draw, find_axis, make_ticks, place_marks
from tests.recovery.drill_story import LOSS, Story, at, tell

STORIES = {
    "good": Story(),
    "lost-writes": Story(lost=20, brownout=True),
    "stopped": Story(fails="payments-db/fence-proof", back_ms=None),
    "unwatched": Story(witness=False),
    "never-back": Story(back_ms=None),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_everything_stays_within_the_page(city: City, story: Story) -> None:
    drawing = draw(fold_report(tell(city, story)))
    bars = [*drawing.steps, *(bar for _, _, row in drawing.clients for bar in row)]
    for bar in bars:
        assert bar.x >= 0
        assert bar.width > 0
        assert bar.x + bar.width <= 100.001
    assert all(0 <= mark.x <= 100 for mark in drawing.marks)
    assert all(bar.y < drawing.steps_px for bar in drawing.steps)


def test_bars_stand_in_proportion_to_time(city: City) -> None:
    drawing = draw(fold_report(tell(city, Story())))
    bars = {bar.label: bar for bar in drawing.steps}
    assert bars["detect"].width / bars["payments-db/promote"].width == pytest.approx(2270 / 139, rel=0.01)


def test_the_shaded_outage_spans_the_failed_bands(city: City) -> None:
    drawing = draw(fold_report(tell(city, Story())))
    assert drawing.outage is not None
    x, width = drawing.outage
    failed = [bar for _, _, row in drawing.clients for bar in row if bar.kind == "bad"]
    assert min(bar.x for bar in failed) == x
    assert max(bar.x + bar.width for bar in failed) == pytest.approx(x + width, abs=1)


def test_steps_outside_the_picture_are_counted(city: City) -> None:
    report = fold_report(tell(city, Story()))
    drawing = draw(report)
    assert len(drawing.steps) + drawing.before + drawing.after == len(report.steps)


def test_an_unwatched_run_is_drawn_without_clients(city: City) -> None:
    drawing = draw(fold_report(tell(city, Story(witness=False))))
    assert (drawing.clients, drawing.outage) == ((), None)
    assert drawing.steps


def test_zero_is_the_first_fault(city: City) -> None:
    axis = find_axis(fold_report(tell(city, Story(lost=5))))
    assert axis.zero_at == LOSS - timedelta(seconds=2)


@given(st.integers(1, 10_000_000), st.integers(0, 10_000_000))
def test_there_are_a_handful_of_round_ticks(length_ms: int, before_ms: int) -> None:
    axis = Axis(LOSS, at(-before_ms), at(length_ms))
    ticks = list(make_ticks(axis))
    assert len(ticks) <= 6
    assert all(0 <= tick.x <= 100 for tick in ticks)
    assert [tick.x for tick in ticks] == sorted(tick.x for tick in ticks)


moments = st.lists(st.integers(0, 10_000), min_size=1, max_size=8)


@given(moments)
def test_labels_on_one_level_never_touch(places_ms: list[int]) -> None:
    axis = Axis(LOSS, at(0), at(10_000))
    marks = place_marks([(f"m{n}", at(ms)) for n, ms in enumerate(places_ms)], axis)
    assert len(marks) == len(places_ms)
    by_level: dict[int, list[float]] = {}
    for mark in marks:
        by_level.setdefault(mark.level, []).append(mark.x - LABEL_WIDTH if mark.anchor == "end" else mark.x)
    for lefts in by_level.values():
        ordered = sorted(lefts)
        assert all(b - a >= LABEL_WIDTH - 1e-6 for a, b in pairwise(ordered))


def test_an_instant_run_has_an_axis_too() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    axis = Axis(now, now - timedelta(milliseconds=50), now + timedelta(milliseconds=50))
    assert axis.x(now) == 50
