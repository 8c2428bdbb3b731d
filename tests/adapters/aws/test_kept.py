"""Until when a snapshot of a retired server's disk is kept, as its tags tell it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

import pytest

from automation.adapters.aws.kept import as_kept, last_day
from automation.model.providers import AwsProvider
from automation.model.servers import KeptSnapshot

AT = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
MARKS = {"mainstay:name": "files-a", "mainstay:of": "vol-1", "mainstay:disk": "data", "mainstay:run": "r"}


def provider(**more: object) -> AwsProvider:
    known = {"kind": "aws", "site": "east", "region": "us-east-1", "account": "123456789012"}
    return AwsProvider.model_validate({**known, **more})


def kept(tags: Mapping[str, str], **more: object) -> KeptSnapshot:
    shown = [{"Key": key, "Value": value} for key, value in {**MARKS, **tags}.items()]
    return as_kept(
        {"SnapshotId": "snap-1", "VolumeSize": 8, "StartTime": AT, "Tags": shown}, provider(**more)
    )


@pytest.mark.parametrize(
    ("more", "day"),
    [({}, date(2027, 2, 20)), ({"keep_disks": "1 d"}, date(2026, 11, 23))],
    ids=["by default", "as declared"],
)
def test_disks_are_kept_as_long_as_is_declared(more: Mapping[str, object], day: date) -> None:
    assert last_day(AT, provider(**more)) == day
    assert kept({}, **more).until == day, "made before snapshots bore that day"


def test_the_day_on_the_snapshot_counts_whatever_is_declared_since() -> None:
    assert kept({"mainstay:until": "2027-06-01"}, keep_disks="1 d").until == date(2027, 6, 1)


def test_what_bears_no_day_where_one_should_stand_is_never_over() -> None:
    broken = kept({"mainstay:until": "later"})
    assert broken.until is None
    assert not broken.is_over(date(2099, 1, 1))


def test_it_is_over_on_the_day_after_the_last() -> None:
    one = kept({"mainstay:until": "2027-02-20"})
    assert [one.is_over(date(2027, 2, day)) for day in (19, 20, 21)] == [False, False, True]
