import shutil
from pathlib import Path

import pytest

from automation.commands import _calendar
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.run import make_run_folder, run_plan
from automation.model.actions import Wait
from automation.model.catalog import Service, load_catalog
from automation.model.environment import Inventory, load_environment
from automation.model.errors import AdapterError
from automation.model.plan import Plan, Step
from automation.model.records import Outcome

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = (Step(id="payments/start", run=Wait(seconds=0), why="test", service="payments"),)
DRILL = Plan(name="site-loss", environment="lab", mode="exercise", steps=STEPS)


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    return dict(load_catalog(REPOSITORY / "inventories/lab/services.yml").services)


def run(state: Path, run_id: str, plan: Plan = DRILL, *, fails: bool = False) -> Path:
    folder = make_run_folder(state, run_id)
    ctx = RunContext(
        run_id=run_id,
        environment=load_environment(REPOSITORY, "lab"),
        inventory=Inventory(servers={}),
        state=state,
        images=state,
        artifacts=folder / "artifacts",
        connections=None,  # type: ignore[arg-type]
        progress=lambda step, text: None,
    )

    def perform(step: Step, ctx: RunContext) -> Outcome:
        if fails:
            raise AdapterError("no")
        return Outcome(changed=True, summary="done")

    run_plan(plan, ctx, actor="coordinator", work=Work(perform=perform))
    return folder


def test_a_run_that_came_to_its_end_is_an_exercise(tmp_path: Path, services: dict[str, Service]) -> None:
    run(tmp_path, "r1")
    (found,) = _calendar.read_exercises(tmp_path, services)
    assert (found.run_id, found.mode, found.services) == ("r1", "exercise", ("payments",))


def test_a_run_that_stopped_is_none_yet(tmp_path: Path, services: dict[str, Service]) -> None:
    run(tmp_path, "r1", fails=True)
    assert _calendar.read_exercises(tmp_path, services) == ()


def test_a_change_of_servers_is_none(tmp_path: Path, services: dict[str, Service]) -> None:
    run(tmp_path, "r1", DRILL.model_copy(update={"mode": "apply"}))
    assert _calendar.read_exercises(tmp_path, services) == ()


def test_what_was_read_outlives_the_run(tmp_path: Path, services: dict[str, Service]) -> None:
    folder = run(tmp_path, "r1")
    before = _calendar.read_exercises(tmp_path, services)
    shutil.rmtree(folder)
    assert _calendar.read_exercises(tmp_path, services) == before != ()
