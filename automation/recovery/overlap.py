"""When each database node took writes, and whether two of them did at once. Pure.

Reads the records of the checker (`automation/shipped/checker.py`). All hosts of a lab share one machine
and so one monotonic clock; `one_clock` says whether the records' headers bear that out.

A write's commit lies somewhere between its start and its end. A period of a node runs from its first to
its last commit, for as long as no pause is longer than PAUSE_MS; two periods of different nodes overlap
`certainly` when they do wherever those commits lie, and `perhaps` when it depends on where they lie.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, Literal, NamedTuple

from automation.model.base import Model
from automation.model.errors import AutomationError

# Longer than any stall of a busy machine that was seen, shorter than any failover. Too long a pause only
# makes periods longer, so that more overlaps are found.
PAUSE_MS = 1000.0
# Wall minus monotonic clock of two records of one machine differ by what NTP moved the wall clock by.
CLOCKS_AGREE_MS = 1000.0

Became = Literal["committed", "refused", "failed", "in_doubt"]


class Attempt(NamedTuple):
    """One write that a checker tried on a node; `incarnation` counts the starts of that checker."""

    writer: str
    incarnation: int
    node: str
    number: int
    start_ns: int
    end_ns: int
    became: Became


class Clock(NamedTuple):
    """What a record's header says of its clock."""

    namespace: str
    wall_minus_mono_ns: int


class Record(NamedTuple):
    """What one checker wrote down."""

    attempts: tuple[Attempt, ...]
    clocks: tuple[Clock, ...]
    missed_beats: int


class Write(Model):
    """Names one committed write."""

    writer: str
    incarnation: int
    node: str
    number: int
    start_ns: int
    end_ns: int


class Period(Model):
    """An uninterrupted time in which a node took writes.

    It began at some moment from `from_ns` to the end of `first`, and ended at some moment from the start of
    `last` to `until_ns`.
    """

    node: str
    first: Write
    last: Write
    from_ns: int
    until_ns: int
    commits: int
    longest_pause_ms: float


class Overlap(Model):
    """Two nodes took writes at once: each one's first write stands before the other one's last."""

    certain: bool
    nodes: tuple[str, str]
    at_least_ms: float
    first: tuple[Write, Write]
    last: tuple[Write, Write]


class Coverage(Model):
    """How closely one checker tried one node."""

    writer: str
    node: str
    attempts: int
    committed: int
    in_doubt: int
    longest_gap_ms: float
    usual_gap_ms: float
    slowest_commit_ms: float | None
    usual_commit_ms: float | None


class Writability(Model):
    """Which node took writes when, as far as the resolution goes.

    `resolution_ms`: no node took writes for longer than this without a commit standing in the records:
    the longest time that any checker let a node be untried, and the slowest commit. The usual one leaves
    out one in a hundred of both.
    `returns`: commits on a node that began after another node had taken over from it; a failback makes
    them, a failover must not.
    """

    periods: tuple[Period, ...]
    overlaps: tuple[Overlap, ...]
    returns: tuple[Write, ...]
    coverage: tuple[Coverage, ...]
    resolution_ms: float
    usual_resolution_ms: float
    missed_beats: int
    one_clock: bool

    @property
    def committed(self) -> int:
        return sum(period.commits for period in self.periods)


def read_record(content: str) -> Record:
    """Read one checker's record; a line that was cut off is passed over.

    Raises:
        AutomationError: it does not begin with a header, so nothing in it can be trusted.
    """
    attempts: list[Attempt] = []
    clocks: list[Clock] = []
    missed, writer = 0, ""
    for line in _lines(content):
        kind = line.get("record")
        if kind == "header":
            writer = line["writer"]
            clock = line["clock"]
            clocks.append(Clock(clock["time_namespace"], clock["wall_ns"] - clock["mono_ns"]))
        elif not clocks:
            raise AutomationError("a checker's record does not begin with its header")
        elif kind == "missed":
            missed += line["beats"]
        elif kind == "write":
            times = (line["start"], line["end"])
            attempts.append(
                Attempt(writer, len(clocks), line["node"], line["n"], *times, became=line["became"])
            )
    if not clocks:
        raise AutomationError("a checker's record is empty")
    return Record(tuple(attempts), tuple(clocks), missed)


def fold_writability(records: Iterable[Record]) -> Writability:
    """Fold the records of all checkers of one watch."""
    records = tuple(records)
    attempts = [attempt for record in records for attempt in record.attempts]
    periods = list_periods(attempts)
    coverage = _coverage(attempts)
    return Writability(
        periods=periods,
        overlaps=find_overlaps(periods),
        returns=find_returns(attempts),
        coverage=coverage,
        resolution_ms=_sum(
            [row.longest_gap_ms for row in coverage], [row.slowest_commit_ms for row in coverage]
        ),
        usual_resolution_ms=_sum(
            [row.usual_gap_ms for row in coverage], [row.usual_commit_ms for row in coverage]
        ),
        missed_beats=sum(record.missed_beats for record in records),
        one_clock=_one_clock([clock for record in records for clock in record.clocks]),
    )


def list_periods(attempts: Iterable[Attempt]) -> tuple[Period, ...]:
    """Give the periods in which nodes took writes, earliest first."""
    commits: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        if attempt.became == "committed":
            commits[attempt.node].append(attempt)
    periods = [_period(run) for node in commits.values() for run in _runs(node)]
    return tuple(sorted(periods, key=lambda period: (period.first.end_ns, period.node)))


def find_overlaps(periods: Sequence[Period]) -> tuple[Overlap, ...]:
    """Give every pair of periods of different nodes that overlap, certainly or perhaps."""
    pairs = ((a, b) for a, b in combinations(periods, 2) if a.node != b.node)
    return tuple(found for a, b in pairs if (found := _overlap(a, b)) is not None)


