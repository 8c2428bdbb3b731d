"""Where everything stands in a drill's drawing: steps as bars, clients as a band, one time axis. Pure.

Across, all places are percent of the width, so that the page may be any width; down, they are pixels.
Zero on the axis is the first fault, or without one the first failure. Jinja draws what stands here and
decides nothing.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from automation.model.base import format_duration
from automation.recovery.report import DrillReport, ProbeView, StepResult

ROW_PX = 34
BAND_PX = 40
LEVEL_PX = 16
LEAST_WIDTH = 0.5
MARGIN = 0.06
LABEL_WIDTH = 16.0
TICKS = 5
_TICK_STEPS_S = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)


class Bar(NamedTuple):
    """A horizontal bar with its words, and how it ended."""

    x: float
    width: float
    y: int
    kind: str
    label: str
    value: str
    hint: str = ""


class Mark(NamedTuple):
    """A vertical line at a moment; `level` keeps neighbouring labels apart."""

    x: float
    label: str
    value: str
    level: int
    anchor: str


class Tick(NamedTuple):
    """A number on the axis."""

    x: float
    label: str


class Drawing(NamedTuple):
    """Both pictures of a report; a picture without rows is not drawn."""

    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    marks_px: int
    outage: tuple[float, float] | None
    steps: tuple[Bar, ...]
    steps_px: int
    clients: tuple[tuple[str, int, tuple[Bar, ...]], ...]
    clients_px: int
    before: int
    after: int


class Axis(NamedTuple):
    """Maps moments to percent of the width."""

    zero_at: datetime
    from_at: datetime
    until_at: datetime

    def x(self, at: datetime) -> float:
        whole = (self.until_at - self.from_at) / timedelta(seconds=1)
        part = (at - self.from_at) / timedelta(seconds=1)
        return round(min(max(part / whole, 0.0), 1.0) * 100, 3)

    def seconds(self, at: datetime) -> float:
        return (at - self.zero_at).total_seconds()

    def shows(self, from_at: datetime, until_at: datetime) -> bool:
        return from_at < self.until_at and until_at > self.from_at


def draw(report: DrillReport) -> Drawing:
    """Lay out the drawing of a report."""
    axis = find_axis(report)
    timed = [step for step in report.steps if step.started_at is not None]
    shown = [step for step in timed if axis.shows(*_times(step, axis))]
    marks = place_marks(_moments(report), axis)
    clients = tuple(_client(number, view, axis) for number, view in enumerate(report.probes))
    return Drawing(
        ticks=tuple(make_ticks(axis)),
        marks=marks,
        marks_px=LEVEL_PX * (1 + max((mark.level for mark in marks), default=0)),
        outage=_outage(report, axis),
        steps=tuple(_step(number, step, axis) for number, step in enumerate(shown)),
        steps_px=ROW_PX * len(shown),
        clients=clients,
        clients_px=BAND_PX * len(clients),
        before=sum(_times(step, axis)[1] <= axis.from_at for step in timed),
        after=sum(_times(step, axis)[0] >= axis.until_at for step in timed),
    )


def find_axis(report: DrillReport) -> Axis:
    """From a little before the loss until a little after clients are well; all of a run without an outage."""
    starts = [row.outage.first_failed_at for row in report.services if row.outage.first_failed_at]
    ends = [row.outage.client_good_at for row in report.services if row.outage.client_good_at]
    seen = [view.stretches[-1].until_at for view in report.probes if view.stretches]
    steps = [at for step in report.steps for at in (step.started_at, step.ended_at) if at]
    last = max(steps, default=report.started_at)
    zero = report.marks.fault_at or min(starts, default=report.started_at)
    begin = min([zero, *starts])
    recovered = starts and len(ends) == len(starts)
    end = max(ends) if recovered else max([last, *seen])
    if recovered and report.marks.run_ended_at:
        end = max(end, report.marks.run_ended_at)
    margin = max((end - begin) * MARGIN, timedelta(milliseconds=50))
    return Axis(zero, begin - margin, end + margin)


def make_ticks(axis: Axis) -> Iterable[Tick]:
    """Round seconds from zero, about five of them."""
    first, last = axis.seconds(axis.from_at), axis.seconds(axis.until_at)
    step = next((s for s in _TICK_STEPS_S if (last - first) / s <= TICKS), _TICK_STEPS_S[-1])
    number = int(first // step) + 1
    while number * step < last:
        seconds = number * step
        x = axis.x(axis.zero_at + timedelta(seconds=seconds))
        if 2 <= x <= 96:
            yield Tick(x, "0" if number == 0 else f"{seconds:+g} s")
        number += 1


def place_marks(moments: Sequence[tuple[str, datetime]], axis: Axis) -> tuple[Mark, ...]:
    """Give every label the lowest level on which it touches no other."""
    ends: list[float] = []
    marks = []
    for label, at in sorted(moments, key=lambda moment: moment[1]):
        x = axis.x(at)
        anchor = "end" if x > 100 - LABEL_WIDTH else "start"
        left = x - LABEL_WIDTH if anchor == "end" else x
        level = next((number for number, end in enumerate(ends) if end <= left), len(ends))
        ends[level : level + 1] = [left + LABEL_WIDTH]
        value = f"{axis.seconds(at):+.2f} s" if at != axis.zero_at else "0"
        marks.append(Mark(x, label, value, level, anchor))
    return tuple(marks)


def _moments(report: DrillReport) -> list[tuple[str, datetime]]:
    marks = report.marks
    good = [row.outage.client_good_at for row in report.services if row.outage.client_good_at]
    named = (
        ("detected", marks.detected_at),
        ("declared", marks.declared_at),
        ("approved", marks.approved_at),
        ("recovered", marks.run_ended_at),
        ("clients good", max(good, default=None)),
    )
    faults = [(fault.fault, fault.at) for fault in report.faults]
    return [*faults, *((label, at) for label, at in named if at is not None)]


def _outage(report: DrillReport, axis: Axis) -> tuple[float, float] | None:
    """Place and width of the time in which any service was out."""
    rows = [row.outage for row in report.services if row.outage.first_failed_at]
    starts = [outage.first_failed_at for outage in rows if outage.first_failed_at]
    if not starts:
        return None
    ends = [outage.client_good_at or axis.until_at for outage in rows]
    x = axis.x(min(starts))
    return x, round(axis.x(max(ends)) - x, 3)


def _times(step: StepResult, axis: Axis) -> tuple[datetime, datetime]:
    """Start and end of a step; one without an end reaches to the edge."""
    return step.started_at or axis.from_at, step.ended_at or axis.until_at


def _step(number: int, step: StepResult, axis: Axis) -> Bar:
    started_at, ended_at = _times(step, axis)
    x, width = _extent(started_at, ended_at, axis)
    value = "no end" if step.seconds is None else format_duration(step.seconds)
    since = f"{axis.seconds(started_at):+.2f} s"
    return Bar(x, width, number * ROW_PX, step.status, step.id, value, f"{step.id} from {since}: {value}")


def _client(number: int, view: ProbeView, axis: Axis) -> tuple[str, int, tuple[Bar, ...]]:
    """A stretch reaches to the start of the next one: what a client met who came at that moment."""
    y = number * BAND_PX
    nexts = [stretch.from_at for stretch in view.stretches[1:]] + [view.stretches[-1].until_at]
    bars = []
    for stretch, until_at in zip(view.stretches, nexts, strict=True):
        if not axis.shows(stretch.from_at, until_at):
            continue
        x, width = _extent(stretch.from_at, until_at, axis)
        kind = "good" if stretch.good else "bad"
        errors = f" ({', '.join(stretch.errors)})" if stretch.errors else ""
        hint = f"{stretch.probes} probes {kind} from {axis.seconds(stretch.from_at):+.2f} s{errors}"
        bars.append(Bar(x, width, y, kind, view.probe, str(stretch.probes), hint))
    return view.probe, y, tuple(bars)


def _extent(from_at: datetime, until_at: datetime, axis: Axis) -> tuple[float, float]:
    x = axis.x(from_at)
    width = max(axis.x(until_at) - x, LEAST_WIDTH)
    return round(min(x, 100 - width), 3), round(width, 3)
