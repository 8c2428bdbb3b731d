"""There and back on real parts: a planned move, one that is taken back, a failover, and the way home.

One city for the module; the tests stand in the order of what they leave behind.
"""

import csv
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from automation.adapters.nspawn.client import Supervisor
from automation.adapters.nspawn.console import Console
from automation.model.errors import AdapterError
from automation.model.evidence import Declaration
from tests.lab.checkout import Checkout, until
from tests.lab.test_failover import said

HOME, AWAY = "city-hall", "eoc"
GATE = ("--gate", "payments-db/home-unblock", "--answer", "yes", "--reason", "looked at the export")
ROLES = {"pg-a": "f", "pg-b": "t"}
# A machine that is busy, and a controller that is dead, let a pause last; how long is no matter here.
LONG = ("--pause", "5 min")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    city = Checkout("wayhome", "10.97", tmp_path_factory.mktemp("wayhome"))
    plan = city.root / "drtests/plans/city.yml"  # what is checked after a move is looked at here
    plan.write_text(
        plan.read_text().replace("checks: [drtests/checks]", "checks: [drtests/checks/test_databases.py]")
    )
    try:
        city.up()
        until(lambda: city.inv("dr.plan", "--drill", "planned-migration").returncode == 0, "all answer")
        yield city
    finally:
        city.down()


def roles(city: Checkout) -> dict[str, str]:
    city.connections.close()  # those to a host whose power was cut are dead
    return {host: city.sql(host, "select pg_is_in_recovery()") for host in ROLES}


def app_runs_at(city: Checkout) -> list[str]:
    asked = {host: city.sh(host, "systemctl is-active payments", check=False) for host in ("app-a", "app-b")}
    return [host for host, said in asked.items() if said == "active"]


def begun(city: Checkout, run: str, step: str) -> bool:
    journal = city.state / "runs" / run / "journal.jsonl"
    bodies = [json.loads(line)["body"] for line in journal.read_text().splitlines() if line.endswith("}")]
    return any(body["kind"] == "step-started" and body["step"] == step for body in bodies)


def kill_after(city: Checkout, plan: str, step: str, command: str, *words: str) -> str:
    """Type a command, kill -9 its process soon after a step began; give its run."""
    before = {path.name for path in (city.state / "runs").glob("*")}
    with city.start(command, *words) as running:

        def named() -> bool:
            return bool(city.last_run(plan)) and (
                city.last_run(plan) not in before or command == "run.resume"
            )

        until(named, "its run is there")
        run = city.last_run(plan)
        until(lambda: begun(city, run, step), f"{step} begins")
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
    assert running.returncode == -signal.SIGKILL
    return run


def test_a_planned_move_is_made_once_though_its_controller_is_killed_and_a_converge_leaves_it_there(
    city: Checkout,
) -> None:
    words = ("dr.migrate", "--site", HOME, *LONG)
    run = kill_after(city, f"migrate-{HOME}", "payments-db/demote", *words)
    done = city.inv("run.resume", "--run", run)
    said(done, 0, "pg-b serves", "0 of them beyond the announced", "acknowledged writes: 0 of")
    assert roles(city) == {"pg-a": "t", "pg-b": "f"}
    assert app_runs_at(city) == ["app-b"]
    assert city.sql("pg-b", "select slot_name, active from pg_replication_slots") == "standby_city_hall|t"
    assert city.sql("pg-a", "select count(*) from pg_replication_slots") == "0"
    city.must("provision.converge")
    assert roles(city) == {"pg-a": "t", "pg-b": "f"}
    assert app_runs_at(city) == ["app-b"]
    status = city.must("dr.status")
    assert "eoc (pg-b)" in status
    assert "eoc (app-b)" in status


def test_the_site_that_it_moved_to_can_be_failed_over_from(city: Checkout) -> None:
    said(city.inv("dr.readiness", "--site", AWAY), 0, "ready")
    planned = json.loads(
        city.must("dr.plan", "--plan", "city", "--site", AWAY, "--mode", "readiness", "--json")
    )
    assert {
        step["run"]["host"] for step in planned["steps"] if step["run"]["do"] == "nspawn.look_at_server"
    } == {"pg-b"}


def test_a_controller_killed_while_it_promotes_promotes_once(city: Checkout) -> None:
    words = ("dr.migrate", "--site", AWAY, *LONG)
    run = kill_after(city, f"migrate-{AWAY}", "payments-db/promote", *words)
    said(city.inv("run.resume", "--run", run), 0, "pg-a serves", "acknowledged writes: 0 of")
    assert roles(city) == ROLES
    assert app_runs_at(city) == ["app-a"]


