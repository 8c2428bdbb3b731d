"""Where the drawing puts things: within its bounds, in proportion, labels apart."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.recovery.planner import City
from automation.recovery.report import ProbeView, Report, Stretch
from automation.recovery.report_fold import fold_report
from automation.recovery.report_gantt import MOST_ROWS, Gantt, draw_gantt
from automation.recovery.timeline import (
    LABEL_WIDTH,
    MOST_LANES,
    MOST_PARTS,
    Axis,
    Clients,
    draw_clients,
    draw_frame,
    find_axis,
    make_ticks,
    place_marks,
)
from tests.recovery.drill_story import LOSS, Story, at, tell

STORIES = {
    "good": Story(),
    "lost-writes": Story(lost=20, brownout=True),
    "stopped": Story(fails="payments-db/fence-proof", back_ms=None),
    "unwatched": Story(witness=False),
    "never-back": Story(back_ms=None),
}


def clients(report: Report) -> Clients:
    return draw_clients(report, find_axis(report))


def gantt(report: Report) -> Gantt:
    return draw_gantt(report, find_axis(report))


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_everything_stays_within_the_page(city: City, story: Story) -> None:
    report = fold_report(tell(city, story))
    lanes, rows = clients(report).lanes, gantt(report).rows
    bars = [bar for lane in lanes for bar in (*lane.bars, *lane.shades)]
    bars += [bar for row in rows for bar in row.bars]
    for bar in bars:
        assert bar.x >= 0
        assert bar.width > 0
        assert bar.x + bar.width <= 100.001
    assert all(0 <= mark.x <= 100 for mark in draw_frame(report, find_axis(report)).marks)
    assert all(row.y < gantt(report).height_px for row in rows)


def test_bars_stand_in_proportion_to_time(city: City) -> None:
    rows = {row.label: row.bars[0] for row in gantt(fold_report(tell(city, Story()))).rows}
    assert rows["detect"].width / rows["payments-db/promote"].width == pytest.approx(2270 / 139, rel=0.01)


def test_the_shaded_outage_spans_the_failed_bands(city: City) -> None:
    report = fold_report(tell(city, Story()))
    outage = draw_frame(report, find_axis(report)).outage
    assert outage is not None
    failed = [bar for lane in clients(report).lanes for bar in lane.bars if bar.kind == "bad"]
    assert min(bar.x for bar in failed) == outage[0]
    assert max(bar.x + bar.width for bar in failed) == pytest.approx(sum(outage), abs=1)


def test_a_brownout_is_shaded_apart_from_the_longest_time_without_an_answer(city: City) -> None:
    report = fold_report(tell(city, Story(brownout=True)))
    lane = next(lane for lane in clients(report).lanes if lane.probe == "payments/pay")
    kinds = [shade.kind for shade in lane.shades]
    assert sorted(kinds) == ["brownout", "down"]
    assert clients(report).brownout
    assert not clients(fold_report(tell(city, Story()))).brownout


def test_steps_outside_the_picture_are_counted(city: City) -> None:
    report = fold_report(tell(city, Story()))
    drawing = gantt(report)
    assert len(drawing.rows) + drawing.before + drawing.after == len(report.steps)


def test_an_unwatched_run_is_drawn_without_clients(city: City) -> None:
    report = fold_report(tell(city, Story(witness=False)))
    assert clients(report).lanes == ()
    assert draw_frame(report, find_axis(report)).outage is None
    assert gantt(report).rows


def test_many_steps_are_drawn_by_service_and_keep_those_that_matter(city: City) -> None:
    report = fold_report(tell(city, Story()))
    step = next(step for step in report.steps if step.id == "payments-db/promote")
    many = [
        step.model_copy(
            update={"id": f"s{number % 150}/step{number}", "service": f"s{number % 150}", "critical": False}
        )
        for number in range(3000)
    ]
    bad = step.model_copy(update={"id": "s7/bad", "service": "s7", "status": "failed", "critical": False})
    drawing = gantt(report.model_copy(update={"steps": (*report.steps, *many, bad)}))
    labels = [row.label for row in drawing.rows]
    assert drawing.grouped
    assert len(labels) <= MOST_ROWS
    assert {"s7", "s7/bad", "payments-db/promote"} <= set(labels)
    assert any("more services" in label for label in labels), "what is left out is one row"


def test_many_probes_and_many_changes_are_cut_to_what_an_eye_can_see(city: City) -> None:
    report = fold_report(tell(city, Story()))
    flapping = tuple(
        Stretch(good=number % 2 == 0, from_at=at(number), until_at=at(number + 1), probes=1)
        for number in range(3000)
    )
    views = tuple(ProbeView(probe=f"p{number}", stretches=flapping) for number in range(40))
    drawing = clients(report.model_copy(update={"probes": views}))
    assert len(drawing.lanes) == MOST_LANES
    assert drawing.left_out == 40 - MOST_LANES
    assert all(len(lane.bars) <= MOST_PARTS for lane in drawing.lanes)
    assert {bar.kind for bar in drawing.lanes[0].bars} <= {"good", "bad", "mixed"}


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
