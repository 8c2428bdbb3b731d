"""The planned move of a pilot light, there and home: a replica that holds all takes over. Pure.

Invariant: the replica is promoted only when all instances that served are off and cut off, their database
lets nobody in, that is proved, and the replica holds all that was written until then. The promotion is the
point of no return: what is before it has an undo, what comes after it has none. Nothing that one database
alone holds is deleted: an old one is kept under another name, with a snapshot that is whole; what is deleted
at last has been replaced, clients are good without it, a person has agreed, and its snapshot stays.
"""

from collections.abc import Collection, Iterator, Sequence

from automation.model.actions import (
    Action,
    AwaitReplica,
    BlockDatabase,
    BlockInstance,
    BlockServer,
    CreateInstance,
    CreateReplica,
    FenceInstance,
    PromoteReplica,
    ReleaseDatabase,
    ReleaseInstance,
    ReleaseServer,
    RemoveDatabase,
    RemoveInstance,
    RenameDatabase,
    SaveDatabase,
    StartInstance,
    StopInstance,
    SwapAddress,
    SwapRecord,
    UnblockServer,
)
from automation.model.catalog import AwsPilotLight, Service
from automation.model.errors import PreflightError
from automation.model.plan import Gate, Step
from automation.model.replicas import PilotSeen
from automation.recovery.strategies import aws_pilot_light
from automation.recovery.strategies.cloud_fencing import lab_host
from automation.recovery.strategies.fencing import prove
from automation.recovery.strategies.scope import Scope

MACHINE_TIMEOUT_S = 600.0
DATABASE_TIMEOUT_S = 7200.0
# RDS tells the lag once a minute, and that of an idle PostgreSQL falls only every five minutes.
CAUGHT_UP_TIMEOUT_S = 900.0


def stop_ids(name: str, service: Service) -> tuple[str, ...]:
    """Ids of the steps that stop the instances of a service; none for another strategy."""
    if not isinstance(service.strategy, AwsPilotLight):
        return ()
    return tuple(
        f"{name}/stop-{host.lower().replace('_', '-')}"
        for host in service.strategy.hosts[service.primary][: service.strategy.scale]
    )


def step(
    scope: Scope,
    what: str,
    run: Action,
    why: str,
    needs: tuple[str, ...],
    *,
    undo: Action | None = None,
    gate: Gate | None = None,
    timeout_s: float = MACHINE_TIMEOUT_S,
) -> Step:
    """Give one step of a move; a failure stops everything."""
    return Step(
        id=scope.step_id(what),
        service=scope.name,
        run=run,
        why=why,
        needs=needs,
        undo=undo,
        gate=gate,
        timeout_s=timeout_s,
        on_failure="halt",
    )


def kept_name(scope: Scope, database: str) -> str:
    """Name what a database is kept as, and its snapshot: by the moment at which it was looked at.

    RDS takes 63 letters, and no dash at the end of a word that is cut.
    """
    return f"{database[:40].rstrip('-')}-kept-{pilot(scope).seen_at:%Y%m%d-%H%M%S}"


def pilot(scope: Scope) -> PilotSeen:
    """What was seen at the site to which a service moves.

    Raises:
        PreflightError: nobody looked.
    """
    seen = scope.cloud.pilots.get(scope.name)
    if seen is None:
        raise PreflightError(
            f"nobody looked at what stands ready of {scope.name} at {scope.service.recovery}: it cannot be "
            "planned; nothing was changed"
        )
    return seen


# --- before the pause --------------------------------------------------------------------------------


def make_way(scope: Scope, strategy: AwsPilotLight, before: tuple[str, ...], role: str) -> tuple[Step, ...]:
    """Give what is done while clients are served: old machines held off, a replica made, waited for.

    Args:
        role: who is asked before an old database gives its name away.
    """
    if not strategy.database:
        return ()
    held = tuple(_hold_off(scope, strategy, before)) if scope.mode == "failback" else ()
    needs = (*before, *(one.id for one in held))
    made = (*_keep_old(scope, needs, role), *_replicate(scope, strategy, needs))
    return (*held, *made, _caught_up(scope, strategy, made[-1].id if made else "", needs))


def _hold_off(scope: Scope, strategy: AwsPilotLight, before: tuple[str, ...]) -> Iterator[Step]:
    """Fence what a failover left at home once more, by its own region, which may have been silent then.

    The old database is cut off when it is renamed: a fence that is named by its name would hit the replica.
    """
    site = scope.service.recovery
    for host in strategy.hosts[site]:
        if host in scope.cloud.instances:
            off, block = FenceInstance(host=host, site=site), BlockInstance(host=host, site=site)
            why = f"{host} was lost with {site}: it must not serve beside those that serve now"
            yield step(scope, f"way-off-{host}", off, why, before)
            yield step(scope, f"way-block-{host}", block, why, before)


