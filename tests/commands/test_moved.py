"""How a planned move is said to have ended: what is over is not taken back, and nothing is called so."""

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from automation.adapters.aws import databases
from automation.adapters.aws.databases import verify_promote_replica
from automation.commands._moved import Ending, conclude_move
from automation.engine.abort import abort
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.finished import Finished, finished
from automation.engine.fold import fold
from automation.engine.journal import Journal
from automation.engine.run import read_plan
from automation.model.actions import PromoteReplica
from automation.model.environment import Inventory
from automation.model.errors import AdapterError, StepFailed
from automation.model.evidence import ServerState
from automation.model.plan import Plan, Step
from automation.model.records import (
    AbortStarted,
    Body,
    Failure,
    Outcome,
    Progress,
    RunClosed,
    RunOpened,
    RunResumed,
    StepEnded,
    StepStarted,
    StepUndone,
    UndoStarted,
)
from automation.recovery.migration import compile_migration
from tests.adapters.aws.test_promotion import Rds
from tests.recovery.cloud_city import PLAN, PORTAL, make_cloud_city
from tests.recovery.test_pilot_moves import EAST, city_of, going, switch

DONE = Outcome(changed=True, summary="done")
DECLINED = Failure(error="StepFailed", message="clerk answered no")


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fdatasync", lambda descriptor: None)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def without_a_database(*, on_demand: bool = False) -> Plan:
    city = city_of(EAST)
    own = {name: city.inventory.server(name).model_copy(update={"on_demand": on_demand}) for name in EAST}
    city = city._replace(inventory=Inventory(servers={**city.inventory.servers, **own}))
    portal = city.catalog.services["portal"]
    bare = portal.model_copy(update={"strategy": PORTAL.model_copy(update={"database": {}})})
    return compile_migration(switch("aws-east"), PLAN, city, {"portal": bare})


def of_vms() -> Plan:
    city = make_cloud_city("gis")
    return compile_migration(switch("city-hall"), PLAN, city, city.catalog.services)


def stopped(folder: Path, plan: Plan, failed: str, how: Failure | None = DECLINED) -> Finished:
    """Give a move that stopped at a step; all that this one needs has succeeded.

    Args:
        how: None when a person stopped it before this step began.
    """
    folder.mkdir()
    (folder / "plan.json").write_text(plan.model_dump_json())
    journal = Journal(folder / "journal.jsonl")
    journal.append(
        RunOpened(
            run_id=folder.name,
            plan_format=plan.format,
            plan_name=plan.name,
            plan_digest=plan.digest,
            environment="lab",
            mode=plan.mode,
            actor="a",
            node="n",
            version="1",
        )
    )
    for step in plan.steps:
        if step.id in plan.stands_on(failed):
            journal.append(StepStarted(step=step.id))
            journal.append(StepEnded(step=step.id, status="succeeded", outcome=DONE))
    if how is not None:
        journal.append(StepEnded(step=failed, status="failed", failure=how))
    journal.append(RunClosed(status="paused" if how else "interrupted"))
    journal.close()
    return finished(folder)


class Giving:
    """A session that gives runs up: it takes back whatever has an undo, and keeps that it was asked."""

    def __init__(self, folder: Path, *, found_done: str = "") -> None:
        self.folder, self.asked, self.found_done = folder, 0, found_done

    def abort(self, run_id: str, *, reason: str, undo: bool) -> Finished:
        self.asked += 1
        journal = Journal(self.folder / "journal.jsonl")
        ended = {e.body.step for e in journal.events if isinstance(e.body, StepEnded)}
        journal.append(RunResumed(actor="a", node="n", version="1"))
        journal.append(AbortStarted(actor="a", reason=reason, undo=undo))
        if self.found_done:
            journal.append(StepEnded(step=self.found_done, status="succeeded", outcome=DONE))
        for step in reversed(read_plan(self.folder).steps):
            if step.undo is not None and step.id in ended:
                journal.append(UndoStarted(step=step.id))
                journal.append(StepUndone(step=step.id, status="succeeded", outcome=DONE))
        journal.append(RunClosed(status="aborted"))
        journal.close()
        return finished(self.folder)


def conclude(folder: Path, failed: str, *, on_demand: bool = False) -> tuple[Giving, str]:
    ended = stopped(folder, without_a_database(on_demand=on_demand), failed)
    session: Any = Giving(folder)
    with pytest.raises(StepFailed) as caught:
        conclude_move(session, ended)
    return session, str(caught.value)


@pytest.mark.parametrize(
    ("failed", "on_demand"),
    [("rest-release-web-e1", False), ("rest-agreed", True), ("rest-retire-web-e1", True)],
    ids=["a step", "a person's no", "a deletion"],
)
def test_a_clean_up_that_fails_takes_back_no_move_that_clients_see_done(
    failed: str, on_demand: bool, tmp_path: Path
) -> None:
    session, said = conclude(tmp_path / "run", f"portal/{failed}", on_demand=on_demand)
    assert session.asked == 0
    assert "clients are served where it moved to: it goes on, it is not taken back" in said


