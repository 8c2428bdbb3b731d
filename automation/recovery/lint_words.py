"""What the rules over recovery plans say: one finding, in words that lead to an act."""

from typing import Literal

from automation.model.base import Model
from automation.model.plan import Step

Severity = Literal["error", "warning"]


class LintFinding(Model):
    """One thing that is wrong, or worth a look: the rule, what it is about, and what to do."""

    severity: Severity
    rule: str
    subject: str
    message: str
    act: str = ""
    where: tuple[str | int, ...] = ()


def wrong(rule: str, step: Step, message: str, act: str) -> LintFinding:
    """Give the error of a rule at one step."""
    return LintFinding(severity="error", rule=rule, subject=step.id, message=message, act=act)
