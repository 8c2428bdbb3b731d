"""Drills of the whole city by the commands that people type, and what a dead controller leaves."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from threading import Timer

import pytest

from automation.commands._campaign import DISKS, DrillRow, FreshLab, run_campaign
from automation.commands._drill import restore_disks
from automation.commands._past import read_past
from automation.commands._session import Session
from automation.commands._subject import read_subject
from automation.commands.demo import DRILLS
from automation.commands.lab import take_down
from automation.engine.journal import read_journal
from automation.model.environment import state_root
from automation.model.plan import Plan
from automation.recovery.prediction import predict
from tests.conftest import ROOT
from tests.lab.traces import machine, processes

INV = str(ROOT / "inv")


@pytest.fixture(scope="module")
def city(lab_session: Session, fresh_lab: FreshLab) -> Session:
    """The lab, converged, with its disks saved."""
    if lab_session.environment.name != "lab":
        pytest.skip("these tests type --env lab")
    return lab_session


def inv(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([INV, *words], capture_output=True, text=True, check=False)


def drilled(name: str) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    done = inv("dr.drill", "--env", "lab", "--drill", name, "--json")
    assert done.stdout, done.stderr
    return done, json.loads(done.stdout)


def test_an_asynchronous_loss_is_counted_exactly(city: Session) -> None:
    """The ledger's lost writes are those on the lost disk, opened isolated, and not at the new primary."""
    restore_disks(city, DISKS)
    done, report = drilled("rolling-disaster")
    assert done.returncode == 0, done.stderr
    artifacts = city.state / "runs" / str(report["run_id"]) / "artifacts"
    kept = set((artifacts / "writes-payments.txt").read_text().splitlines())
    on_lost_disk = set((artifacts / "writes-payments-lost-primary.txt").read_text().splitlines())
    lines = [json.loads(line) for line in (artifacts / "witness.jsonl").read_text().splitlines()]
    acknowledged = {line["reference"] for line in lines if line.get("write") == "acknowledged"}
    services = {row["service"]: row for row in report["services"]}  # type: ignore[attr-defined]
    missing = set(services["payments"]["loss"]["missing"])
    assert missing, "the standby lagged by 2 s and nothing was lost: the fault did not bite"
    assert missing == (acknowledged & on_lost_disk) - kept
    assert missing == acknowledged - kept


def test_a_drill_leaves_its_evidence(city: Session) -> None:
    run = sorted((city.state / "runs").glob("*/report.json"))[-1].parent
    assert len(list(read_journal(run / "journal.jsonl"))) > 20
    page = (run / "report.html").read_text()
    assert "<script" not in page
    assert "shared-kernel" in page
    assert run.name in inv("run.list", "--env", "lab").stdout


def test_the_next_drill_is_predicted_from_what_this_one_took(city: Session) -> None:
    run = sorted((city.state / "runs").glob("*/report.json"))[-1].parent
    plan, subject = Plan.model_validate_json((run / "plan.json").read_bytes()), read_subject(run)
    assert subject
    targets = {name: target.rto_s for name, target in subject.targets.items()}
    found = {
        one.service: one for one in predict(plan, subject.services, targets, read_past(city.state)).services
    }
    assert set(found) == {"payments-db", "payments", "gis-db", "gis"}
    assert all(one.median_s and not one.late and one.path[0] == "detect" for one in found.values())
    assert "payments-db/promote" in found["payments-db"].path
    assert found["payments"].path[-1] == "payments/dns-web"


def test_a_fenced_host_is_not_brought_back(city: Session) -> None:
    done = inv("lab.up", "--env", "lab")
    assert done.returncode == 3, done.stderr
    assert "pg-a (fenced" in done.stderr


def test_a_second_drill_in_a_failed_over_city_is_refused(city: Session) -> None:
    done = inv("dr.drill", "--env", "lab", "--drill", "site-loss")
    assert (done.returncode, "not a standby" in done.stderr) == (4, True), done.stderr


def test_an_rpo_of_zero_is_refused_while_replication_is_asynchronous(city: Session) -> None:
    restore_disks(city, DISKS)
    done = inv("dr.drill", "--env", "lab", "--drill", "site-loss-synchronous")
    assert done.returncode == 5
    assert "replication is asynchronous" in done.stderr
    assert "fault/" not in done.stderr.split("not started")[0]


