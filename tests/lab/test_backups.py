"""Backups as people and timers use them: saved, proven, damaged, restored, attacked, cut off by kill -9.

One city for the module, with all its stores; the tests stand in the order of what they leave.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config

from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.records import RunClosed
from tests.lab.checkout import Checkout, until

RESTIC, STANZAS = ("hall-nas", "eoc-nas", "vault"), ("hall-pg", "eoc-pg", "vault-pg")
LEVELS = {"city-share": 3, "payments-dump": 4, "routers": 4}
EVERY_COPY = {
    *((name, store, level) for name, level in LEVELS.items() for store in RESTIC),
    *(("payments-db", store, 4) for store in STANZAS),
}
DATA = "/srv/restic/main/data"
FLIP = """
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(5000)
    byte = file.read(1)[0]
    file.seek(5000)
    file.write(bytes([byte ^ 1]))
"""
HASHES = "cd {} && find srv/share -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    city = Checkout("hver", "10.96", tmp_path_factory.mktemp("hver"), backups=True)
    try:
        city.must("lab.up")
        city.must("provision.converge")
        city.await_streaming()
        yield city
    finally:
        city.down()


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Read what a command printed with --json."""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def rows(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str, int], str]:
    """Give each proof of a run and how it ended."""
    return {(row["resource"], row["store"], row["level"]): row["result"] for row in told(done)["rows"]}


def left_on_scratch(city: Checkout) -> list[str]:
    """Name what proofs have left: folders, clusters and their markers."""
    look = (
        "find /var/lib/mainstay/scratch /var/lib/mainstay/restored -mindepth 1 -maxdepth 1; pg_lsclusters -h"
    )
    return [line for line in city.sh("bk-b", look, check=False).splitlines() if line.strip()]


def share(city: Checkout, host: str = "files-a", root: str = "/") -> str:
    """Hash every file of the share, names and all, where it is or was restored."""
    return city.sh(host, HASHES.format(root))


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a command and the child that works for it, as a power cut does."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    for pid in (process.pid, *map(int, children.stdout.split())):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate()


def status_of(city: Checkout, run: str) -> str:
    """Say how a run closed last."""
    events = read_journal(city.state / "runs" / run / "journal.jsonl")
    closed = [event.body.status for event in events if isinstance(event.body, RunClosed)]
    return closed[-1] if closed else "open"


# --- proofs ----------------------------------------------------------------------------------------


def test_every_copy_of_every_kind_is_restored_opened_and_removed_again(city: Checkout) -> None:
    city.must("backup.run")
    done = city.inv("backup.verify", "--due", "--json")
    assert done.returncode == 0, done.stderr
    found = rows(done)
    assert set(found.values()) == {"proven"}
    assert {key for key in found if key[0]} == EVERY_COPY
    assert {key for key in found if not key[0]} == {("", store, 2) for store in (*RESTIC, *STANZAS)}
    assert left_on_scratch(city) == []


def test_what_was_proven_today_is_not_due_again(city: Checkout) -> None:
    done = city.inv("backup.verify", "--due", "--level", "L4")
    assert (done.returncode, done.stdout.strip()) == (0, "nothing is due"), done.stderr
    assert {row["resource"] for row in told(city.inv("backup.status", "--json"))["resources"]}


def test_the_same_seed_draws_the_same_again(city: Checkout) -> None:
    words = ("--resource", "city-share", "--store", "eoc-nas", "--level", "L3", "--seed", "4711", "--json")
    plans = []
    for _ in range(2):
        run = told(city.inv("backup.verify", *words))["run"]
        plans.append([step.run for step in read_plan(city.state / "runs" / run).steps if "/prove" in step.id])
    assert [one.seed for one in plans[0]] == [one.seed for one in plans[1]]  # type: ignore[union-attr]
    assert [one.point for one in plans[0]] == [one.point for one in plans[1]]  # type: ignore[union-attr]


# --- restores --------------------------------------------------------------------------------------


def test_a_share_comes_back_on_another_host_equal_to_the_last_bit(city: Checkout) -> None:
    before = share(city)
    words = ("--resource", "city-share", "--at", "latest", "--to", "bk-b", "--yes")
    restored = told(city.inv("backup.restore", *words, "--json"))
    assert restored["store"] == "eoc-nas"  # at the target's own site
    assert share(city, "bk-b", restored["to"]) == before
    again = city.inv("backup.restore", *words)
    assert again.returncode == 4
    assert "is there already on bk-b, and nothing is ever put over it" in again.stderr
    city.sh("bk-b", restored["remove"][0])


