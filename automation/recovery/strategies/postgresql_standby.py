"""Fence the old primary by two means, prove it, promote the standby, move the name.

Invariant: promotion needs the proof, the proof needs both fences; no other path leads to it.
"""

from automation.model.actions import BlockServer, PowerOffServer, Promote, ProveRefused
from automation.model.catalog import PostgresqlStandby
from automation.model.errors import PreflightError
from automation.model.plan import Step
from automation.recovery.strategies.scope import Scope

SSH_PORT = 22


def compile_failover(scope: Scope, strategy: PostgresqlStandby) -> tuple[Step, ...]:
    """Give the steps that recover one database at its other site.

    Raises:
        PreflightError: nobody has observed the standby's identity, or nothing can fence its primary.
    """
    return (*_fence(scope), _promote(scope, strategy), *scope.swaps((scope.step_id("promote"),)))


def _fence(scope: Scope) -> tuple[Step, ...]:
    old = scope.inventory.server(scope.old_host)
    if old.provider != "nspawn":
        raise PreflightError(f"{old.name}: provider {old.provider} has no fence yet; nothing was changed")
    means = (scope.step_id("fence-power"), scope.step_id("fence-network"))
    endpoint = next(iter(scope.service.endpoints.values()))
    vantage = scope.environment.witness.host
    reachable = scope.inventory.server(scope.new_host)
    return (
        Step(
            id=means[0],
            service=scope.name,
            run=PowerOffServer(host=old.name),
            why=f"{old.name} must not serve again by itself when power returns",
            needs=(scope.declared,),
            timeout_s=20,
            on_failure="halt",
        ),
        Step(
            id=means[1],
            service=scope.name,
            run=BlockServer(host=old.name),
            why=f"{old.name} must not be reached even if it runs: a second, independent means",
            needs=(scope.declared,),
            timeout_s=20,
            on_failure="halt",
        ),
        Step(
            id=scope.step_id("fence-proof"),
            service=scope.name,
            run=ProveRefused(
                host=vantage,
                server=old.name,
                address=old.address,
                port=endpoint.port,
                reachable=(f"{reachable.address}:{SSH_PORT}",),
                means=means,
            ),
            why=f"{vantage} must be refused by {old.name} before another primary exists",
            needs=means,
            timeout_s=20,
            on_failure="halt",
        ),
    )


def _promote(scope: Scope, strategy: PostgresqlStandby) -> Step:
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
        needs=(scope.step_id("fence-proof"),),
        timeout_s=60,
        on_failure="halt",
    )
