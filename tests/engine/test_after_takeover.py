"""A resume after a takeover: what follows it goes on, what is to take over waits, and the run can end."""

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import Journal, read_journal
from automation.model.actions import (
    AwaitReplica,
    BlockDatabase,
    BlockInstance,
    BlockServer,
    BlockVm,
    CiteDeclaration,
    FenceInstance,
    FenceVm,
    PowerOffServer,
    PowerOnVm,
    Promote,
    ProveRefused,
    RegisterReplica,
    RestoreDatabase,
    StartUnit,
    SwapAddress,
    SwapRecord,
)
from automation.model.errors import AdapterError
from automation.model.plan import Plan, Step
from automation.model.records import Failure, Outcome, Progress, StepEnded, StepStarted
from automation.recovery.failover import compile_failover
from automation.recovery.migration import compile_migration
from tests.engine.test_fences_again import EAST, HALL, SWITCH, Doing, of, of_vm, two_pilots
from tests.fakes.lives import Fate, live, read_fold
from tests.recovery.cloud_city import PLAN, make_cloud_city, make_pilot
from tests.recovery.mixed import NOTICES

DB = "payments-db"
DONE = Outcome(changed=True, summary="done")
FAILED = Failure(error="AdapterError", message="no", known=True)
FENCES = (PowerOffServer, BlockServer, FenceVm, BlockVm, FenceInstance, BlockInstance, BlockDatabase)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Refusing(Doing):
    """Does as it is told, but for actions of some kinds; says what a look finds."""

    def __init__(self, *kinds: type, seen: str = "not_done") -> None:
        super().__init__()
        self.kinds, self.seen = kinds, seen

    def work(self, cut: Callable[[], Fate | None]) -> Work:
        doing = super().work(cut).perform

        def perform(step: Step, ctx: RunContext) -> Outcome:
            if isinstance(step.run, self.kinds):
                raise AdapterError("its management does not answer; nothing was changed")
            return doing(step, ctx)

        def verify(step: Step, ctx: RunContext) -> Progress:
            progress = Progress(state="done", outcome=DONE) if self.seen == "done" else None
            return progress or Progress(state="not_done")

        return replace(super().work(cut), perform=perform, verify=verify)


def lost_hall(*, gis_needs: tuple[str, ...] = (DB,)) -> Plan:
    """A failover of a database, its application, and VMs that may stand on the database."""
    city = make_cloud_city()
    own = city.catalog.services
    gis = own["gis"].model_copy(update={"depends_on": gis_needs, "tier": 9})
    services = {DB: own[DB], "payments": own["payments"], "gis": gis}
    return compile_failover(
        HALL, PLAN, city._replace(catalog=city.catalog.model_copy(update={"services": services}))
    )


def one(plan: Plan, service: str, kind: type) -> str:
    (name,) = of(plan, service, kind)
    return name


def write(folder: Path, plan: Plan, done: Collection[str], failed: Collection[str] = ()) -> Path:
    """Write the journal of a run that stopped when these steps, and all they need, had succeeded.

    Args:
        failed: steps that failed last, also if they had succeeded before.
    """
    folder.mkdir(exist_ok=True)
    ended = {name for step in done for name in (step, *plan.stands_on(step))}
    journal = Journal(folder / "journal.jsonl")
    for step in plan.steps:
        if step.id in ended:
            journal.append(StepStarted(step=step.id))
            journal.append(StepEnded(step=step.id, status="succeeded", outcome=DONE))
    for name in failed:
        journal.append(StepStarted(step=name))
        journal.append(StepEnded(step=name, status="failed", failure=FAILED))
    journal.close()
    return folder


def registered(plan: Plan) -> list[str]:
    return sorted(of(plan, "gis", RegisterReplica))


def status(folder: Path) -> str:
    closed = read_fold(folder).closed
    assert closed is not None
    return closed.status


# --- what follows a takeover -----------------------------------------------------------------------


@pytest.mark.parametrize("needs", [(DB,), ()], ids=["on the database", "apart"])
@pytest.mark.parametrize("kinds", [FENCES, (CiteDeclaration,)], ids=["dark site", "old declaration"])
def test_names_move_after_a_promotion_whatever_the_fences_of_other_services_do(
    kinds: tuple[type, ...], needs: tuple[str, ...], tmp_path: Path
) -> None:
    plan = lost_hall(gis_needs=needs)
    swap, start = one(plan, DB, SwapAddress), one(plan, "payments", StartUnit)
    write(tmp_path, plan, [*plan.stands_on(swap), *registered(plan)], [swap, start])
    first = Refusing(*kinds, StartUnit)
    live(plan, tmp_path, first)
    folded = read_fold(tmp_path)
    assert swap in folded.succeeded
    assert not of(plan, "gis", PowerOnVm) & {*folded.succeeded, *folded.failed, *folded.started}
    live(plan, tmp_path, Refusing(*kinds))  # also what a failed repetition stands under directly
    assert {start, one(plan, "payments", SwapAddress)} <= read_fold(tmp_path).succeeded.keys()
    assert status(tmp_path) == "paused"
    live(plan, tmp_path, Doing())
    assert status(tmp_path) == "succeeded"


