"""What the steps of a baseline prove."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import Model
from automation.model.provider_settings import SavedCall


class FactsCollected(Model):
    """The facts of one host, account or vCenter, kept beside the journal that names their digest."""

    kind: Literal["facts-collected"] = "facts-collected"
    host: str
    file: str = Field(description="artifact: Facts as JSON, packed by gzip")
    sha256: str = Field(description="of what is packed")
    collected_at: AwareDatetime
    unknown: Mapping[str, str] = Field(default_factory=dict, description="section to why it is not known")


class SettingSeen(Model):
    """What became of one setting."""

    control: str
    what: str = Field(description="sshd PermitRootLogin; file /etc/shadow")
    before: str
    after: str
    changed: bool
    problem: str = Field(default="", description="why it was left out, or will not last")


Switch = Literal["none", "confirmed", "reverted"]


class SettingsEnforced(Model):
    """What one run changed on a host, and whether the host took it back by itself."""

    kind: Literal["settings-enforced"] = "settings-enforced"
    host: str
    change: str = Field(description="id of the run, for baseline.undo --change")
    settings: tuple[SettingSeen, ...] = ()
    switch: Switch = Field(description="none: nothing could lock people out, or nothing changed")
    why: str = Field(default="", description="why it was taken back")
    failed: Mapping[str, str] = Field(
        default_factory=dict, description="what the host could not put back when it took it back, to why"
    )


class SettingsUndone(Model):
    """What was put back on a host, and what was not."""

    kind: Literal["settings-undone"] = "settings-undone"
    host: str
    change: str
    restored: tuple[str, ...] = ()
    left: Mapping[str, str] = Field(default_factory=dict, description="what was left as it is, to why")


class CallsMade(Model):
    """What one run changed at an AWS account or a vCenter, or put back there."""

    kind: Literal["calls-made"] = "calls-made"
    subject: str
    saved: tuple[SavedCall, ...] = ()
    left: Mapping[str, str] = Field(
        default_factory=dict, description="call and what it is for, to why it was left as it is"
    )
    source: Literal["real", "simulated"] = "real"
