"""The plan of a drill: safe order, right targets, nothing that depends on the lost site."""

from pathlib import Path

import pytest

from automation.model.actions import (
    AwaitStreaming,
    BlockServer,
    LookAtRecords,
    PowerOffServer,
    Promote,
    SwapAddress,
)
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan
from automation.recovery.planner import City, compile_drill
from automation.recovery.spec import Drill, load_drill, load_plan

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted(path.stem for path in (REPOSITORY / "drtests/drills").glob("*.yml"))
DRILLS = [
    name
    for name in FILES
    if (one := load_drill(REPOSITORY, name)).mode == "failover" and one.site == "city-hall"
]


def compiled(city: City, name: str = "site-loss") -> Plan:
    drill = load_drill(REPOSITORY, name)
    return compile_drill(drill, load_plan(REPOSITORY, drill.plan), city, declared_by="coordinator")


def before(plan: Plan, step: str) -> set[str]:
    """Every step that must have succeeded before this one starts."""
    needs = set(plan.step(step).needs)
    return needs.union(*(before(plan, other) for other in needs)) if needs else set()


@pytest.mark.parametrize("name", DRILLS)
def test_every_promotion_needs_two_fences_and_their_proof(city: City, name: str) -> None:
    plan = compiled(city, name)
    promotions = [step for step in plan.steps if isinstance(step.run, Promote)]
    assert promotions
    for step in promotions:
        earlier = before(plan, step.id)
        fences = {s.id for s in plan.steps if isinstance(s.run, PowerOffServer | BlockServer)}
        assert len(fences & earlier) == 2
        assert f"{step.service}/fence-proof" in earlier


@pytest.mark.parametrize("name", DRILLS)
def test_nothing_recovers_before_the_declaration(city: City, name: str) -> None:
    plan = compiled(city, name)
    for step in plan.steps:
        if step.service and step.run.effect == "change":
            assert "declare" in before(plan, step.id), step.id


@pytest.mark.parametrize("name", DRILLS)
def test_nothing_is_promoted_while_the_recovery_sites_dns_is_silent(city: City, name: str) -> None:
    plan = compiled(city, name)
    look = plan.step("payments-db/dns-answers").run
    assert isinstance(look, LookAtRecords)
    assert look.required == ("dns-b",)
    assert "payments-db/dns-answers" in before(plan, "payments-db/promote")


def test_a_fence_that_fails_halts_the_run(city: City) -> None:
    plan = compiled(city)
    rules = {step.id: step.on_failure for step in plan.steps if "fence" in step.id or "promote" in step.id}
    assert set(rules.values()) == {"halt"}


def test_promotion_expects_the_identity_that_was_observed(city: City) -> None:
    run = compiled(city).step("payments-db/promote").run
    assert isinstance(run, Promote)
    assert (run.host, run.expect_system_identifier, run.expect_timeline) == ("pg-b", "7301447712345678901", 3)


def test_a_dependent_service_moves_its_name_after_what_it_depends_on(city: City) -> None:
    assert "payments-db/dns-sql" in before(compiled(city), "payments/dns-web")


def test_names_move_from_the_lost_host_to_the_recovery_host(city: City) -> None:
    run = compiled(city).step("payments-db/dns-sql").run
    assert isinstance(run, SwapAddress)
    assert (run.old, run.new, run.required) == ("10.77.1.20", "10.77.2.20", ("dns-b",))


def test_an_rpo_of_zero_demands_synchronous_replication(city: City) -> None:
    streaming = {name: compiled(city, name).step("steady/payments-db").run for name in DRILLS}
    demanded = {name: run.synchronous for name, run in streaming.items() if isinstance(run, AwaitStreaming)}
    assert demanded == {name: name == "site-loss-synchronous" for name in DRILLS}


def test_an_unobserved_standby_is_refused(city: City) -> None:
    with pytest.raises(PreflightError, match="pg-b was not observed"):
        compiled(city._replace(clusters={}))


def test_a_primary_in_place_of_the_standby_is_refused(city: City) -> None:
    primary = city.clusters["pg-b"].model_copy(update={"in_recovery": False})
    with pytest.raises(PreflightError, match="is not a standby"):
        compiled(city._replace(clusters={"pg-b": primary}))


@pytest.mark.parametrize(
    ("change", "words"),
    [({"site": "moon"}, "no site 'moon'"), ({"site": "eoc"}, "recovers no service")],
)
def test_a_drill_that_means_nothing_here_is_refused(city: City, change: dict[str, str], words: str) -> None:
    drill = load_drill(REPOSITORY, "site-loss").model_copy(update=change)
    assert isinstance(drill, Drill)
    with pytest.raises(ConfigError, match=words):
        compile_drill(drill, load_plan(REPOSITORY, "city"), city, declared_by="coordinator")


def test_the_same_input_gives_the_same_digest(city: City) -> None:
    assert compiled(city).digest == compiled(city).digest
