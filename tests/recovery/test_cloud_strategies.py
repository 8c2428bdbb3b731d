"""The strategies vm-replica and aws-pilot-light: fenced first, in the right order, with what was seen."""

from collections.abc import Callable

import pytest

from automation.model.actions import (
    AcceptLag,
    BlockDatabase,
    BlockInstance,
    BlockVm,
    CreateInstance,
    FenceInstance,
    FenceVm,
    LookAtReplicas,
    PowerOffServer,
    PowerOnVm,
    PromoteReplica,
    ProveRefused,
    RegisterReplica,
    ReleaseInstance,
    RestoreDatabase,
    SwapAddress,
    SwapRecord,
)
from automation.model.catalog import AwsPilotLight, VmReplica
from automation.model.environment import Inventory
from automation.model.errors import PreflightError
from automation.model.plan import Plan, Step
from automation.model.replicas import DatabaseSeen
from automation.recovery.failover import compile_failover, compile_walkthrough
from automation.recovery.lint_steps import lint_steps, refuse_unsafe
from automation.recovery.planner import City, compile_drill
from automation.recovery.spec import Drill, Failover
from automation.recovery.turning import turn
from tests.recovery.cloud_city import GIS, NOW, PLAN, PORTAL, make_cloud_city, make_pilot, make_replicas

HALL = Failover(plan="city", site="city-hall", title="fire", declaration="20261122-030000-aaaa")
EAST = HALL.model_copy(update={"site": "aws-east"})
REPLICA_HOME = DatabaseSeen(id="portal-db", of="portal-db", at=NOW)
TAKES_OVER = RegisterReplica | PowerOnVm | PromoteReplica | RestoreDatabase | CreateInstance


def fail_over(city: City, asked: Failover = HALL) -> Plan:
    return compile_failover(asked, PLAN, city)


@pytest.fixture
def gis() -> Plan:
    return fail_over(make_cloud_city("gis"))


@pytest.fixture
def portal() -> Plan:
    return fail_over(make_cloud_city("portal"), EAST)


# --- fenced first ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("site", "service", "means"), [("city-hall", "gis", 6), ("aws-east", "portal", 5)])
def test_nothing_takes_over_before_every_machine_is_fenced_twice_and_that_is_proved(
    site: str, service: str, means: int
) -> None:
    plan = fail_over(make_cloud_city(service), HALL.model_copy(update={"site": site}))
    fences = {step.id for step in plan.steps if "/fence-" in step.id}
    assert len(fences) == means + 1
    taking = [step for step in plan.steps if isinstance(step.run, TAKES_OVER)]
    assert taking
    for step in taking:
        assert fences <= plan.stands_on(step.id), step.id
        assert step.on_failure == "halt"
    assert {plan.step(name).on_failure for name in fences} == {"halt"}


def test_the_proof_names_every_fence_as_its_means(gis: Plan) -> None:
    proof = gis.step("gis/fence-proof").run
    assert isinstance(proof, ProveRefused)
    assert len(proof.means) == 2 * len(GIS.all_vms)
    assert (proof.server, proof.address, proof.port) == ("gis-app-a", "10.77.1.70", 8080)


def absent_is_off(city: City) -> dict[str, set[bool]]:
    steps = [step.run for step in fail_over(city, EAST).steps]
    fences = [run for run in steps if isinstance(run, FenceInstance | BlockInstance)]
    assert len(fences) == 2 * len(PORTAL.hosts["aws-east"])
    return {
        host: {one.absent_is_off for one in fences if one.host == host} for host in PORTAL.hosts["aws-east"]
    }


def test_an_instance_that_was_seen_to_be_gone_holds_no_failover_up() -> None:
    city = make_cloud_city("portal", absent=("web-e2",))
    assert absent_is_off(city) == {"web-e1": {False}, "web-e2": {True}}


def test_an_instance_that_only_a_failover_makes_need_not_be_there() -> None:
    city = make_cloud_city("portal")
    spare = city.inventory.server("web-e2").model_copy(update={"on_demand": True})
    servers = {**city.inventory.servers, "web-e2": spare}
    city = city._replace(inventory=Inventory(servers=servers))
    assert absent_is_off(city) == {"web-e1": {False}, "web-e2": {True}}


def test_a_vm_that_was_deleted_holds_no_failover_up(gis: Plan) -> None:
    fences = [step.run for step in gis.steps if isinstance(step.run, FenceVm | BlockVm)]
    assert len(fences) == 2 * len(GIS.all_vms)
    assert all(fence.unseen_is_off for fence in fences)


