"""The switch: two sites exchange their roles, both well, with nothing lost. Pure.

Invariant: a promotion needs the old primary demoted, its last record replayed, a network fence and its
proof; every step before it has an undo, none may fail and be passed over. A failback ends with the same
steps as a migration.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from automation.model.actions import (
    Action,
    AwaitGood,
    AwaitReplayed,
    AwaitStreaming,
    BlockServer,
    CollectWitness,
    Demote,
    DropSlot,
    Follow,
    KeepSynchronous,
    LookAtRecords,
    MakeSlot,
    Promote,
    ProveRefused,
    ProveStandby,
    RestorePrimary,
    RunChecks,
    StartUnit,
    StopUnit,
    SwapAddress,
    UnblockServer,
)
from automation.model.base import format_duration
from automation.model.catalog import (
    AwsPilotLight,
    Playbooks,
    PostgresqlStandby,
    Redeploy,
    RestoreFromBackup,
    Service,
    VmReplica,
)
from automation.model.errors import PreflightError
from automation.model.plan import Mode, Step
from automation.recovery import cloud_switching, pilot_resting, pilot_switching
from automation.recovery.planner import City, cutovers, probe_ids, recovery_site
from automation.recovery.spec import RecoveryPlan, Switch
from automation.recovery.strategies import playbooks, vm_replica
from automation.recovery.strategies.scope import Scope, cutover_ids
from automation.recovery.turning import databases, dependants, slot_of, turn
from automation.recovery.writes import count_writes

# Half of the announced pause is for the replay, and no less than this.
LEAST_REPLAY_S = 5.0


class Move(NamedTuple):
    """What a switch is compiled from.

    `services` are turned: each runs at its primary and moves to its recovery site. `synchronous` names the
    databases whose commits wait for their standby now; `fenced` the hosts that a failover holds off.
    """

    switch: Switch
    plan: RecoveryPlan
    city: City
    services: Mapping[str, Service]
    synchronous: Collection[str]
    mode: Mode
    fenced: Collection[str] = ()

    def old(self, name: str) -> str:
        """The host that serves now."""
        return self.services[name].hosts_at(self.services[name].primary)[0]

    def new(self, name: str) -> str:
        """The host that will serve."""
        return self.services[name].hosts_at(self.services[name].recovery)[0]


class Seen(NamedTuple):
    """What identifies a cluster."""

    system_identifier: str
    timeline: int


def observed(move: Move, host: str) -> Seen:
    """Give the identity of the primary that serves now.

    Raises:
        PreflightError: it was not observed, or is none.
    """
    cluster = move.city.clusters.get(host)
    if cluster is None or cluster.in_recovery:
        seen = "was not observed" if cluster is None else "is no primary"
        raise PreflightError(f"{host} {seen}: nothing can be moved from it; nothing was changed")
    return Seen(cluster.system_identifier, cluster.timeline)


def await_streaming(
    move: Move, name: str, *, primary: str, standby: str, synchronous: bool | None = None
) -> AwaitStreaming:
    """Give the look at a pair; `synchronous` as it is now unless said otherwise."""
    _, strategy = databases(move.services)[name]
    return AwaitStreaming(
        primary=primary,
        standby=standby,
        cluster=strategy.cluster,
        expect_system_identifier=observed(move, move.old(name)).system_identifier,
        max_lag_bytes=strategy.max_lag_bytes,
        synchronous=name in move.synchronous if synchronous is None else synchronous,
    )


def compile_switch(move: Move, ready: tuple[str, ...]) -> tuple[Step, ...]:
    """Give the steps that exchange the roles of both sites; all of them wait for the steps `ready`.

    A failback ends with the same steps as a migration begins with.
    """
    steps: list[Step] = []
    starts = tuple(
        f"{name}/start" for name, one in move.services.items() if isinstance(one.strategy, Redeploy)
    )
    answers = tuple(f"{name}/dns-answers" for name, one in move.services.items() if _in_city_dns(one))
    before_pause = (*ready, *starts, *answers)
    for name, service in move.services.items():
        if _in_city_dns(service) and not isinstance(service.strategy, Playbooks):
            steps.append(_names_answer(move, name, ready))
        match service.strategy:
            case PostgresqlStandby():
                steps += _exchange(move, name, service.strategy, before_pause)
            case Redeploy():
                steps += _restart(move, name, service.strategy, ready, before_pause)
            case Playbooks():
                steps += _run_playbooks(move, name, service.strategy, before_pause)
            case VmReplica():
                above = _stops(move, dependants(name, move.services))
                steps += _move_vms(move, name, service.strategy, (before_pause, above))
            case AwsPilotLight():
                above = _stops(move, dependants(name, move.services))
                steps += _move_pilot(move, name, service.strategy, (*before_pause, *above))
            case RestoreFromBackup():
                raise PreflightError(
                    f"{name} has no standby: a planned move would lose what is not yet in its backup; "
                    "nothing was changed",
                    hint="make it a pair (postgresql-standby), or move it by the city's own playbooks",
                )
            case _:
                raise PreflightError(f"{name} is moved by people, not by steps; nothing was changed")
    return (*steps, *_judge(move, steps))


def _in_city_dns(service: Service) -> bool:
    """Whether clients find it by a name in the city's own DNS."""
    strategy = service.strategy
    return bool(service.endpoints) and not (isinstance(strategy, AwsPilotLight) and not strategy.city_dns)


