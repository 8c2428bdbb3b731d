"""Canaries, locks and recovered copies against S3 with versions and Object Lock, over TLS: the lab's own."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from botocore.config import Config

from automation.adapters import keys, object_store
from automation.adapters.object_store import client as client_of_store
from automation.adapters.object_store.client import Bucket
from automation.model.actions import MakeKeys, RecoverCopy, TryDelete
from automation.model.backup_evidence import CanaryRefused, CopyRecovered, NotImmutable
from automation.model.environment import Environment
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.secrets import SecretRef
from tests.lab.oracles import debian_restic

PROGRAM = Path(__file__).resolve().parents[2] / "drtests/simulators/object_store.py"
OWNER, WRITER = SecretRef(file="secrets/vault_owner"), SecretRef(file="secrets/vault_writer")
PATIENCE_S = 30.0
LOCKED = {
    "vault": {"mode": "compliance", "days": 40},
    "attacked": {"mode": "compliance", "days": 40},
    "lenient": {"mode": "governance", "days": 40},
    "locks": {"mode": "compliance", "days": 3},
    "aging": {"mode": "compliance", "days": 40},
    "aged": {"mode": "governance", "days": 40},
    "share": {"mode": "compliance", "days": 40},
}


@dataclass
class Store:
    """A simulator that runs, the context of a step beside it, and its owner's own client."""

    url: str
    context: Context
    owner: Any

    def fill(self, bucket: str, objects: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda one: self.put(bucket, *one), objects.items()))

    def put(self, bucket: str, key: str, content: bytes, **lock: object) -> str:
        return str(self.owner.put_object(Bucket=bucket, Key=key, Body=content, **lock)["VersionId"])

    def content(self, bucket: str) -> dict[str, bytes]:
        listed = self.owner.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {
            one["Key"]: self.owner.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed
        }

    def versions(self, bucket: str) -> set[tuple[str, str]]:
        listed = self.owner.list_object_versions(Bucket=bucket)
        both = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
        return {(one["Key"], one["VersionId"]) for one in both}

    def retention(self, bucket: str, key: str, version: str = "") -> Mapping[str, Any]:
        more = {"VersionId": version} if version else {}
        answer = self.owner.get_object_retention(Bucket=bucket, Key=key, **more)
        return cast("Mapping[str, Any]", answer["Retention"])

    def wait_until(self, moment: datetime) -> None:
        while self.wait_for_the_next_second() <= moment:
            pass

    def wait_for_the_next_second(self) -> datetime:
        """The store's clock has seconds; what is done from now on has another one."""
        moment = datetime.now(UTC).replace(microsecond=0)
        while datetime.now(UTC).replace(microsecond=0) == moment:
            time.sleep(0.05)
        return moment


class _Context:
    run_id, step_id, timeout_s = "20261122-0300", "vault/canary", 60.0

    def __init__(self, state: Path, trusted: str = "certificates/ca.crt") -> None:
        self.state = state
        simulator = {"kind": "object-store", "site": "cloud", "address": "127.0.0.1", "name": "localhost"}
        self.environment = Environment.model_validate(
            {
                "name": "city",
                "folder": state,
                "kind": "lab",
                "inventory": ["hosts.yml"],
                "automation_user": "ops",
                "witness": {"host": "client-1"},
                "dns": {"zone": "city.lab", "key_name": "mainstay", "key": {"file": "secrets/tsig_key"}},
                "object_store_ca": trusted,
                "lab": {
                    "id": "city",
                    "prefix": "10.94.0.0/16",
                    "control_subnet": "10.94.0.0/24",
                    "sites": {"cloud": "10.94.4.0/24"},
                    "simulators": {"s3": simulator | {"buckets": LOCKED, "logins": {}}},
                },
            }
        )

    def secret(self, ref: SecretRef) -> str:
        return (self.state / str(ref.file)).read_text()

    def say(self, text: str) -> None:
        print(text)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    state = tmp_path_factory.mktemp("store")
    context = cast("Context", _Context(state))
    logins = ("vault_owner", "vault_writer")
    keys.make(MakeKeys(secrets=(), logins=logins, certificates={"s3": ("localhost", "127.0.0.1")}), context)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (state / "settings.json").write_text(json.dumps(_settings(state, port)))
    with (state / "simulator.log").open("w") as log:
        process = subprocess.Popen([sys.executable, str(PROGRAM), str(state)], stdout=log, stderr=log)
    try:
        _await_port(port, process)
        yield Store(f"https://localhost:{port}", context, _owners_client(state, port))
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _settings(state: Path, port: int) -> dict[str, object]:
    return {
        "address": "127.0.0.1",
        "port": port,
        "certificate": str(state / "certificates/s3.crt"),
        "key": str(state / "certificates/s3.key"),
        "buckets": LOCKED,
        "logins": {role: str(state / f"secrets/vault_{role}") for role in ("owner", "writer")},
    }


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _owners_client(state: Path, port: int) -> Any:
    login = dict(line.split("=", 1) for line in (state / "secrets/vault_owner").read_text().split())
    return boto3.session.Session().client(
        "s3",
        endpoint_url=f"https://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id=login["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=login["AWS_SECRET_ACCESS_KEY"],
        verify=str(state / "certificates/ca.crt"),
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=8),
    )


