"""What a plan adds: gates before, steps between, the most that may be touched."""

import pytest

from automation.model.actions import Confirm
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan
from automation.recovery.completing import list_touched
from automation.recovery.failover import compile_failover
from automation.recovery.planner import City
from tests.recovery.mixed import ASKED, mix, plan_of
from tests.recovery.test_planner import before

NOTIFY = {
    "id": "notify",
    "run": {"do": "ansible.run_playbook", "playbook": "playbooks/site.yml", "limit": "localhost"},
    "why": "people hear of it from us",
    "on_failure": "continue",
}
BALANCE = {
    "id": "balance",
    "run": {"do": "people.confirm", "of": "decision", "task": "the day balances"},
    "why": "a service that is up may still be wrong",
    "needs": ["payments"],
    "gate": {"role": "controller", "ask": "Does the day balance?"},
    "timeout": "5 min",
}


def compiled(city: City, **words: object) -> Plan:
    return compile_failover(ASKED, plan_of(**words), mix(city))


# --- which services --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("services", "chosen"),
    [
        ("all", {"payments-db", "payments", "notices", "switchboard", "portal"}),
        (["payments-db"], {"payments-db"}),
        ({"tiers": [1, 2]}, {"payments-db", "payments"}),
        ({"tiers": [3], "except": ["portal"]}, {"notices", "switchboard"}),
        ({"tiers": [1], "names": ["portal"]}, {"payments-db", "portal"}),
        ({"sites": ["city-hall"], "tiers": [2]}, {"payments"}),
    ],
    ids=["all", "names", "tiers", "except", "names beside tiers", "tier at a site"],
)
def test_a_plan_recovers_what_it_chooses(city: City, services: object, chosen: set[str]) -> None:
    assert {step.service for step in compiled(city, services=services).steps if step.service} == chosen


def test_a_site_that_a_plan_leaves_out_is_not_recovered_by_it(city: City) -> None:
    with pytest.raises(ConfigError, match="recovers no service: none that it chooses is at city-hall"):
        compiled(city, services={"sites": ["eoc"]})


# --- gates -----------------------------------------------------------------------------------------

ASK = {"role": "mayor", "ask": "Go on?"}


def test_a_gate_before_a_service_holds_back_all_of_it_and_is_asked_once(city: City) -> None:
    plan = compiled(city, gates=[{"before": "payments-db", **ASK}])
    gate = plan.step("gate/1-payments-db")
    assert gate.gate is not None
    assert gate.gate.role == "mayor"
    assert gate.needs == ("declaration",)
    own = [step.id for step in plan.steps if step.id.startswith("payments-db/")]
    assert all(gate.id in before(plan, name) for name in own)
    assert sum(step.gate is not None and step.gate.role == "mayor" for step in plan.steps) == 1


def test_a_gate_before_promotions_is_asked_when_every_fence_is_proven(city: City) -> None:
    plan = compiled(city, gates=[{"before": "promote", **ASK}])
    assert "payments-db/fence-proof" in plan.step("gate/1-promote").needs
    assert "gate/1-promote" in plan.step("payments-db/promote").needs


@pytest.mark.parametrize("taken", ["promote", "fence", "names", "gate/1-promote"])
def test_no_step_takes_the_place_of_what_a_gate_stands_before(city: City, taken: str) -> None:
    with pytest.raises(ConfigError, match=f"step '{taken}' has an id that gates use"):
        compiled(city, gates=[{"before": "promote", **ASK}], steps=[{**NOTIFY, "id": taken}])


def test_a_gate_before_all_names_waits_for_no_name(city: City) -> None:
    plan = compiled(city, gates=[{"before": "names", **ASK}])
    assert not [name for name in before(plan, "gate/1-names") if "/dns-web" in name or "/dns-sql" in name]
    moves = [step for step in plan.steps if step.run.do == "dns.swap_address"]
    assert len(moves) == 3
    assert all("gate/1-names" in step.needs for step in moves)


def test_a_gate_before_what_is_not_recovered_is_left_out(city: City) -> None:
    plan = compiled(city, services=["payments-db"], gates=[{"before": "notices", **ASK}])
    assert not [step for step in plan.steps if step.id.startswith("gate/")]


def test_a_gate_of_other_modes_is_left_out(city: City) -> None:
    plan = compiled(city, gates=[{"before": "promote", "modes": ["failback"], **ASK}])
    assert not [step for step in plan.steps if step.id.startswith("gate/")]


