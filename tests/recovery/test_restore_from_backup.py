"""The strategy restore-from-backup: fenced as a promotion is, told what would be lost, read aloud."""

import pytest

from automation.model.actions import AcceptLag, RestoreCluster, RunPlaybook, SwapAddress
from automation.model.catalog import RestoreFromBackup
from automation.model.errors import PreflightError
from automation.model.plan import Plan
from automation.recovery.by_hand import Around, by_hand
from automation.recovery.failover import compile_failover, compile_walkthrough
from automation.recovery.lint_steps import lint_steps, refuse_unsafe
from automation.recovery.planner import City
from automation.recovery.spec import Failover
from tests.recovery.isolated_city import LABEL, PLAN, make_isolated_city, make_restorable

DB = "payments-db"
ASKED = Failover(plan="city", site="city-hall", title="fire", declaration="20261122-030000-aaaa")
STRATEGY = RestoreFromBackup.model_validate(
    {
        "kind": "restore-from-backup",
        "resource": DB,
        "store": "eoc-pg",
        "cluster": "15/main",
        "hosts": {"city-hall": "pg-a", "eoc": "pg-b"},
        "configure": "playbooks/site.yml",
    }
)


@pytest.fixture
def city() -> City:
    city = make_isolated_city()
    services = dict(city.catalog.services)
    services[DB] = services[DB].model_copy(update={"strategy": STRATEGY})
    catalog = city.catalog.model_copy(update={"services": services})
    return city._replace(catalog=catalog, clusters={}, restorables={DB: make_restorable()})


@pytest.fixture
def plan(city: City) -> Plan:
    return compile_failover(ASKED, PLAN, city)


def test_nothing_is_restored_before_the_old_primary_is_proved_fenced(plan: Plan) -> None:
    above = plan.stands_on(f"{DB}/restore")
    assert {f"{DB}/fence-power", f"{DB}/fence-network", f"{DB}/fence-proof", "declaration"} <= above
    assert plan.step(f"{DB}/restore").on_failure == "halt"


def test_it_goes_as_far_as_the_archive_and_clients_are_let_in_before_names_move(plan: Plan) -> None:
    restore = plan.step(f"{DB}/restore").run
    assert isinstance(restore, RestoreCluster)
    assert (restore.host, restore.point, restore.until) == ("pg-b", LABEL, None)
    configure = plan.step(f"{DB}/configure").run
    assert isinstance(configure, RunPlaybook)
    assert configure.limit == "pg-b"
    names = [step for step in plan.steps if isinstance(step.run, SwapAddress) and step.service == DB]
    assert all(f"{DB}/configure" in plan.stands_on(step.id) for step in names)


def test_what_would_be_lost_and_how_well_the_copy_is_proven_stands_in_the_plan(plan: Plan) -> None:
    why = plan.step(f"{DB}/restore").why
    assert "1 min would be lost now" in why
    assert "proven at L4" in why


def test_a_loss_over_the_objective_is_accepted_by_two_roles_before_the_restore(city: City) -> None:
    asked = ASKED.model_copy(update={"accept_lag": {DB: "eoc-pg ends 1 min before now"}})
    plan = compile_failover(asked, PLAN, city)
    accepted = plan.step(f"{DB}/accept-lag").run
    assert isinstance(accepted, AcceptLag)
    assert f"{DB}/accept-lag" in plan.stands_on(f"{DB}/restore")


def test_a_compiled_one_is_safe(plan: Plan) -> None:
    refuse_unsafe(plan, lab=True)


def test_a_restore_without_a_fence_is_refused_like_a_promotion(plan: Plan) -> None:
    steps = dict(plan.by_id)
    restore = steps[f"{DB}/restore"]
    steps[restore.id] = restore.model_copy(update={"needs": (f"{DB}/dns-answers",)})
    wrong = Plan(name="x", environment="lab", mode="failover", steps=tuple(steps.values()))
    assert "fence-before-promote" in {one.rule for one in lint_steps(wrong, lab=True)}
    with pytest.raises(PreflightError, match="nothing proves that the old primary is fenced"):
        refuse_unsafe(wrong, lab=True)


def test_a_copy_that_nobody_looked_at_makes_no_plan(city: City) -> None:
    with pytest.raises(PreflightError, match="was not looked at"):
        compile_failover(ASKED, PLAN, city._replace(restorables={}))


def test_it_can_be_read_aloud_and_done_by_hand_with_nothing_seen(city: City) -> None:
    plan = compile_walkthrough("city", PLAN, city._replace(restorables={}), "city-hall")
    told = by_hand(plan.step(f"{DB}/restore").run, Around(city.environment, city.inventory))
    assert any("--archive-mode=off" in command for command in told.commands)
    with pytest.raises(PreflightError, match="it is read, never run"):
        refuse_unsafe(plan, lab=True)
