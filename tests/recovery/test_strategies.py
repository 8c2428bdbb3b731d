"""Services that playbooks, people and vendors recover: what is done, in which order, who is asked."""

import pytest

from automation.model.actions import AwaitGood, AwaitReady, CollectWitness, Confirm, RunPlaybook, SwapAddress
from automation.model.errors import ConfigError
from automation.model.plan import Plan
from automation.recovery.failover import ASSUMED, compile_failover, compile_walkthrough
from automation.recovery.planner import City, compile_drill
from automation.recovery.spec import load_drill
from tests.recovery.conftest import REPOSITORY
from tests.recovery.mixed import ASKED, NOTICES, OWN, PORTAL, mix, plan_of
from tests.recovery.test_planner import before


@pytest.fixture
def plan(city: City) -> Plan:
    return compile_failover(ASKED, plan_of(), mix(city))


# --- playbooks -------------------------------------------------------------------------------------


def test_a_citys_own_fence_comes_before_its_recovery_and_stops_the_run_if_it_fails(plan: Plan) -> None:
    assert "notices/fence" in before(plan, "notices/recover")
    assert plan.step("notices/fence").on_failure == "halt"


def test_a_playbook_recovers_after_what_it_stands_on_and_is_verified_before_its_name_moves(
    plan: Plan,
) -> None:
    assert "payments/dns-web" in before(plan, "notices/recover")
    assert plan.step("notices/verify").needs == ("notices/recover",)
    assert plan.step("notices/dns-web").needs == ("notices/verify",)
    swap = plan.step("notices/dns-web").run
    assert isinstance(swap, SwapAddress)
    assert (swap.old, swap.new) == ("10.77.1.30", "10.77.2.30")


@pytest.mark.parametrize(
    ("verb", "site", "host"),
    [("fence", "city-hall", "app-a"), ("recover", "eoc", "app-b"), ("verify", "eoc", "app-b")],
)
def test_a_playbook_is_told_what_for_and_where(plan: Plan, verb: str, site: str, host: str) -> None:
    run = plan.step(f"notices/{verb}").run
    assert isinstance(run, RunPlaybook)
    assert run.playbook == f"playbooks/notices_{verb}.yml"
    assert run.variables == {
        "mainstay_service": "notices",
        "mainstay_site": site,
        "mainstay_hosts": host,
        "mainstay_mode": "failover",
    }


def test_a_playbook_reaches_its_own_hosts_and_the_control_node_alone(plan: Plan) -> None:
    for verb in ("fence", "recover", "verify"):
        run = plan.step(f"notices/{verb}").run
        assert isinstance(run, RunPlaybook)
        assert run.limit == "app-a,app-b,localhost"


def test_without_endpoints_a_service_is_back_when_it_is_verified(city: City) -> None:
    bare = NOTICES.model_copy(update={"endpoints": {}, "probes": {}})
    plan = compile_failover(ASKED, plan_of(), mix(city, notices=bare))
    assert "notices/dns-web" not in plan.by_id
    assert "notices/verify" in before(plan, "clients-good")


# --- people ----------------------------------------------------------------------------------------


def test_a_checklist_is_answered_line_by_line_and_signed_off_at_its_end(plan: Plan) -> None:
    lines = [step for step in plan.steps if step.service == "switchboard"]
    assert [step.id for step in lines] == ["switchboard/line-1", "switchboard/line-2", "switchboard/sign-off"]
    assert [step.gate.role for step in lines if step.gate] == ["telephone-desk", "telephone-desk", "clerk"]
    assert lines[1].needs == ("switchboard/line-1",)
    asked = lines[0].gate
    assert asked is not None
    assert asked.ask == "Forward the main number to the EOC. Then you see: a test call rings there. Done?"


def test_people_wait_for_what_their_service_stands_on(city: City) -> None:
    later = OWN["switchboard"].model_copy(update={"depends_on": ("payments",)})
    plan = compile_failover(ASKED, plan_of(), mix(city, switchboard=later))
    assert "payments/dns-web" in plan.step("switchboard/line-1").needs


