"""restic as it is, of several versions: what our steps on it do, and what it hides that they find."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from automation.adapters import restic
from automation.adapters.restic.locks import list_locks
from automation.adapters.restic.versions import OLDEST, Abilities, abilities, parse_version
from automation.model.actions.restic import (
    SCRATCH,
    BreakLock,
    CheckRepository,
    ClearScratch,
    ForgetPoints,
    ReclaimSpace,
    Repository,
    RestoreFiles,
)
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.recovery_points import Level
from tests.lab.cheap_keys import make_repository
from tests.lab.oracles import built_restic, debian_restic
from tests.lab.saved import HOST, RESOURCE, Saved, saved

NEWEST = "0.19.1"
PROGRAMS = {"0.14": debian_restic, NEWEST: lambda: built_restic(NEWEST)}


@pytest.fixture
def city(tmp_path: Path) -> Iterator[Saved]:
    """A share of a host, by Debian's restic; its repository is there and opens at once."""
    with saved(tmp_path, debian_restic()) as made:
        make_repository(made.program, Path(made.nas.url), "of-nas")
        yield made


def refused(city: Saved, action: object, timeout_s: float = 300.0) -> AdapterError:
    with pytest.raises(AdapterError) as caught:
        city.do(action, timeout_s)
    return caught.value


# --- the table of versions ------------------------------------------------------------------------

TOLD = ("0.16.5", "0.17.3", NEWEST)


def told_by(program: str, folder: Path) -> Abilities:
    """Try a program, and write down what it tells."""
    (folder / "file").write_text("content")
    environ = {
        **os.environ,
        "RESTIC_REPOSITORY": f"{folder}/repository",
        "RESTIC_CACHE_DIR": f"{folder}/cache",
    }

    def call(*words: str, password: str = "good") -> subprocess.CompletedProcess[str]:
        argv, told = [program, *words, "--json"], {**environ, "RESTIC_PASSWORD": password}
        return subprocess.run(argv, env=told, capture_output=True, text=True, check=False)

    call("init")
    summary = call("backup", str(folder / "file")).stdout
    return Abilities(
        since=OLDEST,
        full_id_in_summary=re.search(r'"snapshot_id":"[0-9a-f]{64}"', summary) is not None,
        size_in_point='"total_bytes_processed":7' in call("snapshots").stdout,
        packed_in_summary='"data_added_packed":' in summary,
        exit_codes_tell=call("snapshots", password="bad").returncode == 12,
        missing_source_fails=call("backup", str(folder / "file"), f"{folder}/gone").returncode == 3,
    )


@pytest.mark.parametrize("version", ["0.14", *TOLD])
def test_the_table_says_what_each_version_tells(version: str, tmp_path: Path) -> None:
    program = debian_restic() if version == "0.14" else built_restic(version)
    known = abilities(parse_version(f"restic {version}"))
    assert told_by(program, tmp_path)[1:] == known[1:]


# --- what it is for -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", PROGRAMS)
def test_a_share_is_saved_copied_proven_restored_and_rotated(version: str, tmp_path: Path) -> None:
    with saved(tmp_path, PROGRAMS[version]()) as city:
        first = city.do(city.taking()).evidence
        assert first.figures.files == first.figures.new_files == 12
        assert first.figures.total_bytes == 8 * 60_000 + 60_000 + 7 + 3 + 5
        assert first.figures.stored_bytes > 8 * 60_000
        second = city.do(city.taking()).evidence
        assert (second.figures.new_files, second.figures.changed_files) == (0, 0)
        third = city.take("changed")
        assert city.ids() == [first.point, second.point, third]
        assert [point.size_bytes for point in city.points()][:2] == [first.figures.total_bytes] * 2

        copied = city.do(city.copying()).evidence.points
        assert list(copied.values()) == city.ids()
        assert list(copied) == city.ids(city.eoc)
        assert not city.do(city.copying()).changed

        checked = city.do(CheckRepository(host=HOST, of=city.nas)).evidence
        assert checked.points == tuple(city.ids())
        parts = [city.do(CheckRepository(host=HOST, of=city.nas, part=n, parts=2)).evidence for n in (1, 2)]
        packs = [path for path in Path(city.nas.url, "data").rglob("*") if path.is_file()]
        assert sum(part.size_bytes for part in parts) == sum(pack.stat().st_size for pack in packs)

        whole = city.do(city.proving(first.point)).evidence
        assert (whole.level, whole.whole, whole.size_bytes) == (Level.L3, True, first.figures.total_bytes)
        must = str(city.share / ".sentinel")
        part_of = city.do(city.proving(city.ids(city.eoc)[0], city.eoc, files=4, must_hold=(must,))).evidence
        assert (part_of.level, part_of.whole) == (Level.L4, False)

        gone = ForgetPoints(
            host=HOST, resource=RESOURCE, of=city.nas, points=(first.point, second.point), stay=(third,)
        )
        assert city.do(gone).evidence.left == 1
        assert city.ids() == [third]
        assert not city.do(gone).changed
        reclaimed = city.do(ReclaimSpace(host=HOST, of=city.nas)).evidence
        assert reclaimed.after_bytes < reclaimed.before_bytes
        assert city.do(city.proving(third)).evidence.whole


