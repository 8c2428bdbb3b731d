"""The books of a round trip: every acknowledged write is at the primary, or was listed and exported."""

from collections import Counter

import pytest

from automation.commands._round_trip import Books

ALL = frozenset({"1", "2", "3"})


@pytest.mark.parametrize(
    ("present", "lost", "exported", "told"),
    [
        ("123", "", "", ()),
        ("12", "3", "3", ()),
        ("12", "3", "34", ()),
        ("12", "", "", ("1 acknowledged writes are missing that no report listed",)),
        ("1122", "3", "3", ("2 writes are there more than once",)),
        ("12", "3", "", ("1 lost writes are not in the exported file",)),
        (
            "123",
            "3",
            "3",
            ("1 writes that were listed as lost are there", "1 exported writes are at the primary"),
        ),
    ],
    ids=[
        "all there",
        "lost, listed, exported",
        "more exported",
        "vanished",
        "doubled",
        "not exported",
        "both",
    ],
)
def test_what_does_not_add_up_is_told(present: str, lost: str, exported: str, told: tuple[str, ...]) -> None:
    books = Books(acknowledged=ALL, lost=frozenset(lost))
    found = books.check(Counter(present), frozenset(exported), frozenset(lost))
    assert len(found) == len(told)
    assert all(any(one.startswith(words) for one in found) for words in told)
