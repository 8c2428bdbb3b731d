"""Hosts are asked how they are secured around a recovery, and never in its way."""

from pathlib import Path

import pytest

from automation.model.actions import CollectFacts
from automation.model.plan import Plan
from automation.recovery.audits import LONGEST_WALK_S, PATIENCE, Pair, is_audit, not_asked, pairs
from automation.recovery.failover import compile_failover
from automation.recovery.isolated import compile_isolated
from automation.recovery.lint_steps import refuse_unsafe
from automation.recovery.planner import City, compile_drill
from automation.recovery.spec import Failover, load_drill, load_plan
from tests.recovery.isolated_city import DRILL, PLAN, given, make_isolated_city

REPOSITORY = Path(__file__).resolve().parents[2]
FAILOVER = Failover(plan="city", site="city-hall", title="fire", declaration="20261121-031400-0b1e")


def drill(city: City, walk_s: float = 10.0, name: str = "site-loss") -> Plan:
    told = load_drill(REPOSITORY, name)
    city = city._replace(walk_s=walk_s)
    return compile_drill(told, load_plan(REPOSITORY, told.plan), city, declared_by="coordinator")


def failover(city: City, walk_s: float = 10.0) -> Plan:
    return compile_failover(FAILOVER, load_plan(REPOSITORY, "city"), city._replace(walk_s=walk_s))


def isolated(walk_s: float = 10.0) -> Plan:
    return compile_isolated(DRILL, PLAN, make_isolated_city()._replace(walk_s=walk_s), given())


def audits(plan: Plan) -> dict[str, str]:
    return {step.id: step.run.host for step in plan.steps if isinstance(step.run, CollectFacts)}


def ended_before(plan: Plan, step: str) -> set[str]:
    """Every step that must have ended before this one starts."""
    before = plan.waits_for[step]
    return set(before).union(*(ended_before(plan, one) for one in before)) if before else set()


def test_without_a_baseline_nobody_is_asked(city: City) -> None:
    for plan in (drill(city, 0.0), failover(city, 0.0), isolated(0.0)):
        assert audits(plan) == {}


@pytest.mark.parametrize("name", ["site-loss", "rolling-disaster", "wan-partition"])
def test_originals_are_asked_before_anything_breaks_and_copies_when_clients_are_well(
    city: City, name: str
) -> None:
    plan = drill(city, name=name)
    before, after = (
        {"baseline/before-pg-a", "baseline/before-app-a"},
        {"baseline/after-pg-b", "baseline/after-app-b"},
    )
    assert audits(plan).keys() == before | after
    first = next(step.id for step in plan.steps if step.id.startswith("fault/"))
    assert before <= ended_before(plan, first)
    for step in after:
        assert {"clients-good", "checks", "witness/collect"} <= ended_before(plan, step)


def test_no_recovery_waits_for_an_audit_and_none_stops_a_run(city: City) -> None:
    for plan in (drill(city), failover(city), isolated()):
        for step in plan.steps:
            if is_audit(step.id):
                assert step.on_failure == "continue"
            else:
                assert not any(map(is_audit, step.needs)), step.id
    for step in failover(city).steps:
        assert is_audit(step.id) or not any(map(is_audit, failover(city).waits_for[step.id]))


def test_a_real_failover_asks_no_host_of_the_lost_site(city: City) -> None:
    plan = failover(city)
    assert set(audits(plan).values()) == {"pg-b", "app-b"}
    for step in audits(plan):
        assert ended_before(plan, step) == {one.id for one in plan.steps if not is_audit(one.id)}


def test_an_isolated_copy_is_asked_before_it_is_removed() -> None:
    plan = isolated()
    assert set(audits(plan).values()) == {"pg-a", "app-a", "drill-b"}
    assert "baseline/after-drill-b" in plan.waits_for["drill/remove"]
    assert "drill/isolated" in plan.stands_on("baseline/after-drill-b")
    refuse_unsafe(plan, lab=True)


def test_a_walk_is_never_longer_than_a_drill_can_wait(city: City) -> None:
    plan = drill(city, walk_s=600.0)
    walks = {step.id: step.run.walk_s for step in plan.steps if isinstance(step.run, CollectFacts)}
    assert walks["baseline/before-pg-a"] == LONGEST_WALK_S
    assert walks["baseline/after-pg-b"] == LONGEST_WALK_S * PATIENCE


def test_every_copy_stands_beside_the_originals_of_its_service(city: City) -> None:
    services = city.catalog.services
    assert set(pairs(drill(city), services)) == {
        Pair("payments-db", ("pg-a",), "pg-b"),
        Pair("payments", ("app-a",), "app-b"),
    }
    assert set(pairs(isolated(), services)) == {
        Pair("payments-db", ("pg-a",), "drill-b"),
        Pair("payments", ("app-a",), "drill-b"),
    }
    assert not_asked(drill(city, 0.0), services) == ("payments-db", "payments")


def test_machines_that_a_recovery_makes_are_not_asked(city: City) -> None:
    servers = dict(city.inventory.servers)
    servers["app-b"] = servers["app-b"].model_copy(update={"on_demand": True})
    made = city._replace(inventory=city.inventory.model_copy(update={"servers": servers}))
    assert set(audits(drill(made)).values()) == {"pg-a", "pg-b"}
    assert not_asked(drill(made), made.catalog.services) == ("payments",)