def find_returns(attempts: Iterable[Attempt]) -> tuple[Write, ...]:
    """Give the commits on nodes that another node had taken over from, earliest first.

    A node takes over with its first commit after the other one's first.
    """
    commits = sorted((a for a in attempts if a.became == "committed"), key=lambda a: a.end_ns)
    taken_over_ns: dict[str, int] = {}
    for commit in commits:
        taken_over_ns.setdefault(commit.node, commit.end_ns)
    order = sorted(taken_over_ns, key=lambda node: taken_over_ns[node])
    until_ns = {node: taken_over_ns[later] for node, later in pairwise(order)}
    late = (a for a in commits if a.node in until_ns and a.start_ns > until_ns[a.node])
    return tuple(sorted((_write(a) for a in late), key=lambda write: write.start_ns))


def count_attempts(records: Iterable[Record], node: str, since_ns: int) -> Mapping[str, tuple[int, int]]:
    """Count for each writer the attempts on a node that began after a moment, and those committed."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        for attempt in record.attempts:
            if attempt.node == node and attempt.start_ns > since_ns:
                counts[attempt.writer][0] += 1
                counts[attempt.writer][1] += attempt.became == "committed"
    return {writer: (tried, committed) for writer, (tried, committed) in counts.items()}


def _lines(content: str) -> Iterable[dict[str, Any]]:
    for text in content.splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue  # the checker, or its host, was killed in the middle of it
        if isinstance(line, dict):
            yield line


def _runs(commits: list[Attempt]) -> list[list[Attempt]]:
    """Split a node's commits where it took none for longer than the pause."""
    runs: list[list[Attempt]] = []
    until_ns = 0
    for commit in sorted(commits, key=lambda a: a.start_ns):
        if not runs or (commit.start_ns - until_ns) / 1e6 > PAUSE_MS:
            runs.append([])
            until_ns = commit.end_ns
        runs[-1].append(commit)
        until_ns = max(until_ns, commit.end_ns)
    return runs


def _period(commits: list[Attempt]) -> Period:
    ends = sorted(commit.end_ns for commit in commits)
    return Period(
        node=commits[0].node,
        first=_write(min(commits, key=lambda a: a.end_ns)),
        last=_write(max(commits, key=lambda a: a.start_ns)),
        from_ns=min(commit.start_ns for commit in commits),
        until_ns=ends[-1],
        commits=len(commits),
        longest_pause_ms=round(max((b - a for a, b in pairwise(ends)), default=0) / 1e6, 1),
    )


def _overlap(a: Period, b: Period) -> Overlap | None:
    """Compare the times that the first and last commits may have."""
    possible = a.from_ns < b.until_ns and b.from_ns < a.until_ns
    certain = a.first.end_ns < b.last.start_ns and b.first.end_ns < a.last.start_ns
    if not possible:
        return None
    shared_ns = min(a.last.start_ns, b.last.start_ns) - max(a.first.end_ns, b.first.end_ns)
    return Overlap(
        certain=certain,
        nodes=(a.node, b.node),
        at_least_ms=round(max(0, shared_ns) / 1e6, 1),
        first=(a.first, b.first),
        last=(a.last, b.last),
    )


def _coverage(attempts: Iterable[Attempt]) -> tuple[Coverage, ...]:
    by_pair: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        by_pair[attempt.writer, attempt.node].append(attempt)
    return tuple(_cover(writer, node, found) for (writer, node), found in sorted(by_pair.items()))


def _cover(writer: str, node: str, attempts: list[Attempt]) -> Coverage:
    gaps = _gaps_ms(attempts)
    commits_ms = sorted((a.end_ns - a.start_ns) / 1e6 for a in attempts if a.became == "committed")
    return Coverage(
        writer=writer,
        node=node,
        attempts=len(attempts),
        committed=len(commits_ms),
        in_doubt=sum(a.became == "in_doubt" for a in attempts),
        longest_gap_ms=round(gaps[-1], 1) if gaps else 0.0,
        usual_gap_ms=_usual(gaps) if gaps else 0.0,
        slowest_commit_ms=round(commits_ms[-1], 1) if commits_ms else None,
        usual_commit_ms=_usual(commits_ms) if commits_ms else None,
    )


def _usual(ordered: Sequence[float]) -> float:
    """Give what 99 of 100 do not exceed."""
    return round(ordered[int(len(ordered) * 0.99)], 1)


def _sum(gaps: Iterable[float], commits: Iterable[float | None]) -> float:
    known = (commit for commit in commits if commit is not None)
    return round(max(gaps, default=0.0) + max(known, default=0.0), 1)


def _gaps_ms(attempts: list[Attempt]) -> list[float]:
    """Give the times between one attempt's start and the next, shortest first.

    Not between two starts of a checker: it was down because its host was, and a host that is down is no
    client either.
    """
    ordered = sorted(attempts, key=lambda a: (a.incarnation, a.start_ns))
    together = ((a, b) for a, b in pairwise(ordered) if a.incarnation == b.incarnation)
    return sorted((b.start_ns - a.start_ns) / 1e6 for a, b in together)


def _one_clock(clocks: Sequence[Clock]) -> bool:
    offsets = [clock.wall_minus_mono_ns for clock in clocks]
    apart_ms = (max(offsets) - min(offsets)) / 1e6 if offsets else 0.0
    return len({clock.namespace for clock in clocks}) == 1 and apart_ms <= CLOCKS_AGREE_MS


def _write(attempt: Attempt) -> Write:
    return Write(
        writer=attempt.writer,
        incarnation=attempt.incarnation,
        node=attempt.node,
        number=attempt.number,
        start_ns=attempt.start_ns,
        end_ns=attempt.end_ns,
    )
