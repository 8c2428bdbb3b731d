"""A failover that waits for people is not over, whatever machines have recovered by then."""

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.commands._command import progress
from automation.commands._ending import conclude
from automation.commands._session import Session
from automation.engine.finished import finished
from automation.engine.journal import Journal
from automation.model.errors import StepFailed
from automation.model.plan import Plan
from automation.model.records import Outcome, RunClosed, RunOpened, StepEnded, StepStarted
from automation.recovery.failover import compile_failover
from automation.recovery.planner import City
from tests.recovery.conftest import city
from tests.recovery.mixed import ASKED, mix, plan_of

__all__ = ["city"]

RUN = "20261121-031400-0b1e"
BALANCE = {
    "id": "balance",
    "run": {"do": "people.confirm", "of": "decision", "task": "the day balances"},
    "why": "test",
    "needs": ["payments"],
    "gate": {"role": "controller", "ask": "Does the day balance?"},
}


@pytest.fixture
def session(tmp_path: Path, city: City) -> Session:
    known = {"state": tmp_path, "environment": city.environment, "inventory": city.inventory}
    return cast(Session, SimpleNamespace(**known, say=progress))


def end(session: Session, plan: Plan, waiting: Collection[str], gates: tuple[str, ...]) -> int:
    """End a run in which all but some steps are done, and some of those wait for people."""
    folder = session.state / "runs" / RUN
    (folder / "artifacts").mkdir(parents=True)
    (folder / "plan.json").write_text(plan.model_dump_json())
    journal = Journal(folder / "journal.jsonl")
    journal.append(
        RunOpened(
            run_id=RUN,
            plan_format=plan.format,
            plan_name=plan.name,
            plan_digest=plan.digest,
            environment="lab",
            mode="failover",
            actor="coordinator",
            node="control-1",
            version="0",
        )
    )
    for step in plan.steps:
        if step.id not in waiting:
            journal.append(StepStarted(step=step.id))
            done = Outcome(changed=True, summary="done")
            journal.append(StepEnded(step=step.id, status="succeeded", outcome=done))
    status = "paused" if waiting else "succeeded"
    journal.append(RunClosed(status=status, not_started=tuple(waiting), gates=gates))
    journal.close()
    return conclude(session, finished(folder))


def test_a_service_that_people_have_not_signed_off_is_not_recovered(session: Session, city: City) -> None:
    plan = compile_failover(ASKED, plan_of(), mix(city))
    waiting = ("switchboard/line-2", "switchboard/sign-off", "witness/collect", "writes/payments")
    with pytest.raises(StepFailed) as stopped:
        end(session, plan, waiting, ("switchboard/line-2",))
    assert "stopped after promotion of pg-b" in str(stopped.value)
    assert "waiting for a person's answer: switchboard/line-2" in str(stopped.value)
    assert "--gate switchboard/line-2 --answer yes" in str(stopped.value.hint)


def test_a_business_check_that_waits_is_told_too(session: Session, city: City) -> None:
    plan = compile_failover(ASKED, plan_of(services=["payments-db", "payments"], steps=[BALANCE]), city)
    with pytest.raises(StepFailed, match="waiting for a person's answer: balance"):
        end(session, plan, ("balance",), ("balance",))


def test_a_plan_that_promotes_nothing_says_how_far_it_came(session: Session, city: City) -> None:
    plan = compile_failover(ASKED, plan_of(services=["notices", "switchboard"]), mix(city))
    waiting = tuple(step.id for step in plan.steps if step.service == "switchboard")
    with pytest.raises(StepFailed, match=r"stopped part-way .*; names not moved: none"):
        end(session, plan, waiting, waiting[:1])


def test_when_all_is_done_it_is_recovered(
    session: Session, city: City, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = compile_failover(ASKED, plan_of(services=["notices", "switchboard"]), mix(city))
    assert end(session, plan, (), ()) == 0
    assert "failover of city-hall: its services are back" in capsys.readouterr().out
