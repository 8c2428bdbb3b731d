"""Every known disaster, through the commands that people type: it is found, named, freezes, and is cleared.

One resource of files and one of dumps in one store, of which a rotation would always delete one point more.
"""

import json
import subprocess
from datetime import timedelta
from typing import Any

import pytest

from tests.lab.checkout import Checkout
from tests.lab.disasters import (
    PG_DUMP,
    a_flipped_bit,
    a_small_disk,
    age_the_lock,
    instead,
    leave_a_lock,
    let_grace_pass,
    listed,
    save_earlier,
)

SHARE, DUMP = "city-share", "payments-dump"
POLICY = """\
version: 1
tz: America/New_York
stores:
  hall-nas:
    type: restic
    repository: sftp:backup@bk-a:/srv/restic/main
    keeper: {host: bk-a}
    site: city-hall
    repository_password: {file: secrets/restic_main}
scratch: bk-b
rule: {copies: 2, media: 1, offsite: 0, immutable: 0, unverified: 0}
guards: {min_keep: 1, max_delete: {percent: 50, count: 1}, never_drop_last_verified: L3, grace: 1 day}
retention:
  newest: {last: 1, keep_oldest: false}
resources:
  city-share:
    source: {kind: files, host: files-a, paths: [/srv/share], must_exist: [/srv/share/.here]}
    rpo: 4 h
    take: {every: 4 hours}
    to: [hall-nas]
    keep: {profile: newest}
    verify: [{level: L2, every: 1 day}, {level: L3, every: 1 day}]
  payments-dump:
    source: {kind: postgresql-dump, host: pg-a, cluster: 15/main, database: payments}
    rpo: 24 h
    take: {at: "daily 02:00"}
    to: [hall-nas]
    keep: {profile: newest}
    verify:
      - {level: L2, every: 1 day}
      - {level: L3, every: 1 day}
"""
PAYMENTS = (
    "insert into payments (reference, account, amount_cents) "
    "select 'P-' || n, 'A-1', n from generate_series(1, 2000) n"
)
PERSON = ("--reason", "looked at, and mended")


@pytest.fixture(scope="module")
def city(backup_checkout: Checkout) -> Checkout:
    city = backup_checkout
    (city.root / "inventories" / city.name / "backups.yml").write_text(POLICY)
    city.sql("pg-a", PAYMENTS, "payments")
    # All of it is expired, so that there is always something to delete.
    save_earlier(city, SHARE, days=7)
    save_earlier(city, DUMP, days=3)
    city.must("backup.run")
    city.must("backup.verify", "--due")
    city.must("backup.rotate")  # its policy is accepted, and what it expires is marked
    let_grace_pass(city)
    return city


def told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Read what a command printed with --json."""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def fails(city: Checkout, resource: str, *words: str) -> None:
    """The backup fails, in these words, and says what to do."""
    done = city.inv("backup.run", "--resource", resource)
    assert done.returncode == 5, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert "Nothing older of these is deleted until" in done.stderr
    assert "hint: ./inv" in done.stderr


def is_frozen(city: Checkout, resource: str, *words: str) -> None:
    """The resource is red and says why; a rotation says the same and deletes nothing."""
    before = listed(city)
    done = city.inv("backup.status", "--resource", resource, "--json")
    assert done.returncode == 6, done.stderr
    (row,) = told(done)["resources"]
    assert row["state"] == "red"
    rotated = city.inv("backup.rotate", "--resource", resource, "--json")
    assert rotated.returncode == 6, rotated.stderr
    (decision,) = told(rotated)["rows"]
    assert decision["going"] == 0
    assert "nothing of these is deleted" in rotated.stderr
    for said in ("; ".join(row["wrong"]), "; ".join(decision["frozen"])):
        assert all(word in said for word in words), said
    assert listed(city) == before


def goes_on(city: Checkout, resource: str) -> None:
    """A rotation deletes the oldest point, as it would have done before."""
    before = listed(city)
    rotated = city.inv("backup.rotate", "--resource", resource, "--json")
    assert rotated.returncode == 0, rotated.stderr
    assert told(rotated)["deletes"] == len(before - listed(city)) == 1


def is_good(city: Checkout, resource: str) -> None:
    done = city.inv("backup.status", "--resource", resource)
    assert done.returncode == 0, done.stderr


def saves_and_proves(city: Checkout, resource: str) -> None:
    """A later point that is proven clears what failed, and the resource is good again."""
    city.must("backup.run", "--resource", resource)
    city.must("backup.verify", "--resource", resource, "--level", "L3")
    is_good(city, resource)


def a_person_clears(city: Checkout, resource: str, word: str) -> None:
    """What is cleared is shown."""
    assert word in city.must("backup.clear", "--resource", resource, *PERSON)


# --- dumps ------------------------------------------------------------------------------------------

CUT = {
    "custom": ("-Fc", "cannot be read to its end"),
    "plain": ("-Fp", "its last line is not that of a whole dump"),
    "tar": ("-Ft", "the archive is cut off"),
}


@pytest.mark.parametrize(("form", "why"), CUT.values(), ids=CUT)
def test_a_dump_of_any_format_that_was_cut_off_is_no_point(city: Checkout, form: str, why: str) -> None:
    """pg_dump ends with 0, and what came of it is 70 % of a dump."""
    cut = f"""