def test_a_standby_that_does_not_replay_takes_nothing_over_and_all_is_taken_back(city: Checkout) -> None:
    """Received and on its disk, but not replayed: nobody knows that a promotion would keep it."""
    city.sh("pg-b", "pkill -STOP -f '^postgres: .*startup'")
    try:
        done = city.inv("dr.migrate", "--site", HOME, "--pause", "12 s")
    finally:
        city.sh("pg-b", "pkill -CONT -f '^postgres: .*startup'")
    said(done, 5, "has not replayed the last record of pg-a", "was taken back", "nothing was lost")
    assert roles(city) == ROLES
    assert app_runs_at(city) == ["app-a"]
    assert city.server("pg-a")["network"] == "connected"
    assert "standby.signal" not in city.sh("pg-a", "ls /var/lib/postgresql/15/main")
    city.await_streaming()
    said(city.inv("dr.migrate", "--site", AWAY), 4, "no service of the plan runs at eoc")


def lose_home(city: Checkout) -> None:
    """The standby lags, then home is lost with writes that only its primary has."""
    city.must("dr.readiness", "--site", HOME)
    done = city.inv("dr.drill", "--drill", "rolling-disaster")
    said(done, 0, "pg-b promoted", "lost writes are on the disk of the lost primary")
    city.must("lab.heal", "--fault", "link-cut", "--between", f"{HOME},{AWAY}")


def test_a_failback_is_refused_while_home_is_not_well(city: Checkout) -> None:
    lose_home(city)
    said(city.inv("dr.failback", "--site", HOME), 4, "is not well", "nothing was changed", "lab.heal")
    city.must("lab.heal", "--fault", "power-loss", "--site", HOME)


def test_a_console_is_for_fenced_servers_whose_management_answers(city: Checkout) -> None:
    lab = Supervisor(city.state, city.name)
    with pytest.raises(AdapterError, match="its console is for servers that are"):
        Console(lab, "pg-b").run(["true"])
    with pytest.raises(AdapterError, match="nothing has booted"):
        Console(lab, "pg-a").run(["true"])
    city.ask("isolate_site", site=HOME, management=False)
    with pytest.raises(AdapterError, match="management of site city-hall does not answer"):
        Console(lab, "pg-a").run(["true"])
    city.ask("rejoin_site", site=HOME)


@pytest.fixture
def kept_writes(city: Checkout) -> set[str]:
    """References that the drill's report lists as lost."""
    report = json.loads((city.state / "runs" / city.last_run("rolling-disaster") / "report.json").read_text())
    return {reference for row in report["services"] for reference in row["loss"]["missing"]}


def test_the_way_home_holds_the_old_primary_down_keeps_it_and_exports_what_only_it_has(
    city: Checkout, kept_writes: set[str]
) -> None:
    assert kept_writes, "the standby lagged by 2 s and nothing was lost: the fault did not bite"
    said(city.inv("dr.failback", "--site", HOME, *LONG), 5, "waiting for a person's answer", "--answer yes")
    run = city.last_run("failback-city-hall")
    assert city.server("pg-a")["network"] == "blocked"
    lab = Console(Supervisor(city.state, city.name), "pg-a")
    assert lab.run(["systemctl", "is-enabled", "postgresql@15-main"]).stdout.strip() == "masked"
    assert lab.run(["systemctl", "start", "postgresql@15-main"]).exit_code != 0
    rows = list(csv.DictReader((city.state / f"runs/{run}/artifacts/exported-payments.csv").open()))
    assert kept_writes <= {row["reference"] for row in rows}
    assert all(int(row["amount_cents"]) > 0 for row in rows)
    assert f"main.kept-{run}" in lab.run(["ls", "/var/lib/postgresql/15"]).stdout


def test_a_failback_that_is_given_up_leaves_home_fenced(city: Checkout) -> None:
    run = city.last_run("failback-city-hall")
    city.must("run.abort", "--run", run, "--undo", "--reason", "not today")
    old = city.server("pg-a")
    assert (old["power"], old["autostart"], old["network"]) == ("off", False, "blocked")
    assert city.sql("pg-b", "select count(*) from pg_replication_slots") == "0"


