"""The verdict of a drill or a failover: the worst of run, checks and objectives, in one sentence. Pure."""

from collections.abc import Sequence
from typing import Literal

from automation.model.actions import BlockServer, PowerOffServer, Promote, ProveRefused
from automation.model.base import format_duration
from automation.model.evidence import ChecksRun
from automation.model.plan import Plan
from automation.model.records import RunClosed
from automation.recovery.objectives import Verdict
from automation.recovery.report import ServiceResult, StepResult

ReportVerdict = Literal["met", "missed", "not-measured", "failed"]
WORST_FIRST: tuple[Verdict, ...] = ("missed", "not-measured", "met")
_FENCING = (PowerOffServer, BlockServer, ProveRefused)


def judge_stop(plan: Plan, steps: Sequence[StepResult]) -> tuple[ReportVerdict, str]:
    """Judge a drill that must stop before promotion: met by a fence that failed and nothing promoted."""
    by_id = {step.id: step for step in steps}
    promoted = [
        s.id for s in plan.steps if isinstance(s.run, Promote) and by_id[s.id].status != "not-started"
    ]
    if promoted:
        return "failed", f"It did not stop: {', '.join(promoted)} began, and the old primary was not fenced."
    fences = [s.id for s in plan.steps if isinstance(s.run, _FENCING) and by_id[s.id].status == "failed"]
    if not fences:
        return "failed", "It stopped elsewhere: no fence was tried and failed, so this drill showed nothing."
    reason = by_id[fences[0]].text
    return "met", f"Stopped before promotion, as it must: {fences[0]}: {reason}. Nothing was promoted."


def judge(
    rows: Sequence[ServiceResult],
    steps: Sequence[StepResult],
    checks: ChecksRun | None,
    closed: RunClosed | None,
) -> tuple[ReportVerdict, str]:
    """The worst of run, checks and objectives, with one sentence for people."""
    if bad := [step.id for step in steps if step.status in ("failed", "unfinished")]:
        if closed is not None and closed.status == "succeeded":
            return "failed", f"It ran to its end, but {', '.join(bad)} did not succeed."
        waiting = sum(step.status == "not-started" for step in steps)
        behind = f"; {waiting} steps were not started" if waiting else ""
        return "failed", f"The run stopped: {', '.join(bad)} did not succeed{behind}."
    if closed is None or closed.status != "succeeded":
        return "failed", f"The run is {closed.status if closed else 'not closed'}."
    if checks is not None and checks.failed:
        return "failed", f"{checks.failed} of {checks.failed + checks.passed} checks of the services failed."
    verdict: Verdict = next((word for word in WORST_FIRST if any(row.verdict == word for row in rows)), "met")
    said = {
        "met": "Every objective was met",
        "missed": f"Missed: {', '.join(row.service for row in rows if row.verdict == 'missed')}",
        "not-measured": "Not measured in part: "
        + ", ".join(row.service for row in rows if row.verdict == "not-measured"),
    }
    return verdict, f"{said[verdict]}. {_summary(rows)}"


def _summary(rows: Sequence[ServiceResult]) -> str:
    """One sentence: the longest outage and the acknowledged writes that are missing."""
    out = max(
        (row for row in rows if row.outage.rta_s is not None), key=lambda r: r.outage.rta_s or 0, default=None
    )
    lost = {ref for row in rows for ref in row.loss.missing}
    written = max((row.loss.acknowledged for row in rows), default=0)
    first = "No outage was measured"
    if out is not None and out.outage.rta_s is not None:
        atleast = "at least " if out.outage.status == "not-recovered" else ""
        first = f"Clients were without {out.title} for {atleast}{format_duration(out.outage.rta_s)}"
    if not any(row.loss.status == "measured" for row in rows):
        return f"{first}; lost writes were not measured."
    verb = "is" if len(lost) == 1 else "are"
    return f"{first}; {len(lost) or 'none'} of {written} acknowledged writes {verb} missing."
