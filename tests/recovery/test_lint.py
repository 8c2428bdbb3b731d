"""Lint: plans of every kind pass it, and every way to make a good plan unsafe is found."""

from collections.abc import Callable, Iterator
from datetime import date

import pytest

from automation.engine.dispatch import can_be_looked_at
from automation.model.actions import (
    BlockServer,
    Confirm,
    CutLink,
    Declare,
    RunPlaybook,
    StartServer,
    StartUnit,
    UnblockServer,
)
from automation.model.approvals import ApprovalRule
from automation.model.errors import PreflightError
from automation.model.observations import PostgresqlCluster
from automation.model.plan import Plan, Step
from automation.recovery.failover import compile_failover, compile_walkthrough
from automation.recovery.lint import Facts, lint_recovery
from automation.recovery.lint_isolated import lint_test_step
from automation.recovery.lint_steps import LintFinding, lint_steps, refuse_unsafe
from automation.recovery.migration import compile_migration
from automation.recovery.planner import City, affected_services, compile_drill
from automation.recovery.spec import RecoveryPlan, Switch, load_drill, load_plan
from tests.recovery.conftest import IDENTIFIER, REPOSITORY
from tests.recovery.mixed import ASKED, NOTICES, mix, plan_of

BORNE = ASKED.model_copy(
    update={"accept_unfenced": "it is under water", "accept_lag": {"payments-db": "9 bytes behind"}}
)
TODAY = date(2026, 11, 21)
FACTS = Facts(exists=lambda path: (REPOSITORY / path).exists(), verified=can_be_looked_at, today=TODAY)


def rules(findings: tuple[LintFinding, ...] | Iterator[LintFinding]) -> set[str]:
    return {one.rule for one in findings}


def steps_lint(plan: Plan, *, lab: bool = True) -> set[str]:
    return rules(lint_steps(plan, lab=lab, verified=can_be_looked_at))


# --- every kind of plan of this repository passes --------------------------------------------------


def drills() -> list[str]:
    names = sorted(path.stem for path in (REPOSITORY / "drtests/drills").glob("*.yml"))
    read = {name: load_drill(REPOSITORY, name) for name in names}
    return [name for name, one in read.items() if (one.mode, one.site) == ("failover", "city-hall")]


@pytest.mark.parametrize("name", drills())
def test_every_drill_of_a_lost_site_passes(city: City, name: str) -> None:
    drill = load_drill(REPOSITORY, name)
    plan = compile_drill(drill, load_plan(REPOSITORY, drill.plan), city, declared_by="coordinator")
    assert steps_lint(plan) == set()
    refuse_unsafe(plan, lab=True)


@pytest.mark.parametrize("asked", [ASKED, BORNE], ids=["fenced", "risks borne"])
def test_a_failover_passes_also_with_every_strategy(city: City, asked: object) -> None:
    plan = compile_failover(asked, plan_of(), mix(city))  # type: ignore[arg-type]
    assert steps_lint(plan) == set()
    refuse_unsafe(plan, lab=True)


def migration(city: City) -> Plan:
    primary = PostgresqlCluster(host="pg-a", system_identifier=IDENTIFIER, timeline=3, in_recovery=False)
    both = city._replace(clusters={**city.clusters, "pg-a": primary})
    switch = Switch(name="move", title="a planned move", plan="city", site="city-hall", pause_s=30)
    recovery = load_plan(REPOSITORY, "city")
    return compile_migration(switch, recovery, both, affected_services(ASKED, recovery, city.catalog))


def test_a_planned_migration_passes(city: City) -> None:
    assert steps_lint(migration(city)) == set()
    refuse_unsafe(migration(city), lab=True)


# --- every way to make one unsafe is found ---------------------------------------------------------


def rebuilt(plan: Plan, steps: tuple[Step, ...]) -> Plan:
    """Make a plan anew: a copy would keep what was computed from the old steps."""
    return Plan.model_validate({**{name: getattr(plan, name) for name in Plan.model_fields}, "steps": steps})