set -- $(echo "$@" | sed 's/-Fc/{form}/')
"$real" "$@" >/tmp/whole && head -c $(($(stat -c %s /tmp/whole) * 7 / 10)) /tmp/whole; rm /tmp/whole
"""
    before = listed(city)
    with instead(city, "pg-a", PG_DUMP, cut):
        fails(city, DUMP, "payments of 15/main on pg-a was not dumped", why)
    assert listed(city) == before


def test_what_failed_of_dumps_freezes_until_a_whole_one_is_proven(city: Checkout) -> None:
    is_frozen(city, DUMP, "take failed", *(why for _, why in CUT.values()))
    saves_and_proves(city, DUMP)
    goes_on(city, DUMP)


def test_a_pg_dump_that_dies_leaves_no_point(city: Checkout) -> None:
    before = listed(city)
    with instead(city, "pg-a", PG_DUMP, '"$real" "$@" | head -c 2000\nkill -KILL $$'):
        fails(city, DUMP, "payments of 15/main on pg-a was not dumped")
    assert listed(city) == before
    is_frozen(city, DUMP, "take failed", "was not dumped")
    a_person_clears(city, DUMP, "was not dumped")
    goes_on(city, DUMP)


# --- files ------------------------------------------------------------------------------------------


def test_a_source_that_is_missing_is_no_empty_point(city: Checkout) -> None:
    city.sh("files-a", "mv /srv/share /srv/elsewhere")
    try:
        fails(city, SHARE, "missing source /srv/share")
    finally:
        city.sh("files-a", "mv /srv/elsewhere /srv/share")
    is_frozen(city, SHARE, "take failed", "missing source /srv/share")
    a_person_clears(city, SHARE, "missing source /srv/share")
    goes_on(city, SHARE)


def test_an_empty_folder_where_a_disk_was_mounted_is_no_empty_point(city: Checkout) -> None:
    city.sh("files-a", "mount -t tmpfs none /srv/share")
    try:
        fails(city, SHARE, "/srv/share/.here is not there: is its disk mounted?", "/srv/share is empty")
    finally:
        city.sh("files-a", "umount /srv/share")
    is_frozen(city, SHARE, "take failed", "is its disk mounted?")
    a_person_clears(city, SHARE, "is its disk mounted?")
    goes_on(city, SHARE)


# --- the repository ---------------------------------------------------------------------------------


def test_one_flipped_bit_suspends_every_proof_of_the_store(city: Checkout) -> None:
    with a_flipped_bit(city) as pack:
        read = city.inv("backup.verify", "--store", "hall-nas", "--level", "L2")
        assert read.returncode == 6, read.stderr
        assert f"pack {pack[:10]}" in read.stdout + read.stderr
        assert "Every proof of hall-nas is suspended" in read.stderr
        for resource in (SHARE, DUMP):
            is_frozen(city, resource, f"pack {pack[:10]}")
    city.must("backup.verify", "--store", "hall-nas", "--level", "L2")
    goes_on(city, SHARE)


def test_a_repository_without_room_keeps_every_point(city: Checkout) -> None:
    with a_small_disk(city, free_kib=500):
        city.sh("files-a", "head -c 3000000 /dev/urandom >/srv/share/much")
        fails(city, SHARE, "out of disk")
        is_frozen(city, SHARE, "take failed", "out of disk")
        city.sh("files-a", "rm /srv/share/much")
    a_person_clears(city, SHARE, "out of disk")
    goes_on(city, SHARE)


def test_a_lock_of_a_killed_restic_is_named_and_goes_when_it_is_old(city: Checkout) -> None:
    lock = leave_a_lock(city)
    fails(city, SHARE, "the repository is locked alone by PID", "on bk-a")
    is_frozen(city, SHARE, "take failed", "locked alone by PID")
    age_the_lock(city, lock, by=timedelta(minutes=31))
    saves_and_proves(city, SHARE)
    goes_on(city, SHARE)


def test_a_point_of_2099_stands_in_for_no_other(city: Checkout) -> None:
    """As libfaketime does not deceive restic, a program of Go, its own --time writes the same down."""
    of_2099 = """
case "$1" in backup) shift; set -- backup --time "2099-01-01 00:00:00" "$@" ;; esac
exec "$real" "$@"
"""
    with instead(city, "files-a", "/usr/bin/restic", of_2099):
        city.must("backup.run", "--resource", SHARE)
    is_frozen(city, SHARE, "strange time", "says that it is of 2099-01-01 00:00 UTC", "a clock is wrong")
    a_person_clears(city, SHARE, "a clock is wrong")
    goes_on(city, SHARE)
    shown = told(city.inv("backup.list", "--resource", SHARE, "--json"))["points"]
    assert any(one["point"]["claimed_at"].startswith("2099") for one in shown), "it stays"
    (row,) = told(city.inv("backup.status", "--resource", SHARE, "--json"))["resources"]
    assert not row["due_at"].startswith("2099"), "the next one is due as ever"
