"""Past runs are read once, and only what they say of how long steps take."""

from pathlib import Path

import pytest

from automation.commands import _past
from automation.commands._past import read_past
from automation.engine.journal import Journal
from automation.model.actions import Wait
from automation.model.plan import Mode, Plan, Step
from automation.model.records import Outcome, RunClosed, StepEnded, StepStarted
from automation.recovery.prediction import Likeness

WAIT = Likeness("clock.wait")


def make_run(state: Path, run_id: str, *, mode: Mode = "failover", closed: bool = True) -> Path:
    folder = state / "runs" / run_id
    folder.mkdir(parents=True)
    steps = (
        Step(id="a", run=Wait(seconds=1), why="w"),
        Step(id="b", run=Wait(seconds=1), why="w", needs=("a",)),
    )
    plan = Plan(name="p", environment="e", mode=mode, steps=steps)
    (folder / "plan.json").write_text(plan.model_dump_json())
    journal = Journal(folder / "journal.jsonl")
    for step in ("a", "b"):
        journal.append(StepStarted(step=step))
        journal.append(StepEnded(step=step, status="succeeded", outcome=Outcome(changed=True, summary="s")))
    if closed:
        journal.append(RunClosed(status="succeeded"))
    journal.close()
    return folder


def test_every_step_of_every_closed_recovery_run_is_counted(tmp_path: Path) -> None:
    make_run(tmp_path, "20261101-1")
    make_run(tmp_path, "20261102-1", mode="exercise")
    make_run(tmp_path, "20261103-1", mode="apply")
    make_run(tmp_path, "20261104-1", closed=False)
    past = read_past(tmp_path)
    seen = past.estimate(WAIT)
    assert seen
    assert (past.runs, seen.steps) == (2, 4)


def test_many_runs_that_only_look_do_not_push_the_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_past, "MOST_RUNS", 2)
    for day in (1, 2, 3):
        make_run(tmp_path, f"2026110{day}-1")
    for day in (4, 5, 6):
        make_run(tmp_path, f"2026110{day}-1", mode="readiness")
    assert read_past(tmp_path).runs == 2


def test_a_run_is_read_once_and_again_when_it_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_run(tmp_path, "20261101-1")
    read_past(tmp_path)
    read: list[Path] = []
    real = _past.read_journal
    monkeypatch.setattr(_past, "read_journal", lambda path: read.append(path) or real(path))
    assert read_past(tmp_path).runs == 1
    assert read == []
    second = make_run(tmp_path, "20261102-1")
    journal = Journal(first / "journal.jsonl")
    journal.append(RunClosed(status="succeeded"))
    journal.close()
    assert read_past(tmp_path).runs == 2
    assert sorted(read) == [first / "journal.jsonl", second / "journal.jsonl"]


@pytest.mark.parametrize("damage", ["journal.jsonl", "plan.json"])
def test_a_damaged_run_says_nothing_and_stops_nobody(tmp_path: Path, damage: str) -> None:
    make_run(tmp_path, "20261101-1")
    broken = make_run(tmp_path, "20261102-1") / damage
    broken.write_text(broken.read_text()[:-20].replace("a", "x", 1))
    assert read_past(tmp_path).runs == 1


@pytest.mark.parametrize("kept", ["", "{}", '{"format": 99, "runs": {}}', "\0"])
def test_a_faulty_file_of_what_was_kept_is_made_anew(tmp_path: Path, kept: str) -> None:
    make_run(tmp_path, "20261101-1")
    (tmp_path / "durations.json").write_text(kept)
    assert read_past(tmp_path).runs == 1


def test_an_environment_without_runs_has_no_past(tmp_path: Path) -> None:
    past = read_past(tmp_path)
    assert (past.runs, past.estimate(WAIT)) == (0, None)
