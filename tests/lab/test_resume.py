"""Controllers killed with kill -9 while their work runs on a host; resumed, it was done once.

One pair of database servers for the module; the tests stand in the order of what they leave behind.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from automation.adapters import ssh
from automation.adapters.postgresql import observe
from automation.engine import units
from automation.engine.dispatch import perform, verify
from automation.engine.fold import Folded, fold
from automation.engine.journal import read_journal
from automation.engine.run import make_run_folder, run_plan
from automation.engine.units import FOLDER, unit_name
from automation.model.actions import (
    Action,
    BlockServer,
    CloneStandby,
    PowerOffServer,
    Promote,
    SwapAddress,
)
from automation.model.errors import AdapterError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan, Step
from automation.model.records import StepStarted, StepVerified
from tests.lab.city import City

CONTROLLER = Path(__file__).with_name("controller.py")
# systemd's message "unit starts", one for each time: systemd.journal-fields(7), sd-messages.h.
STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


@pytest.fixture(scope="module")
def city(folder: Path) -> Iterator[City]:
    city = City("resume", "10.62", folder)
    try:
        city.up()
        assert city.converge(limit="postgresql:dns") > 0
        city.sql("pg-a", "create table kept (n int)", "insert into kept values (1)")
        yield city
    finally:
        city.down()


def one_step(city: City, run: Action, timeout_s: float = 60.0) -> Plan:
    step = Step(id="db/step", run=run, why="test", timeout_s=timeout_s, on_failure="halt")
    return Plan(name="resume", environment=city.environment.name, mode="apply", steps=(step,))


def kill_in_the_middle(city: City, folder: Path, run_id: str, plan: Plan, middle: Callable[[], bool]) -> None:
    """Start a controller and kill -9 it when the work on the host is in its middle."""
    path = folder / f"{run_id}.json"
    path.write_text(plan.model_dump_json())
    argv = [sys.executable, str(CONTROLLER), str(folder), run_id, "start", str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        deadline = time.monotonic() + 30
        while not middle():
            assert running.poll() is None, running.communicate()[0]
            assert time.monotonic() < deadline, "the work never began"
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)


def resume(folder: Path, run_id: str) -> str:
    argv = [sys.executable, str(CONTROLLER), str(folder), run_id, "resume"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def folded(city: City, run_id: str) -> Folded:
    return fold(read_journal(city.state / "runs" / run_id / "journal.jsonl"))


def starts(city: City, host: str, run_id: str) -> int:
    """Count how often systemd on a host has started units of a run."""
    unit = unit_name(run_id, "db/step", 1)
    words = ["journalctl", "--quiet", "--output=cat", f"--unit={unit}*", f"MESSAGE_ID={STARTING}"]
    return len(city.root(host, *words).splitlines())


def has_begun(city: City, host: str, run_id: str) -> bool:
    path = f"{FOLDER}/{unit_name(run_id, 'db/step', 1)}/began"
    return city.connections.remote(host).run(["sudo", "-n", "test", "-e", path]).exit_code == 0


def identity(city: City, host: str) -> str:
    return observe(host, "15/main", city.connections.remote(host)).system_identifier


def test_a_unit_costs_little_and_keeps_what_it_said(city: City) -> None:
    ctx = city.run_context("cost").for_step("db/step", 20.0)
    said = ctx.run_unit("pg-b", ["sh", "-c", "cat; echo no >&2; exit 7"], stdin="hello")
    assert (said.exit_code, said.stdout, said.stderr) == (7, "hello", "no\n")
    assert ctx.run_unit("pg-b", ["echo", "another"]) == said, "the name has run: it is told again"
    assert (ctx.unit_state("pg-b"), starts(city, "pg-b", "cost")) == ("ended", 1)
    assert ctx.for_step("db/step", 20.0, attempt=2).unit_state("pg-b") == "absent"


def test_a_unit_whose_input_is_cut_off_never_begins(city: City) -> None:
    """A controller that is killed while it sends looks like the end of what it sends."""
    remote, name = city.connections.remote("pg-b"), unit_name("short", "db/step", 1)
    words = [name, "5", units._WORK, "exec cat", str(len("drop nothing"))]
    cut = remote.run(["sudo", "-n", "sh", "-c", units._START_OR_JOIN, "unit", *words], stdin="drop")
    assert (cut.exit_code, has_begun(city, "pg-b", "short")) == (units._NOT_STARTED, False)
    ctx = city.run_context("short").for_step("db/step", 20.0)
    assert ctx.unit_state("pg-b") == "absent"
    assert ctx.run_unit("pg-b", ["cat"], stdin="drop nothing").stdout == "drop nothing"


def test_a_file_that_is_cut_off_leaves_the_old_one(city: City) -> None:
    remote = city.connections.remote("pg-b")
    remote.put("/tmp/kept.txt", b"as it was")
    words = ["/tmp/kept.txt", "600", str(len("as it will be"))]
    assert remote.run(["sh", "-c", ssh._PUT, "put", *words], stdin="as it").exit_code == 1
    assert remote.get("/tmp/kept.txt") == b"as it was"
    assert remote.run(["sh", "-c", "ls /tmp/kept.txt*"]).stdout.split() == ["/tmp/kept.txt"]


def test_a_lost_connection_joins_the_unit_that_runs(city: City) -> None:
    ctx = city.run_context("cut").for_step("db/step", 20.0)
    cut = "sleep 1; pkill -KILL -o -u ops sshd; sleep 1; date +%s%N"  # -o: the oldest, our kept connection
    said = ctx.run_unit("pg-b", ["sh", "-c", cut])
    assert (said.exit_code, starts(city, "pg-b", "cut")) == (0, 1)


def test_a_controller_killed_while_a_standby_is_copied_copies_it_once(city: City, folder: Path) -> None:
    action = CloneStandby(
        host="pg-b",
        primary="pg-a",
        cluster="15/main",
        expect_system_identifier=identity(city, "pg-a"),
        slot="standby_eoc",
        max_rate_kib_s=8192,
    )
    kill_in_the_middle(
        city, folder, "clone", one_step(city, action), lambda: _is_copying(city)
    )  # fmt: skip
    assert resume(folder, "clone")
    assert folded(city, "clone").succeeded == {"db/step": None}
    assert starts(city, "pg-b", "clone") == 1
    kinds = [event.body for event in read_journal(city.state / "runs/clone/journal.jsonl")]
    assert [body.progress for body in kinds if isinstance(body, StepVerified)] == ["in_progress"]
    assert sum(isinstance(body, StepStarted) for body in kinds) == 1
    city.sql("pg-a", "insert into kept values (2)")
    _await(lambda: city.sql("pg-b", "select pg_is_in_recovery(), count(*) from kept") == "t|2")
    assert "main.kept-clone" in city.root("pg-b", "ls", "/var/lib/postgresql/15")


def _is_copying(city: City) -> bool:
    done = city.connections.remote("pg-b").run(["pgrep", "-x", "pg_basebackup"])
    return done.exit_code == 0


OTHER = "7000000000000000001"


def promote_wrong(host: str, seen: PostgresqlCluster, **changes: object) -> Promote:
    action = Promote(
        host=host,
        cluster="15/main",
        expect_system_identifier=seen.system_identifier,
        expect_timeline=seen.timeline,
    )
    return action.model_copy(update=changes)


def clone_wrong(host: str, primary: str, identifier: str) -> CloneStandby:
    return CloneStandby(
        host=host,
        primary=primary,
        cluster="15/main",
        expect_system_identifier=identifier,
        slot="standby_eoc",
    )


Guard = Callable[[PostgresqlCluster], Action]
GUARDS: dict[str, tuple[Guard, str]] = {
    "a standby of another cluster": (
        lambda seen: promote_wrong("pg-b", seen, expect_system_identifier=OTHER),
        f"was not promoted: system identifier .*, expected {OTHER}; nothing was changed",
    ),
    "a standby on another timeline": (
        lambda seen: promote_wrong("pg-b", seen, expect_timeline=seen.timeline + 1),
        "was not promoted: it is on timeline .*, expected .*; nothing was changed",
    ),
    "a primary that was never a standby": (
        lambda seen: promote_wrong("pg-a", seen),
        "was not promoted: it is a primary on timeline .* and was never a standby of this plan",
    ),
    "a copy over a primary that serves": (
        lambda seen: clone_wrong("pg-a", "pg-b", seen.system_identifier),
        "was not made a standby of pg-b: it is a primary that serves",
    ),
    "a copy of another cluster": (
        lambda seen: clone_wrong("pg-b", "pg-a", OTHER),
        f"was not made a standby of pg-a: .* has system identifier .*, expected {OTHER}",
    ),
}


@pytest.mark.parametrize("name", GUARDS)
def test_what_is_not_as_expected_is_left_as_it_is(name: str, city: City) -> None:
    before = [observe(host, "15/main", city.connections.remote(host)) for host in ("pg-a", "pg-b")]
    folders = [city.root(host, "ls", "/var/lib/postgresql/15") for host in ("pg-a", "pg-b")]
    guard, words = GUARDS[name]
    run_id = f"guard-{list(GUARDS).index(name)}"
    make_run_folder(city.state, run_id)
    plan = one_step(city, guard(before[1]))
    failure = run_plan(plan, city.run_context(run_id), actor="test").failures["db/step"]
    assert re.search(words, failure.message), failure.message
    assert failure.known
    assert [observe(host, "15/main", city.connections.remote(host)) for host in ("pg-a", "pg-b")] == before
    assert [city.root(host, "ls", "/var/lib/postgresql/15") for host in ("pg-a", "pg-b")] == folders
    _await(lambda: city.sql("pg-a", "select state from pg_stat_replication") == "streaming")


def test_a_controller_killed_while_a_standby_is_promoted_promotes_it_once(city: City, folder: Path) -> None:
    seen = observe("pg-b", "15/main", city.connections.remote("pg-b"))
    action = Promote(
        host="pg-b",
        cluster="15/main",
        expect_system_identifier=seen.system_identifier,
        expect_timeline=seen.timeline,
    )
    city.root("pg-a", "systemctl", "stop", "postgresql@15-main.service")
    city.root("pg-b", "pkill", "-STOP", "-f", "^postgres: .*startup")  # promotion waits for this one
    kill_in_the_middle(
        city, folder, "promote", one_step(city, action), lambda: has_begun(city, "pg-b", "promote")
    )  # fmt: skip
    city.root("pg-b", "pkill", "-CONT", "-f", "^postgres: .*startup")
    assert resume(folder, "promote")
    assert starts(city, "pg-b", "promote") == 1
    after = observe("pg-b", "15/main", city.connections.remote("pg-b"))
    assert (after.in_recovery, after.timeline) == (False, seen.timeline + 1)
    assert city.sql("pg-b", "insert into kept values (3)", "select count(*) from kept") == "3"


def test_what_the_fake_city_promises_is_so_done_again_an_action_changes_nothing(city: City) -> None:
    """tests/fakes/city.py relies on this; the promotion before was of another run."""
    now = observe("pg-b", "15/main", city.connections.remote("pg-b"))
    promote = Promote(
        host="pg-b",
        cluster="15/main",
        expect_system_identifier=now.system_identifier,
        expect_timeline=now.timeline - 1,
    )
    ctx = city.run_context("again").for_step("db/step", 30.0)
    seen = verify(promote, ctx)
    assert (seen.state, seen.outcome is not None) == ("done", True), "no unit of this run, and yet promoted"
    old, new = (city.inventory.server(name).address for name in ("pg-a", "pg-b"))
    actions: tuple[Action, ...] = (
        PowerOffServer(host="pg-a"),
        BlockServer(host="pg-a"),
        SwapAddress(name="pay-db.city.lab", old=old, new=new, servers=("dns-b",), required=("dns-b",)),
    )
    assert [perform(action, ctx).changed for action in actions] == [True, True, True]
    assert [perform(action, ctx).changed for action in (promote, *actions)] == [False] * 4
    assert verify(promote, ctx).state == "in_progress", "its own unit has ended; joining it reads its answer"
    stale = SwapAddress(
        name="pay-db.city.lab", old="192.0.2.1", new="192.0.2.2", servers=("dns-b",), required=("dns-b",)
    )
    with pytest.raises(AdapterError, match="refused to change"):
        perform(stale, ctx)
    wrong = promote.model_copy(update={"expect_timeline": now.timeline + 5})
    with pytest.raises(AdapterError, match="not promoted"):
        perform(wrong, city.run_context("wrong").for_step("db/step", 30.0))


def _await(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)
