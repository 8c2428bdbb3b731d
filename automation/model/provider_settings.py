"""Calls at AWS and vCenter that make a control hold, and what they found before."""

from collections.abc import Mapping

from pydantic import Field, JsonValue

from automation.model.base import Model
from automation.model.host_settings import Risk


class WantedCall(Model):
    """One call of a plan, by a name that its adapter knows, and the control that asks for it."""

    control: str
    risk: Risk
    call: str = Field(pattern=r"^[a-z_]+$")
    on: str = Field(default="", description="name of what it is made for, as the facts give it; empty: all")
    arguments: Mapping[str, JsonValue] = Field(default_factory=dict)


class SavedCall(Model):
    """What a call changed: enough to put it back, and to see that nobody changed it since."""

    control: str
    call: str = Field(pattern=r"^[a-z_]+$")
    on: str = ""
    before: JsonValue = None
    after: JsonValue = None
