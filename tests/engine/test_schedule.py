"""The schedule: order, limits, and that nobody who may start is forgotten."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from automation.engine.schedule import Schedule
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
