"""Readiness of fences at vCenters and regions: what a failover would stop at is said before."""

import pytest

from automation.model.servers import FoundServer, ProviderKind
from automation.recovery.readiness_fences import FencesSeen, judge_fences
from automation.recovery.readiness_findings import Finding
from tests.recovery.cloud_city import GIS, PORTAL, make_cloud_city

SITES = {"gis": "city-hall", "portal": "aws-east"}
MACHINES = {"gis": GIS.all_vms, "portal": PORTAL.hosts["aws-east"]}
each = pytest.mark.parametrize("service", ["gis", "portal"])


def found(name: str, service: str, *, owner: str = "lab", address: str = "") -> FoundServer:
    kind: ProviderKind = "vsphere" if service == "gis" else "aws"
    addresses = (address,) if address else ()
    site, id_ = SITES[service], f"id-{name}"
    return FoundServer(
        name=name, id=id_, provider=kind, site=site, owner=owner, power="on", addresses=addresses
    )


def judge(service: str, *servers: FoundServer, **seen: object) -> list[Finding]:
    city, site = make_cloud_city(service), SITES[service]
    told = FencesSeen.model_validate({"site": site, "servers": servers, **seen})
    return list(judge_fences(city.catalog.services, city.inventory, {site: told}, env="lab"))


def all_of(service: str) -> list[FoundServer]:
    return [found(name, service) for name in MACHINES[service]]


@each
def test_machines_that_are_there_and_may_be_switched_off_are_ready_to_be_fenced(service: str) -> None:
    (finding,) = judge(service, *all_of(service), source="simulated")
    assert (finding.check, finding.subject, finding.status) == ("fence", service, "ready")
    assert "simulated: nothing is proven" in finding.seen
    (real,) = judge(service, *all_of(service))
    assert "simulated" not in real.seen


@each
def test_a_provider_that_is_silent_fences_nothing(service: str) -> None:
    (finding,) = judge(service, silent="no answer in 5 s")
    assert finding.status == "not-ready"
    assert "no answer in 5 s" in finding.seen
    assert "a failover stops before promotion" in finding.act


@each
def test_a_power_that_we_may_not_cut_is_told_with_what_prints_the_permission(service: str) -> None:
    (finding,) = judge(service, *all_of(service), denied={"stop": "ops may not"})
    assert (finding.status, "stop: ops may not" in finding.seen) == ("not-ready", True)
    assert "./inv provision.permissions --env lab" in finding.act


@each
def test_a_machine_that_lost_its_mark_is_known_by_its_name_and_by_its_address(service: str) -> None:
    first, *others = all_of(service)
    unmarked = first.model_copy(update={"owner": ""})
    address = make_cloud_city(service).inventory.servers[first.name].address
    renamed = found("another", service, owner="", address=address)
    for one in (unmarked, renamed):
        (finding,) = judge(service, one, *others)
        assert (finding.status, one.id in finding.seen) == ("not-ready", True)
        assert "./inv provision.adopt --env lab" in finding.act


@each
def test_one_that_is_not_there_is_told_and_a_service_without_any_is_amiss(service: str) -> None:
    first, *others = all_of(service)
    (finding,) = judge(service, *others)
    assert (finding.status, f"taken for off: {first.name}" in finding.seen) == ("ready", True)
    (nothing,) = judge(service)
    assert (nothing.status, "dr.status" in nothing.act) == ("not-ready", True)


def test_a_site_that_nobody_looked_at_is_not_judged() -> None:
    city = make_cloud_city("gis", "portal")
    assert list(judge_fences(city.catalog.services, city.inventory, {}, env="lab")) == []
