"""What is restored from backup is held against backups.yml and the inventory before anybody needs it."""

import pytest

from automation.commands._lint_restores import lint_drill, lint_strategies
from automation.model.catalog import RestoreFromBackup
from automation.model.environment import Inventory
from automation.recovery.spec import Drill, load_drill
from tests.conftest import ROOT
from tests.recovery.isolated_city import make_isolated_city

CITY = make_isolated_city()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({}, None),
        ({"resource": "city-share"}, "resource"),
        ({"store": "hall-nas"}, "store"),
        ({"store": "hall-pg"}, "store"),
        ({"configure": "playbooks/none.yml"}, "configure"),
    ],
    ids=["right", "no database", "not saved there", "lost with it", "no playbook"],
)
def test_a_strategy_names_what_is_saved_elsewhere(change: dict[str, str], key: str | None) -> None:
    words = {
        "kind": "restore-from-backup",
        "resource": "payments-db",
        "store": "eoc-pg",
        "cluster": "15/main",
        "hosts": {"city-hall": "pg-a", "eoc": "pg-b"},
        "configure": "playbooks/site.yml",
    }
    strategy = RestoreFromBackup.model_validate({**words, **change})
    service = CITY.catalog.services["payments-db"].model_copy(update={"strategy": strategy})
    found = list(lint_strategies(CITY.environment, {"payments-db": service}))
    assert [one.where[-1] for one in found] == ([] if key is None else [key])


def problems(drill: Drill, inventory: Inventory = CITY.inventory) -> list[str]:
    return [one.key for one in lint_drill(CITY.environment, inventory, CITY.catalog.services, drill)]


def test_the_drill_of_the_checkout_can_start() -> None:
    assert problems(load_drill(ROOT, "restore-from-backup")) == []


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"host": "app-b"}, "isolation.host"),
        ({"store": "hall-pg"}, "isolation.store"),
        ({"store": "eoc-nas"}, "isolation.store"),
        ({"checks": ("drtests/none",)}, "isolation.checks"),
        ({"services": ("elsewhere",)}, None),
    ],
    ids=["not on demand", "lost site", "no database's", "no check", "another environment's"],
)
def test_a_drill_that_cannot_start_is_found(change: dict[str, object], key: str | None) -> None:
    drill = load_drill(ROOT, "restore-from-backup")
    assert drill.isolation is not None
    changed = drill.model_copy(update={"isolation": drill.isolation.model_copy(update=change)})
    assert problems(changed) == ([] if key is None else [key])
