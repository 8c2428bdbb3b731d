"""Run folders that are let go: never the last proof, never what is open, and said when it is done."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.engine import retention
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.lock import hold
from automation.engine.retention import GIB, GOING, REMOVED, KeptRun, decide, let_go, read_runs
from automation.engine.run import make_run_folder, run_plan
from automation.model.actions import Wait
from automation.model.environment import RunRetention
from automation.model.errors import AdapterError
from automation.model.evidence import WritesExported
from automation.model.plan import Plan, Step
from automation.model.records import Outcome
from tests.engine.conftest import in_folder

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
RULE = RunRetention(keep=30 * 86400, cap_gib=1)


def run(
    number: int, age_days: float, kind: str = "drill", status: str = "succeeded", mib: int = 1
) -> KeptRun:
    ended = NOW - timedelta(days=age_days)
    return KeptRun(f"r{number:03}", (kind, "exercise"), status, ended, mib * 2**20)


def chosen(*runs: KeptRun, keep: tuple[str, ...] = (), rule: RunRetention = RULE) -> list[tuple[str, str]]:
    return [(one.run_id, reason) for one, reason in decide(runs, rule, now=NOW, keep=keep)]


def test_old_runs_go_and_the_newest_of_their_kind_stays() -> None:
    runs = (run(1, 90), run(2, 60), run(3, 31), run(4, 90, "converge"))
    assert chosen(*runs) == [("r001", "older than 30 days"), ("r002", "older than 30 days")]


def test_the_newest_that_succeeded_stays_beside_newer_ones_that_did_not() -> None:
    assert chosen(run(1, 90), run(2, 80), run(3, 70, status="aborted"), run(4, 60, status="aborted")) == [
        ("r001", "older than 30 days"),
        ("r003", "older than 30 days"),
    ]


@pytest.mark.parametrize("status", ["open", "paused", "halted", "interrupted"])
def test_a_run_that_has_not_come_to_its_end_stays(status: str) -> None:
    assert chosen(run(1, 900, status=status, mib=5000), run(2, 1)) == []


def test_over_the_cap_the_oldest_go_until_there_is_room() -> None:
    runs = (run(1, 4, mib=600), run(2, 3, mib=300), run(3, 2, mib=300), run(4, 1, mib=100))
    assert chosen(*runs) == [("r001", "over the cap of 1 GiB")]


def test_what_something_stands_on_stays() -> None:
    assert chosen(run(1, 90), run(2, 1), keep=("r001",)) == []


@given(
    st.lists(
        st.tuples(
            st.floats(0, 800),
            st.sampled_from(["a", "b"]),
            st.sampled_from(["succeeded", "aborted", "paused", "open"]),
            st.integers(0, 900),
        ),
        max_size=12,
    )
)
def test_whatever_there_is_proofs_and_open_runs_stay_and_none_goes_twice(
    drawn: list[tuple[float, str, str, int]],
) -> None:
    runs = [run(number, *one) for number, one in enumerate(sorted(drawn, reverse=True))]
    going = [one for one, _ in decide(runs, RULE, now=NOW)]
    left = [one for one in runs if one not in going]
    assert len({one.run_id for one in going}) == len(going)
    assert all(one.status in retention.ENDED for one in going)
    for one in going:
        same = [other for other in left if other.kind == one.kind and other.run_id > one.run_id]
        assert same
        if one.status == "succeeded":
            assert any(other.status == "succeeded" for other in same)
    freeable = [one for one in left if one.status in retention.ENDED]
    if sum(one.size_bytes for one in left) > RULE.cap_gib * GIB:
        assert len(freeable) <= 4, "only the newest and the newest good one of two kinds could stay"


# --- on the disk -----------------------------------------------------------------------------------


def make(
    context: RunContext, run_id: str, *, fails: bool = False, evidence: WritesExported | None = None
) -> Path:
    ctx = in_folder(replace(context, state=context.state / "lab"), run_id)
    folder = make_run_folder(ctx.state, run_id)

    def perform(step: Step, ctx: RunContext) -> Outcome:
        if fails:
            raise AdapterError("no more paper")
        return Outcome(changed=False, summary="nothing", evidence=evidence)

    step = Step(id="a", run=Wait(seconds=0), why="test")
    plan = Plan(name="converge", environment="lab", mode="apply", steps=(step,))
    run_plan(plan, ctx, actor="test", work=Work(perform=perform))
    return folder


def later(state: Path, keep: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    said: list[str] = []
    at = datetime.now(UTC) + timedelta(days=31)
    removed = let_go(state, RULE, now=at, keep=keep, say=said.append)
    return [one.run_id for one in removed], said


def test_a_run_that_goes_is_written_down_and_said(context: RunContext) -> None:
    folders = [make(context, name) for name in ("r1", "r2", "r3")]
    state = context.state / "lab"
    head = read_runs(state)[0].head
    removed, said = later(state)
    assert (removed, [one.exists() for one in folders]) == (["r1", "r2"], [False, False, True])
    assert said[0] == "removed the folder of run r1 (converge, succeeded): older than 30 days"
    lines = [json.loads(line) for line in (state / REMOVED).read_text().splitlines()]
    assert [line["run_id"] for line in lines] == ["r1", "r2"]
    assert head in {line["head"] for line in lines} | {read_runs(state)[0].head}
    assert not (state / GOING).exists()
    assert {path.name for path in (state / "locks").glob("run:*")} == {"run:r3"}


def test_a_run_that_somebody_holds_or_that_cannot_be_read_stays(context: RunContext) -> None:
    for name in ("r1", "r2", "r3"):
        make(context, name)
    state = context.state / "lab"
    (state / "runs/r2/journal.jsonl").write_text("{")
    with hold(state / "locks", ["run:r1"], holder="somebody", reason="reads it"):
        removed, said = later(state)
        assert (removed, len(said)) == ([], 1)
        assert "the folder of run r1 stays: run:r1 is held by somebody" in said[0]
    assert later(state)[0] == ["r1"]


def test_a_run_that_failed_waits_for_a_person_however_old(context: RunContext) -> None:
    make(context, "r1", fails=True)
    make(context, "r2")
    assert later(context.state / "lab") == ([], [])


def test_what_a_removal_that_was_cut_off_left_is_removed_next_time(context: RunContext) -> None:
    make(context, "r1")
    state = context.state / "lab"
    (state / GOING / "r0").mkdir(parents=True)
    later(state)
    assert not (state / GOING).exists()


def test_on_a_full_disk_a_run_makes_room_for_the_line_that_tells_of_it(
    context: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes a line only once the artifacts of the run that goes are gone."""
    folder = make(context, "r1")
    make(context, "r2")
    state = context.state / "lab"
    (folder / "artifacts/large").write_bytes(b"0" * 4096)
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        is_line = Path(f"/proc/self/fd/{descriptor}").readlink().name == REMOVED
        if is_line and list(state.rglob("large")):
            return write(descriptor, content[:10])
        return write(descriptor, content)

    monkeypatch.setattr(retention.os, "write", full)
    assert later(state)[0] == ["r1"]
    (line,) = (state / REMOVED).read_text().splitlines()
    assert json.loads(line)["run_id"] == "r1"
    assert not (state / GOING).exists()


