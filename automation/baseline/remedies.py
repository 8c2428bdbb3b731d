"""What changes a host so that a control holds: settings that one Ansible module applies, and their risk."""

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field, JsonValue, field_validator

from automation.baseline.asking import valid_expression
from automation.model.base import Model
from automation.model.host_settings import HostSetting, Risk


class ProviderCall(Model):
    """A change at AWS or vCenter, by a name that its adapter knows."""

    kind: Literal["aws", "vsphere"]
    call: str = Field(pattern=r"^[a-z_]+$")
    arguments: Mapping[str, JsonValue] = Field(default_factory=dict)
    each: str = Field(
        default="", description="JMESPath over the facts: the names it is made for; empty: made once"
    )

    @field_validator("each")
    @classmethod
    def _is_an_expression(cls, text: str) -> str:
        return text and valid_expression(text)


class Remedy(Model):
    """What is changed, and how far that reaches."""

    risk: Risk
    settings: tuple[HostSetting, ...] = ()
    calls: tuple[ProviderCall, ...] = ()
    guards: tuple[str, ...] = Field(default=(), description="what must hold before it is changed")

    def parameters(self) -> Iterator[str]:
        """Name the parameters that the values stand for."""
        text = self.model_dump_json()
        yield from re.findall(r'"\$([a-z_]+)"', text)