def test_nobody_at_a_terminal_restores_nothing_without_a_word(city: Checkout) -> None:
    done = city.inv("backup.restore", "--resource", "city-share", "--at", "latest", "--to", "bk-a:/srv/back")
    assert done.returncode == 4
    assert "overwrites  nothing" in done.stderr
    assert "proof       L3" in done.stderr
    assert city.sh("bk-a", "ls /srv/back", check=False) == ""


def test_a_database_comes_back_as_it_was_at_a_minute(city: Checkout) -> None:
    """The moment lies between two sets of payments; the standby's host is the target."""
    pay(city, "before", 20)
    time.sleep(1.1)  # the moment is told in whole seconds
    at = datetime.now(UTC).replace(microsecond=0)
    time.sleep(1.1)
    pay(city, "after", 20)
    city.sql("pg-a", "select pg_switch_wal()")
    words = ("--resource", "payments-db", "--at", at.isoformat(), "--to", "pg-b", "--yes", "--json")
    until(
        lambda: city.inv("backup.restore", *words).returncode == 0, "the WAL of that moment is archived", 90
    )
    version, _, name = told_last(city)["to"].partition("/")
    question = (
        "select split_part(reference, '-', 1), count(*) from payments where reference like '%-%' group by 1"
    )
    ask = f'sudo -u postgres psql -XqAt -p 5433 -d payments -c "{question}"'
    assert city.sh("pg-b", ask) == "before|20"
    city.sh(
        "pg-b", f"pg_dropcluster --stop {version} {name} && rm -f /var/lib/mainstay/restored/{version}-{name}"
    )


def told_last(city: Checkout) -> dict[str, str]:
    """Give where the last restore went."""
    step = read_plan(city.state / "runs" / city.last_run("backup-restore")).steps[0]
    return {"to": step.run.cluster}  # type: ignore[union-attr]


def pay(city: Checkout, prefix: str, count: int) -> None:
    values = ",".join(f"('{prefix}-{number}', 'A-1', 100)" for number in range(count))
    city.sql("pg-a", f"insert into payments (reference, account, amount_cents) values {values}", "payments")


def test_a_dump_comes_back_loaded_into_a_cluster_of_its_own(city: Checkout) -> None:
    words = ("--resource", "payments-dump", "--at", "latest", "--to", "bk-b", "--yes", "--json")
    restored = told(city.inv("backup.restore", *words))
    ask = "sudo -u postgres psql -XqAt -p 5433 -d payments -c 'select count(*) >= 0 from payments'"
    assert city.sh("bk-b", ask) == "t"
    for line in restored["remove"]:
        city.sh("bk-b", line)
    assert left_on_scratch(city) == []


def test_over_the_originals_only_after_another_person_has_signed(city: Checkout) -> None:
    words = ("--resource", "city-share", "--at", "latest", "--in-place")
    refused = city.inv("backup.restore", *words)
    assert refused.returncode == 4
    assert "names nobody who may approve" in refused.stderr
    policy = city.root / "inventories" / city.name / "backups.yml"
    policy.write_text(policy.read_text() + "\nin_place: {roles: [dr-coordinator]}\n")
    city.let_approve(carol="dr-coordinator")
    before = share(city)
    city.sh("files-a", "rm /srv/share/.here && find /srv/share -type f -name '*1*' -delete")
    assert city.inv("backup.restore", *words, "--yes").returncode == 2
    assert city.inv("backup.restore", *words).returncode == 4
    assert share(city) != before
    run = city.last_run("backup-restore")
    city.approve("carol", "dr-coordinator", "--run", run)
    assert city.inv("run.resume", "--run", run).returncode == 0
    assert share(city) == before


# --- damage ----------------------------------------------------------------------------------------


def test_a_flipped_byte_fails_its_proof_freezes_rotation_and_stops_no_other(city: Checkout) -> None:
    pack = city.sh(
        "bk-a", f"find {DATA} -type f -size +100k -printf '%s %p\\n' | sort -n | tail -n 1"
    ).split()[1]
    flip(city, pack)
    done = city.inv("backup.verify", "--resource", "city-share", "--level", "L3", "--json")
    assert done.returncode == 6, done.stderr
    assert rows(done) == {
        ("city-share", "hall-nas", 3): "failed",
        ("city-share", "eoc-nas", 3): "proven",
        ("city-share", "vault", 3): "proven",
    }
    assert "Every proof of hall-nas is suspended" in done.stderr
    assert left_on_scratch(city) == []
    frozen = city.inv("backup.rotate", "--resource", "city-share", "--store", "hall-nas")
    assert frozen.returncode == 6, frozen.stderr
    flip(city, pack)


