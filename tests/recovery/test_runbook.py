import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from automation.adapters.ansible import list_inventory
from automation.model.catalog import load_catalog
from automation.model.environment import load_environment
from automation.model.plan import Plan
from automation.recovery.by_hand import KNOWN, Around
from automation.recovery.failover import compile_walkthrough
from automation.recovery.planner import City
from automation.recovery.runbook import Line, Runbook, make_runbook
from automation.recovery.spec import load_plan

ROOT = Path(__file__).resolve().parents[2]
MADE_AT = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(
    scope="module", params=[("lab", "city", "city-hall"), ("example-city", "everything", "civic-centre")]
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Runbook]:
    name, plan_name, site = request.param
    environment = load_environment(ROOT, name)
    inventory = list_inventory(environment.inventory_files, tmp_path_factory.mktemp("state"))
    catalog = load_catalog(environment.folder / "services.yml")
    recovery = load_plan(ROOT, plan_name)
    plan = compile_walkthrough(plan_name, recovery, City(environment, inventory, catalog, {}), site)
    around = Around(environment, inventory)
    return plan, make_runbook(plan, recovery, catalog.services, around, site=site, made_at=MADE_AT)


def lines(book: Runbook) -> list[Line]:
    return [line for part in book.parts for line in part.lines]


def test_every_step_stands_once_under_its_number(made: tuple[Plan, Runbook]) -> None:
    plan, book = made
    assert [line.number for line in lines(book)] == list(range(1, len(plan.steps) + 1))
    assert {line.step for line in lines(book)} == set(plan.by_id)


def test_nobody_waits_for_a_step_that_comes_later(made: tuple[Plan, Runbook]) -> None:
    plan, book = made
    names = {line.number: line.step for line in lines(book)}
    for line in lines(book):
        assert all(number < line.number for number in line.waits_for)
        assert {names[number] for number in line.waits_for} == plan.waits_for[line.step]


def test_every_step_can_be_done_by_hand(made: tuple[Plan, Runbook]) -> None:
    plan, book = made
    assert {type(step.run) for step in plan.steps} <= KNOWN.keys()
    assert [line.step for line in lines(book) if not (line.commands or line.note)] == []
    assert [line.step for line in lines(book) if not line.expect] == []


def test_what_cannot_be_taken_back_is_marked(made: tuple[Plan, Runbook]) -> None:
    plan, book = made
    marked = {line.step for line in lines(book) if line.no_return}
    assert marked == {step.id for step in plan.steps if step.run.irreversible}


def test_every_role_that_is_asked_stands_among_the_people(made: tuple[Plan, Runbook]) -> None:
    plan, book = made
    asked = {step.gate.role for step in plan.steps if step.gate}
    assert asked <= {person.role for person in book.people}


def test_commands_name_addresses_not_hosts(made: tuple[Plan, Runbook]) -> None:
    _, book = made
    typed = [command for line in lines(book) for command in line.commands]
    assert [
        word for command in typed for word in re.findall(r"ssh \w+@(\S+)", command) if not word[0].isdigit()
    ] == []
