"""A primary is brought back only beside its own standby; a promotion that was asked for may still happen."""

import fcntl
import json
import subprocess
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automation.adapters.postgresql import (
    KEPT,
    clone_standby,
    drop_slot,
    promote,
    prove_standby,
    restore_primary,
)
from automation.adapters.postgresql.cloning import _CLONE
from automation.adapters.postgresql.demotion import _DEMOTE, _RESTORE
from automation.adapters.postgresql.proving import _LOOK
from automation.model.actions import CloneStandby, DropSlot, Promote, ProveStandby, RestorePrimary
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.evidence import DataKept
from automation.model.records import Completed

PAIR = {"cluster": "15/main", "expect_system_identifier": "7", "expect_timeline": 3}


class Host:
    """Answers every psql with one identity, and every script as if it had done it."""

    def __init__(self, **seen: object) -> None:
        self.seen = {"system_identifier": "7", "timeline": 3, "in_recovery": True, **seen}
        self.scripts = 0

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        if "psql" in argv:
            return Completed(exit_code=0, stdout=json.dumps(self.seen), stderr="")
        self.scripts += 1
        return Completed(exit_code=0, stdout="restored\n", stderr="")


def world(done: Completed | None = None, **hosts: Host) -> Any:
    return SimpleNamespace(
        remote=lambda name: hosts[name.replace("-", "_")],
        run_id="r1",
        timeout_s=10.0,
        run_unit=lambda host, argv, stdin=None: done,
    )


@pytest.mark.parametrize(
    "other",
    [{"in_recovery": False, "timeline": 4}, {"timeline": 4}, {"system_identifier": "8"}],
    ids=["promoted", "another timeline", "another cluster"],
)
def test_a_primary_stays_demoted_beside_anything_but_its_own_standby(other: dict[str, object]) -> None:
    old = Host()
    with pytest.raises(AdapterError, match="there would be two primaries; nothing was changed"):
        restore_primary(
            RestorePrimary.model_validate({"host": "pg-a", "standby": "pg-b", **PAIR}),
            world(pg_a=old, pg_b=Host(**other)),
        )
    assert old.scripts == 0


def test_a_primary_comes_back_beside_its_standby() -> None:
    action = RestorePrimary.model_validate({"host": "pg-a", "standby": "pg-b", **PAIR})
    assert restore_primary(action, world(pg_a=Host(), pg_b=Host())).changed


@pytest.mark.parametrize(("said", "error"), [("", AdapterError), ("asked to promote\n", OutcomeUnknown)])
def test_a_session_that_died_after_it_asked_does_not_tell_that_nothing_happens(
    said: str, error: type[Exception]
) -> None:
    """The server finishes a promotion by itself: to bring the old primary back meanwhile would make two."""
    cut = Completed(exit_code=2, stdout=said, stderr="server closed the connection unexpectedly")
    with pytest.raises(error) as caught:
        promote(Promote.model_validate({"host": "pg-b", **PAIR}), world(cut, pg_b=Host()))
    assert type(caught.value) is error


# --- a demotion that hangs, and the way back from it -------------------------------------------------

# What a script finds on its host before its own first line; its cluster runs as a primary.
AROUND = """
set -eu
data=$1/main
refuse() { echo "$*" >&2; exit 10; }
expect_identifier() { :; }
login_of() { :; }
runs() { echo looked >&2; exit 3; }
"""


