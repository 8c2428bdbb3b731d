"""What a resumed run fences again: whatever is to take over still, and never what has come up already."""

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import Journal
from automation.model.actions import (
    BlockDatabase,
    BlockInstance,
    BlockVm,
    CreateInstance,
    FenceInstance,
    FenceVm,
    LookAtRecords,
    PowerOnVm,
    ProveRefused,
    RegisterReplica,
)
from automation.model.plan import Plan, Step
from automation.model.records import GateAnswered, Outcome, Progress, StepEnded, StepStarted
from automation.recovery.failback import compile_failback
from automation.recovery.failover import compile_failover
from automation.recovery.migration import compile_migration
from automation.recovery.spec import Failover, Switch
from automation.recovery.turning import turn
from tests.fakes.lives import Fate, live
from tests.recovery.cloud_city import GIS, PLAN, PORTAL, make_cloud_city, make_pilot
from tests.recovery.mixed import NOTICES
from tests.recovery.test_copied import copied

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
    folder.mkdir(exist_ok=True)
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


# --- without a promotion ---------------------------------------------------------------------------

HALL = Failover(plan="city", site="city-hall", title="fire", declaration="20261122-030000-aaaa")
EAST = HALL.model_copy(update={"site": "aws-east"})


def vms_home(*groups: tuple[str, ...]) -> Plan:
    """A failback of VMs alone."""
    city = make_cloud_city("gis")
    strategy = GIS.model_copy(update={"vms": groups or GIS.vms})
    gis = city.catalog.services["gis"].model_copy(update={"strategy": strategy})
    return compile_failback(SWITCH, PLAN, city, {"gis": turn(gis)}, ())


def of_vm(plan: Plan, vm: str, kind: type) -> str:
    return next(step.id for step in plan.steps if isinstance(step.run, kind) and step.run.host == vm)  # type: ignore[union-attr]


def test_vms_of_a_failover_are_fenced_and_proven_again_before_any_of_them_is_powered_on(
    tmp_path: Path,
) -> None:
    plan = compile_failover(HALL, PLAN, make_cloud_city("gis"))
    fences = of(plan, "gis", FenceVm, BlockVm, ProveRefused)
    steps = resumed(plan, tmp_path, [of_vm(plan, vm, RegisterReplica) for vm in GIS.all_vms])
    first = min(steps.index(name) for name in of(plan, "gis", PowerOnVm))
    assert {"declaration", *fences} <= set(steps[:first])


def test_vms_of_a_later_boot_group_are_fenced_again_though_the_first_one_is_on(tmp_path: Path) -> None:
    plan = compile_failover(HALL, PLAN, make_cloud_city("gis"))
    steps = resumed(plan, tmp_path, [of_vm(plan, "gis-db-a", PowerOnVm)])
    first = min(steps.index(of_vm(plan, vm, PowerOnVm)) for vm in GIS.vms[1])
    assert of(plan, "gis", FenceVm, BlockVm, ProveRefused) <= set(steps[:first])


@pytest.mark.parametrize(
    ("groups", "done"),
    [(GIS.vms, ("gis-db-a",)), ((GIS.all_vms,), ("gis-db-a", "gis-app-a")), (GIS.vms, ())],
    ids=["first group on", "half a group on", "registered"],
)
def test_a_vm_that_came_home_is_not_fenced_there_because_another_is_to_come(
    groups: tuple[tuple[str, ...], ...], done: tuple[str, ...], tmp_path: Path
) -> None:
    plan = vms_home(*groups)
    ended = [of_vm(plan, vm, PowerOnVm) for vm in done]
    steps = resumed(plan, tmp_path, [*ended, *(of_vm(plan, vm, RegisterReplica) for vm in GIS.all_vms)])
    assert not of(plan, "gis", FenceVm) & set(steps)
    assert of_vm(plan, "gis-tiles-a", PowerOnVm) in steps


