"""Backups as people and timers use them: saved, proven, damaged, restored, attacked, cut off by kill -9.

In the city of all tests of backups; the tests stand in the order of what they leave.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError

from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.backup_evidence import PointTaken
from automation.model.records import RunClosed, StepEnded
from tests.lab.checkout import Checkout, until
from tests.lab.disasters import let_grace_pass

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
def city(backup_checkout: Checkout) -> Checkout:
    return backup_checkout


class Originals:
    """The share before anybody touched it, and when each thing was done to it."""

    def __init__(self, city: Checkout) -> None:
        self.hashes, self.good_at, self.at = share(city), datetime.now(UTC).isoformat(), ""


@pytest.fixture(scope="module")
def originals(city: Checkout) -> Originals:
    return Originals(city)


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


# --- strange days, and a rotation ------------------------------------------------------------------

OF_HALL = ("--resource", "city-share", "--store", "hall-nas")
OF_SHARE, FILES = ("--resource", "city-share"), "city-files"
# What sftp can do with the key of the backup server.
EMPTY_THE_OTHER_SITE = """
for files in 'data/*/*' 'index/*' 'keys/*' 'locks/*' 'snapshots/*' config; do
  echo "-rm /srv/restic/main/$files"
done >/tmp/batch
sftp -q -b /tmp/batch backup@bk-b
"""
OLD_DAYS = """
set -e; set -a; . /etc/mainstay/stores/hall-nas.env; set +a
mkdir -p /tmp/old /tmp/cache; chown backup /tmp/cache; date > /tmp/old/file
for day in 2 3 4 5 6 7 8 9 10 12 14 17 20 28 42 90 150 210 330 365; do
  RESTIC_CACHE_DIR=/tmp/cache runuser -u backup -- restic -q -r /srv/restic/main backup --host city-share \
    --time "$(date -d "$day days ago" '+%F %T')" /tmp/old
