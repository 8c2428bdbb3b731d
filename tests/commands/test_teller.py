"""A way home and a test on copies, told: moments, gates, and what is only simulated."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from automation.commands._story import Said, Scene
from automation.commands._teller import Teller
from automation.model.actions import (
    Action,
    AwaitReplica,
    CopyReplica,
    ExportWrites,
    PowerOnVm,
    ProvePortGroup,
    StopUnit,
    SwapAddress,
    UnblockServer,
)
from automation.model.evidence import Evidence, WritesExported
from automation.model.plan import Gate, Plan, Step
from automation.model.records import (
    Body,
    Event,
    Failure,
    GateAnswered,
    Outcome,
    RunOpened,
    StepEnded,
    StepStarted,
)
from automation.model.simulators import AwsSimulator
from automation.recovery.spec import load_drill
from tests.conftest import ROOT
from tests.recovery.conftest import make_city

BEGAN = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
STOP = StopUnit(host="app-b", unit="payments.service")
NAME = SwapAddress(name="pay.city.lab", old="10.77.2.30", new="10.77.1.30", servers=("dns-a",), required=())
EXPORT = ExportWrites(
    service="payments",
    host="pg-a",
    primary="pg-b",
    cluster="15/main",
    database="payments",
    query="select reference from payments",
    rows=None,
    references="only-at-home.txt",
    export="exported.csv",
)


def scene(drill: str = "failback", lag_told_s: float | None = None) -> Scene:
    city = make_city()
    environment = city.environment
    if lag_told_s is not None:
        lab = environment.require_lab()
        simulators = {
            name: one.model_copy(update={"lag_told_s": lag_told_s}) if isinstance(one, AwsSimulator) else one
            for name, one in lab.simulators.items()
        }
        environment = environment.model_copy(
            update={"lab": lab.model_copy(update={"simulators": simulators})}
        )
    return Scene(environment, city.inventory, city.catalog, load_drill(ROOT, drill))


def plan(mode: str, *runs: Action, gate: Gate | None = None) -> Plan:
    steps = tuple(Step(id=f"s{n}", run=run, why="a test", gate=gate) for n, run in enumerate(runs))
    return Plan.model_validate({"name": "p", "environment": "lab", "mode": mode, "steps": steps})


def told(of: Plan, bodies: Sequence[Body], where: Scene | None = None) -> list[Said]:
    """Tell events that follow each other by a second."""
    teller = Teller(of, where or scene())
    events = [
        Event(sequence=n, at=BEGAN + timedelta(seconds=n), body=body, previous="", hash="")
        for n, body in enumerate(bodies)
    ]
    return [said for event in events if (said := teller(event))]


def ended(step: str, evidence: Evidence | None = None) -> StepEnded:
    return StepEnded(
        step=step, status="succeeded", outcome=Outcome(changed=True, summary="done", evidence=evidence)
    )


def test_a_way_home_counts_from_the_first_stop_and_names_the_pause_that_was_announced() -> None:
    runs = (UnblockServer(host="pg-a"), STOP, NAME)
    bodies = (ended("s0"), StepStarted(step="s1"), ended("s1"), StepStarted(step="s2"), ended("s2"))
    said = told(plan("failback", *runs), bodies)
    assert [one.label for one in said] == ["+0.0 s", "+1.0 s", "+3.0 s"]
    assert "for 30 s at most as announced" in said[0].text
    assert "leads home" in said[2].text


def test_before_the_first_stop_nobody_waits() -> None:
    assert [one.label for one in told(plan("failback", NAME), (ended("s0"),))] == ["before"]


def test_a_gate_is_told_with_its_question_and_who_answered() -> None:
    gate = Gate(role="dba", ask="What only pg-a holds goes from its data. Go on?")
    answer = GateAnswered(step="s0", answer="yes", by="./inv demo of ops")
    (said,) = told(plan("failback", NAME, gate=gate), (answer,))
    assert "“What only pg-a holds goes from its data.”" in said.text
    assert "the demo says yes" in said.text


@pytest.mark.parametrize(("count", "means"), [(0, "nothing is to be sorted out"), (3, "kept for people")])
def test_what_the_old_database_alone_holds_is_counted(count: int, means: str) -> None:
    kept = WritesExported(service="payments", server="pg-a", references="r", count=count, export=None)
    (said,) = told(plan("failback", EXPORT), (ended("s0", kept),))
    assert f"alone holds: {count};" in said.text
    assert means in said.text


@pytest.mark.parametrize(("lag_told_s", "says"), [(5.0, True), (60.0, False)], ids=["hasty", "as-aws"])
def test_a_lag_that_is_told_sooner_than_by_aws_is_said_to_be(lag_told_s: float, says: bool) -> None:
    wait = AwaitReplica(site="aws-east", database="portal-db", expect_source="portal-db-west")
    (said,) = told(plan("failback", wait), (ended("s0"),), scene(lag_told_s=lag_told_s))
    assert "portal-db has caught up" in said.text
    assert ("every 5 s" in said.text) is says


def test_a_test_counts_from_its_beginning_and_says_nothing_twice() -> None:
    network = ProvePortGroup(site="eoc", name="gis-test")
    copy = CopyReplica(host="gis-a-test", of="gis-a", site="eoc", datastore="replicated", network="gis-test")
    of = plan("test-failover", network, network, copy, PowerOnVm(host="gis-a-test", site="eoc"))
    opened = RunOpened(
        run_id="20261122-030000-0b1e",
        plan_format=of.format,
        plan_name=of.name,
        plan_digest=of.digest,
        environment="lab",
        mode=of.mode,
        actor="ops",
        node="control",
        version="0",
    )
    said = told(of, (opened, *(ended(f"s{n}") for n in range(4))), scene("gis-test-failover"))
    assert [one.label for one in said] == ["+1.0 s", "+3.0 s", "+4.0 s"]
    assert "leads nowhere" in said[0].text


def test_a_step_that_failed_is_not_told_as_done() -> None:
    failed = StepEnded(
        step="s0", status="failed", failure=Failure(error="AdapterError", message="no answer", known=True)
    )
    assert told(plan("failback", NAME), (failed,)) == []
