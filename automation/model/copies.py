"""How the baseline of what was recovered stands beside that of what it was recovered from."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import Model

Grade = Literal["critical", "high", "medium", "low"]


class Weaker(Model):
    """A control that passes on the original and not on the copy."""

    control: str
    title: str
    severity: Grade
    state: Literal["fail", "waived", "unknown", "error"] = Field(description="on the copy")
    observed: str = Field(description="on the copy: the facts that are against it, or why none is known")
    wanted: str = ""
    waiver: str = Field(default="", description="id of the signed waiver that accepts it")


class CopyCompared(Model):
    """One service on one host that carries it now, beside the hosts that carried it."""

    service: str
    originals: tuple[str, ...]
    host: str
    profile: str = Field(description="what is asked of the originals; the copy is held to the same")
    original_at: AwareDatetime = Field(description="when the oldest of the originals' facts were collected")
    copy_at: AwareDatetime
    kept_by: str = Field(default="", description="earlier run that the originals' facts are from")
    asked: int = Field(description="controls of that profile")
    controls: int = Field(description="of these, those that pass on every original: all that is compared")
    alike: int = Field(description="of these, those that pass on the copy")
    not_applicable: tuple[str, ...] = Field(default=(), description="of these, ids that mean nothing there")
    not_walked: tuple[str, ...] = Field(
        default=(), description="ids that are not compared: the walk over an original's disks was cut short"
    )
    weaker: tuple[Weaker, ...] = ()
    waived: tuple[Weaker, ...] = ()
    simulated: tuple[str, ...] = Field(default=(), description="of these hosts, those that are not real")


class NotCompared(Model):
    """A service of which nobody can say how its copy stands."""

    service: str
    host: str
    why: str


class CopiesCompared(Model):
    """All that a run can say of whether its copies are no weaker than their originals."""

    compared: tuple[CopyCompared, ...] = ()
    not_compared: tuple[NotCompared, ...] = ()
    refused: Mapping[str, str] = Field(default_factory=dict, description="waiver to why it does not count")
    not_asked: tuple[str, ...] = Field(
        default=(), description="services whose machines a recovery makes or registers, or does not name"
    )

    @property
    def weaker(self) -> Mapping[tuple[str, str], tuple[Weaker, ...]]:
        """Host and control that are weaker and not waived, with what was found, each once."""
        found: dict[tuple[str, str], tuple[Weaker, ...]] = {}
        for one in self.compared:
            for weak in one.weaker:
                found.setdefault((one.host, weak.control), (weak,))
        return found
