"""Locks: one holder, named; free again when the holder dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from automation.engine.lock import hold
from automation.model.errors import Busy

HOLD_AND_WAIT = """
import sys
from pathlib import Path
from automation.engine.lock import hold
with hold(Path(sys.argv[1]), ["service:erp"], holder="run 1 of anyone", reason="test"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with (
        hold(tmp_path, ["service:erp"], holder="run 1", reason="rotation"),
        pytest.raises(Busy, match=r"run 1 .*rotation"),
        hold(tmp_path, ["host:a", "service:erp"], holder="run 2", reason="failover"),
    ):
        pass


def test_a_refused_run_holds_nothing(tmp_path: Path) -> None:
    with hold(tmp_path, ["service:b"], holder="run 1", reason="x"):
        with pytest.raises(Busy), hold(tmp_path, ["service:a", "service:b"], holder="run 2", reason="y"):
            pass
        with hold(tmp_path, ["service:a"], holder="run 3", reason="z"):
            pass


def test_the_lock_of_a_killed_holder_is_free(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", HOLD_AND_WAIT, str(tmp_path)]
    repository = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=repository
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy), hold(tmp_path, ["service:erp"], holder="run 2", reason="x"):
            pass
        holder.kill()
        holder.wait()
    with hold(tmp_path, ["service:erp"], holder="run 2", reason="x"):
        pass
