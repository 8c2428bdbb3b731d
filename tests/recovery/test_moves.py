"""The plans of planned moves: what must come before what, and what is taken back."""

import pytest

from automation.model.actions import (
    AwaitReplayed,
    BlockServer,
    CloneStandby,
    Demote,
    ExportWrites,
    HoldDown,
    KeepData,
    Promote,
    ProveStandby,
    ReconcileServer,
    Rewind,
    StopUnit,
    SwapAddress,
    UnblockServer,
)
from automation.model.catalog import Catalog
from automation.model.errors import ConfigError, PreflightError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan
from automation.recovery.failback import compile_failback
from automation.recovery.lint_steps import lint_steps, refuse_unsafe
from automation.recovery.migration import compile_migration
from automation.recovery.planner import City
from automation.recovery.spec import PlanApprovals, RecoveryPlan, Switch, load_plan
from automation.recovery.turning import choose_at, concerned, dependants, refuse_split, slot_of, turn_from
from tests.recovery.conftest import IDENTIFIER, REPOSITORY

ASKED = Switch(name="move", title="A move", plan="city", site="city-hall", pause_s=30)


@pytest.fixture
def recovery() -> RecoveryPlan:
    return load_plan(REPOSITORY, "city")


def primary(host: str, *, in_recovery: bool = False) -> PostgresqlCluster:
    return PostgresqlCluster(host=host, system_identifier=IDENTIFIER, timeline=3, in_recovery=in_recovery)


def migration(city: City, recovery: RecoveryPlan, **clusters: PostgresqlCluster) -> Plan:
    seen = clusters or {"pg-a": primary("pg-a")}
    services = turn_from(city.catalog, "city-hall")
    return compile_migration(ASKED, recovery, city._replace(clusters=seen), services)


def failback(city: City, recovery: RecoveryPlan, rebuild: str = "rewind", fenced: str = "pg-a") -> Plan:
    asked = ASKED.model_copy(update={"rebuild": rebuild})
    seen = city._replace(clusters={"pg-b": primary("pg-b")})
    return compile_failback(asked, recovery, seen, turn_from(city.catalog, "eoc"), {fenced})


def runs_before(plan: Plan, kind: type) -> list[object]:
    """The actions that must have succeeded before the one step of a kind."""
    (step,) = [step for step in plan.steps if isinstance(step.run, kind)]
    return [plan.step(name).run for name in plan.stands_on(step.id)]


def kinds(runs: list[object]) -> set[type]:
    return {type(run) for run in runs}


def test_a_promotion_needs_the_old_primary_demoted_all_of_it_replayed_and_its_port_blocked(
    city: City, recovery: RecoveryPlan
) -> None:
    for plan, old in ((migration(city, recovery), "pg-a"), (failback(city, recovery), "pg-b")):
        before = runs_before(plan, Promote)
        assert {type(run) for run in before} >= {Demote, AwaitReplayed, BlockServer}
        assert [run.host for run in before if isinstance(run, Demote | BlockServer)] == [old, old]
        assert all(plan.step(s).on_failure == "halt" for s in plan.stands_on("payments-db/promote"))
        refuse_unsafe(plan, lab=False) if plan.approvals else refuse_unsafe(plan, lab=True)


def test_everything_before_a_migrations_promotion_can_be_taken_back(
    city: City, recovery: RecoveryPlan
) -> None:
    plan = migration(city, recovery)
    lasting = {
        step.run.do
        for name in plan.stands_on("payments-db/promote")
        if (step := plan.step(name)).run.effect != "read" and step.undo is None
    }
    assert lasting == {"witness.start"}
    assert lint_steps(plan, lab=True) == lint_steps(failback(city, recovery), lab=True) == ()


def test_nothing_is_stopped_before_all_that_can_be_tried_has_been(city: City, recovery: RecoveryPlan) -> None:
    plan = migration(city, recovery)
    stops = [step for step in plan.steps if isinstance(step.run, StopUnit | Demote)]
    first = plan.stands_on("payments/stop")
    looks = {step.id for step in plan.steps if step.id.startswith("steady/")}
    assert looks | {"payments/start", "payments-db/dns-answers", "payments/dns-answers"} <= first
    assert "payments-db/provider-answers" in first
    assert [step.id for step in stops if "payments/stop" not in (*plan.stands_on(step.id), step.id)] == []


