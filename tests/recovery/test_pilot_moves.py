"""Planned moves of a pilot light, there and home: a replica that holds all, promoted; what served at rest."""

from collections.abc import Mapping

import pytest

from automation.model.actions import (
    AwaitReplica,
    BlockDatabase,
    BlockInstance,
    CreateInstance,
    CreateReplica,
    DeleteDatabase,
    FenceInstance,
    PromoteReplica,
    ReleaseDatabase,
    ReleaseInstance,
    RemoveDatabase,
    RenameDatabase,
    SaveDatabase,
    StartInstance,
    StopInstance,
    SwapAddress,
    SwapRecord,
    TerminateInstance,
)
from automation.model.catalog import Service
from automation.model.environment import Inventory
from automation.model.errors import PreflightError
from automation.model.plan import Plan
from automation.model.replicas import DatabaseSeen
from automation.recovery.failback import compile_failback
from automation.recovery.lint_steps import lint_steps, refuse_unsafe
from automation.recovery.migration import compile_migration
from automation.recovery.planner import City
from automation.recovery.spec import Switch
from automation.recovery.turning import turn
from tests.recovery.cloud_city import NOW, PLAN, PORTAL, make_cloud_city, make_pilot

EAST, WEST = {"web-e1": "i-e1", "web-e2": "i-e2"}, {"web-w1": "i-w1", "web-w2": "i-w2"}
KEPT = "portal-db-kept-20261122-030000"
WEST_KEPT = "portal-db-west-kept-20261122-030000"


def switch(site: str) -> Switch:
    return Switch(name="m", title="m", plan="city", site=site, pause_s=300)


def home_pilot(**changes: object) -> dict[str, object]:
    """What stands at home after a failover: images, and the old database under its name."""
    words: dict[str, object] = {"site": "aws-east", "replica": None, "standing": "portal-db", **changes}
    return {"portal": make_pilot(**words)}


def city_of(instances: Mapping[str, str], **cloud: object) -> City:
    return make_cloud_city("portal", instances=instances, **cloud)


def going(**cloud: object) -> Plan:
    """A migration to the region where a replica stands ready, and no instance."""
    city = city_of(EAST, **cloud)
    return compile_migration(switch("aws-east"), PLAN, city, dict(city.catalog.services))


def coming(**cloud: object) -> Plan:
    """A failback to the region that was lost, where old instances and the old database are."""
    city = city_of({**EAST, **WEST}, **{"pilots": home_pilot(), **cloud})
    services: dict[str, Service] = {name: turn(one) for name, one in city.catalog.services.items()}
    return compile_failback(switch("aws-east"), PLAN, city, services, ())


def ids_of(plan: Plan, kind: type) -> list[str]:
    return [step.id for step in plan.steps if isinstance(step.run, kind)]


BOTH = pytest.mark.parametrize("plan", [going(), coming()], ids=["migration", "failback"])


@BOTH
def test_a_plan_of_either_way_is_safe(plan: Plan) -> None:
    assert [one for one in lint_steps(plan, lab=True) if one.severity == "error"] == []
    refuse_unsafe(plan, lab=True)


@BOTH
def test_nothing_is_promoted_before_all_is_off_cut_off_proved_and_replicated(plan: Plan) -> None:
    (promote,) = ids_of(plan, PromoteReplica)
    above = plan.stands_on(promote)
    assert {*ids_of(plan, StopInstance)} & above >= {one for one in above if one.startswith("portal/stop-")}
    assert len([one for one in above if one.startswith("portal/stop-")]) == PORTAL.scale
    assert {"portal/fence-network-database", "portal/fence-proof", "portal/replicated"} <= above
    wait = plan.step("portal/replicated").run
    assert isinstance(wait, AwaitReplica)
    assert wait.behind_s == 0
    assert {"portal/fence-network-database", "portal/fence-proof"} <= plan.stands_on("portal/replicated")


@BOTH
def test_clients_are_served_until_the_replica_has_caught_up(plan: Plan) -> None:
    for step in plan.steps:
        if step.id.startswith("portal/stop-"):
            assert {"portal/way-caught-up", "steady/clients"} <= plan.stands_on(step.id)
            assert step.id not in plan.stands_on("portal/way-caught-up")


@BOTH
def test_what_is_before_the_promotion_can_be_taken_back_and_nothing_after_it(plan: Plan) -> None:
    above = plan.stands_on("portal/promote")
    undone = StopInstance | BlockInstance | BlockDatabase | CreateReplica | RenameDatabase
    for step in plan.steps:
        if step.id in above and isinstance(step.run, undone) and not step.id.startswith("portal/way-block"):
            assert step.undo is not None, step.id
        if "portal/promote" in plan.stands_on(step.id):
            assert step.undo is None, step.id