def flip(city: Checkout, path: str) -> None:
    """Change one byte in the middle of a file; a second time it is as it was."""
    assert path.startswith(DATA)
    city.sh("bk-a", f"python3 -c '{FLIP}' {path}")


def test_a_mended_repository_is_believed_again_when_all_of_it_was_read(city: Checkout) -> None:
    done = city.inv("backup.verify", "--store", "hall-nas", "--level", "L2", "--json")
    assert done.returncode == 0, done.stderr
    assert len(told(done)["rows"]) == 7  # every part, at once
    proven = city.inv("backup.verify", "--resource", "city-share", "--store", "hall-nas", "--level", "L3")
    assert proven.returncode == 0, proven.stderr
    rotated = city.inv("backup.rotate", "--resource", "city-share", "--store", "hall-nas")
    assert rotated.returncode == 0, rotated.stderr


# --- cut off ---------------------------------------------------------------------------------------


def test_a_proof_that_was_cut_off_is_finished_by_the_next_one_and_leaves_nothing(city: Checkout) -> None:
    words = ("--resource", "payments-dump", "--store", "eoc-nas", "--level", "L4")
    process = city.start("backup.verify", *words)
    until(lambda: left_on_scratch(city) != [], "something is restored on the scratch host", 60)
    kill(process)
    run = city.last_run("backup-verify")
    assert status_of(city, run) == "open"
    done = city.inv("backup.verify", *words)
    assert done.returncode == 0, done.stderr
    assert f"run {run} was cut off; it is finished first" in done.stderr
    assert status_of(city, run) == "succeeded"
    assert left_on_scratch(city) == []


def test_a_restore_that_was_cut_off_goes_on_to_the_same_end(city: Checkout) -> None:
    words = ("--resource", "city-share", "--at", "latest", "--to", "bk-a:/srv/back", "--yes")
    process = city.start("backup.restore", *words)
    until(lambda: city.sh("bk-a", "ls -A /srv/back", check=False) != "", "the restore has begun", 60)
    kill(process)
    run = city.last_run("backup-restore")
    again = city.inv("backup.restore", *words)
    assert again.returncode == 4
    assert f"./inv run.resume --env {city.name} --run {run}" in again.stderr
    resumed = city.inv("run.resume", "--run", run)
    assert resumed.returncode == 0, resumed.stderr
    assert "city-share is restored on bk-a: /srv/back" in resumed.stdout
    assert share(city, "bk-a", "/srv/back") == share(city)


# --- after an attack -------------------------------------------------------------------------------


def test_locked_stores_refuse_to_delete_and_a_store_without_a_lock_is_no_canary(city: Checkout) -> None:
    canaries = told(city.inv("backup.canary", "--json"))
    assert {one["store"] for one in canaries["refused"]} == {"vault", "vault-pg"}
    assert city.inv("backup.canary", "--store", "eoc-nas").returncode == 2


def test_after_everything_was_deleted_a_clean_copy_gives_the_files_back(city: Checkout) -> None:
    before, at = share(city), datetime.now(UTC).isoformat()
    time.sleep(1.0)  # the store's clock tells seconds
    attack(city)
    wanted = ("--resource", "city-share", "--at", "latest", "--store", "vault", "--to", "bk-b", "--yes")
    lost = city.inv("backup.restore", *wanted)
    assert lost.returncode == 4, lost.stderr
    clean = "https://s3.city.lab/city-clean"
    recovered = told(
        city.inv("backup.recover-copy", "--store", "vault", "--as-of", at, "--to", clean, "--json")
    )
    assert recovered["copied"]["undeleted"] > 0
    assert recovered["checked"]["store"] == "vault-recovered"
    restored = told(city.inv("backup.restore", *wanted, "--repository", f"s3:{clean}", "--json"))
    assert share(city, "bk-b", restored["to"]) == before


def attack(city: Checkout) -> None:
    """Delete every object of the vault with the credentials of the backup server."""
    lines = (city.state / "secrets/vault_writer").read_text().splitlines()
    key, secret = (line.partition("=")[2] for line in lines)
    bucket: Any = boto3.client(
        "s3",
        endpoint_url=f"https://{city.environment.require_lab().simulators['s3'].address}",
        verify=str(city.state / "certificates/ca.crt"),
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}),
    )
    while listed := bucket.list_objects_v2(Bucket="city-files").get("Contents"):
        for one in listed:
            bucket.delete_object(Bucket="city-files", Key=one["Key"])