def test_a_move_past_one_promotion_leads_clients_there_while_another_service_is_fenced_again(
    tmp_path: Path,
) -> None:
    plan = two_pilots()
    names = of(plan, "portal", SwapAddress, SwapRecord)
    under = {below for name in names for below in plan.stands_on(name)}
    write(tmp_path, plan, [*under, *plan.stands_on("permits/promote")])
    live(plan, tmp_path, Refusing(*FENCES))
    folded = read_fold(tmp_path)
    assert names <= folded.succeeded.keys()
    assert "permits/promote" not in folded.started.keys() | folded.succeeded.keys()
    assert status(tmp_path) == "paused"


def test_a_move_that_is_before_every_promotion_stops_when_it_cannot_be_fenced_again(tmp_path: Path) -> None:
    plan = two_pilots()
    write(tmp_path, plan, [*plan.stands_on("portal/promote"), *plan.stands_on("permits/promote")])
    live(plan, tmp_path, Refusing(BlockDatabase))
    assert status(tmp_path) == "halted"


def playbooks_and_more(notices_need: tuple[str, ...] = ()) -> Plan:
    """A failover of VMs, of a city's own playbooks that may stand on them, and of an application."""
    city = make_cloud_city()
    own = {**city.catalog.services, "notices": NOTICES}
    needs = {"gis": (), "notices": notices_need, "payments": ()}
    services = {name: own[name].model_copy(update={"depends_on": on}) for name, on in needs.items()}
    catalog = city.catalog.model_copy(update={"services": services})
    return compile_failover(HALL, PLAN, city._replace(catalog=catalog))


@pytest.mark.parametrize("fenced", [[], ["notices/fence"]], ids=["never fenced", "fenced once"])
@pytest.mark.parametrize("vms", [True, False])
def test_nothing_of_a_service_that_has_not_come_up_is_done_when_the_declaration_is_too_old(
    vms: bool, fenced: list[str], tmp_path: Path
) -> None:
    plan = playbooks_and_more()
    write(tmp_path, plan, [*(registered(plan) if vms else ["declaration"]), *fenced])
    for _ in range(2):
        doing = Refusing(CiteDeclaration)
        live(plan, tmp_path, doing)
        assert not {name for name in doing.steps if plan.step(name).service}
        assert status(tmp_path) == "paused"
    live(plan, tmp_path, Doing())
    assert status(tmp_path) == "succeeded"


def test_names_of_what_has_come_up_move_though_the_declaration_is_too_old(tmp_path: Path) -> None:
    plan = playbooks_and_more()
    write(tmp_path, plan, ["notices/recover", "payments/start"])
    live(plan, tmp_path, Refusing(CiteDeclaration))
    names = of(plan, "notices", SwapAddress) | of(plan, "payments", SwapAddress)
    assert names <= read_fold(tmp_path).succeeded.keys()
    assert not of(plan, "gis", RegisterReplica) & read_fold(tmp_path).succeeded.keys()


def test_an_application_is_started_once_its_database_is_promoted_with_any_declaration(tmp_path: Path) -> None:
    plan = lost_hall()
    write(tmp_path, plan, [one(plan, DB, Promote)])
    live(plan, tmp_path, Refusing(CiteDeclaration))
    wanted = of(plan, "payments", StartUnit, SwapAddress)
    assert wanted <= read_fold(tmp_path).succeeded.keys()


def test_what_stands_on_vms_that_are_registered_alone_waits_for_the_declaration(tmp_path: Path) -> None:
    plan = playbooks_and_more(("gis",))
    write(tmp_path, plan, registered(plan))
    doing = Refusing(CiteDeclaration)
    live(plan, tmp_path, doing)
    assert not {name for name in doing.steps if plan.step(name).service}


# --- what is to take over --------------------------------------------------------------------------


def test_what_failed_as_it_was_done_again_holds_back_a_later_resume_too(tmp_path: Path) -> None:
    plan = lost_hall()
    write(tmp_path, plan, [one(plan, DB, SwapAddress), *registered(plan)])
    for _ in range(2):
        live(plan, tmp_path, Refusing(BlockVm))
        assert not of(plan, "gis", PowerOnVm) & read_fold(tmp_path).succeeded.keys()
    last = Doing()
    live(plan, tmp_path, last)
    order = [
        last.steps.index(one(plan, "gis", ProveRefused)),
        last.steps.index(of_vm(plan, "gis-db-a", PowerOnVm)),
    ]
    assert max(last.steps.index(name) for name in of(plan, "gis", BlockVm, FenceVm)) < order[0] < order[1]