def test_an_instance_that_an_unfinished_move_cut_off_is_freed_before_it_is_launched(portal: Plan) -> None:
    for host in ("web-w1", "web-w2"):
        release = portal.step(f"portal/release-{host}")
        assert release.run == ReleaseInstance(host=host, site="aws-west", absent_is_free=True)
        assert {"portal/fence-proof", "portal/promote"} <= portal.stands_on(release.id)
        assert release.id in portal.step(f"portal/launch-{host}").needs


@pytest.mark.parametrize(("only", "asked"), [("gis", HALL), ("portal", EAST)])
def test_a_compiled_one_is_safe(only: str, asked: Failover) -> None:
    plan = fail_over(make_cloud_city(only), asked)
    refuse_unsafe(plan, lab=True)
    assert [one for one in lint_steps(plan, lab=True) if one.severity == "error"] == []


def without(step_id: str) -> Callable[[Plan, Step], Step]:
    return lambda plan, step: step.model_copy(
        update={"needs": tuple(name for name in step.needs if name != step_id)}
    )


@pytest.mark.parametrize(
    ("only", "asked", "taking"),
    [
        ("gis", HALL, "gis/replica"),
        ("portal", EAST, "portal/promote"),
        ("portal", EAST, "portal/launch-web-w1"),
    ],
)
def test_one_that_does_not_need_its_fences_is_refused(only: str, asked: Failover, taking: str) -> None:
    plan = fail_over(make_cloud_city(only), asked)
    steps = dict(plan.by_id)
    steps[taking] = steps[taking].model_copy(update={"needs": ("declaration",)})
    wrong = Plan(name="x", environment="lab", mode="failover", steps=tuple(steps.values()))
    with pytest.raises(PreflightError, match="takes over without needing"):
        refuse_unsafe(wrong, lab=True)


def test_a_vcenter_that_is_silent_fences_nothing_and_nothing_is_planned() -> None:
    with pytest.raises(PreflightError, match="does not answer, so gis-db-a cannot be fenced"):
        fail_over(make_cloud_city("gis", silent=("city-hall",)))


def test_where_people_bear_it_the_fences_may_fail_and_the_doubt_is_marked_first() -> None:
    asked = HALL.model_copy(update={"accept_unfenced": "the hall burns"})
    plan = fail_over(make_cloud_city("gis", silent=("city-hall",)), asked)
    assert {plan.step(f"gis/fence-power-{vm}").on_failure for vm in GIS.all_vms} == {"continue"}
    assert "gis/suspect" in plan.stands_on("gis/register-gis-db-a")
    refuse_unsafe(plan, lab=True)


def test_a_database_that_serves_under_the_others_name_is_shut_before_the_replica_of_it_takes_over() -> None:
    city = make_cloud_city("portal", pilots={"portal": make_pilot(site="aws-east", replica=REPLICA_HOME)})
    moved = turn(city.catalog.services["portal"])
    one_name = PORTAL.model_copy(update={"database": {"aws-east": "portal-db"}})
    services = {"portal": moved.model_copy(update={"strategy": one_name})}
    specs = dict.fromkeys(("web-e1", "web-e2"), city.cloud.specs["web-w1"])
    city = city._replace(
        catalog=city.catalog.model_copy(update={"services": services}),
        cloud=city.cloud.model_copy(update={"specs": specs}),
    )
    plan = fail_over(city, HALL.model_copy(update={"site": "aws-west"}))
    assert BlockDatabase(site="aws-west", database="portal-db") in [
        plan.step(name).run for name in plan.stands_on("portal/promote")
    ]
    refuse_unsafe(plan, lab=True)


@pytest.mark.parametrize(
    "changes",
    [{"replica": make_pilot().replica}, {"replica": None}],
    ids=["replica", "snapshot"],
)
def test_a_takeover_from_a_database_that_nothing_shuts_is_refused(changes: dict[str, object]) -> None:
    plan = fail_over(make_cloud_city("portal", pilots={"portal": make_pilot(**changes)}), EAST)
    block = "portal/fence-network-portal-db"
    assert isinstance(plan.step(block).run, BlockDatabase)
    steps = tuple(without(block)(plan, step) for step in plan.steps if step.id != block)
    wrong = Plan(name="x", environment="lab", mode="failover", steps=steps)
    with pytest.raises(PreflightError, match="nothing shuts the database that served"):
        refuse_unsafe(wrong, lab=True)


# --- in the right order ---------------------------------------------------------------------------


def test_a_boot_group_waits_for_every_vm_of_the_one_before_it(gis: Plan) -> None:
    for vm in ("gis-app-a", "gis-tiles-a"):
        assert "gis/power-on-gis-db-a" in gis.stands_on(f"gis/power-on-{vm}")
    assert "gis/power-on-gis-app-a" not in gis.stands_on("gis/power-on-gis-tiles-a")


