"""What a run would take, from what past runs took; made-up journals, and one of the real shape."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from automation.model.actions import AwaitReady, Confirm, StartUnit, SwapAddress, Wait
from automation.model.catalog import Service
from automation.model.plan import Gate, Limits, Plan, Step
from automation.model.records import (
    Body,
    Event,
    Failure,
    GateAnswered,
    Outcome,
    RunResumed,
    StepEnded,
    StepStarted,
    StepVerified,
)
from automation.recovery.planner import City, affected_services, compile_drill
from automation.recovery.prediction import (
    Likeness,
    Past,
    PastStep,
    Took,
    durations,
    predict,
    quantile,
    step_likeness,
)
from automation.recovery.spec import load_drill, load_plan
from tests.recovery.conftest import REPOSITORY
from tests.recovery.drill_story import Story, journal

BEGAN = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def events(*told: tuple[float, Body]) -> list[Event]:
    return [
        Event(sequence=number, at=BEGAN + timedelta(seconds=at_s), body=body, previous="", hash="")
        for number, (at_s, body) in enumerate(told)
    ]


def ended(step: str, *, changed: bool = True) -> StepEnded:
    return StepEnded(step=step, status="succeeded", outcome=Outcome(changed=changed, summary="done"))


def past_step(name: str, *waits_for: str, gated: bool = False) -> PastStep:
    return PastStep(name, Likeness(f"kind {name}"), waits_for, gated)


def took(steps: Iterable[PastStep], *told: tuple[float, Body]) -> list[tuple[str, float]]:
    return [(one.like.kind, one.seconds) for one in durations(steps, events(*told))]


# --- what a journal says --------------------------------------------------------------------------


def test_a_step_took_from_its_start_to_its_end() -> None:
    told = (1.0, StepStarted(step="a")), (3.5, ended("a"))
    assert took([past_step("a")], *told) == [("kind a", 2.5)]


def test_a_failed_step_says_nothing() -> None:
    failed = StepEnded(step="a", status="failed", failure=Failure(error="AdapterError", message="no"))
    again = (5.0, StepStarted(step="a")), (6.0, ended("a"))
    assert took([past_step("a")], (1.0, StepStarted(step="a")), (2.0, failed), *again) == [("kind a", 1.0)]


@pytest.mark.parametrize(
    "cut", [RunResumed(actor="x", node="n", version="0"), StepVerified(step="a", progress="done")], ids=type
)
def test_a_step_whose_controller_died_says_nothing(cut: Body) -> None:
    assert took([past_step("a")], (1.0, StepStarted(step="a")), (60.0, cut), (61.0, ended("a"))) == []


def test_a_step_that_asks_a_person_took_from_when_it_could_be_answered() -> None:
    """Also over the night: a run that waits for its answer is resumed when the answer is there."""
    steps = [past_step("a"), past_step("ask", "a", gated=True)]
    told: list[tuple[float, Body]] = [(0.0, StepStarted(step="a")), (2.0, ended("a"))]
    told += [(600.0, RunResumed(actor="x", node="n", version="0"))]
    told += [(601.0, GateAnswered(step="ask", answer="yes", by="x")), (602.0, StepStarted(step="ask"))]
    assert took(steps, *told, (602.0, ended("ask"))) == [("kind a", 2.0), ("kind ask", 600.0)]


# --- steps alike ----------------------------------------------------------------------------------


def likes(seconds: Iterable[float], like: Likeness, *, changed: bool = True) -> list[Took]:
    return [Took(like, one, changed) for one in seconds]


def test_the_same_host_counts_where_it_was_seen_often_enough() -> None:
    here, there = Likeness("systemd.start_unit", "pay", "a"), Likeness("systemd.start_unit", "pay", "b")
    past = Past([*likes([1, 2, 3], here), *likes([50], there)], runs=4)
    seen = past.estimate(here)
    assert seen
    assert (seen.median_s, seen.steps) == (2, 3)
    seen = past.estimate(there)  # once is not often: the service's own four count
    assert seen
    assert (seen.median_s, seen.steps) == (2.5, 4)


def test_a_kind_that_was_never_seen_is_not_guessed() -> None:
    past = Past(likes([1, 2, 3], Likeness("dns.swap_address", "pay")), runs=3)
    assert past.estimate(Likeness("postgresql.promote", "pay-db", "b")) is None


def test_looks_that_found_nothing_to_do_do_not_count_as_the_work() -> None:
    like = Likeness("postgresql.promote", "db", "b")
    past = Past([*likes([8, 9, 10], like), *likes([0.1] * 20, like, changed=False)], runs=23)
    seen = past.estimate(like)
    assert seen
    assert (seen.median_s, seen.steps) == (9, 3)


def test_playbooks_and_tasks_of_people_are_kinds_of_their_own() -> None:
    def asked(task: str) -> Step:
        return Step(id="a/b", run=Confirm(of="task", task=task), why="w", service="a")

    assert step_likeness(asked("dial the signs")) != step_likeness(asked("call the bank"))


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 2.5), (0.9, 3.7), (1.0, 4.0)])
def test_a_quantile_lies_between_its_neighbours(share: float, value: float) -> None:
    assert quantile([1, 2, 3, 4], share) == pytest.approx(value)


# --- the plan -------------------------------------------------------------------------------------


def service(**more: object) -> Service:
    return Service.model_validate(
        {
            "title": "T",
            "owner": "o",
            "tier": 1,
            "rto": "1 min",
            "rpo": "1 s",
            "mtd": "1 d",
            "primary": "east",
            "recovery": "west",
            "endpoints": {"web": {"name": "a.example", "port": 80}},
            "strategy": {"kind": "redeploy", "unit": "a.service", "hosts": {"east": "e", "west": "w"}},
            **more,
        }
    )


def start(step: str, name: str, host: str, *needs: str) -> Step:
    return Step(id=step, run=StartUnit(host=host, unit="a.service"), why="w", service=name, needs=needs)


def swap(name: str, *needs: str) -> Step:
    run = SwapAddress(
        name=f"{name}.example", old="192.0.2.1", new="192.0.2.2", servers=("d",), required=("d",)
    )
    return Step(id=f"{name}/dns-web", run=run, why="w", service=name, needs=needs)


def plan(*steps: Step, total: int = 32) -> Plan:
    return Plan(
        name="p", environment="e", mode="failover", steps=steps, limits=Limits(total=total, per_host=1)
    )


def past(**seconds: float) -> Past:
    named = {"start": "systemd.start_unit", "swap": "dns.swap_address", "ready": "ssh.await_ready"}
    return Past([one for do, s in seconds.items() for one in likes([s] * 3, Likeness(named[do]))], runs=3)


def test_the_longest_way_to_the_last_name_decides() -> None:
    ready = Step(id="ready", run=AwaitReady(host="w"), why="w")
    steps = (
        ready,
        start("a/start", "a", "w", "ready"),
        start("a/other", "a", "v"),
        swap("a", "a/start", "a/other"),
    )
    found = predict(plan(*steps), {"a": service()}, {"a": 60.0}, past(ready=4, start=10, swap=1)).of("a")
    assert found
    assert found.median_s == 15
    assert found.path == ("ready", "a/start", "a/dns-web")
    assert not found.late


def test_limits_make_steps_wait_for_each_other() -> None:
    services = {name: service() for name in "ab"}
    steps = [
        step for name in "ab" for step in (start(f"{name}/start", name, "w"), swap(name, f"{name}/start"))
    ]
    found = predict(plan(*steps), services, dict.fromkeys("ab", 60.0), past(start=10, swap=1))
    assert [one.median_s for one in found.services] == [11, 21]  # one host, one step at once


def test_a_service_that_stands_on_an_unknown_step_is_not_predicted() -> None:
    steps = (start("a/start", "a", "w"), swap("a", "a/start"))
    found = predict(plan(*steps), {"a": service()}, {"a": 60.0}, past(start=10)).of("a")
    assert found
    assert (found.median_s, found.unknown) == (None, ("a/dns-web",))


def test_what_comes_before_the_fault_of_a_drill_is_not_counted(city: City) -> None:
    """One drill of the real shape: from the fault to the moved names, detection and declaration included."""
    drill, recovery = load_drill(REPOSITORY, "site-loss"), load_plan(REPOSITORY, "city")
    services = affected_services(drill, recovery, city.catalog)
    real = compile_drill(drill, recovery, city, declared_by="coordinator")
    steps = [PastStep(one.id, step_likeness(one), (*one.needs, *one.after), False) for one in real.steps]
    known = Past(durations(steps, journal(real, Story())), runs=1)
    found = predict(real, services, {name: one.rto_s for name, one in services.items()}, known)
    assert found.since == "the fault"
    assert all(one.median_s and 2 < one.median_s < 5 for one in found.services)  # the story: 2.76 s
    assert all(one.fewest == 1 and one.path[0] == "detect" for one in found.services)


def test_a_prediction_over_the_target_is_late_and_a_slow_tenth_over_it_is_tight() -> None:
    steps = (start("a/start", "a", "w"), swap("a", "a/start"))
    slow = Past(
        [
            *likes([10, 10, 10, 10, 100], Likeness("systemd.start_unit")),
            *likes([1], Likeness("dns.swap_address")),
        ],
        5,
    )
    tight = predict(plan(*steps), {"a": service()}, {"a": 30.0}, slow).of("a")
    late = predict(plan(*steps), {"a": service()}, {"a": 10.5}, slow).of("a")
    assert tight
    assert (tight.tight, tight.late) == (True, False)
    assert late
    assert (late.tight, late.late) == (False, True)


def test_a_question_on_the_way_counts_with_the_time_people_took() -> None:
    ask = Step(
        id="gate/1-a", run=Confirm(of="decision", task="go?"), why="w", gate=Gate(role="lead", ask="go?")
    )
    steps = (ask, start("a/start", "a", "w", "gate/1-a"), swap("a", "a/start"))
    known = [*likes([300], step_likeness(ask)), *likes([10], Likeness("systemd.start_unit"))]
    known += likes([1], Likeness("dns.swap_address"))
    found = predict(plan(*steps), {"a": service()}, {"a": 60.0}, Past(known, 1)).of("a")
    assert found
    assert found.median_s == 311
    assert step_likeness(Step(id="w", run=Wait(seconds=1), why="w")) == Likeness("clock.wait")