def run_at(folder: Path, script: str, *words: str, around: str = AROUND) -> subprocess.CompletedProcess[str]:
    argv = ["sh", "-c", around + script, "script", str(folder), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_primary_is_not_called_untouched_while_a_demotion_of_it_runs(tmp_path: Path) -> None:
    impatient = _RESTORE.replace("flock -w 5", "flock -n")
    with (tmp_path / "main.role-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        held = run_at(tmp_path, impatient, "7", "r1")
    assert (held.returncode, held.stdout) == (10, "")
    assert "still runs here, and may stop it yet" in held.stderr
    assert run_at(tmp_path, impatient, "7", "r1").stdout == "untouched\n"


def test_a_demotion_that_begins_after_its_run_was_taken_back_touches_nothing(tmp_path: Path) -> None:
    demotion = ("pg-b", "10.0.0.2", "replicator", "slot", "7", "3")
    assert run_at(tmp_path, _RESTORE, "7", "r1").stdout == "untouched\n"
    late = run_at(tmp_path, _DEMOTE, *demotion, "r1")
    assert (late.returncode, late.stderr) == (10, "this run was taken back\n")
    other = run_at(tmp_path, _DEMOTE, *demotion, "r2")
    assert (other.returncode, other.stderr) == (3, "looked\n"), "another run demotes as ever"


# --- the look before a fence is lifted ---------------------------------------------------------------

STANDBY = {"identifier": "7", "runs": False, "standby": False, "signal": True, "held": False}
FOLLOWS = ProveStandby(host="pg-a", primary="pg-b", cluster="15/main", expect_system_identifier="7")
HELD = FOLLOWS.model_copy(update={"primary": None})


class Old:
    """An old primary's host: its network may be cut; it says what it is told to."""

    def __init__(self, said: dict[str, object], *, cut: bool = False) -> None:
        self.said, self.cut = said, cut

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        if self.cut:
            raise AdapterError("no route to host", transient=True)
        return Completed(exit_code=0, stdout=json.dumps(self.said), stderr="")


def old(**said: object) -> Any:
    seen = {**STANDBY, "follows": "10.77.2.20", **said}
    return SimpleNamespace(
        remote=lambda name: Old(seen, cut=True),
        console=lambda name: Old(seen),
        say=lambda text: None,
        run_id="r1",
        environment=SimpleNamespace(name="lab"),
        inventory=SimpleNamespace(server=lambda name: SimpleNamespace(address="10.77.2.20")),
    )


@pytest.mark.parametrize(
    ("action", "said", "why"),
    [
        (FOLLOWS, {"runs": True}, "runs and is not in recovery"),
        (FOLLOWS, {"signal": False}, "has no standby.signal"),
        (FOLLOWS, {"runs": True, "standby": True, "signal": False}, "has no standby.signal"),
        (FOLLOWS, {"follows": "10.77.9.9"}, "would follow 10.77.9.9, not pg-b"),
        (FOLLOWS, {"follows": ""}, "would follow nobody, not pg-b"),
        (FOLLOWS, {"identifier": "8"}, "its system identifier is 8"),
        (HELD, {}, "it is not held down"),
        (HELD, {"held": True, "runs": True, "standby": True}, "it is not held down"),
    ],
)
def test_a_fence_stays_unless_the_old_primary_can_only_be_the_expected_standby(
    action: ProveStandby, said: dict[str, object], why: str
) -> None:
    with pytest.raises(AdapterError, match=why) as caught:
        prove_standby(action, old(**said))
    assert "its network fence stays, nothing was changed" in str(caught.value)
    assert "./inv run.resume --env lab --run r1" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("action", "said"),
    [(FOLLOWS, {}), (FOLLOWS, {"runs": True, "standby": True}), (HELD, {"held": True, "follows": ""})],
    ids=["stopped", "in recovery", "held down"],
)
def test_one_that_can_only_be_a_standby_passes_by_its_console(
    action: ProveStandby, said: dict[str, object]
) -> None:
    assert not prove_standby(action, old(**said)).changed


@pytest.mark.parametrize(
    ("conninfo", "follows"),
    [
        ("primary_conninfo = 'host=10.0.0.2 port=5432 user=replicator'\n", "10.0.0.2"),
        ("primary_conninfo = 'user=replicator passfile=x host=10.0.0.2 port=5432'\n", "10.0.0.2"),
        (
            "primary_conninfo = 'host=10.0.0.2 port=1'\nprimary_conninfo = 'host=10.0.0.3 port=1'\n",
            "10.0.0.3",
        ),
        ("#primary_conninfo = 'host=10.0.0.2'\nwork_mem = '4MB'\n", ""),
    ],
)
def test_whom_it_would_follow_is_read_from_its_last_setting(
    conninfo: str, follows: str, tmp_path: Path
) -> None:
    (tmp_path / "main").mkdir()
    (tmp_path / "main/postgresql.auto.conf").write_text(conninfo)
    around = "set -eu\ndata=$1/main unit=no-such.service\nruns() { false; }\ncontrol() { echo 7; }\n"
    said = json.loads(run_at(tmp_path, _LOOK, around=around).stdout)
    assert said == {**STANDBY, "signal": False, "follows": follows}


# --- a copy whose standby does not start -------------------------------------------------------------


def test_old_data_that_was_put_aside_is_noted_though_the_new_standby_does_not_start(tmp_path: Path) -> None:
    kept = "/var/lib/postgresql/15/main.kept-r1"
    done = Completed(exit_code=1, stdout=f"4096 {kept}\n", stderr="the unit failed")
    ctx: Any = SimpleNamespace(
        inventory=SimpleNamespace(server=lambda name: SimpleNamespace(address="10.0.0.2")),
        run_unit=lambda host, argv: done,
        run_id="r1",
        state=tmp_path,
    )
    action = CloneStandby(
        host="pg-a",
        primary="pg-b",
        cluster="15/main",
        slot="s",
        expect_system_identifier="7",
        keep_s=60,
    )
    with pytest.raises(AdapterError, match=f"its old data is in {kept}"):
        clone_standby(action, ctx)
    (note,) = (tmp_path / KEPT).glob("*.json")
    seen = DataKept.model_validate_json(note.read_text())
    assert (seen.server, seen.path, seen.size_bytes) == ("pg-a", kept, 4096)


def test_a_copy_tells_of_the_old_data_before_its_standby_starts() -> None:
    assert _CLONE.index('echo "${size:-0} $kept"') < _CLONE.rindex('systemctl start "$unit"')


# --- a slot that is let go though a standby reads it -------------------------------------------------


class Slot:
    """A primary's slot whose reader comes back after it was ended, some times."""

    def __init__(self, returns: float) -> None:
        self.returns, self.there = returns, True

    def run(self, argv: list[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        said = ""
        if stdin and "pg_drop_replication_slot" in stdin:
            ended = "pg_terminate_backend" in stdin and self.returns <= 0
            self.returns -= 1
            said, self.there = ("1", False) if ended and self.there else ("0", self.there)
        elif stdin:
            said = str(int(self.there))
        return Completed(exit_code=0, stdout=said, stderr="")


def drop(slot: Slot, *, end_reader: bool, timeout_s: float = 10.0) -> bool:
    action = DropSlot(host="pg-b", cluster="15/main", slot="standby_home", end_reader=end_reader)
    ctx = SimpleNamespace(
        remote=lambda name: slot, timeout_s=timeout_s, run_id="r1", environment=SimpleNamespace(name="lab")
    )
    return drop_slot(action, ctx).changed  # type: ignore[arg-type]


def test_a_slot_in_use_goes_with_its_reader_where_its_standby_is_fenced_next() -> None:
    assert drop(Slot(returns=0), end_reader=True)
    assert drop(Slot(returns=1), end_reader=True), "a reader that came again is ended again"
    assert not drop(Slot(returns=0), end_reader=False)


def test_a_slot_that_stays_is_an_error_and_not_a_success() -> None:
    with pytest.raises(AdapterError, match="slot standby_home on pg-b stays"):
        drop(Slot(returns=inf), end_reader=True, timeout_s=0.0)