def test_every_vm_is_registered_before_the_first_is_powered_on(gis: Plan) -> None:
    registered = {f"gis/register-{vm}" for vm in GIS.all_vms}
    assert registered <= gis.stands_on("gis/power-on-gis-db-a")


def test_names_move_when_the_last_group_is_up(gis: Plan) -> None:
    moved = gis.step("gis/dns-web")
    assert isinstance(moved.run, SwapAddress)
    assert (moved.run.old, moved.run.new) == ("10.77.1.70", "10.77.2.70")
    assert {"gis/power-on-gis-app-a", "gis/power-on-gis-tiles-a"} <= gis.stands_on(moved.id)


def test_a_vm_waits_for_the_services_that_its_own_depends_on() -> None:
    city = make_cloud_city("gis", "payments-db")
    services = dict(city.catalog.services)
    services["gis"] = services["gis"].model_copy(update={"depends_on": ("payments-db",)})
    plan = fail_over(city._replace(catalog=city.catalog.model_copy(update={"services": services})))
    assert "payments-db/dns-sql" in plan.stands_on("gis/power-on-gis-db-a")


def test_the_network_of_each_site_leads_to_that_of_the_other(gis: Plan) -> None:
    run = gis.step("gis/register-gis-db-a").run
    assert isinstance(run, RegisterReplica)
    assert run.networks == {"gis-hall": "gis-eoc", "gis-eoc": "gis-hall"}


def test_one_instance_serves_on_the_database_before_names_move_and_the_others_follow(portal: Plan) -> None:
    assert "portal/promote" in portal.stands_on("portal/launch-web-w1")
    assert "portal/launch-web-w1" in portal.stands_on("portal/dns-web")
    assert "portal/route53-web" in portal.stands_on("portal/launch-web-w2")
    assert "portal/launch-web-w2" not in portal.stands_on("portal/route53-web")


def test_a_record_is_changed_from_all_old_addresses_to_the_first_then_to_all_new(portal: Plan) -> None:
    first, then = portal.step("portal/route53-web").run, portal.step("portal/scaled-web").run
    assert isinstance(first, SwapRecord)
    assert isinstance(then, SwapRecord)
    assert (first.old, first.new) == (("10.77.5.70", "10.77.5.71"), ("10.77.6.70",))
    assert (then.old, then.new) == (("10.77.6.70",), ("10.77.6.70", "10.77.6.71"))
    assert (first.half, then.half) == (("10.77.5.70",), ())  # one that never scaled out is moved all the same


def test_a_name_that_is_in_route_53_alone_moves_there_alone() -> None:
    city = make_cloud_city("portal")
    alone = PORTAL.model_copy(update={"city_dns": False})
    services = {"portal": city.catalog.services["portal"].model_copy(update={"strategy": alone})}
    plan = fail_over(city._replace(catalog=city.catalog.model_copy(update={"services": services})), EAST)
    assert not [step.id for step in plan.steps if isinstance(step.run, SwapAddress)]
    assert plan.step("checks").needs == ("portal/route53-web",)


# --- with what was seen ---------------------------------------------------------------------------


def test_replicas_older_than_those_that_were_seen_stop_the_run(gis: Plan) -> None:
    run = gis.step("gis/replica").run
    assert isinstance(run, LookAtReplicas)
    assert run.no_older_than == make_replicas().oldest
    assert "gis/replica" in gis.stands_on("gis/register-gis-db-a")


def test_replicas_that_nobody_saw_or_that_miss_a_vm_make_no_plan() -> None:
    with pytest.raises(PreflightError, match="were not looked at"):
        fail_over(make_cloud_city("gis", replicas={}))
    with pytest.raises(PreflightError, match="shows no files of gis-db-a at eoc"):
        fail_over(make_cloud_city("gis", replicas={"gis": make_replicas(missing=("gis-db-a",))}))


def test_an_age_over_the_objective_is_borne_before_anything_is_registered() -> None:
    asked = HALL.model_copy(update={"accept_lag": {"gis": "3 min behind"}})
    plan = fail_over(make_cloud_city("gis"), asked)
    assert isinstance(plan.step("gis/accept-lag").run, AcceptLag)
    assert "gis/accept-lag" in plan.stands_on("gis/register-gis-db-a")


def test_the_replica_is_promoted_if_it_still_copies_what_was_seen(portal: Plan) -> None:
    run = portal.step("portal/promote").run
    assert isinstance(run, PromoteReplica)
    assert (run.site, run.database, run.expect_source) == ("aws-west", "portal-db-west", "portal-db")


