"""One service of a move is home already: fences of the others are made again, its own are not."""

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import Journal
from automation.model.actions import BlockInstance, FenceInstance, FenceVm, LookAtRecords, PowerOnVm
from automation.model.plan import Plan, Step
from automation.model.records import GateAnswered, Outcome, Progress, StepEnded, StepStarted
from automation.recovery.failback import compile_failback
from automation.recovery.spec import Switch
from automation.recovery.turning import turn
from tests.fakes.lives import Fate, live
from tests.recovery.cloud_city import PLAN, PORTAL, make_cloud_city, make_pilot

HOME = {"site": "aws-east", "replica": None, "standing": "portal-db"}
SWITCH = Switch(name="m", title="m", plan="city", site="aws-east", pause_s=300)
INSTANCES = {name: f"i-{name}" for name in ("web-e1", "web-e2", "web-w1", "web-w2")}


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Doing:
    """Does nothing, and keeps what it was told to do, in order."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        def perform(step: Step, ctx: RunContext) -> Outcome:
            self.steps.append(step.id)
            return Outcome(changed=True, summary="done")

        return Work(perform=perform, undo=perform, verify=lambda step, ctx: Progress(state="not_done"))


def two_pilots() -> Plan:
    """A failback of two pilot lights, each with an instance and a database of its own."""
    city = make_cloud_city("portal", instances=INSTANCES)
    portal = city.catalog.services["portal"]
    services = {}
    for name, number in (("portal", "1"), ("permits", "2")):
        words = {
            "hosts": {"aws-east": (f"web-e{number}",), "aws-west": (f"web-w{number}",)},
            "database": {"aws-east": f"{name}-db", "aws-west": f"{name}-db-west"},
            "scale": 1,
        }
        ends = {"web": portal.endpoints["web"].model_copy(update={"name": f"{name}.city.lab"})}
        own = {"strategy": PORTAL.model_copy(update=words), "endpoints": ends}
        services[name] = turn(portal.model_copy(update=own))
    pilots = {name: make_pilot(**{**HOME, "standing": f"{name}-db"}) for name in services}
    city = city._replace(cloud=city.cloud.model_copy(update={"pilots": pilots}))
    return compile_failback(SWITCH, PLAN, city, services, ())


def pilot_and_vms() -> Plan:
    city = make_cloud_city("portal", "gis", instances=INSTANCES, pilots={"portal": make_pilot(**HOME)})
    services = {name: turn(one) for name, one in city.catalog.services.items()}
    return compile_failback(SWITCH, PLAN, city, services, ())


def resumed(plan: Plan, folder: Path, done: Collection[str]) -> list[str]:
    """Give what is done by a run that is resumed when these steps, and all they need, have succeeded."""
    ended = {name for one in done for name in (one, *plan.stands_on(one))}
    journal = Journal(folder / "journal.jsonl")
    for step in plan.steps:
        if step.id in ended:
            journal.append(StepStarted(step=step.id))
            outcome = Outcome(changed=True, summary="done")
            journal.append(StepEnded(step=step.id, status="succeeded", outcome=outcome))
    journal.close()
    doing = Doing()
    assert live(plan, folder, doing, ask=lambda s: GateAnswered(step=s.id, answer="yes", by="coordinator"))
    return doing.steps


def of(plan: Plan, service: str, *kinds: type) -> set[str]:
    return {step.id for step in plan.steps if step.service == service and isinstance(step.run, kinds)}


def test_a_promotion_is_fenced_again_though_another_one_that_needed_its_fences_is_done(
    tmp_path: Path,
) -> None:
    plan = two_pilots()
    fences = of(plan, "permits", FenceInstance, BlockInstance) & plan.stands_on("permits/promote")
    shared = fences & plan.stands_on("portal/promote")
    assert shared == {"permits/way-off-web-e2", "permits/way-block-web-e2"}
    steps = resumed(plan, tmp_path, ["portal/promote", *plan.stands_on("permits/promote")])
    before = set(steps[: steps.index("permits/promote")])
    assert fences | of(plan, "permits", LookAtRecords) <= before
    assert not before & of(plan, "portal", FenceInstance, BlockInstance, LookAtRecords)


def test_a_vm_that_is_home_is_not_powered_off_because_a_promotion_is_to_come(tmp_path: Path) -> None:
    plan = pilot_and_vms()
    fences = of(plan, "gis", FenceVm)
    assert fences <= plan.stands_on("portal/promote")
    steps = resumed(plan, tmp_path, [*of(plan, "gis", PowerOnVm), *plan.stands_on("portal/promote")])
    assert not fences & set(steps)
    before = set(steps[: steps.index("portal/promote")])
    assert of(plan, "portal", FenceInstance) <= before


def test_a_vm_that_is_not_home_yet_is_fenced_again_before_a_promotion(tmp_path: Path) -> None:
    plan = pilot_and_vms()
    steps = resumed(plan, tmp_path, plan.stands_on("portal/promote"))
    assert of(plan, "gis", FenceVm) <= set(steps[: steps.index("portal/promote")])