def _keep_old(scope: Scope, needs: tuple[str, ...], role: str) -> Iterator[Step]:
    """Free the name of a database that is no copy of the one that serves; its data stays, twice."""
    old, site = pilot(scope).standing, scope.service.recovery
    if not old:
        return
    kept = kept_name(scope, old)
    save = SaveDatabase(site=site, database=old, snapshot=kept)
    rename = RenameDatabase(site=site, database=old, to=kept, snapshot=kept)
    back = RenameDatabase(site=site, database=kept, to=old, snapshot=kept, aside=False)
    ask = (
        f"The old database {old} at {site} may hold what no other does. It is kept as {kept}, cut off, "
        f"and as a snapshot of that name; a replica of the one that serves takes its name. Go on?"
    )
    why = f"what only {old} holds stays, whatever becomes of it"
    saved = step(scope, "way-save", save, why, needs, timeout_s=DATABASE_TIMEOUT_S)
    yield saved
    yield step(
        scope,
        "way-keep",
        rename,
        f"{old} is the name by which the instances at {site} find their database",
        (*needs, saved.id),
        undo=back,
        gate=Gate(role=role, ask=scope.question(ask)),
    )


def _replicate(scope: Scope, strategy: AwsPilotLight, needs: tuple[str, ...]) -> Iterator[Step]:
    """Make the replica that will take over, unless there is one."""
    seen, service = pilot(scope), scope.service
    if seen.replica is not None:
        return
    name, serving = strategy.database_at(service.recovery), strategy.database_at(service.primary)
    kept = kept_name(scope, seen.standing) if seen.standing else ""
    run = CreateReplica(
        site=service.recovery,
        database=name,
        source_site=service.primary,
        source=serving,
        like=kept,
        network="default" if kept else aws_pilot_light.network_of(scope, strategy.hosts[service.recovery][0]),
    )
    yield step(
        scope,
        "way-replica",
        run,
        f"{name} copies {serving} while clients are served: what it holds is not lost",
        (*needs, *((scope.step_id("way-keep"),) if kept else ())),
        undo=RemoveDatabase(site=service.recovery, database=name, expect_source=serving),
        timeout_s=DATABASE_TIMEOUT_S,
    )


def _caught_up(scope: Scope, strategy: AwsPilotLight, made: str, needs: tuple[str, ...]) -> Step:
    run = AwaitReplica(
        site=scope.service.recovery,
        database=strategy.database_at(scope.service.recovery),
        expect_source=strategy.database_at(scope.service.primary),
        behind_s=strategy.max_lag_s,
    )
    why = "a replica that lags would make the pause long"
    return step(
        scope, "way-caught-up", run, why, (*needs, *([made] if made else ())), timeout_s=DATABASE_TIMEOUT_S
    )


# --- the pause ---------------------------------------------------------------------------------------


def exchange(
    scope: Scope, strategy: AwsPilotLight, before: tuple[str, ...], fenced: Collection[str]
) -> tuple[Step, ...]:
    """Give the steps from the first stop to the names, and to the declared size.

    Args:
        before: what must have ended before clients may be without it, and what stops those above it.
        fenced: hosts of the lab that stand for instances and are held off by its own means.
    """
    stopped = tuple(_stop(scope, strategy, before))
    proof = prove(
        scope,
        scope.inventory.server(scope.old_host),
        tuple(one.id for one in stopped),
        scope.catalog.sites[scope.service.recovery].dns_server,
    )
    taken = tuple(_take_over(scope, strategy, (*(one.id for one in stopped), proof.id)))
    up = (taken or (proof,))[-1].id
    answers = (scope.step_id("dns-answers"),) if strategy.city_dns else ()
    hosts = strategy.hosts[scope.service.recovery][: strategy.scale]
    first = _bring(scope, hosts[0], (up, *answers, *scope.ready), fenced)
    names = tuple(_everywhere(aws_pilot_light.swap_names(scope, strategy, (first[-1].id,))))
    up_again = (*first, *names, *_scale(scope, strategy, names, fenced))
    return (*stopped, proof, *taken, *(up_again if taken else map(_revocable, up_again)))


def _stop(scope: Scope, strategy: AwsPilotLight, before: tuple[str, ...]) -> Iterator[Step]:
    """Stop the instances that serve, cut them off, and let nobody into their database."""
    site, stops = scope.service.primary, list[str]()
    for host in strategy.hosts[site][: strategy.scale]:
        _require_there(scope, host)
        stop, start = StopInstance(host=host, site=site), StartInstance(host=host, site=site)
        why = f"{host} writes its last: from here on clients are without {scope.name}"
        yield step(scope, f"stop-{host}", stop, why, before, undo=start)
        stops.append(scope.step_id(f"stop-{host}"))
        if strategy.database:  # what has no data of its own can serve twice, and harms nobody
            block, release = BlockInstance(host=host, site=site), ReleaseInstance(host=host, site=site)
            why = f"{host} must not be reached at {site} while another serves"
            yield step(scope, f"fence-network-{host}", block, why, (stops[-1],), undo=release)
    if strategy.database:
        name = strategy.database_at(site)
        yield step(
            scope,
            "fence-network-database",
            BlockDatabase(site=site, database=name),
            f"nothing is written to {name} any more: who else knows its address is shut out",
            tuple(stops),
            undo=ReleaseDatabase(site=site, database=name),
        )


