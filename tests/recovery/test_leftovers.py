"""The leftover audit: what a drill leaves behind is found; what production does itself is none of it."""

import pytest

from automation.model.drill_evidence import Listed, Listing
from automation.recovery.leftovers import Seen, audit, read_items

WAL = "archive/payments/15-1/0000000100000000/00000001000000000000000"


def seen(of: Listed = "archive", **items: str) -> Seen:
    return Seen(Listing(of=of, where="eoc-pg"), items)


def archive(*numbers: int, **more: str) -> Seen:
    files = {f"{WAL}{number}-{number:040x}.zst": "4711" for number in numbers}
    return seen(**files, **{"archive/payments/archive.info": "300"}, **more)


def test_two_equal_lists_leave_nothing() -> None:
    found = audit({"archive": archive(1, 2)}, {"archive": archive(1, 2)})
    assert found.clean
    assert found.compared == 3


def test_wal_that_production_archives_meanwhile_is_counted_and_is_no_leftover() -> None:
    found = audit({"archive": archive(1, 2)}, {"archive": archive(1, 2, 3, 4)})
    assert found.clean
    assert found.grown == {"eoc-pg": 2}


PLANTED = {
    "a new timeline": {"archive/payments/15-1/0000000200000000/000000020000000000000003-ab.zst": "1"},
    "its history file": {"archive/payments/15-1/00000002.history": "41"},
    "another cluster": {"archive/payments/15-2/0000000100000000/000000010000000000000001-ab.zst": "1"},
    "a backup": {"backup/payments/20261122-080000F": "path"},
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_a_drill_left_in_an_archive_is_found(what: str) -> None:
    found = audit({"archive": archive(1)}, {"archive": archive(1, **PLANTED[what])})
    assert [one.thing for one in found.leftovers] == list(PLANTED[what])
    assert not found.clean


def test_a_file_that_is_gone_or_changed_is_found() -> None:
    later = archive(1)
    items = {**later.items, "archive/payments/archive.info": "301"}
    found = audit({"archive": archive(1, 2)}, {"archive": Seen(later.listing, items)})
    assert {(one.before, one.after) for one in found.leftovers} == {("4711", "not there"), ("300", "301")}


@pytest.mark.parametrize("of", ["servers", "clusters", "folders", "names"])
def test_only_an_archive_may_grow(of: Listed) -> None:
    found = audit({"x": seen(of, one="is")}, {"x": seen(of, one="is", two="is")})
    assert [one.thing for one in found.leftovers] == ["two"]


def test_a_list_that_nobody_made_again_is_no_clean_end() -> None:
    found = audit(
        {"servers": seen("servers", one="is"), "x": seen("folders", a="b")}, {"x": seen("folders", a="b")}
    )
    assert found.not_listed_again == ("servers",)
    assert not found.clean


def test_nothing_compared_is_not_clean() -> None:
    assert not audit({}, {}).clean


def test_an_artifact_is_read_line_by_line() -> None:
    assert read_items("a b\t12\nno tab\nc\tx\ty\n") == {"a b": "12", "c": "x\ty"}