def test_names_must_be_moved_on_every_dns_server(city: City, recovery: RecoveryPlan) -> None:
    swaps = [step.run for step in migration(city, recovery).steps if isinstance(step.run, SwapAddress)]
    assert {run.required for run in swaps} == {("dns-a", "dns-b")}
    assert {(run.old, run.new) for run in swaps} == {
        ("10.77.1.20", "10.77.2.20"),
        ("10.77.1.30", "10.77.2.30"),
    }


@pytest.mark.parametrize(
    ("clusters", "why"),
    [
        ({"pg-b": primary("pg-b")}, "was not observed"),
        ({"pg-a": primary("pg-a", in_recovery=True)}, "no primary"),
    ],
    ids=["not observed", "a standby"],
)
def test_what_does_not_serve_cannot_be_moved(
    city: City, recovery: RecoveryPlan, clusters: dict[str, PostgresqlCluster], why: str
) -> None:
    with pytest.raises(PreflightError, match=why):
        migration(city, recovery, **clusters)


# --- the way home ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rebuild", "kind"), [("rewind", Rewind), ("basebackup", CloneStandby)])
def test_old_data_goes_only_after_it_is_held_down_exported_and_a_person_said_yes(
    city: City, recovery: RecoveryPlan, rebuild: str, kind: type
) -> None:
    plan = failback(city, recovery, rebuild)
    before = runs_before(plan, kind)
    assert kinds(before) >= {ReconcileServer, HoldDown, ExportWrites, UnblockServer}
    assert (KeepData in kinds(before)) == (kind is Rewind), "a copy moves the old data aside by itself"
    (rebuilt,) = [step for step in plan.steps if isinstance(step.run, kind)]
    assert any(plan.step(name).gate for name in plan.stands_on(rebuilt.id))


def test_the_network_fence_is_lifted_after_the_old_primary_is_held_down(
    city: City, recovery: RecoveryPlan
) -> None:
    plan = failback(city, recovery)
    lifted = plan.step("payments-db/home-unblock")
    assert kinds([plan.step(name).run for name in plan.stands_on(lifted.id)]) >= {HoldDown, ExportWrites}
    assert isinstance(lifted.undo, BlockServer)
    assert lifted.gate is not None


def test_the_old_primary_is_looked_at_right_before_its_fence_is_lifted(
    city: City, recovery: RecoveryPlan
) -> None:
    plans = (migration(city, recovery), failback(city, recovery), failback(city, recovery, "basebackup"))
    for plan in plans:
        for lift in [step for step in plan.steps if isinstance(step.run, UnblockServer)]:
            looks = [plan.step(name) for name in lift.needs if plan.step(name).run.guards]
            (look,) = [step for step in looks if isinstance(step.run, ProveStandby)]
            assert look.run.host == lift.run.host  # type: ignore[union-attr]
            assert set(lift.needs) - {look.id} <= set(look.needs)


def test_clients_are_paused_only_when_home_streams(city: City, recovery: RecoveryPlan) -> None:
    plan = failback(city, recovery)
    assert {"payments-db/home-streams", "payments-db/home-release"} <= plan.stands_on("payments/stop")


def test_rows_are_asked_for_as_the_catalog_says(city: City, recovery: RecoveryPlan) -> None:
    (export,) = [step.run for step in failback(city, recovery).steps if isinstance(step.run, ExportWrites)]
    assert (export.host, export.primary, export.service) == ("pg-a", "pg-b", "payments")
    assert export.rows is not None
    assert ":refs" in export.rows


def test_an_old_primary_that_is_not_fenced_is_not_brought_home(city: City, recovery: RecoveryPlan) -> None:
    with pytest.raises(PreflightError, match="pg-a of payments-db is not fenced"):
        failback(city, recovery, fenced="pg-b")


@pytest.mark.parametrize("mode", ["planned-migration", "failback"])
def test_outside_a_lab_a_move_asks_for_approvals(city: City, recovery: RecoveryPlan, mode: str) -> None:
    real = city._replace(environment=city.environment.model_copy(update={"kind": "production", "lab": None}))
    make = migration if mode == "planned-migration" else failback
    with pytest.raises(ConfigError, match="must ask for approvals; nothing was changed"):
        make(real, recovery)
    strict = recovery.model_copy(
        update={"approvals": PlanApprovals.model_validate({mode: ("dr-coordinator",)})}
    )
    assert make(real, strict).approvals is not None


