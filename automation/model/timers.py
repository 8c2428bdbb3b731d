"""What systemd says of a timer and of the service that it starts."""

from pydantic import AwareDatetime, Field

from automation.model.base import Model


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
