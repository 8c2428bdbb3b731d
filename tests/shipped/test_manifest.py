"""A manifest says what stood on a disk, and finds every difference of what was restored from it."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from automation.shipped.manifest.comparing import compare, size_of
from automation.shipped.manifest.drawing import draw, pattern_of
from automation.shipped.manifest.entries import entries, shown, walk
from automation.shipped.manifest.leaving_out import excluding
from automation.shipped.manifest.listing import Listing, listed
from automation.shipped.manifest.making import make

# Any bytes that a name may hold: not a slash, not NUL, not the names of folders themselves.
names = (
    st.binary(min_size=1, max_size=12)
    .map(lambda name: name.replace(b"/", b"-").replace(b"\0", b"0"))
    .filter(lambda name: name not in (b".", b".."))
)
trees = st.dictionaries(st.tuples(names, names), st.binary(max_size=200), min_size=1, max_size=6)
quick = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _disk_without_power_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody cuts the power here, and waiting for the disk takes most of the time."""
    monkeypatch.setattr("os.fsync", lambda file: None)


def planted(folder: Path, tree: dict[tuple[bytes, bytes], bytes]) -> Path:
    """Write a tree of two levels; give its folder, which is new."""
    shutil.rmtree(folder, ignore_errors=True)
    for (above, name), content in tree.items():
        place = folder / os.fsdecode(above) / os.fsdecode(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


def restored(folder: Path, below: Path) -> Path:
    """Copy a folder as a restore does: below another, with its times."""
    shutil.rmtree(below, ignore_errors=True)
    shutil.copytree(folder, below / str(folder)[1:], symlinks=True)
    return below


def files_of(manifest: Path) -> list[dict[str, object]]:
    return [entry for entry in entries(str(manifest)) if entry["kind"] == "file"]


@quick
@given(tree=trees)
def test_what_was_restored_whole_has_no_fault(tmp_path: Path, tree: dict[tuple[bytes, bytes], bytes]) -> None:
    share, manifest = planted(tmp_path / "share", tree), tmp_path / "manifest"
    told = make([str(share)], str(manifest))
    assert told["files"] == len(tree)
    assert told["bytes"] == sum(map(len, tree.values())) == size_of(str(manifest))
    found = compare(str(manifest), str(restored(share, tmp_path / "out")))
    assert (found["files"], found["fault_count"]) == (len(tree), 0)


@quick
@given(tree=trees, choice=st.data())
def test_every_planted_difference_is_found(
    tmp_path: Path, tree: dict[tuple[bytes, bytes], bytes], choice: st.DataObject
) -> None:
    share, manifest = planted(tmp_path / "share", tree), tmp_path / "manifest"
    make([str(share)], str(manifest))
    out = restored(share, tmp_path / "out")
    victim = Path(str(out) + str(choice.draw(st.sampled_from(files_of(manifest)))["path"]))
    plant = choice.draw(st.sampled_from(sorted(DIFFERENCES)))
    DIFFERENCES[plant](victim)
    found = compare(str(manifest), str(out))
    assert found["fault_count"] == 1, (plant, found)


def _other_content(path: Path) -> None:
    times, content = path.stat(), path.read_bytes() or b"\0"
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _longer(path: Path) -> None:
    times = path.stat()
    path.write_bytes(path.read_bytes() + b"more")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


DIFFERENCES = {
    "missing": Path.unlink,
    "other content": _other_content,
    "longer": _longer,
    "another kind": _a_folder,
    "a link": _a_link,
    "permissions": lambda path: path.chmod(0o111),
    "another time": lambda path: os.utime(path, ns=(0, 12345)),
}


def test_hashes_are_taken_over_where_nothing_changed(tmp_path: Path) -> None:
    share = planted(tmp_path / "share", {(b"a", b"1"): b"one", (b"a", b"2"): b"two", (b"b\xff", b"3"): b"3"})
    manifest = str(tmp_path / "manifest")
    assert make([str(share)], manifest)["hashed"] == 3
    before = Path(manifest).read_text()
    assert make([str(share)], manifest)["hashed"] == 0
    assert Path(manifest).read_text() == before
    _other_content(share / "a/1")
    assert make([str(share)], manifest)["hashed"] == 1
    (share / "a/0").write_text("new")
    (share / "a/2").unlink()
    assert make([str(share)], manifest)["hashed"] == 1


def test_a_manifest_that_is_cut_off_proves_nothing_and_lends_its_hashes(tmp_path: Path) -> None:
    share, manifest = tmp_path / "share", tmp_path / "manifest"
    planted(share, {(b"a", b"file"): b"content", (b"b", b"file"): b"other"})
    make([str(share)], str(manifest))
    below = restored(share, tmp_path / "restored")
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-20])
    with pytest.raises(ValueError, match="line 5 of the manifest is cut off"):
        compare(str(manifest), str(below))
    assert make([str(share)], str(manifest))["hashed"] == 1
    assert manifest.read_bytes() == whole


