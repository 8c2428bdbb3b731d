"""Recovery plans held against the catalog, the disk and the adapters, with the line of every problem."""

from collections.abc import Mapping
from datetime import date

from automation.commands._command import ROOT
from automation.engine.dispatch import can_be_looked_at
from automation.model.errors import ConfigError, Problem
from automation.model.loading import read_document
from automation.recovery.lint import Facts, lint_recovery
from automation.recovery.lint_steps import LintFinding
from automation.recovery.planner import City
from automation.recovery.spec import RecoveryPlan
from automation.recovery.tabletop import load_tabletop

Found = tuple[list[Problem], list[Problem]]


def lint_plans(city: City, plans: Mapping[str, RecoveryPlan], today: date) -> Found:
    """Give what is wrong with the plans that are written for an environment, and what is worth a look."""
    problems: list[Problem] = []
    notes: list[Problem] = []
    facts = Facts(exists=lambda path: (ROOT / path).exists(), verified=can_be_looked_at, today=today)
    for name, plan in plans.items():
        if plan.environments and city.environment.name not in plan.environments:
            continue
        document = read_document(ROOT / "drtests/plans" / f"{name}.yml")
        for one in lint_recovery(name, plan, city, facts):
            key = ".".join(map(str, one.where)) or one.rule
            problem = Problem(str(document.path), document.line(one.where), key, _words(one))
            (problems if one.severity == "error" else notes).append(problem)
    return problems, notes


def lint_tabletops() -> tuple[int, list[Problem]]:
    """Read every tabletop; give their number and what is wrong with them."""
    paths = sorted((ROOT / "drtests/tabletops").glob("*.yml"))
    problems: list[Problem] = []
    for path in paths:
        try:
            load_tabletop(ROOT, path.stem)
        except ConfigError as exc:
            problems += exc.problems or [Problem(str(path), 1, "(file)", str(exc))]
    return len(paths), problems


def _words(one: LintFinding) -> str:
    return f"{one.subject}: {one.message}" + (f"; {one.act}" if one.act else "")