def test_a_standby_that_is_weaker_than_its_primary_fails_a_drill_that_met_all_else(city: Session) -> None:
    restore_disks(city, DISKS)
    plant = "echo 'PermitRootLogin yes' >/etc/ssh/sshd_config.d/00-planted.conf && systemctl reload ssh"
    assert city.remote("pg-b").run(["sudo", "-n", "sh", "-c", plant]).exit_code == 0
    done, report = drilled("wan-partition")
    assert done.returncode == 6, done.stderr
    assert "pg-b is weaker than pg-a: No direct root login over SSH (high)" in done.stderr
    assert report["verdict"] == "missed"
    assert {row["verdict"] for row in report["services"]} == {"met"}  # type: ignore[attr-defined]
    compared = {one["service"]: one for one in report["copies"]["compared"]}  # type: ignore[index]
    (weak,) = compared["payments-db"]["weaker"]
    assert (weak["control"], weak["state"]) == ("lin.ssh.root-login", "fail")
    assert '"yes"' in weak["observed"]
    assert compared["payments"]["weaker"] == []
    assert compared["payments"]["controls"] == compared["payments"]["alike"] > 10


@pytest.fixture
def rows(city: Session, fresh_lab: FreshLab, tmp_path: Path) -> list[DrillRow]:
    return run_campaign(city, ["site-loss-synchronous"], 3, results=tmp_path, lab=fresh_lab)


def test_no_acknowledged_write_is_lost_in_synchronous_drills(rows: list[DrillRow]) -> None:
    assert [row.verdict for row in rows] == ["met"] * 3
    counted = [one for row in rows for one in row.services if one.service in ("payments-db", "payments")]
    assert len(counted) == 6
    assert all(one.acknowledged > 10 and one.missing == 0 for one in counted), "GIS takes no numbered writes"


def test_databases_and_vms_come_home_together(city: Session) -> None:
    """The last of those drills left the city at its recovery site."""
    healed = inv("lab.heal", "--env", "lab", "--site", "city-hall", "--fault", "power-loss")
    assert healed.returncode == 0, healed.stderr
    asked = inv("dr.drill", "--env", "lab", "--drill", "failback")
    assert (asked.returncode, "waiting for a person's answer" in asked.stderr) == (5, True), asked.stderr
    run = max(path.parent for path in (city.state / "runs").glob("*/plan.json"))
    answer = ["--gate", "payments-db/home-unblock", "--answer", "yes", "--reason", "exercise"]
    done = inv("run.resume", "--env", "lab", "--run", run.name, *answer)
    assert done.returncode == 0, done.stderr
    report = json.loads((run / "report.json").read_bytes())
    verdicts = {row["service"]: row["verdict"] for row in report["services"]}
    assert verdicts == dict.fromkeys(("payments-db", "payments", "gis-db", "gis"), "met")
    shown = json.loads(inv("provision.show", "--env", "lab", "--json").stdout)["servers"]
    sites = {one["name"]: one["site"] for one in shown if one["name"].startswith("gis-")}
    assert sites == {"gis-app-a": "city-hall", "gis-db-a": "city-hall"}


@pytest.mark.parametrize("name", ["gis-test-failover", "portal-test-failover"])
def test_copies_come_up_in_isolation_and_leave_nothing(city: Session, name: str) -> None:
    restore_disks(city, DISKS)
    if name.startswith("portal"):
        saved = inv("backup.run", "--env", "lab", "--resource", "portal-images,portal-db")
        assert saved.returncode == 0, saved.stderr
    done, report = drilled(name)
    assert done.returncode == 0, done.stderr
    assert (report["verdict"], report["source"]) == ("met", "simulated")


