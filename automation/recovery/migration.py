"""Compile a planned migration: both sites well, nothing lost, taken back if anything fails. Pure.

Whatever can be tried beforehand is tried before the first service is stopped; `switching` has the rest.
"""

from collections.abc import Collection, Mapping

from automation.model.actions import AwaitGood, AwaitReady, LookAtServer, StartWitness
from automation.model.catalog import AwsPilotLight, Service, VmReplica
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step
from automation.recovery import cloud_switching, pilot_switching
from automation.recovery.completing import Draft, complete
from automation.recovery.planner import STEADY_PROBES, City, list_probes, probe_ids
from automation.recovery.spec import RecoveryPlan, Switch
from automation.recovery.switching import Move, await_streaming, compile_switch, scope_of
from automation.recovery.turning import databases


def compile_migration(
    switch: Switch,
    plan: RecoveryPlan,
    city: City,
    services: Mapping[str, Service],
    synchronous: Collection[str] = (),
) -> Plan:
    """Make the plan of a planned migration of services that run at a site.

    Args:
        city: both clusters of every pair among its observations.
        services: turned, lowest tier first.
        synchronous: databases whose commits wait for their standby now.

    Raises:
        ConfigError: no approvals are asked for outside a lab.
        PreflightError: a pair was not observed, is not a primary and its standby, or shares its hosts.
    """
    move = Move(switch, plan, city, services, synchronous, "planned-migration")
    refuse_unsigned(move)
    refuse_shared(move)
    reached = look_first(move)
    way = pilots_first(move, tuple(step.id for step in reached))
    watch = begin(move, tuple(step.id for step in way))
    looks = (
        *reached,
        *way,
        *(_streaming(move, name, needs=(watch[0].id,)) for name in databases(services)),
        *replicas_first(move, (watch[0].id,)),
    )
    steps = (*watch, *looks, *compile_switch(move, tuple(step.id for step in (*watch, *looks))))
    return finish(move, steps, declared=watch[-1].id)


def refuse_unsigned(move: Move) -> None:
    """See that somebody must agree, outside a lab.

    Raises:
        ConfigError: nobody must.
    """
    environment = move.city.environment
    if move.plan.rule(move.mode) is None and environment.kind != "lab":
        raise ConfigError(
            f"a {move.mode} of {environment.name}, which is no lab, must ask for approvals; "
            "nothing was changed",
            hint=f"say who must sign in drtests/plans/{move.switch.plan}.yml: "
            f"approvals: {{{move.mode}: [ROLE]}}",
        )


def refuse_shared(move: Move) -> None:
    """See that no other database stands on a host whose fence comes and goes for one of these.

    The fence is the host's: lifted for one that is a good standby, it would let an old primary beside it be
    written to again; closed for one, it would cut off a primary that serves.

    Raises:
        PreflightError: names both.
    """
    catalog = move.city.catalog.services
    own = {host: name for name in databases(move.services) for host in (move.old(name), move.new(name))}
    for name, (_, strategy) in databases(catalog).items():
        for host in strategy.hosts.values():
            if own.get(host, name) != name:
                raise PreflightError(
                    f"{host} holds both {own[host]} and {name}, and is fenced for both at once: "
                    "they are not moved by steps; nothing was changed",
                    hint="give each database a host of its own, or declare it once and depend on it",
                )


def finish(move: Move, steps: tuple[Step, ...], *, declared: str) -> Plan:
    """Put the recovery plan's own gates, steps and limits in."""
    city = move.city
    draft = Draft(move.switch.name, city.environment.name, move.mode, steps, move.services, declared)
    return complete(draft, move.plan, city.catalog.services, city.inventory)


# --- before anything is stopped --------------------------------------------------------------------


def begin(move: Move, needs: tuple[str, ...] = ()) -> tuple[Step, Step]:
    """Start the witness, and see that clients are served now."""
    witness = move.city.environment.witness
    start = Step(
        id="witness/start",
        run=StartWitness(
            host=witness.host,
            probes=list_probes(move.services),
            beat_s=witness.beat_s,
            timeout_s=witness.timeout_s,
        ),
        why="only a client's view from outside both sites measures a pause",
        needs=needs,
        timeout_s=60,
        on_failure="halt",
    )
    well = Step(
        id="steady/clients",
        run=AwaitGood(host=witness.host, probes=probe_ids(move.services), count=STEADY_PROBES),
        why="nothing is moved that is not well",
        needs=(start.id,),
        timeout_s=60,
        on_failure="halt",
    )
    return start, well


def look_first(move: Move, *, but: Collection[str] = ()) -> tuple[Step, ...]:
    """See that every host, every provider that must fence, and all DNS servers answer.

    Args:
        but: hosts that are fenced, and cannot.
    """
    hosts = {
        host
        for name, service in move.services.items()
        if not isinstance(service.strategy, VmReplica | AwsPilotLight)  # they serve at one site at a time
        for host in (move.old(name), move.new(name))
    }
    reached = (
        Step(
            id=f"steady/reach-{host}",
            run=AwaitReady(host=host),
            why="a move needs both sites",
            timeout_s=15,
            on_failure="halt",
        )
        for host in sorted(hosts - set(but))
    )
    managed = (
        Step(
            id=f"{name}/provider-answers",
            service=name,
            run=LookAtServer(host=move.old(name)),
            why=f"{move.old(name)} must be fenced while {move.new(name)} takes over",
            timeout_s=10,
            on_failure="halt",
        )
        for name in databases(move.services)
    )
    return (*reached, *managed)


def replicas_first(move: Move, needs: tuple[str, ...]) -> tuple[Step, ...]:
    """See that the other site holds the files of every VM that is moved."""
    return tuple(
        cloud_switching.look_first(scope_of(move, name), service.strategy, needs)
        for name, service in move.services.items()
        if isinstance(service.strategy, VmReplica)
    )


def pilots_first(move: Move, needs: tuple[str, ...]) -> tuple[Step, ...]:
    """Give every pilot light a replica that has caught up, while clients are served."""
    return tuple(
        step
        for name, service in move.services.items()
        if isinstance(service.strategy, AwsPilotLight)
        for step in pilot_switching.make_way(
            scope_of(move, name), service.strategy, needs, move.plan.overrides[1]
        )
    )


def _streaming(move: Move, name: str, *, needs: tuple[str, ...]) -> Step:
    return Step(
        id=f"steady/{name}",
        service=name,
        run=await_streaming(move, name, primary=move.old(name), standby=move.new(name)),
        why="a standby that lags or is not there takes nothing over",
        needs=needs,
        timeout_s=60,
        on_failure="halt",
    )
