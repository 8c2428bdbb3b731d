"""A database whose WAL does not reach its archive in time is red, however young its newest backup is."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation.backups.folding import fold
from automation.backups.sighting import ArchiverSeen, StoreSeen, observe
from automation.backups.spec import Backups
from automation.backups.standing import Facts, Reach, ResourceStanding, stand
from automation.model.observations import Archiving
from tests.backups.entries import NOW, make_backups
from tests.backups.points import make_point

RPO_S = 300.0
AT = datetime(2026, 11, 22, 9, 37, 31, tzinfo=UTC)
WELL: dict[str, Any] = {
    "host": "pg-a",
    "mode": "on",
    "timeout_s": 60,
    "waiting": 0,
    "waits_s": None,
    "last_archived_at": AT,
    "last_failed_at": None,
}


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Backups:
    return make_backups(tmp_path_factory.mktemp("policy"))


def standing(
    backups: Backups, archivers: Mapping[str, ArchiverSeen], resource: str = "ledger-db"
) -> ResourceStanding:
    """A resource with a new point in each of its stores, and WAL that can be looked at."""
    point = make_point(NOW - timedelta(hours=1), "p", resource=resource)
    stores = backups.resources[resource].to
    seen = [StoreSeen(store=name, points=(point.model_copy(update={"copy_name": name}),)) for name in stores]
    ledger = fold(())
    observed = replace(observe(backups, ledger, seen, NOW), archivers=archivers)
    reach = {(resource, store): Reach(NOW) for store in stores}
    return stand(Facts(backups, ledger, observed, reach), resource, RPO_S)


def told(backups: Backups, **said: Any) -> list[str]:
    """What is told of archiving of a primary that says this and is well otherwise."""
    seen = ArchiverSeen(archiving=Archiving.model_validate(WELL | said))
    row = standing(backups, {"ledger-db": seen})
    assert row.unknown == ()
    return [line for line in row.wrong if "archive" in line or line.startswith("WAL waits")]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"waiting": 1, "waits_s": RPO_S},
        {"waiting": 1, "waits_s": -3.0},
        {"timeout_s": RPO_S},
        {"mode": "always"},
        {"last_archived_at": AT - timedelta(days=30)},
    ],
    ids=[
        "nothing waits",
        "just in time",
        "a clock set back",
        "timeout of the RPO",
        "always",
        "idle for long",
    ],
)
def test_wal_that_is_archived_in_time_is_not_told(said: dict[str, Any], backups: Backups) -> None:
    assert told(backups, **said) == []


@pytest.mark.parametrize(
    ("tries", "last"),
    [
        ({"last_failed_at": AT + timedelta(minutes=9)}, "the last try failed at 2026-11-22 04:46:31"),
        (
            {"last_archived_at": None, "last_failed_at": AT},
            "the last try failed at 2026-11-22 04:37:31",
        ),
        ({"last_failed_at": AT - timedelta(days=1)}, "the last was archived at 2026-11-22 04:37:31"),
        ({"last_archived_at": None}, "no try is known"),
    ],
    ids=["it fails", "it never worked", "it hangs", "nothing is known"],
)
def test_wal_that_waits_for_longer_than_the_rpo_is_red_and_says_since_when(
    tries: dict[str, Any], last: str, backups: Backups
) -> None:
    (line,) = told(backups, waiting=2, waits_s=720.0, **tries)
    assert line == f"WAL waits 12 min on pg-a to be archived, more than the RPO of 5 min; {last}"


def test_an_archive_that_is_off_is_told_alone(backups: Backups) -> None:
    found = told(backups, mode="off", timeout_s=0, waiting=3, waits_s=9000.0)
    assert found == ["archive_mode is off on pg-a: no WAL is archived"]


@pytest.mark.parametrize(
    ("timeout_s", "lost"),
    [
        (0, "archive_timeout is 0 on pg-a: a quiet database may lose all since its last full segment of WAL"),
        (
            600,
            "archive_timeout is 10 min on pg-a, more than the RPO of 5 min: "
            "a quiet database may lose up to 10 min",
        ),
    ],
    ids=["never", "too late"],
)
def test_a_quiet_database_that_may_lose_more_than_its_rpo_is_told(
    timeout_s: int, lost: str, backups: Backups
) -> None:
    assert told(backups, timeout_s=timeout_s) == [lost]


@pytest.mark.parametrize(
    ("archivers", "why"),
    [
        ({"ledger-db": ArchiverSeen(problem="pg-a: no answer in 10 s")}, "pg-a: no answer in 10 s"),
        ({}, "its primary was not asked"),
    ],
    ids=["no answer", "nobody asked"],
)
def test_a_primary_that_does_not_answer_is_unknown_once_and_not_red(
    archivers: dict[str, ArchiverSeen], why: str, backups: Backups
) -> None:
    row = standing(backups, archivers)
    well = standing(backups, {"ledger-db": ArchiverSeen(archiving=Archiving.model_validate(WELL))})
    assert row.unknown == (f"whether its WAL waits to be archived cannot be seen: {why}",)
    assert row.wrong == well.wrong


def test_what_archives_no_wal_is_not_asked_for_it(backups: Backups) -> None:
    assert standing(backups, {}, resource="share").unknown == ()
