"""A test failover: isolated first, restored then, gone at the end; and what is wrong with one that is not."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from automation.model.actions import (
    CreateIsolated,
    ListArchive,
    LookAtRestored,
    ProveIsolated,
    ProveService,
    RestoreCluster,
    RunPlaybook,
    StartUnit,
)
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step
from automation.model.restorable import Backup, Moments
from automation.recovery.isolated import compile_isolated
from automation.recovery.lint_steps import lint_steps, refuse_unsafe
from automation.recovery.moments import draw_moment, newest_moment
from automation.recovery.spec import Drill
from tests.recovery.isolated_city import (
    DAY,
    DRILL,
    LABEL,
    PLAN,
    given,
    make_isolated_city,
    make_isolated_plan,
    make_restorable,
)


@pytest.fixture
def plan() -> Plan:
    return make_isolated_plan()


def test_nothing_is_brought_onto_the_server_before_the_proof(plan: Plan) -> None:
    for step in plan.steps:
        if isinstance(step.run, RunPlaybook | RestoreCluster | StartUnit):
            assert "drill/isolated" in plan.stands_on(step.id), step.id
    assert plan.step("drill/isolated").on_failure == "halt"


def test_the_server_reaches_the_keeper_of_the_copy_alone_and_names_lead_to_itself(plan: Plan) -> None:
    create = plan.step("drill/create").run
    assert isinstance(create, CreateIsolated)
    assert create.reach == {"bk-b": "10.77.2.40"}
    assert create.names == {"pay-db.city.lab": "127.0.0.1", "pay.city.lab": "127.0.0.1"}


def test_the_proof_tries_all_that_matters_and_what_must_answer(plan: Plan) -> None:
    proof = plan.step("drill/isolated").run
    assert isinstance(proof, ProveIsolated)
    tried = {(one.address, one.port, one.kind) for one in proof.refused}
    hosts = {"pg-a": "10.77.1.20", "pg-b": "10.77.2.20", "app-a": "10.77.1.30", "app-b": "10.77.2.30"}
    assert {(address, 22, "tcp") for address in hosts.values()} <= tried
    assert {("10.77.1.20", 5432, "tcp"), ("10.77.1.30", 8080, "tcp"), ("10.77.3.10", 22, "tcp")} <= tried
    assert {("10.77.1.10", 53, "dns"), ("10.77.2.10", 53, "dns")} <= tried
    assert [one.address for one in proof.reached] == ["10.77.2.40"]
    assert not {one.address for one in proof.refused} & {one.address for one in proof.reached}
    assert proof.vantage in ("pg-b", "app-b")
    assert {"pg-a", "app-a"} <= set(proof.outsiders)


def test_links_out_are_among_what_must_not_be_reached() -> None:
    assert DRILL.isolation is not None
    isolation = DRILL.isolation.model_copy(update={"links": {"bank": "10.77.4.20:443"}})
    proof = make_isolated_plan(DRILL.model_copy(update={"isolation": isolation})).step("drill/isolated").run
    assert isinstance(proof, ProveIsolated)
    assert ("link bank", "10.77.4.20", 443) in {(one.what, one.address, one.port) for one in proof.refused}


def test_the_moment_is_drawn_when_the_plan_is_made_and_stands_in_it(plan: Plan) -> None:
    restore, again = (
        plan.step("payments-db/restore").run,
        make_isolated_plan().step("payments-db/restore").run,
    )
    assert isinstance(restore, RestoreCluster)
    assert restore == again
    assert restore.point == LABEL
    assert restore.until is not None
    assert DAY - timedelta(hours=1) <= restore.until <= DAY - timedelta(minutes=1)
    assert restore.cluster == "15/restored_payments_db"
    other = make_isolated_plan(seed=8).step("payments-db/restore").run
    assert isinstance(other, RestoreCluster)
    assert other.until != restore.until


def test_the_service_starts_after_somebody_has_seen_that_nothing_archives(plan: Plan) -> None:
    assert "payments-db/restored" in plan.stands_on("payments/start")
    look = plan.step("payments-db/restored").run
    assert isinstance(look, LookAtRestored)
    assert look.behind_s == 60.0
    proven = plan.step("payments-db/proven").run
    assert isinstance(proven, ProveService)
    assert "checks" in plan.stands_on("payments-db/proven")


def test_all_that_is_listed_before_is_listed_after_whatever_happens(plan: Plan) -> None:
    before = [step.id for step in plan.steps if step.id.startswith("before/")]
    assert {"before/servers", "before/names", "before/clusters-pg-a", "before/clusters-pg-b"} <= set(before)
    for store in ("hall-pg", "eoc-pg"):
        listed = plan.step(f"before/archive-{store}").run
        assert isinstance(listed, ListArchive)
    for name in before:
        again = plan.step(name.replace("before/", "after/", 1))
        assert again.cleanup
        assert "drill/remove" in again.after


def test_cleanup_goes_from_the_last_step_to_the_first(plan: Plan) -> None:
    """An abort cleans up in reverse: the record is fetched, the server goes, then the looks."""
    order = [step.id for step in plan.steps if step.cleanup]
    assert order.index("witness/collect") > order.index("drill/remove") > order.index("after/servers")


def test_no_step_changes_a_host_of_production(plan: Plan) -> None:
    hosts = {
        getattr(step.run, "host", getattr(step.run, "limit", None))
        for step in plan.steps
        if step.run.effect in ("change", "destroy")
    }
    assert hosts == {"drill-b"}


def test_a_compiled_test_failover_is_safe(plan: Plan) -> None:
    refuse_unsafe(plan, lab=False)
    assert [one for one in lint_steps(plan, lab=False) if one.severity == "error"] == []


# --- what is refused -----------------------------------------------------------------------------


def broken(step: Step, **change: object) -> Step:
    return step.model_copy(update=change)


FAULTS: dict[str, Callable[[dict[str, Step]], None]] = {
    "isolated-first": lambda steps: steps.update(
        {"payments-db/restore": broken(steps["payments-db/restore"], needs=("drill/create",))}
    ),
    "archive-off": lambda steps: steps.update(
        {"payments/start": broken(steps["payments/start"], needs=("drill/prepare", "payments-db/restore"))}
    ),
    "leftover": lambda steps: steps.update({"drill/remove": broken(steps["drill/remove"], cleanup=False)}),
    "isolation": lambda steps: steps.update(
        {
            "payments/start": broken(
                steps["payments/start"], run=StartUnit(host="app-b", unit="payments.service")
            )
        }
    ),
}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_test_failover_that_is_not_safe_is_refused_before_its_first_step(plan: Plan, rule: str) -> None:
    steps = dict(plan.by_id)
    FAULTS[rule](steps)
    wrong = Plan(name=plan.name, environment="lab", mode=plan.mode, steps=tuple(steps.values()))
    assert rule in {one.rule for one in lint_steps(wrong, lab=True)}
    with pytest.raises(PreflightError, match="is not safe"):
        refuse_unsafe(wrong, lab=True)


def test_a_server_that_is_not_on_demand_is_never_used() -> None:
    city = make_isolated_city(on_demand=False)
    with pytest.raises(ConfigError, match="not declared on demand"):
        compile_isolated(DRILL, PLAN, city, given())


@pytest.mark.parametrize("provider", ["vsphere", "aws", "unmanaged"])
def test_where_nothing_of_ours_isolates_it_is_said_before_anything_is_made(provider: str) -> None:
    city = make_isolated_city(provider=provider)
    with pytest.raises(PreflightError, match="an isolated network has to be given there"):
        compile_isolated(DRILL, PLAN, city, given())


def test_a_copy_at_the_lost_site_restores_nothing() -> None:
    with pytest.raises(ConfigError, match="is lost in this drill"):
        compile_isolated(DRILL, PLAN, make_isolated_city(), given(make_restorable(site="city-hall")))


def test_a_copy_that_holds_nothing_is_refused() -> None:
    with pytest.raises(PreflightError, match="nothing that can be restored"):
        compile_isolated(DRILL, PLAN, make_isolated_city(), given(make_restorable(moments=(), backups=())))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mode": "failover"}, "a drill of mode failover has a fault"),
        ({"isolation": None}, "isolation or copies is of mode test-failover"),
    ],
)
def test_isolation_and_mode_go_together(change: dict[str, object], said: str) -> None:
    words = DRILL.model_dump(by_alias=True, exclude_unset=True) | change
    with pytest.raises(ValueError, match=said):
        Drill.model_validate(words)


# --- moments -------------------------------------------------------------------------------------


def test_a_moment_is_drawn_from_every_span_and_from_no_gap() -> None:
    spans = (
        Moments(first=DAY - timedelta(hours=3), last=DAY - timedelta(hours=2)),
        Moments(first=DAY - timedelta(hours=1), last=DAY - timedelta(minutes=1)),
    )
    backups = (
        Backup(label="20261121-230000F", at=DAY - timedelta(hours=4)),
        Backup(label=LABEL, at=DAY - timedelta(hours=1, minutes=5)),
    )
    restorable = make_restorable(moments=spans, backups=backups)
    drawn = [draw_moment(restorable, seed) for seed in range(300)]
    inside = [[one for one in drawn if one.until and span.first <= one.until <= span.last] for span in spans]
    assert all(inside)
    assert sum(map(len, inside)) == len(drawn)
    for one in drawn:
        assert one.until is not None
        assert one.backup.at < one.until
        later = [two for two in backups if one.backup.at < two.at < one.until - timedelta(seconds=1)]
        assert later == []


def test_the_newest_moment_is_the_end_of_the_archive() -> None:
    target = newest_moment(make_restorable())
    assert (target.until, target.backup.label) == (DAY - timedelta(minutes=1), LABEL)


def test_a_database_that_nobody_wrote_to_since_its_backup_is_restored_as_the_backup_has_it() -> None:
    idle = make_restorable(moments=())
    for target in (newest_moment(idle), draw_moment(idle, 7)):
        assert (target.until, target.backup.label) == (None, LABEL)
    assert idle.behind_s == timedelta(hours=2).total_seconds()
    written_before = make_restorable(
        moments=(Moments(first=DAY - timedelta(hours=5), last=DAY - timedelta(hours=3)),)
    )
    assert newest_moment(written_before).until is None
