"""Whose facts are collected: all subjects, or those that a limit names, and what is held off meanwhile."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.baseline.planner import Beside, Subjects
from automation.commands._baseline_subjects import accounts_of, beside, choose_subjects
from automation.commands._session import Session
from automation.model.environment import Inventory, Server, load_environment
from automation.model.errors import ConfigError
from tests.conftest import ROOT

ACCOUNT = "123456789012"


def server(name: str, provider: str, site: str, *groups: str, on_demand: bool = False) -> Server:
    return Server(
        name=name, address="192.0.2.1", provider=provider, site=site, groups=groups, on_demand=on_demand
    )


SERVERS = (
    server("pg-a", "nspawn", "city-hall", "postgresql"),
    server("gis-app-a", "vsphere", "city-hall", "gis"),
    server("gis-app-b", "vsphere", "eoc", "gis"),
    server("portal-web-e", "aws", "aws-east"),
    server("scratch", "nspawn", "eoc", on_demand=True),
)


def session(*servers: Server) -> Session:
    environment = load_environment(ROOT, "lab")
    inventory = Inventory(servers={one.name: one for one in servers or SERVERS})
    return cast(
        Session, SimpleNamespace(environment=environment, inventory=inventory, state=Path("/nowhere"))
    )


def test_without_a_limit_everything_that_stands_is_asked() -> None:
    hosts = ("pg-a", "gis-app-a", "gis-app-b", "portal-web-e")
    assert choose_subjects(session(), "") == Subjects(hosts, (ACCOUNT,), ("hall", "emergency"))


@pytest.mark.parametrize(
    ("limit", "chosen"),
    [
        ("postgresql", Subjects(("pg-a",))),
        ("hall", Subjects(vcenters=("hall",))),
        ("west", Subjects(accounts=(ACCOUNT,))),
        (ACCOUNT, Subjects(accounts=(ACCOUNT,))),
        ("pg-a,emergency:east", Subjects(("pg-a",), (ACCOUNT,), ("emergency",))),
    ],
)
def test_a_limit_names_hosts_groups_accounts_and_providers(limit: str, chosen: Subjects) -> None:
    assert tuple(map(tuple, choose_subjects(session(), limit))) == tuple(map(tuple, chosen))


def test_a_limit_that_names_nothing_that_stands_is_refused() -> None:
    with pytest.raises(ConfigError, match="--limit scratch names no host, account or vCenter"):
        choose_subjects(session(), "scratch")


def test_a_host_and_a_provider_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="hall is a host and a provider"):
        choose_subjects(session(server("hall", "nspawn", "eoc")), "")


def test_an_account_has_all_its_providers() -> None:
    assert accounts_of(session().environment) == {ACCOUNT: ("east", "west")}


@pytest.mark.parametrize(
    ("subject", "servers"),
    [(ACCOUNT, ("portal-web-e",)), ("hall", ("gis-app-a",)), ("emergency", ("gis-app-b",))],
)
def test_servers_of_an_account_or_vcenter_are_not_recovered_while_it_is_changed(
    subject: str, servers: tuple[str, ...]
) -> None:
    assert beside(session(), [subject]) == {subject: Beside(servers=servers)}


def test_backups_of_a_host_wait_while_it_is_changed() -> None:
    found = beside(session(), ["pg-a"])["pg-a"]
    assert found.servers == ()
    assert found.resources
