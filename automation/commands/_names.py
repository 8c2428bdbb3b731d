"""Name servers: which of them missed a move of a name, and giving it what it missed."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from automation.commands._session import Session
from automation.engine.journal import read_journal
from automation.model.actions import ReconcileServer
from automation.model.base import Model
from automation.model.catalog import Catalog, load_catalog
from automation.model.errors import AutomationError, ConfigError
from automation.model.moves import Move
from automation.model.plan import Plan, Step
from automation.model.records import StepEnded
from automation.recovery.names import find_behind, find_undecided


class NameServerSeen(Model):
    """A site's name server: whether clients may use it, and what is wrong."""

    server: str
    site: str
    state: str
    names: tuple[str, ...] = ()
    act: str = ""


def look_at_names(session: Session, catalog: Catalog) -> tuple[NameServerSeen, ...]:
    """Ask every site's name server what was moved, side by side; changes nothing."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        seen = pool.map(lambda site: _moves(session, site.dns_server), catalog.sites.values())
        answers = dict(zip(catalog.sites, seen, strict=True))
    told = {
        catalog.sites[site].dns_server: moves for site, moves in answers.items() if not isinstance(moves, str)
    }
    return tuple(
        _judge(session, site, catalog.sites[site].dns_server, answer, told)
        for site, answer in answers.items()
    )


def _moves(session: Session, server: str) -> Mapping[str, Move] | str:
    from automation.adapters import dns

    try:
        return dns.observe_moves(server, session.context("look"))
    except AutomationError as exc:
        return str(exc)


def _judge(
    session: Session,
    site: str,
    server: str,
    answer: Mapping[str, Move] | str,
    told: Mapping[str, Mapping[str, Move]],
) -> NameServerSeen:
    if isinstance(answer, str):
        return NameServerSeen(server=server, site=site, state=f"no answer ({answer})")
    env = f"--env {session.environment.name}"
    if behind := find_behind(told).get(server):
        act = f"./inv dr.reconcile {env} --server {server}"
        return NameServerSeen(server=server, site=site, state="reconcile before use", names=behind, act=act)
    if undecided := find_undecided(told):
        return NameServerSeen(
            server=server,
            site=site,
            state="changed by hand here or elsewhere",
            names=undecided,
            act="set the wrong one with nsupdate",
        )
    return NameServerSeen(server=server, site=site, state="tells the newest addresses")


def reconcile(session: Session, server: str) -> str:
    """Give one name server what it missed, as all others tell it; give what was done, in words.

    Raises:
        ConfigError: it is no site's name server, or there is no other one.
        StepFailed: another one is silent, or it could not be reconciled.
    """
    catalog = load_catalog(session.environment.folder / "services.yml")
    servers = tuple(dict.fromkeys(site.dns_server for site in catalog.sites.values()))
    if server not in servers:
        hint = f"--server is one of: {', '.join(servers)}"
        raise ConfigError(f"{server!r} is no site's name server; nothing was changed", hint=hint)
    sources = tuple(other for other in servers if other != server)
    if not sources:
        raise ConfigError(f"there is no other name server than {server}; nothing was changed")
    step = Step(
        id="reconcile",
        run=ReconcileServer(server=server, sources=sources),
        why=f"{server} must tell what {', '.join(sources)} tell before clients use it",
    )
    plan = Plan(name="reconcile", environment=session.environment.name, mode="apply", steps=(step,))
    finished = session.run(plan)
    finished.raise_for_status()
    ends = [event.body for event in read_journal(finished.folder / "journal.jsonl")]
    return next(end.outcome.summary for end in ends if isinstance(end, StepEnded) and end.outcome)
