"""How a VM is marked as ours: one advanced setting of its own, written by the call that makes it. Pure.

It stands in the VM's .vmx and so goes with its disks to another vCenter, which custom attributes do not; and
the very call that clones sets it. The guest cannot write it: only guestinfo.* is the guest's.
"""

import uuid
from collections.abc import Mapping

from pydantic import Field, ValidationError

from automation.model.base import Model

KEY = "mainstay.mark"
PATH = f'config.extraConfig["{KEY}"]'
HOST_KEY = "guestinfo.mainstay.ssh_host_key"  # as templates/cloud_init tells it
HOST_KEY_PATH = f'config.extraConfig["{HOST_KEY}"]'
_TOKENS = uuid.UUID("7b1d6a52-9f0e-4a58-8c53-1f3f5a0c6d11")  # of our own making; any that stays the same


class Mark(Model):
    """Whose a VM is, and what of it no property of vSphere can say."""

    environment: str
    name: str
    site: str = Field(
        default="", description="of the vCenter; one that came with a disk from another is none"
    )
    run: str = Field(default="", description="run that made it, adopted or registered it")
    step: str = ""
    image: str = Field(default="", description="name of the template")
    tags: Mapping[str, str] = Field(default_factory=dict)
    disks: Mapping[str, str] = Field(
        default_factory=dict, description="declared name to controller:unit, 1000:1"
    )
    kept: Mapping[str, str] = Field(
        default_factory=dict, description="disk to its file, detached to outlive the VM"
    )
    fenced_by: str = Field(default="", description="run; no run but one that releases it powers it on")
    blocked_by: str = Field(default="", description="run that disconnected its adapters")
    autostart: bool = Field(default=False, description="whether its fence took it from its host's autostart")
    copy_of: str = Field(default="", description="the VM whose files a test copied")


def read_mark(value: object) -> Mark | None:
    """Give the mark that a setting holds; what is none, or another's, gives None."""
    text = getattr(value, "value", value)
    if not isinstance(text, str) or not text:
        return None
    try:
        return Mark.model_validate_json(text)
    except ValidationError:
        return None


def write_mark(mark: Mark) -> str:
    """Give a mark as the setting's value, the shortest form."""
    return mark.model_dump_json(exclude_defaults=True)


def token(run: str, step: str, name: str) -> str:
    """Give the instance UUID of a VM that a step makes: the same however often it is made."""
    return str(uuid.uuid5(_TOKENS, f"{run}\n{step}\n{name}"))
