"""Real failovers while something else is wrong: how each ends, in exit codes and words.

One city for the module, put back to the same disks before each test.
"""

import json
import os
import pty
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import pytest

from automation.model.errors import AdapterError
from automation.model.evidence import Declaration
from tests.lab import notices, own
from tests.lab.checkout import Checkout, until

SITE = "city-hall"
PLAN = "failover-city-hall"
RPO = ("rpo: 5 s", "rpo: 1 s")  # so that nobody has to wait long for a standby that lags

CHECKS = ("[drtests/checks]", "[drtests/checks/test_databases.py]")


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    city = Checkout("fail", "10.65", tmp_path_factory.mktemp("failover"))
    for name, words in (("inventories/fail/services.yml", RPO), ("drtests/plans/city.yml", CHECKS)):
        (city.root / name).write_text((city.root / name).read_text().replace(*words))
    try:
        city.up()
        yield city
    finally:
        city.down()


@pytest.fixture(autouse=True)
def _same_start(city: Checkout) -> None:
    """The same disks, and a primary that was seen a moment ago: how far a standby is behind is known."""
    city.back_to_base()
    city.inv("dr.readiness", "--site", SITE)


FAULTS: dict[str, tuple[str, dict[str, object]]] = {
    "power-loss": ("fail_site", {}),
    "wan-partition": ("isolate_site", {"management": True}),
    "dark-site": ("isolate_site", {"management": False}),
}


def lose(city: Checkout, fault: str) -> None:
    """Break the primary site, as lab.break does, and say so, as dr.declare does."""
    request, how = FAULTS[fault]
    city.ask(request, site=SITE, **how)
    told = Declaration(
        sites=(SITE,), reason=fault, exercise=False, declared_by="test", declared_at=datetime.now(UTC)
    )
    folder = city.state / "declarations"
    folder.mkdir(exist_ok=True)
    (folder / "20261121-031400-0b1e.json").write_text(told.model_dump_json())


def failover(city: Checkout, *words: str) -> subprocess.CompletedProcess[str]:
    return city.inv("dr.failover", "--site", SITE, *words)


def resume(city: Checkout) -> subprocess.CompletedProcess[str]:
    return city.inv("run.resume", "--run", city.last_run(PLAN))


def is_standby(city: Checkout, host: str = "pg-b") -> bool:
    return city.sql(host, "select pg_is_in_recovery()") == "t"


def address_of(city: Checkout, name: str, server: str = "dns-b") -> str:
    return city.sh(server, f"getent ahostsv4 {name}.city.lab").split()[0]


def promotions(city: Checkout, host: str = "pg-b") -> int:
    """How often a database was promoted: every promotion leaves the history of a new timeline."""
    return int(city.sh(host, "ls /var/lib/postgresql/15/main/pg_wal | grep -c '[.]history$'", check=False))


