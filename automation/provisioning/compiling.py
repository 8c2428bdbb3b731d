"""Turn decisions on servers and networks of providers into the steps of one plan. Pure.

Networks come before the servers in them. A server that is new is reached over SSH by the key that its
provider's own channel told, never by the one that answered first.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from automation.model.actions import Action, AwaitReady, PowerOffServer, ReleaseServer
from automation.model.actions.lab import DestroyServer
from automation.model.actions.servers import (
    ChangeInstance,
    ChangePortGroup,
    ChangeSubnet,
    ChangeVm,
    CreateInstance,
    CreatePortGroup,
    CreateSubnet,
    CreateVm,
    DestroyVm,
    LearnInstanceKey,
    LearnVmKey,
    PowerOnVm,
    ShutDownVm,
    StartInstance,
    StopInstance,
    TerminateInstance,
)
from automation.model.environment import Environment
from automation.model.plan import Gate, Limits, Step
from automation.model.providers import AwsProvider, Provider
from automation.model.servers import FoundServer, NetworkSpec, ServerSpec
from automation.model.simulators import AwsSimulator, VcenterSimulator
from automation.provisioning.decisions import Decision, Declared, Verdict

# A clone of a large template, or an instance whose image is cold; of all attempts together.
CREATE_TIMEOUT_S = 1800.0
CHANGE_TIMEOUT_S = 1800.0
NETWORK_TIMEOUT_S = 300.0
POWER_TIMEOUT_S = 600.0
# cloud-init makes the host keys in the first boot, and a console's output comes minutes later.
KEY_TIMEOUT_S = 900.0
READY_TIMEOUT_S = 600.0
RETRIES = 3
# A snapshot of vSphere goes with its VM, so there the disks themselves are kept.
STAYS: Mapping[str, str] = {
    "aws": "snapshots of its disks stay",
    "vsphere": "its disks stay, moved aside in their datastore",
    "nspawn": "its disk stays until lab.down",
}
# What a plan does by itself; everything else waits for a person, or is nobody's to do.
DONE: frozenset[Verdict] = frozenset({"create", "start", "trust", "change"})


class Allowed(NamedTuple):
    """What a person named on the command line, and which servers a plan is limited to."""

    restart: frozenset[str] = frozenset()
    replace: frozenset[str] = frozenset()
    only: frozenset[str] | None = None

    def takes(self, decision: Decision) -> bool:
        """Whether a decision is carried out, as far as it lies with a person."""
        if decision.what == "server" and self.only is not None and decision.name not in self.only:
            return False
        if decision.verdict == "restart":
            return decision.name in self.restart or bool(decision.changes("change"))
        if decision.verdict == "replace":
            return decision.what == "server" and decision.name in self.replace
        return decision.verdict in DONE

    def leaves(self, decision: Decision) -> bool:
        """Whether something of a decision waits for a person."""
        if decision.what == "server" and self.only is not None and decision.name not in self.only:
            return False
        if decision.verdict == "restart":
            return decision.name not in self.restart
        return decision.verdict in ("replace", "adopt", "foreign") and not self.takes(decision)


class Words(NamedTuple):
    """The actions of one kind of provider."""

    create: type[CreateInstance] | type[CreateVm]
    change: type[ChangeInstance] | type[ChangeVm]
    start: type[StartInstance] | type[PowerOnVm]
    stop: type[StopInstance] | type[ShutDownVm]
    delete: type[TerminateInstance] | type[DestroyVm]
    learn_key: type[LearnInstanceKey] | type[LearnVmKey]
    create_network: type[CreateSubnet] | type[CreatePortGroup]
    change_network: type[ChangeSubnet] | type[ChangePortGroup]


WORDS: Mapping[str, Words] = {
    "aws": Words(
        CreateInstance,
        ChangeInstance,
        StartInstance,
        StopInstance,
        TerminateInstance,
        LearnInstanceKey,
        CreateSubnet,
        ChangeSubnet,
    ),
    "vsphere": Words(
        CreateVm,
        ChangeVm,
        PowerOnVm,
        ShutDownVm,
        DestroyVm,
        LearnVmKey,
        CreatePortGroup,
        ChangePortGroup,
    ),
}


def compile_steps(
    declared: Declared,
    decisions: Iterable[Decision],
    allowed: Allowed,
    waits_for: Callable[[str, str], tuple[str, ...]] = lambda provider, site: (),
) -> tuple[Step, ...]:
    """Give the steps that carry decisions out, as far as they are allowed; none for what stays as it is.

    Args:
        waits_for: steps that must have succeeded before a provider at a site answers.
    """
    taken = [one for one in decisions if allowed.takes(one)]
    wanted = _networks_of(declared, taken, allowed)
    made = {one.name: one for one in taken if one.what == "network" and one.name in wanted}
    new = frozenset(name for name, one in made.items() if one.verdict == "create")
    steps = [
        step
        for name, one in made.items()
        for step in _network_steps(declared.networks[name], one, new, waits_for)
    ]
    for decision in taken:
        if decision.what == "server":
            spec = declared.servers[decision.name]
            before = tuple(f"network/{name}" for name in spec.networks if name in made)
            needs = (*waits_for(spec.provider, spec.site), *before)
            steps += _server_steps(declared, spec, decision, allowed, needs)
    return tuple(steps)


def _networks_of(declared: Declared, taken: Collection[Decision], allowed: Allowed) -> frozenset[str]:
    """The networks that a plan sees to: all, or those of the servers that it is limited to."""
    if allowed.only is None:
        return frozenset(declared.networks)
    servers = (declared.servers[one.name] for one in taken if one.what == "server")
    direct = {name for spec in servers for name in spec.networks}
    sources = {
        rule.source for name in direct if name in declared.networks for rule in declared.networks[name].rules
    }
    return frozenset(direct | (sources & declared.networks.keys()))


def _network_steps(
    spec: NetworkSpec,
    decision: Decision,
    new: frozenset[str],
    waits_for: Callable[[str, str], tuple[str, ...]],
) -> Iterator[Step]:
    """Make or change a network; rules that name another new network follow once both are there."""
    words, needs = WORDS[spec.provider], waits_for(spec.provider, spec.site)
    later = frozenset(rule.source for rule in spec.rules) & (new - {spec.name})
    if decision.verdict == "change":
        change = words.change_network(network=spec, changes=decision.changes("change"))
        awaited = tuple(f"network/{name}" for name in sorted(later))
        yield _network_step("network", spec, change, decision.why, (*needs, *awaited))
        return
    first = tuple(rule for rule in spec.rules if rule.source not in later)
    create = words.create_network(network=spec.model_copy(update={"rules": first}))
    yield _network_step("network", spec, create, decision.why, needs)
    if later:
        why = f"its rules name {', '.join(sorted(later))}"
        awaited = tuple(f"network/{name}" for name in sorted({spec.name, *later}))
        rules = words.change_network(network=spec, changes=("rules",))
        yield _network_step("rules", spec, rules, why, awaited)


def _network_step(verb: str, spec: NetworkSpec, run: Action, why: str, needs: tuple[str, ...]) -> Step:
    return Step(
        id=f"{verb}/{spec.name}",
        run=run,
        why=why,
        needs=needs,
        timeout_s=NETWORK_TIMEOUT_S,
        retries=RETRIES,
    )


def _server_steps(
    declared: Declared, spec: ServerSpec, decision: Decision, allowed: Allowed, needs: tuple[str, ...]
) -> Iterator[Step]:
    words, host, site = WORDS[spec.provider], spec.name, spec.site
    last, is_new = needs, decision.verdict in ("create", "replace")
    if decision.verdict == "replace":
        removal = tuple(
            remove_steps(decision, keep_snapshot=True, ask=f"Replace {spec.name}? {decision.why}")
        )
        yield from (step if step.needs else step.model_copy(update={"needs": last}) for step in removal)
        last = (*needs, removal[-1].id)
    if is_new:
        run: Action = words.create(spec=spec, host=host, site=site)
        yield _step("create", spec, run, decision.why, last, CREATE_TIMEOUT_S)
        last = (f"create/{spec.name}",)
    stands = decision.verdict == "start" or spec.name in allowed.restart
    changes = decision.changes("change", *(("restart",) if stands else ()))
    if changes and not is_new:
        run = words.change(spec=spec, changes=changes, restart=stands, host=host, site=site)
        yield _step("change", spec, run, decision.why, last, CHANGE_TIMEOUT_S)
        last = (f"change/{spec.name}",)
    if decision.verdict == "start":
        yield _step("start", spec, words.start(host=host, site=site), decision.why, last, POWER_TIMEOUT_S)
        last = (f"start/{spec.name}",)
    if declared.reachable(spec):
        yield from _reached(declared, spec, last, is_new=is_new, restarted=stands)


def _reached(
    declared: Declared, spec: ServerSpec, last: tuple[str, ...], *, is_new: bool, restarted: bool
) -> Iterator[Step]:
    unknown = declared.trusted is not None and spec.name not in declared.trusted
    if is_new or unknown:
        run = WORDS[spec.provider].learn_key(host=spec.name, site=spec.site)
        why = "its key comes by the provider's channel, not from whoever answers first"
        yield _step("key", spec, run, why, last, KEY_TIMEOUT_S)
        last = (f"key/{spec.name}",)
    if is_new or unknown or restarted:
        why = "up is what answers over SSH"
        yield _step("ready", spec, AwaitReady(host=spec.name), why, last, READY_TIMEOUT_S, retries=0)


def stop_of(decision: Decision) -> Action:
    """Give the action that stops a server, and keeps it off."""
    if decision.provider == "nspawn":
        return PowerOffServer(host=decision.name)
    return WORDS[decision.provider].stop(host=decision.name, site=decision.site)


def start_of(decision: Decision) -> Action:
    """Give the action that starts a server again that was stopped so."""
    if decision.provider == "nspawn":
        return ReleaseServer(host=decision.name)
    return WORDS[decision.provider].start(host=decision.name, site=decision.site)


def _delete_of(decision: Decision, *, keep_snapshot: bool) -> Action:
    host, site = decision.name, decision.site
    if decision.provider == "nspawn":
        addresses = decision.found.addresses if isinstance(decision.found, FoundServer) else ()
        return DestroyServer(host=host, site=site, address="".join(addresses[:1]))
    return WORDS[decision.provider].delete(id=decision.id, keep_snapshot=keep_snapshot, host=host, site=site)


def what_stays(provider: str) -> str:
    """Say what of a server is there after it is deleted."""
    return STAYS[provider]


def remove_steps(decision: Decision, *, keep_snapshot: bool, ask: str) -> Iterator[Step]:
    """Stop a server of ours, then delete the very one that was seen; a person says yes to that."""
    yield Step(
        id=f"stop/{decision.name}",
        run=stop_of(decision),
        why="what is deleted is stopped first",
        timeout_s=POWER_TIMEOUT_S,
        retries=RETRIES,
    )
    yield Step(
        id=f"delete/{decision.name}",
        run=_delete_of(decision, keep_snapshot=keep_snapshot),
        why=f"{decision.id}; {what_stays(decision.provider)}",
        needs=(f"stop/{decision.name}",),
        gate=Gate(role="sysadmin", ask=ask),
        timeout_s=CHANGE_TIMEOUT_S,
    )


def _step(
    verb: str,
    spec: ServerSpec,
    run: Action,
    why: str,
    needs: tuple[str, ...],
    timeout_s: float,
    retries: int = RETRIES,
) -> Step:
    return Step(id=f"{verb}/{spec.name}", run=run, why=why, needs=needs, timeout_s=timeout_s, retries=retries)


# --- what of an environment's providers is a lab's simulator ----------------------------------------


def limits_of(environment: Environment) -> Limits:
    """Give how many steps may run at once: of each provider what environment.yml says."""
    known = environment.providers.values()
    per_provider = {f"{one.kind}@{one.site}": one.limits.at_once for one in known}
    return Limits(total=max(Limits().total, sum(per_provider.values())), per_provider=per_provider)


def simulator_of(environment: Environment, provider: Provider) -> str:
    """Name the lab's simulator that stands for a provider; empty: it is real."""
    known = environment.lab.simulators.items() if environment.lab else ()
    return next((name for name, one in known if _stands_for(one, provider)), "")


def _stands_for(simulator: object, provider: Provider) -> bool:
    if isinstance(provider, AwsProvider):
        host = provider.endpoint.removeprefix("https://").partition("/")[0].partition(":")[0]
        if not isinstance(simulator, AwsSimulator):
            return False
        return host in (simulator.name, *simulator.places.values())
    if not isinstance(simulator, VcenterSimulator):
        return False
    return bool({provider.address, provider.connect_to} & {simulator.name, simulator.address})


def answers_over_ssh(environment: Environment, spec: ServerSpec) -> bool:
    """Whether a host stands behind a server: behind a simulated one only if the lab powers it."""
    provider = environment.provider(spec.provider, spec.site)
    name = simulator_of(environment, provider)
    if not name or environment.lab is None:
        return True
    simulator = environment.lab.simulators[name]
    if isinstance(simulator, AwsSimulator) and isinstance(provider, AwsProvider):
        return f"{provider.region}/{spec.name}" in simulator.powers
    return isinstance(simulator, VcenterSimulator) and spec.name in simulator.powers
