"""A test failover of VMs and instances: on copies, cut off first, gone at the end."""

from collections.abc import Callable

import pytest

from automation.model.actions import (
    CopyReplica,
    CreateInstance,
    ListRegion,
    ListVcenter,
    LookAtRecords,
    PowerOnVm,
    PromoteReplica,
    ProveImage,
    ProveSnapshot,
    RegisterReplica,
    RemoveCopy,
    RemoveDatabase,
    RemoveInstance,
    RestoreDatabase,
    SwapAddress,
    SwapRecord,
)
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step
from automation.recovery.copied import compile_copied
from automation.recovery.lint_steps import lint_steps, refuse_unsafe
from automation.recovery.proving_copies import Kept, Provable
from automation.recovery.spec import Drill
from tests.recovery.cloud_city import GIS, PLAN, PORTAL, make_cloud, make_cloud_city, make_pilot

SITES = {"gis": "city-hall", "portal": "aws-east"}


PROVABLE = Provable(images=(Kept("portal-images", "west"),), snapshots=(Kept("portal-db", "west-open"),))


def drill(service: str, **more: object) -> Drill:
    words = {"name": "t", "title": "t", "plan": "city", "mode": "test-failover", "site": SITES[service]}
    return Drill.model_validate({**words, "copies": {"services": [service]}, **more})


def copied(service: str, **cloud: object) -> Plan:
    return compile_copied(drill(service), PLAN, make_cloud_city(service, **cloud))


@pytest.mark.parametrize("service", SITES)
def test_nothing_is_made_before_its_network_is_proven_to_lead_nowhere(service: str) -> None:
    plan = copied(service)
    made = [s for s in plan.steps if isinstance(s.run, CopyReplica | CreateInstance | RestoreDatabase)]
    assert made
    for step in made:
        assert f"{service}/isolated" in plan.stands_on(step.id)
    assert plan.step(f"{service}/isolated").on_failure == "halt"


@pytest.mark.parametrize("service", SITES)
def test_production_is_neither_moved_nor_promoted_nor_fenced(service: str) -> None:
    plan = copied(service)
    forbidden = RegisterReplica | PromoteReplica | SwapAddress | SwapRecord
    assert not [step.id for step in plan.steps if isinstance(step.run, forbidden) or "/fence-" in step.id]
    refuse_unsafe(plan, lab=True)
    assert [one for one in lint_steps(plan, lab=True) if one.severity == "error"] == []


@pytest.mark.parametrize("service", SITES)
def test_whatever_is_made_is_removed_and_everything_is_listed_again(service: str) -> None:
    plan = copied(service)
    removed = {
        getattr(step.run, "host", None) or getattr(step.run, "database", None)
        for step in plan.steps
        if isinstance(step.run, RemoveCopy | RemoveInstance | RemoveDatabase) and step.cleanup
    }
    made = {
        getattr(step.run, "host", None) or getattr(step.run, "database", None)
        for step in plan.steps
        if isinstance(step.run, CopyReplica | CreateInstance | RestoreDatabase)
    }
    assert made == removed
    listings = [step for step in plan.steps if isinstance(step.run, ListVcenter | ListRegion)]
    assert {step.id.partition("/")[0] for step in listings} == {"before", "after"}
    assert len(listings) == 4  # both sites, twice
    for step in listings:
        assert step.cleanup == step.id.startswith("after/")


def test_copies_start_in_the_groups_of_the_vms() -> None:
    plan = copied("gis")
    hosts = {step.run.host for step in plan.steps if isinstance(step.run, PowerOnVm)}
    assert hosts == {f"{vm}-test" for vm in GIS.all_vms}
    assert "gis/power-on-gis-db-a" in plan.stands_on("gis/power-on-gis-app-a")


def test_an_instance_is_launched_as_declared_but_in_the_tests_network_without_its_address() -> None:
    run = copied("portal").step("portal/launch-web-w1").run
    assert isinstance(run, CreateInstance)
    assert (run.host, run.spec.name, run.spec.networks) == ("web-w1-test", "web-w1-test", ("portal-test",))
    assert (run.spec.address, run.spec.image) == ("", "ami-0123456789abcdef0")


