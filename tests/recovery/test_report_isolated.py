"""The report of a test failover: measured from inside, judged with its audit, claiming no more."""

import json
from collections.abc import Mapping
from datetime import timedelta

import pytest

from automation.commands._report_page import render_html, render_markdown
from automation.model.actions import LookAtRestored, RestoreCluster
from automation.model.backup_evidence import PointRestored
from automation.model.drill_evidence import IsolatedServer, IsolationProof, Listing, RestoredSeen
from automation.model.evidence import ChecksRun, Evidence, WitnessRecord
from automation.model.plan import Plan, Step
from automation.model.records import Body, Event, Failure, Outcome, RunClosed, StepEnded, StepStarted
from automation.recovery.report import Report
from automation.recovery.report_fold import Facts, fold_report
from automation.recovery.report_subject import subject_of
from automation.recovery.spec import Cadence, Objective
from tests.recovery.drill_story import _opening
from tests.recovery.isolated_city import DAY, DRILL, make_isolated_city, make_isolated_plan

PROBES = ("payments-db/ready", "payments/list", "payments/pay")
STEP_S = 2.0


def fold(
    *, fails: str = "", leaves: Mapping[str, str] | None = None, again: bool = True, rpo_s: float = 300.0
) -> Report:
    """Fold a run in which every step takes two seconds, one after the other."""
    plan, city = make_isolated_plan(), make_isolated_city()
    services = {name: city.catalog.services[name] for name in ("payments-db", "payments")}
    ended = [s for s in plan.steps if s.cleanup]
    order = [s for s in plan.steps if not s.cleanup]
    if fails:
        order = order[: [s.id for s in order].index(fails) + 1]
    order += reversed(ended) if again else []
    bodies: list[tuple[float, Body]] = [(-1.0, _opening(plan))]
    for number, step in enumerate(order):
        begin = number * STEP_S
        bodies.append((begin, StepStarted(step=step.id)))
        bodies.append((begin + STEP_S, _end(step, fails, leaves or {})))
    status = "paused" if fails else "succeeded"
    bodies.append((len(order) * STEP_S, RunClosed(status="aborted" if fails else status)))
    events = tuple(
        Event(sequence=n, at=DAY + timedelta(seconds=s), body=body, previous="", hash="")
        for n, (s, body) in enumerate(bodies)
    )
    good_s = [s.id for s in order].index("payments/start") * STEP_S if not fails else 1e9
    files = {"witness.jsonl": _witness(good_s), "archive-eoc-pg-before.txt": "archive/a\t1\n"}
    files["archive-eoc-pg-after.txt"] = "archive/a\t1\n"
    drill = DRILL.model_copy(
        update={"objectives": {name: Objective.model_validate({"rpo": rpo_s}) for name in services}}
    )
    subject = subject_of(drill, services, Cadence()).model_copy(update={"sustained": 3})
    return fold_report(Facts(subject=subject, plan=plan, events=events, read=files.get))


def _end(step: Step, fails: str, leaves: Mapping[str, str]) -> StepEnded:
    if step.id == fails:
        failure = Failure(error="AdapterError", message="no answer")
        return StepEnded(step=step.id, status="failed", failure=failure)
    outcome = Outcome(changed=True, summary="done", evidence=_evidence(step, leaves))
    return StepEnded(step=step.id, status="succeeded", outcome=outcome)


def _evidence(step: Step, leaves: Mapping[str, str]) -> Evidence | None:
    when, _, what = step.id.partition("/")
    if when in ("before", "after"):
        items = {"thing": "is"} | (dict(leaves) if when == "after" and what == "folders-bk-b" else {})
        file = f"archive-eoc-pg-{when}.txt" if what == "archive-eoc-pg" else ""
        return Listing(
            of="archive" if file else "folders", where=what, items={} if file else items, file=file
        )
    run = step.run
    if isinstance(run, RestoreCluster):
        return PointRestored(
            resource=run.resource,
            store=run.of.store,
            point=str(run.point),
            host=run.host,
            to=run.cluster,
            seconds=17.0,
            size_bytes=10**7,
        )
    if isinstance(run, LookAtRestored):
        return RestoredSeen(
            host=run.host,
            cluster=run.cluster,
            archive_mode="off",
            slots=0,
            timeline=2,
            system_identifier="1",
            asked_at=run.until,
            reached_at=run.until,
        )
    return {
        "drill/create": IsolatedServer(server="drill-b", address="10.77.2.50", reaches=("10.77.2.40",)),
        "drill/isolated": IsolationProof(
            server="drill-b",
            vantage="pg-b",
            refused={"pg-a": "no answer"},
            answered=("pg-a",),
            reached=("bk-b",),
            kept_out={"pg-b": "EHOSTUNREACH"},
        ),
        "checks": ChecksRun(passed=5, failed=0, skipped=0),
        "witness/collect": WitnessRecord(
            host="drill-b",
            file="witness.jsonl",
            probes=1,
            acknowledged=0,
            clock_offset_s=0.0,
            clock_uncertainty_s=0.0,
        ),
    }.get(step.id)


