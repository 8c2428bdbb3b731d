"""Plan what a baseline does to hosts, accounts and vCenters. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from automation.baseline.enforcement import Enforced
from automation.baseline.settings import Baseline
from automation.model.actions import (
    AwaitWell,
    CollectAccountFacts,
    CollectFacts,
    CollectVcenterFacts,
    CollectWitness,
    EnforceAccount,
    EnforceSettings,
    EnforceVcenter,
    ExpectFacts,
    Probe,
    StartWitness,
    UndoAccount,
    UndoSettings,
    UndoVcenter,
)
from automation.model.host_settings import may_lock_out
from automation.model.plan import Limits, Plan, Step
from automation.model.provider_settings import SavedCall

AUDIT, ENFORCE, UNDO = "baseline-audit", "baseline-enforce", "baseline-undo"
COLLECTING_S = 90.0
ENFORCING_S = 240.0
READING_S = 300.0
CALLING_S = 600.0
PROBING_S = 60.0
# The walk over disks is cut short at once where nothing that counts was found by it.
NO_WALK_S = 0.1
# Ansible runs on the control node, in a process of its own for each host.
LIMITS = Limits(per_provider={"ansible": 4})


class Subjects(NamedTuple):
    """Whose facts are collected: hosts by name, accounts by number, vCenters by their providers' names."""

    hosts: Sequence[str] = ()
    accounts: Sequence[str] = ()
    vcenters: Sequence[str] = ()


class Watch(NamedTuple):
    """Where services are looked at from while hosts are changed, and by which probes."""

    host: str
    probes: tuple[Probe, ...]
    beat_s: float
    timeout_s: float
    sustained: int


class Beside(NamedTuple):
    """What must not happen while a subject is changed: backups of it, or recoveries of its servers."""

    resources: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()


class Enforcing(NamedTuple):
    """What is changed on whom, in which order; hosts of other waves are not among them."""

    enforced: Mapping[str, Enforced]
    waves: Sequence[Sequence[str]]
    watch: Watch | None = None
    beside: Mapping[str, Beside] = {}


def plan_audit(environment: str, subjects: Subjects, walk_s: float) -> Plan:
    """Collect facts, each subject's in a step of its own; one that is away costs no other."""
    steps = (
        *(_collect(host, walk_s) for host in subjects.hosts),
        *(_read_account(account) for account in subjects.accounts),
        *(_read_vcenter(vcenter) for vcenter in subjects.vcenters),
    )
    return Plan(name=AUDIT, environment=environment, mode="apply", steps=steps)


def plan_enforcement(environment: str, enforcing: Enforcing, settings: Baseline) -> Plan:
    """Change subjects wave after wave; services are well before each of them, and after the last.

    A subject whose facts have moved since is not changed; where one cannot be changed, no later wave begins.
    """
    steps: list[Step] = []
    before, watch = _Before(), enforcing.watch
    if watch:
        steps.append(_start(watch))
        before = _Before(needs=(steps[-1].id,))
    for number, wave in enumerate(enforcing.waves, 1):
        if watch:
            steps.append(_well(f"wave-{number}/well", watch, before))
            before = _Before(needs=(steps[-1].id,))
        own = [step for name in wave for step in _of_subject(enforcing, name, settings, before)]
        steps += own
        before = _Before(after=tuple(step.id for step in own))
    if watch:
        steps += [_well("all/well", watch, before), _stop(watch, steps[0].id)]
    return Plan(
        name=ENFORCE,
        environment=environment,
        mode="apply",
        steps=tuple(steps),
        limits=LIMITS,
        approvals=settings.approvals,
    )


class Undoing(NamedTuple):
    """What one step of an earlier run is taken back by; in the order in which that ran."""

    hosts: Sequence[str] = ()
    accounts: Mapping[str, tuple[SavedCall, ...]] = {}
    vcenters: Mapping[str, tuple[SavedCall, ...]] = {}
    beside: Mapping[str, Beside] = {}


def plan_undo(
    environment: str, change: str, undoing: Undoing, edited: Collection[str], walk_s: float
) -> Plan:
    """Take back what a run changed, the last first; facts are collected afterwards.

    Args:
        edited: files that are restored though somebody edited them since.
    """
    undos = list(_undos(change, undoing, tuple(sorted(edited))))
    chained = [
        step.model_copy(update={"after": (undos[number - 1].id,) if number else ()})
        for number, step in enumerate(undos)
    ]
    facts = (
        *(_collect(host, walk_s) for host in undoing.hosts),
        *(_read_account(account) for account in undoing.accounts),
        *(_read_vcenter(vcenter) for vcenter in undoing.vcenters),
    )
    after = [step.model_copy(update={"needs": (step.id.replace("/facts", "/undo"),)}) for step in facts]
    return Plan(name=UNDO, environment=environment, mode="apply", steps=(*chained, *after), limits=LIMITS)


# --- steps -----------------------------------------------------------------------------------------


def _collect(host: str, walk_s: float) -> Step:
    return Step(
        id=f"{host}/facts",
        run=CollectFacts(host=host, walk_s=walk_s),
        why="controls are judged by what is in effect on the host",
        timeout_s=COLLECTING_S + walk_s,
        on_failure="continue",
    )


