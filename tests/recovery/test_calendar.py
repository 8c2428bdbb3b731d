from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from automation.model.catalog import Service
from automation.recovery.calendar import LEVELS, Calendar, Exercised, make_calendar, services_of
from automation.recovery.spec import RecoveryPlan

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def service(tier: int = 1, primary: str = "city-hall") -> Service:
    return Service.model_validate(
        {
            "title": "A service",
            "owner": "finance",
            "tier": tier,
            "rto": "1 h",
            "rpo": "0 s",
            "primary": primary,
            "recovery": "eoc",
            "strategy": {"kind": "manual", "checklist": [{"do": "call them"}], "sign_off": "finance"},
        }
    )


def plan(services: object = "all", **cadence: str) -> RecoveryPlan:
    wanted = {"title": "A plan", "services": services, "checks": ["drtests/checks"], "exercise": cadence}
    return RecoveryPlan.model_validate(wanted)


def exercised(mode: str, days_ago: float, *services: str, run_id: str = "r1") -> Exercised:
    ended_at = NOW - timedelta(days=days_ago)
    return Exercised(run_id=run_id, mode=mode, name="a", ended_at=ended_at, services=services or ("pay",))


def calendar(*past: Exercised, plans: Mapping[str, RecoveryPlan] | None = None) -> Calendar:
    return make_calendar({"pay": service()}, plans or {"city": plan()}, past, now=NOW)


def statuses(found: Calendar) -> dict[str, str]:
    return {due.level: due.status for due in found.rows[0].levels}


def test_what_was_never_exercised_says_so() -> None:
    found = calendar()
    assert statuses(found) == dict.fromkeys(LEVELS, "never")
    assert found.overdue == 1


@pytest.mark.parametrize(
    ("days_ago", "status"), [(1, "done"), (71, "done"), (73, "soon"), (90, "soon"), (91, "overdue")]
)
def test_an_exercise_holds_as_long_as_its_plan_says(days_ago: float, status: str) -> None:
    found = calendar(exercised("test-failover", days_ago), plans={"city": plan(**{"test-failover": "90 d"})})
    assert statuses(found)["test-failover"] == status


def test_a_failover_of_real_parts_shows_what_an_isolated_copy_would() -> None:
    found = statuses(calendar(exercised("exercise", 1)))
    assert (found["failover"], found["test-failover"]) == ("done", "done")
    assert (found["tabletop"], found["readiness"]) == ("never", "never")


def test_a_test_failover_is_no_failover() -> None:
    assert statuses(calendar(exercised("test-failover", 1)))["failover"] == "never"


def test_the_newest_run_of_a_level_counts() -> None:
    found = calendar(exercised("tabletop", 1, run_id="new"), exercised("tabletop", 400, run_id="old"))
    last = found.rows[0].levels[LEVELS.index("tabletop")].last
    assert last is not None
    assert last.run_id == "new"


def test_the_strictest_plan_that_holds_a_service_counts() -> None:
    plans = {"a": plan(tabletop="365 d"), "b": plan(["pay"], tabletop="30 d"), "c": plan(["other"])}
    found = calendar(exercised("tabletop", 40), plans=plans)
    assert found.rows[0].plans == ("a", "b")
    assert statuses(found)["tabletop"] == "overdue"


def test_a_service_in_no_plan_is_told_apart() -> None:
    found = calendar(plans={"c": plan(["other"])})
    assert (found.rows, found.without_plan) == ((), ("pay",))


def test_a_look_at_a_site_is_about_the_services_that_stand_there() -> None:
    services = {"pay": service(), "web": service(primary="eoc2")}
    assert services_of("readiness", "readiness-city-hall", [(None, ())], services) == ("pay",)


def test_a_tabletop_is_about_the_services_whose_steps_it_speaks_of() -> None:
    steps = [(None, ("pay/promote", "detect")), ("web", ())]
    assert services_of("tabletop", "t", steps, {"pay": service(), "web": service()}) == ("pay", "web")
