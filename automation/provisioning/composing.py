"""One plan for an environment: its lab's hosts, and the servers of every provider. Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial

from pydantic import Field

from automation.model.actions import MakeKeys
from automation.model.base import Model
from automation.model.environment import Environment, Inventory
from automation.model.plan import Limits, Plan, Step
from automation.model.servers import NetworkSpec, ProviderView
from automation.provisioning.compiling import (
    Allowed,
    answers_over_ssh,
    compile_steps,
    limits_of,
    simulator_of,
)
from automation.provisioning.decisions import Decision, Declared, decide
from automation.provisioning.planner import Provisioning
from automation.provisioning.preflight import Finding, find_dead_ends, find_gaps, find_obstacles

_KEYS = Step(id="keys", run=MakeKeys(secrets=()), why="new servers let in the key of the automation user")


class Wanted(Model):
    """What provisioning would do, what it leaves to people, and what stands against it."""

    environment: str
    plan: Plan
    decisions: tuple[Decision, ...] = ()
    waiting: tuple[Decision, ...] = Field(
        default=(), description="for a person: not done unless its server is named, or not ours to do"
    )
    left_alone: Mapping[str, str] = Field(default_factory=dict, description="server to why")
    obstacles: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    unseen: Mapping[str, str] = Field(
        default_factory=dict, description="provider that could not be looked at, to why"
    )
    round_trips: Mapping[str, int] = Field(default_factory=dict, description="provider to calls it took")


class Seen(Model):
    """What was looked at before a plan: providers, those that did not answer, hosts that are saved."""

    views: tuple[ProviderView, ...] = ()
    unseen: Mapping[str, str] = Field(default_factory=dict)
    saved: frozenset[str] = frozenset()
    no_baseline: str = Field(default="", description="why no server is held to a baseline")
    keyless: bool = Field(default=False, description="there is no key yet that new servers could let in")
    assumed: frozenset[tuple[str, str]] = Field(
        default=frozenset(), description="kind and site of those taken for empty, as they do not run yet"
    )


def compose(
    environment: Environment, declared: Declared, lab: Provisioning | None, seen: Seen, allowed: Allowed
) -> Wanted:
    """Put the steps of the lab and of all providers into one plan."""
    decisions = decide(declared, seen.views)
    first = lab.plan.steps if lab else (_KEYS,) if seen.keyless and _creates(decisions, allowed) else ()
    names = {step.id for step in first}

    def waits_for(kind: str, site: str) -> tuple[str, ...]:
        simulator = simulator_of(environment, environment.provider(kind, site))
        return tuple(name for name in (_KEYS.id, f"simulator/{simulator}") if name in names)

    steps = compile_steps(declared, decisions, allowed, waits_for)
    everything = (*(lab.decisions if lab else ()), *decisions)
    looked_at = [view for view in seen.views if (view.provider, view.site) not in seen.assumed]
    plan = Plan(
        name="provision",
        environment=environment.name,
        mode="apply",
        steps=(*first, *steps),
        limits=limits_of(environment) if steps else Limits(),
    )
    return Wanted(
        environment=environment.name,
        plan=plan,
        decisions=everything,
        waiting=tuple(one for one in everything if allowed.leaves(one)),
        left_alone=lab.left_alone if lab else {},
        obstacles=find_obstacles(environment, declared.servers, decisions, looked_at, allowed),
        warnings=(
            *find_gaps(declared.servers.values(), seen.saved, seen.no_baseline, decisions),
            *find_dead_ends(declared.networks.values(), looked_at, decisions),
        ),
        unseen=seen.unseen,
        round_trips={f"{view.provider} at {view.site}": view.round_trips for view in looked_at},
    )


def _creates(decisions: Iterable[Decision], allowed: Allowed) -> bool:
    new = ("create", "replace")
    return any(one.what == "server" and one.verdict in new and allowed.takes(one) for one in decisions)


def take_for_empty(place: tuple[str, str], now: datetime) -> ProviderView:
    """Give the view of a simulator that does not run yet, as if nothing were there.

    Whatever is there is found by the steps, which look before they make anything.
    """
    kind, site = place
    return ProviderView.model_validate({"provider": kind, "site": site, "at": now, "source": "simulated"})


def declare(environment: Environment, inventory: Inventory, networks: Mapping[str, NetworkSpec]) -> Declared:
    """Give what an environment declares of its providers' servers; those on demand are a drill's."""
    ours = {name: spec for name, spec in inventory.specs.items() if spec.provider != "nspawn"}
    standing = {name: spec for name, spec in ours.items() if name in inventory.standing}
    return Declared(
        environment=environment.name,
        servers=standing,
        networks={name: one for name, one in networks.items() if one.provider != "nspawn"},
        on_demand=frozenset(ours.keys() - standing.keys()),
        reachable=partial(answers_over_ssh, environment),
    )


def places_of(declared: Declared) -> tuple[tuple[str, str], ...]:
    """Name the kind and site of every provider that a declaration speaks of, each once."""
    networks = ((one.provider, one.site) for one in declared.networks.values())
    servers = ((one.provider, one.site) for one in declared.servers.values())
    return tuple(dict.fromkeys((*networks, *servers)))
