"""What the control node adds to a host's facts: how old its backups were when the facts were collected."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from automation.backups.entries import Entry
from automation.backups.folding import fold
from automation.backups.spec import load_backups
from automation.baseline.judge import judge
from automation.commands._backup_facts import Declared, OnHost, add_backups, backups_of
from automation.commands._controls import load_controls
from automation.commands._ledger import note
from automation.commands._session import Session
from automation.model.backup_evidence import PointsCopied, PointsDeleted
from automation.model.catalog import load_catalog
from automation.model.environment import load_environment
from automation.model.facts import Facts
from automation.model.recovery_points import Level
from tests.backups.entries import NOW, entry, proof_failed, proven, taken
from tests.conftest import ROOT

LAB = ROOT / "inventories/lab"
SHARE = {"resource": "city-share"}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Make = Callable[..., Session]


def known(*entries: Entry, host: str = "files-a") -> OnHost:
    backups, catalog = load_backups(LAB / "backups.yml"), load_catalog(LAB / "services.yml")
    return backups_of(host, Declared(backups, catalog, fold(entries), NOW))


def share(*entries: Entry) -> Any:
    (one,) = known(*entries).resources
    return one.age_h, one.restored_days


STORE = "hall-nas"
FRESH = taken("new", NOW - 2 * HOUR, STORE, **SHARE)
COPIED = PointsCopied(resource="city-share", store="eoc-nas", source=STORE, points={"c": "new"}, seconds=1.0)
RESTORED = proven("new", NOW - HOUR, STORE, **SHARE)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ((), (None, None)),
        ((FRESH,), (2.0, None)),
        ((FRESH, RESTORED), (2.0, 0.0)),
        ((FRESH, taken("old", NOW - 9 * DAY, STORE, **SHARE)), (2.0, None)),
        ((FRESH, proven("new", NOW - HOUR, STORE, Level.L2, **SHARE)), (2.0, None)),
        ((FRESH, RESTORED, proof_failed(NOW - HOUR / 2, STORE)), (2.0, None)),
        (
            (
                FRESH,
                taken("old", NOW - 9 * DAY, STORE, **SHARE),
                proof_failed(NOW - HOUR, STORE, resource="city-share", point="new"),
            ),
            (216.0, None),
        ),
        ((taken("new", NOW - 2 * HOUR, STORE, status="partial", **SHARE),), (None, None)),
        (
            (
                FRESH,
                entry(COPIED, NOW - HOUR),
                entry(PointsDeleted(resource="city-share", store=STORE, points=("new",), left=0), NOW),
            ),
            (2.0, None),
        ),
    ],
    ids=[
        "never saved",
        "saved",
        "restored",
        "the newest counts",
        "read is not restored",
        "its store is in doubt",
        "a bad one is none",
        "half of it is none",
        "a copy is as old as what it copies",
    ],
)
def test_only_what_is_whole_and_was_restored_counts(
    entries: tuple[Entry, ...], expected: tuple[float | None, float | None]
) -> None:
    assert share(*entries) == expected


def test_a_database_is_of_both_its_hosts_and_a_host_without_data_expects_nothing() -> None:
    for host in ("pg-a", "pg-b"):
        assert [one.name for one in known(host=host).resources] == ["payments-db", "payments-dump"]
    assert known(host="client-1") == OnHost(expected=False, resources=())


# --- added when facts are judged -------------------------------------------------------------------


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def session(folder: Path = LAB, *entries: Entry) -> Session:
        note(tmp_path, entries)
        environment = load_environment(ROOT, "lab").model_copy(update={"folder": folder})
        return cast(Session, SimpleNamespace(environment=environment, state=tmp_path))

    return session


def collected(subject: str = "files-a", **more: Any) -> Facts:
    return Facts.model_validate({"subject": subject, "platform": "linux", "collected_at": NOW, **more})


def verdict(facts: Facts) -> tuple[str, str]:
    control = load_controls()["lin.backup.recent"]
    (one,) = judge(facts, [control], "standard", NOW).verdicts
    return one.state, one.reason


def judged(session: Session, facts: Facts) -> tuple[str, str]:
    (full,) = add_backups(session, [facts], facts.collected_at)
    return verdict(full)


def test_the_control_passes_fails_and_does_not_apply_by_what_the_ledger_knew(make: Make) -> None:
    session = make(LAB, FRESH, RESTORED)
    assert judged(session, collected())[0] == "pass"
    assert judged(session, collected("client-1")) == (
        "not_applicable",
        "nothing on it is declared to be saved",
    )
    later = collected().model_copy(update={"collected_at": NOW + 3 * DAY})
    state, reason = judged(session, later)
    assert state == "fail"
    assert "74.0" in reason


def test_old_facts_are_judged_by_what_was_known_then(make: Make) -> None:
    session = make(LAB, taken("old", NOW - 9 * DAY, STORE, **SHARE), FRESH, RESTORED)
    then = collected(collected_at=NOW - 8 * DAY)
    (full,) = add_backups(session, [then], then.collected_at)
    assert full.sections["backups"] == {
        "expected": True,
        "resources": [{"name": "city-share", "age_h": 24.0, "restored_days": None}],
    }
    before = collected(collected_at=NOW - 30 * DAY)
    assert judged(session, before) == (
        "unknown",
        "whether it applies: backups could not be read: the ledger of backups begins later than these facts",
    )


def test_without_a_declaration_or_with_a_faulty_one_it_is_not_known(make: Make, tmp_path: Path) -> None:
    assert "nobody declared what is saved" in judged(make(tmp_path), collected())[1]
    (tmp_path / "backups.yml").write_text("stores: 7\n")
    state, reason = judged(make(tmp_path), collected())
    assert state == "unknown"
    assert "backups.yml" in reason


def test_what_is_no_host_has_no_backups_and_what_a_drill_added_stays(make: Make) -> None:
    account = collected("123456789012", platform="aws")
    told = collected(sections={"backups": {"expected": False, "resources": []}})
    assert add_backups(make(), [account, told], NOW) == (account, told)
