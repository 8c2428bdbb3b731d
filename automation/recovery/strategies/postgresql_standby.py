"""Fence the old primary by two means, prove it, promote the standby, move the name.

Invariant: promotion needs the proof, the proof needs both fences; no other path leads to it. Only where
people have signed that an unfenced primary is accepted may fences fail, and then the service is marked
SPLIT_BRAIN_SUSPECTED before the promotion.
"""

from automation.model.actions import Promote
from automation.model.catalog import PostgresqlStandby
from automation.model.errors import PreflightError
from automation.model.plan import Step
from automation.recovery.strategies.fencing import accept, fence
from automation.recovery.strategies.scope import Scope


def compile_failover(scope: Scope, strategy: PostgresqlStandby) -> tuple[Step, ...]:
    """Give the steps that recover one database at its other site.

    Raises:
        PreflightError: nobody has observed the standby's identity, or nothing can fence its primary.
    """
    before = (*fence(scope), *accept(scope), scope.names_answer())
    promote = _promote(scope, strategy, needs=tuple(step.id for step in before[2:]))
    return (*before, promote, *scope.swaps((promote.id,)))


def _promote(scope: Scope, strategy: PostgresqlStandby, needs: tuple[str, ...]) -> Step:
    cluster = scope.clusters.get(scope.new_host)
    if cluster is None or not cluster.in_recovery:
        seen = "was not observed" if cluster is None else "is not a standby"
        raise PreflightError(f"{scope.new_host} {seen}: {scope.name} cannot be planned; nothing was changed")
    return Step(
        id=scope.step_id("promote"),
        service=scope.name,
        run=Promote(
            host=scope.new_host,
            cluster=strategy.cluster,
            expect_system_identifier=cluster.system_identifier,
            expect_timeline=cluster.timeline,
        ),
        why=f"{scope.new_host} becomes the one writable primary (point of no return)",
        needs=needs,
        timeout_s=60,
        on_failure="halt",
    )
