"""The example city is what a city would write: whole, in the right order, compiled in a moment."""

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from automation.backups.spec import load_backups
from automation.commands._plan_view import Compiled, PlanView, service_waves, view_plan
from automation.model.catalog import Catalog, load_catalog
from automation.model.catalog_checks import check_hosts
from automation.model.environment import Environment, Inventory, Server, load_environment
from automation.model.services import Service
from automation.model.strategy import Playbooks
from automation.recovery.failover import compile_walkthrough
from automation.recovery.planner import City, affected_services
from automation.recovery.prediction import Past, predict
from automation.recovery.spec import Failover, RecoveryPlan, load_plan

ROOT = Path(__file__).resolve().parents[1]
SITES = ("civic-centre", "operations-centre", "cloud")


@cache
def read_city() -> City:
    """Read the hosts without Ansible; that Ansible reads them the same is a test with the real programs."""
    environment = load_environment(ROOT, "example-city")
    tree = yaml.safe_load((environment.folder / "hosts.yml").read_text())
    inventory = Inventory(servers={one.name: one for one in _servers(tree["all"], {})})
    return City(environment, inventory, load_catalog(environment.folder / "services.yml"), {})


def draw(site: str, recovery: RecoveryPlan, past: Past) -> PlanView:
    """Draw the plan of the loss of a site."""
    city = read_city()
    plan = compile_walkthrough("everything", recovery, city, site)
    asked = Failover(plan="everything", site=site, title="t", declaration="d")
    services = affected_services(asked, recovery, city.catalog)
    targets = {name: one.rto_s for name, one in services.items()}
    return view_plan(Compiled(plan, recovery, services, site), predict(plan, services, targets, past))


@pytest.fixture
def environment() -> Environment:
    return read_city().environment


@pytest.fixture
def catalog() -> Catalog:
    return read_city().catalog


@pytest.fixture
def inventory() -> Inventory:
    return read_city().inventory


def _servers(group: Mapping[str, Any], above: Mapping[str, Any]) -> list[Server]:
    known = {**above, **group.get("vars", {})}
    found = [
        _server(name, {**known, **own}) for name, own in (group.get("hosts") or {}).items() if own is not None
    ]
    for child in (group.get("children") or {}).values():
        found += _servers(child or {}, known)
    return found


def _server(name: str, known: Mapping[str, Any]) -> Server:
    return Server(
        name=name,
        address=known["ansible_host"],
        site=known["server_site"],
        provider="vsphere",
        image="debian-12",
    )


def test_it_has_the_services_of_a_city_of_every_kind(catalog: Catalog) -> None:
    assert 210 <= len(catalog.services) <= 230
    kinds = Counter(service.strategy.kind for service in catalog.services.values())
    assert min(kinds.values()) >= 10, kinds
    assert len(kinds) == 5


def test_every_host_it_names_is_in_its_inventory_at_the_right_site(
    catalog: Catalog, inventory: Inventory
) -> None:
    assert [one.message for one in check_hosts(catalog.sites, catalog.services, inventory)] == []


def test_no_host_of_its_inventory_is_there_for_nothing(
    catalog: Catalog, inventory: Inventory, environment: Environment
) -> None:
    used = {host for one in catalog.services.values() for site in SITES for host in one.hosts_at(site)}
    used |= {site.dns_server for site in catalog.sites.values()}
    used |= {environment.witness.host, *environment.control_nodes}
    used.add(str(load_backups(environment.folder / "backups.yml").scratch))
    assert set(inventory.servers) - used == set()


def test_its_addresses_are_nobodys_and_each_stands_once(inventory: Inventory) -> None:
    addresses = Counter(server.address for server in inventory.servers.values())
    assert addresses.most_common(1)[0][1] == 1
    assert all(address.startswith("10.") for address in addresses)


def test_every_playbook_it_names_is_there(catalog: Catalog) -> None:
    named = {
        path
        for one in catalog.services.values()
        if isinstance(one.strategy, Playbooks)
        for path in (one.strategy.recover, one.strategy.fence, one.strategy.verify, one.strategy.fail_back)
        if path
    }
    assert {path for path in named if not (ROOT / path).is_file()} == set()


@pytest.mark.parametrize("site", SITES)
def test_its_plan_recovers_every_service_of_the_site_in_few_waves(site: str, catalog: Catalog) -> None:
    view = draw(site, load_plan(ROOT, "everything"), Past((), 0))
    here = {name for name, one in catalog.services.items() if one.primary == site}
    assert {row.service for row in view.services} == here
    assert max(row.wave for row in view.services) <= 7
    assert all(row.steps for row in view.services)


def test_a_wave_waits_for_earlier_ones_alone(catalog: Catalog) -> None:
    waves = service_waves(catalog.services)
    services: Mapping[str, Service] = catalog.services
    assert all(waves[other] < waves[name] for name, one in services.items() for other in one.depends_on)
