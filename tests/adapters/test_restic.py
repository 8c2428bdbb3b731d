"""What restic said, word for word, by several versions, and what we read in it."""

import datetime as dt
import json
from itertools import pairwise

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from automation.adapters.restic.answers import parse_snapshots, records, recovery_points
from automation.adapters.restic.copying import lacking_of
from automation.adapters.restic.faults import named_parts, recognise
from automation.adapters.restic.initialising import make_if_empty
from automation.adapters.restic.rotating import refuse_missing, sizes
from automation.adapters.restic.versions import OLDEST, TABLE, abilities, parse_version
from automation.model.actions.restic import ReclaimSpace, Repository
from automation.model.errors import AdapterError
from automation.shipped.manifest import bucket

ID = "aecdac9516daeff99be413f7af1acf364b0c60a41483733ed9972c5382096f75"
COPY = "16d9e6a68110ae959590166e2e1c3419795529721c29adfb6807d3313ae8d1a0"
PACK = "c832e85201a17f837380a27fc8c3cba907d0dabe36ab3480759011b594cb92a4"

# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("restic 0.14.0 compiled with go1.19.8 on linux/amd64", (0, 14)),
        ("restic 0.16.5 (v0.16.5) compiled with go1.26.8 on linux/amd64", (0, 16)),
        ("warning: something\nrestic 0.19.1 compiled with go1.26.8 on linux/amd64\n", (0, 19)),
        ("restic 1.2-dev (compiled manually) compiled with go1.30", (1, 2)),
    ],
)
def test_a_version_is_read(said: str, version: tuple[int, int]) -> None:
    assert parse_version(said) == version


@pytest.mark.parametrize(
    "said", ["restic 0.13.1 compiled with go1.18", "restic 0.9.6", "sh: restic: not found", ""]
)
def test_what_is_too_old_or_no_restic_is_refused(said: str) -> None:
    with pytest.raises(AdapterError, match="nothing changed"):
        parse_version(said)


def test_a_version_that_nobody_knows_yet_is_taken_as_the_newest_known() -> None:
    assert abilities((0, 25)) == abilities((3, 0)) == TABLE[-1]
    assert abilities((0, 18)) == abilities((0, 17))
    assert abilities(OLDEST) == TABLE[0]


def test_no_version_forgets_what_an_older_one_can_do() -> None:
    for older, newer in pairwise(TABLE):
        assert older.since < newer.since
        assert all(then <= now for then, now in zip(older[1:], newer[1:], strict=True))


# --- lists ----------------------------------------------------------------------------------------

OF_0_14 = {
    "time": "2026-11-22T07:34:25.448214623+05:45",
    "tree": "5e43",
    "paths": ["/srv/share", "/var/lib/mainstay/manifests/city-share.jsonl"],
    "hostname": "city-share",
    "username": "root",
    "tags": ["nightly", "mainstay.size=6000001", "mainstay.run=20261122-0730/take"],
    "id": ID,
    "short_id": "aecdac95",
}
OF_0_17 = {
    **{key: OF_0_14[key] for key in ("tree", "paths", "username")},
    "time": "2026-11-22T08:34:25Z",
    "hostname": "city-share",
    "original": ID,
    "program_version": "restic 0.17.3",
    "summary": {"files_new": 21, "total_bytes_processed": 77, "data_added_packed": 6003570},
    "id": COPY,
    "short_id": "16d9e6a6",
}


def test_points_are_read_oldest_first_with_their_own_offset_and_without_our_tags() -> None:
    older, newer = recovery_points(parse_snapshots(json.dumps([OF_0_17, OF_0_14])), "nas")
    assert (older.id, older.size_bytes, older.tags, older.status) == (ID, 6_000_001, ("nightly",), "ok")
    assert older.claimed_at.utcoffset() == dt.timedelta(hours=5, minutes=45)
    assert older.claimed_at.microsecond == 448214
    assert (newer.id, newer.size_bytes, newer.copy_name) == (COPY, 77, "nas")


def test_a_snapshot_of_a_host_that_can_be_no_resource_is_no_point() -> None:
    foreign = {**OF_0_14, "hostname": "Old_Laptop.local"}
    assert recovery_points(parse_snapshots(json.dumps([foreign])), "nas") == ()


def test_a_point_that_was_known_to_be_partial_says_so() -> None:
    partial = {**OF_0_14, "tags": ["mainstay.partial"]}
    assert recovery_points(parse_snapshots(json.dumps([partial])), "nas")[0].status == "partial"


@pytest.mark.parametrize("said", ["", "[{}]", '[{"id": 1}', "[1]", "Fatal: no"], ids=repr)
def test_an_answer_that_is_no_list_is_an_error_and_never_an_empty_repository(said: str) -> None:
    with pytest.raises(AdapterError, match="nothing changed"):
        parse_snapshots(said)


def test_an_empty_list_is_one() -> None:
    assert parse_snapshots("[]\n") == parse_snapshots("null") == ()


