"""Steps that are tried again: those that bear it, and none that must happen once."""

from pathlib import Path

import pytest

from automation.engine import executor
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.run import make_run_folder, run_plan
from automation.model.actions import (
    AwaitReady,
    CloneStandby,
    LookAtRecords,
    Promote,
    RunChecks,
    RunPlaybook,
)
from automation.model.environment import Inventory, load_environment
from automation.model.errors import AdapterError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan, Step
from automation.model.records import Outcome
from automation.recovery.patience import PATIENT, RETRIES, with_retries
from automation.recovery.planner import City, compile_drill
from automation.recovery.spec import load_drill, load_plan
from tests.on_premises import load_on_premises
from tests.recovery.conftest import IDENTIFIER, REPOSITORY, make_inventory


def test_nothing_that_destroys_breaks_or_cannot_be_taken_back_is_tried_again() -> None:
    assert [one for one in PATIENT if one.irreversible or one.effect in ("destroy", "fault")] == []
    assert not {Promote, CloneStandby, RunChecks, RunPlaybook, AwaitReady} & set(PATIENT)


def test_a_step_keeps_the_retries_it_was_given() -> None:
    run = LookAtRecords(names=("pay.city.lab",), servers=("dns-b",))
    given = (
        Step(id="a", run=run, why="test", retries=5),
        Step(id="b", run=run, why="test"),
        Step(id="c", run=AwaitReady(host="pg-b"), why="test"),
    )
    assert [step.retries for step in with_retries(given)] == [5, RETRIES, 0]


@pytest.fixture
def plan() -> Plan:
    """The plan of a real drill."""
    standby = PostgresqlCluster(host="pg-b", system_identifier=IDENTIFIER, timeline=3, in_recovery=True)
    city = City(
        environment=load_environment(REPOSITORY, "lab"),
        inventory=make_inventory(),
        catalog=load_on_premises(),
        clusters={"pg-b": standby},
    )
    drill = load_drill(REPOSITORY, "site-loss")
    return compile_drill(drill, load_plan(REPOSITORY, drill.plan), city, declared_by="coordinator")


def test_a_drill_in_which_every_connection_is_lost_once_needs_no_person(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "BACKOFF_S", 0.0)
    tried: list[str] = []

    def perform(step: Step, ctx: RunContext) -> Outcome:
        tried.append(step.id)
        if isinstance(step.run, PATIENT) and tried.count(step.id) == 1:
            raise AdapterError("connection lost; state unknown", transient=True, unknown=True)
        return Outcome(changed=False, summary="done")

    ctx = RunContext(
        run_id="r1",
        environment=load_environment(REPOSITORY, "lab"),
        inventory=Inventory(servers={}),
        state=tmp_path,
        images=tmp_path,
        artifacts=make_run_folder(tmp_path, "r1") / "artifacts",
        connections=None,  # type: ignore[arg-type]
        progress=lambda step, text: None,
    )
    assert run_plan(plan, ctx, actor="test", work=Work(perform=perform)).closed.status == "succeeded"
    twice = {step.id for step in plan.steps if isinstance(step.run, PATIENT)}
    assert {name for name in tried if tried.count(name) == 2} == twice
    assert {step.run.do for step in plan.steps if step.id in twice} >= {
        "dns.look_at_records",
        "dns.swap_address",
        "nspawn.block_server",
        "nspawn.power_off_server",
        "witness.prove_refused",
    }
    once = [step.id for step in plan.steps if isinstance(step.run, Promote)]
    assert [tried.count(name) for name in once] == [1] * len(once) != []
