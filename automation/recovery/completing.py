"""What a recovery plan adds to the compiled steps: its gates, its own steps, its limits. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain
from typing import NamedTuple

from pydantic import ValidationError

from automation.model.actions import (
    Action,
    Confirm,
    RunPlaybook,
)
from automation.model.catalog import Service
from automation.model.environment import Inventory
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Gate, Mode, Plan, Step
from automation.recovery.kinds import FENCE, NAMES, PROMOTE
from automation.recovery.patience import with_retries
from automation.recovery.spec import PlanGate, PlanLimits, PlanStep, RecoveryPlan
from automation.recovery.strategies.scope import cutover_ids

KINDS = ("fence", "promote", "names")
CONTROL_NODE = "localhost"


class Draft(NamedTuple):
    """Compiled steps, and what they are for."""

    name: str
    environment: str
    mode: Mode
    steps: tuple[Step, ...]
    services: Mapping[str, Service]
    declared: str


def complete(draft: Draft, recovery: RecoveryPlan, known: Collection[str], inventory: Inventory) -> Plan:
    """Make the plan: the draft's steps with the gates, steps, limits and approvals of a recovery plan.

    Args:
        known: every service of the catalog; one that this plan does not recover stands already.

    Raises:
        ConfigError: a gate or a step names what is not there, or steps wait for each other.
        PreflightError: more hosts than allowed would be changed, or one that never may be.
    """
    try:
        plan = Plan(
            name=draft.name,
            environment=draft.environment,
            mode=draft.mode,
            steps=with_retries(_Weaving(draft, known).weave(recovery)),
            limits=recovery.limits.at_once,
            tiers={name: service.tier for name, service in draft.services.items()},
            approvals=recovery.rule(draft.mode),
        )
    except ValidationError as exc:
        said = "; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())
        raise ConfigError(f"{draft.name} cannot be planned: {said}; nothing was touched") from exc
    refuse_beyond(plan, recovery.limits, inventory)
    return plan


# --- gates and steps -------------------------------------------------------------------------------


class _Weaving:
    """The draft's steps while a recovery plan's own are put among them."""

    def __init__(self, draft: Draft, known: Collection[str]) -> None:
        self.draft, self.known = draft, known
        self.steps = {step.id: step for step in draft.steps}

    def weave(self, recovery: RecoveryPlan) -> tuple[Step, ...]:
        """Give all steps; the plan's own stand after those of the strategies."""
        mode = self.draft.mode
        own = [step for step in recovery.steps if not step.modes or mode in step.modes]
        if twice := {step.id for step in own if step.id in self.steps}:
            raise self._wrong(f"step {min(twice)!r} stands in the plan already", "give it another id")
        if taken := {step.id for step in own if step.id in KINDS or step.id.startswith("gate/")}:
            raise self._wrong(f"step {min(taken)!r} has an id that gates use", "give it another id")
        ids = {*self.steps, *(step.id for step in own)}
        self.steps |= {step.id: self._own(step, ids) for step in own}
        for step in own:
            for target in step.before:
                self._hold_back(self._targets(target, f"step {step.id}"), step.id)
        gates = [gate for gate in recovery.gates if not gate.modes or mode in gate.modes]
        for number, gate in enumerate(gates, start=1):
            self._add_gate(number, gate)
        return tuple(self.steps.values())

    def _own(self, step: PlanStep, ids: Collection[str]) -> Step:
        needs = tuple(chain.from_iterable(self._waited_for(name, step.id, ids) for name in step.needs))
        after = tuple(
            chain.from_iterable(
                self._waited_for(name, step.id, ids)
                for name in step.after
                if name in ids or name in self.draft.services
            )
        )
        return Step(
            id=step.id,
            run=step.run,
            why=step.why,
            service=step.service,
            needs=needs or (self.draft.declared,),
            after=after,
            timeout_s=step.timeout_s,
            on_failure=step.on_failure,
            undo=step.undo,
            gate=step.gate,
            retries=step.retries,
        )

    def _waited_for(self, name: str, step: str, ids: Collection[str]) -> tuple[str, ...]:
        if name in ids:
            return (name,)
        if name in self.draft.services:
            return cutover_ids(name, self.draft.services[name])
        if name in self.known:
            return ()
        raise self._wrong(
            f"step {step!r} needs {name!r}, which is neither a step in mode {self.draft.mode} nor a service",
            "dr.plan shows the ids of all steps; `modes` of a step says when it is there",
        )

    def _add_gate(self, number: int, gate: PlanGate) -> None:
        targets = self._targets(gate.before, f"gate {number}")
        if not targets:
            return
        held = self._follow(targets)
        needs = dict.fromkeys(need for name in targets for need in self.steps[name].needs if need not in held)
        step_id = gate_id(number, gate)
        self.steps[step_id] = Step(
            id=step_id,
            run=Confirm(of="decision", task=gate.ask),
            why=f"{gate.role} decides before {gate.before}",
            needs=(*needs,) or (self.draft.declared,),
            gate=Gate(role=gate.role, ask=gate.ask),
        )
        self._hold_back(targets, step_id)

    def _hold_back(self, targets: Iterable[str], until: str) -> None:
        for name in targets:
            step = self.steps[name]
            self.steps[name] = step.model_copy(update={"needs": (*step.needs, until)})

    def _targets(self, before: str, whose: str) -> tuple[str, ...]:
        """The steps that something of the plan stands before; none for a service that is not recovered."""
        if before in KINDS:  # first: a service that is called so takes no gate away
            return tuple(step.id for step in self.steps.values() if kind_of(step) == before)
        if before in self.steps:
            return (before,)
        if before in self.draft.services:
            own = [name for name in self.steps if name.startswith(f"{before}/")]
            return tuple(name for name in own if not {*own} & {*self.steps[name].needs})
        if before in self.known:
            return ()
        raise self._wrong(
            f"{whose} stands before {before!r}, which is neither a service, nor a step in mode "
            f"{self.draft.mode}, nor one of {', '.join(KINDS)}",
            "`modes` of a gate says when it is there",
        )

    def _follow(self, names: Iterable[str]) -> set[str]:
        """Steps, and all that waits for them, directly or not."""
        followers: dict[str, list[str]] = defaultdict(list)
        for step in self.steps.values():
            for name in (*step.needs, *step.after):
                followers[name].append(step.id)
        found: set[str] = set()
        open_ = list(names)
        while open_:
            name = open_.pop()
            if name not in found:
                found.add(name)
                open_ += followers[name]
        return found

    def _wrong(self, what: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.draft.name}: {what}; nothing was touched", hint=hint)