def test_a_line_that_a_kill_cut_off_is_passed_over() -> None:
    said = 'words\n{"record": "manifest", "files": 3}\n{"record": "list'
    assert [one["record"] for one in records(said)] == ["manifest"]


def test_a_point_is_copied_once_whatever_it_is_called_there() -> None:
    source = parse_snapshots(json.dumps([OF_0_14]))
    target = parse_snapshots(json.dumps([OF_0_17]))
    assert lacking_of(source, ()) == [ID]
    assert lacking_of(source, target) == []
    assert lacking_of(target, source) == []
    assert lacking_of(source, (), leave=[ID]) == []


def test_no_data_is_removed_while_a_point_is_gone_that_must_be_there() -> None:
    told = ReclaimSpace(host="bk-a", of=Repository(store="nas", url="/main"), stay=("a" * 64, "b" * 64))
    refuse_missing(told, {"a" * 64, "b" * 64, "c" * 64})
    with pytest.raises(AdapterError, match="1 points that were to stay are not there"):
        refuse_missing(told, {"a" * 64, "c" * 64})


def test_sizes_are_the_disks_or_else_restics() -> None:
    assert sizes("little\nsizes: 2000 1500\n") == (2000, 1500)
    told = (
        "total prune:         3 blobs / 1.500 MiB\nremaining:          23 blobs / 512 B\nunused size: 0 B\n"
    )
    assert sizes(told) == (512 + 3 * 2**19, 512)


# --- errors ---------------------------------------------------------------------------------------

LOCKED = (
    "unable to create lock in backend: repository is already locked by PID 3997 on vm "
    "by root (UID 0, GID 0)\nlock was created at 2026-11-22 07:47:36 (1.58040781s ago)\nstorage ID f1ebae13\n"
    "the `unlock` command can be used to remove stale locks\n"
)
ERRORS = [
    (1, LOCKED, "locked", "by PID 3997 on vm (root) since 2026-11-22 07:47:36 (1.58040781s)"),
    (
        11,
        json.dumps({"message_type": "exit_error", "code": 11, "message": LOCKED}),
        "locked",
        "by PID 3997 on vm",
    ),
    (1, LOCKED.replace("locked by", "locked exclusively by"), "locked", "locked alone by PID 3997"),
    (1, "Fatal: wrong password or no key found\n", "wrong-password", "wrong password"),
    (
        12,
        '{"message_type":"exit_error","code":12,"message":"Fatal: wrong password or no key found"}',
        "wrong-password",
        "",
    ),
    (
        1,
        "Fatal: unable to open config file: stat /srv/nas/config: no such file or directory\n"
        "Is there a repository at the following location?\n/srv/nas\n",
        "no-repository",
        "there is no repository",
    ),
    (
        1,
        "Fatal: unable to open config file: Stat: The specified key does not exist.\n"
        "Is there a repository at the following location?\ns3:http://127.0.0.1:45989/city/fresh\n",
        "no-repository",
        "s3:http://127.0.0.1:45989/city/fresh",
    ),
    (
        10,
        '{"message_type":"exit_error","code":10,"message":"Fatal: repository does not exist: '
        "unable to open config file: stat /srv/config: no such file or directory\\nIs there a repository at "
        'the following location?\\n/srv"}',
        "no-repository",
        "",
    ),
    (
        1,
        "Fatal: unable to save snapshot: write /r/data/89/8997ca-tmp-2699: no space left on device\n",
        "out-of-disk",
        "no space left",
    ),
    (
        1,
        "subprocess ssh: ssh: connect to host 127.0.0.1 port 22: Connection refused\n"
        "Fatal: unable to open repository at sftp:nobody@127.0.0.1:/x: "
        "unable to start the sftp session, error: EOF\n",
        "network",
        "cannot be reached",
    ),
    (
        1,
        "Fatal: unable to open config file: Head https://s3.city.lab/b/config: dial tcp "
        "10.9.0.3:443: i/o timeout\n"
        "Is there a repository at the following location?\ns3:https://s3.city.lab/b\n",
        "network",
        "i/o timeout",
    ),
    (
        1,
        f"Pack ID does not match, want {PACK}, got {ID}\nFatal: repository contains errors\n",
        "damaged",
        "damaged: pack c832e85201",
    ),
    (
        1,
        f"pack {PACK} contains 2 errors: [blob a6aadf3082: decrypting blob <data/a6aadf30> from "
        "c832e852 failed: ciphertext verification failed]\nFatal: repository contains errors\n",
        "damaged",
        "pack c832e85201, blob a6aadf3082",
    ),
    (
        1,
        "error for tree fff26412:\n  decrypting blob fff264123cd26cd4 failed: ciphertext verification "
        "failed\n[0:00] 100.00%  1 / 1 snapshots\n\nFatal: repository contains errors\n",
        "damaged",
        "tree fff26412, blob fff264123c",
    ),
    (
        1,
        "error: error loading index fdbfb5902ae761: LoadRaw(<index/fdbfb5902a>): invalid data returned\n",
        "damaged",
        "index fdbfb5902a",
    ),
    (1, f"pack {PACK}: does not exist\nFatal: repository contains errors\n", "damaged", "pack c832e85201"),
    (
        1,
        f"ignoring error for /src/f11: StreamPack: open /r/data/c8/{PACK}: no such file or directory\n",
        "damaged",
        "/src/f11",
    ),
    (137, "", "interrupted", "killed"),
    (124, "it was interrupted after 900 s\n", "interrupted", "after 900 s"),
    (0, "Killed\nit was interrupted (137)\n", "interrupted", "137"),
    (
        1,
        "Load(<data/c832e85201>, 0, 0) returned error, retrying after 552ms: connection reset by peer\n"
        f"Pack ID does not match, want {PACK}, got {ID}\nFatal: repository contains errors\n",
        "damaged",
        "pack c832e85201",
    ),
    (
        1,
        "Load(<data/c832e85201>): 503 Service Unavailable\nFatal: repository contains errors\n",
        "network",
        "",
    ),
    (
        1,
        "Fatal: unable to open config file: Stat: Access Denied.\nIs there a repository at the following "
        "location?\ns3:https://s3.city.lab/b\n",
        "refused",
        "Access Denied",
    ),
    (1, "", "other", "exit code 1 and no word"),
]