def test_a_content_with_the_same_size_and_time_is_seen_by_its_time_of_status_change(tmp_path: Path) -> None:
    share, manifest = planted(tmp_path / "share", {(b"a", b"1"): b"one"}), str(tmp_path / "manifest")
    make([str(share)], manifest)
    old = files_of(Path(manifest))[0]["sha256"]
    _other_content(share / "a/1")
    make([str(share)], manifest)
    assert files_of(Path(manifest))[0]["sha256"] != old


def test_nothing_but_regular_files_is_opened(tmp_path: Path) -> None:
    """A pipe without a writer would block for ever; a link is not followed out of the share."""
    share = tmp_path / "share"
    share.mkdir()
    os.mkfifo(share / "pipe")
    (share / "out").symlink_to("/etc")
    with (share / "sparse").open("wb") as file:
        file.truncate(5_000_000)
    os.link(share / "sparse", share / "same")
    told = make([str(share)], str(tmp_path / "manifest"))
    kinds = {Path(one["path"]).name: one["kind"] for one in entries(str(tmp_path / "manifest"))}
    assert kinds == {"share": "dir", "pipe": "fifo", "out": "symlink", "sparse": "file", "same": "file"}
    assert (told["files"], told["bytes"]) == (2, 10_000_000)


def test_what_vanishes_and_what_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = planted(tmp_path / "share", {(b"a", name): b"x" for name in (b"1", b"2", b"3")})

    def opened(path: str, *more: int, real=os.open) -> int:  # type: ignore[no-untyped-def]
        if path.endswith("/1"):
            raise FileNotFoundError(2, "No such file or directory")
        if path.endswith("/2"):
            raise OSError(5, "Input/output error")
        return real(path, *more)

    monkeypatch.setattr("automation.shipped.manifest.entries.os.open", opened)
    told = make([str(share)], str(tmp_path / "manifest"))
    assert (told["files"], told["vanished"], told["unreadable"]) == (2, 1, 1)
    assert told["faults"] == [f"{share}/a/2: Input/output error"]


def test_a_manifest_that_cannot_be_finished_leaves_the_one_before(tmp_path: Path) -> None:
    share, manifest = planted(tmp_path / "share", {(b"a", b"1"): b"one"}), tmp_path / "manifest"
    make([str(share)], str(manifest))
    before = manifest.read_bytes()
    with pytest.raises(TypeError):
        make([None], str(manifest))  # type: ignore[list-item]
    assert manifest.read_bytes() == before


def test_a_path_below_another_is_walked_once(tmp_path: Path) -> None:
    share = planted(tmp_path / "share", {(b"a", b"1"): b"one"})
    twice = [path for path, _ in walk([str(share), str(share / "a"), f"{share}/"])]
    assert twice == [str(share), str(share / "a"), str(share / "a/1")]
    assert [path for path, _ in walk([f"{share}/a", f"{share}/a-b"])][-1] == f"{share}/a-b"


def test_a_manifest_in_the_middle_of_what_is_saved_is_no_part_of_itself(tmp_path: Path) -> None:
    share = planted(tmp_path / "share", {(b"a", b"1"): b"one"})
    assert make([str(share)], str(share / "a/manifest"))["files"] == 1
    assert make([str(share)], str(share / "a/manifest"))["files"] == 1


# --- what is left out: every row was tried with restic itself --------------------------------------

LEFT_OUT = [
    ("*.tmp", "/srv/a/x.tmp", True),
    ("*.tmp", "/srv/a/x.tmp/inside", True),
    ("*.tmp", "/srv/a/x.tmpl", False),
    ("cache", "/srv/cache/x", True),
    ("cache", "/srv/caches/x", False),
    ("/srv/cache", "/srv/cache/x", True),
    ("/cache", "/srv/cache/x", False),
    ("a/b", "/srv/a/b/c", True),
    ("a/b", "/srv/a/x/b", False),
    ("a/**/b", "/srv/a/x/y/b", True),
    ("a/**/b", "/srv/a/b", True),
    ("/srv/*/x", "/srv/a/x", True),
    ("/srv/*/x", "/srv/a/b/x", False),
    ("file-[0-4]", "/srv/file-3", True),
    ("file-[^0-4]", "/srv/file-3", False),
    ("o?d", "/srv/odd", True),
    (r"o\*d", "/srv/o*d", True),
    (r"o\*d", "/srv/odd", False),
]


@pytest.mark.parametrize(("pattern", "path", "out"), LEFT_OUT, ids=[f"{a} {b}" for a, b, _ in LEFT_OUT])
def test_a_pattern_leaves_out_what_restic_leaves_out(pattern: str, path: str, out: bool) -> None:
    assert excluding([pattern])(path) is out


