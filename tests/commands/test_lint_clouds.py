"""Faults of the strategies of VMs and instances: each at its key."""

from collections.abc import Callable
from pathlib import Path

import pytest

from automation.commands._lint_clouds import lint_clouds
from automation.model.environment import Environment, Inventory, Server, load_environment
from tests.recovery.cloud_city import make_cloud_city

REPOSITORY = Path(__file__).resolve().parents[2]
NETWORKS = """
networks:
  gis-hall: {provider: vsphere, site: city-hall}
  gis-eoc: {provider: vsphere, site: eoc}
  gis-test: {provider: vsphere, site: eoc, isolated: true}
  portal-west: {provider: aws, site: aws-west, cidr: 10.6.0.0/24, part_of: portal}
  portal-test: {provider: aws, site: aws-west, cidr: 10.9.0.0/24, part_of: test, isolated: true}
"""
Change = Callable[[str], str]


def found(tmp_path: Path, change: Change = lambda text: text, *, specs: bool = True) -> dict[str, str]:
    city = make_cloud_city("gis", "portal")
    (tmp_path / "networks.yml").write_text(change(NETWORKS))
    lab = load_environment(REPOSITORY, "lab")
    environment: Environment = lab.model_copy(update={"folder": tmp_path})
    declared = city.cloud.specs if specs else {}
    inventory = Inventory(servers=city.inventory.servers, specs=declared)
    faults = lint_clouds(environment, inventory, city.catalog.services)
    return {".".join(map(str, one.where[1:])): one.message for one in faults}


def test_all_that_is_declared_well_passes_but_images_that_nobody_makes(tmp_path: Path) -> None:
    assert found(tmp_path) == {"portal.strategy.images": "is no resource of backups.yml; none is declared"}


@pytest.mark.parametrize(
    ("change", "key", "words"),
    [
        (lambda t: t.replace("site: eoc, isolated: true", "site: eoc"), "gis", "not declared isolated"),
        (
            lambda t: t.replace(
                "gis-test: {provider: vsphere, site: eoc", "gis-test: {provider: vsphere, site: city-hall"
            ),
            "gis",
            "a test is at eoc",
        ),
        (lambda t: t.replace("portal-test:", "other-test:"), "portal", "is not in networks.yml"),
    ],
    ids=["open", "elsewhere", "missing"],
)
def test_a_test_network_that_is_no_isolation_is_found(
    tmp_path: Path, change: Change, key: str, words: str
) -> None:
    assert words in found(tmp_path, change)[f"{key}.strategy.test_network"]


def test_a_network_that_is_not_declared_is_found_at_its_key(tmp_path: Path) -> None:
    faults = found(tmp_path, lambda text: text.replace("  gis-eoc:", "  gis-other:"))
    assert "gis-eoc is not in networks.yml" in faults["gis.strategy.networks.gis-hall"]


def test_an_instance_that_nothing_can_launch_is_found(tmp_path: Path) -> None:
    faults = found(tmp_path, specs=False)
    assert "nothing can launch it" in faults["portal.strategy.hosts.aws-west.0"]


def test_a_vm_of_another_provider_is_found(tmp_path: Path) -> None:
    city = make_cloud_city("gis")
    other = Server(name="gis-db-a", address="10.77.1.71", site="city-hall", provider="nspawn")
    servers = {**city.inventory.servers, "gis-db-a": other}
    (tmp_path / "networks.yml").write_text(NETWORKS)
    environment = load_environment(REPOSITORY, "lab").model_copy(update={"folder": tmp_path})
    (fault,) = lint_clouds(environment, Inventory(servers=servers), city.catalog.services)
    assert fault.where == ("services", "gis", "strategy", "vms", 0, 0)
    assert "gis-db-a is of provider nspawn" in fault.message


def test_a_site_without_a_provider_is_found(tmp_path: Path) -> None:
    (tmp_path / "networks.yml").write_text(NETWORKS)
    environment = load_environment(REPOSITORY, "lab").model_copy(update={"folder": tmp_path, "providers": {}})
    city = make_cloud_city("gis")
    faults = [one.message for one in lint_clouds(environment, city.inventory, city.catalog.services)]
    assert [one for one in faults if "no provider of kind vsphere" in one] == [
        f"environment.yml names no provider of kind vsphere at {site}; add one"
        for site in ("city-hall", "eoc")
    ]
