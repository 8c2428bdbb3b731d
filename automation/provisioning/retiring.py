"""Taking a server out of service: stopped at first, and deleted after a time of grace. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from automation.model.actions import DeleteKept
from automation.model.base import Model
from automation.model.catalog import Catalog
from automation.model.plan import Gate, Plan, Step
from automation.model.servers import KeptSnapshot
from automation.model.services import Service
from automation.provisioning.compiling import (
    CHANGE_TIMEOUT_S,
    POWER_TIMEOUT_S,
    RETRIES,
    remove_steps,
    start_of,
    stop_of,
    what_stays,
)
from automation.provisioning.decisions import Decision

# Names of plans, by which a later command finds in the journals how far a retirement is.
STOPPED, DELETED, TAKEN_BACK, ENDED = "retire-stop", "retire-delete", "retire-back", "retire-kept"


class Leave(Model):
    """A server that was stopped to be retired, and when."""

    name: str
    site: str
    since: datetime
    run_id: str

    def ends_at(self, grace_days: int) -> datetime:
        """Say from when on it may be deleted."""
        return self.since + timedelta(days=grace_days)


def who_needs(host: str, catalog: Catalog) -> tuple[str, ...]:
    """Say which services stand on a host at any site, and which sites' names it tells."""
    services = [name for name, service in catalog.services.items() if host in set(_hosts(service))]
    sites = [name for name, site in catalog.sites.items() if host == site.dns_server]
    said = [f"{', '.join(services)} stands on {host}"] if services else []
    return (*said, *([f"{host} is the DNS server of {', '.join(sites)}"] if sites else []))


def _hosts(service: Service) -> Iterator[str]:
    for site in {service.primary, service.recovery, *service.stands_on}:
        yield from service.hosts_at(site)
    for group in getattr(service.strategy, "vms", ()):
        yield from group


def plan_stop(environment: str, decision: Decision) -> Plan:
    """Stop a server of ours; it stays as it is until it is deleted or taken back."""
    step = Step(
        id=f"stop/{decision.name}",
        run=stop_of(decision),
        why="is retired; nothing of it is deleted yet",
        timeout_s=POWER_TIMEOUT_S,
        retries=RETRIES,
    )
    return Plan(name=STOPPED, environment=environment, mode="apply", steps=(step,))


def plan_back(environment: str, decision: Decision) -> Plan:
    """Start a server again that was being retired."""
    step = Step(
        id=f"start/{decision.name}",
        run=start_of(decision),
        why="is not retired after all",
        timeout_s=POWER_TIMEOUT_S,
        retries=RETRIES,
    )
    return Plan(name=TAKEN_BACK, environment=environment, mode="apply", steps=(step,))


def plan_delete(environment: str, decision: Decision, leave: Leave) -> Plan:
    """Delete the server that was stopped, and no other; its disks stay, or snapshots of them."""
    ask = (
        f"Delete {decision.name} ({decision.id}) for good? It was stopped on {leave.since:%Y-%m-%d}; "
        f"{what_stays(decision.provider)}"
    )
    steps = tuple(remove_steps(decision, keep_snapshot=True, ask=ask))
    return Plan(name=DELETED, environment=environment, mode="apply", steps=steps)


def plan_end(environment: str, host: str, over: Sequence[KeptSnapshot], copies: str) -> Plan:
    """Delete what was kept of a server's disks and is kept no more, by its ids; a step for each site.

    Args:
        over: snapshots of that server whose days are over.
        copies: what else is there of the server, as a sentence for who says yes.
    """
    sites = sorted({one.site for one in over})
    steps = (_end_step(host, [one for one in over if one.site == site], copies) for site in sites)
    return Plan(name=ENDED, environment=environment, mode="apply", steps=tuple(steps))


def _end_step(host: str, over: Sequence[KeptSnapshot], copies: str) -> Step:
    site, last = over[0].site, max(one.until for one in over if one.until is not None)
    named = ", ".join(f"{one.id} (disk {one.disk}, of {one.at:%Y-%m-%d})" for one in over)
    return Step(
        id=f"delete-kept/{host}/{site}",
        run=DeleteKept(host=host, site=site, snapshots=tuple(over)),
        why=f"kept until {last}, and that is over",
        gate=Gate(
            role="sysadmin",
            ask=f"Delete what was kept of {host} at {site} until {last}, for good: {named}? {copies}",
        ),
        timeout_s=CHANGE_TIMEOUT_S,
        retries=RETRIES,
    )
