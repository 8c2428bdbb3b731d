"""What was found of each control on each subject, and what that counts. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, Field, JsonValue

from automation.baseline.checks import Truth
from automation.baseline.controls import ControlId, Profile, Severity
from automation.model.base import Model

State = Literal["pass", "fail", "waived", "attested", "not_applicable", "unknown", "error"]
WEIGHTS: Mapping[Severity, int] = {"critical": 10, "high": 6, "medium": 3, "low": 1}
# Of what applies, so much must be known before a green light means anything.
FLOOR = 0.95


class Found(Model):
    """One fact that a verdict stands on."""

    fact: str
    observed: JsonValue = None
    wanted: str
    met: Truth = "unknown"


class Beside(Model):
    """What a profile before the one that was asked for says of what failed."""

    profile: Profile
    state: State | None = Field(default=None, description="none: it does not ask for it")
    wanted: Mapping[str, str] = Field(default_factory=dict, description="fact to what it wants of it")


class Verdict(Model):
    """What one control found on one subject."""

    control: ControlId
    subject: str
    severity: Severity
    state: State
    reason: str = Field(default="", description="empty for pass alone")
    found: tuple[Found, ...] = ()
    disagrees: bool = Field(default=False, description="what is in effect is not what is written down")
    waiver: str = Field(default="", description="its id, where one stands against a failure")
    beside: tuple[Beside, ...] = Field(default=(), description="of a failure: what laxer profiles say")


class Assessment(Model):
    """All verdicts on one subject."""

    subject: str
    profile: Profile
    judged_at: AwareDatetime
    collected_at: AwareDatetime
    source: Literal["real", "simulated"] = "real"
    collector: str = Field(default="", description="sha256 of the program that collected the facts")
    verdicts: tuple[Verdict, ...]


class Tally(NamedTuple):
    """Counts, and the scores that are never told without them."""

    counts: Mapping[State, int]
    score: float | None
    with_waivers: float | None
    coverage: float | None

    @property
    def trusted(self) -> bool:
        """Whether enough is known for the score to mean anything; nothing applicable is not enough."""
        return self.coverage is not None and self.coverage >= FLOOR


def tally(verdicts: Iterable[Verdict]) -> Tally:
    """Count verdicts, and weigh them by severity.

    What is not known, or could not be judged, counts against the score; a waiver does too, but in
    `with_waivers`. Coverage is that of what applies: verdicts that say something.
    """
    every = tuple(verdicts)
    counts: Counter[State] = Counter(one.state for one in every)
    applicable = [one for one in every if one.state != "not_applicable"]
    if not applicable:
        return Tally(counts, None, None, None)
    known = [one for one in applicable if one.state not in ("unknown", "error")]
    whole = sum(WEIGHTS[one.severity] for one in applicable)
    good = sum(WEIGHTS[one.severity] for one in applicable if one.state in ("pass", "attested"))
    waived = sum(WEIGHTS[one.severity] for one in applicable if one.state == "waived")
    return Tally(counts, good / whole, (good + waived) / whole, len(known) / len(applicable))