# --- the canary -----------------------------------------------------------------------------------


def canary(store: Store, bucket: str, *, login: SecretRef = OWNER, **more: object) -> Outcome:
    action = TryDelete(store="vault", bucket_url=f"{store.url}/{bucket}", login=login, **more)  # type: ignore[arg-type]
    return object_store.try_delete(action, store.context)


def refused(store: Store, bucket: str, **more: object) -> str:
    with pytest.raises(AdapterError) as told:
        canary(store, bucket, **more)
    assert isinstance(told.value.evidence, NotImmutable)
    assert told.value.evidence.source == "simulated"
    assert "is NOT immutable" in str(told.value)
    return told.value.evidence.found[0]


def test_a_locked_canary_cannot_be_deleted_and_nothing_else_is_touched(store: Store) -> None:
    store.put("vault", "data/pack", b"a real pack")
    before = store.versions("vault")
    evidence = canary(store, "vault", lock_mode="compliance", lock_s=39.5 * 86400).evidence
    assert isinstance(evidence, CanaryRefused)
    assert evidence.refused_by == "lock"
    assert evidence.refused_with.startswith("AccessDenied")
    assert evidence.locked_until - datetime.now(UTC) > timedelta(days=39)
    assert store.versions("vault") - before == {(evidence.key, evidence.version)}
    assert evidence.key.startswith("mainstay-canary/")


def test_a_login_that_may_delete_nothing_has_tried_no_lock(store: Store) -> None:
    outcome = canary(store, "vault", login=WRITER, lock_mode="compliance")
    assert isinstance(outcome.evidence, CanaryRefused)
    assert outcome.evidence.refused_by == "rights"
    assert "its lock is read, not tried" in outcome.summary


def test_old_canaries_go_when_their_lock_has_ended_and_no_other_object(store: Store) -> None:
    soon, later = (datetime.now(UTC) + timedelta(seconds=seconds) for seconds in (1, 86400))
    ends = {"mainstay-canary/old": soon, "mainstay-canary/young": later, "data/old": soon}
    put = {
        (key, store.put("vault", key, b"x", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until))
        for key, until in ends.items()
    }
    store.wait_until(soon)
    assert "old canaries removed" in canary(store, "vault").summary
    assert {key for key, _ in put & store.versions("vault")} == {"mainstay-canary/young", "data/old"}


def unlocked(store: Store, name: str, *, versions: bool = True, lock: bool = False) -> str:
    store.owner.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
    if versions:
        store.owner.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def test_a_bucket_without_versions_is_not_immutable(store: Store) -> None:
    assert "keeps no versions" in refused(store, unlocked(store, "plain", versions=False))


def test_a_bucket_without_a_lock_is_not_immutable(store: Store) -> None:
    assert "no default lock" in refused(store, unlocked(store, "versioned"))


def test_a_lock_that_is_enabled_but_locks_nothing_by_itself_is_not_enough(store: Store) -> None:
    assert "no default lock" in refused(store, unlocked(store, "enabled", lock=True))


def test_a_weaker_or_shorter_lock_than_declared_is_told(store: Store) -> None:
    assert refused(store, "lenient", lock_mode="compliance") == "its lock is governance, not compliance"
    assert refused(store, "vault", lock_s=50 * 86400.0) == "it locks for 40 d, not 50 d"


def test_a_lock_that_this_login_may_lift_is_no_lock(store: Store) -> None:
    before = store.versions("lenient")
    assert "may lift the lock" in refused(store, "lenient")
    assert store.versions("lenient") == before


