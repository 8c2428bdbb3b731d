"""What comes before another primary: two fences and their proof, and the risks that people bear."""

from automation.model.actions import (
    AcceptLag,
    BlockServer,
    Confirm,
    PowerOffServer,
    ProveRefused,
    SuspectSplitBrain,
)
from automation.model.environment import Server
from automation.model.errors import PreflightError
from automation.model.plan import Gate, OnFailure, Step
from automation.recovery.strategies.scope import Scope

FENCED_BY = frozenset({"nspawn"})


def fence(scope: Scope) -> tuple[Step, ...]:
    """Give two fences of the old primary, and the proof that needs both.

    Raises:
        PreflightError: nothing of ours fences it, and this is no walkthrough.
    """
    old = scope.inventory.server(scope.old_host)
    return _by_machine(scope, old) if old.provider in FENCED_BY else by_hand(scope, old.name, old.provider)


def by_hand(scope: Scope, old: str, provider: str) -> tuple[Step, ...]:
    """Say what people would have to do: to be read in a walkthrough, never to be carried out.

    Raises:
        PreflightError: this is no walkthrough.
    """
    if scope.mode != "walkthrough":
        raise PreflightError(f"{old}: provider {provider} has no fence yet; nothing was changed")
    whats = {
        "fence-power": f"cut the power of {old} and switch its autostart off",
        "fence-network": f"cut {old} off the network, for good",
        "fence-proof": f"see that {old} refuses connections, from a vantage that reaches its site",
    }
    ids = [scope.step_id(what) for what in whats]
    return tuple(
        Step(
            id=step_id,
            service=scope.name,
            run=Confirm(of="task", task=task),
            why=f"by hand: this version has no fence at provider {provider}, so a failover is refused",
            needs=(scope.declared,) if step_id != ids[-1] else tuple(ids[:-1]),
            gate=Gate(role=scope.service.owner, ask=f"{task}. Done?"),
            on_failure="halt",
        )
        for step_id, task in zip(ids, whats.values(), strict=True)
    )


def _by_machine(scope: Scope, old: Server) -> tuple[Step, ...]:
    means = (scope.step_id("fence-power"), scope.step_id("fence-network"))
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
        prove(scope, old, means, scope.new_host),
    )


def prove(scope: Scope, old: Server, means: tuple[str, ...], stands: str) -> Step:
    """Give the proof that a vantage is refused by what was fenced.

    Args:
        stands: a host of the recovery site that answers now.
    """
    endpoint = next(iter(scope.service.endpoints.values()))
    vantage = scope.environment.witness.host
    reachable = scope.inventory.server(stands)
    neighbour = scope.inventory.server(scope.catalog.sites[scope.service.primary].dns_server)
    return Step(
        id=scope.step_id("fence-proof"),
        service=scope.name,
        run=ProveRefused(
            host=vantage,
            server=old.name,
            address=old.address,
            port=endpoint.port,
            reachable=(f"{reachable.address}:{reachable.port}",),
            same_site=(f"{neighbour.address}:{neighbour.port}",) if neighbour.site == old.site else (),
            else_from=(stands,),
            means=means,
        ),
        why=f"{vantage} must be refused by {old.name} before another primary exists",
        needs=means,
        timeout_s=20,
        on_failure="continue" if scope.accepted.unfenced else "halt",
    )


def accept(scope: Scope) -> tuple[Step, ...]:
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