def said(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """The exit code, and words that a person reads."""
    assert done.returncode == code, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout + done.stderr, f"{word!r} is not in: {done.stdout}{done.stderr}"


def test_a_primary_that_lives_on_is_fenced_and_stays_so_when_everything_comes_back(city: Checkout) -> None:
    assert "ready" in city.must("dr.readiness", "--site", SITE)
    city.must("dr.declare", "--site", SITE, "--reason", "only a test", "--exercise")
    said(failover(city), 4, "nobody has declared city-hall lost; nothing was changed", "./inv dr.declare")
    city.must("lab.break", "--fault", "wan-partition", "--site", SITE)
    city.must("dr.declare", "--site", SITE, "--reason", "it is real")
    said(failover(city), 0, "failover of city-hall: pg-b serves")
    assert not is_standby(city)
    city.ask("rejoin_site", site=SITE)
    for name, server in city.ask("status")["servers"].items():
        if server["power"] == "off":
            fenced = pytest.raises(AdapterError, match="is fenced; it stays off")
            with fenced if name == "pg-a" else nullcontext():
                city.ask("start_server", server=name, autostart=True)
    old = city.server("pg-a")
    assert (old["power"], old["autostart"], old["network"]) == ("off", False, "blocked")
    assert all(city.refuses(vantage, "pg-a") for vantage in ("client-1", "app-a", "app-b"))
    status = city.must("dr.status")
    assert "pg-a: off and blocked" in status
    assert "eoc (pg-b)" in status
    said(failover(city), 4, "was carried out by run")


def test_a_job_that_nobody_watches_does_what_was_signed_and_nothing_else(city: Checkout) -> None:
    city.let_approve(ina="sysadmin", olaf="operator")
    night = ("--name", "nightly", "--job", "provision.converge", "--resource", "client-1")
    night = (*night, "--limits", "hosts=1", "--reason", "drift is mended at night")
    with pytest.raises(AssertionError, match="olaf has not the role sysadmin"):
        city.sign("run.authorise", "olaf", *night)
    city.sign("run.authorise", "ina", *night)
    assert "nightly: provision.converge on client-1, at most hosts 1" in city.must("run.authorisations")
    job = ("provision.converge", "--authorisation", "nightly", "--limit")
    said(city.inv(*job, "dns"), 4, "for resource 'client-1', not 'dns'", "hosts would be 2, at most 1")
    said(city.inv(*job, "client-1"), 0, "nothing changed", "standing authorisation nightly of ina (SHA256:")
    run = city.last_run("converge")
    said(city.inv("run.verify", "--run", run), 0, "under the standing authorisation nightly of ina, sysadmin")
    city.must("run.export", "--run", run, "--to", str(city.state / "run.tar.gz"))
    subprocess.run(["tar", "-xzf", "run.tar.gz"], cwd=city.state, check=True)
    shown = (city.state / run / "README.txt").read_text()
    (check,) = (line for line in shown.splitlines() if "-n mainstay-authorisation -I ina" in line)
    assert subprocess.run(["sh", "-c", check], cwd=city.state / run, check=False).returncode == 0
    role = next((city.root / "playbooks/roles").glob("*/tasks/main.yml"))
    agreed = role.read_text()
    role.write_text(agreed + "# nobody agreed to this\n")
    said(city.inv(*job, "client-1"), 4, "the policy is not the one that was agreed to; nothing was changed")
    role.write_text(agreed)
    city.must("run.withdraw", "--name", "nightly", "--reason", "the test is over")
    said(
        city.inv(*job, "client-1"),
        4,
        "there is no standing authorisation nightly",
        "run.authorise --env fail",
    )
    assert city.last_run("converge") == run, "what was refused left no run"


def test_a_dark_site_stops_it_a_dead_standby_too_and_both_can_be_gone_on_from(city: Checkout) -> None:
    lose(city, "dark-site")
    said(
        failover(city),
        5,
        "stopped before promotion",
        "the management of site city-hall does not answer",
        "nothing was promoted, no name was moved",
        "1. when the management of city-hall answers again: ./inv run.resume",
        "2. wait",
        "3. bear that two databases may take writes, with two signatures",
    )
    assert is_standby(city)
    assert city.server("pg-a")["power"] == "on"
    said(resume(city), 5, "stopped before promotion")
    city.must("lab.heal", "--fault", "dark-site", "--site", SITE)
    city.ask("power_off_server", server="pg-b")
    said(
        resume(city),
        5,
        "stopped before promotion",
        "only the proof is missing",
        "pg-b",
        "then ./inv run.resume",
    )
    city.ask("start_server", server="pg-b")
    city.connections.close()
    until(lambda: is_standby(city), "pg-b is a standby again")
    said(resume(city), 0, "pg-b serves")
    assert not is_standby(city)
    assert city.server("pg-a")["network"] == "blocked"


def test_an_unfenced_primary_is_borne_by_two_signatures_and_cleared_by_a_look(city: Checkout) -> None:
    city.let_approve(first="dr-coordinator", second="service-owner")
    lose(city, "dark-site")
    unfenced = failover(city, "--accept-unfenced", "--reason", "the building is under water")
    said(unfenced, 4, "needs the signature of 2 different people", "./inv run.approve", "./inv run.resume")
    assert is_standby(city)
    run, step = city.last_run(PLAN), ("--step", "payments-db/suspect", "--reason", "nobody can be there")
    city.approve("first", "dr-coordinator", "--run", run, *step)
    said(resume(city), 4, "missing: service-owner")
    assert is_standby(city)
    city.approve("second", "service-owner", "--run", run, *step)
    said(resume(city), 3, "pg-b serves", "payments-db: SPLIT_BRAIN_SUSPECTED until a person has looked")
    assert not is_standby(city)
    assert "SPLIT_BRAIN_SUSPECTED" in city.must("dr.status")
    clear = ("dr.clear", "--service", "payments-db", "--reason", "looked at both")
    said(city.inv(*clear), 4, "pg-a cannot be looked at", "payments-db stays suspected")
    city.ask("rejoin_site", site=SITE)
    said(city.inv(*clear), 4, "pg-a and pg-b can be written to, and it must be one alone")
    said(city.inv("dr.fence", "--service", "payments-db", "--site", SITE), 0, "pg-a: off and blocked")
    said(city.inv(*clear), 0, "payments-db: cleared by", "pg-a: no answer, off and blocked")
    assert "SPLIT_BRAIN_SUSPECTED" not in city.must("dr.status")


def test_a_silent_dns_at_the_recovery_site_stops_it_before_promotion(city: Checkout) -> None:
    city.ask("power_off_server", server="dns-b")
    lose(city, "power-loss")
    said(
        failover(city),
        5,
        "stopped before promotion",
        "DNS server dns-b",
        "start dns-b, then ./inv run.resume",
    )
    assert is_standby(city)
    city.ask("start_server", server="dns-b")
    until(lambda: city.sh("dns-b", "systemctl is-active named") == "active", "dns-b answers")
    said(resume(city), 0, "pg-b serves")
    assert address_of(city, "pay-db") == city.inventory.server("pg-b").address


def test_a_standby_that_lacks_more_than_the_rpo_or_is_dead_is_refused_before_a_fence(city: Checkout) -> None:
    city.ask("cut_link", sites=("city-hall", "eoc"))
    time.sleep(1.5)
    city.sql("pg-a", "create table later as select 1 as n")
    said(city.inv("dr.readiness", "--site", SITE), 6, "not ready", "lag payments-db", "let it catch up")
    lose(city, "power-loss")
    said(
        failover(city),
        4,
        "bytes and",
        "behind what the primary had at",
        "nothing was changed",
        "--accept-lag",
    )
    said(failover(city, "--accept-lag"), 4, "missing", "./inv run.approve")
    assert is_standby(city)
    city.ask("power_off_server", server="pg-b")
    said(failover(city), 4, "cannot observe pg-b, the standby of payments-db", "nothing was changed")
    assert city.server("pg-a")["network"] == "connected"


def test_a_lost_witness_does_not_stop_a_failover_and_is_told(city: Checkout) -> None:
    city.ask("power_off_server", server="client-1")
    lose(city, "power-loss")
    said(failover(city), 6, "pg-b serves and names are moved, but not all was seen to be well")
    assert not is_standby(city)
    assert address_of(city, "pay-db") == city.inventory.server("pg-b").address


@pytest.fixture
def small_disk(city: Checkout) -> Iterator[Path]:
    """Runs are kept on a small disk of their own."""
    runs = city.state / "runs"
    runs.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "runs", str(runs)], check=True)
    try:
        yield runs
    finally:
        subprocess.run(["umount", "--lazy", str(runs)], check=True)


