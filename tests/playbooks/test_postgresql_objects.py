"""Our Ansible module for roles, databases and slots: what it finds to do."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "playbooks" / "library"

# Made by PostgreSQL 15 itself: create role r password 'pencil'.
STORED = (
    "SCRAM-SHA-256$4096:6HksAuVYETOKBsRkVuZjRQ==$WtrrvHy1xF2eaBw/lSOZ2v5o2F3dByu0rpsg1vOk3Ow="
    ":FB++nWhkarC2UUZy3aJpCgFC2/Sp0XsBuOnoWLLGsqc="
)
OWNER = {"name": "owner", "password": "pencil", "replication": False}
NOTHING: dict[str, object] = {"roles": {}, "databases": {}, "slots": []}


@pytest.fixture(scope="module")
def objects() -> ModuleType:
    spec = importlib.util.spec_from_file_location("postgresql_objects", LIBRARY / "postgresql_objects.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_verifier_made_by_postgresql_is_recognised(objects: ModuleType) -> None:
    assert objects.verifies(STORED, "pencil")
    assert not objects.verifies(STORED, "pencils")


@pytest.mark.parametrize("stored", [None, "", "md5abcdef", "SCRAM-SHA-256$x", "SCRAM-SHA-256$a:b$c:d"])
def test_what_is_no_scram_verifier_is_replaced(objects: ModuleType, stored: str | None) -> None:
    assert not objects.verifies(stored, "pencil")


def test_all_is_made_on_a_new_cluster_and_no_password_stands_in_the_sql(objects: ModuleType) -> None:
    wanted = {"roles": [OWNER], "databases": [{"name": "pay", "owner": "owner"}], "slots": ["standby"]}
    changes = objects.plan(wanted, NOTHING)
    assert [words for words, _ in changes] == ["role owner", "database pay", "slot standby"]
    assert not any("pencil" in sql for _, sql in changes)


def test_nothing_is_to_do_where_all_is_as_wanted(objects: ModuleType) -> None:
    wanted = {"roles": [OWNER], "databases": [{"name": "pay", "owner": "owner"}], "slots": ["standby"]}
    found = {"roles": {"owner": [STORED, False]}, "databases": {"pay": "owner"}, "slots": ["standby"]}
    assert objects.plan(wanted, found) == []


def test_a_changed_password_owner_and_right_are_each_mended(objects: ModuleType) -> None:
    wanted = {
        "roles": [OWNER | {"password": "brush", "replication": True}],
        "databases": [{"name": "pay", "owner": "owner"}],
        "slots": [],
    }
    found = {"roles": {"owner": [STORED, False]}, "databases": {"pay": "postgres"}, "slots": []}
    words = [words for words, _ in objects.plan(wanted, found)]
    assert words == ["password of owner", "replication of owner", "owner of pay"]


def test_names_and_values_are_quoted(objects: ModuleType) -> None:
    assert objects.identifier('a"b') == '"a""b"'
    assert objects.literal("a'b") == "'a''b'"