done
rm -rf /tmp/old /tmp/cache
"""


def listed(city: Checkout, store: str = "hall-nas") -> set[str]:
    """Name the points of the share that a store has."""
    found = told(city.inv("backup.list", "--resource", "city-share", "--store", store, "--json"))
    return {one["point"]["id"] for one in found["points"]}


def test_a_backup_that_was_cut_off_is_finished_by_the_next_one(city: Checkout) -> None:
    city.sh("files-a", "date > /srv/share/new.txt")
    before, last = {store: listed(city, store) for store in RESTIC}, city.last_run("backup-run")
    process = city.start("backup.run", "--resource", "city-share")
    until(lambda: copies_now(city, last), "a copy has begun", 90)
    kill(process)
    done = city.inv("backup.run", "--resource", "city-share", "--due")
    assert done.returncode == 0, done.stderr
    assert "was cut off; it is finished first" in done.stderr
    assert {store: len(listed(city, store) - before[store]) for store in RESTIC} == dict.fromkeys(RESTIC, 1)
    # Since it was restored in place, every file is another one: that looks as if somebody had encrypted them.
    assert city.inv("backup.rotate", *OF_HALL).returncode == 6
    city.must("backup.clear", "--resource", "city-share", "--reason", "restored in place")


def copies_now(city: Checkout, last: str) -> bool:
    """Whether a backup that is newer than another has begun to copy."""
    run = city.last_run("backup-run")
    journal = city.state / "runs" / run / "journal.jsonl"
    text = journal.read_text() if run != last and journal.exists() else ""
    return '"kind":"step-started","step":"city-share/copy-' in text


def test_points_that_an_attacker_dates_back_are_kept_and_count_for_nothing(city: Checkout) -> None:
    before = listed(city)
    made = city.connections.remote("bk-a").run(["sudo", "-n", "bash", "-c", OLD_DAYS], timeout_s=120.0)
    assert made.exit_code == 0, made.stderr
    shown = told(city.inv("backup.plan", *OF_HALL, "--json"))["rows"][0]
    fates = {one["point"]: one for one in shown["points"]}
    assert len(fates) == len(before) + 20
    assert {fates[point]["fate"] for point in fates.keys() - before} == {"kept"}
    assert all("fills no period" in fates[point]["why"] for point in fates.keys() - before)
    assert any("20 points of a time that is not believed" in line for line in shown["alarms"])


def test_a_year_that_was_there_before_us_goes_as_it_was_shown_and_after_its_time_of_grace(
    city: Checkout,
) -> None:
    ledger = city.state / "backups/ledger.jsonl"
    kept = [line for line in ledger.read_text().splitlines() if '"points-seen"' not in line]
    ledger.write_text("".join(f"{line}\n" for line in kept))
    (city.state / "backups/looks.json").unlink()  # nobody had looked: these points were always there
    policy = city.root / "inventories" / city.name / "backups.yml"
    told_policy = yaml.safe_load(policy.read_text())
    told_policy["retention"]["standard"] |= {"daily": 5}
    del told_policy["retention"]["standard"]["hourly"]
    policy.write_text(yaml.safe_dump(told_policy, sort_keys=False))
    before = listed(city)
    marked = city.inv("backup.rotate", *OF_HALL)
    assert marked.returncode == 0, marked.stderr
    assert listed(city) == before
    let_grace_pass(city)
    shown = told(city.inv("backup.plan", *OF_HALL, "--json"))
    goes = {one["point"] for one in shown["rows"][0]["points"] if one["fate"] == "goes"}
    assert 0 < len(goes) == shown["deletes"] <= len(before) / 5
    rotated = city.inv("backup.rotate", *OF_HALL)
    assert rotated.returncode == 0, rotated.stderr
    assert listed(city) == before - goes


# --- ransomware -------------------------------------------------------------------------------------


def test_locked_stores_refuse_to_delete_and_a_store_without_a_lock_is_no_canary(city: Checkout) -> None:
    canaries = told(city.inv("backup.canary", "--json"))
    assert {one["store"] for one in canaries["refused"]} == {"vault", "vault-pg"}
    assert city.inv("backup.canary", "--store", "eoc-nas").returncode == 2


def test_an_encrypted_share_freezes_every_copy_and_people_are_told(
    city: Checkout, originals: Originals
) -> None:
    """Of a rotation that would delete something: every copy is frozen, in words, to everyone on call."""
    let_grace_pass(city)
    assert told(city.inv("backup.plan", *OF_SHARE, "--json"))["deletes"] > 0
    before = {store: listed(city, store) for store in RESTIC}
    encrypt(city)
    with people_on_call(city) as heard:
        city.must("backup.run", *OF_SHARE)
        rotated = city.inv("backup.rotate", *OF_SHARE)
    strange = figures(city)
    assert strange["new_files"] > 0.9 * strange["files"]
    assert strange["stored_bytes"] > 0.9 * strange["added_bytes"], "it hardly shrinks"
    assert rotated.returncode == 6
    of_every_copy = r"of the files are new or changed(; [^;(]+)* \(hall-nas, eoc-nas, vault\)"
    assert re.search(of_every_copy, rotated.stderr), rotated.stderr
    assert all(before[store] < listed(city, store) for store in RESTIC), "nothing was deleted"
    (message,) = [one for one in heard if "rotation of city-share" in one["title"]]
    assert message["type"] == "failure"
    assert "of the files are new or changed" in message["message"]
    assert "./inv backup.clear" in message["message"]
    status = city.inv("backup.status", *OF_SHARE)
    assert status.returncode == 6
    assert "strange figures" in status.stdout
    city.must("backup.run", *OF_SHARE)
    assert city.inv("backup.rotate", *OF_SHARE).returncode == 6, "a quiet day after it clears nothing"


def test_root_of_the_backup_server_deletes_every_copy_but_no_locked_version(
    city: Checkout, originals: Originals
) -> None:
    originals.at = datetime.now(UTC).isoformat()
    time.sleep(1.0)  # the store's clock tells seconds
    city.sh("bk-a", "rm -rf /srv/restic/main/*")
    city.connections.remote("bk-a").run(["sudo", "-n", "sh", "-c", EMPTY_THE_OTHER_SITE], timeout_s=120.0)
    assert city.sh("bk-b", "find /srv/restic/main -type f") == ""
    vault = bucket_of(city)
    versions = [one for page in pages(vault, "list_object_versions") for one in page.get("Versions", ())]
    while listing := vault.list_objects_v2(Bucket=FILES).get("Contents"):
        for one in listing:
            vault.delete_object(Bucket=FILES, Key=one["Key"])
    assert len(versions) > 20
    for one in versions:
        with pytest.raises(ClientError, match="AccessDenied"):
            vault.delete_object(Bucket=FILES, Key=one["Key"], VersionId=one["VersionId"])
    with pytest.raises(ClientError):
        vault.put_bucket_versioning(Bucket=FILES, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(ClientError):
        vault.delete_bucket(Bucket=FILES)


def test_all_is_red_and_nothing_can_be_restored_as_it_is(city: Checkout) -> None:
    status = city.inv("backup.status", *OF_SHARE)
    assert status.returncode == 6
    for store in RESTIC:
        assert f"{store} cannot be looked at" in status.stdout
    assert "strange figures" in status.stdout, "and with which point it began"
    lost = city.inv("backup.restore", *OF_SHARE, "--at", "latest", "--to", "bk-b", "--yes")
    assert lost.returncode == 4, lost.stderr


def test_the_locked_versions_give_the_files_back_as_they_were_before_they_were_encrypted(
    city: Checkout, originals: Originals
) -> None:
    clean = "https://s3.city.lab/city-clean"
    words = ("--store", "vault", "--as-of", originals.at, "--to", clean, "--json")
    recovered = told(city.inv("backup.recover-copy", *words))
    assert recovered["copied"]["undeleted"] > 0
    assert recovered["checked"]["store"] == "vault-recovered"
    words = (*OF_SHARE, "--at", originals.good_at, "--store", "vault", "--repository", f"s3:{clean}")
    restored = told(city.inv("backup.restore", *words, "--to", "bk-b", "--yes", "--json"))
    assert share(city, "bk-b", restored["to"]) == originals.hashes


def encrypt(city: Checkout) -> None:
    """Write every file anew as noise of its size, under another name, as ransomware does."""
    city.sh(
        "files-a",
        "find /srv/share -type f ! -name .here | while read -r file; do"
        ' openssl rand -out "$file.locked" "$(stat -c %s "$file")" && rm "$file"; done',
    )


def figures(city: Checkout) -> dict[str, int]:
    """Give the figures that the last backup of the share left."""
    events = read_journal(city.state / "runs" / city.last_run("backup-run") / "journal.jsonl")
    ends = [event.body for event in events if isinstance(event.body, StepEnded)]
    (taken,) = [
        end.outcome.evidence for end in ends if end.step == "city-share/take-hall-nas" and end.outcome
    ]
    assert isinstance(taken, PointTaken)
    found: dict[str, int] = taken.figures.model_dump()
    return found


@contextmanager
def people_on_call(city: Checkout) -> Iterator[list[dict[str, str]]]:
    """Let alarms go to a web server of our own; give what it hears."""
    heard: list[dict[str, str]] = []

    class Pager(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pager) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        settings = city.root / "inventories" / city.name / "environment.yml"
        settings.write_text(
            settings.read_text() + "\nnotify: {on-call: {url: {file: secrets/notify-on-call}}}\n"
        )
        secret = city.state / "secrets/notify-on-call"
        secret.touch(mode=0o600)
        secret.write_text(f"json://127.0.0.1:{server.server_port}/")
        yield heard
        server.shutdown()


def bucket_of(city: Checkout) -> Any:
    """Open the vault with what root of the backup server finds there."""
    words = city.sh(
        "bk-a", "set -a; . /etc/mainstay/stores/vault.env; echo $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY"
    )
    key, secret = words.split()
    return boto3.client(
        "s3",
        endpoint_url=f"https://{city.environment.require_lab().simulators['s3'].address}",
        verify=str(city.state / "certificates/ca.crt"),
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}),
    )


def pages(client: Any, request: str) -> Iterator[dict[str, Any]]:
    yield from client.get_paginator(request).paginate(Bucket=FILES)
