"""The ledger on the disk: fed from journals, only ever added to, and whole after whatever a crash left."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from automation.backups.entries import TAKE_PLAN, PointsSeen
from automation.commands import _ledger
from automation.commands._ledger import FILE, FOLDER, note, read_ledger
from automation.engine.journal import Journal
from automation.model.actions import DumpDatabase, ForgetPoints
from automation.model.actions.restic import Repository
from automation.model.backup_evidence import PointTaken, TakeFailed
from automation.model.evidence import Evidence
from automation.model.plan import Plan, Step
from automation.model.records import (
    Body,
    Failure,
    Outcome,
    RunClosed,
    StepEnded,
    StepStarted,
)
from tests.backups.entries import NOW, USUAL, checked, cleared, entry, proof_failed
from tests.fakes.runs import write_run

TAKEN = PointTaken(
    resource="share", store="nas", point="a" * 64, claimed_at=NOW, figures=USUAL, seconds=9.0, manifest="m"
)
DUMP = DumpDatabase(host="pg-a", cluster="15/main", database="ledger", file="/var/lib/mainstay/dumps/x")


def took(step: str = "share/take-nas", evidence: Evidence = TAKEN) -> tuple[Body, ...]:
    outcome = Outcome(changed=True, summary="taken", evidence=evidence)
    return StepStarted(step=step), StepEnded(step=step, status="succeeded", outcome=outcome)


def failed(step: str, **more: object) -> tuple[Body, ...]:
    failure = Failure.model_validate({"error": "AdapterError", "message": "pg_dump: cut off", **more})
    return StepStarted(step=step), StepEnded(step=step, status="failed", failure=failure)


def points(state: Path) -> set[str]:
    return {one.point for one in read_ledger(state).taken("share", "nas")}


def lines(state: Path) -> list[bytes]:
    return (state / FOLDER / FILE).read_bytes().splitlines()


def test_what_runs_prove_is_taken_in_once_and_outlives_their_folders(tmp_path: Path) -> None:
    write_run(tmp_path, "r1", *took(), RunClosed(status="succeeded"))
    (job,) = read_ledger(tmp_path).taken("share", "nas")
    assert (job.began_at, job.at) == (NOW + timedelta(seconds=1), NOW + timedelta(seconds=2))
    before = lines(tmp_path)
    read_ledger(tmp_path)
    assert lines(tmp_path) == before
    shutil.rmtree(tmp_path / "runs")
    assert points(tmp_path) == {"a" * 64}


def test_a_run_that_goes_on_is_read_on(tmp_path: Path) -> None:
    path = write_run(tmp_path, "r1", *took())
    assert len(points(tmp_path)) == 1
    journal = Journal(path)
    for body in took("share/take-2", TAKEN.model_copy(update={"point": "b" * 64})):
        journal.append(body)
    journal.close()
    assert points(tmp_path) == {"a" * 64, "b" * 64}
    assert sum(b'"point-taken"' in line for line in lines(tmp_path)) == 2


def test_a_torn_last_line_of_the_ledger_is_cut_off_and_taken_in_again(tmp_path: Path) -> None:
    write_run(tmp_path, "r1", *took())
    read_ledger(tmp_path)
    path = tmp_path / FOLDER / FILE
    whole = path.read_bytes()
    for cut in (1, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:-cut])
        assert points(tmp_path) == {"a" * 64}
        assert path.read_bytes() == whole
    path.write_bytes(whole + b"\0" * 700)
    assert points(tmp_path) == {"a" * 64}


def test_a_line_that_cannot_be_read_costs_nothing_while_its_run_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path, "r1", *took())
    read_ledger(tmp_path)
    path = tmp_path / FOLDER / FILE
    path.write_bytes(b"gibberish\n" + b"".join(line + b"\n" for line in lines(tmp_path)[1:]))
    assert points(tmp_path) == {"a" * 64}
    assert "line 1 of the ledger cannot be read" in capsys.readouterr().err


def test_a_journal_that_was_changed_is_told_and_nothing_in_it_is_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path, "r1", *took())
    path.write_bytes(path.read_bytes().replace(b'"files":2000', b'"files":9000'))
    write_run(tmp_path, "r2", *took(evidence=TAKEN.model_copy(update={"point": "b" * 64})))
    assert points(tmp_path) == {"b" * 64}
    assert "run r1: its journal is damaged at line 3" in capsys.readouterr().err


def test_a_journal_that_is_being_written_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_run(tmp_path, "r1", *took())
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert points(tmp_path) == set()
    path.write_bytes(whole)
    assert points(tmp_path) == {"a" * 64}


def test_runs_of_other_areas_are_read_once_and_leave_one_line(tmp_path: Path) -> None:
    write_run(tmp_path, "r1", StepStarted(step="x"), RunClosed(status="succeeded"))
    read_ledger(tmp_path)
    assert [json.loads(line)["kind"] for line in lines(tmp_path)] == ["run-read"]


def test_a_run_that_was_read_is_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, "r1", *took())
    read_ledger(tmp_path)
    monkeypatch.setattr(_ledger, "_entries", lambda *_: pytest.fail("it was read before"))
    assert len(points(tmp_path)) == 1


def test_a_dump_that_failed_stands_against_its_resource_though_it_left_no_evidence(tmp_path: Path) -> None:
    step = Step(id="ledger-dump/dump", run=DUMP, why="x")
    plan = Plan(name=TAKE_PLAN, environment="lab", mode="apply", steps=(step,))
    write_run(tmp_path, "r1", *failed(step.id), plan=plan)
    (found,) = read_ledger(tmp_path).failed_takes["ledger-dump"]
    assert "pg_dump: cut off" in found.words


def test_a_host_that_was_out_of_reach_is_no_doubt_of_its_data(tmp_path: Path) -> None:
    step = Step(id="ledger-dump/dump", run=DUMP, why="x")
    plan = Plan(name=TAKE_PLAN, environment="lab", mode="apply", steps=(step,))
    write_run(tmp_path, "r1", *failed(step.id, transient=True), plan=plan)
    assert read_ledger(tmp_path).failed_takes == {}


def test_what_a_failed_step_saw_is_believed_as_it_says(tmp_path: Path) -> None:
    seen = TakeFailed(resource="share", store="nas", faults=("missing source /srv/share",))
    write_run(tmp_path, "r1", *failed("share/take-nas", evidence=seen.model_dump()))
    (found,) = read_ledger(tmp_path).failed_takes["share"]
    assert "missing source" in found.words


def test_a_deletion_that_began_explains_points_that_are_gone(tmp_path: Path) -> None:
    act = ForgetPoints(
        host="bk-a", resource="share", of=Repository(store="nas", url="/main"), points=("a" * 64,), stay=()
    )
    step = Step(id="share/nas/delete", run=act, why="x")
    plan = Plan(name="backup-rotate", environment="lab", mode="apply", steps=(step,))
    write_run(tmp_path, "r1", *took())
    write_run(tmp_path, "r2", StepStarted(step=step.id), plan=plan)
    assert read_ledger(tmp_path).known("share", "nas") == frozenset()


def test_what_was_cleared_while_the_clock_was_ahead_clears_nothing_that_is_seen_until_then(
    tmp_path: Path,
) -> None:
    ahead = NOW + timedelta(days=400)
    note(tmp_path, [cleared(ahead, store="nas"), *(checked(part, 2, ahead) for part in (1, 2))])
    note(tmp_path, [proof_failed(NOW)])
    now = NOW + timedelta(hours=2)
    assert read_ledger(tmp_path, now).suspended("nas")
    assert read_ledger(tmp_path, now).cleared == []
    note(tmp_path, [cleared(now, store="nas")])
    assert not read_ledger(tmp_path, now).suspended("nas")


def test_what_a_listing_showed_is_added(tmp_path: Path) -> None:
    seen = PointsSeen(resource="share", store="nas", points=("x",))
    note(tmp_path, [entry(seen, datetime(2026, 1, 1, tzinfo=UTC), run="look-1", number=0)])
    assert read_ledger(tmp_path).known("share", "nas") == {"x"}