def test_the_replica_of_a_database_stays_one_a_snapshot_is_restored() -> None:
    run = copied("portal").step("portal/restore").run
    assert isinstance(run, RestoreDatabase)
    assert (run.database, run.network) == ("portal-db-west-test", "portal-test")
    with pytest.raises(PreflightError, match="has no snapshot of its database to test with"):
        copied("portal", pilots={"portal": make_pilot(snapshot=None)})


def test_a_network_that_is_not_declared_isolated_is_refused() -> None:
    network = make_cloud().networks["portal-test"].model_copy(update={"isolated": False})
    with pytest.raises(ConfigError, match="is not declared isolated"):
        copied("portal", networks={"portal-test": network})


def test_a_service_that_is_recovered_some_other_way_is_refused() -> None:
    city = make_cloud_city("payments", "payments-db", "gis")
    with pytest.raises(ConfigError, match="copies are of VMs and instances"):
        compile_copied(drill("gis", copies={"services": ["payments"]}), PLAN, city)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.model_copy(update={"needs": ()}), "before its network is proven"),
        (lambda s: s.model_copy(update={"cleanup": False}), "nothing removes"),
    ],
    ids=["unproven", "left"],
)
def test_a_plan_that_is_not_safe_is_refused(change: Callable[[Step], Step], words: str) -> None:
    plan = copied("gis")
    wrong = "gis/copy-gis-db-a" if "proven" in words else "gis/remove-gis-db-a-test"
    steps = [change(step) if step.id == wrong else step for step in plan.steps]
    unsafe = Plan(name="x", environment="lab", mode="test-failover", steps=tuple(steps))
    with pytest.raises(PreflightError, match=words):
        refuse_unsafe(unsafe, lab=True)


def test_what_copies_were_made_of_is_proven_by_them_and_before_they_are_gone() -> None:
    plan = compile_copied(drill("portal"), PLAN, make_cloud_city("portal"), {"portal": PROVABLE})
    image, snapshot = plan.step("portal/proven-portal-images"), plan.step("portal/proven-portal-db")
    assert isinstance(image.run, ProveImage)
    assert isinstance(snapshot.run, ProveSnapshot)
    assert (image.run.image, image.run.store) == ("ami-0123456789abcdef0", "west")
    assert image.run.servers == ("web-w1-test", "web-w2-test")
    assert image.after == ("portal/launch-web-w1", "portal/launch-web-w2")
    assert (snapshot.run.snapshot, snapshot.run.store) == ("portal-db-copy-7", "west-open")
    assert snapshot.after == ("portal/restore",)
    for step in plan.steps:
        if isinstance(step.run, RemoveInstance | RemoveDatabase):
            assert {image.id, snapshot.id} <= set(step.after)
    refuse_unsafe(plan, lab=True)


def test_what_cannot_be_brought_up_is_judged_all_the_same() -> None:
    plan = compile_copied(drill("portal"), PLAN, make_cloud_city("portal"), {"portal": PROVABLE})
    assert plan.step("portal/restore").on_failure == "pause"
    for name in ("portal/proven-portal-images", "portal/proven-portal-db"):
        assert plan.step(name).needs == ()


def test_nothing_is_proven_of_what_backups_yml_does_not_keep() -> None:
    assert not [s for s in copied("portal").steps if isinstance(s.run, ProveImage | ProveSnapshot)]


def test_names_that_route_53_alone_has_are_not_asked_of_the_citys_dns() -> None:
    city = make_cloud_city("portal")
    alone = PORTAL.model_copy(update={"city_dns": False})
    services = {"portal": city.catalog.services["portal"].model_copy(update={"strategy": alone})}
    city = city._replace(catalog=city.catalog.model_copy(update={"services": services}))
    plan = compile_copied(drill("portal"), PLAN, city)
    assert not [step.id for step in plan.steps if isinstance(step.run, LookAtRecords)]
    assert [step.id for step in copied("portal").steps if isinstance(step.run, LookAtRecords)] == [
        "before/names",
        "after/names",
    ]