def _names_answer(move: Move, name: str, ready: tuple[str, ...]) -> Step:
    servers = tuple(site.dns_server for site in move.city.catalog.sites.values())
    names = tuple(endpoint.name for endpoint in move.services[name].endpoints.values())
    return Step(
        id=f"{name}/dns-answers",
        service=name,
        run=LookAtRecords(names=names, servers=servers, required=servers),
        why="names are moved on every DNS server, so every one must answer",
        needs=ready,
        timeout_s=10,
        on_failure="halt",
    )


def _ready(move: Move, name: str) -> tuple[str, ...]:
    service = move.services[name]
    return tuple(
        step
        for other in service.depends_on
        if other in move.services
        for step in cutover_ids(other, move.services[other])
    )


def _swaps(move: Move, name: str, needs: tuple[str, ...]) -> tuple[Step, ...]:
    """Move the names on every server: with both sites well, one that refuses is a failure.

    What stands on no promotion may be taken back after its names were moved, so they are moved back, too.
    """
    lasting = any(name in dependants(one, move.services) or name == one for one in databases(move.services))
    swaps = []
    for step in scope_of(move, name).swaps(needs):
        assert isinstance(step.run, SwapAddress)
        run = step.run.model_copy(update={"required": step.run.servers})
        back = None if lasting else run.model_copy(update={"old": run.new, "new": run.old})
        swaps.append(step.model_copy(update={"run": run, "undo": back}))
    return tuple(swaps)


def scope_of(move: Move, name: str) -> Scope:
    """Give what a strategy is compiled from, for one service of a move."""
    city = move.city
    return Scope(
        name,
        move.services[name],
        city.catalog,
        city.inventory,
        city.environment,
        city.clusters,
        "steady/clients",
        _ready(move, name),
        mode=move.mode,
        cloud=city.cloud,
        pause_s=move.switch.pause_s,
    )


def _restart(
    move: Move, name: str, strategy: Redeploy, ready: tuple[str, ...], before_pause: tuple[str, ...]
) -> tuple[Step, ...]:
    old, new, pause = move.old(name), move.new(name), format_duration(move.switch.pause_s)
    start = Step(
        id=f"{name}/start",
        service=name,
        run=StartUnit(host=new, unit=strategy.unit, enable=True),
        undo=StopUnit(host=new, unit=strategy.unit, disable=True),
        why=f"{name} warms up on {new} while {old} serves: if it cannot start, nobody notices",
        needs=ready,
        timeout_s=60,
        on_failure="halt",
    )
    above = dependants(name, move.services)
    stop = Step(
        id=f"{name}/stop",
        service=name,
        run=StopUnit(host=old, unit=strategy.unit, disable=True),
        undo=StartUnit(host=old, unit=strategy.unit, enable=True),
        why=f"from here on clients are without {name}, for {pause} at most as announced",
        needs=(*before_pause, *_stops(move, above)),
        timeout_s=60,
        on_failure="halt",
    )
    return start, stop, *_swaps(move, name, (start.id, stop.id, *_ready(move, name)))


def _stops(move: Move, names: Collection[str]) -> tuple[str, ...]:
    own = tuple(f"{name}/stop" for name in names if isinstance(move.services[name].strategy, Redeploy))
    vms = (step for name in names for step in cloud_switching.stop_ids(name, move.services[name]))
    instances = (step for name in names for step in pilot_switching.stop_ids(name, move.services[name]))
    return (*own, *vms, *instances)


