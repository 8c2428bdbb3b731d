"""Fence the old primary by two means, prove it, promote the standby, move the name.

Invariant: promotion needs the proof, the proof needs both fences; no other path leads to it. Only where
people have signed that an unfenced primary is accepted may fences fail, and then the service is marked
SPLIT_BRAIN_SUSPECTED before the promotion.
"""

from automation.model.actions import (
    AcceptLag,
    BlockServer,
    Confirm,
    PowerOffServer,
    Promote,
    ProveRefused,
    SuspectSplitBrain,
)
from automation.model.catalog import PostgresqlStandby
from automation.model.environment import Server
from automation.model.errors import PreflightError
from automation.model.plan import Gate, OnFailure, Step
from automation.recovery.strategies.scope import Scope

FENCED_BY = frozenset({"nspawn"})


def compile_failover(scope: Scope, strategy: PostgresqlStandby) -> tuple[Step, ...]:
    """Give the steps that recover one database at its other site.

    Raises:
        PreflightError: nobody has observed the standby's identity, or nothing can fence its primary.
    """
    old = scope.inventory.server(scope.old_host)
    fences = _fence(scope, old) if old.provider in FENCED_BY else _fence_by_hand(scope, old)
    before = (*fences, *_accept(scope), scope.names_answer())
    promote = _promote(scope, strategy, needs=tuple(step.id for step in before[2:]))
    return (*before, promote, *scope.swaps((promote.id,)))


def _fence_by_hand(scope: Scope, old: Server) -> tuple[Step, ...]:
    """Say what people would have to do: to be read in a walkthrough, never to be carried out.

    Raises:
        PreflightError: this is no walkthrough.
    """
    if scope.mode != "walkthrough":
        raise PreflightError(f"{old.name}: provider {old.provider} has no fence yet; nothing was changed")
    whats = {
        "fence-power": f"cut the power of {old.name} and switch its autostart off",
        "fence-network": f"cut {old.name} off the network, for good",
        "fence-proof": f"see that {old.name} refuses connections, from a vantage that reaches its site",
    }
    ids = [scope.step_id(what) for what in whats]
    return tuple(
        Step(
            id=step_id,
            service=scope.name,
            run=Confirm(of="task", task=task),
            why=f"by hand: this version has no fence at provider {old.provider}, so a failover is refused",
            needs=(scope.declared,) if step_id != ids[-1] else tuple(ids[:-1]),
            gate=Gate(role=scope.service.owner, ask=f"{task}. Done?"),
            on_failure="halt",
        )
        for step_id, task in zip(ids, whats.values(), strict=True)
    )


def _fence(scope: Scope, old: Server) -> tuple[Step, ...]:
    means = (scope.step_id("fence-power"), scope.step_id("fence-network"))
    endpoint = next(iter(scope.service.endpoints.values()))
    vantage = scope.environment.witness.host
    reachable = scope.inventory.server(scope.new_host)
    neighbour = scope.inventory.server(scope.catalog.sites[scope.service.primary].dns_server)
    otherwise: OnFailure = "continue" if scope.accepted.unfenced else "halt"
    return (
        Step(
            id=means[0],
            service=scope.name,
            run=PowerOffServer(host=old.name),
            why=f"{old.name} must not serve again by itself when power returns",
            needs=(scope.declared,),
            timeout_s=20,
            on_failure=otherwise,
        ),
        Step(
            id=means[1],
            service=scope.name,
            run=BlockServer(host=old.name),
            why=f"{old.name} must not be reached even if it runs: a second, independent means",
            needs=(scope.declared,),
            timeout_s=20,
            on_failure=otherwise,
        ),
        Step(
            id=scope.step_id("fence-proof"),
            service=scope.name,
            run=ProveRefused(
                host=vantage,
                server=old.name,
                address=old.address,
                port=endpoint.port,
                reachable=(f"{reachable.address}:{reachable.port}",),
                same_site=(f"{neighbour.address}:{neighbour.port}",),
                else_from=(scope.new_host,),
                means=means,
            ),
            why=f"{vantage} must be refused by {old.name} before another primary exists",
            needs=means,
            timeout_s=20,
            on_failure=otherwise,
        ),
    )


def _accept(scope: Scope) -> tuple[Step, ...]:
    """Say what was accepted before anything irreversible; a missing fence marks the service."""
    accepted, steps = scope.accepted, []
    if accepted.lag:
        steps.append(
            Step(
                id=scope.step_id("accept-lag"),
                service=scope.name,
                run=AcceptLag(service=scope.name, observed=accepted.lag, roles=accepted.roles),
                why=f"{scope.new_host} lacks more than the RPO of {scope.name} allows.",
                needs=(scope.declared,),
                on_failure="halt",
            )
        )
    if accepted.unfenced:
        hosts = (scope.old_host, scope.new_host)
        mark = SuspectSplitBrain(
            service=scope.name,
            hosts=hosts,
            observed=f"{scope.old_host} may not be fenced",
            roles=accepted.roles,
            reason=accepted.unfenced,
        )
        steps.append(
            Step(
                id=scope.step_id("suspect"),
                service=scope.name,
                run=mark,
                why=f"{scope.old_host} may go on taking writes that {scope.new_host} will never have.",
                needs=(scope.step_id("fence-proof"),),
                on_failure="halt",
            )
        )
    return tuple(steps)


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
