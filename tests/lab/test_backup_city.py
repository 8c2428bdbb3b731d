"""The city with its backups, as site.yml makes it: stores, who reaches them, and who does not.

In the city of all tests of backups, as it was made. The tests stand in the order of what they leave behind,
and the last one takes a backup server away.
"""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from automation.adapters import devices, nspawn
from automation.model.actions import FetchConfig, PowerOffServer, ProveConfig, StartSimulator
from automation.model.terminals import DeviceLogin
from tests.lab.checkout import until
from tests.lab.city import City

HALL, EOC = "sftp:backup@bk-a:/srv/restic/main", "sftp:backup@bk-b:/srv/restic/main"
VAULT = "s3:https://s3.city.lab/city-files"
KEEPERS = {1: "bk-a", 2: "bk-b", 3: "bk-a"}


@pytest.fixture(scope="module")
def city(backup_city: City) -> City:
    return backup_city


def restic(city: City, host: str, store: str, repository: str, *words: str) -> str:
    """Call restic with a store's own credentials; copies take another's password from the same file."""
    script = (
        'set -a; . "/etc/mainstay/stores/$1.env"; set +a; export XDG_CACHE_HOME=/var/cache;'
        " export RESTIC_FROM_PASSWORD=$RESTIC_PASSWORD; shift;"
        ' exec restic ${RESTIC_CACERT:+--cacert "$RESTIC_CACERT"} "$@"'
    )
    return city.root(host, "sh", "-c", script, "sh", store, "-r", repository, *words)


def stanza(city: City, host: str, *words: str) -> str:
    command = ["sudo", "-n", "runuser", "-u", "postgres", "--", "pgbackrest", "--stanza=payments", *words]
    done = city.connections.remote(host).run(command, timeout_s=240)
    assert done.exit_code == 0, f"{words} on {host}: {done.stderr}"
    return done.stdout.strip()


def archived(city: City, host: str, number: int) -> str:
    """Give the newest WAL file that a repository has."""
    told = json.loads(stanza(city, host, "--output=json", f"--repo={number}", "info"))[0]
    return str(max(one["max"] for one in told["archive"] if one["max"]))


def refused(city: City, host: str, *command: str) -> str:
    """Run a command as root that must not end well; give what it says."""
    done = city.connections.remote(host).run(["sudo", "-n", *command])
    assert done.exit_code != 0, done.stdout
    return done.stdout + done.stderr