def _move_vms(
    move: Move, name: str, strategy: VmReplica, before: tuple[tuple[str, ...], tuple[str, ...]]
) -> tuple[Step, ...]:
    """Names move for good: what clients wrote since the VMs are on would be lost on the way back."""
    scope = scope_of(move, name)
    steps = cloud_switching.exchange(scope, strategy, *before)
    on = (*vm_replica.last_ids(scope, strategy), *scope.ready, f"{name}/dns-answers")
    swaps = tuple(step.model_copy(update={"undo": None}) for step in _swaps(move, name, on))
    return (*steps, *swaps, *cloud_switching.leave(scope, strategy))


def _move_pilot(move: Move, name: str, strategy: AwsPilotLight, before: tuple[str, ...]) -> tuple[Step, ...]:
    """What is before the promotion is taken back; what served is made a pilot light when clients are good."""
    scope = scope_of(move, name)
    steps = pilot_switching.exchange(scope, strategy, before, move.fenced)
    return (*steps, *pilot_resting.rest(scope, strategy, move.plan.overrides[1]))


def _run_playbooks(
    move: Move, name: str, strategy: Playbooks, before_pause: tuple[str, ...]
) -> tuple[Step, ...]:
    """A city's own verbs, which have no undo of ours; home leads the one that is made for it, if there is."""
    before = (*before_pause, *_ready(move, name))
    scope = scope_of(move, name)._replace(ready=before)
    if move.mode != "failback" or strategy.fail_back is None:
        return playbooks.compile_failover(scope, strategy)
    home = scope._replace(service=turn(move.services[name]))
    back = playbooks.run_verb(
        home, strategy, "fail-back", before, why=f"the city's own way to bring {name} home"
    )
    answers = (_names_answer(move, name, ("steady/clients",)),) if move.services[name].endpoints else ()
    return (*answers, back, *_swaps(move, name, (back.id, *(one.id for one in answers))))


def _exchange(
    move: Move, name: str, strategy: PostgresqlStandby, before_pause: tuple[str, ...]
) -> tuple[Step, ...]:
    down = _put_down(move, name, strategy, before_pause)
    fence = _fence(move, name, (f"{name}/replayed",))
    promote = Step(
        id=f"{name}/promote",
        service=name,
        run=Promote(
            host=move.new(name),
            cluster=strategy.cluster,
            expect_system_identifier=observed(move, move.old(name)).system_identifier,
            expect_timeline=observed(move, move.old(name)).timeline,
        ),
        why=f"{move.new(name)} holds all and becomes the one writable primary (point of no return)",
        needs=(f"{name}/replayed", f"{name}/fence-proof", f"{name}/dns-answers"),
        timeout_s=60,
        on_failure="halt",
    )
    swaps = _swaps(move, name, (promote.id,))
    return (*down, *fence, promote, *swaps, *_reprotect(move, name, strategy))


def _put_down(
    move: Move, name: str, strategy: PostgresqlStandby, before_pause: tuple[str, ...]
) -> tuple[Step, Step]:
    old, new, seen = move.old(name), move.new(name), observed(move, move.old(name))
    pair = {
        "host": old,
        "standby": new,
        "cluster": strategy.cluster,
        "expect_system_identifier": seen.system_identifier,
        "expect_timeline": seen.timeline,
    }
    demote = Step(
        id=f"{name}/demote",
        service=name,
        run=Demote.model_validate({**pair, "slot": slot_of(move.services[name].primary)}),
        undo=RestorePrimary.model_validate(pair),
        why=f"{old} writes its last record, and can only come back as a standby",
        needs=(*before_pause, *_stops(move, dependants(name, move.services))),
        timeout_s=60,
        on_failure="halt",
    )
    replayed = Step(
        id=f"{name}/replayed",
        service=name,
        run=AwaitReplayed(
            primary=old,
            standby=new,
            cluster=strategy.cluster,
            expect_system_identifier=seen.system_identifier,
            expect_timeline=seen.timeline,
        ),
        why=f"nothing is lost once {new} has replayed the last record of {old}",
        needs=(demote.id,),
        timeout_s=max(LEAST_REPLAY_S, move.switch.pause_s / 2),
        on_failure="halt",
    )
    return demote, replayed