def test_what_expired_in_the_copy_is_not_copied_again(city: Saved) -> None:
    expired, kept = city.take(), city.take("later")
    city.do(city.copying(leave=(expired,)))
    assert list(city.do(city.copying()).evidence.points.values()) == [expired]
    assert len(city.ids(city.eoc)) == len([expired, kept])


def test_a_restore_never_overwrites_what_is_not_its_own(city: Saved) -> None:
    first, second = city.take(), city.take("later")
    there = city.folder / "restored"
    told = RestoreFiles(host=HOST, resource=RESOURCE, of=city.nas, point=first, folder=str(there))
    assert city.do(told).evidence.files == 12
    assert (there / str(city.share)[1:] / "a folder" / "o*d [x]\n").read_text() == "odd"
    assert "is not empty" in str(refused(city, told.model_copy(update={"point": second})))
    foreign = city.folder / "foreign"
    foreign.mkdir()
    (foreign / "precious").write_text("mine")
    assert "is not empty" in str(refused(city, told.model_copy(update={"folder": str(foreign)})))
    assert [path.name for path in foreign.iterdir()] == ["precious"]


def test_in_place_the_originals_stay_beside_what_is_restored(city: Saved) -> None:
    good = city.take("good")
    (city.share / "file-0").write_text("encrypted")
    (city.share / "ransom note").write_text("pay")
    told = RestoreFiles(host=HOST, resource=RESOURCE, of=city.nas, point=good, folder="/", in_place=True)
    summary = city.do(told).summary
    assert (city.share / "file-0").read_text() == "good"
    assert not (city.share / "ransom note").exists()
    kept = next(path for path in city.folder.iterdir() if path.name.startswith("share.kept-"))
    assert (kept / "file-0").read_text() == "encrypted"
    assert str(kept) in summary
    assert sorted(path.name for path in city.folder.iterdir() if "restoring" in path.name) == []


def in_place(city: Saved, point: str, *include: str) -> RestoreFiles:
    paths = tuple(f"{city.share}/{name}".rstrip("/") for name in include)
    return RestoreFiles(
        host=HOST, resource=RESOURCE, of=city.nas, point=point, folder="/", include=paths, in_place=True
    )


@pytest.mark.parametrize("include", [("file-0", "file-1"), ("", "file-0")], ids=["beside", "one in another"])
def test_several_paths_are_restored_in_place_each_to_its_own(city: Saved, include: tuple[str, ...]) -> None:
    good = city.take("good")
    for name in ("file-0", "file-1"):
        (city.share / name).write_text("encrypted")
    city.do(in_place(city, good, *include))
    assert (city.share / "file-0").read_text() == "good"
    assert (city.share / "file-1").stat().st_size == 60_000
    assert not list(city.folder.rglob(".mainstay-restoring-*"))


REAL = '"$REAL" "$@"'
HINDERED = {
    "its end was bad": (f'{REAL}; echo "no rights of that kind here" >&2; exit 1', "no rights of that kind"),
    "the way broke": ('echo "connection lost" >&2; exit 1', "cannot be reached"),
    "killed": ("kill -KILL $$", "interrupted"),
    "out of time": ("exit 124", "interrupted"),
}