def test_a_store_that_deletes_in_spite_of_its_lock_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifting = partialmethod(Bucket.delete, lift_governance=True)
    monkeypatch.setattr(Bucket, "delete", lifting)
    assert "was deleted in spite of its lock" in refused(store, "lenient")


def test_a_store_with_another_certificate_is_not_spoken_to(store: Store, tmp_path: Path) -> None:
    keys.make(
        MakeKeys(secrets=(), certificates={"s3": ("localhost", "127.0.0.1")}),
        cast("Context", _Context(tmp_path)),
    )
    other = _Context(cast("_Context", store.context).state, str(tmp_path / "certificates/ca.crt"))
    action = TryDelete(store="vault", bucket_url=f"{store.url}/vault", login=OWNER)
    with pytest.raises(AdapterError, match="CERTIFICATE_VERIFY_FAILED"):
        object_store.try_delete(action, cast("Context", other))


# --- the copy of a moment -------------------------------------------------------------------------


def named(kind: str, content: bytes) -> tuple[str, bytes]:
    name = hashlib.sha256(content).hexdigest()
    return (f"city/{kind}/{name[:2]}/{name}" if kind == "data" else f"city/{kind}/{name}"), content


REPOSITORY = dict(
    [
        ("city/config", b"config"),
        named("keys", b"key"),
        *(named("data", f"pack {number}".encode()) for number in range(12)),
        named("index", b"index"),
        named("snapshots", b"monday"),
        named("snapshots", b"tuesday"),
    ]
)
GONE, _ = named("snapshots", b"forgotten long ago")
TARGET_REPOSITORY = {key.removeprefix("city/"): content for key, content in REPOSITORY.items()}


@pytest.fixture(scope="module")
def attacked_at(store: Store) -> datetime:
    """A repository that was whole until then, and is ruined."""
    bucket = "attacked"
    pack, _ = named("data", b"pack 3")
    store.fill(bucket, REPOSITORY | {"city/locks/" + "0" * 64: b"lock", GONE: b"forgotten long ago"})
    store.put(bucket, "other/file", b"not of this repository")
    store.wait_for_the_next_second()
    store.put(bucket, pack, b"junk before the moment")
    store.owner.delete_object(Bucket=bucket, Key=GONE)
    moment = store.wait_for_the_next_second()
    store.put(bucket, "city/config", b"junk!!")
    store.put(bucket, "city/snapshots/" + "f" * 64, b"junk")
    for key in [*REPOSITORY][3:]:
        store.owner.delete_object(Bucket=bucket, Key=key)
    return moment


def recover(store: Store, as_of: datetime, to: str, *, timeout_s: float = 60.0) -> Outcome:
    action = RecoverCopy(
        store="vault",
        bucket_url=f"s3:{store.url}/attacked/city",
        login=OWNER,
        as_of=as_of,
        to_bucket_url=f"{store.url}/{to}",
    )
    cast("_Context", store.context).timeout_s = timeout_s
    return object_store.recover(action, store.context)


def test_what_a_repository_held_at_a_moment_comes_back_whatever_was_done_to_it(
    store: Store, attacked_at: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_of_store, "_PAGE", 5)
    evidence = recover(store, attacked_at, "clean").evidence
    assert store.content("clean") == TARGET_REPOSITORY
    assert isinstance(evidence, CopyRecovered)
    assert evidence.objects == evidence.copied == len(REPOSITORY)
    assert evidence.size_bytes == sum(map(len, REPOSITORY.values()))
    assert evidence.undeleted == len(REPOSITORY) - 2  # two keys nobody touched
    assert (evidence.gone_before, evidence.rewritten, evidence.snapshots) == (1, 1, 2)
    assert evidence.source == "simulated"
    assert store.owner.get_bucket_versioning(Bucket="clean")["Status"] == "Enabled"


def test_a_copy_that_is_there_is_not_made_again(store: Store, attacked_at: datetime) -> None:
    recover(store, attacked_at, "twice")
    before = store.versions("twice")
    again = recover(store, attacked_at, "twice")
    assert not again.changed
    assert store.versions("twice") == before