def test_without_a_replica_the_newest_snapshot_is_restored() -> None:
    plan = fail_over(make_cloud_city("portal", pilots={"portal": make_pilot(replica=None)}), EAST)
    run = plan.step("portal/restore").run
    assert isinstance(run, RestoreDatabase)
    assert (run.database, run.snapshot, run.network) == ("portal-db-west", "portal-db-copy-7", "portal-west")
    assert run.taken_at < NOW


def test_instances_are_launched_as_declared_from_the_image_that_was_seen(portal: Plan) -> None:
    run = portal.step("portal/launch-web-w1").run
    assert isinstance(run, CreateInstance)
    assert (run.spec.image, run.spec.size.type) == ("ami-0123456789abcdef0", "t3.small")
    assert run.spec.address == "10.77.6.70"


@pytest.mark.parametrize(
    ("cloud", "words"),
    [
        ({"pilots": {}}, "nobody looked at what stands ready"),
        ({"pilots": {"portal": make_pilot(image=None)}}, "has no image to launch from"),
        ({"pilots": {"portal": make_pilot(replica=None, snapshot=None)}}, "neither a replica nor a snapshot"),
        (
            {"pilots": {"portal": make_pilot(replica=None, standing="portal-db-west")}},
            "database portal-db-west at aws-west is no replica of the one that serves",
        ),
        ({"specs": {}}, "web-w1 of portal is not declared"),
    ],
)
def test_what_does_not_stand_ready_makes_no_plan(cloud: dict[str, object], words: str) -> None:
    with pytest.raises(PreflightError, match=words):
        fail_over(make_cloud_city("portal", **cloud), EAST)


# --- drills, walkthroughs -------------------------------------------------------------------------


def drill(site: str, fault: str) -> Drill:
    words = {"name": "d", "title": "d", "plan": "city", "mode": "failover", "site": site}
    return Drill.model_validate({**words, "faults": [{"fault": fault, "site": site}]})


def test_a_drill_loses_a_site_with_its_vms_and_its_databases_in_one_plan() -> None:
    plan = compile_drill(
        drill("city-hall", "wan-partition"),
        PLAN,
        make_cloud_city("payments-db", "payments", "gis", "portal"),
        declared_by="coordinator",
    )
    assert {"payments-db/promote", "gis/power-on-gis-db-a", "payments/start"} <= plan.by_id.keys()
    assert isinstance(plan.step("gis/fence-power-gis-db-a").run, FenceVm)
    assert isinstance(plan.step("gis/fence-network-gis-db-a").run, BlockVm)
    assert isinstance(plan.step("steady/gis").run, LookAtReplicas)
    refuse_unsafe(plan, lab=True)


def test_a_host_that_is_not_there_before_the_drill_is_not_waited_for() -> None:
    plan = compile_drill(
        drill("city-hall", "wan-partition"),
        PLAN,
        make_cloud_city("payments-db", "payments", "gis", "portal"),
        declared_by="coordinator",
    )
    assert "steady/reach-gis-app-b" not in plan.by_id
    assert "steady/reach-pg-b" in plan.by_id


@pytest.mark.parametrize(("only", "site"), [("gis", "city-hall"), ("portal", "aws-east")])
def test_it_can_be_read_aloud_with_nothing_seen(only: str, site: str) -> None:
    city = make_cloud_city(only, replicas={}, pilots={}, specs={})
    plan = compile_walkthrough("city", PLAN, city, site)
    assert plan.mode == "walkthrough"
    with pytest.raises(PreflightError, match="it is read, never run"):
        refuse_unsafe(plan, lab=True)


def test_a_site_that_loses_power_takes_its_vcenter_and_the_lab_fences_by_its_own_means() -> None:
    city = make_cloud_city("gis")
    powers = {vm: {"host": vm, "address": "10.77.1.70", "site": "city-hall"} for vm in GIS.all_vms}
    lab = city.environment.require_lab()
    vcenter = {
        "kind": "vcenter",
        "site": "city-hall",
        "address": "10.77.0.21",
        "name": "vcenter-hall.city.lab",
        "logins": {"admin": "secrets/vcenter"},
        "powers": powers,
    }
    simulated = type(lab).model_validate(
        {**lab.model_dump(by_alias=True), "simulators": {"vcenter-hall": vcenter}}
    )
    city = city._replace(environment=city.environment.model_copy(update={"lab": simulated}))
    plan = compile_drill(drill("city-hall", "power-loss"), PLAN, city, declared_by="coordinator")
    assert isinstance(plan.step("gis/fence-power-gis-db-a").run, PowerOffServer)
    refuse_unsafe(plan, lab=True)


def test_the_strategies_are_of_the_catalog() -> None:
    city = make_cloud_city("gis", "portal")
    assert isinstance(city.catalog.services["gis"].strategy, VmReplica)
    assert isinstance(city.catalog.services["portal"].strategy, AwsPilotLight)
