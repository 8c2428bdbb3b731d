"""The plan of a real failover: a declaration first, nothing broken, no promotion without its proof."""

import pytest

from automation.model.actions import (
    AcceptLag,
    BlockServer,
    CiteDeclaration,
    PowerOffServer,
    Promote,
    ProveRefused,
    SuspectSplitBrain,
)
from automation.model.errors import ConfigError
from automation.model.plan import Plan
from automation.recovery.failover import compile_failover, override_requests
from automation.recovery.planner import City
from automation.recovery.spec import Failover, PlanApprovals, RecoveryPlan, load_plan
from tests.recovery.conftest import REPOSITORY
from tests.recovery.test_planner import before

ASKED = Failover(plan="city", site="city-hall", title="fire", declaration="20261121-031400-0b1e")
UNFENCED = ASKED.model_copy(update={"accept_unfenced": "the building is under water"})


@pytest.fixture
def recovery() -> RecoveryPlan:
    return load_plan(REPOSITORY, "city")


def compiled(city: City, recovery: RecoveryPlan, asked: Failover = ASKED) -> Plan:
    return compile_failover(asked, recovery, city)


@pytest.mark.parametrize("asked", [ASKED, UNFENCED], ids=["fenced", "unfenced"])
def test_everything_comes_after_a_persons_declaration(
    city: City, recovery: RecoveryPlan, asked: Failover
) -> None:
    plan = compiled(city, recovery, asked)
    first, *rest = plan.steps
    assert isinstance(first.run, CiteDeclaration)
    assert first.run.declaration == ASKED.declaration
    assert all(first.id in before(plan, step.id) for step in rest)


def test_it_breaks_nothing(city: City, recovery: RecoveryPlan) -> None:
    assert {step.run.effect for step in compiled(city, recovery).steps} <= {"read", "change"}


def test_a_promotion_needs_two_fences_their_proof_and_a_dns_that_answers(
    city: City, recovery: RecoveryPlan
) -> None:
    plan = compiled(city, recovery)
    earlier = before(plan, "payments-db/promote")
    runs = [plan.step(name).run for name in earlier]
    assert {type(run) for run in runs} >= {PowerOffServer, BlockServer, ProveRefused}
    assert "payments-db/dns-answers" in earlier
    must = {plan.step(name).on_failure for name in earlier if "fence" in name}
    assert must == {"halt"}


def test_the_proof_asks_a_second_vantage_and_a_neighbour_of_the_old_primary(
    city: City, recovery: RecoveryPlan
) -> None:
    run = compiled(city, recovery).step("payments-db/fence-proof").run
    assert isinstance(run, ProveRefused)
    assert (run.host, run.else_from, run.same_site) == ("client-1", ("pg-b",), ("10.77.1.10:22",))


def test_a_missing_fence_that_is_borne_marks_the_service_before_the_promotion(
    city: City, recovery: RecoveryPlan
) -> None:
    plan = compiled(city, recovery, UNFENCED)
    mark = plan.step("payments-db/suspect")
    assert isinstance(mark.run, SuspectSplitBrain)
    assert mark.id in before(plan, "payments-db/promote")
    assert plan.step("payments-db/fence-power").on_failure == "continue"
    assert mark.on_failure == "halt"


def test_every_risk_that_is_borne_asks_two_roles_to_sign_what_was_observed(
    city: City, recovery: RecoveryPlan
) -> None:
    both = UNFENCED.model_copy(update={"accept_lag": {"payments-db": "9 bytes and 7.0 s behind"}})
    plan = compiled(city, recovery, both)
    assert any(isinstance(step.run, AcceptLag) for step in plan.steps)
    asked = override_requests(plan, "run-1", "requester")
    assert {(one.step, one.observed) for one in asked} == {
        ("payments-db/suspect", "pg-a may not be fenced"),
        ("payments-db/accept-lag", "9 bytes and 7.0 s behind"),
    }
    assert {one.rule.roles for one in asked} == {recovery.overrides}
    assert all(one.plan_digest == plan.digest and not one.rule.requester_may_approve for one in asked)


def test_a_plan_that_bears_nothing_asks_for_no_override(city: City, recovery: RecoveryPlan) -> None:
    assert override_requests(compiled(city, recovery), "run-1", "requester") == ()


def test_the_lab_can_be_tried_alone_and_a_city_asks_for_signatures(
    city: City, recovery: RecoveryPlan
) -> None:
    assert compiled(city, recovery).approvals is None
    strict = recovery.model_copy(update={"approvals": PlanApprovals(failover=("dr-coordinator",))})
    rule = compiled(city, strict).approvals
    assert rule is not None
    assert (rule.roles, rule.requester_may_approve) == (("dr-coordinator",), False)


def test_outside_a_lab_a_failover_without_approvals_is_refused(city: City, recovery: RecoveryPlan) -> None:
    real = city._replace(environment=city.environment.model_copy(update={"kind": "production", "lab": None}))
    with pytest.raises(ConfigError, match="must ask for approvals; nothing was changed"):
        compiled(real, recovery)
    strict = recovery.model_copy(update={"approvals": PlanApprovals(failover=("dr-coordinator",))})
    assert compiled(real, strict).approvals is not None


def test_a_lost_witness_stops_no_promotion(city: City, recovery: RecoveryPlan) -> None:
    plan = compiled(city, recovery)
    looks = [step for step in plan.steps if step.run.do.startswith("witness.") and "fence" not in step.id]
    assert {step.on_failure for step in looks} == {"continue"}
    promotion = next(step for step in plan.steps if isinstance(step.run, Promote))
    assert not {step.id for step in looks} & before(plan, promotion.id)