@BOTH
def test_an_instance_is_started_and_a_name_moved_after_the_promotion_alone(plan: Plan) -> None:
    moved = StartInstance | CreateInstance | SwapAddress | SwapRecord
    steps = [step for step in plan.steps if isinstance(step.run, moved)]
    assert steps
    for step in steps:
        assert "portal/promote" in plan.stands_on(step.id), step.id


@BOTH
def test_nothing_is_deleted_before_clients_are_good_and_a_person_has_agreed(plan: Plan) -> None:
    (delete,) = ids_of(plan, DeleteDatabase)
    assert plan.step("portal/rest-agreed").gate is not None
    for step in (delete, *ids_of(plan, TerminateInstance)):
        assert {"clients-good", "portal/rest-agreed"} <= plan.stands_on(step)
        assert {"portal/rest-save", "portal/rest-keep", "portal/rest-caught-up"} <= plan.stands_on(step)


def test_a_replica_that_stands_ready_is_promoted_and_none_is_made_before() -> None:
    plan = going()
    run = plan.step("portal/promote").run
    assert isinstance(run, PromoteReplica)
    assert (run.site, run.database, run.expect_source) == ("aws-west", "portal-db-west", "portal-db")
    assert run.ready_within_s == switch("aws-east").pause_s  # clients are without it meanwhile
    assert ids_of(plan, CreateReplica) == ["portal/rest-replica"]
    assert ids_of(plan, FenceInstance) == []


def test_where_only_a_snapshot_stands_ready_a_replica_is_made_first() -> None:
    plan = going(pilots={"portal": make_pilot(replica=None)})
    run, undo = plan.step("portal/way-replica").run, plan.step("portal/way-replica").undo
    assert isinstance(run, CreateReplica)
    assert (run.site, run.source_site, run.source, run.network) == (
        "aws-west",
        "aws-east",
        "portal-db",
        "portal-west",
    )
    assert isinstance(undo, RemoveDatabase)
    assert undo.expect_source == "portal-db"


def test_instances_that_are_not_there_are_launched_and_those_that_are_released_and_started() -> None:
    assert len(ids_of(going(), CreateInstance)) == PORTAL.scale
    home = coming()
    assert ids_of(home, CreateInstance) == []
    assert len(ids_of(home, StartInstance)) == PORTAL.scale
    for host in EAST:
        assert f"portal/release-{host}" in home.stands_on(f"portal/start-{host}")


def test_what_was_lost_is_fenced_again_by_its_own_region_before_anything_is_made() -> None:
    plan = coming()
    fences = {f"portal/way-{how}-{host}" for host in EAST for how in ("off", "block")}
    assert fences <= plan.stands_on("portal/way-save")


def test_the_old_database_at_home_is_kept_twice_and_a_person_is_asked_before_its_name_goes() -> None:
    plan = coming()
    keep = plan.step("portal/way-keep")
    assert plan.step("portal/way-save").run == SaveDatabase(
        site="aws-east", database="portal-db", snapshot=KEPT
    )
    assert keep.run == RenameDatabase(site="aws-east", database="portal-db", to=KEPT, snapshot=KEPT)
    assert keep.gate is not None
    assert {"portal/way-save", "portal/way-keep"} <= plan.stands_on("portal/way-replica")
    deleted = [step.run.database for step in plan.steps if isinstance(step.run, DeleteDatabase)]
    assert deleted == [WEST_KEPT]


def test_a_replica_at_home_takes_name_groups_and_class_of_the_old_database() -> None:
    run = coming().step("portal/way-replica").run
    assert isinstance(run, CreateReplica)
    assert (run.database, run.source, run.like) == ("portal-db", "portal-db-west", KEPT)


def test_a_move_that_is_taken_back_lets_clients_in_again() -> None:
    plan = going()
    assert plan.step("portal/fence-network-database").undo == ReleaseDatabase(
        site="aws-east", database="portal-db"
    )
    for host in EAST:
        assert plan.step(f"portal/stop-{host}").undo == StartInstance(host=host, site="aws-east")
        assert plan.step(f"portal/fence-network-{host}").undo == ReleaseInstance(host=host, site="aws-east")


def test_what_a_failover_launched_is_deleted_at_last_and_what_is_declared_stays_off() -> None:
    home = coming()
    gone = {step.run.host: step.run.id for step in home.steps if isinstance(step.run, TerminateInstance)}
    assert gone == WEST
    away = going()
    assert ids_of(away, TerminateInstance) == []
    for host in EAST:
        assert isinstance(away.step(f"portal/rest-off-{host}").run, StopInstance)
        assert {"portal/rest-caught-up", "clients-good"} <= away.stands_on(f"portal/rest-release-{host}")


def test_what_served_becomes_a_replica_of_what_serves_now() -> None:
    run = coming().step("portal/rest-replica").run
    assert isinstance(run, CreateReplica)
    assert (run.site, run.database, run.source_site, run.source, run.like) == (
        "aws-west",
        "portal-db-west",
        "aws-east",
        "portal-db",
        WEST_KEPT,
    )


