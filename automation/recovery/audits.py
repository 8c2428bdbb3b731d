"""Steps that ask hosts for their facts in a recovery, and which copy stands for which original. Pure.

The originals are asked before anything is broken, the copies once clients are well again: neither costs
recovery time, and neither ever stops a run. What the answers mean is judged when the report is made.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from automation.model.actions import CollectFacts, CreateIsolated
from automation.model.catalog import Service
from automation.model.environment import Inventory
from automation.model.plan import Plan, Step
from automation.recovery.strategies.scope import is_moved

BEFORE, AFTER = "baseline/before", "baseline/after"
COLLECTING_S = 60.0
# A walk that is longer would keep a drill waiting; what it cuts short is not known, and said to be so.
LONGEST_WALK_S = 20.0
# A host that was just recovered is busy: it gets longer, because what is not known of it counts as weaker.
PATIENCE = 2


class Pair(NamedTuple):
    """A service, the hosts that carried it, and one that carries it now."""

    service: str
    originals: tuple[str, ...]
    copy: str


def ask_originals(walk_s: float, hosts: Sequence[str]) -> tuple[Step, ...]:
    """Give the steps that ask the hosts which carry services now.

    Args:
        walk_s: as baseline.yml has it; 0: nothing is asked of this environment's hosts.
    """
    return tuple(
        _ask(
            f"{BEFORE}-{_word(host)}",
            CollectFacts(host=host, walk_s=min(walk_s, LONGEST_WALK_S)),
            f"how {host} is secured is what its copy must be no weaker than",
        )
        for host in (hosts if walk_s else ())
    )


def ask_copies(
    walk_s: float, hosts: Sequence[str], needs: tuple[str, ...], after: tuple[str, ...] = ()
) -> tuple[Step, ...]:
    """Give the steps that ask the hosts which were recovered, once other steps have ended."""
    return tuple(
        _ask(
            f"{AFTER}-{_word(host)}",
            CollectFacts(host=host, walk_s=min(walk_s, LONGEST_WALK_S) * PATIENCE),
            f"a recovery that leaves {host} open is no recovery",
        ).model_copy(update={"needs": needs, "after": after})
        for host in (hosts if walk_s else ())
    )


def hosts_replaced(services: Mapping[str, Service], inventory: Inventory) -> tuple[str, ...]:
    """Name the hosts that carry services at their primary site, and can be asked."""
    return _hosts(services, inventory, lambda service: service.primary)


def hosts_recovered(services: Mapping[str, Service], inventory: Inventory) -> tuple[str, ...]:
    """Name the hosts that carry services at their recovery site, and can be asked.

    Machines that a recovery itself makes or registers are left out: nobody has seen their host keys.
    """
    return _hosts(services, inventory, lambda service: service.recovery)


def with_copies(services: Mapping[str, Service], inventory: Inventory) -> dict[str, Service]:
    """Give the services whose copies can be asked."""
    return {name: one for name, one in services.items() if hosts_recovered({name: one}, inventory)}


def is_audit(step: str) -> bool:
    """Whether a step only asks how a host is secured: none of its failures says anything of a recovery."""
    return step.startswith((f"{BEFORE}-", f"{AFTER}-"))


def is_of_original(step: str) -> bool:
    """Whether a step asks a host as it is before the loss."""
    return step.startswith(f"{BEFORE}-")


def pairs(plan: Plan, services: Mapping[str, Service]) -> Iterator[Pair]:
    """Give every copy that a plan asks, beside the originals of its services."""
    asked = [
        step.run.host
        for step in plan.steps
        if step.id.startswith(AFTER) and isinstance(step.run, CollectFacts)
    ]
    isolated = {step.run.host for step in plan.steps if isinstance(step.run, CreateIsolated)}
    for name, service in services.items():
        originals = service.hosts_at(service.primary)
        for host in asked:
            carries = host in isolated or host in service.hosts_at(service.recovery)
            if carries and originals and host not in originals and is_moved(service):
                yield Pair(name, originals, host)


def not_asked(plan: Plan, services: Mapping[str, Service]) -> tuple[str, ...]:
    """Name the services that steps of ours move and whose copies a plan does not ask."""
    paired = {one.service for one in pairs(plan, services)}
    return tuple(name for name, one in services.items() if is_moved(one) and name not in paired)


def _hosts(
    services: Mapping[str, Service], inventory: Inventory, site: Callable[[Service], str]
) -> tuple[str, ...]:
    found = (host for one in services.values() if is_moved(one) for host in one.hosts_at(site(one)))
    return tuple(host for host in dict.fromkeys(found) if host in inventory.standing)


def _ask(step_id: str, run: CollectFacts, why: str) -> Step:
    return Step(id=step_id, run=run, why=why, timeout_s=COLLECTING_S + run.walk_s, on_failure="continue")


def _word(host: str) -> str:
    return host.lower().replace("_", "-")
