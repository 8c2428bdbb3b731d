"""A plan is a graph without cycles, whatever its size."""

from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from automation.model.actions import Wait
from automation.model.plan import Plan, Step

NAMES = [f"s{number}" for number in range(6)]


@given(st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.sampled_from(NAMES), max_size=3)))
def test_a_plan_is_refused_exactly_when_its_steps_wait_for_each_other(
    waits: dict[str, frozenset[str]],
) -> None:
    steps = tuple(
        Step(id=name, run=Wait(seconds=0), why="test", needs=tuple(sorted(waits.get(name, ()))))
        for name in NAMES
    )
    try:
        TopologicalSorter(waits).prepare()
    except CycleError:
        with pytest.raises(ValidationError, match="wait for each other"):
            Plan(name="test", environment="lab", mode="apply", steps=steps)
    else:
        Plan(name="test", environment="lab", mode="apply", steps=steps)
