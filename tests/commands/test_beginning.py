"""A freeze holds back a run that was opened before it and has done nothing yet; not one that is half-way."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from automation.commands import _beginning
from automation.commands._beginning import refuse_frozen_beginning
from automation.commands._subject import leave_subject
from automation.engine.journal import Journal
from automation.model.actions import Action, StartUnit, StartWitness
from automation.model.errors import PreflightError
from automation.model.plan import Plan, Step
from automation.model.records import Outcome, RunOpened, StepEnded, StepStarted
from automation.recovery.report_subject import Subject
from tests.recovery.mixed import plan_of

FROZEN = datetime(2026, 11, 14, 12, tzinfo=UTC)
FREEZE = {"name": "payroll", "rrule": "FREQ=MONTHLY;BYMONTHDAY=14", "for": "24 h"}
WATCH = StartWitness(host="client-1", probes=(), beat_s=1, timeout_s=1)
START = StartUnit(host="app-b", unit="payments")


def opened(tmp_path: Path, *ran: str) -> tuple[Path, Plan]:
    """Open a run of two steps of which some were started."""
    acts: dict[str, Action] = {"watch": WATCH, "start": START}
    steps = tuple(Step(id=name, run=run, why="test") for name, run in acts.items())
    plan = Plan(name="move", environment="lab", mode="planned-migration", steps=steps)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(
        RunOpened(
            run_id="r1",
            plan_format=plan.format,
            plan_name=plan.name,
            plan_digest=plan.digest,
            environment="lab",
            mode=plan.mode,
            actor="mira",
            node="n",
            version="1",
        )
    )
    for name in ran:
        journal.append(StepStarted(step=name))
        done = Outcome(changed=True, summary="done")
        journal.append(StepEnded(step=name, status="succeeded", outcome=done))
    journal.close()
    leave_subject(tmp_path, Subject(name="move", recovery_plan="city"))
    return tmp_path, plan


@pytest.fixture(autouse=True)
def _frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_beginning, "load_plan", lambda root, name: plan_of(freezes=[FREEZE]))


@pytest.mark.parametrize("ran", [(), ("watch",)], ids=["waits for signatures", "only watches"])
def test_what_has_changed_nothing_does_not_begin_in_a_freeze(tmp_path: Path, ran: tuple[str, ...]) -> None:
    folder, plan = opened(tmp_path, *ran)
    with pytest.raises(PreflightError, match="freeze 'payroll' is in force until 2026-11-15"):
        refuse_frozen_beginning(folder, plan, FROZEN)
    refuse_frozen_beginning(folder, plan, FROZEN.replace(day=16))


def test_what_is_half_way_goes_on_to_its_end(tmp_path: Path) -> None:
    folder, plan = opened(tmp_path, "watch", "start")
    refuse_frozen_beginning(folder, plan, FROZEN)


def test_a_run_of_no_recovery_plan_is_held_back_by_none(tmp_path: Path) -> None:
    folder, plan = opened(tmp_path)
    (folder / "subject.json").unlink()
    refuse_frozen_beginning(folder, plan, FROZEN)