def _require_there(scope: Scope, host: str) -> None:
    if host not in scope.cloud.instances:
        raise PreflightError(
            f"{host} of {scope.name} is not at {scope.service.primary}: what serves there is none of ours; "
            "nothing was changed",
            hint=f"./inv provision.show --env {scope.environment.name}",
        )


def _take_over(scope: Scope, strategy: AwsPilotLight, needs: tuple[str, ...]) -> Iterator[Step]:
    """See that the replica holds all, then promote it."""
    if not strategy.database:
        return
    site = scope.service.recovery
    name, source = strategy.database_at(site), strategy.database_at(scope.service.primary)
    wait = AwaitReplica(site=site, database=name, expect_source=source)
    why = f"nothing is lost once {name} holds all that {source} had when it was shut"
    yield step(scope, "replicated", wait, why, needs, timeout_s=CAUGHT_UP_TIMEOUT_S)
    answers = (scope.step_id("dns-answers"),) if strategy.city_dns else ()
    yield step(
        scope,
        "promote",
        PromoteReplica(site=site, database=name, expect_source=source, ready_within_s=scope.pause_s),
        f"{name} holds all and becomes a database of its own (point of no return)",
        (*needs, scope.step_id("replicated"), *answers),
        timeout_s=aws_pilot_light.DATABASE_TIMEOUT_S,
    )


def _bring(scope: Scope, host: str, needs: tuple[str, ...], fenced: Collection[str]) -> tuple[Step, ...]:
    """Start an instance that is there, released; launch one that is not."""
    site, steps = scope.service.recovery, list[Step]()
    stands_for = lab_host(scope.environment, site, host)
    if stands_for in fenced:
        of_lab: tuple[tuple[str, Action], ...] = (
            ("unblock", UnblockServer(host=stands_for)),
            ("power", ReleaseServer(host=stands_for)),
        )
        for what, run in of_lab:
            why = f"the host that stands for {host} comes back with it"
            steps.append(step(scope, f"home-{what}-{host}", run, why, needs))
            needs = (steps[-1].id,)
    if host not in scope.cloud.instances:
        return (*steps, aws_pilot_light.launch(scope, host, needs))
    release, start = ReleaseInstance(host=host, site=site), StartInstance(host=host, site=site)
    steps.append(step(scope, f"release-{host}", release, f"{host} serves again, on a database of now", needs))
    needs = (steps[-1].id,)
    return (*steps, step(scope, f"start-{host}", start, f"{host} serves from here on", needs))


def _scale(
    scope: Scope, strategy: AwsPilotLight, names: Sequence[Step], fenced: Collection[str]
) -> Iterator[Step]:
    """Bring the others up once clients are served; their addresses join the first one's."""
    hosts, last = strategy.hosts[scope.service.recovery][: strategy.scale], list[str]()
    for host in hosts[1:]:
        steps = _bring(scope, host, tuple(one.id for one in names), fenced)
        last.append(steps[-1].id)
        yield from steps
    if last and strategy.zone:
        yield from aws_pilot_light.join_names(scope, strategy, hosts, tuple(last))


def _everywhere(names: Sequence[Step]) -> Iterator[Step]:
    """Both sites are well, so a name server that refuses is a failure."""
    for one in names:
        run = one.run
        if isinstance(run, SwapAddress):
            one = one.model_copy(update={"run": run.model_copy(update={"required": run.servers})})
        yield one


def _revocable(one: Step) -> Step:
    """Without a database nothing is promoted, so all of it is taken back."""
    run = one.run
    undo: Action | None = None
    if isinstance(run, SwapAddress):
        undo = run.model_copy(update={"old": run.new, "new": run.old})
    elif isinstance(run, SwapRecord):
        undo = run.model_copy(update={"old": run.new, "new": run.old, "half": ()})
    elif isinstance(run, StartInstance):
        undo = StopInstance(host=run.host, site=run.site)
    elif isinstance(run, ReleaseInstance):
        undo = BlockInstance(host=run.host, site=run.site)
    elif isinstance(run, CreateInstance):
        undo = RemoveInstance(host=run.host, site=run.site)
    elif isinstance(run, UnblockServer):
        undo = BlockServer(host=run.host)
    return one.model_copy(update={"undo": undo})
