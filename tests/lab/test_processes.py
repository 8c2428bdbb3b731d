"""Several controllers at once, and controllers that are stopped: with real processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from automation.engine.fold import fold
from automation.engine.journal import read_journal
from automation.engine.lock import is_held
from automation.model.records import StepStarted

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "tests" / "engine" / "one_run.py"
BACKUP = """
import sys
from pathlib import Path
from automation.engine.lock import hold
with hold(Path(sys.argv[1]), sys.argv[2:], holder="run 7 of backup-job", reason="nightly backup"):
    print("held", flush=True)
    sys.stdin.read()
"""


def argv(state: Path, run: str, actor: str, seconds: float, service: str) -> list[str]:
    return [sys.executable, str(PROGRAM), str(state), run, actor, str(seconds), service]


@contextmanager
def running(
    state: Path, run: str, actor: str = "first", seconds: float = 60, service: str = "erp"
) -> Iterator[subprocess.Popen[str]]:
    """Start a controller and wait until its first step has begun; it is killed at the end."""
    words = argv(state, run, actor, seconds, service)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 20
            while not any(isinstance(body, StepStarted) for body in bodies(state, run)):
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def bodies(state: Path, run: str) -> list[object]:
    path = state / "runs" / run / "journal.jsonl"
    return [event.body for event in read_journal(path)] if path.exists() else []


def ended(state: Path, run: str, actor: str = "second", service: str = "erp") -> tuple[int, str]:
    done = subprocess.run(
        argv(state, run, actor, 0, service), capture_output=True, text=True, timeout=30, check=False
    )
    return done.returncode, done.stderr


def test_two_admins_on_one_service_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    with running(tmp_path, "r1", actor="first") as first:
        code, said = ended(tmp_path, "r2")
        assert code == 7
        assert "service:erp is held by run r1 of first" in said
        assert "rotation" in said
        assert ended(tmp_path, "r3", service="another-service")[0] == 0
        code, said = ended(tmp_path, "r1", service="resume")
        assert (code, "run:r1 is held by run r1 of first" in said) == (7, True)
        first.kill()
        first.wait()
    assert ended(tmp_path, "r4")[0] == 0, "a killed holder's lock is free"


@contextmanager
def backup(state: Path, *names: str) -> Iterator[subprocess.Popen[str]]:
    """A backup job of its own process that holds locks until it is killed."""
    holder = [sys.executable, "-c", BACKUP, str(state / "locks"), *names]
    root, pipe = PROGRAM.parents[2], subprocess.PIPE
    with subprocess.Popen(holder, stdin=pipe, stdout=pipe, text=True, cwd=root) as job:
        try:
            assert job.stdout is not None
            assert job.stdout.readline() == "held\n"
            yield job
        finally:
            job.kill()


@pytest.mark.parametrize(
    ("lock", "refused", "free"),
    [
        ("service:erp", ("erp",), "another-service"),
        ("host:pg-a", ("host:pg-a", "playbook:", "playbook:pg-a"), "host:pg-b"),
        ("host:pg-a", (), "playbook:pg-b"),
    ],
)
def test_a_run_is_refused_while_a_backup_holds_what_it_needs(
    lock: str, refused: tuple[str, ...], free: str, tmp_path: Path
) -> None:
    with backup(tmp_path, lock) as job:
        for number, wanted in enumerate(refused):
            code, said = ended(tmp_path, f"r{number}", service=wanted)
            assert code == 7, wanted
            assert f"{lock} is held by run 7 of backup-job (pid {job.pid}: nightly backup)" in said
            assert bodies(tmp_path, f"r{number}") == [], "nothing was begun"
        assert ended(tmp_path, "free", service=free)[0] == 0
        job.kill()
        job.wait()
        for wanted in refused:
            assert ended(tmp_path, f"after-{wanted}", service=wanted)[0] == 0, (
                "a killed holder's lock is free"
            )


def test_two_admins_on_one_host_the_second_is_told_who_holds_it(tmp_path: Path) -> None:
    with running(tmp_path, "r1", actor="first", service="host:pg-a") as first:
        for run, wanted in (("r2", "host:pg-a"), ("r3", "playbook:pg-a,pg-b")):
            code, said = ended(tmp_path, run, service=wanted)
            assert (code, "host:pg-a is held by run r1 of first" in said) == (7, True)
        assert ended(tmp_path, "r4", service="host:pg-b")[0] == 0
        first.kill()
        first.wait()
    assert ended(tmp_path, "r5", service="playbook:pg-a,pg-b")[0] == 0, "a killed holder's lock is free"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_stops_a_run_so_that_it_can_be_resumed(tmp_path: Path, number: signal.Signals) -> None:
    with running(tmp_path, "r1", seconds=0.4) as controller:
        controller.send_signal(number)
        said = controller.communicate(timeout=20)[1]
        assert controller.returncode == 130
    assert "./inv run.resume --env lab --run r1" in said
    folded = fold(read_journal(tmp_path / "runs/r1/journal.jsonl"))
    assert folded.closed is not None
    assert (folded.closed.status, folded.closed.not_started) == ("interrupted", ("b",))
    assert list(folded.succeeded) == ["a"], "what ran was waited for"
    assert ended(tmp_path, "r1", service="resume")[0] == 0
    assert ended(tmp_path, "r1", service="resume")[0] == 4, "it has succeeded; there is nothing to resume"


def test_a_second_signal_leaves_what_runs_to_the_resume(tmp_path: Path) -> None:
    with running(tmp_path, "r1", seconds=60) as controller:
        controller.send_signal(signal.SIGTERM)
        assert controller.stdout is not None
        assert "waiting for a" in controller.stdout.readline()
        controller.send_signal(signal.SIGTERM)
        assert controller.wait(10) == 130
    folded = fold(read_journal(tmp_path / "runs/r1/journal.jsonl"))
    assert list(folded.started) == ["a"]


def test_a_killed_run_is_resumed_and_holds_its_locks_again(tmp_path: Path) -> None:
    with running(tmp_path, "r1", seconds=0.5) as controller:
        assert is_held(tmp_path / "locks/service:erp")
        controller.kill()
        controller.wait()
    assert not is_held(tmp_path / "locks/service:erp")
    assert ended(tmp_path, "r1", service="resume")[0] == 0
    assert "second" in (tmp_path / "locks/service:erp").read_text()


def test_a_reader_that_leaves_early_is_no_fault() -> None:
    words = [sys.executable, "-c", "from automation.commands._program import main; main()"]
    words += ["dr.runbook", "--env", "example-city", "--plan", "everything", "--site", "civic-centre"]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