def _read_account(account: str) -> Step:
    return Step(
        id=f"{account}/facts",
        run=CollectAccountFacts(account=account),
        why="controls are judged by what the account says of itself",
        timeout_s=READING_S,
        on_failure="continue",
    )


def _read_vcenter(vcenter: str) -> Step:
    return Step(
        id=f"{vcenter}/facts",
        run=CollectVcenterFacts(vcenter=vcenter),
        why="controls are judged by what vCenter says of itself and its hosts",
        timeout_s=READING_S,
        on_failure="continue",
    )


class _Before(NamedTuple):
    """What a step waits for: what must have succeeded, and what must only have ended."""

    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def _of_subject(enforcing: Enforcing, name: str, settings: Baseline, before: _Before) -> tuple[Step, ...]:
    """Give the steps of one subject: it is as it was planned from, it is changed, it is looked at again."""
    one, beside = enforcing.enforced[name], enforcing.beside.get(name, Beside())
    match one.platform:
        case "linux":
            expect = _expect(one, settings.walk_s, before)
            switch_s = settings.switch_s if _may_lock_out(one) else 0.0
            run = EnforceSettings(
                host=name, settings=one.settings, switch_s=switch_s, resources=beside.resources
            )
            ready = _Before(needs=(*before.needs, expect.id))  # both are looked at again by a resumed run
            change = _change(one, run, ENFORCING_S + 2 * switch_s, ready)
            return (expect, change, _again(_collect(name, settings.walk_s), change.id))
        case "aws":
            call = EnforceAccount(account=name, calls=one.calls, servers_there=beside.servers)
            change = _change(one, call, CALLING_S, before)
            return (change, _again(_read_account(name), change.id))
        case "vsphere":
            made = EnforceVcenter(vcenter=name, calls=one.calls, servers_there=beside.servers)
            change = _change(one, made, CALLING_S, before)
            return (change, _again(_read_vcenter(name), change.id))


def _may_lock_out(one: Enforced) -> bool:
    """Whether a host would refuse it without a switch, whatever risk its controls say."""
    return "R2" in one.risks or any(may_lock_out(wanted.setting) for wanted in one.settings)


def _expect(one: Enforced, walk_s: float, before: _Before) -> Step:
    walks = any("tree" in fact for fact in one.expected)
    run = ExpectFacts(host=one.subject, walk_s=walk_s if walks else NO_WALK_S, expected=one.expected)
    return Step(
        id=f"{one.subject}/expect",
        run=run,
        why="what it was planned from is still so",
        needs=before.needs,
        after=before.after,
        timeout_s=COLLECTING_S + run.walk_s,
    )


def _change(
    one: Enforced, run: EnforceSettings | EnforceAccount | EnforceVcenter, limit_s: float, before: _Before
) -> Step:
    said = f"; a person answered for {', '.join(one.accepted)}" if one.accepted else ""
    return Step(
        id=f"{one.subject}/enforce",
        run=run,
        why=f"{len(one.controls)} controls do not hold{said}",
        needs=before.needs,
        after=before.after,
        timeout_s=limit_s,
        on_failure="halt",
    )


def _again(step: Step, change: str) -> Step:
    """Look at what came of a change; one who answers no more since has others spared."""
    return step.model_copy(
        update={"needs": (change,), "why": "what came of it is judged", "on_failure": "halt"}
    )


def _undos(change: str, undoing: Undoing, edited: tuple[str, ...]) -> Iterator[Step]:
    def there(name: str) -> Beside:
        return undoing.beside.get(name, Beside())

    for name, saved in undoing.accounts.items():
        yield _undo(name, UndoAccount(account=name, saved=saved, servers_there=there(name).servers))
    for name, saved in undoing.vcenters.items():
        yield _undo(name, UndoVcenter(vcenter=name, saved=saved, servers_there=there(name).servers))
    for host in reversed(undoing.hosts):
        resources = there(host).resources
        yield _undo(host, UndoSettings(host=host, change=change, edited=edited, resources=resources))


def _undo(name: str, run: UndoSettings | UndoAccount | UndoVcenter) -> Step:
    return Step(
        id=f"{name}/undo", run=run, why="somebody wants it as it was", timeout_s=CALLING_S, on_failure="halt"
    )


def _start(watch: Watch) -> Step:
    run = StartWitness(host=watch.host, probes=watch.probes, beat_s=watch.beat_s, timeout_s=watch.timeout_s)
    return Step(
        id="watch/start", run=run, why="whether services stay well is seen by clients", on_failure="halt"
    )


def _well(name: str, watch: Watch, before: _Before) -> Step:
    return Step(
        id=name,
        run=AwaitWell(host=watch.host, probes=tuple(one.id for one in watch.probes), count=watch.sustained),
        why="no host is changed while a service is not well",
        needs=before.needs,
        after=before.after,
        timeout_s=PROBING_S,
        on_failure="halt",
    )


def _stop(watch: Watch, started: str) -> Step:
    return Step(
        id="watch/collect",
        run=CollectWitness(host=watch.host),
        why="what clients saw is kept",
        needs=(started,),
        after=("all/well",),
        timeout_s=120.0,
        on_failure="continue",
        cleanup=True,
    )
