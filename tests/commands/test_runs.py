"""Runs read back: in rows, in words, and followed while they go on."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from automation.commands import _runs
from automation.commands._decisions import decide
from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.journal import Journal
from automation.engine.lock import hold
from automation.engine.run import make_run_folder, resume_run, run_plan
from automation.model.actions import Wait
from automation.model.environment import Inventory, load_environment
from automation.model.errors import AdapterError, AutomationError, ConfigError, StepFailed
from automation.model.plan import Plan, Step
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