def s3(city: City, login: str) -> Any:
    lines = (city.state / "secrets" / login).read_text().splitlines()
    key, secret = (line.partition("=")[2] for line in lines)
    return boto3.client(
        "s3",
        endpoint_url=f"https://{city.environment.require_lab().simulators['s3'].address}",
        verify=str(city.state / "certificates/ca.crt"),
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def test_a_second_run_of_the_site_changes_nothing(city: City) -> None:
    assert city.converge() == 0


def test_the_inventory_and_the_environment_name_one_object_store(city: City) -> None:
    simulator = city.environment.require_lab().simulators["s3"]
    assert city.root("bk-a", "getent", "hosts", simulator.name).split() == [simulator.address, simulator.name]


# --- files ----------------------------------------------------------------------------------------


def test_a_share_is_saved_and_copied_to_the_other_site_and_the_object_store(city: City) -> None:
    assert int(city.root("files-a", "sh", "-c", "find /srv/share -type f | wc -l")) >= 400
    restic(city, "files-a", "hall-nas", HALL, "--host", "city-share", "backup", "/srv/share")
    restic(city, "bk-a", "eoc-nas", EOC, "copy", "--from-repo", HALL)
    restic(city, "bk-a", "vault", VAULT, "copy", "--from-repo", HALL)
    restic(city, "bk-b", "vault", VAULT, "check", "--read-data")
    stored = {
        store: json.loads(restic(city, "bk-b", store, repository, "stats", "--mode=raw-data", "--json"))
        for store, repository in (("hall-nas", HALL), ("eoc-nas", EOC), ("vault", VAULT))
    }
    blobs = {store: told["total_blob_count"] for store, told in stored.items()}
    assert len(set(blobs.values())) == 1, f"the same chunks everywhere: {blobs}"


def test_what_the_server_writes_into_its_own_repository_the_others_can_read(city: City) -> None:
    restic(city, "bk-a", "hall-nas", HALL, "prune")
    restic(city, "files-a", "hall-nas", HALL, "restore", "latest", "--target", "/var/tmp/restored")
    assert city.root("files-a", "diff", "-r", "/srv/share", "/var/tmp/restored/srv/share") == ""


def test_a_backup_login_moves_files_below_its_folder_and_nothing_else(city: City) -> None:
    assert "allows sftp connections only" in refused(city, "files-a", "ssh", "backup@bk-a", "id")
    seen = city.connections.remote("files-a").run(
        ["sudo", "-n", "sftp", "backup@bk-a"], stdin="ls /\nls /etc\nls /srv/pgbackrest\n"
    )
    assert "restic" in seen.stdout
    for hidden in ("/etc", "/srv/pgbackrest"):
        assert hidden in seen.stderr
    stranger = ("ssh", "-oStrictHostKeyChecking=no", f"backup@{city.inventory.server('bk-a').address}")
    assert "Permission denied" in refused(city, "client-1", *stranger)


def test_a_server_whose_key_is_not_the_pinned_one_gets_nothing(city: City) -> None:
    trusted = "/etc/mainstay/backup_known_hosts"
    city.root("files-a", "cp", trusted, f"{trusted}.kept")
    city.root("files-a", "sed", "-i", f"/{city.inventory.server('bk-a').address}/d", trusted)
    try:
        said = refused(city, "files-a", "sftp", "backup@bk-a")
    finally:
        city.root("files-a", "mv", f"{trusted}.kept", trusted)
    assert "Host key verification failed" in said


def test_no_secret_of_a_store_can_be_read_by_other_users_of_a_host(city: City) -> None:
    for host, path in (
        ("files-a", "/etc/mainstay/stores/hall-nas.env"),
        ("bk-a", "/etc/mainstay/stores/vault.env"),
        ("pg-a", "/etc/pgbackrest/pgbackrest.conf"),
        ("bk-b", "/etc/pgbackrest/restore.conf"),
        ("rtr-a", "/etc/frr/frr.conf"),
    ):
        assert city.connections.remote(host).run(["cat", path]).exit_code != 0, f"{path} on {host}"
    assert "vault.env" not in city.root("files-a", "ls", "/etc/mainstay/stores")


# --- routers --------------------------------------------------------------------------------------


def test_a_router_is_read_through_its_own_command_line(city: City) -> None:
    router = city.inventory.server("rtr-a")
    with_key = ["-i", str(city.state / "ssh/id_ed25519"), "-o", "BatchMode=yes"]
    with_key += ["-o", f"UserKnownHostsFile={city.state / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"]
    done = subprocess.run(
        ["ssh", "-tt", *with_key, f"backup@{router.address}"],
        input="terminal length 0\nshow running-config\nexit\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "rtr-a# show running-config" in done.stdout.replace("\r", "")
    assert (city.state / "secrets/router_password").read_text().strip() in done.stdout
    assert "Permission denied" not in done.stdout


def test_the_routers_speak_with_each_other_by_their_password(city: City) -> None:
    def seen() -> bool:
        told = json.loads(city.root("rtr-a", "vtysh", "-c", "show bgp summary json"))
        return [peer["state"] for peer in told["ipv4Unicast"]["peers"].values()] == ["Established"]

    until(seen, "rtr-a and rtr-b exchange routes")


def test_a_configuration_is_fetched_without_its_secrets_and_proven_put_together(city: City) -> None:
    folder, password = "/var/lib/mainstay/devices/test", (city.state / "secrets/router_password").read_text()
    fetch = FetchConfig(
        host="bk-b",
        device="rtr-a",
        vendor="frr",
        folder=folder,
        split_secrets=True,
        login=DeviceLogin(user="backup"),
    )
    assert devices.fetch(fetch, city.context).changed
    assert not devices.fetch(fetch, city.context).changed
    left = city.root("bk-b", "cat", f"{folder}/rtr-a.conf")
    assert "neighbor" in left
    assert password.strip() not in left
    city.root("rtr-a", "vtysh", "-c", "configure terminal", "-c", "ip route 203.0.113.0/24 Null0")
    assert devices.fetch(fetch, city.context).changed
    look = ProveConfig(
        host="bk-b",
        resource="routers",
        store="eoc-nas",
        point="0" * 64,
        vendor="frr",
        folder=folder,
        devices=("rtr-a",),
    )
    assert devices.prove(look, city.context).evidence is not None


# --- the object store -----------------------------------------------------------------------------


def test_what_is_written_is_locked_and_a_deleted_object_is_only_hidden(city: City) -> None:
    writer, owner, named = (
        s3(city, "vault_writer"),
        s3(city, "vault_owner"),
        {"Bucket": "city-files", "Key": "a"},
    )
    first = writer.put_object(**named, Body=b"first")["VersionId"]
    writer.put_object(**named, Body=b"second")
    writer.delete_object(**named)
    for client in (writer, owner):
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(**named, VersionId=first)
    kept = owner.get_object(**named, VersionId=first)
    assert (kept["Body"].read(), kept["ObjectLockMode"]) == (b"first", "COMPLIANCE")


def test_an_object_of_many_parts_is_locked_too_and_no_lock_is_shortened(city: City) -> None:
    writer, owner, named = (
        s3(city, "vault_writer"),
        s3(city, "vault_owner"),
        {"Bucket": "city-files", "Key": "b"},
    )
    upload = writer.create_multipart_upload(**named)["UploadId"]
    part = writer.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"x" * 5_300_000)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    writer.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=parts)
    lock = owner.get_object_retention(**named)["Retention"]
    assert lock["Mode"] == "COMPLIANCE"
    for shorter in ({"Mode": "GOVERNANCE"}, {"RetainUntilDate": lock["RetainUntilDate"].replace(year=2020)}):
        with pytest.raises(ClientError, match="AccessDenied"):
            owner.put_object_retention(**named, Retention={**lock, **shorter})
    with pytest.raises(ClientError, match="InvalidBucketState"):
        owner.put_bucket_versioning(Bucket="city-files", VersioningConfiguration={"Status": "Suspended"})