def gate_id(number: int, gate: PlanGate) -> str:
    """Name the step of the n-th gate of a mode."""
    return f"gate/{number}-{gate.before.replace('/', '-')}"


def kind_of(step: Step) -> str:
    """What a step does in a recovery, in the word that gates use; empty for all else."""
    if isinstance(step.run, PROMOTE):
        return "promote"
    if isinstance(step.run, NAMES):
        return "names"
    own = isinstance(step.run, RunPlaybook) and step.id == f"{step.service}/fence"
    return "fence" if own or isinstance(step.run, FENCE) else ""


# --- the most that a run may touch -----------------------------------------------------------------


def refuse_beyond(plan: Plan, limits: PlanLimits, inventory: Inventory) -> None:
    """See that a plan changes no more hosts than it may, and none that it never may.

    Raises:
        PreflightError: names the hosts.
    """
    hosts = list_touched(plan, inventory)
    if denied := [host for host in hosts if any(fnmatchcase(host, glob) for glob in limits.deny)]:
        raise PreflightError(
            f"{plan.name} would change {', '.join(denied)}, which its limits deny; nothing was changed",
            hint="leave out the service that stands there, or change `limits: deny` of the plan",
        )
    if limits.max_hosts is not None and len(hosts) > limits.max_hosts:
        raise PreflightError(
            f"{plan.name} would change {len(hosts)} hosts, {limits.max_hosts} are allowed: "
            f"{_few(hosts)}; nothing was changed",
            hint="choose fewer services, or change `limits: max_hosts` of the plan",
        )


def list_touched(plan: Plan, inventory: Inventory) -> list[str]:
    """Name every host that a plan may change, sorted; name servers and the witness's host are among them."""
    found: set[str] = set()
    for step in plan.steps:
        for action in (step.run,) if step.undo is None else (step.run, step.undo):
            if action.effect in ("change", "destroy"):
                found |= {*_hosts(action, inventory)}
    return sorted(found)


def _hosts(action: Action, inventory: Inventory) -> Iterator[str]:
    if isinstance(action, RunPlaybook):
        limit = [word for word in (action.limit or "").split(",") if word not in ("", CONTROL_NODE)]
        if limit or action.limit is None:
            yield from inventory.covered(",".join(limit) or None)
        return
    for name in ("host", "server"):
        host = getattr(action, name, None)
        if isinstance(host, str):
            yield host
    yield from getattr(action, "servers", ())


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