def test_what_is_left_of_a_vm_at_home_is_fenced_again_before_it_is_registered(tmp_path: Path) -> None:
    plan = vms_home()
    register = of_vm(plan, "gis-db-a", RegisterReplica)
    steps = resumed(plan, tmp_path, plan.stands_on(register))
    assert of(plan, "gis", FenceVm, BlockVm) <= set(steps[: steps.index(register)])


def test_a_moved_vm_is_cut_off_again_where_it_ran_before_it_is_registered(tmp_path: Path) -> None:
    switch = SWITCH.model_copy(update={"site": "city-hall"})
    city = make_cloud_city("gis")
    plan = compile_migration(switch, PLAN, city, city.catalog.services)
    register = of_vm(plan, "gis-db-a", RegisterReplica)
    steps = resumed(plan, tmp_path, plan.stands_on(register))
    assert of(plan, "gis", BlockVm) <= set(steps[: steps.index(register)])


def test_a_managed_database_is_restored_behind_fences_made_again(tmp_path: Path) -> None:
    plan = compile_failover(
        EAST, PLAN, make_cloud_city("portal", pilots={"portal": make_pilot(replica=None)})
    )
    fences = of(plan, "portal", FenceInstance, BlockInstance, BlockDatabase, ProveRefused)
    steps = resumed(plan, tmp_path / "waits", plan.stands_on("portal/restore"))
    assert {"declaration", *fences} <= set(steps[: steps.index("portal/restore")])
    steps = resumed(plan, tmp_path / "restored", ["portal/restore"])
    assert of(plan, "portal", CreateInstance) <= set(steps)
    assert not fences & set(steps)


def test_instances_without_a_database_are_launched_behind_fences_made_again(tmp_path: Path) -> None:
    city = make_cloud_city("portal")
    portal = city.catalog.services["portal"]
    bare = portal.model_copy(update={"strategy": PORTAL.model_copy(update={"database": {}})})
    catalog = city.catalog.model_copy(update={"services": {"portal": bare}})
    plan = compile_failover(EAST, PLAN, city._replace(catalog=catalog))
    fences = of(plan, "portal", FenceInstance, BlockInstance, ProveRefused)
    steps = resumed(plan, tmp_path / "first", plan.stands_on("portal/launch-web-w1"))
    assert fences <= set(steps[: steps.index("portal/launch-web-w1")])
    steps = resumed(plan, tmp_path / "second", ["portal/launch-web-w1"])
    assert not fences & set(steps)


def notices() -> Plan:
    """A failover of a service that a city's own playbooks fence and recover."""
    city = make_cloud_city()
    alone = {"notices": NOTICES.model_copy(update={"depends_on": ()})}
    catalog = city.catalog.model_copy(update={"services": alone})
    return compile_failover(HALL, PLAN, city._replace(catalog=catalog))


def test_a_city_s_recovery_that_was_cut_off_runs_again_behind_its_fence(tmp_path: Path) -> None:
    plan, recover = notices(), "notices/recover"
    live(plan, tmp_path, Doing(), until=lambda e: isinstance(e.body, StepStarted) and e.body.step == recover)
    doing = Doing()
    live(plan, tmp_path, doing)
    assert "notices/fence" in doing.steps[: doing.steps.index(recover)]


def test_a_city_s_recovery_alone_waits_for_its_declaration_made_again(tmp_path: Path) -> None:
    plan = notices()
    assert resumed(plan, tmp_path / "waits", ["declaration"])[0] == "declaration"
    assert "declaration" not in resumed(plan, tmp_path / "up", ["notices/recover"])


@pytest.mark.parametrize("service", ["gis", "portal"])
def test_a_test_on_copies_does_nothing_again_but_what_guards_it(service: str, tmp_path: Path) -> None:
    plan = copied(service)
    made = next(step.id for step in plan.steps if isinstance(step.run, PowerOnVm | CreateInstance))
    under = plan.stands_on(made)
    steps = resumed(plan, tmp_path, under)
    assert {name for name in under if name in steps} <= {f"{service}/isolated"}
