"""Services rebuilt from backup in isolation, by the command that people type: met, cut off, given up, fooled.

In the city of all tests of backups; every drill removes what it made, so their order does not matter.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from automation.engine.journal import read_journal
from automation.model.actions import ProveIsolated
from automation.model.plan import Plan
from automation.model.records import StepEnded, StepStarted
from tests.lab.checkout import Checkout, until

DRILL = "restore-from-backup"
SERVER = "drill-b"
PLANTED = "/var/lib/mainstay/scratch/left-by-a-drill"


@pytest.fixture(scope="module")
def city(backup_checkout: Checkout) -> Checkout:
    city = backup_checkout
    city.sh("bk-b", "mkdir -p /var/lib/mainstay/scratch")
    take_backup(city)
    until(lambda: can_be_restored(city), "a moment after the backup can be reached", patience_s=120)
    return city


@pytest.fixture(autouse=True)
def _nothing_stays(city: Checkout) -> Iterator[None]:
    """Whatever a drill met, its server, its key and its copy are gone, and production serves."""
    yield
    assert SERVER not in city.ask("status")["servers"]
    assert city.inventory.server(SERVER).address not in (city.state / "known_hosts").read_text()
    assert city.sql("pg-a", "select pg_is_in_recovery()") == "f"
    assert "/00000002" not in archive(city), "a second timeline"
    city.await_streaming()


def take_backup(city: Checkout) -> None:
    """Take one into the copy that the drill restores from; the other copies are of no use to it."""
    argv = ["sudo", "-n", "-u", "postgres", "pgbackrest", "--stanza=payments", "--repo=2", "--type=full"]
    done = city.connections.remote("bk-b").run([*argv, "backup"], timeout_s=300)
    assert done.exit_code == 0, done.stderr


def pay(city: Checkout, reference: str) -> None:
    """Take a payment as a client does."""
    body = json.dumps({"reference": reference, "account": "a", "amount_cents": 100})
    address = city.inventory.server("app-a").address
    post = (
        "import sys, urllib.request; r = urllib.request.Request(sys.argv[1], sys.argv[2].encode(),"
        " {'Content-Type': 'application/json'}); urllib.request.urlopen(r, timeout=5)"
    )
    city.sh("client-1", f"python3 -c \"{post}\" http://{address}:8080/payments '{body}'")


def can_be_restored(city: Checkout) -> bool:
    """Take one more payment and archive it; say whether there is a moment to restore to."""
    pay(city, f"after-the-backup-{time.time_ns()}")
    city.sql("pg-a", "select pg_switch_wal()")
    return city.inv("dr.plan", "--drill", DRILL).returncode == 0


def archive(city: Checkout) -> str:
    """Every file of the archive that the drill restores from."""
    return city.sh("bk-b", "find /srv/pgbackrest/eoc-pg/archive -type f ! -name '*.tmp' | sort")


def folder(city: Checkout) -> Path:
    return city.state / "runs" / city.last_run(DRILL)


def report(city: Checkout) -> dict[str, Any]:
    words: dict[str, Any] = json.loads(city.must("dr.report", "--run", folder(city).name, "--format", "json"))
    return words


def started(run: Path) -> list[str]:
    events = read_journal(run / "journal.jsonl")
    return [event.body.step for event in events if isinstance(event.body, StepStarted)]


def succeeded(run: Path) -> list[str]:
    bodies = [event.body for event in read_journal(run / "journal.jsonl")]
    return [one.step for one in bodies if isinstance(one, StepEnded) and one.status == "succeeded"]


def kill_in(city: Checkout, step: str) -> Path:
    """Begin the drill, and kill -9 its controller once a step has begun; give the run."""
    before = set((city.state / "runs").iterdir())
    drill = city.start("dr.drill", "--drill", DRILL)

    def has_begun() -> bool:
        new = [run for run in (city.state / "runs").iterdir() if run not in before]
        return bool(new) and step in started(new[0])

    try:
        until(has_begun, f"{step} has begun", patience_s=120)
    finally:
        os.kill(drill.pid, signal.SIGKILL)
        drill.communicate()
    return folder(city)


def test_a_drill_rebuilds_proves_and_leaves_everything_as_it_was(city: Checkout) -> None:
    pay(city, "before-the-drill")
    was = archive(city).splitlines()
    done = city.inv("dr.drill", "--drill", DRILL)
    assert done.returncode == 0, done.stdout + done.stderr
    told = report(city)
    isolated = told["isolated"]
    assert told["verdict"] == "met"
    assert isolated["audit"]["leftovers"] == []
    assert isolated["audit"]["compared"] > 50
    assert {row["service"]: row["verdict"] for row in told["services"]} == {
        "payments-db": "met",
        "payments": "met",
    }
    (rebuilt,) = isolated["rebuilt"]
    assert (rebuilt["archive_mode"], rebuilt["slots"], rebuilt["proven"]) == ("off", 0, True)
    beside = {one["service"]: one for one in told["copies"]["compared"]}
    assert {(name, one["host"]) for name, one in beside.items()} == {
        ("payments-db", SERVER),
        ("payments", SERVER),
    }
    assert all(one["weaker"] == [] and one["alike"] == one["controls"] > 10 for one in beside.values())
    proof = isolated["proof"]
    assert len(proof["refused"]) >= 11
    assert all(how != "reached" for how in (*proof["refused"].values(), *proof["kept_out"].values()))
    assert any(what.startswith("link bank") for what in proof["refused"])
    assert set(was) <= set(archive(city).splitlines())
    listed = json.loads(city.must("backup.list", "--resource", "payments-db", "--json"))
    assert "L5" in json.dumps(listed) or '"level": 5' in json.dumps(listed)


def test_a_controller_that_is_killed_in_the_restore_is_resumed_and_a_leftover_is_found(
    city: Checkout,
) -> None:
    run = kill_in(city, "payments-db/restore")
    city.sh("bk-b", f"mkdir {PLANTED}")
    try:
        done = city.inv("run.resume", "--run", run.name)
    finally:
        city.sh("bk-b", f"rmdir {PLANTED}")
    assert done.returncode == 6, done.stdout + done.stderr
    assert PLANTED in done.stderr
    told = report(city)
    assert told["verdict"] == "failed"
    assert [one["thing"] for one in told["isolated"]["audit"]["leftovers"]] == [PLANTED]
    assert succeeded(run).count("payments-db/restore") == 1
    assert told["isolated"]["rebuilt"][0]["proven"]


def test_a_drill_that_is_given_up_half_way_cleans_up(city: Checkout) -> None:
    run = kill_in(city, "drill/prepare")
    assert SERVER in city.ask("status")["servers"]
    done = city.inv("run.abort", "--run", run.name, "--reason", "enough")
    assert done.returncode == 0, done.stderr
    told = report(city)
    assert told["isolated"]["audit"]["leftovers"] == []
    assert told["isolated"]["audit"]["not_listed_again"] == []
    assert "payments-db/restore" not in started(run)


def test_an_isolation_with_a_hole_stops_the_drill_before_anything_is_brought_there(city: Checkout) -> None:
    """The bank is said to stand where the server may go: it is reached, so nothing is restored."""
    path = city.root / "drtests/drills" / f"{DRILL}.yml"
    words = path.read_text()
    path.write_text(words.replace("client-1:9443", "bk-b:22"))
    try:
        done = city.inv("dr.drill", "--drill", DRILL)
    finally:
        path.write_text(words)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "is not isolated: it reaches link bank" in done.stderr
    run = folder(city)
    assert "drill/prepare" not in started(run)
    assert "payments-db/restore" not in started(run)
    plan = Plan.model_validate_json((run / "plan.json").read_bytes())
    assert isinstance(plan.step("drill/isolated").run, ProveIsolated)
    assert report(city)["isolated"]["audit"]["leftovers"] == []


def test_a_silence_that_is_everybodys_proves_nothing(city: Checkout) -> None:
    """What must be out of reach has to answer somebody: a bank that is down stops the drill."""
    city.sh("client-1", "systemctl stop outside-world.service")
    address = city.inventory.server("client-1").address
    city.sh(
        "client-1",
        f"nft add table ip gone; nft add chain ip gone in '{{ type filter hook input priority 0; }}'"
        f"; nft add rule ip gone in ip daddr {address} tcp dport 9443 drop",
    )
    try:
        done = city.inv("dr.drill", "--drill", DRILL)
    finally:
        city.sh("client-1", "nft delete table ip gone; systemctl start outside-world.service")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "proves nothing" in done.stderr
