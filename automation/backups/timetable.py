"""Which jobs an environment's backups need, and when each begins. Pure."""

from collections.abc import Iterator

from pydantic import Field

from automation.backups.locking import BEATS_S
from automation.backups.locking import beat_s as beat_of
from automation.backups.spec import Backups
from automation.model.base import Model

# Beats that divide an hour, so that every hour has the same ones.
_BEATS_MIN = (1, 2, 5, 10, 15)
_DAY_S = 86400.0
_CANARY = dict(zip(BEATS_S, ("Sun *-*-* 05:30", "*-*-* 05:30", "*-*-* 0/6:30"), strict=True))


class ScheduledJob(Model):
    """One command that a timer starts."""

    command: str = Field(description="backup.run")
    words: tuple[str, ...] = Field(default=(), description="what stands after it")
    calendar: str = Field(description="when, as systemd.time(7) says it")
    beat_s: float = Field(gt=0, description="longest time between two planned starts")
    jitter_s: int = Field(
        ge=0, description="starts later by less than that, always by as much on one machine"
    )
    longest_s: int = Field(gt=0, description="ended after it")
    retry_s: int = Field(default=0, ge=0, description="pause after exit 7; 0: the next beat tries again")
    tries: int = Field(default=1, ge=1, description="so many in a row, then it has failed")
    authorised: bool = Field(default=True, description="changes something, so it needs to be authorised")
    finds: bool = Field(
        default=False, description="its exits 3 and 6 are what it found, of which it tells people itself"
    )

    @property
    def silent_after_s(self) -> float:
        """When it is missed: the second start in a row did not come."""
        return 2 * self.beat_s + self.jitter_s + 60


def plan_jobs(backups: Backups) -> tuple[ScheduledJob, ...]:
    """Give the jobs of an environment: one a kind, each of which sees itself what is due.

    Rotation comes once a day, the canary once a week or as often as the locks need it that it lengthens, in
    the file's zone, and they try for two hours when others hold what they need; what is frequent leaves that
    to its next beat.
    """
    return tuple(_jobs(backups))


def _jobs(backups: Backups) -> Iterator[ScheduledJob]:
    due, beat_min = ("--due",), _beat_min(backups)
    yield ScheduledJob(
        command="backup.run",
        words=due,
        calendar=f"*:0/{beat_min}",
        beat_s=beat_min * 60.0,
        jitter_s=beat_min * 12,
        longest_s=2 * 86400,
    )
    yield ScheduledJob(
        command="backup.verify", words=due, calendar="*:20", beat_s=3600.0, jitter_s=300, longest_s=3 * 86400
    )
    yield _patient("backup.rotate", f"*-*-* 03:30 {backups.tz}", _DAY_S)
    if locks := [store.lock for store in backups.stores.values() if store.lock is not None]:
        beat_s = beat_of(locks)
        yield _patient("backup.canary", f"{_CANARY[beat_s]} {backups.tz}", beat_s)
    yield ScheduledJob(
        command="backup.status",
        calendar="*:0/15",
        beat_s=900.0,
        jitter_s=60,
        longest_s=900,
        authorised=False,
    )


def _patient(command: str, calendar: str, beat_s: float) -> ScheduledJob:
    return ScheduledJob(
        command=command,
        calendar=calendar,
        beat_s=beat_s,
        jitter_s=1800,
        longest_s=86400,
        retry_s=300,
        tries=24,
    )


def _beat_min(backups: Backups) -> int:
    """An eighth of the shortest interval or RPO that is kept by points alone; 15 minutes at most."""
    spans = [one.take.every.about_s for one in backups.resources.values() if one.take.every]
    spans += [one.rpo_s for one in backups.resources.values() if one.rpo_s and not one.take.wal]
    wanted = min(spans, default=_DAY_S) / 8 / 60
    return max((beat for beat in _BEATS_MIN if beat <= wanted), default=_BEATS_MIN[0])
