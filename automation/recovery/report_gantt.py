"""Where every step stands in the drawing of a run: one row a step, or of a large run one a service. Pure.

A drawing of ten thousand rows says nothing, so a large run is drawn by service; steps that decided when it
was through, and those that did not succeed, keep rows of their own as long as there is room.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from automation.recovery.report import Report, StepResult
from automation.recovery.report_words import brief, count, offset
from automation.recovery.timeline import Axis, Bar

ROW_PX = 34
# With more steps than this they are drawn by service.
MOST_STEPS = 48
MOST_ROWS = 48
MOST_OWN_ROWS = 20


class Row(NamedTuple):
    """One line of the drawing: a step, or the steps of a service."""

    label: str
    value: str
    y: int
    bars: tuple[Bar, ...]
    critical: bool


class Gantt(NamedTuple):
    """The drawing of what the run did; without rows it is not drawn."""

    rows: tuple[Row, ...]
    height_px: int
    before: int
    after: int
    grouped: bool
    left_out: int


class _Line(NamedTuple):
    """A row that has no place yet."""

    from_at: datetime
    label: str
    value: str
    bars: tuple[Bar, ...]
    critical: bool


def draw_gantt(report: Report, axis: Axis) -> Gantt:
    """Lay out the steps that ran within the axis; the others are counted."""
    timed = [step for step in report.steps if step.started_at is not None or step.earlier]
    shown = [step for step in timed if axis.shows(*_span(step, axis))]
    grouped = len(shown) > MOST_STEPS
    lines = _by_service(shown, axis) if grouped else [_own(step, axis) for step in shown]
    lines.sort(key=lambda line: (line.from_at, line.label))
    return Gantt(
        rows=tuple(_place(number, line) for number, line in enumerate(lines[:MOST_ROWS])),
        height_px=ROW_PX * min(len(lines), MOST_ROWS),
        before=sum(_span(step, axis)[1] <= axis.from_at for step in timed),
        after=sum(_span(step, axis)[0] >= axis.until_at for step in timed),
        grouped=grouped,
        left_out=max(0, len(lines) - MOST_ROWS),
    )


def _place(number: int, line: _Line) -> Row:
    return Row(line.label, line.value, number * ROW_PX, line.bars, line.critical)


def _span(step: StepResult, axis: Axis) -> tuple[datetime, datetime]:
    """First start and last end of a step; one without an end reaches to the edge."""
    starts = [one.started_at for one in step.earlier]
    starts += [step.started_at] if step.started_at else []
    return min(starts, default=axis.from_at), _end(step, axis)


def _end(step: StepResult, axis: Axis) -> datetime:
    if step.status in ("unfinished",) or (step.ended_at is None and step.started_at is not None):
        return axis.until_at
    ends = [one.ended_at or one.started_at for one in step.earlier]
    ends += [step.ended_at] if step.ended_at else []
    return max(ends, default=axis.until_at)


def _own(step: StepResult, axis: Axis) -> _Line:
    """A row of one step, with every time that it was tried."""
    bars = [
        Bar(*axis.extent(one.started_at, one.ended_at or one.started_at), one.status, f"earlier: {one.text}")
        for one in step.earlier
    ]
    value = "no end" if step.seconds is None else brief(step.seconds)
    if step.started_at is not None:
        since = offset(axis.seconds(step.started_at))
        hint = f"{step.id} from {since}: {value}, {step.status.replace('-', ' ')}"
        bars.append(Bar(*axis.extent(step.started_at, step.ended_at or axis.until_at), step.status, hint))
    words = [value, *([step.status.replace("-", " ")] if step.status != "succeeded" else [])]
    words += [f"tried {len(step.earlier) + 1} times"] if step.earlier else []
    return _Line(_span(step, axis)[0], step.id, ", ".join(words), tuple(bars), step.critical)


def _by_service(steps: Sequence[StepResult], axis: Axis) -> list[_Line]:
    """A row for each service, and rows of their own for the steps that matter."""
    failed = [step for step in steps if step.status in ("failed", "unfinished")]
    critical = [step for step in steps if step.critical and step not in failed]
    own = [*failed[: MOST_OWN_ROWS // 2], *critical[-(MOST_OWN_ROWS // 2) :]]
    groups: dict[str, list[StepResult]] = {}
    for step in steps:
        groups.setdefault(step.service or "the run itself", []).append(step)
    kept = sorted(groups, key=lambda name: _weight(groups[name], axis))[: MOST_ROWS - len(own) - 1]
    rest = [step for name, found in groups.items() if name not in kept for step in found]
    lines = [_group(name, groups[name], axis) for name in kept]
    if rest:
        lines.append(_group(f"{len(groups) - len(kept)} more services", rest, axis))
    return [*lines, *(_own(step, axis) for step in own)]


def _weight(steps: Iterable[StepResult], axis: Axis) -> tuple[bool, float]:
    """Services with trouble first, then those that took longest."""
    found = list(steps)
    trouble = any(step.status in ("failed", "unfinished") or step.critical for step in found)
    spans = [_span(step, axis) for step in found]
    whole = max(end for _, end in spans) - min(start for start, _ in spans)
    return not trouble, -whole.total_seconds()


def _group(name: str, steps: Sequence[StepResult], axis: Axis) -> _Line:
    spans = [_span(step, axis) for step in steps]
    from_at, until_at = min(start for start, _ in spans), max(end for _, end in spans)
    bad = sum(step.status in ("failed", "unfinished") for step in steps)
    kind = "failed" if bad else "group"
    took = brief((until_at - from_at).total_seconds())
    trouble = f", {bad} did not succeed" if bad else ""
    value = f"{count(len(steps), 'step')}, {took}{trouble}"
    bar = Bar(*axis.extent(from_at, until_at), kind, f"{name}: {value}")
    return _Line(from_at, name, value, (bar,), any(step.critical for step in steps))
