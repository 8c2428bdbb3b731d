"""Where everything stands in a report's drawings: one time axis, its marks, what clients met. Pure.

Across, all places are percent of the width, so that the page may be any width; down, they are pixels.
Zero on the axis is the first fault, or without one the first failure. Jinja draws what stands here and
decides nothing. The steps of the run are laid out by `report_gantt`.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from automation.model.base import format_duration
from automation.recovery.report import ProbeView, Report, Stretch
from automation.recovery.report_words import count, offset

LANE_PX = 52
LEVEL_PX = 16
LEAST_WIDTH = 0.4
MARGIN = 0.06
LABEL_WIDTH = 24.0
TICKS = 5
# More lanes than this help nobody; those that met an outage come first.
MOST_LANES = 12
# A lane with more changes than this is drawn in slices, each good, bad or mixed.
MOST_PARTS = 240
_DAY_S = 86400
_TICK_STEPS_S = (
    *(0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600),
    *(_DAY_S, 7 * _DAY_S, 30 * _DAY_S, 90 * _DAY_S, 365 * _DAY_S),
)


class Bar(NamedTuple):
    """A horizontal bar: where, how it ended, and what it says when pointed at."""

    x: float
    width: float
    kind: str
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


class Lane(NamedTuple):
    """One probe: its answers as bars, and the outage behind them in its two kinds."""

    probe: str
    says: str
    y: int
    bars: tuple[Bar, ...]
    shades: tuple[Bar, ...]


class Frame(NamedTuple):
    """What both drawings share: axis, marks, the shaded outage, times in which nobody ran the run."""

    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]
    marks_px: int
    outage: tuple[float, float] | None
    standstills: tuple[tuple[float, float], ...]


class Clients(NamedTuple):
    """The drawing of what clients met; without lanes it is not drawn."""

    lanes: tuple[Lane, ...]
    height_px: int
    left_out: int
    brownout: bool


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

    def extent(self, from_at: datetime, until_at: datetime) -> tuple[float, float]:
        """Place and width of a time, never too thin to be seen and never beyond the edge."""
        x = self.x(from_at)
        width = max(self.x(until_at) - x, LEAST_WIDTH)
        return round(min(x, 100 - width), 3), round(width, 3)


# --- what both drawings share --------------------------------------------------------------------


def find_axis(report: Report) -> Axis:
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


def draw_frame(report: Report, axis: Axis) -> Frame:
    """Lay out what stands behind the bars of both drawings."""
    marks = place_marks(_moments(report), axis)
    stood = [one for one in report.standstills if axis.shows(one.from_at, one.until_at)]
    return Frame(
        ticks=tuple(make_ticks(axis)),
        marks=marks,
        marks_px=LEVEL_PX * (1 + max((mark.level for mark in marks), default=0)) + 4,
        outage=_outage(report, axis),
        standstills=tuple(axis.extent(one.from_at, one.until_at) for one in stood),
    )


def make_ticks(axis: Axis) -> Iterable[Tick]:
    """Round times from zero, about five of them."""
    first, last = axis.seconds(axis.from_at), axis.seconds(axis.until_at)
    step = next((s for s in _TICK_STEPS_S if (last - first) / s <= TICKS), _TICK_STEPS_S[-1])
    number = int(first // step) + 1
    while number * step < last:
        seconds = number * step
        x = axis.x(axis.zero_at + timedelta(seconds=seconds))
        if 2 <= x <= 96:
            yield Tick(x, "0" if number == 0 else _since_zero(seconds))
        number += 1


def _since_zero(seconds: float) -> str:
    for unit, size in (("d", _DAY_S), ("h", 3600), ("min", 60)):
        if abs(seconds) >= size and seconds % size == 0:
            return f"{seconds / size:+g} {unit}"
    return f"{seconds:+g} s"


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
        value = offset(axis.seconds(at)) if at != axis.zero_at else "0"
        marks.append(Mark(x, label, value, level, anchor))
    return tuple(marks)


def _moments(report: Report) -> list[tuple[str, datetime]]:
    marks = report.marks
    good = [row.outage.client_good_at for row in report.services if row.outage.client_good_at]
    served = max(good, default=None) or report.served_again_at
    named = (
        ("detected", marks.detected_at),
        ("declared", marks.declared_at),
        ("approved", marks.approved_at),
        ("moved", marks.run_ended_at),
        ("copies ran" if _on_copies(report) else "clients good", served),
    )
    faults = [(fault.fault, fault.at) for fault in report.faults]
    return [*faults, *((label, at) for label, at in named if at is not None)]


def _on_copies(report: Report) -> bool:
    return report.isolated is not None and bool(report.isolated.copies)


def _outage(report: Report, axis: Axis) -> tuple[float, float] | None:
    """Place and width of the time in which any service was out; of a test on copies, none was."""
    if _on_copies(report):
        return None
    rows = [row.outage for row in report.services if row.outage.first_failed_at]
    starts = [outage.first_failed_at for outage in rows if outage.first_failed_at]
    if not starts:
        return None
    ends = [outage.client_good_at or axis.until_at for outage in rows]
    x = axis.x(min(starts))
    return x, round(axis.x(max(ends)) - x, 3)


# --- what clients met ----------------------------------------------------------------------------


def draw_clients(report: Report, axis: Axis) -> Clients:
    """Lay out a lane for each probe, those with the longest outage first."""
    views = sorted((one for one in report.probes if one.stretches), key=_by_outage)
    shown = views[:MOST_LANES]
    lanes = tuple(_lane(number, view, axis) for number, view in enumerate(shown))
    brownout = any(shade.kind == "brownout" for lane in lanes for shade in lane.shades)
    return Clients(lanes, LANE_PX * len(lanes), len(views) - len(shown), brownout)


def _by_outage(view: ProbeView) -> tuple[float, str]:
    end = view.out_until or view.stretches[-1].until_at
    return (-(end - view.out_from).total_seconds() if view.out_from else 0.0, view.probe)


def _lane(number: int, view: ProbeView, axis: Axis) -> Lane:
    """A stretch reaches to the start of the next one: what a client met who came at that moment."""
    nexts = [stretch.from_at for stretch in view.stretches[1:]] + [view.stretches[-1].until_at]
    parts = list(zip(view.stretches, nexts, strict=True))
    seen = [(stretch, until_at) for stretch, until_at in parts if axis.shows(stretch.from_at, until_at)]
    bars = _slices(seen, axis) if len(seen) > MOST_PARTS else [_part(one, at, axis) for one, at in seen]
    return Lane(view.probe, _says(view), number * LANE_PX, tuple(bars), tuple(_shades(view, axis)))


def _part(stretch: Stretch, until_at: datetime, axis: Axis) -> Bar:
    kind = "good" if stretch.good else "bad"
    errors = f" ({', '.join(stretch.errors)})" if stretch.errors else ""
    hint = f"{count(stretch.probes, 'probe')} {kind} from {offset(axis.seconds(stretch.from_at))}{errors}"
    return Bar(*axis.extent(stretch.from_at, until_at), kind, hint)


def _slices(seen: Sequence[tuple[Stretch, datetime]], axis: Axis) -> Iterator[Bar]:
    """Cut the width into equal slices: each is good, bad, or mixed if it has both."""
    width = 100 / MOST_PARTS
    kinds: list[set[bool]] = [set() for _ in range(MOST_PARTS)]
    for stretch, until_at in seen:
        first = int(axis.x(stretch.from_at) / width)
        last = max(first, int((axis.x(until_at) - 1e-9) / width))
        for slice_ in range(first, min(last + 1, MOST_PARTS)):
            kinds[slice_].add(stretch.good)
    for number, kind in enumerate(kinds):
        if kind:
            word = "mixed" if len(kind) == 2 else "good" if True in kind else "bad"
            yield Bar(round(number * width, 3), round(width, 3), word)


def _shades(view: ProbeView, axis: Axis) -> Iterator[Bar]:
    """Behind the bars: the longest time without an answer, and the brownout on either side of it."""
    if view.out_from is None or view.down_from is None or view.down_until is None:
        return
    end = view.out_until or view.stretches[-1].until_at
    for from_at, until_at, kind in (
        (view.out_from, view.down_from, "brownout"),
        (view.down_from, view.down_until, "down"),
        (view.down_until, end, "brownout"),
    ):
        if until_at > from_at and axis.shows(from_at, until_at):
            yield Bar(*axis.extent(from_at, until_at), kind)


def _says(view: ProbeView) -> str:
    """What the lane shows, in a few words at its right end."""
    if view.out_from is None:
        return (
            f"{count(view.failures, 'probe')} failed, outage not measured" if view.failures else "no failure"
        )
    end = view.out_until or view.stretches[-1].until_at
    word = "out" if view.out_until else "not back after"
    return f"{word} {format_duration((end - view.out_from).total_seconds())}"
