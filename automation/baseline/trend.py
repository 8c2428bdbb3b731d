"""Audits of the same hosts, one after the other: what each counted, and where that stands in a drawing. Pure.

All are judged by one bar, today's; so what changes between them is the hosts, not what is asked of them.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from automation.baseline.controls import Severity
from automation.baseline.verdicts import Assessment, State, tally

MOST = 12  # columns, so that each can be told from the next on a phone
LABELS = 6
FAILED_PX, UNKNOWN_PX, LABEL_PX = 96, 36, 18
KINDS: Mapping[Severity, str] = {"critical": "bad", "high": "severe", "medium": "medium", "low": "low"}
Failure = tuple[str, str]  # control and subject


class Look(NamedTuple):
    """What one audit found of the hosts that a report is about."""

    run: str
    at: datetime
    subjects: frozenset[str]
    counts: Mapping[State, int]
    severities: Mapping[Severity, int]  # of what failed
    failures: frozenset[Failure]
    score: float | None
    coverage: float | None
    trusted: bool

    @property
    def failed(self) -> int:
        return len(self.failures)

    @property
    def unknown(self) -> int:
        return self.counts.get("unknown", 0)


class Past(NamedTuple):
    """Earlier audits, oldest first; which are left out, and why."""

    looks: tuple[Look, ...] = ()
    left_out: tuple[str, ...] = ()
    of: int = 0


NOTHING = Past()


class Block(NamedTuple):
    """A part of a column, in pixels from the top."""

    kind: str
    y: float
    height: float
    words: str


class Column(NamedTuple):
    """One audit in the drawing; x and width in percent of it."""

    x: float
    width: float
    middle: float
    blocks: tuple[Block, ...]
    failed: str
    failed_y: float
    unknown: str
    unknown_y: float
    tick: str


class Drawing(NamedTuple):
    """Columns of what failed, the worst at the bottom, and below them of what was not known."""

    columns: tuple[Column, ...]
    height_px: int
    failed_base: int
    unknown_base: int


class Change(NamedTuple):
    """What is another way than in the audit before, of the hosts that both judged."""

    before: Look
    new: tuple[Failure, ...]
    gone: tuple[Failure, ...]
    hosts: int


def look(run: str, assessments: Sequence[Assessment], subjects: Collection[str]) -> Look | None:
    """Count what an audit found of some hosts; None: it judged none of them."""
    ours = [one for one in assessments if one.subject in subjects]
    if not ours:
        return None
    verdicts = [verdict for one in ours for verdict in one.verdicts]
    failed = [one for one in verdicts if one.state in ("fail", "error")]
    counted = tally(verdicts)
    return Look(
        run=run,
        at=max(one.collected_at for one in ours),
        subjects=frozenset(one.subject for one in ours),
        counts=counted.counts,
        severities=Counter(one.severity for one in failed),
        failures=frozenset((one.control, one.subject) for one in failed),
        score=counted.score,
        coverage=counted.coverage,
        trusted=counted.trusted,
    )


def change(looks: Sequence[Look]) -> Change | None:
    """Say what the last audit found another way than the one before it; None: there is none before it."""
    if len(looks) < 2:
        return None
    before, now = looks[-2], looks[-1]
    both = before.subjects & now.subjects
    new = sorted(one for one in now.failures - before.failures if one[1] in both)
    gone = sorted(one for one in before.failures - now.failures if one[1] in both)
    return Change(before, tuple(new), tuple(gone), len(both))


def spread(names: Sequence[str], most: int = MOST) -> tuple[str, ...]:
    """Choose so many of a sequence, at equal distances, the first and the last among them."""
    if len(names) <= most:
        return tuple(names)
    steps = range(most)
    return tuple(names[round(one * (len(names) - 1) / (most - 1))] for one in steps)


def draw(looks: Sequence[Look]) -> Drawing:
    """Lay out a column an audit, the oldest on the left."""
    failed_base = LABEL_PX + FAILED_PX
    unknown_base = failed_base + 2 * LABEL_PX + UNKNOWN_PX
    ticks = _ticks(looks)
    columns = tuple(
        _column(number, looks, ticks[number], (failed_base, unknown_base)) for number in range(len(looks))
    )
    return Drawing(columns, unknown_base + LABEL_PX, failed_base, unknown_base)


def _column(number: int, looks: Sequence[Look], tick: str, bases: tuple[int, int]) -> Column:
    one, share = looks[number], 100 / len(looks)
    per_failure = FAILED_PX / max(1, *(other.failed for other in looks))
    per_unknown = UNKNOWN_PX / max(1, *(other.unknown for other in looks))
    failed_base, unknown_base = bases
    blocks, y = [], float(failed_base)
    for severity, kind in KINDS.items():
        if found := one.severities.get(severity, 0):
            y -= found * per_failure
            blocks.append(Block(kind, round(y, 2), round(found * per_failure, 2), f"{found} {severity}"))
    unknown_y = unknown_base - one.unknown * per_unknown
    if one.unknown:
        height = round(one.unknown * per_unknown, 2)
        blocks.append(Block("still", round(unknown_y, 2), height, f"{one.unknown} not known"))
    return Column(
        x=round(number * share + share * 0.15, 3),
        width=round(share * 0.7, 3),
        middle=round((number + 0.5) * share, 3),
        blocks=tuple(blocks),
        failed=str(one.failed),
        failed_y=round(y - 4, 2),
        unknown=str(one.unknown),
        unknown_y=round(unknown_y - 4, 2),
        tick=tick,
    )


def _ticks(looks: Sequence[Look]) -> list[str]:
    """Label the last audit and as many before it as have room: by day, or within two days by time."""
    if not looks:
        return []
    close = looks[-1].at - looks[0].at < timedelta(days=2)
    every = -(-len(looks) // LABELS)
    last = len(looks) - 1
    return [
        (f"{one.at:%H:%M}" if close else f"{one.at:%m-%d}") if (last - number) % every == 0 else ""
        for number, one in enumerate(looks)
    ]
