"""Locks that are lengthened in time: what an attacker can delete for good before it, and no longer after it.

Against S3 with versions and Object Lock, over TLS: the lab's own. The attacker may delete versions, and may
not lift a lock.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import ClientError

from automation.adapters import object_store
from automation.adapters.object_store import client as client_of_store
from automation.adapters.object_store import lengthening
from automation.adapters.object_store.client import Bucket, Default, Retention
from automation.commands._copies import judge_canaries, try_locks
from automation.commands._ledger import read_ledger
from automation.commands._session import Session
from automation.engine.context import RunContext
from automation.model.actions import LengthenLocks
from automation.model.backup_evidence import LocksLengthened
from automation.model.environment import Inventory
from automation.model.errors import AdapterError, StepFailed
from automation.model.records import Outcome, Remote
from tests.conftest import ROOT
from tests.programs.test_object_store import OWNER, WRITER, Restic, Store, named, unlocked
from tests.programs.test_object_store import store as store  # the fixture

if TYPE_CHECKING:
    from automation.adapters.ssh import Connections

DAY = timedelta(days=1)
SPAN = 30 * DAY


def lengthen(store: Store, place: str, span: timedelta = SPAN, **more: object) -> Outcome:
    words = {
        "store": "vault",
        "bucket_url": f"{store.url}/{place}",
        "login": OWNER,
        "lock_mode": "compliance",
    }
    times = {"lock_s": span.total_seconds(), "least_s": span.total_seconds() * 2 / 3}
    return object_store.lengthen_locks(
        LengthenLocks.model_validate({**words, **times, **more}), store.context
    )


def found(store: Store, place: str, span: timedelta = SPAN, **more: object) -> LocksLengthened:
    evidence = lengthen(store, place, span, **more).evidence
    assert isinstance(evidence, LocksLengthened)
    return evidence


def put(store: Store, folder: str, name: str, left: timedelta, mode: str = "COMPLIANCE") -> str:
    """Write an object of which so much of its lock is left; give its version."""
    until = datetime.now(UTC) + left
    lock = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}
    return store.put("aging", f"{folder}/{name}", name.encode(), **lock)


def ends_in(store: Store, folder: str, names: Iterable[str]) -> dict[str, int]:
    """Give for how many days each object is locked yet."""
    ends = {name: store.retention("aging", f"{folder}/{name}")["RetainUntilDate"] for name in names}
    return {name: round((end - datetime.now(UTC)) / DAY) for name, end in ends.items()}


def attack(store: Store, bucket: str, versions: Iterable[tuple[str, str]]) -> set[str]:
    """Delete versions for good; give the keys of those that went."""
    gone = set()
    for key, version in versions:
        try:
            store.owner.delete_object(Bucket=bucket, Key=key, VersionId=version)
            gone.add(key)
        except ClientError as refused:
            if refused.response["Error"]["Code"] != "AccessDenied":
                raise
    return gone


# --- the attack -----------------------------------------------------------------------------------


def test_what_lapsed_could_be_deleted_for_good_and_no_longer_when_locks_were_lengthened(store: Store) -> None:
    left = timedelta(seconds=2)
    before, after = (("aging/" + name, name) for name in ("before", "after"))
    versions = {
        f"{name}/{kind}": put(store, name, kind, left)
        for _, name in (before, after)
        for kind in ("old", "older")
    }
    store.wait_until(datetime.now(UTC) + left)
    assert attack(store, "aging", [("before/old", versions["before/old"])]) == {"before/old"}
    assert found(store, after[0]).lapsed == 2
    assert (
        attack(store, "aging", [(key, one) for key, one in versions.items() if key[:5] == "after"]) == set()
    )


@pytest.mark.parametrize("is_lengthened", [False, True], ids=["left alone", "lengthened"])
def test_a_new_snapshot_needs_old_packs_and_has_them_whatever_the_attacker_deletes(
    is_lengthened: bool, store: Store, tmp_path: Path
) -> None:
    restic, share = Restic(store, tmp_path / "cache"), tmp_path / "share"
    share.mkdir()
    for number in range(20):
        (share / f"{number}.bin").write_bytes(hashlib.sha256(str(number).encode()).digest() * 2000)
    folder = f"aged/{'good' if is_lengthened else 'bad'}"
    restic(folder, "init")
    restic(folder, "backup", "--quiet", str(share))
    old = {one for one in store.versions("aged") if one[0].startswith(f"{folder[5:]}/city/data/")}
    age(store, old)
    (share / "0.bin").write_bytes(b"changed")
    restic(folder, "backup", "--quiet", str(share))
    if is_lengthened:
        assert found(store, f"{folder}/city", lock_mode="governance").lapsed == len(old)
        assert attack(store, "aged", old) == set()
        restic(folder, "check", "--read-data")
        restic(folder, "restore", "latest", "--target", str(tmp_path / "back"))
        back = tmp_path / "back" / share.relative_to("/")
        assert {f.name: f.read_bytes() for f in back.iterdir()} == {
            f.name: f.read_bytes() for f in share.iterdir()
        }
    else:
        assert attack(store, "aged", old) == {key for key, _ in old}
        assert len(json.loads(restic(folder, "snapshots", "--json"))) == 2, "they look as if they were there"
        there = set(restic(folder, "list", "packs").split())
        assert there.isdisjoint(key.rpartition("/")[2] for key, _ in old), "19 of 20 files are nowhere else"


def age(store: Store, versions: Iterable[tuple[str, str]]) -> None:
    """Let locks end, as after 40 days; of governance the owner may."""
    end = datetime.now(UTC) + timedelta(seconds=1)
    for key, version in versions:
        store.owner.put_object_retention(
            Bucket="aged",
            Key=key,
            VersionId=version,
            BypassGovernanceRetention=True,
            Retention={"Mode": "GOVERNANCE", "RetainUntilDate": end},
        )
    store.wait_until(end)


# --- which objects, and how long ------------------------------------------------------------------


def test_only_what_ends_too_soon_is_lengthened_and_a_second_time_nothing(store: Store) -> None:
    left = {"a": 1, "b": 19, "c": 21, "d": 35}
    for name, days in left.items():
        put(store, "some", name, days * DAY)
    first, again = lengthen(store, "aging/some"), lengthen(store, "aging/some")
    assert ends_in(store, "some", left) == {"a": 30, "b": 30, "c": 21, "d": 35}
    assert isinstance(first.evidence, LocksLengthened)
    assert isinstance(again.evidence, LocksLengthened)
    assert (first.changed, first.evidence.objects, first.evidence.lengthened) == (True, 4, 2)
    assert (again.changed, again.evidence.objects, again.evidence.lengthened) == (False, 4, 0)
    end = store.retention("aging", "some/c")["RetainUntilDate"]
    assert first.evidence.until == again.evidence.until == end
    assert (first.evidence.lapsed, first.evidence.source) == (0, "simulated")


def test_every_page_is_read_and_nothing_beside_the_prefix_is_touched(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_of_store, "_PAGE", 5)
    monkeypatch.setattr(lengthening, "_BATCH", 4)
    names = [f"{number:02}" for number in range(23)]
    for name in names:
        put(store, "many", name, DAY)
    put(store, "many-others", "x", DAY)
    assert found(store, "aging/many").lengthened == len(names)
    assert set(ends_in(store, "many", names).values()) == {30}
    assert ends_in(store, "many-others", ["x"]) == {"x": 1}


def test_a_lock_keeps_its_mode(store: Store) -> None:
    put(store, "modes", "governance", DAY, mode="GOVERNANCE")
    put(store, "modes", "compliance", DAY)
    lengthen(store, "aging/modes")
    modes = {name: store.retention("aging", f"modes/{name}")["Mode"] for name in ("governance", "compliance")}
    assert modes == {"governance": "GOVERNANCE", "compliance": "COMPLIANCE"}


def test_what_was_written_before_its_bucket_had_a_default_gets_the_declared_mode(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(unlocked(store, "late", lock=True), "written-before", b"x")
    monkeypatch.setattr(Bucket, "default_lock", lambda _: Default("compliance", 40 * DAY))
    assert found(store, "late").lapsed == 1
    assert store.retention("late", "written-before")["Mode"] == "COMPLIANCE"


def test_what_is_hidden_or_overwritten_is_counted_and_what_passes_is_left_alone(store: Store) -> None:
    pack, junked, twice = (named("data", word)[0].removeprefix("city/") for word in (b"a", b"b", b"c"))
    snapshot, expired = (named("snapshots", word)[0].removeprefix("city/") for word in (b"d", b"e"))
    label = "backup/erp/20261120-010000F/backup.manifest"
    passing = ("locks/" + "0" * 64, "mainstay-canary/old")
    shown = ("config", snapshot, junked, twice)
    for name in (pack, *shown, expired, label, *passing):
        put(store, "left", name, DAY)
    store.wait_for_the_next_second()
    put(store, "left", twice, DAY)
    store.put("aging", f"left/{junked}", b"junk")
    store.put("aging", f"left/{pack}", b"junk")
    store.owner.delete_object(Bucket="aging", Key=f"left/{pack}")
    expired_ids = (expired.rpartition("/")[2], "20261120-010000F")
    outcome = lengthen(store, "aging/left", running_out=expired_ids)
    evidence = outcome.evidence
    assert isinstance(evidence, LocksLengthened)
    assert (evidence.objects, evidence.lengthened, evidence.running_out) == (4, 3, 2)
    assert (evidence.hidden, evidence.overwritten) == (1, 1)
    assert "OVERWRITTEN" in outcome.summary
    assert set(ends_in(store, "left", (expired, label, *passing)).values()) == {1}
    assert set(ends_in(store, "left", shown).values()) == {30, 40}


# --- refusals -------------------------------------------------------------------------------------


def test_a_login_without_the_right_is_told_and_so_is_what_to_do(store: Store) -> None:
    put(store, "rights", "a", DAY)
    with pytest.raises(AdapterError, match="the login of vault may lock nothing: rights/a") as told:
        lengthen(store, "aging/rights", login=WRITER)
    assert "s3:PutObjectRetention" in str(told.value.hint)
    assert ends_in(store, "rights", "a") == {"a": 1}


@pytest.mark.parametrize(
    ("bucket", "words"),
    [("no-lock", "has no default lock"), ("nothing-by-itself", "has no default lock"), ("aging", "for 40 d")],
)
def test_a_bucket_that_locks_nothing_or_for_less_than_declared_is_refused(
    bucket: str, words: str, store: Store
) -> None:
    if bucket != "aging":
        unlocked(store, bucket, lock=bucket == "nothing-by-itself")
    with pytest.raises(AdapterError, match=f"{words}.*declared are 4000 d; nothing was changed"):
        lengthen(store, bucket, 4000 * DAY)


def test_what_was_cut_off_goes_on_where_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abcdef":
        put(store, "cut", name, DAY)
    lock, locked = Bucket.lock, list[str]()

    def lock_three(bucket: Bucket, key: str, version: str, retention: Retention) -> bool:
        if len(locked) == 3:
            raise AdapterError("the line was cut", transient=True)
        locked.append(key)
        return lock(bucket, key, version, retention)

    with monkeypatch.context() as patched:
        patched.setattr(lengthening, "AT_ONCE", 1)
        patched.setattr(Bucket, "lock", lock_three)
        with pytest.raises(AdapterError, match="the line was cut"):
            lengthen(store, "aging/cut")
    assert sorted(ends_in(store, "cut", "abcdef").values()) == [1, 1, 1, 30, 30, 30]
    assert found(store, "aging/cut").lengthened == 3


def test_the_time_of_the_step_ends_it_and_says_how_it_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "slow", "a", DAY)
    monkeypatch.setattr(type(store.context), "timeout_s", -1.0)
    with pytest.raises(AdapterError, match="the time of the step is up") as told:
        lengthen(store, "aging/slow")
    assert "./inv backup.canary --env city" in str(told.value.hint)


def test_a_lock_that_another_lengthened_meanwhile_is_good(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "race", "a", DAY)
    lock = Bucket.lock

    def lose(bucket: Bucket, key: str, version: str, retention: Retention) -> bool:
        lock(bucket, key, version, retention._replace(until=retention.until + DAY))
        return False

    monkeypatch.setattr(Bucket, "lock", lose)
    evidence = found(store, "aging/race")
    assert (evidence.lengthened, ends_in(store, "race", "a")) == (0, {"a": 31})


# --- the command ----------------------------------------------------------------------------------

POLICY = """\
version: 1
tz: America/New_York
stores:
  good: {{type: restic, repository: "s3:{url}/command/city", keeper: {{host: bk-a}}, site: cloud,
         medium: object-store, lock: {{mode: compliance, for: 40 days}}, login: {owner}}}
  writers: {{type: restic, repository: "s3:{url}/command/other", keeper: {{host: bk-a}}, site: cloud,
            medium: object-store, lock: {{mode: compliance, for: 40 days}}, login: {writer}}}