def test_home_again_though_its_controller_is_killed_while_it_rewinds(
    city: Checkout, kept_writes: set[str]
) -> None:
    said(city.inv("dr.failback", "--site", HOME, *LONG), 5, "waiting for a person's answer")
    plan = "failback-city-hall"
    run = city.last_run(plan)
    kill_after(city, plan, "payments-db/home-rebuild", "run.resume", "--run", run, *GATE)
    said(
        city.inv("run.resume", "--run", run), 0, "pg-a serves", "acknowledged writes: 0 of", "old data: pg-a:"
    )
    assert roles(city) == ROLES
    assert app_runs_at(city) == ["app-a"]
    server = city.server("pg-a")
    assert (server["power"], server["autostart"], server["network"]) == ("on", True, "connected")
    at_home = set(city.sql("pg-a", "select reference from payments", database="payments").splitlines())
    assert not kept_writes & at_home
    assert f"main.kept-{run}" in city.must("dr.status")
    city.await_streaming()


def test_what_came_home_can_be_lost_again_and_comes_home_by_a_copy(city: Checkout) -> None:
    """A real failover of a primary that lives on, cut off; then all of its data is copied anew."""
    city.must("dr.readiness", "--site", HOME)
    city.ask("isolate_site", site=HOME, management=True)
    told = Declaration(
        sites=(HOME,), reason="cut off", exercise=False, declared_by="test", declared_at=datetime.now(UTC)
    )
    folder = city.state / "declarations"
    folder.mkdir(exist_ok=True)
    (folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-0b1e.json").write_text(told.model_dump_json())
    said(city.inv("dr.failover", "--site", HOME), 0, "pg-b serves")
    city.ask("rejoin_site", site=HOME)
    said(
        city.inv("dr.failback", "--site", HOME, "--rebuild", "basebackup", *LONG),
        5,
        "waiting for a person's answer",
    )
    run = city.last_run("failback-city-hall")
    said(city.inv("run.resume", "--run", run, *GATE), 0, "pg-a serves", "acknowledged writes: 0 of")
    assert roles(city) == ROLES
    assert "postgresql@15-main.service" in city.sh("pg-a", "systemctl list-units --state=active --plain")


def test_done_again_the_actions_change_nothing(city: Checkout) -> None:
    """tests/fakes/city.py relies on this."""
    from automation.adapters import postgresql, systemd
    from automation.engine.context import RunContext
    from automation.model.actions import DropSlot, Follow, MakeSlot, ProveStandby, RestorePrimary, StopUnit

    ctx = RunContext(
        run_id=f"again-{time.time_ns()}",
        environment=city.environment,
        inventory=city.inventory,
        state=city.state,
        images=city.state,
        artifacts=city.state,
        connections=city.connections,
        progress=lambda step, text: None,
        step_id="again",
    )
    seen = postgresql.observe("pg-a", "15/main", city.connections.remote("pg-a"))
    pair = {"cluster": "15/main", "expect_system_identifier": seen.system_identifier}
    follow = Follow.model_validate({"host": "pg-b", "primary": "pg-a", "slot": "standby_eoc", **pair})
    back = RestorePrimary.model_validate(
        {"host": "pg-a", "standby": "pg-b", "expect_timeline": seen.timeline, **pair}
    )
    assert postgresql.follow(follow, ctx).summary == "pg-b runs as a standby of pg-a"
    assert not postgresql.make_slot(MakeSlot(host="pg-a", cluster="15/main", slot="standby_eoc"), ctx).changed
    assert not postgresql.drop_slot(DropSlot(host="pg-a", cluster="15/main", slot="standby_eoc"), ctx).changed
    assert not postgresql.restore_primary(back, ctx).changed
    assert not systemd.stop_unit(StopUnit(host="app-b", unit="payments.service", disable=True), ctx).changed
    wrong = follow.model_copy(update={"host": "pg-a", "primary": "pg-b"})
    with pytest.raises(AdapterError, match="it is a primary that serves"):
        postgresql.follow(wrong, ctx.for_step("wrong", 30.0))
    assert roles(city) == ROLES
    proof = ProveStandby(
        host="pg-b",
        cluster="15/main",
        expect_system_identifier=seen.system_identifier,
        primary="pg-a",
    )
    assert postgresql.prove_standby(proof, ctx).summary.startswith("pg-b runs in recovery")
    with pytest.raises(AdapterError, match="it runs and is not in recovery"):
        postgresql.prove_standby(proof.model_copy(update={"host": "pg-a", "primary": "pg-b"}), ctx)
    read = DropSlot(host="pg-a", cluster="15/main", slot="standby_eoc", end_reader=True)
    assert postgresql.drop_slot(read, ctx).changed, "its reader streams, and is ended"
    assert city.sql("pg-a", "select count(*) from pg_replication_slots") == "0"
    assert postgresql.make_slot(MakeSlot(host="pg-a", cluster="15/main", slot="standby_eoc"), ctx).changed
    city.await_streaming()