# --- where services run ----------------------------------------------------------------------------


def test_a_service_is_chosen_where_it_runs_and_not_where_the_catalog_says(
    city: City, recovery: RecoveryPlan
) -> None:
    away = dict.fromkeys(city.catalog.services, "eoc")
    services, left = choose_at("eoc", recovery, city.catalog, away)
    assert {(one.primary, one.recovery) for one in services.values()} == {("eoc", "city-hall")}
    assert list(services) == ["payments-db", "payments"]
    assert left == ()
    with pytest.raises(PreflightError, match="no service of the plan runs at city-hall"):
        choose_at("city-hall", recovery, city.catalog, away)
    with pytest.raises(ConfigError, match="there is no site"):
        choose_at("moon", recovery, city.catalog, away)


def test_a_service_and_what_it_depends_on_are_moved_together(city: City) -> None:
    catalog: Catalog = city.catalog
    at = dict.fromkeys(catalog.services, "city-hall")
    assert dependants("payments-db", catalog.services) == ("payments",)
    refuse_split(catalog.services, {"payments", "payments-db"}, at)
    with pytest.raises(PreflightError, match="payments-db would stay behind"):
        refuse_split(catalog.services, {"payments"}, at)
    refuse_split(catalog.services, {"payments"}, {**at, "payments": "eoc"})


def test_a_slot_is_named_after_the_site_that_reads_it() -> None:
    assert slot_of("city-hall") == "standby_city_hall"


# --- what else stands there ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["planned-migration", "failback"])
def test_a_database_whose_host_holds_another_one_is_not_moved(
    city: City, recovery: RecoveryPlan, mode: str
) -> None:
    """The fence is the host's: lifted for the one, the other's old primary could be written to again."""
    first = city.catalog.services["payments-db"]
    strategy = first.strategy.model_copy(update={"cluster": "15/permits"})
    second = first.model_copy(update={"strategy": strategy, "endpoints": {}, "probes": {}})
    services = {**city.catalog.services, "permits-db": second}
    both = city._replace(catalog=city.catalog.model_copy(update={"services": services}))
    make = migration if mode == "planned-migration" else failback
    with pytest.raises(PreflightError, match=r"pg-. holds both .*-db and .*-db, .*nothing was changed"):
        make(both, recovery)


def test_names_that_were_moved_are_moved_back_unless_a_promotion_came_before(
    city: City, recovery: RecoveryPlan
) -> None:
    swaps = [step for step in migration(city, recovery).steps if isinstance(step.run, SwapAddress)]
    assert [step.undo for step in swaps] == [None, None]
    alone = turn_from(city.catalog, "city-hall")["payments"].model_copy(update={"depends_on": ()})
    (swap,) = [
        step
        for step in compile_migration(ASKED, recovery, city, {"payments": alone}).steps
        if isinstance(step.run, SwapAddress)
    ]
    assert isinstance(swap.undo, SwapAddress)
    assert (swap.undo.old, swap.undo.new) == (swap.run.new, swap.run.old)
    assert swap.undo.required == swap.undo.servers == ("dns-a", "dns-b")


def test_a_move_asks_where_its_own_services_and_those_beside_them_are(city: City) -> None:
    below, one = city.catalog.services["payments-db"], city.catalog.services["payments"]
    far = one.model_copy(update={"primary": "aws-east", "recovery": "aws-west", "depends_on": ()})
    above = far.model_copy(update={"depends_on": ("payments",)})
    services = {"payments-db": below, "payments": one, "far": far, "above": above}
    catalog = city.catalog.model_copy(update={"services": services})
    words = {"title": "t", "checks": ["drtests/checks"]}
    plan = RecoveryPlan.model_validate({**words, "services": ["payments"]})
    assert list(concerned("city-hall", plan, catalog).services) == ["payments-db", "payments", "above"]
    assert list(concerned("aws-east", plan, catalog).services) == []
    every = RecoveryPlan.model_validate({**words, "services": "all"})
    assert list(concerned("aws-east", every, catalog).services) == ["payments", "far", "above"]