@pytest.mark.parametrize(("meets", "says"), HINDERED.values(), ids=HINDERED)
def test_what_hinders_a_restore_is_no_damage_and_changes_no_original(
    city: Saved, meets: str, says: str
) -> None:
    good = city.take("good")
    (city.share / "file-0").write_text("as it is")
    with city.restic_is(f'case " $* " in *" restore "*) {meets} ;; *) exec {REAL} ;; esac'):
        for told in (in_place(city, good), city.proving(good), city.proving(good, files=3)):
            error = refused(city, told)
            assert says in str(error)
            assert error.evidence is None
        looks = CheckRepository(host=HOST, of=city.nas)
    assert (city.share / "file-0").read_text() == "as it is"
    assert not list(city.folder.glob("*.mainstay-restoring-*"))
    with city.restic_is(f'case " $* " in *" check "*) {meets} ;; *) exec {REAL} ;; esac'):
        if says != "no rights of that kind":
            assert refused(city, looks).evidence is None


def test_what_could_not_be_compared_takes_no_originals_place(city: Saved) -> None:
    good = city.take("good")
    (city.share / "file-0").write_text("as it is")
    python = city.folder / "bin/python3"
    python.write_text(
        f'#!/bin/sh\ncase " $* " in *" compare "*) exit 1 ;; *) exec {shutil.which("python3")} "$@" ;; esac\n'
    )
    python.chmod(0o755)
    error = refused(city, in_place(city, good))
    assert "could not be compared" in str(error)
    assert error.evidence is None
    assert (city.share / "file-0").read_text() == "as it is"


def test_a_cache_of_the_scratch_host_stands_for_nothing_in_the_repository(tmp_path: Path) -> None:
    with saved(tmp_path, built_restic(NEWEST)) as city:  # older ones look for what is gone for a minute
        make_repository(city.program, Path(city.nas.url), "of-nas")
        point = city.take()
        city.do(city.proving(point))
        packs = [path for path in Path(city.nas.url, "data").rglob("*") if path.is_file()]
        min(packs, key=lambda path: path.stat().st_size).unlink()  # of folders' names alone
        assert refused(city, city.proving(point)).evidence.kind == "proof-failed"


def test_what_was_written_to_when_it_was_saved_proves_nothing(city: Saved) -> None:
    city.host.sh('find "$1" -mindepth 1 ! -name .sentinel -delete', str(city.share))
    with city.restic_is(f'case " $* " in *" backup "*) touch "{city.share}/.sentinel" ;; esac; exec {REAL}'):
        point = city.take()
    error = refused(city, city.proving(point))
    assert "of no file it is known what it held" in str(error)
    assert error.evidence is None


def test_a_disk_that_is_mounted_at_the_path_is_restored_in_place_too(city: Saved) -> None:
    city.host.sh(
        'cp -a "$1" "$1.old"; mount -t tmpfs -o size=8m tmpfs "$1"; cp -a "$1.old/." "$1"', str(city.share)
    )
    good = city.take()
    city.host.sh('echo encrypted >"$1/file-1"', str(city.share))
    told = RestoreFiles(host=HOST, resource=RESOURCE, of=city.nas, point=good, folder="/", in_place=True)
    assert "what was there is in" in city.do(told).summary
    assert city.host.sh('cat "$1"/.mainstay-kept-*/file-1', str(city.share)) == "encrypted\n"
    assert city.host.sh('wc -c <"$1/file-1"', str(city.share)).strip() == "60000"


def test_only_a_scratch_folder_of_ours_is_cleared(city: Saved) -> None:
    told = city.proving(city.take())
    city.do(told)
    clear = ClearScratch(host=HOST, folder=told.folder)
    assert city.do(clear).changed
    assert not city.do(clear).changed
    city.host.sh('mkdir -p "$1"; echo mine >"$1/precious"', told.folder)
    assert "no mark of ours" in str(refused(city, clear))
    assert city.host.sh('cat "$1/precious"', told.folder) == "mine\n"


# --- what restic does not say ---------------------------------------------------------------------


def test_a_source_that_is_not_there_is_a_named_failure_and_makes_no_point(city: Saved) -> None:
    before = [city.take()]
    empty, cut_off = city.folder / "unmounted", city.folder / "empty.dump"
    empty.mkdir()
    cut_off.touch()
    gone = str(city.folder / "gone")
    error = refused(city, city.taking(gone, str(empty), str(cut_off), str(city.share / "link")))
    assert error.evidence.faults == (
        f"missing source {gone}",
        f"{empty} is empty",
        f"{cut_off} has no bytes",
        f"{city.share / 'link'} is a link; name what it points to",
    )
    assert city.ids() == before