@pytest.mark.parametrize(
    ("code", "said", "kind", "words"), ERRORS, ids=[f"{n}-{row[2]}" for n, row in enumerate(ERRORS)]
)
def test_what_went_wrong_is_recognised_and_named(code: int, said: str, kind: str, words: str) -> None:
    fault = recognise(code, said, host="files-a", environment="lab")
    assert fault.kind == kind
    assert words in fault.text
    assert "\n" not in fault.text
    assert fault.hint


def test_only_what_may_pass_by_itself_is_tried_again() -> None:
    kinds = {recognise(code, said, host="h", environment="e") for code, said, _, _ in ERRORS}
    assert {fault.kind for fault in kinds if fault.transient} == {"locked", "network"}


def test_noise_of_retries_is_not_told() -> None:
    noise = f"Load(<data/c832e85201>, 6001042, 0) returned error, retrying after 552ms: open {PACK}: no\n"
    fault = recognise(1, f"{noise * 10}Fatal: There were 42 errors\n", host="h", environment="e")
    assert fault.text == "There were 42 errors"


def test_a_file_that_restic_could_not_read_is_named() -> None:
    said = (
        '{"message_type":"error","error":{"Op":"open","Path":"/srv/x","Err":13},"during":"archival","item":"/srv/x"}\n'
        '{"message_type":"error","error":{"message":"read /srv/y: input/output error"},"item":"/srv/y"}\n'
    )
    text = recognise(3, said, host="h", environment="e").text
    assert text == "/srv/x: cannot be read | /srv/y: read /srv/y: input/output error"


def test_each_damaged_part_is_named_once() -> None:
    assert named_parts(f"pack {PACK} contains\nrepair packs {PACK}\nblob abcdef0123456789") == (
        "pack c832e85201",
        "blob abcdef0123",
    )


# --- where a repository is made -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "looks"),
    [
        ("/srv/re po", "ls -A -- '/srv/re po'"),
        ("sftp:backup@nas:/srv/main", "'ls -1a \"%s\"\\n' /srv/main | sftp -q -b -  backup@nas"),
        ("sftp://backup@nas:2222//srv/main", "/srv/main | sftp -q -b - -P 2222 backup@nas"),
        ("sftp:nas:main", "main | sftp -q -b -  nas"),
        ("s3:https://s3.city.lab/vault", "manifest.bucket s3:https://s3.city.lab/vault"),
        ("rest:https://nas:8000/main", "by hand"),
    ],
)
def test_a_place_is_looked_into_before_a_repository_is_made(url: str, looks: str) -> None:
    assert looks in make_if_empty(Repository(store="nas", url=url))


def test_a_copy_is_cut_into_the_pieces_of_its_source() -> None:
    made = make_if_empty(Repository(store="eoc", url="/b"), Repository(store="nas", url="/a b"))
    assert "restic init --from-repo '/a b' --copy-chunker-params" in made


@pytest.mark.parametrize("token", ["", "a-session-token"])
def test_an_object_store_is_asked_with_the_signature_that_amazon_asks_for(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signer of botocore itself signer is the judge."""
    now = dt.datetime(2026, 11, 22, 8, 0, 0, tzinfo=dt.UTC)
    for name, value in {
        "ACCESS_KEY_ID": "who",
        "SECRET_ACCESS_KEY": "what",
        "DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    asked = {"max-keys": "5", "prefix": "a main/", "versions": ""}
    ours = bucket._signed("https", "s3.city.lab:9000", "/city backups", asked, now)
    theirs = AWSRequest("GET", "https://s3.city.lab:9000/city%20backups", params=asked)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now.replace(tzinfo=None), raising=False)
    S3SigV4Auth(Credentials("who", "what", token or None), "s3", "eu-west-1").add_auth(theirs)
    assert ours.get_header("X-amz-date") == theirs.headers["X-Amz-Date"]
    assert ours.get_header("Authorization") == theirs.headers["Authorization"]