def fill(disk: Path) -> Path:
    waste = disk / "waste"
    with waste.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return waste


def test_a_full_disk_refuses_a_run_and_stops_one_that_has_begun(city: Checkout, small_disk: Path) -> None:
    lose(city, "power-loss")
    waste = fill(small_disk)
    said(failover(city), 4, "cannot be written", "nothing was changed", "free space")
    assert city.server("pg-a")["network"] == "connected"
    waste.unlink()
    watcher = threading.Thread(target=_fill_when_fenced, args=(small_disk,))
    watcher.start()
    done = failover(city)
    watcher.join()
    assert done.returncode in (5, 8), done.stderr
    assert "journal" in done.stderr
    assert "free space" in done.stderr
    (small_disk / "waste").unlink()
    said(resume(city), 0, "pg-b serves")
    assert promotions(city) == 1


def _fill_when_fenced(disk: Path) -> None:
    until(
        lambda: any("fence-power" in path.read_text() for path in disk.glob("*/journal.jsonl")), "it fences"
    )
    fill(disk)


def test_a_connection_cut_in_mid_promotion_leads_to_one_promotion(city: Checkout) -> None:
    lose(city, "power-loss")
    city.sh("pg-b", "pkill -STOP -f '^postgres: .*startup'")
    with city.start("dr.failover", "--site", SITE) as running:
        until(lambda: _has_started(city, "payments-db/promote"), "it promotes")
        time.sleep(0.5)
        _cut_connections(city, "pg-b")
        city.sh("pg-b", "pkill -CONT -f '^postgres: .*startup'")
        out, err = running.communicate(timeout=90)
    assert running.returncode in (0, 5, 8), err
    if running.returncode != 0:
        assert "connection lost" in err
        said(resume(city), 0, "pg-b serves")
    else:
        assert "pg-b serves" in out
    assert promotions(city) == 1