def test_a_share_that_is_not_mounted_is_a_failure(city: Saved) -> None:
    shutil.rmtree(city.nas.url)
    city.host.sh('mount -t tmpfs -o size=1m tmpfs "$1"; echo other >"$1/something"', str(city.share))
    error = refused(city, city.taking())
    assert error.evidence.faults == (f"{city.share}/.sentinel is not there: is its disk mounted?",)
    assert not Path(city.nas.url).exists()


def test_what_changes_while_it_is_saved_is_told_and_is_no_damage(city: Saved) -> None:
    meddle = f"""
case " $* " in *" backup "*) rm "{city.share}/file-3"; echo longer >>"{city.share}/file-4" ;; esac
exec "$REAL" "$@"
"""
    with city.restic_is(meddle):
        outcome = city.do(city.taking())
    assert outcome.evidence.status == "ok"
    assert "1 files changed while they were saved; 1 went away meanwhile" in outcome.summary
    found = city.do(city.proving(outcome.evidence.point)).evidence.found
    assert "1 of them changed while they were saved" in found[0]
    assert "1 went away" in found[0]


def test_a_share_that_goes_away_while_it_is_saved_makes_the_point_partial(city: Saved) -> None:
    unmount = (
        f'"$REAL" "$@"; code=$?; case " $* " in *" backup "*) rm "{city.share}/.sentinel" ;; esac; exit $code'
    )
    with city.restic_is(unmount):
        evidence = city.do(city.taking()).evidence
    assert evidence.status == "partial"
    assert evidence.faults == (
        f"{city.share}/.sentinel is not there any more, after it was saved: is its disk mounted?",
    )


def test_a_file_that_cannot_be_read_makes_the_point_partial(city: Saved) -> None:
    city.host.sh('mount --bind /proc/self/mem "$1"', str(city.share / "file-5"))
    evidence = city.do(city.taking()).evidence
    assert evidence.status == "partial"
    assert "file-5" in evidence.faults[0]
    assert [point.status for point in city.points()] == ["partial"]


def test_a_deletion_that_restic_only_claims_is_found(city: Saved) -> None:
    first, second = city.take(), city.take("later")
    told = ForgetPoints(host=HOST, resource=RESOURCE, of=city.nas, points=(first,), stay=(second,))
    with city.restic_is('case " $* " in *" forget "*) exit 0 ;; esac; exec "$REAL" "$@"'):
        assert "are still in nas" in str(refused(city, told))
    thief = f"""
case " $* " in *" forget "*) "$REAL" "$@"; exec "$REAL" forget {second} ;; esac
exec "$REAL" "$@"
"""
    with city.restic_is(thief), pytest.raises(OutcomeUnknown, match=f"1 others are gone: {second[:8]}"):
        city.do(told)


def test_nothing_is_deleted_where_the_list_is_not_the_plans(city: Saved) -> None:
    first, second = city.take(), city.take("later")
    told = ForgetPoints(host=HOST, resource=RESOURCE, of=city.nas, points=(first,), stay=(second, "0" * 64))
    assert "were to stay are not there" in str(refused(city, told))
    everything = ForgetPoints(host=HOST, resource=RESOURCE, of=city.nas, points=(first, second), stay=())
    assert "all 2 points would be deleted" in str(refused(city, everything))
    assert city.ids() == [first, second]


def test_a_point_that_says_it_is_of_2099_is_listed_as_such(city: Saved) -> None:
    """What an attacker does, too; restic, a program of Go, is not deceived by libfaketime."""
    city.take()
    city.host.sh(
        f"set -a; . /etc/mainstay/stores/nas.env; restic -r {city.nas.url} backup -q --host {RESOURCE} "
        f"--time '2099-01-01 00:00:00' {city.share}"
    )
    later = city.take("after it")
    assert [point.claimed_at.year for point in city.points()][-1] == 2099
    assert city.ids()[1] == later


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_flipped_bit_is_found_by_the_part_that_holds_it_and_by_a_restore(city: Saved) -> None:
    point = city.take()
    city.do(city.copying())
    packs = [path for path in Path(city.nas.url, "data").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)

    city.do(CheckRepository(host=HOST, of=city.nas))
    bad = int(pack.name[:2], 16) % 4 + 1
    for part in {1, 2, 3, 4} - {bad}:
        city.do(CheckRepository(host=HOST, of=city.nas, part=part, parts=4))
    error = refused(city, CheckRepository(host=HOST, of=city.nas, part=bad, parts=4))
    assert (error.evidence.kind, error.evidence.level) == ("proof-failed", Level.L2)
    assert error.evidence.found[0] == f"pack {pack.name[:10]}"
    error = refused(city, city.proving(point))
    assert (error.evidence.kind, error.evidence.point) == ("proof-failed", point)
    assert "file-" in error.evidence.found[0]
    assert city.do(city.proving(city.ids(city.eoc)[0], city.eoc)).evidence.whole

    (city.share / "file-0").write_text("as it is")
    told = RestoreFiles(host=HOST, resource=RESOURCE, of=city.nas, point=point, folder="/", in_place=True)
    assert "the originals are as they were" in str(refused(city, told))
    assert (city.share / "file-0").read_text() == "as it is"