def change(plan: Plan, step_id: str, **words: object) -> Plan:
    steps = tuple(s.model_copy(update=words) if s.id == step_id else s for s in plan.steps)
    return rebuilt(plan, steps)


def act(plan: Plan, step_id: str, **words: object) -> Plan:
    return change(plan, step_id, run=plan.step(step_id).run.model_copy(update=words))


def without(plan: Plan, step_id: str) -> Plan:
    """Drop a step and every need of it, as somebody would who edits a plan."""
    steps = tuple(
        s.model_copy(
            update={
                "needs": tuple(n for n in s.needs if n != step_id),
                "after": tuple(n for n in s.after if n != step_id),
            }
        )
        for s in plan.steps
        if s.id != step_id
    )
    return rebuilt(plan, steps)


def need_less(plan: Plan, step_id: str, need: str) -> Plan:
    return change(plan, step_id, needs=tuple(name for name in plan.step(step_id).needs if name != need))


def add(plan: Plan, step: Step) -> Plan:
    return rebuilt(plan, (*plan.steps, step))


DB = "payments-db"
PROMOTE, PROOF, POWER, NETWORK = (
    f"{DB}/promote",
    f"{DB}/fence-proof",
    f"{DB}/fence-power",
    f"{DB}/fence-network",
)
FAULT = Step(id="cut", run=CutLink(sites=("eoc", "city-hall")), why="test", needs=("declaration",))

