"""When a suspicion may end: one database alone can be written to, and that is seen, not supposed."""

import pytest

from automation.commands._standing import NodeSeen, ServiceStanding, _refuse_unclear
from automation.model.errors import PreflightError


def standing(old: str, fence: str, new: str = "primary") -> ServiceStanding:
    nodes = (
        NodeSeen(host="pg-a", site="city-hall", role=old, fence=fence, why="timeout"),
        NodeSeen(host="pg-b", site="eoc", role=new),
    )
    return ServiceStanding(service="payments-db", primary="eoc (pg-b)", nodes=nodes, suspicion=None)


@pytest.mark.parametrize(
    ("old", "fence"), [("no answer", "off and blocked"), ("standby", "")], ids=["shut out", "a standby"]
)
def test_one_alone_that_can_be_written_to_is_clear(old: str, fence: str) -> None:
    _refuse_unclear(standing(old, fence), "lab")


@pytest.mark.parametrize("fence", ["", "off", "blocked"])
def test_a_silent_node_needs_both_means(fence: str) -> None:
    with pytest.raises(PreflightError, match="pg-a cannot be looked at"):
        _refuse_unclear(standing("no answer", fence), "lab")


@pytest.mark.parametrize("fence", ["", "off", "blocked", "off and blocked"])
def test_a_node_that_answers_as_primary_can_be_written_to_whatever_its_fence_says(fence: str) -> None:
    with pytest.raises(PreflightError, match="pg-a and pg-b can be written to"):
        _refuse_unclear(standing("primary", fence), "lab")
