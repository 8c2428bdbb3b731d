"""Which jobs are due when, as a policy has it."""

import pytest

from automation.backups.resources import Take
from automation.backups.spec import Backups, load_backups
from automation.backups.stores import Lock
from automation.backups.timetable import ScheduledJob, plan_jobs
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def backups() -> Backups:
    return load_backups(ROOT / "inventories/example-city/backups.yml")


def jobs(backups: Backups) -> dict[str, ScheduledJob]:
    return {job.command: job for job in plan_jobs(backups)}


def taken(backups: Backups, rpo_s: float | None = None, **take: str) -> Backups:
    """The policy with one resource, which is taken so."""
    name, resource = next(iter(backups.resources.items()))
    one = resource.model_copy(update={"take": Take.model_validate(take), "rpo_s": rpo_s})
    return backups.model_copy(update={"resources": {name: one}})


def test_every_kind_of_work_has_one_job_and_the_watchdog_alone_needs_no_signature(backups: Backups) -> None:
    assert {name: job.authorised for name, job in jobs(backups).items()} == {
        "backup.run": True,
        "backup.verify": True,
        "backup.rotate": True,
        "backup.canary": True,
        "backup.status": False,
    }


def test_rotation_and_canary_come_by_the_clock_of_the_city(backups: Backups) -> None:
    found = jobs(backups.model_copy(update={"tz": "America/Denver"}))
    assert found["backup.rotate"].calendar == "*-*-* 03:30 America/Denver"
    assert found["backup.canary"].calendar == "Sun *-*-* 05:30 America/Denver"


@pytest.mark.parametrize(
    ("span", "calendar"),
    [
        ("1 year", "Sun *-*-* 05:30"),
        ("28 days", "Sun *-*-* 05:30"),
        ("14 days", "*-*-* 05:30"),
        ("4 days", "*-*-* 05:30"),
        ("1 day", "*-*-* 0/6:30"),
    ],
)
def test_no_lock_ends_before_the_job_that_lengthens_it_came_four_times(
    span: str, calendar: str, backups: Backups
) -> None:
    lock = Lock.model_validate({"mode": "compliance", "for": span})
    stores = {name: one.model_copy(update={"lock": lock}) for name, one in backups.stores.items()}
    job = jobs(backups.model_copy(update={"stores": stores}))["backup.canary"]
    assert job.calendar == f"{calendar} America/New_York"
    assert 4 * job.beat_s <= lock.span.about_s


def test_without_a_store_that_locks_there_is_no_canary(backups: Backups) -> None:
    unlocked = {name: store.model_copy(update={"lock": None}) for name, store in backups.stores.items()}
    assert "backup.canary" not in jobs(backups.model_copy(update={"stores": unlocked}))


@pytest.mark.parametrize(
    ("take", "rpo_s", "minutes"),
    [
        ({"at": "daily 01:00"}, None, 15),
        ({"every": "4 hours"}, None, 15),
        ({"every": "1 hour"}, None, 5),
        ({"every": "20 minutes"}, None, 2),
        ({"every": "1 minute"}, None, 1),
        ({"every": "4 hours"}, 900.0, 1),
        ({"full": "sun 01:00", "wal": "continuous"}, 60.0, 15),
    ],
    ids=["by the clock", "4 h", "1 h", "20 min", "1 min", "an RPO that is shorter", "WAL keeps the RPO"],
)
def test_the_beat_fits_the_shortest_interval(
    take: dict[str, str], rpo_s: float | None, minutes: int, backups: Backups
) -> None:
    job = jobs(taken(backups, rpo_s, **take))["backup.run"]
    assert (job.calendar, job.beat_s) == (f"*:0/{minutes}", minutes * 60.0)
    assert job.jitter_s < job.beat_s


def test_what_waits_for_others_gives_up_before_its_next_beat(backups: Backups) -> None:
    for job in plan_jobs(backups):
        assert job.retry_s * job.tries < job.beat_s
        assert (job.retry_s > 0) == (job.tries > 1)
