"""Who may take a lab down: nobody under a run, and a demo only the lab that it made."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from automation.adapters import nspawn
from automation.commands import _servers, _session, demo, dev, lab
from automation.engine.lock import hold
from automation.model.errors import Busy, PreflightError
from tests.conftest import ROOT
from tests.recovery.conftest import make_city

HOLD = """
import sys
from pathlib import Path
from automation.engine.lock import hold
with hold(Path(sys.argv[1]), ["host:pg-a"], holder="run 1 of ops", reason="drill"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAINSTAY_STATE", str(tmp_path))
    return tmp_path / "lab/locks"


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labs that were removed."""
    seen: list[str] = []
    monkeypatch.setattr(nspawn, "remove_lab", lambda state, lab_id: seen.append(lab_id) or "disks")
    monkeypatch.setattr("automation.adapters.ansible.end_abandoned", lambda: None)
    return seen


def down(*, force: bool = False) -> None:
    lab.down.body(None, env="lab", force=force)


def test_a_lab_that_a_run_uses_is_removed_only_by_force(locks: Path, removed: list[str]) -> None:
    names = ["host:pg-a", "run:1"]
    with hold(locks, names, holder="run 1 of ops", reason="drill site-loss"):
        with pytest.raises(Busy) as refusal:
            down()
        assert removed == []
        assert f"run 1 of ops (pid {os.getpid()}: drill site-loss) holds host:pg-a, run:1" in str(
            refusal.value
        )
        assert refusal.value.hint is not None
        assert "./inv lab.down --env lab --force" in refusal.value.hint
        down(force=True)
    assert removed == ["lab"]
    down()
    assert removed == ["lab", "lab"]


def test_a_killed_run_keeps_nobody_from_removing_the_lab(locks: Path, removed: list[str]) -> None:
    argv = [sys.executable, "-c", HOLD, str(locks)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd=ROOT) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"held\n"
        with pytest.raises(Busy):
            down()
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
    down()
    assert removed == ["lab"]


def test_what_nobody_ever_made_is_removed_without_a_trace(locks: Path, removed: list[str]) -> None:
    down()
    assert (removed, locks.exists()) == (["lab"], False)


@pytest.fixture
def opened(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def open_session(name: str, say: object = None, narrow: object = None) -> Iterator[SimpleNamespace]:
        city = make_city()
        yield SimpleNamespace(state=locks.parent, environment=city.environment, inventory=city.inventory)

    monkeypatch.setattr(_session, "open_session", open_session)


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(
    "command",
    [lambda: demo.demo.body(None), lambda: dev.campaign.body(None, env="lab", drill="site-loss")],
    ids=["demo", "campaign"],
)
def test_a_refused_one_leaves_the_lab_of_another_alone(
    command: object, locks: Path, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(command)
    with lab.hold_lab(locks.parent, "demo"), pytest.raises(Busy, match="lab:lab is held by demo of"):
        command()
    refuse = mock.Mock(side_effect=PreflightError("a lab is there already"))
    monkeypatch.setattr(_servers, "refuse_running_lab", refuse)
    with pytest.raises(PreflightError):
        command()
    assert removed == []


@pytest.mark.usefixtures("opened")
def test_a_demo_removes_what_it_began_to_make(
    locks: Path, removed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("refuse_running_lab", "require_machine", "build_images"):
        monkeypatch.setattr(_servers, name, lambda session: None)
    monkeypatch.setattr(_servers, "bring_up", mock.Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        demo.demo.body(None)
    assert removed == ["lab"]
