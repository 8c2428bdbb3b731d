"""People recover it by a checklist: a step a line, each answered by its owner, signed off at the end."""

from automation.model.actions import Confirm
from automation.model.base import format_duration
from automation.model.catalog import Manual, ManualStep
from automation.model.plan import Gate, Step
from automation.recovery.strategies.scope import Scope


def compile_failover(scope: Scope, strategy: Manual) -> tuple[Step, ...]:
    """Give the lines of the checklist in their order, once what the service depends on is there."""
    steps: list[Step] = []
    needs = (scope.declared, *scope.ready)
    for number, line in enumerate(strategy.checklist, start=1):
        steps.append(_line(scope, strategy, number, line, needs))
        needs = (steps[-1].id,)
    return (*steps, _sign_off(scope, strategy, needs))


def _line(scope: Scope, strategy: Manual, number: int, line: ManualStep, needs: tuple[str, ...]) -> Step:
    usual = format_duration(line.takes_s)
    then = f" Then you see: {line.expect}." if line.expect else ""
    return Step(
        id=scope.step_id(f"line-{number}"),
        service=scope.name,
        run=Confirm(of="task", task=line.do, expect=line.expect, takes_s=line.takes_s),
        why=f"line {number} of {len(strategy.checklist)} of the checklist of {scope.name}; usually {usual}",
        needs=needs,
        gate=Gate(role=scope.service.owner, ask=scope.question(f"{line.do.rstrip('.')}.{then} Done?")),
    )


def _sign_off(scope: Scope, strategy: Manual, needs: tuple[str, ...]) -> Step:
    task = f"{scope.service.title} is back at {scope.service.recovery} and fit for use"
    return Step(
        id=scope.step_id("sign-off"),
        service=scope.name,
        run=Confirm(of="sign-off", task=task),
        why=f"{strategy.sign_off} says that {scope.name} is back, and nobody else",
        needs=needs,
        gate=Gate(role=strategy.sign_off, ask=scope.question(f"{task}?")),
    )
