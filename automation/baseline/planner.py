"""Plan what a baseline does to hosts. Pure."""

from collections.abc import Sequence

from automation.model.actions import CollectFacts
from automation.model.plan import Plan, Step

COLLECTING_S = 90.0


def plan_audit(environment: str, hosts: Sequence[str], walk_s: float) -> Plan:
    """Collect the facts of hosts, each in a step of its own; one that is away costs no other."""
    steps = tuple(
        Step(
            id=f"{host}/facts",
            run=CollectFacts(host=host, walk_s=walk_s),
            why="controls are judged by what is in effect on the host",
            timeout_s=COLLECTING_S + walk_s,
            on_failure="continue",
        )
        for host in hosts
    )
    return Plan(name="baseline-audit", environment=environment, mode="apply", steps=steps)