def test_a_copy_that_was_stopped_goes_on_where_it_was(store: Store, attacked_at: datetime) -> None:
    with pytest.raises(AdapterError, match="the time of the step is up"):
        recover(store, attacked_at, "stopped", timeout_s=0.0)
    begun = store.versions("stopped")
    recover(store, attacked_at, "stopped")
    assert store.content("stopped") == TARGET_REPOSITORY
    assert begun <= store.versions("stopped")


def test_a_bucket_with_something_else_in_it_is_left_alone(store: Store, attacked_at: datetime) -> None:
    bucket = unlocked(store, "busy")
    store.put(bucket, "somebody's", b"x")
    before = store.versions(bucket)
    with pytest.raises(AdapterError, match="1 objects that are not of the copy"):
        recover(store, attacked_at, bucket)
    assert store.versions(bucket) == before


def test_a_moment_before_the_repository_is_refused_and_nothing_is_made(
    store: Store, attacked_at: datetime
) -> None:
    with pytest.raises(AdapterError, match="lacked any object"):
        recover(store, attacked_at - timedelta(days=1), "never")
    assert "never" not in {one["Name"] for one in store.owner.list_buckets()["Buckets"]}


def test_the_attacked_bucket_itself_is_no_target(store: Store, attacked_at: datetime) -> None:
    with pytest.raises(AdapterError, match="in the bucket that was attacked"):
        recover(store, attacked_at, "attacked/clean")


# --- a real repository ----------------------------------------------------------------------------


class Restic:
    """restic with the login of a host that saves, and so that of whoever took it over."""

    def __init__(self, store: Store, folder: Path) -> None:
        state = cast("_Context", store.context).state
        login = dict(line.split("=", 1) for line in (state / WRITER.file).read_text().split())  # type: ignore[operator]
        self._environ = {**os.environ, **login, "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(folder)}
        self._argv = [debian_restic(), "--cacert", str(state / "certificates/ca.crt")]
        self._url = store.url

    def __call__(self, bucket: str, *words: str) -> str:
        argv = [*self._argv, "-r", f"s3:{self._url}/{bucket}/city", *words]
        done = subprocess.run(argv, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_a_repository_that_its_own_login_ruined_comes_back_and_every_file_with_it(
    store: Store, tmp_path: Path
) -> None:
    restic, share = Restic(store, tmp_path / "cache"), tmp_path / "share"
    share.mkdir()
    for number in range(60):
        (share / f"{number}.bin").write_bytes(hashlib.sha256(str(number).encode()).digest() * 2000)
    restic("share", "init")
    restic("share", "backup", "--quiet", str(share))
    (share / "0.bin").write_bytes(b"changed")
    restic("share", "backup", "--quiet", str(share))
    moment = store.wait_for_the_next_second()
    ids = [one["id"] for one in json.loads(restic("share", "snapshots", "--json"))]
    restic("share", "forget", "--prune", *ids)
    for key in store.content("share"):
        store.put("share", key, b"your files are encrypted")
    action = RecoverCopy(
        store="vault",
        bucket_url=f"{store.url}/share/city",
        login=OWNER,
        as_of=moment,
        to_bucket_url=f"{store.url}/rescued/city",
    )
    evidence = object_store.recover(action, store.context).evidence
    assert isinstance(evidence, CopyRecovered)
    assert evidence.snapshots == 2
    restic("rescued", "check", "--read-data")
    restic("rescued", "restore", "latest", "--target", str(tmp_path / "back"))
    found = {file.name: file.read_bytes() for file in (tmp_path / "back" / share.relative_to("/")).iterdir()}
    assert found == {file.name: file.read_bytes() for file in share.iterdir()}


# --- locks ----------------------------------------------------------------------------------------


def test_a_points_lock_is_that_of_its_own_object(store: Store) -> None:
    old, _ = named("data", b"an old pack")
    store.put("locks", old, b"an old pack")
    store.wait_for_the_next_second()
    snapshot, content = named("snapshots", b"a snapshot")
    version = store.put("locks", snapshot, content)
    manifest = "city/backup/erp/20261120-010000F_20261121-010000D/backup.manifest"
    store.put("locks", manifest, b"manifest")
    end = store.retention("locks", snapshot, version)
    found = object_store.locks_of(f"s3:{store.url}/locks/city", WRITER, store.context)
    assert found.points.keys() == {snapshot.rpartition("/")[2], "20261120-010000F_20261121-010000D"}
    assert found.points[snapshot.rpartition("/")[2]] == end["RetainUntilDate"]