def test_names_move_on_every_server_and_in_route_53_by_compare_and_set() -> None:
    plan = coming()
    city, zone = plan.step("portal/dns-web").run, plan.step("portal/route53-web").run
    assert isinstance(city, SwapAddress)
    assert city.required == city.servers
    assert isinstance(zone, SwapRecord)
    assert (zone.old, zone.new) == (("10.77.6.70", "10.77.6.71"), ("10.77.5.70",))
    scaled = plan.step("portal/scaled-web").run
    assert isinstance(scaled, SwapRecord)
    assert scaled.new == ("10.77.5.70", "10.77.5.71")


def test_an_instance_that_should_serve_and_is_not_there_stops_the_plan() -> None:
    city = city_of({})
    with pytest.raises(PreflightError, match=r"web-e1 of portal is not at aws-east.*nothing was changed"):
        compile_migration(switch("aws-east"), PLAN, city, dict(city.catalog.services))


def test_nobody_having_looked_stops_the_plan() -> None:
    with pytest.raises(PreflightError, match="nobody looked"):
        going(pilots={})


def test_a_service_without_a_database_is_moved_and_taken_back_as_a_whole() -> None:
    city = city_of(EAST, pilots={"portal": make_pilot(replica=None, snapshot=None)})
    service = city.catalog.services["portal"]
    bare = PORTAL.model_copy(update={"database": {}})
    services = {"portal": service.model_copy(update={"strategy": bare})}
    plan = compile_migration(switch("aws-east"), PLAN, city, services)
    assert ids_of(plan, PromoteReplica) == []
    assert [one for one in lint_steps(plan, lab=True) if one.severity == "error"] == []
    for step in plan.steps:
        if isinstance(step.run, CreateInstance | SwapAddress | SwapRecord):
            assert step.undo is not None, step.id
        if isinstance(step.run, SwapRecord):
            assert isinstance(step.undo, SwapRecord)
            assert (step.undo.old, step.undo.new, step.undo.half) == (step.run.new, step.run.old, ())


def test_a_database_of_another_name_in_its_way_is_kept_when_services_go_there_too() -> None:
    plan = going(pilots={"portal": make_pilot(replica=None, standing="portal-db-west")})
    assert plan.step("portal/way-keep").run == RenameDatabase(
        site="aws-west", database="portal-db-west", to=WEST_KEPT, snapshot=WEST_KEPT
    )


def test_a_copy_that_nobody_measures_is_waited_for_all_the_same() -> None:
    copy = DatabaseSeen(id="portal-db-west", of="portal-db", at=None)
    wait = going(pilots={"portal": make_pilot(replica=copy)}).step("portal/way-caught-up").run
    assert isinstance(wait, AwaitReplica)
    assert wait.behind_s == PORTAL.max_lag_s


def test_the_name_of_what_is_kept_fits_rds() -> None:
    long = PORTAL.model_copy(update={"database": {"aws-east": "p" * 60, "aws-west": "w" * 60}})
    city = city_of(EAST)
    services = {"portal": city.catalog.services["portal"].model_copy(update={"strategy": long})}
    plan = compile_migration(switch("aws-east"), PLAN, city, services)
    names = [step.run.to for step in plan.steps if isinstance(step.run, RenameDatabase)]
    assert names
    assert all(len(name) <= 63 and "--" not in name for name in names)
    assert f"{NOW:%Y%m%d}" in names[0]


def test_instances_of_no_declaration_on_demand_are_never_deleted() -> None:
    city = city_of({**EAST, **WEST}, pilots=home_pilot())
    standing = {
        name: one.model_copy(update={"on_demand": False}) for name, one in city.inventory.servers.items()
    }
    city = city._replace(inventory=Inventory(servers=standing))
    services = {name: turn(one) for name, one in city.catalog.services.items()}
    assert ids_of(compile_failback(switch("aws-east"), PLAN, city, services, ()), TerminateInstance) == []


@pytest.mark.parametrize(
    ("step", "without", "rule"),
    [
        ("portal/promote", ("portal/replicated",), "replicated-first"),
        ("portal/promote", ("portal/fence-network-database",), "fence-before-promote"),
        ("portal/rest-delete-database", ("clients-good",), "served-first"),
    ],
    ids=["not-all-held", "not-shut", "not-served"],
)
def test_a_plan_without_a_guard_of_it_is_refused(step: str, without: tuple[str, ...], rule: str) -> None:
    plan = coming()
    steps = tuple(
        one.model_copy(update={"needs": tuple(name for name in one.needs if name not in without)})
        for one in plan.steps
        if one.id not in without or "clients-good" in without
    )
    broken = Plan.model_validate({**plan.model_dump(), "steps": [one.model_dump() for one in steps]})
    assert rule in {one.rule for one in lint_steps(broken, lab=True) if one.subject == step}
