"""The schedule: order, limits, and that nobody who may start is forgotten."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automation.engine.schedule import Schedule, start_order
from automation.model.actions import StartServer, StartUnit, Wait
from automation.model.plan import Limits, Plan, Step

ACTIONS = [
    Wait(seconds=0),
    StartServer(host="a"),
    StartServer(host="b"),
    StartUnit(host="a", unit="x"),
    StartUnit(host="b", unit="x"),
]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    names = [f"s{number}" for number in range(draw(st.integers(1, 12)))]
    steps = []
    for index, name in enumerate(names):
        needs = draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=2)) if index else []
        steps.append(Step(id=name, run=draw(st.sampled_from(ACTIONS)), why="test", needs=tuple(needs)))
    limits = Limits(
        total=draw(st.integers(1, 4)),
        per_host=draw(st.integers(1, 2)),
        per_provider={"nspawn": draw(st.integers(1, 2))},
    )
    return Plan(name="t", environment="lab", mode="apply", steps=tuple(steps), limits=limits)


@given(plan=plans(), data=st.data())
def test_every_step_starts_within_the_limits_whatever_ends_first(plan: Plan, data: st.DataObject) -> None:
    schedule = Schedule(plan, succeeded=(), passed_over=())
    running: list[Step] = []
    ended: list[str] = []
    while True:
        while (step := schedule.take()) is not None:
            assert set(step.needs) <= set(ended)
            running.append(step)
        check_limits(plan, running)
        if not running:
            break
        done = running.pop(data.draw(st.integers(0, len(running) - 1)))
        schedule.release(done)
        schedule.end(done.id, good=True)
        ended.append(done.id)
    assert sorted(ended) == sorted(step.id for step in plan.steps)
    assert schedule.waiting == ()


def check_limits(plan: Plan, running: list[Step]) -> None:
    hosts = Counter(getattr(step.run, "host", None) for step in running)
    del hosts[None]
    assert len(running) <= plan.limits.total
    assert all(count <= plan.limits.per_host for count in hosts.values())
    machines = sum(step.run.do.startswith("nspawn.") for step in running)
    assert machines <= plan.limits.per_provider["nspawn"]


# --- who starts first ------------------------------------------------------------------------------


def step(name: str, *needs: str, service: str | None = None, seconds: float = 10, after: str = "") -> Step:
    return Step(
        id=name,
        run=Wait(seconds=0),
        why="test",
        service=service,
        needs=needs,
        after=(after,) if after else (),
        timeout_s=seconds,
    )


ORDERS: dict[str, tuple[tuple[Step, ...], tuple[str, ...]]] = {
    "tier before length": (
        (step("archive", service="archive", seconds=900), step("dispatch", service="dispatch")),
        ("dispatch", "archive"),
    ),
    "the longer chain first": (
        (step("short"), step("a"), step("b", "a"), step("c", "b")),
        ("a", "b", "short", "c"),
    ),
    "one long step outweighs a chain of short ones": (
        (step("a"), step("b", "a"), step("long", seconds=30)),
        ("long", "a", "b"),
    ),
    "what an urgent service waits for is as urgent": (
        (step("archive", service="archive"), step("dns"), step("dispatch", "dns", service="dispatch")),
        ("dns", "dispatch", "archive"),
    ),
    "an order only hands it on, too": (
        (step("archive", service="archive"), step("x"), step("dispatch", after="x", service="dispatch")),
        ("x", "dispatch", "archive"),
    ),
    "a service without a tier is last": (
        (step("odd", service="odd", seconds=900), step("archive", service="archive")),
        ("archive", "odd"),
    ),
    "else as the plan has them": ((step("b"), step("a"), step("c")), ("b", "a", "c")),
}


@pytest.mark.parametrize(("steps", "order"), ORDERS.values(), ids=ORDERS)
def test_ready_steps_start_by_tier_then_by_the_critical_path(
    steps: tuple[Step, ...], order: tuple[str, ...]
) -> None:
    tiers = {"dispatch": 0, "archive": 3}
    plan = Plan(name="t", environment="lab", mode="apply", steps=steps, tiers=tiers)
    assert start_order(plan) == order


def test_with_one_place_alone_the_urgent_service_has_it() -> None:
    steps = (
        step("a1", service="archive"),
        step("a2", "a1", service="archive"),
        step("d1", service="dispatch"),
        step("d2", "d1", service="dispatch"),
    )
    tiers = {"dispatch": 0, "archive": 3}
    plan = Plan(name="t", environment="lab", mode="apply", steps=steps, tiers=tiers, limits=Limits(total=1))
    schedule = Schedule(plan, succeeded=(), passed_over=())
    started = []
    while (taken := schedule.take()) is not None:
        started.append(taken.id)
        schedule.release(taken)
        schedule.end(taken.id, good=True)
    assert started == ["d1", "d2", "a1", "a2"]
    assert Schedule(plan, succeeded=(), passed_over=()).waiting == ("a1", "a2", "d1", "d2"), "as planned"


@given(plan=plans())
def test_without_tiers_nobody_starts_before_one_with_a_longer_chain(plan: Plan) -> None:
    chain = {one.id: longest(plan, one) for one in plan.steps}
    order = start_order(plan)
    assert sorted(order) == sorted(chain)
    assert [chain[name] for name in order] == sorted(chain.values(), reverse=True)


def longest(plan: Plan, one: Step) -> float:
    below = [longest(plan, other) for other in plan.steps if one.id in plan.waits_for[other.id]]
    return one.timeout_s + max(below, default=0)
