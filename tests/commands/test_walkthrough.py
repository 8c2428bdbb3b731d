"""Plans that are read and stories that are played: no host is asked, and nothing unsafe is begun."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.commands import _drill, _failover
from automation.commands._drill import plan_for, prepare_drill
from automation.commands._failover import Asked, prepare_failover
from automation.commands._session import Session
from automation.commands._tabletop import run_tabletop
from automation.commands._walkthrough import describe_step, prepare_walkthrough, tell_walkthrough
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan
from automation.recovery.failover import compile_failover, compile_walkthrough
from automation.recovery.planner import City
from automation.recovery.spec import load_plan
from tests.recovery.conftest import REPOSITORY, city
from tests.recovery.mixed import ASKED, mix, plan_of

__all__ = ["city"]


@pytest.fixture
def session(tmp_path: Path, city: City) -> Session:
    """A session that reaches no host: asking one is an error."""

    def unreachable(host: str) -> object:
        raise AssertionError(f"{host} was asked")

    shutil.copy(
        city.environment.folder / "services.yml", tmp_path
    )  # without what stands on VMware and at AWS
    environment = city.environment.model_copy(update={"folder": tmp_path})
    known = {"environment": environment, "inventory": city.inventory, "state": tmp_path}
    return cast(Session, SimpleNamespace(**known, remote=unreachable))


def test_a_walkthrough_asks_no_host(session: Session) -> None:
    plan = prepare_walkthrough(session, "city", "city-hall")
    assert plan.mode == "walkthrough"
    assert "payments-db/promote" in plan.by_id


def test_a_walkthrough_tells_every_step_in_an_order_in_which_it_could_be_done(session: Session) -> None:
    plan = prepare_walkthrough(session, "city", "city-hall")
    told = "\n".join(tell_walkthrough(plan, load_plan(REPOSITORY, "city")))
    assert f"a walkthrough of {len(plan.steps)} steps; nothing was observed, nothing is run" in told
    order = [told.index(f". {step.id} (") for wave in plan.waves() for step in wave]
    assert order == sorted(order)
    assert "payments-db/promote (change); POINT OF NO RETURN" in told
    assert "expect system identifier: observed when the plan is made" in told


def test_a_walkthrough_says_who_signs_before_it(city: City) -> None:
    recovery = plan_of(approvals={"failover": ["mayor", "dr-coordinator"]})
    told = tell_walkthrough(compile_failover(ASKED, recovery, city), recovery)
    assert "before a failover: signed by mayor, dr-coordinator" in list(told)


def test_who_is_asked_and_what_a_failure_means_is_told(city: City) -> None:
    plan = compile_failover(ASKED, plan_of(), mix(city))
    line = "\n".join(describe_step(1, plan.step("switchboard/line-1")))
    assert "telephone-desk is asked: Forward the main number to the EOC." in line
    assert "waits for: declaration" in line
    fence = "\n".join(describe_step(2, plan.step("notices/fence")))
    assert "if it fails: nothing new starts" in fence


def test_a_tabletop_without_people_is_refused(session: Session) -> None:
    with pytest.raises(PreflightError, match="nobody sits at this terminal; nothing was recorded") as refused:
        run_tabletop(session, "city", "city-hall", "night-fire")
    assert "--mode walkthrough" in str(refused.value.hint)


def test_a_plan_for_another_environment_is_refused(session: Session) -> None:
    with pytest.raises(ConfigError, match="plan everything is written for example-city, not for lab"):
        plan_for(session, "everything")


# --- refused before anything begins ----------------------------------------------------------------

ALWAYS = {"name": "audit", "rrule": "FREQ=DAILY", "for": "24 h", "modes": ["exercise", "failover"]}


def test_a_drill_in_a_freeze_is_refused_before_any_look(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_drill, "load_plan", lambda root, name: plan_of(freezes=[ALWAYS]))
    with pytest.raises(PreflightError, match="freeze 'audit' is in force until"):
        prepare_drill(session, "site-loss")


def test_a_failover_is_refused_by_a_freeze_that_names_failovers(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_failover, "plan_for", lambda session, name: plan_of(freezes=[ALWAYS]))
    with pytest.raises(PreflightError, match="no failover by this plan before"):
        prepare_failover(session, Asked("city", "city-hall"))


def test_an_unsafe_plan_and_a_walkthrough_leave_no_run(tmp_path: Path, city: City) -> None:
    session = Session(
        city.environment, city.inventory, tmp_path, tmp_path, lambda host: None, lambda run: None
    )  # type: ignore[arg-type,return-value]
    good = compile_failover(ASKED, plan_of(), city)
    steps = tuple(step for step in good.steps if not step.id.startswith("payments"))
    promote = good.step("payments-db/promote").model_copy(update={"needs": ("declaration",)})
    unsafe = Plan(name="hurry", environment="lab", mode="failover", steps=(*steps[:1], promote))
    for plan in (unsafe, compile_walkthrough("city", plan_of(), city, "city-hall")):
        with pytest.raises(PreflightError, match="nothing was changed"):
            session.run(plan)
    assert list(tmp_path.iterdir()) == []