def test_a_gate_before_what_does_not_exist_is_refused(city: City) -> None:
    with pytest.raises(ConfigError, match="gate 1 stands before 'promotion', which is neither"):
        compiled(city, gates=[{"before": "promotion", **ASK}])


# --- steps of its own ------------------------------------------------------------------------------


def test_a_step_of_the_plans_own_follows_the_declaration(city: City) -> None:
    plan = compiled(city, steps=[NOTIFY])
    assert plan.step("notify").needs == ("declaration",)
    assert plan.step("notify").on_failure == "continue"


def test_a_step_that_needs_a_service_waits_until_clients_reach_it(city: City) -> None:
    step = compiled(city, steps=[BALANCE]).step("balance")
    assert step.needs == ("payments/dns-web",)
    assert (step.timeout_s, isinstance(step.run, Confirm)) == (300, True)


def test_what_stands_before_something_is_waited_for(city: City) -> None:
    plan = compiled(city, steps=[{**NOTIFY, "before": ["promote", "notices"]}])
    assert "notify" in plan.step("payments-db/promote").needs
    assert "notify" in plan.step("notices/fence").needs


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({**BALANCE, "needs": ["payment"]}, "'balance' needs 'payment', which is neither a step"),
        ({**BALANCE, "id": "declaration"}, "'declaration' stands in the plan already"),
        ({**BALANCE, "before": ["payments"]}, "steps wait for each other"),
    ],
    ids=["unknown", "twice", "circle"],
)
def test_a_step_that_cannot_stand_there_is_refused(city: City, step: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compiled(city, steps=[step])


def test_an_order_after_what_is_not_there_is_passed_over_and_a_need_is_not(city: City) -> None:
    only = {"services": ["payments-db"]}
    plan = compiled(city, **only, steps=[{**NOTIFY, "after": ["payments/start"]}])
    assert plan.step("notify").after == ()
    with pytest.raises(ConfigError, match="needs 'payments/start'"):
        compiled(city, **only, steps=[{**NOTIFY, "needs": ["payments/start"]}])


# --- limits ----------------------------------------------------------------------------------------


def test_how_much_runs_at_once_is_the_plans_word(city: City) -> None:
    limits = compiled(city, limits={"total": 4, "per_host": 1, "per_provider": {"ansible": 2}}).limits
    assert (limits.total, limits.per_host, limits.per_provider) == (4, 1, {"ansible": 2})


def test_the_hosts_that_a_plan_changes_are_known(city: City) -> None:
    plan = compiled(city, services=["payments-db", "notices"])
    assert list_touched(plan, city.inventory) == [
        "app-a",
        "app-b",
        "client-1",
        "dns-a",
        "dns-b",
        "pg-a",
        "pg-b",
    ]


def test_a_plan_that_would_change_too_many_hosts_is_refused(city: City) -> None:
    assert compiled(city, limits={"max_hosts": 7})
    with pytest.raises(
        PreflightError, match=r"would change 7 hosts, 6 are allowed: app-a, .*nothing was changed"
    ):
        compiled(city, limits={"max_hosts": 6})


def test_a_plan_that_would_change_a_host_it_never_may_is_refused(city: City) -> None:
    with pytest.raises(PreflightError, match="would change pg-a, pg-b, which its limits deny"):
        compiled(city, limits={"deny": ["pg-*", "e911-*"]})


def test_a_playbook_without_a_limit_counts_as_every_host(city: City) -> None:
    wide = {**NOTIFY, "run": {"do": "ansible.run_playbook", "playbook": "playbooks/site.yml"}}
    assert compiled(city, steps=[NOTIFY], limits={"max_hosts": 7})
    plan = compiled(city, services=["portal"], steps=[wide])
    assert list_touched(plan, city.inventory) == sorted(city.inventory.servers)


# --- approvals -------------------------------------------------------------------------------------


def test_each_mode_asks_for_its_own_signatures() -> None:
    words = {"failover": ["mayor", "dr-coordinator"], "planned-migration": ["dr-coordinator"]}
    plan = plan_of(approvals={**words, "not_requester": False})
    rule = plan.rule("failover")
    assert rule is not None
    assert (rule.roles, rule.requester_may_approve) == (("mayor", "dr-coordinator"), True)
    assert plan.rule("failback") is None
    assert plan.rule("exercise") is None
