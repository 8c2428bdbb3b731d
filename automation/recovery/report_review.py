"""The after-action report and its improvement plan: the words of HSEEP, SP 800-34, SP 800-53 and CJIS. Pure.

HSEEP: Homeland Security Exercise and Evaluation Program (2020), its after-action report and improvement plan
(AAR/IP) with ratings P, S, M, U and capability elements. NIST SP 800-34 Rev. 1, 3.5: what a test of a
contingency plan covers. NIST SP 800-53 Rev. 5 and CJIS Security Policy 5.9.5: control CP-4.
"""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from automation.model.base import Model

FindingStatus = Literal["open", "in-progress", "done", "accepted"]
Element = Literal["planning", "organization", "equipment", "training", "exercises"]
Rating = Literal["P", "S", "M", "U", "-"]

RATINGS: dict[Rating, str] = {
    "P": "performed without challenges",
    "S": "performed with some challenges",
    "M": "performed with major challenges",
    "U": "unable to be performed",
    "-": "not rated: it was not measured",
}


class Finding(Model):
    """Something to mend: what was seen, what is to be done, by whom, by when, and how far it is."""

    id: str
    severity: Literal["high", "medium", "low"]
    observation: str
    act: str
    element: Element
    owner: str = Field(description="a role")
    start: date
    due: date
    status: FindingStatus = "open"
    note: str = ""
    changed_by: str = ""
    changed_at: datetime | None = None

    @property
    def closed(self) -> bool:
        return self.status in ("done", "accepted")


class FindingUpdate(Model):
    """One line of a run's findings file: what a person says of one finding; nothing is ever taken out."""

    at: datetime
    by: str
    id: str = Field(pattern=r"^[a-z0-9][a-z0-9./-]*$")
    observation: str | None = Field(default=None, description="of a finding that a person adds")
    act: str | None = None
    owner: str | None = None
    due: date | None = None
    status: FindingStatus | None = None
    note: str | None = None


class RatedObjective(Model):
    """One objective of the exercise, its criterion, what came of it, and how that is rated."""

    capability: str
    objective: str
    criterion: str
    result: str
    rating: Rating


class Participant(Model):
    """Somebody who took part, and how the record shows it."""

    person: str
    part: str


class ControlRow(Model):
    """What one requirement asks of a test, and what of it this run shows."""

    source: str
    asks: str
    shown: Literal["shown", "in part", "not shown"]
    how: str


class Review(Model):
    """The after-action report and improvement plan of one run."""

    exercise: str
    level: str
    scenario: str
    scope: str
    participants: tuple[Participant, ...]
    objectives: tuple[RatedObjective, ...]
    strengths: tuple[str, ...]
    findings: tuple[Finding, ...]
    controls: tuple[ControlRow, ...]
    evaluator: str
    reviewed_by: str
    reviewed_at: datetime | None
    next_due: date | None
    next_level: str