def test_in_a_drill_everybody_who_is_asked_is_told_that_it_is_one(city: City) -> None:
    drill = load_drill(REPOSITORY, "site-loss")
    plan = compile_drill(drill, plan_of(), mix(city), declared_by="coordinator")
    asked = [step.gate.ask for step in plan.steps if step.gate]
    assert len(asked) == 5
    assert all(ask.startswith("EXERCISE: ") for ask in asked)


def test_what_people_do_holds_nothing_back_that_machines_recover(plan: Plan) -> None:
    by_people = {step.id for step in plan.steps if isinstance(step.run, Confirm)}
    assert by_people
    for step in ("clients-good", "checks", "notices/dns-web", "payments/dns-web"):
        assert not before(plan, step) & by_people


def test_the_witness_is_collected_after_the_last_sign_off(plan: Plan) -> None:
    collect = next(step for step in plan.steps if isinstance(step.run, CollectWitness))
    assert {"switchboard/sign-off", "portal/sign-off"} <= set(collect.after)


# --- vendors ---------------------------------------------------------------------------------------


def test_a_vendor_is_called_with_its_contacts_and_the_risk_that_was_accepted(plan: Plan) -> None:
    call = plan.step("portal/call")
    assert call.gate is not None
    assert "Taxes Inc (support-desk: page 3 of the contact list)" in call.gate.ask
    assert call.why == "accepted by treasurer until 2027-01-01: taxes are paid at the counter for two days"
    assert plan.step("portal/sign-off").needs == ("portal/call",)


def test_a_vendors_service_with_a_probe_is_back_when_clients_see_it(city: City) -> None:
    ends = {
        "endpoints": NOTICES.endpoints,
        "probes": NOTICES.probes,
    }
    plan = compile_failover(ASKED, plan_of(), mix(city, portal=PORTAL.model_copy(update=ends)))
    run = plan.step("portal/answers").run
    assert isinstance(run, AwaitGood)
    assert run.probes == ("portal/page",)
    assert "portal/sign-off" not in plan.by_id


# --- all together ----------------------------------------------------------------------------------


def test_services_that_people_recover_alone_need_no_witness_and_no_host(city: City) -> None:
    only = plan_of(services=["switchboard", "portal"])
    plan = compile_failover(ASKED, only, mix(city))
    assert not any("witness" in step.id for step in plan.steps)
    assert {"switchboard/sign-off", "portal/sign-off"} <= before(plan, "checks")


def test_a_drill_of_what_nobody_watches_is_refused(city: City) -> None:
    drill = load_drill(REPOSITORY, "site-loss").model_copy(update={"objectives": {}})
    with pytest.raises(ConfigError, match="no service has a probe"):
        compile_drill(drill, plan_of(services=["switchboard"]), mix(city), declared_by="coordinator")


def test_a_drill_reaches_first_the_hosts_that_machines_recover_on(city: City) -> None:
    drill = load_drill(REPOSITORY, "site-loss")
    plan = compile_drill(drill, plan_of(), mix(city), declared_by="coordinator")
    assert {step.run.host for step in plan.steps if isinstance(step.run, AwaitReady)} == {"app-b", "pg-b"}


# --- a walkthrough ---------------------------------------------------------------------------------


def test_a_walkthrough_observes_nothing_and_says_so(city: City) -> None:
    blind = mix(city)._replace(clusters={})
    plan = compile_walkthrough("all", plan_of(), blind, "city-hall")
    promote = plan.step("payments-db/promote").run
    assert plan.mode == "walkthrough"
    assert getattr(promote, "expect_system_identifier", "") == ASSUMED


def test_a_walkthrough_shows_a_fence_that_this_version_does_not_have(city: City) -> None:
    servers = {
        name: server.model_copy(update={"provider": "vsphere"})
        for name, server in city.inventory.servers.items()
    }
    other = city._replace(inventory=city.inventory.model_copy(update={"servers": servers}))
    plan = compile_walkthrough("all", plan_of(services=["payments-db"]), other, "city-hall")
    fence = plan.step("payments-db/fence-power")
    assert isinstance(fence.run, Confirm)
    assert "a failover is refused" in fence.why
    assert "payments-db/fence-proof" in before(plan, "payments-db/promote")
