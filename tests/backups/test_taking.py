"""When a backup is due, and which steps it has."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.backups.due import judge, last_time, longest_gap_s, next_time
from automation.backups.entries import Entry, PointsMissed
from automation.backups.folding import fold
from automation.backups.resources import Take
from automation.backups.sighting import Observed, StoreSeen
from automation.backups.spec import Backups
from automation.backups.taking import Backup, Places, Seen, Wanted, plan_backup
from automation.model.actions import CopyPoints, FetchConfig, TakeBackup, TakeFiles
from automation.model.backup_evidence import PointsDeleted
from automation.model.recovery_points import RecoveryPoint
from tests.backups.entries import NOW, copied, entry, make_backups, taken
from tests.backups.points import make_point

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NEW_YORK = ZoneInfo("America/New_York")
PLACES = Places({"ledger-db": "pg-b", "ledger-dump": "pg-b"}, {"routers": ("rtr-a", "rtr_b")}, {})


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Backups:
    return make_backups(tmp_path_factory.mktemp("policy"))


def seen(backups: Backups, *points: RecoveryPoint, silent: tuple[str, ...] = ()) -> Observed:
    places: dict[tuple[str, str], tuple[RecoveryPoint, ...]] = {}
    for point in points:
        place = point.resource, point.copy_name
        places[place] = (*places.get(place, ()), point)
    stores = {
        name: StoreSeen(store=name, problem="no answer" if name in silent else "") for name in backups.stores
    }
    return Observed(NOW, stores, places)


def plan(
    backups: Backups, observed: Observed, *resources: str, story: tuple[Entry, ...] = (), **how: bool
) -> Backup:
    named = resources or tuple(backups.resources)
    return plan_backup(backups, Wanted(named, **how), Seen(observed, fold(story)), PLACES, environment="lab")


def ids(backup: Backup) -> list[str]:
    return [step.id for step in backup.plan.steps]


# --- when -----------------------------------------------------------------------------------------

CLOCK = {
    "before it": ("daily 01:00", "2026-11-22T05:59Z", "2026-11-21T06:00Z", "2026-11-22T06:00Z"),
    "at it": ("daily 01:00", "2026-11-22T06:00Z", "2026-11-22T06:00Z", "2026-11-23T06:00Z"),
    "another day": ("mon,thu 23:30", "2026-11-22T12:00Z", "2026-11-20T04:30Z", "2026-11-24T04:30Z"),
    "the hour that is left out": (
        "daily 02:30",
        "2026-03-08T12:00Z",
        "2026-03-08T07:30Z",
        "2026-03-09T06:30Z",
    ),
    "the hour that comes twice": (
        "daily 01:30",
        "2026-11-01T12:00Z",
        "2026-11-01T05:30Z",
        "2026-11-02T06:30Z",
    ),
}


@pytest.mark.parametrize(("when", "now", "last", "following"), CLOCK.values(), ids=CLOCK)
def test_times_are_of_the_policys_wall_clock(when: str, now: str, last: str, following: str) -> None:
    at = datetime.fromisoformat(now)
    assert last_time(when, at, NEW_YORK) == datetime.fromisoformat(last)
    assert next_time(when, at, NEW_YORK) == datetime.fromisoformat(following)


@given(st.integers(min_value=0, max_value=10 * 366 * 24 * 60))
def test_between_two_times_there_is_a_day_give_or_take_an_hour(minute: int) -> None:
    at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    last, following = last_time("daily 02:30", at, NEW_YORK), next_time("daily 02:30", at, NEW_YORK)
    assert last is not None
    assert following is not None
    assert last <= at < following
    assert abs(following - last - DAY) <= HOUR


def due(take: dict[str, object], *points: RecoveryPoint) -> tuple[bool, str]:
    found = judge(Take.model_validate(take), points, NOW, NEW_YORK)
    return found.now, found.type


FULL = make_point(NOW - 2 * DAY, "f", copy_name="pg")
DIFF = make_point(NOW - HOUR, "d", copy_name="pg", depends_on=("f",))
DATABASE = {"full": "fri 01:00", "diff": "daily 01:00"}
DUES = {
    "nothing there": ({"every": "4 hours"}, (), (True, "full")),
    "a little early is in time": ({"every": "4 hours"}, (make_point(NOW - 3.75 * HOUR),), (True, "full")),
    "much too early": ({"every": "4 hours"}, (make_point(NOW - 2 * HOUR),), (False, "full")),
    "a failed one does not count": (
        {"every": "4 hours"},
        (make_point(NOW - HOUR, status="failed"),),
        (True, "full"),
    ),
    "one of the future does not count": ({"every": "4 hours"}, (make_point(NOW + 9 * DAY),), (True, "full")),
    "no full backup": (DATABASE, (DIFF,), (True, "full")),
    "a full one is overdue": ({**DATABASE, "full": "sat 01:00"}, (FULL, DIFF), (True, "full")),
    "a diff is due": (DATABASE, (FULL,), (True, "diff")),
    "all is there": (DATABASE, (FULL, DIFF), (False, "diff")),
}


@pytest.mark.parametrize(("take", "points", "expected"), DUES.values(), ids=DUES)
def test_what_is_due(
    take: dict[str, object], points: tuple[RecoveryPoint, ...], expected: tuple[bool, str]
) -> None:
    assert due(take, *points) == expected


def test_the_longest_gap_is_that_of_the_schedule() -> None:
    take = Take.model_validate({"full": "sun 01:00", "diff": "mon,tue 01:00"})
    assert longest_gap_s(take, NOW, NEW_YORK) == 5 * 86400


# --- which steps ----------------------------------------------------------------------------------


def test_a_resource_is_taken_once_and_copied_to_its_other_stores(backups: Backups) -> None:
    backup = plan(backups, seen(backups), "share")
    assert ids(backup) == ["share/take-nas", "share/copy-eoc", "share/copy-vault"]
    take, *copies = (step.run for step in backup.plan.steps)
    assert isinstance(take, TakeFiles)
    assert (take.host, take.to.url) == ("files-a", "sftp:b@nas:/main")
    for copy in copies:
        assert isinstance(copy, CopyPoints)
        assert (copy.host, copy.source.url) == ("bk-a", "/main")
    assert [step.after for step in backup.plan.steps[1:]] == [("share/take-nas",)] * 2
    assert not any(step.needs for step in backup.plan.steps), "what failed tonight keeps no older point back"


def test_a_database_goes_into_each_repository_from_where_it_is_primary_now(backups: Backups) -> None:
    backup = plan(backups, seen(backups), "ledger-db")
    assert ids(backup) == ["ledger-db/take-pg", "ledger-db/take-pg-vault"]
    for step in backup.plan.steps:
        assert isinstance(step.run, TakeBackup)
        assert (step.run.primary, step.run.type) == ("pg-b", "full")
    assert backup.plan.steps[1].after == ("ledger-db/take-pg",)


def test_each_repository_of_a_database_is_due_by_what_it_has(backups: Backups) -> None:
    points = (
        make_point(NOW - 6 * HOUR - DAY, "f", resource="ledger-db", copy_name="pg"),
        make_point(NOW - HOUR, "d", resource="ledger-db", copy_name="pg", depends_on=("f",)),
    )
    backup = plan(backups, seen(backups, *points), "ledger-db", due_only=True)
    types = {
        step.run.to.store: step.run.type for step in backup.plan.steps if isinstance(step.run, TakeBackup)
    }
    assert types["pg-vault"] == "full"


def test_a_dump_that_failed_is_not_saved(backups: Backups) -> None:
    steps = plan(backups, seen(backups), "ledger-dump").plan.by_id
    assert steps["ledger-dump/take-nas"].needs == ("ledger-dump/dump",)
    assert steps["ledger-dump/dump"].run.host == "pg-b"  # type: ignore[union-attr]


def test_one_silent_device_keeps_no_other_from_being_saved(backups: Backups) -> None:
    steps = plan(backups, seen(backups), "routers").plan.by_id
    fetched = [step for step in steps.values() if isinstance(step.run, FetchConfig)]
    take = steps["routers/take-nas"]
    assert len(fetched) == 2
    assert take.needs == ()
    assert set(take.after) == {step.id for step in fetched}
    assert isinstance(take.run, TakeFiles)
    assert take.run.host == "bk-a"
    assert [Path(path).name for path in take.run.must_exist] == ["rtr-a.conf", "rtr_b.conf"]


def test_only_what_is_due_is_taken_and_the_rest_says_when(backups: Backups) -> None:
    fresh = [
        make_point(NOW - HOUR, f"p-{store}", resource="share", copy_name=store)
        for store in ("nas", "eoc", "vault")
    ]
    backup = plan(backups, seen(backups, *fresh), "share", due_only=True)
    assert ids(backup) == []
    (left,) = backup.left_out
    assert (left.resource, left.is_fault) == ("share", False)
    assert "next due" in left.reason
    assert ids(plan(backups, seen(backups, *fresh), "share")) != [], "who asks for it gets it"


def test_what_a_copy_lacks_is_copied_though_nothing_is_due(backups: Backups) -> None:
    points = (
        make_point(NOW - HOUR, "a", resource="share", copy_name="nas"),
        make_point(NOW - HOUR, "a2", resource="share", copy_name="eoc"),
        make_point(NOW - 3 * DAY, "b2", resource="share", copy_name="vault"),
    )
    assert ids(plan(backups, seen(backups, *points), "share", due_only=True)) == ["share/copy-vault"]


def test_a_store_that_cannot_be_looked_at_is_due_by_what_the_ledger_knows(backups: Backups) -> None:
    silent = seen(backups, silent=("nas", "vault"))
    assert ids(plan(backups, silent, "share", due_only=True))[0] == "share/take-nas"
    known = taken("a", NOW - HOUR, claimed_at=NOW - HOUR)
    assert ids(plan(backups, silent, "share", due_only=True, story=(known,))) == []


def test_what_rotation_deleted_from_a_copy_is_not_copied_again_and_what_an_attacker_did_is(
    backups: Backups,
) -> None:
    story = [taken(name, NOW - HOUR) for name in ("a", "b", "c")]
    story += [copied({"a2": "a", "b2": "b", "c2": "c"})]
    story += [entry(PointsDeleted(resource="share", store="eoc", points=("a2",), left=2), NOW)]
    story += [entry(PointsMissed(resource="share", store="eoc", points=("b2",)), NOW)]
    steps = plan(backups, seen(backups), "share", story=tuple(story)).plan.by_id
    left = {name: steps[f"share/copy-{name}"].run.leave for name in ("eoc", "vault")}  # type: ignore[union-attr]
    assert left == {"eoc": ("a",), "vault": ()}


def test_a_database_whose_primary_nobody_knows_is_left_out_and_told(backups: Backups) -> None:
    places = Places({}, {}, {"ledger-db": "two primaries"})
    named = ("share", "ledger-db")
    backup = plan_backup(backups, Wanted(named), Seen(seen(backups), fold(())), places, environment="lab")
    assert {step.id.split("/")[0] for step in backup.plan.steps} == {"share"}
    assert [(one.resource, one.is_fault) for one in backup.left_out] == [("ledger-db", True)]
