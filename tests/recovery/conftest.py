"""The lab's own declarations, with the observations a drill begins from."""

from pathlib import Path

import pytest

from automation.model.environment import Inventory, Server, load_environment
from automation.model.observations import PostgresqlCluster
from automation.recovery.planner import City
from tests.on_premises import load_on_premises

REPOSITORY = Path(__file__).resolve().parents[2]
IDENTIFIER = "7301447712345678901"
HOSTS = {"city-hall": ("dns-a", "pg-a", "app-a"), "eoc": ("dns-b", "pg-b", "app-b"), "public": ("client-1",)}


def make_inventory() -> Inventory:
    servers = {}
    for number, (site, names) in enumerate(HOSTS.items(), start=1):
        for last, name in enumerate(names, start=1):
            address = f"10.77.{number}.{last}0"
            servers[name] = Server(
                name=name, address=address, site=site, provider="nspawn", image="debian-12"
            )
    return Inventory(servers=servers)


def make_city() -> City:
    """The lab's city, with a standby that was seen."""
    standby = PostgresqlCluster(host="pg-b", system_identifier=IDENTIFIER, timeline=3, in_recovery=True)
    return City(
        environment=load_environment(REPOSITORY, "lab"),
        inventory=make_inventory(),
        catalog=load_on_premises(),
        clusters={"pg-b": standby},
    )


@pytest.fixture
def city() -> City:
    return make_city()
