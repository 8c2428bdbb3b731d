"""Which snapshot of a database counts as what a failover would restore."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from automation.adapters.aws.pilot import newest_snapshot
from automation.model.actions.points import POINT
from automation.model.servers import OWNER, ROLE

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
OURS, KEPT = "city", "portal-db-kept-20261122-030000"
BY_BACKUP = {OWNER: OURS, ROLE: "portal", POINT: "20261121-0300"}


def snapshot(name: str, minutes_old: float, tags: Mapping[str, str]) -> dict[str, object]:
    return {
        "DBSnapshotIdentifier": name,
        "DBInstanceIdentifier": "portal-db",
        "SnapshotCreateTime": NOW - timedelta(minutes=minutes_old),
        "TagList": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({OWNER: OURS, ROLE: KEPT}, "of-yesterday"),
        ({OWNER: "another", ROLE: KEPT}, "of-yesterday"),
        (BY_BACKUP, "young"),
        ({}, "young"),
        ({OWNER: OURS, ROLE: "portal-db"}, "young"),
    ],
    ids=[
        "kept by a move",
        "kept by another city",
        "by a backup",
        "by people",
        "tags of the database",
    ],
)
def test_what_a_move_kept_is_no_point_to_come_back_to(tags: Mapping[str, str], name: str) -> None:
    old = snapshot("of-yesterday", 1440, BY_BACKUP)
    seen = newest_snapshot([old, snapshot("young", 5, tags)], "portal-db")
    assert seen is not None
    assert seen.id == name


def test_where_a_move_kept_the_only_one_there_is_none() -> None:
    assert newest_snapshot([snapshot(KEPT, 5, {OWNER: OURS, ROLE: KEPT})], "portal-db") is None


def test_a_copy_is_as_old_as_what_it_copies() -> None:
    copy = snapshot("copy", 1, {}) | {"OriginalSnapshotCreateTime": NOW - timedelta(hours=3)}
    seen = newest_snapshot([copy, snapshot("younger", 60, {})], "portal-db")
    assert seen is not None
    assert (seen.id, seen.at) == ("younger", NOW - timedelta(hours=1))
