"""What people are told without asking: that something is wrong, and that it is well again."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import Model


class Notice(Model):
    """One message. It never holds a secret."""

    kind: Literal["alarm", "well", "test"]
    environment: str
    about: str = Field(description="what it is about, as long as it lasts: backup.rotate, share in nas")
    what: str = Field(description="what is wrong, in one line")
    node: str = Field(description="the control node that says so")
    since: AwareDatetime
    said: tuple[str, ...] = Field(default=(), description="in the words of what failed")
    next_acts: tuple[str, ...] = Field(default=(), description="commands to type")
    repeats: bool = Field(default=True, description="told again after a day; else only what is new is told")


class Told(Model):
    """What people were told of one thing that is wrong; kept until it is well again."""

    about: str
    since: AwareDatetime
    told_at: AwareDatetime
    words: str = Field(description="hash of what was said, numbers left out")
    times: int = Field(ge=1, description="how often it was seen so")
    invocation: str = Field(default="", description="of systemd: which start of a job said it")


class Delivery(Model):
    """Who took a notice, and who did not, with the reason; empty: nobody had to be told."""

    took: tuple[str, ...] = ()
    failed: Mapping[str, str] = Field(default_factory=dict)