@quick
@given(name=names)
def test_a_path_as_a_pattern_matches_itself_alone(name: bytes) -> None:
    path = "/srv/" + os.fsdecode(name)
    matches = excluding([pattern_of(path)])
    assert matches(path)
    assert not matches(path + "x")


# --- what a point holds ---------------------------------------------------------------------------


def ls(path: str, size: int, mtime: str, kind: str = "file") -> str:
    return json.dumps({"path": path, "type": kind, "size": size, "mtime": mtime, "struct_type": "node"})


def test_a_listing_tells_missing_from_vanished_and_changed(tmp_path: Path) -> None:
    share = planted(tmp_path / "share", {(b"a", name): b"x" for name in (b"1", b"2", b"3", b"4\xff")})
    for path in (share / "a").iterdir():
        os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    manifest = str(tmp_path / "manifest")
    make([str(share)], manifest)
    (share / "a/3").unlink()
    there = [
        ls(str(share), 0, "2023-11-14T22:13:20Z", "dir"),
        ls(f"{share}/a", 0, "2023-11-14T22:13:20Z", "dir"),
        ls(f"{share}/a/1", 1, "2023-11-14T17:13:20.123456789-05:00"),
        ls(f"{share}/a/4\ufffd", 1, "2023-11-14T22:13:20.123456788Z"),
    ]
    told = listed(manifest, Listing([*there, ls(manifest, 9, "2023-11-14T22:13:20Z")]))
    assert told["itself"]
    assert not listed(manifest, Listing(there))["itself"]
    assert told["faults"] == [f"{share}/a/2"]
    assert (told["missing"], told["vanished"], told["changed"], told["nodes"]) == (1, 1, 1, 5)


def test_a_file_that_changed_while_it_was_saved_is_compared_with_what_the_point_says(tmp_path: Path) -> None:
    share, manifest = planted(tmp_path / "share", {(b"a", b"1"): b"one"}), str(tmp_path / "manifest")
    make([str(share)], manifest)
    (share / "a/1").write_text("longer")
    os.utime(share / "a/1", ns=(0, 1_700_000_000_000_000_000))
    out = str(restored(share, tmp_path / "out"))
    nodes = [
        ls(str(share), 0, "2023-11-14T22:13:20Z", "dir"),
        ls(f"{share}/a", 0, "2023-11-14T22:13:20Z", "dir"),
    ]
    as_saved = Listing([*nodes, ls(f"{share}/a/1", 6, "2023-11-14T22:13:20Z")])
    found = compare(manifest, out, listing=as_saved)
    assert (found["changed"], found["fault_count"]) == (1, 0)
    otherwise = Listing([*nodes, ls(f"{share}/a/1", 7, "2023-11-14T22:13:20Z")])
    assert compare(manifest, out, listing=otherwise)["faults"] == [
        f"{share}/a/1: is not what the point says of it"
    ]
    assert compare(manifest, out, listing=Listing(nodes))["vanished"] == 1


# --- a sample -------------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> str:
    """A manifest of 50 files, file n of n bytes and changed at second n."""
    share = planted(tmp_path / "share", {(b"a", b"%02d" % n): b"x" * n for n in range(50)})
    for path in (share / "a").iterdir():
        os.utime(path, ns=(0, int(path.name) * 10**9))
    make([str(share)], str(tmp_path / "manifest"))
    return str(tmp_path / "manifest")


def test_the_same_seed_draws_the_same_sample(many: str) -> None:
    first = draw(many, files=10, seed="7")
    assert draw(many, files=10, seed="7") == first
    assert draw(many, files=10, seed="8") != first
    assert len(first) == 10


def test_a_share_of_a_sample_is_the_newest(many: str) -> None:
    numbers = [int(Path(path).name) for path in draw(many, files=10, newest=0.5, seed="7")]
    assert set(range(45, 50)) <= set(numbers)
    assert {int(Path(path).name) for path in draw(many, files=5, newest=1.0)} == set(range(45, 50))


def test_a_sample_keeps_to_its_bytes_and_holds_what_it_must(many: str) -> None:
    must = next(path for path in (str(one["path"]) for one in files_of(Path(many))) if path.endswith("/49"))
    chosen = draw(many, files=20, max_bytes=100, newest=0.0, seed="7", must=[must])
    assert must in chosen
    assert sum(chosen.values()) <= 100
    assert draw(many, files=3, max_bytes=1, newest=1.0) != {}


def test_a_path_is_shown_in_one_line() -> None:
    assert shown("/srv/two\nlines\udcff") == r"/srv/two\nlines\udcff"
    assert len(shown("/" + "x" * 5000)) == 200
