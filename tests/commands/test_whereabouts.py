"""Where services run, as their names say: those in the city's DNS, and those that Route 53 alone has."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from automation.adapters import aws, dns
from automation.commands import _moving
from automation.commands._session import Session
from automation.commands._whereabouts import locate, turn_those_at
from automation.model.actions import LookAtRecords
from automation.model.catalog import Catalog
from automation.model.environment import Environment
from automation.model.errors import AdapterError, PreflightError
from automation.model.evidence import DnsRecord, RecordsSeen
from automation.model.records import Outcome
from tests.recovery.cloud_city import PLAN, PORTAL, make_cloud_city

EAST, WEST = ("10.77.5.70", "10.77.5.71"), ("10.77.6.70", "10.77.6.71")
CITY = make_cloud_city("payments", "portal")


class World:
    """What the DNS servers and the regions answer, and who was asked what."""

    def __init__(self, zone: tuple[str, ...], silent: tuple[str, ...] = ()) -> None:
        self.zone, self.silent = zone, silent
        self.held = {"pay.city.lab": ("10.77.1.30",), "portal.city.lab": (EAST[0],)}
        self.asked: list[str] = []
        self.said: list[str] = []

    def look_at_records(self, action: LookAtRecords, _: object) -> Outcome:
        self.asked += action.names
        records = {name: DnsRecord(addresses=self.held[name], ttl_s=5) for name in action.names}
        seen = RecordsSeen(answers=dict.fromkeys(action.servers, records), silent={})
        return Outcome(changed=False, summary="", evidence=seen)

    def look_at_record(self, _: Environment, site: str, *__: object) -> tuple[str, ...]:
        self.asked.append(site)
        if site in self.silent:
            raise AdapterError(f"{site} does not answer")
        return self.zone

    def session(self, patch: pytest.MonkeyPatch, state: Path = Path("/none")) -> Session:
        patch.setattr(dns, "look_at_records", self.look_at_records)
        patch.setattr(aws, "look_at_record", self.look_at_record)
        known = {"environment": CITY.environment, "inventory": CITY.inventory, "state": state}
        return cast(Session, SimpleNamespace(**known, context=str, say=self.said.append))


def catalog(**changes: object) -> Catalog:
    """The city's catalog, with the portal's names in Route 53 alone."""
    services = dict(CITY.catalog.services)
    strategy = PORTAL.model_copy(update={"city_dns": False, **changes})
    services["portal"] = services["portal"].model_copy(update={"strategy": strategy})
    return CITY.catalog.model_copy(update={"services": services})


def primaries(of: Catalog) -> Mapping[str, str]:
    return {name: service.primary for name, service in of.services.items()}


@pytest.mark.parametrize(
    ("zone", "site"),
    [(WEST, "aws-west"), (WEST[:1], "aws-west"), (EAST, "aws-east"), (EAST[:1], "aws-east")],
    ids=["moved", "moved, not scaled out", "at home", "at home, not scaled out"],
)
def test_a_service_that_route_53_alone_knows_is_lost_with_the_site_it_was_moved_to(
    monkeypatch: pytest.MonkeyPatch, zone: tuple[str, ...], site: str
) -> None:
    world = World(zone, silent=("aws-west",))
    turned = turn_those_at(world.session(monkeypatch), catalog(), "aws-west")
    assert primaries(turned)["portal"] == site
    assert "aws-west" not in world.asked  # it may be lost
    assert "portal.city.lab" not in world.asked


def test_a_zone_that_nobody_can_ask_changes_nothing_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(WEST, silent=("aws-east", "aws-west"))
    turned = turn_those_at(world.session(monkeypatch), catalog(), "aws-west")
    assert primaries(turned)["portal"] == "aws-east"
    assert "portal is taken to be at aws-east" in world.said[0]
    assert "aws-east does not answer" in world.said[0]


def test_names_in_the_citys_dns_are_asked_there(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(())
    world.held["portal.city.lab"] = (WEST[0],)
    turned = turn_those_at(world.session(monkeypatch), catalog(city_dns=True), "aws-west")
    assert primaries(turned)["portal"] == "aws-west"
    assert "aws-east" not in world.asked


def test_each_service_is_located_by_those_who_have_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(WEST)
    found = locate(world.session(monkeypatch), catalog())
    assert found == {"payments": "city-hall", "portal": "aws-west"}
    assert "portal.city.lab" not in world.asked


def test_a_service_that_never_scaled_out_is_where_its_first_instance_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert locate(World(WEST[:1]).session(monkeypatch), catalog())["portal"] == "aws-west"


@pytest.mark.parametrize("addresses", [WEST[1:], (*WEST, "10.9.9.9"), ()], ids=["second", "more", "none"])
def test_a_name_that_leads_elsewhere_is_at_neither_site(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    with pytest.raises(PreflightError, match="leads to the instances of neither site"):
        locate(World(addresses).session(monkeypatch), catalog())


def test_a_name_that_leads_nowhere_stops_no_move_of_services_of_other_sites(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = World(("10.9.9.9",))
    monkeypatch.setattr(_moving, "_load", lambda *_: (PLAN, catalog()))
    session = world.session(monkeypatch, tmp_path)
    move = _moving.prepare_migration(session, _moving.ask_migration("city-hall", "city"))
    assert list(move.services) == ["payments"]
    assert world.asked == ["pay.city.lab"] * 2  # of both sites' servers
    with pytest.raises(PreflightError, match="portal leads to the instances of neither site"):
        _moving.prepare_migration(session, _moving.ask_migration("aws-east", "city"))
