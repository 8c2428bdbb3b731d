"""The verdict of a drill or a failover: the worst of run, checks and objectives, in one sentence. Pure."""

from collections.abc import Sequence

from automation.model.actions import ProveRefused
from automation.model.base import format_duration
from automation.model.evidence import ChecksRun
from automation.model.plan import Plan
from automation.model.records import AbortStarted, RunClosed
from automation.recovery.kinds import FENCE, PROMOTE
from automation.recovery.objectives import Verdict
from automation.recovery.report import ReportVerdict, ServiceResult, StepResult
from automation.recovery.report_steps import RunLog
from automation.recovery.report_words import format_target, listing
from automation.recovery.tabletop import TabletopRecord

WORST_FIRST: tuple[Verdict, ...] = ("missed", "not-measured", "met")
ALL_MET = "Every objective was met"
_FENCING = FENCE | ProveRefused


def judge_run(
    plan: Plan,
    log: RunLog,
    steps: Sequence[StepResult],
    rows: Sequence[ServiceResult],
    checks: ChecksRun | None,
    *,
    stops: bool,
    served_s: float | None = None,
    borne: bool = False,
) -> tuple[ReportVerdict, str]:
    """Judge any run: one that is not over is `open`, one that recovers nothing is `done` or failed.

    Args:
        stops: it is a drill that must stop before promotion.
        served_s: from the declaration until the run saw clients served.
        borne: it promoted without proof of a fence, which two people signed for.
    """
    if (waiting := _not_over(log, steps)) is not None:
        return "open", waiting
    if (given_up := next((e.body for e in log.events if isinstance(e.body, AbortStarted)), None)) is not None:
        back = sum(step.status == "taken-back" for step in steps)
        taken = f" {back} of its steps were taken back." if back else ""
        return "failed", f"Given up by {given_up.actor}: {given_up.reason}.{taken}"
    if stops:
        return judge_stop(plan, steps)
    since = f"{format_duration(served_s)} after the declaration clients were served again" if served_s else ""
    if borne and log.closed is not None and log.closed.status == "succeeded":
        told = (
            f"It ran to its end{': ' + since if since else ''}. But the old primary may still take writes: "
        )
        return "failed", f"{told}that risk was signed for, and stays until a person has looked."
    verdict, headline = judge(rows, steps, checks, log.closed)
    if verdict == "met" and not rows:
        changed = sum(step.effect != "read" for step in steps)
        return "done", f"Done: {len(steps)} steps succeeded, {changed} of them made to change something."
    if verdict == "not-measured" and since and all(row.verdict == verdict for row in rows):
        return (
            verdict,
            f"The run succeeded: {since}. Not measured: how long they were out, and what was lost.",
        )
    return verdict, headline


def judge_table(record: TabletopRecord) -> tuple[ReportVerdict, str]:
    """Judge a tabletop by what its players did: missed, where they did not do what was expected."""
    asked = [one for one in record.injects if one.handled is not None]
    good = sum(one.handled is True for one in asked)
    if not record.finished:
        return "open", f"Broken off: {len(asked)} of {len(record.injects)} injects were played."
    told = f"{good} of {len(asked)} injects were handled as expected"
    return (
        "done" if good == len(asked) else "missed"
    ), f"{told}; open questions: {len(record.open_questions)}."


def _not_over(log: RunLog, steps: Sequence[StepResult]) -> str | None:
    """Say why a run is not over; None for one that is."""
    done = sum(step.status == "succeeded" for step in steps)
    if log.closed is None:
        begun = [step.id for step in steps if step.status == "unfinished"]
        open_ = f"; begun and without an end: {listing(begun)}" if begun else ""
        return f"This run is not closed: {done} of {len(steps)} steps are done{open_}."
    failed = [step for step in steps if step.status in ("failed", "unfinished")]
    if log.closed.gates and not failed:
        progress = f"{done} of {len(steps)} steps are done"
        return f"This run waits for a person's answer ({listing(log.closed.gates)}); {progress}."
    if log.closed.status == "paused" and not failed and not done:
        return "This run has not begun: it was not approved, or not admitted. Nothing was changed."
    return None


