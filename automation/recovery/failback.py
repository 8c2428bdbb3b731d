"""Compile a failback: bring the fenced home site back as a standby, then switch home. Pure.

Invariant: the network fence of an old primary is lifted only when its database is held down and its own
writes are exported; its data is rebuilt only when a copy is kept, and a person has said yes.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from automation.model.actions import (
    Action,
    BlockServer,
    CloneStandby,
    DropSlot,
    ExportWrites,
    Follow,
    HoldDown,
    KeepData,
    MakeSlot,
    PowerOffServer,
    ProveStandby,
    ReconcileServer,
    ReleaseServer,
    Rewind,
    StartFenced,
    UnblockServer,
)
from automation.model.base import format_duration
from automation.model.catalog import PostgresqlStandby, Service, VmReplica
from automation.model.errors import PreflightError
from automation.model.plan import Gate, Plan, Step
from automation.recovery import cloud_switching
from automation.recovery.migration import (
    begin,
    finish,
    look_first,
    pilots_first,
    refuse_shared,
    refuse_unsigned,
    replicas_first,
)
from automation.recovery.planner import City
from automation.recovery.spec import RecoveryPlan, Switch
from automation.recovery.switching import Move, await_streaming, compile_switch, observed, scope_of
from automation.recovery.turning import databases, slot_of


def compile_failback(
    switch: Switch,
    plan: RecoveryPlan,
    city: City,
    services: Mapping[str, Service],
    fenced: Collection[str],
) -> Plan:
    """Make the plan of a failback to a site.

    Args:
        city: the cluster that serves now of every pair among its observations.
        services: turned: each runs away and moves home; lowest tier first.
        fenced: hosts that are off, kept off and blocked on the network.

    Raises:
        ConfigError: no approvals are asked for outside a lab.
        PreflightError: a home database is not fenced or shares its host, or the serving one was not observed.
    """
    move = Move(switch, plan, city, services, (), "failback", fenced)
    refuse_unsigned(move)
    refuse_shared(move)
    pairs = databases(services)
    for name in pairs:
        if move.new(name) not in fenced:
            raise PreflightError(
                f"{move.new(name)} of {name} is not fenced by power and network: "
                "there is nothing to fail back from; nothing was changed",
                hint=f"if it is a standby that streams: ./inv dr.migrate --env {city.environment.name} "
                f"--site {services[name].primary}",
            )
    reconcile = _reconcile(move)
    looks = look_first(move, but=[move.new(name) for name in pairs])
    before = (reconcile.id, *(step.id for step in looks))
    home = tuple(
        step
        for name, (_, strategy) in pairs.items()
        for step in _bring_home(Coming(move, name, strategy), before)
    )
    way = (*_make_way(move, before, fenced), *pilots_first(move, before))
    look = replicas_first(move, (*before, *(step.id for step in way)))
    released = (f"{name}/home-release" for name in pairs)
    home_ready = (*before, *released, *(step.id for step in (*way, *look)))
    home = (*home, *way, *look)
    watch = begin(move, home_ready)
    switch_steps = compile_switch(move, (*home_ready, *(step.id for step in watch)))
    return finish(move, (reconcile, *looks, *home, *watch, *switch_steps), declared=reconcile.id)


def _make_way(move: Move, before: tuple[str, ...], fenced: Collection[str]) -> tuple[Step, ...]:
    """Take the VMs that a failover fenced at home out of the way."""
    return tuple(
        step
        for name, service in move.services.items()
        if isinstance(service.strategy, VmReplica)
        for step in cloud_switching.make_way(scope_of(move, name), service.strategy, before, fenced)
    )


def _reconcile(move: Move) -> Step:
    sites = move.city.catalog.sites
    home = sites[move.switch.site].dns_server
    others = tuple(dict.fromkeys(site.dns_server for site in sites.values() if site.dns_server != home))
    return Step(
        id=f"dns/reconcile-{home}",
        run=ReconcileServer(server=home, sources=others),
        why=f"{home} has missed every move of a name since its site was lost",
        timeout_s=60,
        on_failure="halt",
    )


class Coming(NamedTuple):
    """One database that comes home."""

    move: Move
    name: str
    strategy: PostgresqlStandby

    @property
    def home(self) -> str:
        return self.move.new(self.name)

    @property
    def away(self) -> str:
        return self.move.old(self.name)

    @property
    def slot(self) -> str:
        return slot_of(self.move.services[self.name].recovery)

    @property
    def identifier(self) -> str:
        return observed(self.move, self.away).system_identifier

    def step(
        self,
        what: str,
        run: Action,
        why: str,
        needs: tuple[str, ...],
        *,
        undo: Action | None = None,
        gate: Gate | None = None,
        timeout_s: float = 60,
    ) -> Step:
        """Give one step; a failure stops everything."""
        return Step(
            id=f"{self.name}/home-{what}",
            service=self.name,
            run=run,
            why=why,
            needs=needs,
            undo=undo,
            gate=gate,
            timeout_s=timeout_s,
            on_failure="halt",
        )


def _bring_home(one: Coming, before: tuple[str, ...]) -> tuple[Step, ...]:
    """Give the steps from a fenced old primary to a standby that streams from the new one."""
    held = _hold(one, before)
    kept = (_keep(one, held[-1].id),) if _rewinds(one) else ()
    exported = tuple(_export(one, (*held, *kept)[-1].id))
    done = (*held, *kept, *exported)
    look = one.step(
        "held",
        ProveStandby(host=one.home, cluster=one.strategy.cluster, expect_system_identifier=one.identifier),
        f"hours may pass before somebody answers: {one.home} must be held down now",
        tuple(step.id for step in done),
    )
    unblock = one.step(
        "unblock",
        UnblockServer(host=one.home),
        f"{one.home} cannot serve as a primary any more, and its own writes are exported",
        (*(step.id for step in done), look.id),
        undo=BlockServer(host=one.home),
        gate=_gate(one),
    )
    # Not before the question: a slot that nobody reads for hours may keep more than its primary allows.
    slot = one.step(
        "slot",
        MakeSlot(host=one.away, cluster=one.strategy.cluster, slot=one.slot),
        f"{one.away} keeps what {one.home} will read",
        (unblock.id,),
        undo=DropSlot(host=one.away, cluster=one.strategy.cluster, slot=one.slot, end_reader=True),
    )
    rebuild = _rebuild(one, (unblock.id, slot.id))
    return (*done, look, unblock, slot, rebuild, *_follow(one, rebuild.id, starts=_rewinds(one)))


def _hold(one: Coming, before: tuple[str, ...]) -> tuple[Step, Step]:
    power = one.step(
        "power-on",
        StartFenced(host=one.home),
        f"{one.home} runs behind its network fence: nobody reaches it, it reaches nobody",
        before,
        undo=PowerOffServer(host=one.home),
    )
    hold = one.step(
        "hold-down",
        HoldDown(host=one.home, cluster=one.strategy.cluster, expect_system_identifier=one.identifier),
        f"the database of {one.home} must never serve as a primary again before it follows {one.away}",
        (power.id,),
        timeout_s=120,
    )
    return power, hold


def _keep(one: Coming, needs: str) -> Step:
    keep_s = one.move.switch.keep_s
    return one.step(
        "keep",
        KeepData(host=one.home, cluster=one.strategy.cluster, keep_s=keep_s),
        f"nothing acknowledged is thrown away: the old data stays, for {format_duration(keep_s)} at least",
        (needs,),
        timeout_s=3600,
    )


def _export(one: Coming, needs: str) -> Iterator[Step]:
    """One after the other: each opens the same data."""
    for owner, service in one.move.services.items():
        for probe in service.probes.values():
            if probe.stored_in != one.name or probe.database is None or probe.query is None:
                continue
            step = one.step(
                f"export-{owner}",
                ExportWrites(
                    service=owner,
                    host=one.home,
                    primary=one.away,
                    cluster=one.strategy.cluster,
                    database=probe.database,
                    query=probe.query,
                    rows=probe.rows,
                    references=only_artifact(owner),
                    export=export_artifact(owner),
                ),
                f"what only {one.home} holds of {owner} is somebody's payment or report",
                (needs,),
                timeout_s=900,
            )
            needs = step.id
            yield step


def only_artifact(service: str) -> str:
    """Name of the artifact that lists the writes that only the old primary holds."""
    return f"only-at-home-{service}.txt"


def export_artifact(service: str) -> str:
    """Name of the artifact with their rows."""
    return f"exported-{service}.csv"


def _rebuild(one: Coming, needs: tuple[str, ...]) -> Step:
    where: dict[str, object] = {
        "host": one.home,
        "primary": one.away,
        "cluster": one.strategy.cluster,
        "slot": one.slot,
        "expect_system_identifier": one.identifier,
    }
    copy = {**where, "keep_s": one.move.switch.keep_s}
    run: Action = Rewind.model_validate(where) if _rewinds(one) else CloneStandby.model_validate(copy)
    why = f"{one.home} becomes the same as {one.away}, {_how(one)}"
    return one.step("rebuild", run, why, needs, timeout_s=7200)


def _rewinds(one: Coming) -> bool:
    return one.move.switch.rebuild == "rewind"


def _how(one: Coming) -> str:
    return "rewound by pg_rewind" if _rewinds(one) else "copied anew by pg_basebackup"


def _gate(one: Coming) -> Gate:
    """Ask before anything of the old data goes, while its fence is in force."""
    return Gate(
        role=one.move.plan.overrides[1],
        ask=f"The database of {one.home} will be {_how(one)} from {one.away}: what only it holds goes from "
        "its data. The old data is kept and the writes are exported. Go on?",
    )


def _follow(one: Coming, rebuilt: str, *, starts: bool) -> Iterator[Step]:
    """A standby that streams; only then its fence is released wholly. A copied one runs already."""
    follow = Follow(
        host=one.home,
        primary=one.away,
        cluster=one.strategy.cluster,
        expect_system_identifier=one.identifier,
        slot=one.slot,
    )
    if starts:
        yield one.step("follow", follow, f"{one.home} reads from {one.away} what it missed", (rebuilt,))
        rebuilt = f"{one.name}/home-follow"
    streams = await_streaming(one.move, one.name, primary=one.away, standby=one.home)
    yield one.step("streams", streams, "a standby counts once it streams", (rebuilt,), timeout_s=900)
    yield one.step(
        "release",
        ReleaseServer(host=one.home),
        f"{one.home} is a good standby: it comes back with the power again",
        (f"{one.name}/home-streams",),
    )