def _fence(move: Move, name: str, needs: tuple[str, ...]) -> tuple[Step, Step]:
    """The second means beside the demotion: the provider cuts it off, and a vantage proves it."""
    inventory = move.city.inventory
    old, new = inventory.server(move.old(name)), inventory.server(move.new(name))
    if old.provider != "nspawn":
        raise PreflightError(f"{old.name}: provider {old.provider} has no fence yet; nothing was changed")
    service = move.services[name]
    endpoint = next(iter(service.endpoints.values()))
    vantage = move.city.environment.witness.host
    neighbour = inventory.server(move.city.catalog.sites[service.primary].dns_server)
    block = Step(
        id=f"{name}/fence-network",
        service=name,
        run=BlockServer(host=old.name),
        undo=UnblockServer(host=old.name),
        why=f"{old.name} must not be reached while another primary comes to be",
        needs=needs,
        timeout_s=20,
        on_failure="halt",
    )
    proof = Step(
        id=f"{name}/fence-proof",
        service=name,
        run=ProveRefused(
            host=vantage,
            server=old.name,
            address=old.address,
            port=endpoint.port,
            reachable=(f"{new.address}:{new.port}",),
            same_site=(f"{neighbour.address}:{neighbour.port}",),
            else_from=(new.name,),
            means=(f"{name}/demote", block.id),
        ),
        why=f"{vantage} must be refused by {old.name} before another primary exists",
        needs=(f"{name}/demote", block.id),
        timeout_s=20,
        on_failure="halt",
    )
    return block, proof


# --- after the point of no return ------------------------------------------------------------------


def _reprotect(move: Move, name: str, strategy: PostgresqlStandby) -> tuple[Step, ...]:
    """Lift the fence once clients are served, and let the old primary follow the new one."""
    old, new, service = move.old(name), move.new(name), move.services[name]
    slot, cluster = slot_of(service.primary), strategy.cluster
    follow = Follow(
        host=old,
        primary=new,
        cluster=cluster,
        expect_system_identifier=observed(move, old).system_identifier,
        slot=slot,
    )
    streams = await_streaming(move, name, primary=new, standby=old, synchronous=False)
    wait = KeepSynchronous(host=new, standby=old, cluster=cluster, synchronous=name in move.synchronous)
    keep = MakeSlot(host=new, cluster=cluster, slot=slot)
    let_go = DropSlot(host=old, cluster=cluster, slot=slot_of(service.recovery))
    held = ProveStandby(
        host=old,
        cluster=cluster,
        expect_system_identifier=observed(move, old).system_identifier,
        primary=new,
    )
    looked = f"the demotion may be days old: {old} must be unable to serve now"
    released = f"{old} is stopped and can only be a standby; clients are served by {new}"
    served = (f"{name}/promote", "clients-good")
    again = "commits wait for a standby as they did before, or as the configuration says"
    plan: tuple[tuple[str, Action, str, tuple[str, ...]], ...] = (
        ("slot", keep, f"{new} keeps what {old} will read", (f"{name}/promote",)),
        ("held", held, looked, served),
        ("release", UnblockServer(host=old), released, (*served, f"{name}/held")),
        ("follow", follow, f"{old} is the standby for the next loss", (f"{name}/release", f"{name}/slot")),
        ("streams", streams, "a standby counts once it streams", (f"{name}/follow",)),
        ("drop-slot", let_go, f"{old} keeps nothing more for {new}", (f"{name}/follow",)),
        ("synchronous", wait, again, (f"{name}/streams",)),
    )
    return tuple(
        Step(id=f"{name}/{what}", service=name, run=run, why=why, needs=needs, timeout_s=60)
        for what, run, why, needs in plan
    )


def _judge(move: Move, steps: list[Step]) -> tuple[Step, ...]:
    witness, services = move.city.environment.witness, move.services
    ends = tuple(step.id for step in steps if step.id.endswith("/synchronous"))
    good = Step(
        id="clients-good",
        run=AwaitGood(host=witness.host, probes=probe_ids(services), count=witness.sustained),
        why="moved is what clients see, sustained",
        needs=cutovers(services),
        timeout_s=120,
    )
    checks = Step(
        id="checks",
        run=RunChecks(paths=move.plan.checks, services=tuple(services), site=recovery_site(services)),
        why="good probes are not yet a right service",
        needs=(good.id,),
        after=ends,
        timeout_s=300,
    )
    collect = Step(
        id="witness/collect",
        run=CollectWitness(host=witness.host),
        why="the witness's record is the measurement",
        needs=("witness/start",),
        after=(checks.id,),
        timeout_s=120,
        cleanup=True,
    )
    return good, checks, collect, *count_writes(services, inspect_old_primary=False)