def _witness(good_s: float) -> str:
    """One probe a second from the first step on; good from a moment on."""
    wall_ns = int(DAY.timestamp()) * 10**9
    clock = {"wall_ns": wall_ns, "mono_ns": 0, "synchronised": True}
    config = {"beat_ms": 1000, "timeout_ms": 1000}
    lines: list[dict[str, object]] = [
        {
            "record": "header",
            "incarnation": 1,
            "host": "drill-b",
            "clock": clock,
            "resolver": {},
            "config": config,
        }
    ]
    for name in PROBES:
        for second in range(120):
            error = None if second >= good_s else "connect_refused"
            record: dict[str, object] = {"record": "probe", "probe": name, "seq": second + 1, "address": None}
            record |= {"start_mono_ns": second * 10**9, "end_mono_ns": second * 10**9 + 10**7, "error": error}
            lines.append(record)
    return "".join(json.dumps(line) + "\n" for line in lines)


def starts_s(plan: Plan, step: str) -> float:
    return [one.id for one in plan.steps if not one.cleanup].index(step) * STEP_S


def test_it_is_measured_from_the_making_of_the_server_to_sustained_good_answers_inside() -> None:
    report, plan = fold(), make_isolated_plan()
    assert report.verdict == "met", report.headline
    rows = {row.service: row for row in report.services}
    served_s = starts_s(plan, "payments/start") - starts_s(plan, "drill/create")
    assert rows["payments"].outage.rta_s == pytest.approx(served_s, abs=0.1)
    assert {row.loss.rpa_s for row in report.services} == {60.0}


def test_a_database_that_still_replays_is_not_yet_rebuilt_though_it_answers() -> None:
    report, plan = fold(), make_isolated_plan()
    row = next(row for row in report.services if row.service == "payments-db")
    opened_s = starts_s(plan, "payments-db/restored") + STEP_S - starts_s(plan, "drill/create")
    assert row.outage.rta_s is not None
    assert row.outage.rta_s >= opened_s


def test_what_is_left_behind_fails_a_drill_that_met_everything_else() -> None:
    report = fold(leaves={"/var/lib/mainstay/scratch/x": "folder"})
    assert report.verdict == "failed"
    assert "/var/lib/mainstay/scratch/x" in report.headline
    assert {one.id for one in report.review.findings if one.severity == "high"} == {"leftover-1"}
    assert "/var/lib/mainstay/scratch/x" in render_html(report)


def test_a_drill_that_stopped_says_where_and_that_it_left_nothing() -> None:
    report = fold(fails="payments-db/restore")
    assert report.verdict == "failed"
    assert report.headline.startswith("It stopped at payments-db/restore: no answer.")
    assert "everything is as it was" in report.headline
    assert {row.outage.status for row in report.services} == {"not-measured"}


def test_a_drill_whose_looks_were_not_made_again_is_not_met() -> None:
    report = fold(again=False)
    assert report.verdict == "failed"
    assert "Nobody looked afterwards" in report.headline


def test_it_claims_nothing_of_fences_writes_or_moves() -> None:
    report = fold()
    text = render_html(report) + render_markdown(report)
    for claim in (
        "could not be fenced",
        "acknowledged write was lost",
        "every acknowledged write",
        "Never two",
    ):
        assert claim not in text
    shown = {row.asks for row in report.review.controls if row.shown == "shown"}
    assert "test backup information for reliability and integrity" in shown
    assert "transaction recovery" not in shown


def test_a_copy_that_is_too_far_behind_is_told_as_that_and_not_as_lost_writes() -> None:
    report = fold(rpo_s=5.0)
    assert report.verdict == "missed"
    assert report.headline == "Rebuilt from backup in isolation. Missed: payments-db (RPO), payments (RPO)."
    finding = next(one for one in report.review.findings if one.id == "rpo-payments-db")
    assert finding.observation == "From backup alone, Payments database would lose 1 min; its target is 5 s."