def test_a_full_repository_is_named_and_its_points_stay(city: Saved) -> None:
    small = city.folder / "small"
    small.mkdir()
    city.host.sh('mount -t tmpfs -o size=900k tmpfs "$1"', str(small))
    repository = Repository(store="nas", url=str(small / "nas"))
    before = city.do(city.taking(to=repository)).evidence.point
    (city.share / "much").write_bytes(os.urandom(1_000_000))
    error = refused(city, city.taking(to=repository))
    assert "out of disk" in str(error)
    assert "out of disk" in error.evidence.faults[0]
    assert city.ids(repository) == [before]
    (city.share / "much").unlink()
    assert city.do(city.proving(before, repository)).evidence.whole


def test_a_scratch_host_without_room_proves_nothing_and_fails_nothing(city: Saved) -> None:
    point = city.take()
    city.host.sh('mkdir -p "$1"; mount -t tmpfs -o size=300k tmpfs "$1"', SCRATCH)
    error = refused(city, city.proving(point))
    assert "out of disk on files-a" in str(error)
    assert error.evidence is None
    assert city.do(city.proving(point, files=2)).evidence.size_bytes > 0


def test_wrong_credentials_and_foreign_places_are_told_apart(city: Saved) -> None:
    city.take()
    stranger = Repository(store="nas", url=city.nas.url, credentials="eoc")
    assert "wrong password" in str(refused(city, city.taking(to=stranger)))
    nobody = Repository(store="nobody", url=city.nas.url)
    assert "/etc/mainstay/stores/nobody.env are not there" in str(refused(city, city.taking(to=nobody)))
    foreign = city.folder / "foreign"
    foreign.mkdir()
    (foreign / "precious").write_text("mine")
    elsewhere = Repository(store="nas", url=str(foreign))
    assert "but something else: precious" in str(refused(city, city.taking(to=elsewhere)))
    assert [path.name for path in foreign.iterdir()] == ["precious"]
    with pytest.raises(AdapterError, match="there is no repository"):
        city.points(elsewhere)
    unreachable = Repository(store="nas", url="sftp:nobody@127.0.0.1:/x")
    assert "cannot be reached" in str(refused(city, CheckRepository(host=HOST, of=unreachable)))