def test_the_store_keeps_what_it_has_when_it_ends_and_says_when_it_is_gone(city: City) -> None:
    owner = s3(city, "vault_owner")
    before = {one["Key"] for one in owner.list_objects_v2(Bucket="city-files")["Contents"]}
    lab = f"mainstay-{city.environment.require_lab().id}"
    procs = next(Path("/sys/fs/cgroup").glob(f"**/{lab}/simulator-s3/cgroup.procs"))
    os.kill(int(procs.read_text().split()[0]), signal.SIGTERM)
    shown = lambda: nspawn.describe(city.state, city.environment).simulators["s3"].power  # noqa: E731
    until(lambda: shown() == "off", "the store has ended")
    assert nspawn.start_simulator(StartSimulator(simulator="s3"), city.context).changed
    assert not nspawn.start_simulator(StartSimulator(simulator="s3"), city.context).changed
    assert {
        one["Key"] for one in s3(city, "vault_owner").list_objects_v2(Bucket="city-files")["Contents"]
    } == before


# --- the database ---------------------------------------------------------------------------------


def test_every_repository_gets_wal_and_a_backup_and_the_scratch_host_restores_each(city: City) -> None:
    assert city.pay("saved").status == 201
    for number, keeper in KEEPERS.items():
        stanza(city, keeper, f"--repo={number}", "--type=full", "backup")
        folder = f"/var/lib/postgresql/restored-{number}"
        words = ("--config=/etc/pgbackrest/restore.conf", f"--repo={number}", f"--pg1-path={folder}")
        city.root("bk-b", "install", "-d", "-o", "postgres", "-m", "0700", folder)
        stanza(city, "bk-b", *words, "restore")
        assert city.root("bk-b", "cat", f"{folder}/PG_VERSION") == "15"


def test_the_owner_of_the_cluster_lets_others_run_pgbackrest_and_nothing_else(city: City) -> None:
    said = refused(
        city, "bk-a", "runuser", "-u", "postgres", "--", "ssh", "postgres@pg-a", "cat", "/etc/passwd"
    )
    assert "root:" not in said


def test_a_dark_backup_server_stops_neither_payments_nor_the_other_repositories(city: City) -> None:
    nspawn.power_off_server(PowerOffServer(host="bk-a"), city.context)
    city.connections.close()
    assert city.pay("while-dark").status == 201
    written = city.sql("pg-a", "select pg_walfile_name(pg_switch_wal())")
    until(lambda: archived(city, "bk-b", 2) >= written, "the other site's repository has it", patience_s=150)
    assert city.pay("dark-still").status == 201