# --- name servers that missed a move ---------------------------------------------------------------

# Asks a server for a name's address every 50 ms, by plain datagrams, until a file appears.
ASK = """
import os, socket, struct, sys, time
name, server, end = sys.argv[1:]
labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\\0"
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.settimeout(0.05)
while not os.path.exists(end):
    asker.sendto(struct.pack("!6H", 7, 0, 1, 0, 0, 0) + labels + struct.pack("!2H", 1, 1), (server, 53))
    try:
        answer = asker.recv(512)
        if not answer[3] & 15:  # a server that still loads its zone says so, and leads nobody anywhere
            print(socket.inet_ntoa(answer[-4:]) if answer[7] else "none", flush=True)
        time.sleep(0.05)
    except OSError:
        pass
"""


def asked_meanwhile(city: Checkout, command: str, *words: str) -> list[str]:
    """Give every answer that dns-a gave to a client about pay.city.lab while a command ran, and after it."""
    end, server = f"/run/asked-{time.monotonic_ns()}", city.inventory.server("dns-a").address
    argv = ["python3", "-c", ASK, "pay.city.lab", server, end]
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(city.connections.remote("client-1").run, argv, None, 120.0)
        try:
            city.must(command, *words)
            until(lambda: address_at(city, "dns-a", "pay") != "", "dns-a answers")
        finally:
            time.sleep(0.5)
            city.sh("client-1", f"touch {end}")
        return asking.result().stdout.split()


def address_at(city: Checkout, server: str, name: str) -> str:
    """What a name server itself tells."""
    return city.sh(server, f"dig +short +time=1 +tries=1 @127.0.0.1 {name}.city.lab")


@pytest.mark.parametrize("fault", ["power-loss", "wan-partition"])
def test_a_server_that_returns_with_its_site_never_tells_an_old_address(city: Checkout, fault: str) -> None:
    lose(city, fault)
    said(failover(city), 0, "pg-b serves")
    told = asked_meanwhile(city, "lab.heal", "--fault", fault, "--site", SITE)
    new = city.inventory.server("app-b").address
    assert set(told) == {new}, told
    assert city.server("pg-a")["network"] == "blocked"
    assert "dns-a: tells the newest addresses" in city.must("dr.status")


def test_a_site_that_is_alone_resolves_and_takes_what_it_missed_when_it_hears_the_others(
    city: Checkout,
) -> None:
    lose(city, "power-loss")
    said(failover(city), 0, "pg-b serves")
    city.ask("power_off_server", server="dns-b")
    done = city.inv("lab.heal", "--fault", "power-loss", "--site", SITE)
    old, new = (city.inventory.server(name).address for name in ("app-a", "app-b"))
    assert done.returncode == 0, done.stderr
    city.connections.close()
    until(lambda: address_at(city, "dns-a", "pay") == old, "dns-a resolves alone")
    assert "dns-b gives no answer" in city.sh("dns-a", "journalctl -u named --no-pager")
    refused = city.inv("dr.reconcile", "--server", "dns-a")
    said(refused, 5, "dns-b cannot say what was moved", "nothing was changed")
    city.ask("start_server", server="dns-b")
    until(lambda: address_at(city, "dns-a", "pay") == new, "dns-a takes what dns-b knows")


def test_a_server_that_was_not_reached_is_shown_until_it_is_reconciled(city: Checkout) -> None:
    city.sh("dns-a", "systemctl stop dns-guard")
    city.ask("cut_link", sites=("control", SITE))
    lose(city, "wan-partition")
    city.ask("heal_link", sites=(SITE, "eoc"))
    said(failover(city), 0, "pg-b serves", "reconcile before use")
    city.ask("heal_link", sites=("control", SITE))
    hint = f"./inv dr.reconcile --env {city.name} --server dns-a"
    status = city.must("dr.status")
    assert "dns-a: reconcile before use: pay-db.city.lab, pay.city.lab" in status
    assert hint in status
    said(city.inv("dr.readiness", "--site", SITE), 6, "reconcile before use: dns-a", hint)
    said(city.inv("dr.reconcile", "--server", "dns-a"), 0, "dns-a took from dns-b")
    assert address_at(city, "dns-a", "pay") == city.inventory.server("app-b").address
    said(city.inv("dr.reconcile", "--server", "dns-a"), 0, "dns-a tells the same as dns-b")
    assert "reconcile before use" not in city.must("dr.status")
    said(city.inv("dr.reconcile", "--server", "pg-a"), 2, "no site's name server", "dns-a, dns-b")