def test_a_bucket_whose_objects_were_all_deleted_gets_no_second_repository(city: Saved) -> None:
    """Delete markers hide the first one, which recover-copy would bring back; a new one would mix with it."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
        store = boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys)
        store.create_bucket(Bucket="city", ObjectLockEnabledForBucket=True)
        city.host.sh(
            'printf "RESTIC_PASSWORD=any\\nAWS_ACCESS_KEY_ID=any\\nAWS_SECRET_ACCESS_KEY=any\\n" '
            ">/etc/mainstay/stores/vault.env"
        )
        vault = Repository(store="vault", url=f"s3:http://{host}:{port}/city/main")
        point = city.do(city.taking(to=vault)).evidence.point
        assert city.ids(vault) == [point]
        there = store.list_objects_v2(Bucket="city")["Contents"]
        store.delete_objects(Bucket="city", Delete={"Objects": [{"Key": one["Key"]} for one in there]})
        assert store.list_objects_v2(Bucket="city")["KeyCount"] == 0
        assert "but something else: main/" in str(refused(city, city.taking(to=vault)))
        assert store.list_objects_v2(Bucket="city")["KeyCount"] == 0
    finally:
        server.stop()


# --- locks, and what was cut off ------------------------------------------------------------------

_HOLD = """
set -a; . /etc/mainstay/stores/nas.env
sleep 600 | restic -r "$1" backup --host other --stdin -q
"""


def test_a_lock_is_broken_when_its_holder_is_dead_and_not_before(city: Saved) -> None:
    point, other = city.take(), city.take("later")
    holder = city.host.start(["sh", "-c", _HOLD, "hold", city.nas.url])
    while not any(Path(city.nas.url, "locks").iterdir()):
        pass
    told = ForgetPoints(host=HOST, resource=RESOURCE, of=city.nas, points=(point,), stay=(other,))
    lock = BreakLock(host=HOST, of=city.nas)
    held, _ = list_locks(city.host, city.nas)
    assert f"the repository is locked by PID {held[0].pid}" in str(refused(city, told, timeout_s=12.0))
    assert "less than 30 minutes ago" in str(refused(city, lock))
    later = city.folder / "bin/date"
    later.write_text('#!/bin/sh\nexec /bin/date -d "+31 minutes" "$@"\n')
    later.chmod(0o755)
    assert "says that the process lives" in str(refused(city, lock))
    assert "the repository is locked by" in str(refused(city, told, timeout_s=12.0))
    os.kill(held[0].pid, signal.SIGKILL)
    assert city.do(told).evidence.left == 1
    assert not city.do(lock).changed
    os.killpg(holder.pid, signal.SIGKILL)
    holder.communicate()


def test_a_backup_that_was_cut_off_is_finished_by_a_second_run(city: Saved) -> None:
    before = city.take()
    (city.share / "large").write_bytes(os.urandom(40_000_000))
    step = city.cut_off(city.taking(), "backup", f"{city.nas.url}/data")
    assert restic.verify_take(city.taking(), step).state == "unknown"
    assert city.ids() == [before]
    after = city.take()
    assert city.ids() == [before, after]
    assert city.do(city.proving(after)).evidence.whole


def test_a_copy_that_was_cut_off_is_finished_by_a_second_run(city: Saved) -> None:
    (city.share / "large").write_bytes(os.urandom(40_000_000))
    points = [city.take(), city.take("later")]
    step = city.cut_off(city.copying(), "copy", f"{city.eoc.url}/data")
    assert "2 points are not copied yet" in restic.verify_copy(city.copying(), step).why
    assert sorted(city.do(city.copying()).evidence.points.values()) == sorted(points)
    assert city.do(city.proving(city.ids(city.eoc)[1], city.eoc)).evidence.whole
    assert restic.verify_copy(city.copying(), step).state == "done"


def test_a_deletion_that_was_cut_off_is_finished_by_a_second_run(city: Saved) -> None:
    *old, newest = [city.take(f"day {day}") for day in range(5)]
    told = ForgetPoints(host=HOST, resource=RESOURCE, of=city.nas, points=tuple(old), stay=(newest,))
    step = city.cut_off(told, "forget", f"{city.nas.url}/snapshots")
    assert newest in city.ids()
    found = restic.verify_forget(told, step)
    assert found.state == ("unknown" if len(city.ids()) > 1 else "done")
    city.host.sh(f"set -a; . /etc/mainstay/stores/nas.env; restic -r {city.nas.url} unlock -q --remove-all")
    assert city.do(told).evidence.left == 1
    assert city.ids() == [newest]
    assert restic.verify_forget(told, step).state == "done"


def test_space_that_was_being_reclaimed_when_all_was_cut_off_harms_no_point(city: Saved) -> None:
    first, second = city.take("one"), city.take("two")
    (city.share / "file-1").write_bytes(os.urandom(60_000))
    third = city.take("three")
    told = ForgetPoints(host=HOST, resource=RESOURCE, of=city.nas, points=(first, second), stay=(third,))
    city.do(told)
    step = city.cut_off(ReclaimSpace(host=HOST, of=city.nas), "prune", f"{city.nas.url}/data")
    assert restic.verify_reclaim(ReclaimSpace(host=HOST, of=city.nas), step).state == "unknown"
    city.host.sh(f"set -a; . /etc/mainstay/stores/nas.env; restic -r {city.nas.url} unlock -q --remove-all")
    city.do(ReclaimSpace(host=HOST, of=city.nas))
    city.do(CheckRepository(host=HOST, of=city.nas, part=1, parts=1))
    assert city.do(city.proving(third)).evidence.whole
