"""Everything people wrote for an environment, read and held against itself: nothing is run."""

import tempfile
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import TypeVar

from automation.adapters.ansible import list_inventory
from automation.commands._command import ROOT
from automation.commands._lint_clouds import lint_clouds
from automation.commands._lint_plans import lint_plans, lint_tabletops
from automation.commands._lint_restores import lint_drill, lint_strategies
from automation.commands._lint_servers import lint_servers
from automation.model.base import Model
from automation.model.catalog import CatalogFiles, read_catalog
from automation.model.catalog_checks import check_acceptances, check_hosts
from automation.model.environment import Environment, Inventory, load_environment, state_root
from automation.model.errors import ConfigError, Problem
from automation.recovery.planner import City
from automation.recovery.spec import load_drill, load_plan

_Declared = TypeVar("_Declared")


class Fault(Model):
    """One problem: where it stands, and what to do."""

    file: str
    line: int
    key: str
    problem: str


class LintReport(Model):
    """What was read, and every problem of it, in the order of files and lines.

    Notes are no fault of a file: what the calendar made due, what is worth a look.
    """

    environment: str
    files: int
    services: int
    problems: tuple[Fault, ...]
    notes: tuple[Fault, ...]


def lint_environment(name: str, today: date) -> LintReport:
    """Read an environment, its catalog, and all plans and drills; give every problem.

    Raises:
        ConfigError: there is no such environment.
    """
    problems: list[Problem] = []
    folder = ROOT / "inventories" / name
    environment = _read(problems, folder / "environment.yml", load_environment, name)
    inventory = _inventory(environment, problems) if environment else None
    if environment and inventory:
        problems += lint_servers(environment, inventory)
    files = read_catalog(folder / "services.yml")
    problems += files.in_order((*files.problems, *_hosts(files, inventory)))
    plans = sorted((ROOT / "drtests/plans").glob("*.yml"))
    drills = sorted((ROOT / "drtests/drills").glob("*.yml"))
    read = {path.stem: _read(problems, path, load_plan, path.stem) for path in plans}
    isolated = [_read(problems, path, load_drill, path.stem) for path in drills]
    notes = list(files.locate(check_acceptances(files.catalog.services, today)))
    tabletops, faults = lint_tabletops()
    problems += faults
    if environment and inventory and not files.problems and not _hosts(files, inventory):
        city = City(environment, inventory, files.catalog, {})
        wrong, worth_a_look = lint_plans(city, {stem: plan for stem, plan in read.items() if plan}, today)
        problems, notes = [*problems, *wrong], [*notes, *worth_a_look]
        services = files.catalog.services
        problems += files.locate(lint_strategies(environment, services))
        problems += files.locate(lint_clouds(environment, inventory, services))
        for drill in isolated:
            problems += lint_drill(environment, inventory, services, drill) if drill else ()
    return LintReport(
        environment=name,
        files=1 + len(files.documents) + len(plans) + len(drills) + tabletops,
        services=len(files.catalog.services),
        problems=_faults(problems),
        notes=_faults(notes),
    )


def _faults(problems: Iterable[Problem]) -> tuple[Fault, ...]:
    return tuple(Fault(file=p.file, line=p.line, key=p.key, problem=p.message) for p in problems)


def _read(
    problems: list[Problem], path: Path, load: Callable[[Path, str], _Declared], name: str
) -> _Declared | None:
    """Load one declaration; what is wrong with it joins the problems."""
    try:
        return load(ROOT, name)
    except ConfigError as exc:
        if not path.is_file():
            raise  # no fault of a file: the name is wrong
        problems += exc.problems or [Problem(str(path), 1, "(file)", str(exc))]
        return None


def _inventory(environment: Environment, problems: list[Problem]) -> Inventory | None:
    """Resolve the inventory; its answer is kept only where the environment has state already."""
    kept = state_root() / environment.name
    try:
        with tempfile.TemporaryDirectory() as passing:
            state = kept if kept.is_dir() else Path(passing)
            return list_inventory(environment.inventory_files, state, environment.reading)
    except ConfigError as exc:
        path = environment.folder / "environment.yml"
        problems.append(Problem(str(path), 1, "inventory", str(exc)))
        return None


def _hosts(files: CatalogFiles, inventory: Inventory | None) -> tuple[Problem, ...]:
    if inventory is None:
        return ()
    return files.locate(check_hosts(files.catalog.sites, files.catalog.services, inventory))
