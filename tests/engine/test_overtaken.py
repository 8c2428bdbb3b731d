"""A run that stopped is not gone on with once another one has promoted what it is about."""

import pytest

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.overtaken import refuse_overtaken
from automation.engine.run import abort_run, make_run_folder, run_plan
from automation.model.actions import (
    Action,
    BlockServer,
    PowerOffServer,
    PowerOnVm,
    Promote,
    RegisterReplica,
    ReleaseServer,
    StartFenced,
    StartInstance,
    SwapAddress,
    UnblockServer,
    UnregisterVm,
    Wait,
)
from automation.model.errors import AdapterError, OutcomeUnknown, PreflightError
from automation.model.plan import Mode, Plan, Step
from automation.model.records import Outcome
from tests.engine.conftest import in_folder

PROMOTE = Promote(host="pg-b", cluster="15/main", expect_system_identifier="1", expect_timeline=1)
POWER_ON = PowerOnVm(host="gis-db-a", site="eoc")
START = StartInstance(host="web-w1", site="aws-west")
SWAP = SwapAddress(name="portal", old="10.0.0.1", new="10.0.0.2", servers=("dns-b",), required=("dns-b",))
REGISTER = RegisterReplica(host="gis-db-a", site="eoc", datastore="replicated", networks={})


def run(
    context: RunContext,
    run_id: str,
    action: Action,
    fails: Exception | None,
    of: str,
    *,
    mode: Mode = "apply",
) -> None:
    """Run one step of a service, as a run of its own."""

    def perform(step: Step, ctx: RunContext) -> Outcome:
        if fails is not None:
            raise fails
        return Outcome(changed=True, summary="done")

    step = Step(id=f"{of}/step", service=of, run=action, why="test")
    make_run_folder(context.state, run_id)
    plan = Plan(name=run_id, environment="lab", mode=mode, steps=(step,))
    run_plan(plan, in_folder(context, run_id), actor="a", work=Work(perform=perform))


def refuse(context: RunContext, run_id: str) -> None:
    refuse_overtaken(context.state / "runs", run_id, environment="lab")


@pytest.mark.parametrize(
    "fails", [None, OutcomeUnknown("nobody knows")], ids=["promoted", "perhaps promoted"]
)
def test_a_promotion_since_it_stopped_overtakes_a_run(context: RunContext, fails: Exception | None) -> None:
    run(context, "move", Wait(seconds=0), AdapterError("no"), "db")
    refuse(context, "move")
    run(context, "failover", PROMOTE, fails, "db")
    with pytest.raises(
        PreflightError, match="run failover has taken db over since run move stopped"
    ) as caught:
        refuse(context, "move")
    assert "without --undo" in (caught.value.hint or "")
    refuse(context, "failover")


@pytest.mark.parametrize(
    ("action", "fails", "of"),
    [(PROMOTE, None, "other"), (PROMOTE, AdapterError("refused"), "db"), (Wait(seconds=0), None, "db")],
    ids=["another service", "surely not promoted", "nothing that lasts"],
)
def test_other_runs_do_not(context: RunContext, action: Action, fails: Exception | None, of: str) -> None:
    run(context, "move", Wait(seconds=0), AdapterError("no"), "db")
    run(context, "later", action, fails, of)
    refuse(context, "move")


def test_what_was_promoted_before_it_is_what_it_knows(context: RunContext) -> None:
    run(context, "failover", PROMOTE, None, "db")
    run(context, "move", Wait(seconds=0), AdapterError("no"), "db")
    refuse(context, "move")


def test_a_run_that_is_not_there_is_told_of_by_others(context: RunContext) -> None:
    refuse(context, "none")


@pytest.mark.parametrize("action", [REGISTER, POWER_ON], ids=["registered", "powered on"])
def test_what_was_brought_up_elsewhere_without_a_promotion_overtakes_a_run(
    context: RunContext, action: Action
) -> None:
    run(context, "move", Wait(seconds=0), AdapterError("no"), "gis")
    run(context, "failover", action, None, "gis", mode="failover")
    with pytest.raises(PreflightError, match="run failover has taken gis over since run move stopped"):
        refuse(context, "move")


@pytest.mark.parametrize("action", [START, SWAP], ids=["started", "named"])
def test_what_leads_clients_elsewhere_without_any_data_overtakes_a_run(
    context: RunContext, action: Action
) -> None:
    run(context, "failback", Wait(seconds=0), AdapterError("no"), "portal", mode="failback")
    run(context, "test", action, None, "portal", mode="test-failover")
    refuse(context, "failback")
    run(context, "failed", action, AdapterError("no"), "portal", mode="failover")
    refuse(context, "failback")
    run(context, "failover", action, None, "portal", mode="failover")
    with pytest.raises(PreflightError, match="run failover has taken portal over since run failback"):
        refuse(context, "failback")


LIFTS = [StartFenced(host="pg-a"), UnblockServer(host="pg-a"), ReleaseServer(host="pg-a")]


@pytest.mark.parametrize("lift", LIFTS, ids=lambda action: action.do)
@pytest.mark.parametrize(
    "fence", [BlockServer(host="pg-a"), PowerOffServer(host="pg-a")], ids=["net", "power"]
)
def test_a_host_that_begins_to_come_home_overtakes_the_run_that_fenced_it(
    context: RunContext, fence: Action, lift: Action
) -> None:
    run(context, "failover", fence, None, "db", mode="failover")
    run(context, "elsewhere", fence.model_copy(update={"host": "pg-z"}), None, "db", mode="failover")
    refuse(context, "failover")
    run(context, "failback", lift, None, "db", mode="failback")
    with pytest.raises(PreflightError, match="run failback has lifted a fence of pg-a since run failover"):
        refuse(context, "failover")
    refuse(context, "elsewhere")


@pytest.mark.parametrize("mode", ["test-failover", "apply"])
def test_what_a_test_or_a_provisioning_powers_on_does_not(context: RunContext, mode: Mode) -> None:
    run(context, "move", Wait(seconds=0), AdapterError("no"), "gis")
    run(context, "later", POWER_ON, None, "gis", mode=mode)
    refuse(context, "move")


def test_what_was_registered_and_taken_out_again_overtakes_nothing(context: RunContext) -> None:
    run(context, "older", Wait(seconds=0), AdapterError("no"), "gis")
    registered = Step(
        id="gis/a", service="gis", run=REGISTER, why="test", undo=UnregisterVm(host="gis-db-a", site="eoc")
    )
    fails = Step(id="gis/b", service="gis", run=Wait(seconds=0), why="test", needs=("gis/a",))

    def perform(step: Step, ctx: RunContext) -> Outcome:
        if step.id == "gis/b":
            raise AdapterError("no")
        return Outcome(changed=True, summary="done")

    make_run_folder(context.state, "move")
    own, work = in_folder(context, "move"), Work(perform=perform, undo=perform)
    plan = Plan(name="move", environment="lab", mode="planned-migration", steps=(registered, fails))
    run_plan(plan, own, actor="a", work=work)
    with pytest.raises(PreflightError):
        refuse(context, "older")
    abort_run(own, actor="a", reason="test", undo=True, work=work)
    refuse(context, "older")
