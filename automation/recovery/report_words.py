"""Measures and times in words, the same in every form of a report. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from automation.model.base import format_duration
from automation.model.evidence import Fault
from automation.recovery.objectives import Loss, Outage
from automation.recovery.report import Report, ServiceResult


def format_target(seconds: float) -> str:
    """Give a target as people set it: 0 s, 5 s, 1 min, 4 h."""
    return f"{seconds:g} s" if seconds < 60 else format_duration(seconds)


def format_rta(outage: Outage) -> str:
    """Give the measured outage in a few words."""
    if outage.status == "not-measured" or outage.rta_s is None:
        return "not measured"
    if outage.status == "none-seen":
        return "no outage"
    return f"{'over ' if outage.status == 'not-recovered' else ''}{format_duration(outage.rta_s)}"


def format_rpa(loss: Loss) -> str:
    """Give the measured loss: the age of the oldest lost write, and how many were lost."""
    if loss.status == "not-measured" or loss.rpa_s is None:
        return "not measured"
    if loss.rpa_s and not loss.acknowledged and not loss.missing:
        return format_duration(loss.rpa_s)  # no write was counted: how far a copy was behind
    return f"{format_duration(loss.rpa_s)}, {len(loss.missing)} lost" if loss.missing else "none lost"


def notes(row: ServiceResult) -> list[str]:
    """Say what the numbers of a row do not: where the time went, what is in doubt, what was not seen."""
    found = [reason for reason in (row.outage.reason, row.loss.reason) if reason]
    parts = [f"{part.name} {format_duration(part.seconds)}" for part in row.outage.split if part.seconds]
    if parts:
        found.append(f"{' + '.join(parts)} (resolution {format_duration(row.outage.resolution_s or 0)})")
    return [*found, *seen_beside(row)]


def seen_beside(row: ServiceResult) -> list[str]:
    """Say what was seen beside the outage and the loss: brownouts, doubts, what is on the lost disk."""
    found = []
    if row.outage.brownout_s:
        found.append(f"of it {format_duration(row.outage.brownout_s)} brownout: failures mixed with answers")
    if row.outage.failed_afterwards:
        found.append(f"{count(row.outage.failed_afterwards, 'probe')} failed after the recovery")
    doubtful = row.loss.in_doubt_present + row.loss.in_doubt_absent
    if doubtful:
        found.append(f"{doubtful} writes were in doubt, {row.loss.in_doubt_present} of them were kept")
    if row.loss.refused_present:
        found.append(f"{len(row.loss.refused_present)} writes were refused and yet kept")
    if row.found_on_lost_primary is not None and row.loss.missing:
        held = f"{row.found_on_lost_primary} of {len(row.loss.missing)} lost writes"
        found.append(f"{held} are on the disk of the lost primary")
    return found


def run_and_verdict(report: Report) -> str:
    """Tell how the run ended apart from how it is judged, and why the two are not the same."""
    verdict = report.verdict.replace("-", " ")
    if report.run_status == "open":
        return f"run not closed; verdict: {verdict}"
    done = sum(step.status == "succeeded" for step in report.steps)
    all_done = "all steps done" if done == len(report.steps) else f"{done} of {len(report.steps)} steps done"
    told = f"run ended: {report.run_status} ({all_done}); verdict: {verdict}"
    if (report.run_status == "succeeded") == (report.verdict in ("met", "done")):
        return told
    return f"{told}; they differ because the verdict judges what came of it, not the steps: {report.headline}"


def in_lab(report: Report) -> str:
    """Say that a run was made in a lab, and whether its command was the real one; empty elsewhere."""
    if not any(one.startswith("shared-kernel") for one in report.limits):
        return ""
    real = report.mode == "failover" and report.kind != "Exercise"
    return "a real failover command, run in a lab on one machine" if real else "in a lab on one machine"


_FAULTS = {
    "wan-partition": "WAN partition",
    "dark-site": "dark site (nothing of it answers)",
    "link-cut": "cut link",
}


def name_fault(fault: Fault) -> str:
    """Give a fault in words: power loss of city-hall."""
    return f"{_FAULTS.get(fault.fault, fault.fault.replace('-', ' '))} of {fault.target}"


def brief(seconds: float) -> str:
    """Give a length of time; a short one in milliseconds."""
    if abs(seconds) < 0.0005:
        return "0 s"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else format_duration(seconds)


def offset(seconds: float) -> str:
    """Give a moment as seconds from zero, with its sign; 0 s where the digits shown are all zero."""
    return "0 s" if abs(seconds) < 0.005 else f"{seconds:+.2f} s"


def reasons(rows: Sequence[Outage | Loss]) -> str:
    """Say once why something was not measured, whichever probe said so."""
    return listing(sorted({row.reason.split(": ", 1)[-1] for row in rows if row.reason}))


def count(number: int, noun: str) -> str:
    """Give a number with its noun: 1 step, 2 steps, 3 addresses."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def listing(names: Sequence[str], most: int = 4) -> str:
    """Name a few, and say how many more there are: a, b, c and 7 more."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def utc(at: datetime) -> str:
    """Give a moment to the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def local(at: datetime, timezone: str) -> str:
    """Give a moment in the time zone of the people; empty where that is UTC, or not known here."""
    try:
        there = at.astimezone(ZoneInfo(timezone))
    except (KeyError, OSError):  # a machine without that zone; UTC stands beside it anyway
        return ""
    return f"{there:%Y-%m-%d %H:%M:%S %Z}" if there.utcoffset() else ""
