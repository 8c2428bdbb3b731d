"""Taking a fault of the lab back, so that no name server tells clients an old address meanwhile."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from automation.commands._onlooker import Story
from automation.commands._session import Session
from automation.engine.journal import read_journal
from automation.model.actions import (
    AwaitReady,
    HealLink,
    HealSite,
    HoldServer,
    ReconcileServer,
    RejoinSite,
    RestoreManagement,
    StartServer,
)
from automation.model.catalog import load_catalog
from automation.model.errors import EXIT_DONE, EXIT_PARTIAL
from automation.model.plan import Plan, Step
from automation.model.records import StepEnded

BOOT_S = 60.0


class NameServer(NamedTuple):
    """A site's name server, as the lab shows it."""

    host: str
    runs: bool
    fenced: bool


class Broken(NamedTuple):
    """What is wrong in a lab, as far as healing asks: name servers by site, sites cut off, sites dark."""

    servers: Mapping[str, NameServer]
    cut: frozenset[str]
    dark: frozenset[str]
    failed: frozenset[str]


def heal(session: Session, fault: str, sites: tuple[str, ...], *, story: Story | None = None) -> int:
    """Take a fault back, say what was changed, and give the exit code; `story`: told instead of steps."""
    steps = plan_heal(fault, sites, look_at_lab(session))
    plan = Plan(name="lab-heal", environment=session.environment.name, mode="apply", steps=steps)
    finished = session.run(plan, story=story)
    finished.raise_for_status()
    for event in read_journal(finished.folder / "journal.jsonl"):
        outcome = event.body.outcome if isinstance(event.body, StepEnded) else None
        if outcome is not None and outcome.changed:
            print(outcome.summary)
    for step, failure in finished.failures.items():
        print(f"not done: {step}: {failure.message}")
        host = step.rpartition("/")[2]
        print(f"hint: ./inv dr.reconcile --env {session.environment.name} --server {host}")
    return EXIT_PARTIAL if finished.failures else EXIT_DONE


def look_at_lab(session: Session) -> Broken:
    """See which name servers run and which sites are cut off."""
    from automation.adapters import nspawn

    catalog = load_catalog(session.environment.folder / "services.yml")
    shown = nspawn.describe(session.state, session.environment)
    servers = {}
    for name, site in catalog.sites.items():
        seen = shown.servers.get(site.dns_server)
        if seen is not None:
            fenced = seen.network == "blocked" or not seen.autostart
            servers[name] = NameServer(site.dns_server, seen.power == "on", fenced)
    links = [name.partition(">")[::2] for name, link in shown.links.items() if not link.up]
    dark = frozenset(name for name, site in shown.sites.items() if site.management == "down")
    ends = frozenset(end for link in links for end in link)
    return Broken(servers, ends, dark, frozenset(shown.failed_sites))


def plan_heal(fault: str, sites: tuple[str, ...], seen: Broken) -> tuple[Step, ...]:
    """Give the steps that mend a fault: an old name server is off, or reconciled, before clients reach it.

    Pure. A server that lost its power asks the others as it boots. One that ran on while its site was cut
    off is switched off before the site is joined again. One behind a cut link is reached by clients all the
    while, so it is reconciled at once.
    """
    if fault == "link-cut":
        return tuple(_heal_link((sites[0], sites[1]), seen))
    return tuple(_heal_site(fault, sites[0], seen))


def _heal_link(sites: tuple[str, str], seen: Broken) -> Iterator[Step]:
    """Reconcile the servers at both ends first; one whose other end has none was perhaps cut off from us."""
    ends = [seen.servers[site].host for site in sites if site in seen.servers and seen.servers[site].runs]
    running = [server.host for server in seen.servers.values() if server.runs]
    needs = ("heal",) if len(ends) == 1 else ()
    steps = [
        _reconcile(host, tuple(other for other in running if other != host), needs)
        for host in ends
        if len(running) > 1
    ]
    heal = Step(
        id="heal",
        run=HealLink(sites=sites),
        why="asked for at the terminal",
        after=() if needs else tuple(step.id for step in steps),
    )
    yield from (heal, *steps) if needs else (*steps, heal)


def _heal_site(fault: str, site: str, seen: Broken) -> Iterator[Step]:
    known = seen.servers.get(site)
    server = known if known and not known.fenced else None
    before: tuple[str, ...] = ()
    if site in seen.dark and fault != "power-loss":
        why = "without it nothing at the site can be acted on"
        yield Step(id="management", run=RestoreManagement(site=site), why=why)
        before = ("management",)
    if server and server.runs and site in seen.cut and fault != "power-loss":
        hold = Step(
            id=f"hold/{server.host}",
            run=HoldServer(host=server.host),
            why="names may have been moved without it: no client may ask it before it has asked the others",
            needs=before,
        )
        yield hold
        before = (hold.id,)
    run = HealSite(site=site) if fault == "power-loss" else RejoinSite(site=site)
    yield Step(id="heal", run=run, why="asked for at the terminal", needs=before)
    if server:
        yield from _bring_back(site, server.host, seen)


def _bring_back(site: str, host: str, seen: Broken) -> Iterator[Step]:
    start = f"start/{host}"
    yield Step(
        id=start,
        run=StartServer(host=host),
        why="as it boots it takes what the others moved",
        needs=("heal",),
    )
    ready = Step(
        id=f"ready/{host}",
        run=AwaitReady(host=host),
        why="up is what answers over SSH",
        needs=(start,),
        timeout_s=BOOT_S,
        on_failure="continue",
    )
    yield ready
    others = [other for name, other in seen.servers.items() if name != site and name not in seen.failed]
    sources = tuple(other.host for other in others if other.runs and other.host != host)
    if sources:
        yield _reconcile(host, sources, needs=(ready.id,))


def _reconcile(host: str, sources: tuple[str, ...], needs: tuple[str, ...] = ()) -> Step:
    return Step(
        id=f"reconcile/{host}",
        run=ReconcileServer(server=host, sources=sources),
        why=f"{host} must tell what {', '.join(sources)} tell",
        needs=needs,
        timeout_s=30,
        on_failure="continue",
    )
