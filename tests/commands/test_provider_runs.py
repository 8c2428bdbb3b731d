"""What past runs hold off is known from their journals: nothing that a failover fenced is started again."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from automation.commands._provider_runs import Past, read_past
from automation.engine.journal import Journal
from automation.model.actions import (
    Action,
    CreateServer,
    DestroyVm,
    FenceInstance,
    PowerOffServer,
    ReleaseServer,
    ShutDownVm,
    StartInstance,
    StopInstance,
)
from automation.model.actions.lab import DestroyServer
from automation.model.machine_evidence import ProviderChange
from automation.model.plan import Mode, Plan, Step
from automation.model.records import Outcome, StepEnded, StepStarted
from automation.provisioning.retiring import DELETED, STOPPED, TAKEN_BACK

EAST = {"host": "web-1", "site": "east"}
DONE = Outcome(changed=True, summary="done")
FILE = "[local] mainstay-kept/gis-1-vm-42/data.vmdk"
GONE = ProviderChange(
    provider="vsphere",
    site="hall",
    what="server",
    name="gis-1",
    verb="deleted",
    ids={"server": "vm-42", "snapshot:data": FILE},
)


def run(
    state: Path,
    number: int,
    name: str,
    mode: Mode,
    actions: Sequence[Action],
    *,
    ends: bool = True,
    done: Outcome = DONE,
) -> None:
    folder = state / "runs" / f"2026112{number}-120000-aaaa"
    folder.mkdir(parents=True)
    steps = tuple(Step(id=f"s{at}", run=action, why="test") for at, action in enumerate(actions))
    plan = Plan(name=name, environment="city", mode=mode, steps=steps)
    (folder / "plan.json").write_text(plan.model_dump_json())
    journal = Journal(folder / "journal.jsonl")
    for step in steps:
        journal.append(StepStarted(step=step.id))
        if ends:
            journal.append(StepEnded(step=step.id, status="succeeded", outcome=done))
    journal.close()


def test_a_fence_holds_until_something_starts_the_server(tmp_path: Path) -> None:
    run(tmp_path, 1, "city", "failover", [FenceInstance(**EAST)])
    assert read_past(tmp_path).fenced == {("web-1", "east"): "20261121-120000-aaaa"}
    run(tmp_path, 2, "city", "failback", [StartInstance(**EAST)])
    assert read_past(tmp_path) == Past({}, {})


def test_what_a_move_shut_down_is_held_off_as_well(tmp_path: Path) -> None:
    run(tmp_path, 1, "city", "planned-migration", [ShutDownVm(host="gis", site="hall")])
    assert set(read_past(tmp_path).fenced) == {("gis", "hall")}


@pytest.mark.parametrize(("name", "left"), [(STOPPED, {"web-1"}), ("provision", set())])
def test_a_stop_is_a_retirement_only_where_it_was_asked_for(
    tmp_path: Path, name: str, left: set[str]
) -> None:
    run(tmp_path, 1, name, "apply", [StopInstance(**EAST)])
    past = read_past(tmp_path)
    assert (set(past.leaves), past.fenced) == (left, {})


def test_a_host_of_a_lab_is_on_leave_until_it_is_released_removed_or_made_anew(tmp_path: Path) -> None:
    run(tmp_path, 1, STOPPED, "apply", [PowerOffServer(host="pg-a"), PowerOffServer(host="pg-b")])
    assert set(read_past(tmp_path).leaves) == {"pg-a", "pg-b"}
    run(tmp_path, 2, TAKEN_BACK, "apply", [ReleaseServer(host="pg-b")])
    assert set(read_past(tmp_path).leaves) == {"pg-a"}
    made = CreateServer(host="pg-a", site="hall", address="10.1.1.1", image="debian-12")
    run(tmp_path, 3, "provision", "apply", [made])
    assert read_past(tmp_path) == Past({}, {})


def test_a_host_of_a_lab_that_was_deleted_is_on_leave_no_more(tmp_path: Path) -> None:
    gone = DestroyServer(host="pg-a", site="hall", address="10.1.1.1")
    run(tmp_path, 1, STOPPED, "apply", [PowerOffServer(host="pg-a")])
    run(tmp_path, 2, DELETED, "apply", [PowerOffServer(host="pg-a"), gone])
    assert read_past(tmp_path) == Past({}, {})


def test_a_host_that_a_failover_powers_off_is_no_retirement(tmp_path: Path) -> None:
    run(tmp_path, 1, "city", "failover", [PowerOffServer(host="pg-a")])
    assert read_past(tmp_path) == Past({}, {})


def test_what_did_not_end_tells_nothing(tmp_path: Path) -> None:
    run(tmp_path, 1, STOPPED, "apply", [StopInstance(**EAST)], ends=False)
    assert read_past(tmp_path) == Past({}, {})


def test_a_fence_counts_though_the_journal_of_its_run_cannot_be_believed(tmp_path: Path) -> None:
    run(tmp_path, 2, "city", "failover", [FenceInstance(**EAST)])
    journal = tmp_path / "runs/20261122-120000-aaaa/journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"done", b"dome"))
    assert set(read_past(tmp_path).fenced) == {("web-1", "east")}


def test_disks_of_a_vm_that_were_moved_aside_are_known_by_the_run_that_did_it(tmp_path: Path) -> None:
    destroy = DestroyVm(host="gis-1", site="hall", id="vm-42")
    run(tmp_path, 1, DELETED, "apply", [destroy], done=DONE.model_copy(update={"evidence": GONE}))
    (kept,) = read_past(tmp_path).kept
    assert (kept.file, kept.site, kept.server, kept.disk) == (FILE, "hall", "gis-1", "data")
    assert kept.run_id == "20261121-120000-aaaa"
    run(tmp_path, 2, DELETED, "apply", [destroy], ends=False)
    assert read_past(tmp_path).kept == (kept,)
