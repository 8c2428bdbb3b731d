"""Start the stateless service at the other site, move its name once what it depends on is there."""

from automation.model.actions import StartUnit
from automation.model.catalog import Redeploy
from automation.model.plan import Step
from automation.recovery.strategies.scope import Scope


def compile_failover(scope: Scope, strategy: Redeploy) -> tuple[Step, ...]:
    """Give the steps that recover one stateless service; it warms up while its data is recovered."""
    start = Step(
        id=scope.step_id("start"),
        service=scope.name,
        run=StartUnit(host=scope.new_host, unit=strategy.unit),
        why=f"{scope.name} is installed on {scope.new_host} and waits to be started",
        needs=(scope.declared,),
        timeout_s=60,
    )
    return (start, *scope.swaps((start.id, *scope.ready)))
