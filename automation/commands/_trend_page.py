"""The trend on an audit's page: what changed since the audit before, a drawing, and a row an audit."""

from collections.abc import Sequence
from typing import NamedTuple

from automation.baseline.trend import KINDS, Change, Drawing, Failure, Look, change, draw, look
from automation.commands._baseline_formats import LONGEST_NAME, Reported, percent, plain
from automation.recovery.report_words import count, utc


class TrendRow(NamedTuple):
    """One audit of those that are drawn."""

    run: str
    at: str
    hosts: str
    failed: str
    passed: int
    waived: int
    unknown: int
    coverage: str
    score: str
    trusted: bool


class Moved(NamedTuple):
    """Hosts on which a control failed newly, or no longer."""

    control: str
    hosts: str


class Trend(NamedTuple):
    """All that the page tells of earlier audits."""

    since: str
    new: tuple[Moved, ...]
    gone: tuple[Moved, ...]
    drawing: Drawing
    rows: tuple[TrendRow, ...]
    chosen: str
    left_out: tuple[str, ...]


def trend_of(told: Reported) -> Trend | None:
    """Set an audit against those before it; None: it judged nothing."""
    subjects = {one.subject for one in told.audited.assessments}
    now = look(told.audited.run, told.audited.assessments, subjects)
    if now is None:
        return None
    looks = (*told.past.looks, now)
    moved = change(looks)
    return Trend(
        since=_since(moved, now),
        new=_moved(moved.new if moved else ()),
        gone=_moved(moved.gone if moved else ()),
        drawing=draw(looks),
        rows=tuple(_row(one, len(subjects)) for one in reversed(looks)),
        chosen=_chosen(told, len(looks)),
        left_out=tuple(plain(one) for one in told.past.left_out),
    )


def _since(moved: Change | None, now: Look) -> str:
    if moved is None:
        return "No earlier audit of these hosts is kept, so nothing can be said."
    on = "" if moved.hosts == len(now.subjects) else f" on the {count(moved.hosts, 'host')} that both judged"
    if not moved.new and not moved.gone:
        words = f"The same failed as on {utc(moved.before.at)}{on}"
    else:
        words = f"{len(moved.new) or 'None'} failed newly and {len(moved.gone) or 'none'} no longer"
        words = f"{words} since {utc(moved.before.at)}{on}"
    return f"{words}; {now.unknown} not known, {moved.before.unknown} then."


def _moved(failures: Sequence[Failure]) -> tuple[Moved, ...]:
    found: dict[str, list[str]] = {}
    for control, subject in failures:
        found.setdefault(control, []).append(plain(subject, LONGEST_NAME))
    return tuple(Moved(control, ", ".join(hosts)) for control, hosts in found.items())


def _row(one: Look, hosts: int) -> TrendRow:
    severities = ", ".join(f"{one.severities[name]} {name}" for name in KINDS if one.severities.get(name))
    return TrendRow(
        run=plain(one.run, LONGEST_NAME),
        at=utc(one.at),
        hosts=f"{len(one.subjects)} of {hosts}",
        failed=f"{one.failed} ({severities})" if severities else "0",
        passed=one.counts.get("pass", 0) + one.counts.get("attested", 0),
        waived=one.counts.get("waived", 0),
        unknown=one.unknown,
        coverage=percent(one.coverage),
        score=percent(one.score),
        trusted=one.trusted,
    )


def _chosen(told: Reported, shown: int) -> str:
    if told.past.of + 1 <= shown:
        return ""
    return f"{shown} of {told.past.of + 1} audits are shown: of many the last of a day, at equal distances."
