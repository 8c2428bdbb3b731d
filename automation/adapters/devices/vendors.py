"""What differs between devices of one vendor and another: `vendors.yml`, and how it is read."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from automation.model.actions.devices import Vendor
from automation.model.base import Model
from automation.model.loading import load_model
from automation.model.terminals import Manners, checked

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_COMMENT = re.compile(r"/\*[\s\S]*?\*/|#[^\n]*")


class VendorKind(Model):
    """The devices of one vendor."""

    manners: Manners
    show: str = Field(min_length=1, description="line that shows the running configuration")
    header: tuple[str, ...] = Field(description="lines before the configuration that are none of it")
    footer: tuple[str, ...] = Field(default=("",), description="and after it")
    ends: Literal["with-the-word-end", "with-every-brace-closed"]
    varies: tuple[str, ...] = Field(description="lines that change though nobody changed anything")
    hidden: tuple[str, ...] = Field(description="secrets: groups named secret, secret_2, ..")
    checker: tuple[str, ...] = Field(default=(), description="reads {file}; none: the vendor has no free one")
    fault: str = Field(default="", description="of what the checker says: line, and what is wrong with it")
    package: str = Field(default="", description="that has the checker")

    @field_validator("header", "footer", "varies", "hidden")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked, patterns))

    def configuration(self, answer: str) -> str:
        """Give the configuration alone, without what is said around it; it ends with one line end."""
        lines = answer.split("\n")
        while lines and _is_any(self.header, lines[0].rstrip()):
            lines.pop(0)
        while lines and _is_any(self.footer, lines[-1].rstrip()):
            lines.pop()
        return "\n".join(lines) + "\n" if lines else ""

    def is_whole(self, answer: str) -> bool:
        """Whether a configuration came to its end."""
        text = self.configuration(answer)
        if self.ends == "with-the-word-end":
            lines = text.split("\n")
            return len(lines) > 2 and lines[-2].rstrip() == "end"
        return _is_balanced(text)

    def lasting(self, configuration: str) -> str:
        """Give what differs only when somebody changed something."""
        return "\n".join(
            line for line in configuration.split("\n") if not _is_any(self.varies, line.rstrip())
        )


class _Table(Model):
    vendors: Mapping[Vendor, VendorKind]


@cache
def vendor_kind(vendor: Vendor) -> VendorKind:
    """Give what is known of a vendor."""
    return load_model(Path(__file__).with_name("vendors.yml"), _Table).vendors[vendor]


def _is_any(patterns: Iterable[str], line: str) -> bool:
    return any(re.fullmatch(pattern, line) for pattern in patterns)


def _is_balanced(text: str) -> bool:
    """Whether every brace and quote is closed, and at least one was opened."""
    bare = _COMMENT.sub("", _QUOTED.sub("", text))
    depth = 0
    for sign in bare:
        depth += (sign == "{") - (sign == "}")
        if depth < 0:
            return False
    return "{" in bare and depth == 0 and '"' not in bare and bare.rstrip().endswith(("}", ";"))
