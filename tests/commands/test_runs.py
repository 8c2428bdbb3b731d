"""Runs read back: in rows, in words, and followed while they go on."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from automation.commands import _runs
from automation.commands._decisions import decide
from automation.commands._since import parse_since
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import Journal
from automation.engine.lock import hold
from automation.engine.run import make_run_folder, resume_run, run_plan
from automation.model.actions import Wait
from automation.model.environment import Inventory, load_environment
from automation.model.errors import AdapterError, AutomationError, ConfigError, StepFailed
from automation.model.plan import Mode, Plan, Step
from automation.model.records import Outcome, RunClosed, StepStarted

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS = tuple(
    Step.model_validate({"id": name, "run": Wait(seconds=0), "why": "test", "needs": needs})
    for name, needs in (("a", ()), ("b", ("a",)))
)
PLAN = Plan(name="rotation", environment="lab", mode="apply", steps=STEPS)


@pytest.fixture
def ctx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    monkeypatch.setenv("MAINSTAY_STATE", str(tmp_path))
    make_run_folder(tmp_path / "lab", "r1")
    return RunContext(
        run_id="r1",
        environment=load_environment(REPOSITORY, "lab"),
        inventory=Inventory(servers={}),
        state=tmp_path / "lab",
        images=tmp_path,
        artifacts=tmp_path / "lab/runs/r1/artifacts",
        connections=None,  # type: ignore[arg-type]
        progress=lambda step, text: None,
    )


def perform(step: Step, ctx: RunContext) -> Outcome:
    ctx.say("half way")
    if step.id == "b" and not (ctx.state / "mended").exists():
        raise AdapterError("the disk is full")
    return Outcome(changed=True, summary=f"did {step.id}")


@pytest.fixture
def paused(ctx: RunContext) -> RunContext:
    run_plan(PLAN, ctx, actor="coordinator", work=Work(perform=perform))
    return ctx


def resume(ctx: RunContext) -> None:
    (ctx.state / "mended").touch()
    resume_run(ctx, actor="deputy", work=Work(perform=perform))


def test_a_run_that_was_resumed_has_the_status_of_its_last_end(paused: RunContext) -> None:
    assert _runs.read_run("lab", "r1").status == "paused"
    resume(paused)
    run = _runs.read_run("lab", "r1")
    assert (run.status, [row.status for row in run.steps]) == ("succeeded", ["succeeded", "succeeded"])


def test_the_log_tells_events_and_progress_in_words_and_in_order(paused: RunContext) -> None:
    resume(paused)
    told = [f"{line.step or 'run'}: {line.text}" for line in _runs.read_log("lab", "r1")]
    assert told[0].startswith("run: rotation (apply) opened by coordinator on ")
    assert [text for text in told if text.startswith(("a:", "b:"))] == [
        "a: started",
        "a: half way",
        "a: ok: did a",
        "b: started",
        "b: half way",
        "b: FAILED: the disk is full",
        "b: started",
        "b: half way",
        "b: ok: did b",
    ]
    assert any(text.startswith("run: resumed by deputy") for text in told)
    assert told[-1] == "run: closed: succeeded"


def test_an_unknown_run_is_named_with_the_command_that_lists_them(ctx: RunContext) -> None:
    for name in ("r1", "no-such", "../locks"):
        with pytest.raises(ConfigError, match=r"there is no run|no run"):
            _runs.read_log("lab", name)


def test_watching_a_closed_run_tells_it_and_ends(paused: RunContext) -> None:
    lines = list(_runs.watch("lab", "r1"))
    assert lines[-1].text.startswith("closed: paused")


@pytest.fixture
def open_run(ctx: RunContext) -> Iterator[Journal]:
    run_plan(PLAN, ctx, actor="coordinator", work=Work(perform=perform))
    path = ctx.artifacts.parent / "journal.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    journal = Journal(path)
    yield journal
    journal.close()


def test_watching_a_run_whose_controller_died_says_how_it_goes_on(open_run: Journal) -> None:
    with pytest.raises(StepFailed, match="nobody runs it") as error:
        list(_runs.watch("lab", "r1"))
    assert error.value.hint == "./inv run.resume --env lab --run r1"


def test_watching_follows_until_the_run_closes(open_run: Journal, ctx: RunContext) -> None:
    """A line that is only half there is waited for."""
    path = ctx.artifacts.parent / "journal.jsonl"
    seen = threading.Event()

    def go_on() -> None:
        with hold(ctx.state / "locks", ["run:r1"], holder="run r1", reason="test"):
            holding.set()
            assert seen.wait(10)
            open_run.append(StepStarted(step="b"))
            with path.open("ab") as torn:
                torn.write(b'{"sequence":')
            path.write_bytes(path.read_bytes().removesuffix(b'{"sequence":'))
            open_run.append(RunClosed(status="succeeded"))

    holding = threading.Event()
    thread = threading.Thread(target=go_on)
    thread.start()
    assert holding.wait(10)
    told = []
    for line in _runs.watch("lab", "r1", beat_s=0.01):
        told.append(line.text)
        seen.set()
    thread.join()
    assert told[-2:] == ["started", "closed: succeeded"]


def test_watching_names_the_first_damaged_line(paused: RunContext) -> None:
    path = paused.artifacts.parent / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b"did a", b"did z"))
    with pytest.raises(AutomationError, match="damaged at line 3"):
        list(_runs.watch("lab", "r1"))


@pytest.mark.parametrize(
    "flags",
    [
        {"gate": "a", "reason": "x"},
        {"answer": "yes", "reason": "x"},
        {"gate": "a", "answer": "maybe", "reason": "x"},
        {"gate": "a", "answer": "yes"},
        {"done": "a"},
    ],
    ids=["no answer", "no gate", "maybe", "gate without reason", "done without reason"],
)
def test_a_decision_that_is_not_whole_is_refused(flags: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        decide(**flags)


# --- choosing among them ----------------------------------------------------------------------------


def look(step: Step, ctx: RunContext) -> Outcome:
    return Outcome(changed=False, summary="looked")


def another(ctx: RunContext, run_id: str, mode: Mode) -> None:
    make_run_folder(ctx.state, run_id)
    other = replace(ctx, run_id=run_id, artifacts=ctx.state / "runs" / run_id / "artifacts")
    plan = PLAN.model_copy(update={"mode": mode})
    run_plan(plan, other, actor="coordinator", work=Work(perform=look))


@pytest.fixture
def three(ctx: RunContext) -> list[str]:
    for run_id, mode in (("r2", "exercise"), ("r3", "apply"), ("r4", "exercise")):
        another(ctx, run_id, mode)  # type: ignore[arg-type]
    return ["r4", "r3", "r2"]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (_runs.Wanted(), ["r4", "r3", "r2"]),
        (_runs.Wanted(limit=2), ["r4", "r3"]),
        (_runs.Wanted(mode="exercise"), ["r4", "r2"]),
        (_runs.Wanted(limit=1, mode="apply"), ["r3"]),
        (_runs.Wanted(mode="failover"), []),
        (_runs.Wanted(since=datetime.now(UTC) + timedelta(days=1)), []),
        (_runs.Wanted(since=datetime.now(UTC) - timedelta(days=1)), ["r4", "r3", "r2"]),
    ],
)
def test_runs_are_chosen_newest_first(three: list[str], wanted: _runs.Wanted, ids: list[str]) -> None:
    assert [row.run_id for row in _runs.list_runs("lab", wanted)] == ids


def test_a_damaged_run_is_shown_whatever_is_asked_for(three: list[str], ctx: RunContext) -> None:
    (ctx.state / "runs/r3/journal.jsonl").write_text("torn\n")
    rows = _runs.list_runs("lab", _runs.Wanted(mode="exercise"))
    assert [(row.run_id, row.status) for row in rows] == [
        ("r4", "succeeded"),
        ("r3", "damaged"),
        ("r2", "succeeded"),
    ]


def test_an_unknown_mode_is_refused(ctx: RunContext) -> None:
    with pytest.raises(ConfigError, match="nothing was touched"):
        _runs.list_runs("lab", _runs.Wanted(mode="drill"))


def test_a_log_can_leave_out_what_was_earlier(paused: RunContext) -> None:
    lines = _runs.read_log("lab", "r1")
    middle = lines[len(lines) // 2].at
    later = _runs.read_log("lab", "r1", middle)
    assert 0 < len(later) < len(lines)
    assert later == [line for line in lines if line.at >= middle]


def test_a_line_of_a_log_can_be_read_by_programs(paused: RunContext) -> None:
    rows = [json.loads(line.as_json()) for line in _runs.read_log("lab", "r1")]
    assert {row["step"] for row in rows} == {None, "a", "b"}
    assert all(datetime.fromisoformat(row["at"]).tzinfo and row["text"] for row in rows)


NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("90 min", NOW - timedelta(minutes=90)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T08:30", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
        ("2026-11-01T08:30+02:00", datetime(2026, 11, 1, 6, 30, tzinfo=UTC)),
        ("", None),
    ],
)
def test_a_moment_is_a_time_ago_or_a_date(text: str, moment: datetime | None) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["yesterday", "7", "7 weeks", "01/11/2026", "9" * 8 + "d", "2026-13-01"])
def test_what_is_no_moment_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ConfigError, match="nothing was touched") as caught:
        parse_since(text, NOW)
    assert "2026-11-01" in str(caught.value.hint)
