"""What `./inv demo` showed, drill by drill: for programs, and as the rows of its table. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from automation.model.base import Model
from automation.recovery.objectives import Verdict
from automation.recovery.report import Report, ReportVerdict, ServiceResult
from automation.recovery.report_words import format_rpa, format_rta, format_target

WORST_FIRST: tuple[ReportVerdict, ...] = ("failed", "missed", "not-measured", "open", "met", "done")
SIMULATED = "(simulated)"  # as reasons of a report say it


class DemoResult(Model):
    """Every drill that was run, in that order; the verdict is the worst of theirs.

    `took_s`: seconds of each part of the story, of which drills are some.
    """

    format: int = 1
    verdict: ReportVerdict
    took_s: Mapping[str, float]
    reports: tuple[Report, ...]


class MeasuredRow(NamedTuple):
    """One service in one drill: what was promised, what came of it, and who measured that."""

    service: str
    rto: str
    rta: str
    rpo: str
    rpa: str
    measured_by: str
    verdict: Verdict


def worst(reports: Sequence[Report]) -> ReportVerdict:
    """Give the verdict of a whole story."""
    verdicts = {one.verdict for one in reports}
    return next((word for word in WORST_FIRST if word in verdicts), "open")


def rows_of(report: Report) -> Iterator[MeasuredRow]:
    """Give the rows of one drill, as its report has them."""
    for row in report.services:
        yield MeasuredRow(
            row.service,
            format_target(row.rto_s),
            format_rta(row.outage),
            format_target(row.rpo_s),
            format_rpa(row.loss),
            measured_by(row),
            row.verdict,
        )


def measured_by(row: ServiceResult) -> str:
    """Say what both rest on: a client's probes or the provider, numbered writes or the age of a copy."""
    client = row.outage.deciding_probe is not None or row.outage.status == "none-seen"
    rta = "client" if client else _simulated("provider", row.outage.reason)
    rpa = _simulated("age", row.loss.reason) if row.loss.is_by_age else "writes"
    parts = [word for word, of in ((rta, row.outage), (rpa, row.loss)) if of.status != "not-measured"]
    return ", ".join(parts) or "-"


def _simulated(word: str, reason: str) -> str:
    return f"{word}*" if SIMULATED in reason else word