def test_a_pilot_light_comes_home_after_its_region_was_lost(city: Session) -> None:
    restore_disks(city, DISKS)
    saved = inv("backup.run", "--env", "lab", "--resource", "portal-images,portal-db")
    assert saved.returncode == 0, saved.stderr
    done, _ = drilled("region-loss")
    assert done.returncode == 0, done.stderr
    healed = inv("lab.heal", "--env", "lab", "--site", "aws-east", "--fault", "power-loss")
    assert healed.returncode == 0, healed.stderr
    asked = inv("dr.drill", "--env", "lab", "--drill", "region-failback")
    assert (asked.returncode, "waiting for a person's answer" in asked.stderr) == (5, True), asked.stderr
    run = max(path.parent for path in (city.state / "runs").glob("*/plan.json"))
    for gate, code in (("portal/way-keep", 5), ("portal/rest-agreed", 0)):
        answer = ["--gate", gate, "--answer", "yes", "--reason", "exercise"]
        done = inv("run.resume", "--env", "lab", "--run", run.name, *answer)
        assert done.returncode == code, done.stderr
    report = json.loads((run / "report.json").read_bytes())
    (row,) = report["services"]
    assert (row["service"], row["verdict"], row["loss"]["rpa_s"]) == ("portal", "met", 0.0)
    shown = json.loads(inv("provision.show", "--env", "lab", "--json").stdout)["servers"]
    sites = {one["name"]: one["site"] for one in shown if one["name"].startswith("portal-web")}
    assert sites == {"portal-web-e": "aws-east"}


# --- a dead controller ------------------------------------------------------------------------------


def killed(words: list[str], until: str, limit_s: float = 60.0) -> None:
    """Start a command and kill -9 its whole process when it has said something."""
    with subprocess.Popen(
        [INV, *words], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stderr is not None
        timer = Timer(limit_s, running.kill)
        timer.start()
        said = any(until in line for line in running.stderr)
        timer.cancel()
        assert said, f"{words} never said {until!r}"
        assert running.poll() is None, f"{words} ended before it was killed"
        os.kill(running.pid, signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL


def test_a_controller_killed_during_a_drill_leaves_what_lab_down_removes(
    city: Session, bare: list[str]
) -> None:
    restore_disks(city, DISKS)
    killed(["dr.drill", "--env", "lab", "--drill", "site-loss"], "payments-db/fence")
    assert inv("lab.down", "--env", "lab").returncode == 0
    assert (machine(), processes()) == (bare, [])


@pytest.fixture
def before(lab_session: Session) -> list[str]:
    take_down("lab")
    return machine()


@pytest.mark.parametrize("until", ["run ", "ok   create/"])
def test_a_controller_killed_during_lab_up_leaves_what_lab_down_removes(
    before: list[str], until: str
) -> None:
    killed(["lab.up", "--env", "lab"], until)
    assert inv("lab.down", "--env", "lab").returncode == 0
    assert (machine(), processes()) == (before, [])


def test_a_controller_killed_in_a_playbook_leaves_no_playbook(before: list[str]) -> None:
    assert inv("lab.up", "--env", "lab").returncode == 0
    killed(["provision.converge", "--env", "lab"], "Name servers:")
    deadline = time.monotonic() + 20
    playbooks = ["ansible-playbook"]
    while playbooks and time.monotonic() < deadline:
        playbooks = [line for line in processes() if "ansible-playbook" in line]
        time.sleep(0.2)
    assert playbooks == []
    assert inv("lab.down", "--env", "lab").returncode == 0
    assert (machine(), processes()) == (before, [])


def test_a_controller_killed_during_lab_down_can_be_followed_by_another(before: list[str]) -> None:
    assert inv("lab.up", "--env", "lab").returncode == 0
    folder = state_root() / "lab/lab"
    running = subprocess.Popen([INV, "lab.down", "--env", "lab"], start_new_session=True)
    while folder.exists() and running.poll() is None:
        time.sleep(0.001)
    running.kill()  # its processes are gone, its disks are not
    assert running.wait() == -signal.SIGKILL
    assert inv("lab.down", "--env", "lab").returncode == 0
    assert (machine(), processes()) == (before, [])


# --- the first command of a newcomer ----------------------------------------------------------------


def test_the_demo_tells_what_it_measures_and_leaves_nothing(before: list[str]) -> None:
    done = inv("demo", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    reports = {report["name"]: report for report in result["reports"]}
    assert list(reports) == list(DRILLS)
    assert result["verdict"] == "met"
    assert {report["verdict"] for report in reports.values()} == {"met"}
    told = [
        "Promised",
        "is removed",
        "Nobody can pay.",
        "is refused",
        "Only now",
        "Here a person is asked",
        "leads home",
        "AWS us-east-2 is without power",
        "has caught up",
        "What it means: met",
        "Lost",
        "Go on",
    ]
    places = [done.stderr.find(word) for word in told]
    assert -1 not in places, done.stderr
    assert places == sorted(places)
    for report in reports.values():
        assert f"/runs/{report['run_id']}/report.html" in done.stderr
    assert (machine(), processes()) == (before, [])
