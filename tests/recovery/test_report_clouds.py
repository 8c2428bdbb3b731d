"""What a recovery of VMs or instances cost: by its recovery point, by its client, else by its provider."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from automation.model.actions import CreateInstance, PowerOnVm
from automation.model.drill_evidence import Listing
from automation.model.evidence import Declaration, Evidence
from automation.model.machine_evidence import ProviderChange
from automation.model.plan import Plan, Step
from automation.model.records import Body, Event, Outcome, RunClosed, RunOpened, StepEnded, StepStarted
from automation.model.replicas import DatabaseChange, NetworkProven
from automation.recovery.copied import compile_copied
from automation.recovery.failover import compile_failover
from automation.recovery.report import Report
from automation.recovery.report_fold import Facts, fold_report
from automation.recovery.report_subject import Subject, Target, subject_of
from automation.recovery.spec import Drill, Failover
from automation.recovery.timeline import draw_frame, find_axis
from automation.recovery.turning import turn
from tests.recovery.cloud_city import NOW, PLAN, make_cloud_city, make_replicas
from tests.recovery.test_pilot_moves import coming

LOSS_S = 60.0  # after NOW, when the replicas were looked at
STEP_S = 10.0  # each step's length, one after the other from the loss on


def told(step: Step, *, listed: str = "as it was") -> Evidence | None:
    """What the provider, or the lab, said of a step."""
    what = step.id.partition("/")[2]
    if step.id.endswith("/replica"):
        return make_replicas()
    if isinstance(step.run, PowerOnVm | CreateInstance):
        kind = "vsphere" if isinstance(step.run, PowerOnVm) else "aws"
        words = {"provider": kind, "site": step.run.site, "what": "server", "name": step.run.host}
        return ProviderChange.model_validate({**words, "verb": "started", "source": "simulated"})
    if what in ("promote", "restore"):
        return DatabaseChange(
            site="aws-west",
            database="portal-db-west",
            verb="promoted" if what == "promote" else "restored",
            point_at=NOW - timedelta(seconds=20),
            source="simulated",
        )
    if what == "isolated":
        words = {"provider": "vsphere", "site": "eoc", "name": "gis-test", "id": "net-1"}
        return NetworkProven.model_validate({**words, "seen": ["no uplink"], "source": "simulated"})
    if step.id.partition("/")[0] in ("before", "after") and "all-" in step.id:
        state = listed if step.id.startswith("after/") else "as it was"
        return Listing(of="servers", where="vcenter", items={"server vm-1": state})
    return None


def report_of(plan: Plan, spec: Drill | Failover, *, without: str = "", listed: str = "as it was") -> Report:
    """Fold a run of a drill or a failover."""
    city = make_cloud_city(*plan.tiers)
    services = {name: city.catalog.services[name] for name in plan.tiers}

    def tell(step: Step) -> Evidence | None:
        if step.id != "declaration":
            return told(step, listed=listed)
        declared = NOW + timedelta(seconds=LOSS_S)
        return Declaration(
            sites=(spec.site,), reason="fire", exercise=False, declared_by="c", declared_at=declared
        )

    events = events_of(plan, tell, without=without)
    subject = subject_of(spec, services, PLAN.exercise)
    return fold_report(Facts(subject, plan, events, lambda name: None))


def events_of(plan: Plan, tell: Callable[[Step], Evidence | None], *, without: str = "") -> list[Event]:
    """Give a run whose steps took ten seconds each, one after the other."""
    opened = RunOpened(
        run_id="20261122-030100-aaaa",
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment="lab",
        mode=plan.mode,
        actor="coordinator",
        node="control",
        version="1",
    )
    bodies: list[tuple[float, Body]] = [(LOSS_S, opened)]
    for number, step in enumerate(one for one in plan.steps if one.id != without):
        evidence = tell(step)
        outcome = Outcome(changed=True, summary="done", evidence=evidence)
        bodies.append((LOSS_S + STEP_S * number, StepStarted(step=step.id)))
        ended = StepEnded(step=step.id, status="succeeded", outcome=outcome)
        bodies.append((LOSS_S + STEP_S * (number + 1), ended))
    bodies.append((LOSS_S + STEP_S * 100, RunClosed(status="succeeded")))
    return [
        Event(sequence=n, at=NOW + timedelta(seconds=s), body=body, previous="", hash=str(n))
        for n, (s, body) in enumerate(bodies)
    ]


def failed_over(service: str, site: str, **how: object) -> Report:
    asked = Failover(plan="city", site=site, title="fire", declaration="20261122-030000-aaaa")
    plan = compile_failover(asked, PLAN, make_cloud_city(service))
    return report_of(plan, asked, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("service", "site", "behind_s"),
    [("gis", "city-hall", LOSS_S + 180.0), ("portal", "aws-east", LOSS_S + 20.0)],
)
def test_the_loss_is_from_the_recovery_point_that_was_used_to_the_declaration(
    service: str, site: str, behind_s: float
) -> None:
    (row,) = failed_over(service, site).services
    assert row.loss.rpa_s == behind_s
    assert "RPA by the recovery point of" in row.loss.reason
    assert "(simulated)" in row.loss.reason


@pytest.mark.parametrize(("service", "site"), [("gis", "city-hall"), ("portal", "aws-east")])
def test_without_a_witness_the_outage_is_by_the_provider_and_the_row_says_so(service: str, site: str) -> None:
    report = failed_over(service, site)
    (row,) = report.services
    running = [one.ended_at for one in report.steps if "/power-on-" in one.id or "/launch-" in one.id]
    last = max(at for at in running if at is not None)
    assert row.outage.rta_s == (last - NOW).total_seconds() - LOSS_S
    assert "RTA by the provider" in row.outage.reason
    assert report.source == "simulated"


def moved_home(*, reaches_s: float, without: str = "") -> Report:
    """Fold a failback of the portal whose replica held all up to a moment after its database was shut."""
    plan, city = coming(), make_cloud_city("portal")
    services = {name: turn(one) for name, one in city.catalog.services.items()}
    targets = {name: Target(rto_s=3600, rpo_s=0) for name in services}
    subject = Subject(name="m", title="m", site="aws-east", services=services, targets=targets)
    events = events_of(plan, lambda step: told_of_move(plan, step, reaches_s), without=without)
    return fold_report(Facts(subject, plan, events, lambda name: None))


def told_of_move(plan: Plan, step: Step, reaches_s: float) -> Evidence | None:
    if step.id != "portal/promote":
        return told(step)
    first = next(n for n, one in enumerate(plan.steps) if one.id.startswith("portal/stop-"))
    at = NOW + timedelta(seconds=LOSS_S + STEP_S * first + reaches_s)
    words = {"site": "aws-east", "database": "portal-db", "verb": "promoted", "source": "simulated"}
    return DatabaseChange.model_validate({**words, "point_at": at})


@pytest.mark.parametrize(("reaches_s", "rpa_s"), [(5.0, 0.0), (-30.0, 30.0)], ids=["all", "not all"])
def test_a_planned_move_lost_what_its_replica_lacked_when_the_first_instance_was_stopped(
    reaches_s: float, rpa_s: float
) -> None:
    report = moved_home(reaches_s=reaches_s)
    (row,) = report.services
    assert row.loss.rpa_s == rpa_s
    assert row.rpo_verdict == ("met" if rpa_s == 0 else "missed")
    age = f"what came back is of up to {rpa_s:.1f} s before the loss" if rpa_s else "it came back as it was"
    assert f"no write to Portal was counted: {age}" in report.headline
    assert report.safety.verdict == "safe"
    assert row.outage.rta_s is not None


def test_a_planned_move_without_its_fences_is_told_as_unsafe() -> None:
    assert moved_home(reaches_s=5.0, without="portal/fence-proof").safety.verdict == "unsafe"


@pytest.mark.parametrize(
    ("service", "site", "age"), [("gis", "city-hall", "4 min"), ("portal", "aws-east", "1 min 20 s")]
)
def test_what_was_lost_is_told_by_age_where_no_write_was_counted(service: str, site: str, age: str) -> None:
    report = failed_over(service, site)
    (title,) = (row.title for row in report.services)
    assert f"no write to {title} was counted: what came back is of up to {age} before" in report.headline
    lost = next(one.text for one in report.answers if one.question == "What was lost?")
    assert lost == f"{title}: what was written in the last {age} before the loss; no write was counted."


def test_a_takeover_by_vms_is_safe_when_all_was_fenced_and_proved_before() -> None:
    safety = failed_over("gis", "city-hall").safety
    assert safety.verdict == "safe"
    assert {one.server for one in safety.takeovers} == {"gis-db-a", "gis-app-a", "gis-tiles-a"}
    bare = failed_over("gis", "city-hall", without="gis/fence-proof").safety
    assert bare.verdict == "unsafe"


def test_a_machine_that_never_came_up_is_no_recovery() -> None:
    (row,) = failed_over("gis", "city-hall", without="gis/power-on-gis-app-a").services
    assert row.outage.status == "not-measured"
    assert row.verdict == "not-measured"


def try_out(**how: object) -> Report:
    words = {"name": "t", "title": "t", "plan": "city", "mode": "test-failover", "site": "city-hall"}
    drill = Drill.model_validate({**words, "copies": {"services": ["gis"]}})
    plan = compile_copied(drill, PLAN, make_cloud_city("gis"))
    return report_of(plan, drill, **how)  # type: ignore[arg-type]


def test_a_test_on_copies_says_how_long_how_old_and_that_its_network_leads_nowhere() -> None:
    report = try_out()
    (row,) = report.services
    assert (row.outage.status, row.loss.status) == ("measured", "measured")
    answers = {one.question: one.text for one in report.answers}
    assert "leads nowhere" in answers["Could it touch production?"]
    assert "(simulated)" in answers["Could it touch production?"]
    assert answers["Is everything as it was?"].startswith("Yes: all of 2 things")
    assert report.verdict == "met"
    assert report.headline.startswith("Brought up on copies in isolation, and everything is as it was.")


def test_nobody_is_drawn_as_out_while_copies_came_up() -> None:
    report = try_out()
    frame = draw_frame(report, find_axis(report))
    assert frame.outage is None
    labels = [mark.label for mark in frame.marks]
    assert "copies ran" in labels
    assert "clients good" not in labels


def test_a_test_that_leaves_something_behind_has_failed() -> None:
    report = try_out(listed="something else")
    assert report.verdict == "failed"
    assert "Not everything is as it was" in report.headline