# --- what playbooks and people recover ------------------------------------------------------------


@pytest.fixture
def with_notices(city: Checkout) -> Iterator[Checkout]:
    notices.add(city)
    try:
        yield city
    finally:
        notices.remove(city)


def test_playbooks_and_people_recover_what_no_machine_does(with_notices: Checkout) -> None:
    """Nobody sits there at first: the run waits. Then people answer at a terminal, and it ends well."""
    city, words = with_notices, ("--site", SITE, "--plan", notices.PLAN)
    assert notices.read(city) == "notices of today"
    walked = city.must("dr.plan", *words, "--mode", "walkthrough")
    assert "web-team is asked: Is the page of today ready?" in walked
    city.must("dr.declare", "--site", SITE, "--reason", "the notices' half of it")
    said(city.inv("dr.failover", *words), 5, "gate/1-notices")
    assert city.sh(notices.PRIMARY, "systemctl is-active notices") == "active"
    answered = answer(city, "yes", "yes", "yes")
    assert answered.returncode == 0, answered.stderr
    assert notices.read(city) == "notices at eoc (failover)"
    assert city.sh(notices.PRIMARY, "systemctl is-enabled notices", check=False) == "masked"
    told = city.must("run.logs", "--run", city.last_run(PLAN))
    assert told.index("switchboard/line-1: ") < told.index("switchboard/sign-off: ")
    assert told.count(" answered yes") == 3


def test_a_fence_of_a_citys_own_that_fails_lets_nothing_run_at_two_sites(with_notices: Checkout) -> None:
    city = with_notices
    city.ask(
        "fail_site", site=SITE
    )  # its playbook reaches no host there, and cannot know that nothing serves
    city.must("dr.declare", "--site", SITE, "--reason", "power")
    city.inv("dr.failover", "--site", SITE, "--plan", notices.PLAN)
    answered = answer(city, "yes")
    assert answered.returncode == 5, answered.stderr
    assert "notices/fence" in answered.stderr
    assert city.sh(notices.RECOVERY, "systemctl is-active notices", check=False) == "inactive"


def answer(city: Checkout, *words: str) -> subprocess.CompletedProcess[str]:
    """Resume the run at a terminal, and type these answers."""
    ours, theirs = pty.openpty()
    os.write(ours, "".join(f"{word}\n" for word in words).encode())
    argv = [str(city.root / "inv"), "run.resume", "--env", city.name, "--run", city.last_run(PLAN)]
    try:
        return subprocess.run(
            argv, env=city.environ, stdin=theirs, capture_output=True, text=True, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)


# --- an inventory that knows nothing of Mainstay --------------------------------------------------


@pytest.mark.parametrize("form", own.FORMS)
def test_a_citys_own_inventory_leads_to_a_first_look_at_its_hosts(city: Checkout, form: str) -> None:
    """Begun by env.init, its blanks filled in: every host is logged in to, and only the fence is missing."""
    env = own.begin_environment(city, form)
    seen = city.type("dr.readiness", "--env", env, "--site", SITE, "--json")
    assert seen.returncode == 6, seen.stderr
    findings = json.loads(seen.stdout)["findings"]
    wrong = [(one["check"], one["subject"]) for one in findings if one["status"] != "ready"]
    assert wrong == [("fence", "pg-a")]
    looked_at = {
        one["subject"] for one in findings if one["check"] in ("host", "reach", "witness", "streaming")
    }
    assert looked_at == {"app-b", "pg-b", "dns-b", "client-1", "payments-db"}
    assert "hint: recover payments-db by playbooks that fence" in seen.stderr


def _cut_connections(city: Checkout, host: str) -> None:
    """End every SSH session of a host, its own last."""
    with pytest.raises(AdapterError, match="connection lost"):
        city.sh(host, "pkill -KILL -f '^sshd: ops'; sleep 5")
    city.connections.close()


def _has_started(city: Checkout, step: str) -> bool:
    journal = city.state / "runs" / city.last_run(PLAN) / "journal.jsonl"
    bodies = [json.loads(line)["body"] for line in journal.read_text().splitlines()]
    return any(body["kind"] == "step-started" and body["step"] == step for body in bodies)
