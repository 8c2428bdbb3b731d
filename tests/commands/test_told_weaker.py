"""Who decides on a planned move is told that hosts are weaker; nothing of it stands in the way."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from automation.commands._session import Session
from automation.commands._told_weaker import told_weaker
from automation.model.catalog import Service
from automation.recovery.planner import City
from tests.commands.test_copy_baselines import NOW, audited, few_controls, root_login, session
from tests.recovery.conftest import city

__all__ = ("city", "few_controls", "session")
SERVICES = ("payments-db", "payments")


@pytest.fixture
def services(city: City) -> Mapping[str, Service]:
    return {name: city.catalog.services[name] for name in SERVICES}


def keep(tmp_path: Path, *, days_ago: float = 1, **hosts: Any) -> None:
    at = NOW - timedelta(days=days_ago)
    folder = tmp_path / "runs" / f"{at:%Y%m%d-%H%M%S}-0b1e"
    (folder / "artifacts").mkdir(parents=True)
    audited(folder, "", at=at, **hosts)


ALIKE = {host: root_login("no") for host in ("pg_a", "pg_b", "app_a", "app_b")}


def test_a_host_that_fails_what_the_one_that_serves_passes_is_named_with_what_mends_it(
    session: Session, services: Mapping[str, Service], tmp_path: Path
) -> None:
    keep(tmp_path, **{**ALIKE, "pg_b": root_login("yes")})
    (line,) = told_weaker(session, services)
    assert line.startswith("pg-b is to serve instead of pg-a and is weaker, as of ")
    assert "root login" in line
    assert line.endswith("--limit pg-b")


def test_hosts_that_are_alike_are_not_spoken_of(
    session: Session, services: Mapping[str, Service], tmp_path: Path
) -> None:
    keep(tmp_path, **ALIKE)
    assert told_weaker(session, services) == ()


def test_who_is_stronger_than_those_that_serve_is_not_weaker(
    session: Session, services: Mapping[str, Service], tmp_path: Path
) -> None:
    keep(tmp_path, **{**ALIKE, "pg_a": root_login("yes")})
    assert told_weaker(session, services) == ()


def test_hosts_that_nobody_audited_lately_are_named(
    session: Session, services: Mapping[str, Service], tmp_path: Path
) -> None:
    keep(tmp_path, days_ago=8, pg_a=root_login("no"))
    keep(tmp_path, **{name: facts for name, facts in ALIKE.items() if name != "pg_a"})
    (line,) = told_weaker(session, services)
    assert line.startswith("nobody has looked for 7 days how secured is: pg-a; ./inv baseline.audit")


def test_faulty_files_are_told_and_hinder_no_move(
    session: Session, services: Mapping[str, Service], tmp_path: Path
) -> None:
    keep(tmp_path, **ALIKE)
    (session.environment.folder / "baseline.yml").write_text("profile: none\n")
    (line,) = told_weaker(session, services)
    assert line.startswith("nobody compared how the hosts of both sites are secured: ")


def test_where_no_baseline_is_asked_nothing_is_said(
    session: Session, services: Mapping[str, Service]
) -> None:
    (session.environment.folder / "baseline.yml").unlink()
    assert told_weaker(session, services) == ()
