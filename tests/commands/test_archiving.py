"""Who is asked how the WAL of a database goes to its archive: the host that is primary now."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from automation.commands._backups import look_at_archiving
from automation.model.catalog import Catalog
from automation.model.errors import AdapterError
from automation.model.records import Completed
from tests.backups.entries import make_backups
from tests.on_premises import load_on_premises

ARCHIVING = {
    "in_recovery": False,
    "mode": "on",
    "timeout_s": 60,
    "waiting": 0,
    "waits_s": None,
    "last_archived_at": None,
    "last_failed_at": None,
}


class Host:
    """A host with a cluster that is a standby, or primary; or one that does not answer."""

    def __init__(self, name: str, role: str) -> None:
        self.name, self.role = name, role

    def run(self, argv: list[str], stdin: str = "", timeout_s: float = 30.0) -> Completed:
        if self.role == "silent":
            raise AdapterError(f"{self.name}: no answer\n\tin 10 s")
        who = {"system_identifier": "7", "timeline": 2, "in_recovery": self.role == "standby"}
        said = ARCHIVING if "pg_stat_archiver" in stdin else who
        return Completed(exit_code=0, stdout=json.dumps(said), stderr="")


def city(**roles: str) -> Any:
    hosts: dict[str, Host] = {name.replace("_", "-"): Host(name, role) for name, role in roles.items()}
    remote: Callable[[str], Host] = hosts.__getitem__
    return SimpleNamespace(remote=remote)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_on_premises()


def test_the_primary_of_this_moment_is_asked_and_nothing_but_databases_with_wal(
    tmp_path: Path, catalog: Catalog
) -> None:
    backups = make_backups(tmp_path)
    spec = backups.resources["ledger-db"].model_copy(update={"service": "payments-db"})
    moved = backups.model_copy(update={"resources": {**backups.resources, "ledger-db": spec}})
    found = look_at_archiving(city(pg_a="standby", pg_b="primary"), moved, catalog, moved.resources)
    assert set(found) == {"ledger-db"}
    archiving = found["ledger-db"].archiving
    assert archiving is not None
    assert archiving.host == "pg-b"


def test_a_primary_that_does_not_answer_is_a_problem_in_one_line(tmp_path: Path, catalog: Catalog) -> None:
    found = look_at_archiving(city(pg_a="silent"), make_backups(tmp_path), catalog, ["ledger-db"])
    assert found["ledger-db"].archiving is None
    assert "no answer in 10 s" in found["ledger-db"].problem