MUTATIONS: dict[str, tuple[Callable[[Plan], Plan], str]] = {
    "the promotion does not need the proof": (lambda p: need_less(p, PROMOTE, PROOF), "fence-before-promote"),
    "the proof is only an order": (
        lambda p: change(need_less(p, PROMOTE, PROOF), PROMOTE, after=(PROOF,)),
        "fence-before-promote",
    ),
    "the proof is gone": (lambda p: without(p, PROOF), "fence-before-promote"),
    "the promotion comes first": (
        lambda p: change(change(p, PROMOTE, needs=("declaration",)), POWER, needs=(PROMOTE,)),
        "fence-before-promote",
    ),
    "another host is proven": (lambda p: act(p, PROOF, server="pg-b"), "fence-before-promote"),
    "one fence is gone": (lambda p: without(p, NETWORK), "two-means"),
    "the proof needs one fence": (lambda p: need_less(p, PROOF, POWER), "two-means"),
    "a fence of another host": (lambda p: act(p, NETWORK, host="app-a"), "two-means"),
    "both fences are of one kind": (
        lambda p: change(p, POWER, run=BlockServer(host="pg-a")),
        "two-means",
    ),
    "the proof names a fence it does not need": (
        lambda p: act(p, PROOF, means=(POWER, NETWORK, "other")),
        "two-means",
    ),
    "a fence may fail": (lambda p: change(p, POWER, on_failure="continue"), "override-complete"),
    "the proof may fail": (lambda p: change(p, PROOF, on_failure="continue"), "override-complete"),
    "the promotion may fail": (lambda p: change(p, PROMOTE, on_failure="continue"), "promotion-may-fail"),
    "the identity is assumed": (
        lambda p: act(p, PROMOTE, expect_system_identifier="observed when the plan is made"),
        "identity-assumed",
    ),
    "nobody looks whether names can be moved": (lambda p: without(p, f"{DB}/dns-answers"), "names-answer"),
    "silence of the name server is passed over": (
        lambda p: change(p, f"{DB}/dns-answers", on_failure="continue"),
        "names-answer",
    ),
    "a name moves before its service is there": (
        lambda p: change(p, "payments/dns-web", needs=("declaration",)),
        "name-before-service",
    ),
    "a fence does not wait for the declaration": (lambda p: change(p, POWER, needs=()), "declared-first"),
    "the declaration is gone": (lambda p: without(p, "declaration"), "declared-first"),
    "the declaration may fail": (
        lambda p: change(p, "declaration", on_failure="continue"),
        "declared-first",
    ),
    "the proof is of another database": (
        lambda p: act(p, PROOF, else_from=("app-b",)),
        "fence-before-promote",
    ),
    "a person's word takes the place of the proof": (
        lambda p: change(p, PROOF, run=Confirm(of="task", task="it is off")),
        "fence-before-promote",
    ),
    "a step lifts the fence again": (
        lambda p: add(p, Step(id="on", run=StartServer(host="pg-a"), why="test", needs=(PROOF,))),
        "fence-lasts",
    ),
    "taking a step back lifts the fence": (
        lambda p: change(p, f"{DB}/dns-sql", undo=UnblockServer(host="pg-a")),
        "fence-lasts",
    ),
    "a fault in a failover": (lambda p: add(p, FAULT), "fault"),
    "the witness is never collected": (lambda p: without(p, "witness/collect"), "witness-collected"),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_failover_that_was_made_unsafe_is_found(city: City, what: str) -> None:
    mutate, rule = MUTATIONS[what]
    good = compile_failover(ASKED, plan_of(), mix(city))
    assert rule in steps_lint(mutate(good))


UNSAFE = {rule for _, rule in MUTATIONS.values()} - {"witness-collected"}


@pytest.mark.parametrize("what", [what for what, (_, rule) in MUTATIONS.items() if rule in UNSAFE])
def test_a_failover_that_was_made_unsafe_is_refused_before_its_first_step(city: City, what: str) -> None:
    mutate, _ = MUTATIONS[what]
    good = compile_failover(ASKED, plan_of(), mix(city))
    with pytest.raises(PreflightError, match="is not safe; nothing was changed"):
        refuse_unsafe(mutate(good), lab=True)


SUSPECT, LAG = f"{DB}/suspect", f"{DB}/accept-lag"
RISKS: dict[str, Callable[[Plan], Plan]] = {
    "the suspicion comes too late": lambda p: need_less(p, PROMOTE, SUSPECT),
    "the suspicion is gone": lambda p: without(p, SUSPECT),
    "the suspicion may fail": lambda p: change(p, SUSPECT, on_failure="continue"),
    "the suspicion is of other hosts": lambda p: act(p, SUSPECT, hosts=("app-a", "app-b")),
    "the suspicion has no reason": lambda p: act(p, SUSPECT, reason=" "),
    "one role signs twice": lambda p: act(p, SUSPECT, roles=("mayor", "mayor")),
    "the lag is not borne before": lambda p: need_less(p, PROMOTE, LAG),
    "one role signs for the lag": lambda p: act(p, LAG, roles=("mayor", "")),
}


@pytest.mark.parametrize("what", RISKS)
def test_a_risk_that_nobody_fully_bears_is_found(city: City, what: str) -> None:
    plan = RISKS[what](compile_failover(BORNE, plan_of(), mix(city)))
    assert "override-complete" in steps_lint(plan)
    with pytest.raises(PreflightError):
        refuse_unsafe(plan, lab=True)


def test_a_drill_that_declares_a_real_loss_is_found(city: City) -> None:
    plan = compile_drill(load_drill(REPOSITORY, "site-loss"), plan_of(), city, declared_by="coordinator")
    assert isinstance(plan.step("declare").run, Declare)
    assert steps_lint(act(plan, "declare", exercise=False)) == {"declared-first"}


@pytest.mark.parametrize("need", ["payments-db/replayed", "payments-db/demote"])
def test_a_planned_promotion_without_its_handover_is_found(city: City, need: str) -> None:
    plan = migration(city)
    of = {step.run.do: step.id for step in plan.steps if step.service == DB}
    step_id = of["postgresql.await_replayed" if need.endswith("replayed") else "postgresql.demote"]
    assert steps_lint(without(plan, step_id)) & {"fence-before-promote", "two-means"}


# --- agreed, taken back, looked at -----------------------------------------------------------------


def test_outside_a_lab_somebody_agrees_to_what_cannot_be_taken_back(city: City) -> None:
    plan = compile_failover(ASKED, plan_of(), city)
    assert steps_lint(plan, lab=False) == {"agreed"}
    signed = plan.model_copy(update={"approvals": ApprovalRule(roles=("mayor",))})
    asked = compile_failover(
        ASKED, plan_of(gates=[{"before": "promote", "role": "mayor", "ask": "Now?"}]), city
    )
    assert steps_lint(signed, lab=False) == steps_lint(asked, lab=False) == set()


def test_what_comes_before_a_point_of_no_return_can_be_taken_back_or_says_why_not(city: City) -> None:
    step = {
        "id": "warm",
        "run": {"do": "systemd.start_unit", "host": "app-b", "unit": "payments.service"},
        "why": "test",
        "before": ["promote"],
    }
    bare = compile_failover(ASKED, plan_of(steps=[step]), city)
    assert steps_lint(bare) == {"undo-before-no-return"}
    assert rules(lint_steps(bare, lab=True, excused=("warm",))) == set()
    undo = StartUnit(host="app-b", unit="payments.service")
    assert steps_lint(change(bare, "warm", undo=undo)) == set()


def test_an_irreversible_action_that_nobody_can_look_at_is_found(city: City) -> None:
    plan = compile_failover(ASKED, plan_of(), city)
    assert rules(lint_steps(plan, lab=True, verified=lambda address: False)) == {"verify"}


def test_a_walkthrough_is_never_run(city: City) -> None:
    with pytest.raises(PreflightError, match="it is read, never run"):
        refuse_unsafe(compile_walkthrough("all", plan_of(), city, "city-hall"), lab=True)


@pytest.mark.parametrize("what", ["promotes", "names production", "moves a name"])
def test_a_test_that_reaches_production_is_found(city: City, what: str) -> None:
    failover = compile_failover(ASKED, plan_of(), city)
    names = RunPlaybook(playbook="playbooks/site.yml", variables={"database": "pay-db.city.lab"})
    steps = {
        "promotes": failover.step(PROMOTE),
        "names production": Step(id="clone", run=names, why="test"),
        "moves a name": failover.step(f"{DB}/dns-sql"),
    }
    one = steps[what].model_copy(update={"needs": ()})
    production = [
        end.name for service in city.catalog.services.values() for end in service.endpoints.values()
    ]
    assert rules(lint_test_step(one, production)) == {"isolation"}


# --- the plan's own words --------------------------------------------------------------------------


def found(city: City, recovery: RecoveryPlan) -> dict[str, LintFinding]:
    return {one.rule: one for one in lint_recovery("all", recovery, city, FACTS)}


def existing(city: City) -> City:
    """The mixed city, with playbooks that are on the disk."""
    site = "playbooks/site.yml"
    own = NOTICES.strategy.model_copy(update={"fence": site, "recover": site, "verify": site})
    return mix(city, notices=NOTICES.model_copy(update={"strategy": own}))


def test_the_plan_of_the_lab_is_without_fault(city: City) -> None:
    assert lint_recovery("city", load_plan(REPOSITORY, "city"), city, FACTS) == ()
    assert lint_recovery("all", plan_of(), existing(city), FACTS) == ()


@pytest.mark.parametrize("modes", [[], ["failover"], ["failover", "exercise"]])
def test_a_gate_that_would_ask_nobody_is_told(city: City, modes: list[str]) -> None:
    gates = [
        {"before": "payments", "role": "mayor", "ask": "Go on?"},
        {"before": "promote", "role": "mayor", "ask": "Go on?", "modes": modes},
    ]
    no_database = plan_of(services=["payments"], gates=gates)
    assert found(city, no_database)["gate-asks"].where == ("gates", 1)
    assert "gate-asks" not in found(city, plan_of(services=["payments-db", "payments"], gates=gates))


def test_a_step_of_failovers_alone_is_read_as_well(city: City) -> None:
    lifts = {"do": "nspawn.start_server", "host": "pg-a"}
    step = {"id": "on", "run": lifts, "why": "test", "modes": ["failover"]}
    assert found(city, plan_of(steps=[step]))["fence-lasts"].where == ("steps", 0)


PLAYBOOK = {"do": "ansible.run_playbook", "playbook": "playbooks/none.yml", "limit": "localhost"}
FAULTS: dict[str, tuple[dict[str, object], str, tuple[str | int, ...]]] = {
    "a check that is not there": (
        {"checks": ["drtests/checks", "drtests/none"]},
        "checks-exist",
        ("checks", 1),
    ),
    "a playbook that is not there": (
        {"steps": [{"id": "own", "run": PLAYBOOK, "why": "test"}]},
        "playbook-exists",
        ("steps", 0, "run"),
    ),
    "no such service": ({"services": ["payments", "pay"]}, "service", ("services", 1)),
    "no such service to leave out": ({"services": {"except": ["pay"]}}, "service", ("services", "except")),
    "no such site": ({"services": {"sites": ["moon"]}}, "site", ("services", "sites", 0)),
    "one role for two": ({"overrides": ["mayor", "mayor"]}, "two-roles", ("overrides",)),
    "a gate before nothing": (
        {"gates": [{"before": "none", "role": "mayor", "ask": "Now?"}]},
        "compile",
        (),
    ),
    "limits that it breaks": ({"limits": {"deny": ["pg-*"]}}, "compile", ()),
    "a step that promotes unfenced": (
        {
            "steps": [
                {
                    "id": "hurry",
                    "run": {
                        "do": "postgresql.promote",
                        "host": "pg-b",
                        "cluster": "15/main",
                        "expect_system_identifier": IDENTIFIER,
                        "expect_timeline": 3,
                    },
                    "why": "test",
                }
            ]
        },
        "fence-before-promote",
        ("steps", 0),
    ),
    "a test that names what clients use": (
        {
            "steps": [
                {
                    "id": "copy",
                    "run": {**PLAYBOOK, "variables": {"name": "pay-db.city.lab"}},
                    "why": "test",
                    "modes": ["test-failover"],
                }
            ]
        },
        "isolation",
        ("steps", 0),
    ),
    "a freeze without an end": (
        {"freezes": [{"name": "always", "rrule": "FREQ=DAILY", "for": "2 d"}]},
        "freeze-ends",
        ("freezes", 0),
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_fault_of_a_plan_is_found_where_it_stands(city: City, what: str) -> None:
    words, rule, where = FAULTS[what]
    faults = found(existing(city), plan_of(**words))
    assert rule in faults
    assert faults[rule].where == where


@pytest.mark.parametrize(
    ("verb", "rule"), [("fence", "playbook-fence"), ("verify", "playbook-verify")], ids=["fence", "verify"]
)
def test_a_service_without_a_verb_that_it_may_need_is_worth_a_look(city: City, verb: str, rule: str) -> None:
    site = "playbooks/site.yml"
    verbs = {"fence": site, "recover": site, "verify": site, verb: None}
    own = NOTICES.model_copy(update={"strategy": NOTICES.strategy.model_copy(update=verbs)})
    assert found(mix(city, notices=own), plan_of())[rule].severity == "warning"


def test_what_a_chosen_service_stands_on_should_be_chosen_too(city: City) -> None:
    faults = found(city, plan_of(services=["payments"]))
    assert faults["depends"].message == "stands on payments-db, which this plan leaves at the lost site"


def test_a_plan_for_a_real_city_asks_for_signatures(city: City) -> None:
    real = city._replace(environment=city.environment.model_copy(update={"kind": "production", "lab": None}))
    assert found(real, plan_of())["approvals"].severity == "warning"
    assert found(real, plan_of(environments=["lab"]))["approvals"].severity == "error"
    assert "approvals" not in found(real, plan_of(approvals={"failover": ["mayor"]}))