rule: {{copies: 3, media: 2, offsite: 0, immutable: 1}}
retention: {{standard: {{last: 3}}}}
scratch: bk-b
resources:
  share:
    source: {{kind: files, host: files-a, paths: [/srv/share], must_exist: [/srv/share/.here]}}
    rpo: 24 h
    take: {{every: 1 day}}
    to: [good, writers]
    keep: {{profile: standard}}
    verify: [{{level: L3, every: 1 week}}]
"""


class Unreachable:
    """Connections to hosts of which none answers."""

    def remote(self, host: str) -> Remote:
        raise AdapterError(f"{host} does not answer")


@pytest.fixture
def session(store: Store, tmp_path: Path) -> Session:
    """A city with two locked stores, whose keeper cannot be reached; the login of one may lock nothing."""
    state = store.context.state
    logins = {"owner": f"{{file: {OWNER.file}}}", "writer": f"{{file: {WRITER.file}}}"}
    (tmp_path / "backups.yml").write_text(POLICY.format(url=store.url, **logins))
    shutil.copy(ROOT / "inventories/lab/services.yml", tmp_path)
    environment = store.context.environment.model_copy(update={"folder": tmp_path})
    inventory = Inventory(servers={}, digest="1" * 64)

    def context(run_id: str) -> RunContext:
        artifacts = state / "runs" / run_id / "artifacts"
        nobody = cast("Connections", Unreachable())
        return RunContext(run_id, environment, inventory, state, tmp_path, artifacts, nobody, lambda *_: None)

    return Session(environment, inventory, state, tmp_path, Unreachable().remote, context)


def test_the_command_lengthens_in_every_store_and_tells_where_it_could_not(
    store: Store, session: Session
) -> None:
    store.owner.create_bucket(Bucket="command", ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 40}}
    store.owner.put_object_lock_configuration(
        Bucket="command", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime.now(UTC) + DAY}
    for key in ("city/config", "other/config"):
        store.put("command", key, b"config", **lock)
    canaries = try_locks(session, "", "")
    assert [(one.store, one.lengthened) for one in canaries.lengthened] == [("good", 1)]
    assert "the login of writers may lock nothing" in canaries.not_lengthened["writers"]
    assert {one.store for one in canaries.refused} == {"good", "writers"}
    with pytest.raises(StepFailed, match="will end under what is still needed: writers"):
        judge_canaries(session, canaries)
    simulated = read_ledger(session.state, simulated={"good", "writers"})
    assert simulated.lengthened == {"good": canaries.lengthened[0]}
    assert read_ledger(session.state).lengthened == {}, "what a simulator locked is no lock of a real store"