def test_what_cannot_be_fenced_again_says_how_a_person_goes_on(tmp_path: Path) -> None:
    plan = lost_hall()
    write(tmp_path, plan, [one(plan, DB, SwapAddress), *registered(plan)])
    live(plan, tmp_path, Refusing(FenceVm))
    hints = {failure.hint for failure in read_fold(tmp_path).failed.values()}
    (hint,) = hints
    assert hint is not None
    assert "./inv run.resume --env" in hint
    assert "dr.failover --env lab --site city-hall --accept-unfenced" in hint


def test_a_proof_that_was_cut_off_is_made_after_the_fences(tmp_path: Path) -> None:
    plan = lost_hall()
    proof = one(plan, "gis", ProveRefused)
    write(tmp_path, plan, registered(plan))
    live(plan, tmp_path, Doing(), until=lambda e: isinstance(e.body, StepStarted) and e.body.step == proof)
    doing = Doing()
    live(plan, tmp_path, doing)
    assert max(doing.steps.index(name) for name in of(plan, "gis", FenceVm, BlockVm)) < doing.steps.index(
        proof
    )


def test_a_failover_fences_no_other_service_again_that_has_taken_over(tmp_path: Path) -> None:
    plan = lost_hall()
    write(tmp_path, plan, [one(plan, DB, SwapAddress), *registered(plan)])
    doing = Doing()
    live(plan, tmp_path, doing)
    assert not of(plan, DB, *FENCES, ProveRefused) & set(doing.steps)
    assert of(plan, "gis", FenceVm, BlockVm, ProveRefused) <= set(doing.steps)


def test_what_follows_a_restore_waits_while_its_fences_fail(tmp_path: Path) -> None:
    pilots = {"portal": make_pilot(replica=None)}
    plan = compile_failover(EAST, PLAN, make_cloud_city("portal", pilots=pilots))
    restore = one(plan, "portal", RestoreDatabase)
    write(tmp_path, plan, [restore], sorted(of(plan, "portal", BlockDatabase)))
    live(plan, tmp_path, Refusing(BlockDatabase))
    assert not of(plan, "portal", SwapAddress, SwapRecord) & read_fold(tmp_path).succeeded.keys()
    live(plan, tmp_path, Doing())
    assert status(tmp_path) == "succeeded"


def test_names_of_vms_that_all_run_wait_for_no_fence_that_failed_meanwhile(tmp_path: Path) -> None:
    plan = lost_hall(gis_needs=())
    fences, first = sorted(of(plan, "gis", BlockVm)), of_vm(plan, "gis-db-a", PowerOnVm)
    write(tmp_path / "half", plan, [first], fences)
    live(plan, tmp_path / "half", Refusing(BlockVm))
    assert of(plan, "gis", PowerOnVm) & read_fold(tmp_path / "half").succeeded.keys() == {first}
    write(tmp_path / "all", plan, of(plan, "gis", PowerOnVm), fences)
    live(plan, tmp_path / "all", Refusing(BlockVm))
    assert of(plan, "gis", SwapAddress) <= read_fold(tmp_path / "all").succeeded.keys()


def test_a_move_whose_first_vm_is_on_comes_to_its_end_whatever_fence_failed_before(tmp_path: Path) -> None:
    city = make_cloud_city("gis")
    switch = SWITCH.model_copy(update={"site": "city-hall"})
    plan = compile_migration(switch, PLAN, city, city.catalog.services)
    write(tmp_path, plan, [of_vm(plan, "gis-db-a", PowerOnVm)], sorted(of(plan, "gis", BlockVm)))
    live(plan, tmp_path, Refusing(BlockVm))
    assert status(tmp_path) == "succeeded"


def test_a_fence_that_held_for_a_promotion_which_shows_late_keeps_no_run_open(tmp_path: Path) -> None:
    plan = lost_hall()
    promote = one(plan, DB, Promote)
    write(tmp_path, plan, plan.stands_on(promote))
    live(plan, tmp_path, Doing(), until=lambda e: isinstance(e.body, StepStarted) and e.body.step == promote)
    live(plan, tmp_path, Refusing(PowerOffServer))
    assert promote not in read_fold(tmp_path).succeeded
    for _ in range(2):
        live(plan, tmp_path, Refusing(PowerOffServer, seen="done"))
    assert status(tmp_path) == "succeeded"
    ends = [e.body for e in read_journal(tmp_path / "journal.jsonl") if isinstance(e.body, StepEnded)]
    (fence,) = of(plan, DB, PowerOffServer)
    assert [end.status for end in ends if end.step == fence][-1] == "succeeded"


def test_nobody_is_asked_to_delete_what_served_while_its_replica_has_not_caught_up_again(
    tmp_path: Path,
) -> None:
    plan = two_pilots()
    agreed = "portal/rest-agreed"
    write(tmp_path, plan, plan.stands_on(agreed))
    for _ in range(2):
        live(plan, tmp_path, Refusing(AwaitReplica))
        folded = read_fold(tmp_path)
        assert agreed not in {*folded.succeeded, *folded.started, *folded.failed}
