"""A report as a page and as Markdown: what the templates are given, and nothing decided."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from automation.commands._command import ROOT
from automation.model.templating import render
from automation.recovery.objectives import Loss, Verdict
from automation.recovery.report import Report, ServiceResult, StepResult
from automation.recovery.report_copies import ages, lines_of, state_words
from automation.recovery.report_gantt import draw_gantt
from automation.recovery.report_review import RATINGS, Rating
from automation.recovery.report_words import (
    brief,
    count,
    format_rpa,
    format_rta,
    format_target,
    in_lab,
    local,
    name_fault,
    notes,
    offset,
    reasons,
    run_and_verdict,
    seen_beside,
    utc,
)
from automation.recovery.tabletop import clock
from automation.recovery.timeline import draw_clients, draw_frame, find_axis

TEMPLATES = ROOT / "templates"
LISTED_WRITES = 500
SHOWN_DEVIATIONS = 200
# A table of more steps than this is cut up by service and folded away.
MOST_STEPS = 120
SHOWN_TROUBLE = 100

# Longer tables of services and objectives are folded away after so many rows.
FIRST_ROWS = 40
VERDICTS: tuple[Verdict, ...] = ("missed", "not-measured", "met")
WORST_RATINGS: tuple[Rating, ...] = ("U", "M", "-", "S", "P")

_Row = TypeVar("_Row")
Group = tuple[str, Sequence[StepResult], str]


def render_html(report: Report) -> str:
    """Give the report's page: one file, no JavaScript, nothing fetched from anywhere."""
    axis = find_axis(report)
    services = _worst_first(report.services, lambda row: VERDICTS.index(row.verdict))
    objectives = _worst_first(report.review.objectives, lambda one: WORST_RATINGS.index(one.rating))
    trouble = [step for step in report.steps if step.status in ("failed", "unfinished", "taken-back")]
    return render(
        TEMPLATES,
        "reports/report.html.j2",
        **_words(report),
        zero=axis.zero_at,
        frame=draw_frame(report, axis),
        clients=draw_clients(report, axis),
        gantt=draw_gantt(report, axis),
        predicted=any(row.predicted_s is not None for row in report.services),
        splits=[row for row in services if row.outage.split][:FIRST_ROWS],
        other_splits=[row for row in services if row.outage.split][FIRST_ROWS:],
        first_services=services[:FIRST_ROWS],
        other_services=services[FIRST_ROWS:],
        first_objectives=objectives[:FIRST_ROWS],
        other_objectives=objectives[FIRST_ROWS:],
        ledgers=_ledgers(report),
        listed=LISTED_WRITES,
        why_not_counted=reasons([row.loss for row in report.services]),
        step_groups=_groups(report),
        trouble=trouble[:SHOWN_TROUBLE],
        trouble_left=len(trouble) > SHOWN_TROUBLE,
    )


def render_markdown(report: Report) -> str:
    """Give the report as Markdown, for a wiki or a ticket."""
    return render(TEMPLATES, "reports/report.md.j2", **_words(report), cell=_cell)


def _words(report: Report) -> dict[str, object]:
    return {
        "report": report,
        "duration": brief,
        "brief": brief,
        "offset": offset,
        "run_and_verdict": run_and_verdict(report),
        "in_lab": in_lab(report),
        "target": format_target,
        "rta": format_rta,
        "rpa": format_rpa,
        "notes": notes,
        "seen_beside": seen_beside,
        "ages": ages,
        "lines_of_copies": list(lines_of(report.copies)),
        "state_words": state_words,
        "name_fault": name_fault,
        "clock": clock,
        "count": count,
        "utc": utc,
        "local": local,
        "rating_words": "; ".join(f"{letter}, {words}" for letter, words in RATINGS.items()) + ".",
        "shown_deviations": SHOWN_DEVIATIONS,
    }


def _worst_first(rows: Sequence[_Row], badness: Callable[[_Row], int]) -> list[_Row]:
    """Keep the order of a table that can be taken in at a glance; of a longer one, bring the bad up."""
    return list(rows) if len(rows) <= FIRST_ROWS else sorted(rows, key=badness)


def _cell(text: str) -> str:
    """Keep a text within its cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _ledgers(report: Report) -> list[tuple[str, ServiceResult]]:
    """Services whose losses are the same writes, a database and what writes to it, stand together."""
    together: dict[Loss, list[ServiceResult]] = {}
    for row in report.services:
        if row.loss.status == "measured":
            together.setdefault(row.loss, []).append(row)
    return [(", ".join(row.title for row in rows), rows[0]) for rows in together.values()]


def _groups(report: Report) -> list[Group]:
    """Steps by service, if there are too many for one table; each with a few words of what became of them."""
    if len(report.steps) <= MOST_STEPS:
        return []
    found: dict[str, list[StepResult]] = {}
    for step in report.steps:
        found.setdefault(step.service or "the run itself", []).append(step)
    return [(name, steps, _says(steps)) for name, steps in found.items()]


def _says(steps: Sequence[StepResult]) -> str:
    good = sum(step.status == "succeeded" for step in steps)
    rest = "" if good == len(steps) else f", {good} succeeded"
    return f"{count(len(steps), 'step')}{rest}"