def judge_stop(plan: Plan, steps: Sequence[StepResult]) -> tuple[ReportVerdict, str]:
    """Judge a drill that must stop before promotion: met by a fence that failed and nothing promoted."""
    by_id = {step.id: step for step in steps}
    promoted = [
        s.id for s in plan.steps if isinstance(s.run, PROMOTE) and by_id[s.id].status != "not-started"
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
            return "failed", f"It ran to its end, but {listing(bad)} did not succeed."
        waiting = sum(step.status == "not-started" for step in steps)
        behind = f"; {waiting} steps were not started" if waiting else ""
        return "failed", f"The run stopped: {listing(bad)} did not succeed{behind}."
    if closed is None or closed.status != "succeeded":
        return "failed", f"The run is {closed.status if closed else 'not closed'}."
    if checks is not None and checks.failed:
        return "failed", f"{checks.failed} of {checks.failed + checks.passed} checks of the services failed."
    verdict: Verdict = next((word for word in WORST_FIRST if any(row.verdict == word for row in rows)), "met")
    said = {
        "met": ALL_MET,
        "missed": f"Missed: {_named(rows, 'missed')}",
        "not-measured": f"Not measured in part: {_named(rows, 'not-measured')}",
    }
    return verdict, f"{said[verdict]}. {_summary(rows)}"


def _named(rows: Sequence[ServiceResult], verdict: Verdict) -> str:
    return listing([row.service for row in rows if row.verdict == verdict])


def _summary(rows: Sequence[ServiceResult]) -> str:
    """One sentence: the longest outage, the acknowledged writes that are missing, how old the rest is."""
    out = max(
        (row for row in rows if row.outage.rta_s is not None), key=lambda r: r.outage.rta_s or 0, default=None
    )
    first = "No outage was measured"
    if out is not None and out.outage.rta_s is not None:
        atleast = "at least " if out.outage.status == "not-recovered" else ""
        first = f"Clients were without {out.title} for {atleast}{format_duration(out.outage.rta_s)}"
    return "; ".join((first, *(_lost(rows) or ("lost writes were not measured",)))) + "."


def _lost(rows: Sequence[ServiceResult]) -> tuple[str, ...]:
    """Say what is missing of writes that were counted; where none was, how old is what came back."""
    said = []
    if written := max((row.loss.acknowledged for row in rows), default=0):
        lost = {ref for row in rows for ref in row.loss.missing}
        verb = "is" if len(lost) == 1 else "are"
        said.append(f"{len(lost) or 'none'} of {written} acknowledged writes {verb} missing{_allowed(rows)}")
    if aged := [row for row in rows if row.loss.is_by_age]:
        oldest_s = max(row.loss.rpa_s or 0.0 for row in aged)
        what = f"what came back is of up to {format_duration(oldest_s)} before the loss"
        whose = listing([row.title for row in aged])
        said.append(f"no write to {whose} was counted: {what if oldest_s else 'it came back as it was'}")
    return tuple(said)


def _allowed(rows: Sequence[ServiceResult]) -> str:
    """Say of missing writes how old they are, that this is allowed where it is, and where they stand."""
    losing = [row for row in rows if row.loss.missing]
    if not losing:
        return ""
    age = format_duration(max(row.loss.rpa_s or 0.0 for row in losing))
    allowed = format_target(min(row.rpo_s for row in losing))
    within = "within what is allowed" if all(row.rpo_verdict == "met" for row in losing) else "not allowed"
    found = {row.exports[-1] for row in losing if row.found_on_lost_primary and row.exports}
    kept = f"; listed from the old disk in {listing([f'artifacts/{name}' for name in sorted(found)])}"
    return f", the oldest {age} before the loss: {within} (RPO {allowed}){kept if found else ''}"
