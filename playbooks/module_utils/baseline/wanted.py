"""What a list of settings comes to on this host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible.module_utils.baseline.drafts import Drafts, Refused
from ansible.module_utils.baseline.revert import Host

Setting = Mapping[str, object]


@dataclass
class Item:
    """One setting: what is, what shall be, and why it cannot."""

    control: str
    risk: str
    what: str
    before: str = ""
    after: str = ""
    changed: bool = False
    problem: str = ""

    def shown(self) -> dict[str, object]:
        return {
            key: getattr(self, key) for key in ("control", "what", "before", "after", "changed", "problem")
        }


@dataclass
class Wanted:
    """All that a list of settings comes to on this host."""

    host: Host
    items: list[Item] = field(default_factory=list)
    drafts: Drafts = field(init=False)
    kernel: dict[str, tuple[str, str]] = field(default_factory=dict)  # name: was, wanted
    units: dict[str, tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)
    reloads: list[str] = field(default_factory=list)
    sshd: list[tuple[Item, str, str]] = field(default_factory=list)  # item, keyword, value
    drop_in: bytes | None = None  # ours, before any setting of sshd
    asked: dict[str, Setting] = field(default_factory=dict)  # what a setting is about: the setting
    refused: set[str] = field(default_factory=set)  # controls one of whose packages is not as wanted

    def __post_init__(self) -> None:
        self.drafts = Drafts(self.host)

    @property
    def changes(self) -> bool:
        return any(item.changed for item in self.items)

    def reload(self, unit: str) -> None:
        if unit and unit not in self.reloads:
            self.reloads.append(unit)


def as_text(value: object, joined_by: str = ",") -> str:
    """Give a value as a line of a file has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = (
        joined_by.join(str(one) for one in value)
        if isinstance(value, (list, tuple))
        else ""
        if value is None
        else str(value)
    )
    if any(ord(letter) < 32 and letter != "\t" for letter in text):
        raise Refused("its value holds control characters")
    return text


def decoded(content: bytes | None) -> str:
    """Give what a file holds as text, whatever its bytes are; none for no file."""
    return "" if content is None else content.decode(errors="surrogateescape")
