"""What systemd says of a timer and of the service that it starts, and how the job of both goes."""

from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import Model

JobState = Literal["ok", "running", "not-run-yet", "red"]


class TimerSeen(Model):
    """One timer, as systemd knows it."""

    enabled: bool = Field(description="it is started at boot")
    active: bool = Field(description="it waits for its time, or its service runs")
    since: AwareDatetime | None = Field(default=None, description="active since then")
    next_at: AwareDatetime | None = None
    last_at: AwareDatetime | None = Field(default=None, description="when it last started its service")


class ServiceSeen(Model):
    """One service: how it goes, or how it ended last since the machine was booted."""

    state: str = Field(description="of systemd: active, activating, inactive, failed")
    result: str = Field(description="of systemd: success, exit-code, signal, timeout, start-limit-hit, ...")
    exit_code: int
    began_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    invocation: str = ""


class JobSeen(Model):
    """One job of an environment on this machine."""

    job: str
    unit: str
    state: JobState
    next_at: AwareDatetime | None = None
    last_at: AwareDatetime | None = Field(default=None, description="when it last began")
    ended_at: AwareDatetime | None = Field(default=None, description="none: not since the machine was booted")
    ended: str = Field(default="", description="how, in words")
    exit_code: int | None = None
    authorisation: str = ""
    authorised_until: AwareDatetime | None = None
    faults: tuple[str, ...] = ()


class Schedule(Model):
    """Every job of an environment, and whom it tells."""

    environment: str
    told: tuple[str, ...] = Field(description="names of the targets that alarms go to")
    jobs: tuple[JobSeen, ...]

    @property
    def red(self) -> tuple[JobSeen, ...]:
        return tuple(job for job in self.jobs if job.state == "red")