def test_what_fails_before_that_is_taken_back(tmp_path: Path) -> None:
    session, said = conclude(tmp_path / "run", "checks")
    assert session.asked == 1
    assert "was taken back" in said


def test_nothing_is_called_taken_back_where_nothing_was_done(tmp_path: Path) -> None:
    session, said = conclude(tmp_path / "run", "portal/dns-answers")
    assert session.asked == 1
    assert "had nothing to be taken back" in said
    assert "was taken back" not in said


# --- VMs -------------------------------------------------------------------------------------------


def test_who_stops_a_move_of_vms_is_not_told_to_take_back_what_clients_may_write_to(tmp_path: Path) -> None:
    ended = stopped(tmp_path / "run", of_vms(), "gis/power-on-gis-app-a", None)
    session: Any = Giving(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt) as caught:
        conclude_move(session, ended)
    note = caught.value.__notes__[-1]
    assert "gis-db-a runs where it moved to and clients may have written there: it is not taken back" in note
    assert "--undo" not in note
    assert session.asked == 0


def test_who_stops_a_move_before_any_vm_was_powered_on_is_told_how_it_is_taken_back(tmp_path: Path) -> None:
    ended = stopped(tmp_path / "run", of_vms(), "gis/power-on-gis-db-a", None)
    session: Any = Giving(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt) as caught:
        conclude_move(session, ended)
    note = caught.value.__notes__[-1]
    assert "nothing was promoted; ./inv run.abort --env lab --run run --undo" in note


def test_a_vm_that_may_have_been_powered_on_is_taken_back_by_a_person_alone(tmp_path: Path) -> None:
    ended = stopped(tmp_path / "run", of_vms(), "gis/power-on-gis-db-a")
    session: Any = Giving(tmp_path / "run")
    with pytest.raises(StepFailed, match="whether gis-db-a runs where it moved to is not known") as caught:
        conclude_move(session, ended)
    assert "--undo --reason '...' takes it back only if it is off" in str(caught.value)
    assert session.asked == 0


def test_a_vm_that_failed_while_it_was_on_is_not_taken_back(tmp_path: Path) -> None:
    on = ServerState(server="gis-db-a", power="on", autostart=False, network="connected")
    silent = Failure(error="AdapterError", message="no address", transient=True, evidence=on)
    ended = stopped(tmp_path / "run", of_vms(), "gis/power-on-gis-db-a", silent)
    session: Any = Giving(tmp_path / "run")
    with pytest.raises(StepFailed, match="gis-db-a runs where it moved to and clients may have written"):
        conclude_move(session, ended)
    assert session.asked == 0


def test_a_promotion_that_a_look_finds_done_is_not_called_taken_back(tmp_path: Path) -> None:
    ended = stopped(tmp_path / "run", going(), "portal/promote")
    session: Any = Giving(tmp_path / "run", found_done="portal/promote")
    with pytest.raises(StepFailed, match="but portal/promote is done: what it stands on was not taken back"):
        conclude_move(session, ended)


class GivingUp:
    """A session that gives a run up as the engine does, and looks at its promotion as the adapter does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def abort(self, run_id: str, *, reason: str, undo: bool) -> Finished:
        def work(step: Step, ctx: RunContext) -> Outcome:
            return DONE

        def look(step: Step, ctx: RunContext) -> Progress:
            assert isinstance(step.run, PromoteReplica)
            return verify_promote_replica(step.run, ctx)

        folder, journal = self.folder, Journal(self.folder / "journal.jsonl")
        ctx = RunContext("r", None, None, folder, folder, folder, None, lambda s, t: None)  # type: ignore[arg-type]
        folded = fold(journal.events)

        def append(body: Body) -> None:
            folded.add(journal.append(body))

        append(RunResumed(actor="a", node="n", version="1"))
        append(AbortStarted(actor="a", reason=reason, undo=undo))
        doing = Work(perform=work, undo=work, verify=look)
        append(abort(read_plan(folder), ctx, folded, append, doing, SimpleQueue()))
        journal.close()
        return finished(folder)


@pytest.mark.parametrize("state", ["backing-up replicating", "failed"])
def test_a_move_is_taken_back_at_once_when_its_promotion_was_never_asked_for(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = Rds((state, "portal-db"))
    monkeypatch.setattr(databases, "region_of", lambda ctx, site: region)
    waits = AdapterError("it waits", unknown=True)
    monkeypatch.setattr("time.sleep", lambda seconds: (_ for _ in ()).throw(waits))
    said = "portal-db-west was not asked to promote: nothing was changed"
    failed = Failure(error="AdapterError", message=said)
    ended = stopped(tmp_path / "run", going(), "portal/promote", failed)
    session: Any = GivingUp(tmp_path / "run")
    with pytest.raises(StepFailed, match="failed before the promotion and was taken back"):
        conclude_move(session, ended)
    assert region.promotions == []


def test_a_move_without_a_database_is_said_to_serve_by_its_services(tmp_path: Path) -> None:
    plan, events = without_a_database(), ()
    nothing: Any = None
    assert Ending(nothing, nothing, plan, events, fold(events)).serving == "portal serves"
