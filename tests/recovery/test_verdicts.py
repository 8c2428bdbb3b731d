"""A drill that must stop is met by exactly that."""

from datetime import UTC, datetime

import pytest

from automation.model.plan import Plan
from automation.recovery.planner import City, compile_drill
from automation.recovery.report import StepResult
from automation.recovery.spec import load_drill, load_plan
from automation.recovery.verdicts import judge_stop
from tests.recovery.conftest import REPOSITORY

NOW = datetime(2026, 11, 21, 3, 14, tzinfo=UTC)


@pytest.fixture
def plan(city: City) -> Plan:
    drill = load_drill(REPOSITORY, "dark-site")
    assert drill.expect == "stopped-before-promotion"
    return compile_drill(drill, load_plan(REPOSITORY, drill.plan), city, declared_by="coordinator")


def results(plan: Plan, **status: str) -> list[StepResult]:
    told = {name.replace("__", "/").replace("_", "-"): how for name, how in status.items()}
    return [
        StepResult.model_validate(
            {
                "id": step.id,
                "service": step.service,
                "why": step.why,
                "status": told.get(step.id, "not-started"),
                "text": "no answer",
            }
        )
        for step in plan.steps
    ]


def test_a_fence_that_failed_and_nothing_promoted_meets_it(plan: Plan) -> None:
    verdict, headline = judge_stop(plan, results(plan, payments_db__fence_power="failed"))
    assert verdict == "met"
    assert "payments-db/fence-power: no answer. Nothing was promoted." in headline


@pytest.mark.parametrize("promotion", ["succeeded", "failed", "unfinished"])
def test_a_promotion_that_began_never_meets_it(plan: Plan, promotion: str) -> None:
    ran = results(plan, payments_db__fence_power="failed", payments_db__promote=promotion)
    assert judge_stop(plan, ran)[0] == "failed"


def test_a_stop_before_any_fence_was_tried_shows_nothing(plan: Plan) -> None:
    verdict, headline = judge_stop(plan, results(plan, witness__start="failed"))
    assert verdict == "failed"
    assert "stopped elsewhere" in headline
