"""The guard of a name server: what it takes from others, and that a crash leaves one zone or the other."""

from pathlib import Path

import pytest

from automation.model.moves import Move, Stamp, find_missed
from automation.shipped import dns_guard

NOW_MS = 1_795_320_000_000
ZONE = """\
; <<>> a comment
city.lab.       5 IN SOA dns-a.city.lab. hostmaster.city.lab. 4294967295 3600 600 604800 5
city.lab.       5 IN NS dns-a.city.lab.
dns-a.city.lab. 5 IN A 10.0.1.10
Pay.city.lab.   5 IN A 10.0.1.30
_moved.pay.city.lab. 5 IN TXT "1795320000000 run-1"
_moved.pay.city.lab. 5 IN TXT "somebody's own words"
_moved.gone.city.lab. 5 IN TXT "soon"
mainstay.       0 ANY TSIG hmac-sha256. 1795320979 300 32 Fn4P8GD7 22199 NOERROR 0
"""
OLD, NEW, OTHER = "10.0.1.30", "10.0.2.30", "10.0.3.30"

Told = tuple[str, int] | None


def guard_moves(told: Told) -> dict[str, dns_guard.Move]:
    if told is None:
        return {}
    return {"pay.city.lab.": dns_guard.Move((told[0],), 5, (NOW_MS + told[1], "run"))}


def model_moves(told: Told) -> dict[str, Move]:
    if told is None:
        return {}
    stamp = Stamp(at_ms=NOW_MS + told[1], run_id="run")
    return {"pay.city.lab": Move(addresses=(told[0],), ttl_s=5, stamp=stamp)}


@pytest.mark.parametrize(
    ("own", "others", "taken", "undecided"),
    [
        pytest.param(None, [(NEW, 1)], NEW, False, id="never heard of it"),
        pytest.param((OLD, 0), [(NEW, 1)], NEW, False, id="moved later elsewhere"),
        pytest.param((NEW, 1), [(OLD, 0)], None, False, id="moved later here"),
        pytest.param((NEW, 1), [(NEW, 1)], None, False, id="the same"),
        pytest.param((NEW, 0), [(NEW, 1)], NEW, False, id="same address, later stamp"),
        pytest.param((OLD, 0), [(OTHER, 1), (NEW, 2)], NEW, False, id="the latest of two"),
        pytest.param((OLD, 0), [None, (NEW, 1)], NEW, False, id="one knows nothing"),
        pytest.param((OLD, 0), [None, None], None, False, id="nobody else knows"),
        pytest.param((OLD, 1), [(NEW, 1)], None, True, id="changed by hand here"),
        pytest.param((OLD, 0), [(NEW, 1), (OTHER, 1)], None, True, id="changed by hand elsewhere"),
    ],
)
def test_the_latest_move_counts_for_the_guard_and_for_the_control_node_alike(
    own: Told, others: list[Told], taken: str | None, undecided: bool
) -> None:
    by_guard = dns_guard.find_missed(
        guard_moves(own), {f"dns-{n}": guard_moves(other) for n, other in enumerate(others)}
    )
    by_node = find_missed(
        model_moves(own), {f"dns-{n}": model_moves(other) for n, other in enumerate(others)}
    )
    expected = [taken] if taken else []
    assert [move.addresses[0] for move in by_guard[0].values()] == expected
    assert [move.addresses[0] for move in by_node.moves.values()] == expected
    assert (bool(by_guard[1]), bool(by_node.undecided)) == (undecided, undecided)


def test_a_move_is_read_with_its_stamp_and_what_is_no_stamp_is_passed_over() -> None:
    moves = dns_guard.list_moves(dns_guard.parse_zone(ZONE))
    assert moves == {"pay.city.lab.": dns_guard.Move((OLD,), 5, (NOW_MS, "run-1"))}


def test_a_taken_move_replaces_address_and_stamp_and_nothing_else() -> None:
    before = dns_guard.parse_zone(ZONE)
    after = dns_guard.with_moves(before, {"pay.city.lab.": dns_guard.Move((NEW,), 7, (NOW_MS + 1, "run-2"))})
    gone, come = set(before) - set(after), set(after) - set(before)
    assert {record.line for record in come} == {
        "city.lab. 5 IN SOA dns-a.city.lab. hostmaster.city.lab. 1 3600 600 604800 5",  # past the highest
        f"pay.city.lab. 7 IN A {NEW}",
        f'_moved.pay.city.lab. 7 IN TXT "{NOW_MS + 1} run-2"',
    }
    assert {(record.name, record.kind) for record in gone} == {
        ("city.lab.", "SOA"),
        ("pay.city.lab.", "A"),
        ("_moved.pay.city.lab.", "TXT"),
    }


def test_a_live_change_is_made_only_if_what_was_read_still_stands() -> None:
    move = dns_guard.Move((NEW,), 7, (NOW_MS + 1, "run-2"))
    lines = dns_guard.update_of("city.lab", dns_guard.parse_zone(ZONE), "pay.city.lab.", move).splitlines()
    assert f"prereq yxrrset pay.city.lab. A {OLD}" in lines
    assert 'prereq yxrrset _moved.pay.city.lab. TXT "1795320000000 run-1"' in lines
    fresh = dns_guard.update_of("city.lab", [], "pay.city.lab.", move).splitlines()
    assert "prereq nxrrset pay.city.lab. A" in fresh
    assert "prereq nxrrset _moved.pay.city.lab. TXT" in fresh


@pytest.mark.parametrize(
    ("files", "zone", "journal"),
    [
        pytest.param({"": "old", ".jnl": "j"}, "old", True, id="nothing was begun"),
        pytest.param({"": "old", ".jnl": "j", ".new": "half"}, "old", True, id="killed while writing"),
        pytest.param({"": "old", ".jnl.old": "j", ".new": "new"}, "new", False, id="journal aside"),
        pytest.param({"": "new", ".jnl.old": "j"}, "new", False, id="zone in place"),
    ],
)
def test_a_crash_at_any_moment_leaves_the_old_zone_or_the_new_one(
    tmp_path: Path, files: dict[str, str], zone: str, journal: bool
) -> None:
    for suffix, content in files.items():
        (tmp_path / f"zone{suffix}").write_text(content)
    dns_guard.finish_exchange(str(tmp_path / "zone"))
    left = {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "zone").read_text() == zone
    assert left == {"zone"} | ({"zone.jnl"} if journal else set())


@pytest.mark.parametrize(("told", "raised"), [((NEW, 1), dns_guard.Stale), (None, dns_guard.Trouble)])
def test_a_zone_that_cannot_be_compared_with_known_moves_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Told, raised: type[Exception]
) -> None:
    settings = dns_guard.Settings("city.lab", str(tmp_path / "zone"), "key", {"dns-b": "10.0.2.10"}, 1.0, 1.0)
    monkeypatch.setattr(dns_guard, "ask", lambda *_: ({"dns-b": guard_moves(told)}, {}))

    def unreadable(_: dns_guard.Settings) -> list[dns_guard.Record]:
        raise dns_guard.Trouble("the zone cannot be read")

    monkeypatch.setattr(dns_guard, "read_zone_file", unreadable)
    with pytest.raises(dns_guard.Trouble) as error:
        dns_guard.reconcile_file(settings, ())
    assert type(error.value) is raised