def test_a_removal_without_its_line_is_written_down_by_the_next_one(context: RunContext) -> None:
    folder = make(context, "r1")
    make(context, "r2")
    state = context.state / "lab"
    (state / GOING).mkdir()
    folder.rename(state / GOING / "r1")
    assert later(state)[0] == []
    (line,) = (state / REMOVED).read_text().splitlines()
    assert (json.loads(line)["run_id"], json.loads(line)["reason"]) == ("r1", "its removal was cut off")
    assert not (state / GOING).exists()


def test_a_time_without_a_zone_stops_nothing_and_its_run_stays(context: RunContext) -> None:
    odd = make(context, "r1")
    gone = make(context, "r2")
    make(context, "r3")
    journal = odd / "journal.jsonl"
    *before, last = [json.loads(line) for line in journal.read_text().splitlines()]
    last["at"] = "2026-01-01T00:00:00"
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in (*before, last)))
    assert later(context.state / "lab")[0] == ["r2"]
    assert (odd.exists(), gone.exists()) == (True, False)


def test_what_goes_wrong_while_old_runs_are_removed_is_said_and_stops_nothing(context: RunContext) -> None:
    make(context, "r1")
    make(context, "r2")
    state = context.state / "lab"
    (state / REMOVED).mkdir()
    removed, said = later(state)
    assert removed == []
    assert "old run folders stay: " in said[0]


@pytest.mark.parametrize(("count", "gone"), [(0, ["r1"]), (2, [])])
def test_writes_that_a_failback_exported_are_never_removed(
    context: RunContext, count: int, gone: list[str]
) -> None:
    evidence = WritesExported(
        service="payments", server="pg-a", references="only.txt", count=count, export="only.csv"
    )
    make(context, "r1", evidence=evidence)
    make(context, "r2")
    assert later(context.state / "lab")[0] == gone
