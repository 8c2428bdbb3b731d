"""Looking whether the failover of a site would work now: shared by dr and its checks."""

from datetime import UTC, datetime

from automation.commands._clouds_fencing import look_at_fences
from automation.commands._drill import check_hosts, plan_for
from automation.commands._observations import keep_position
from automation.commands._proven import proven_of
from automation.commands._session import Session
from automation.commands._whereabouts import turn_those_at
from automation.engine.journal import read_journal
from automation.model.catalog import load_catalog
from automation.model.errors import NotMet
from automation.model.evidence import ReplicationSeen
from automation.model.plan import Plan
from automation.model.records import StepEnded
from automation.recovery.planner import City
from automation.recovery.readiness import Readiness, Watched, compile_readiness, fold_readiness, watch


def prepare_readiness(session: Session, plan: str, site: str) -> tuple[Watched, Plan]:
    """Compile what would be looked at; changes nothing.

    Raises:
        ConfigError: a file has faults, or the site has nothing to recover.
    """
    catalog = load_catalog(session.environment.folder / "services.yml")
    check_hosts(catalog, session)
    catalog = turn_those_at(session, catalog, site)
    city = City(session.environment, session.inventory, catalog, {})
    watched = watch(plan, plan_for(session, plan), city, site)
    return watched, compile_readiness(watched)


def look(session: Session, plan: str, site: str) -> Readiness:
    """Look at all that a failover stands on, keep what was seen, and judge it; no server is changed."""
    watched, steps = prepare_readiness(session, plan, site)
    proven = proven_of(session, watched.services, datetime.now(UTC))
    finished = session.run(steps)
    events = tuple(read_journal(finished.folder / "journal.jsonl"))
    for event in events:
        outcome = event.body.outcome if isinstance(event.body, StepEnded) else None
        if outcome and isinstance(outcome.evidence, ReplicationSeen) and outcome.evidence.primary:
            keep_position(session.state, outcome.evidence.primary)
    fences = look_at_fences(session, watched.services)
    readiness = fold_readiness(watched, steps, events, proven, fences=fences)
    (finished.folder / "readiness.json").write_text(readiness.model_dump_json(indent=1))
    return readiness


def raise_unless_ready(readiness: Readiness) -> None:
    """Turn findings into the command's error.

    Raises:
        NotMet: something is not ready; says what to do about the first.
    """
    open_ = [finding for finding in readiness.findings if finding.status != "ready"]
    if open_:
        told = ", ".join(f"{finding.check} {finding.subject}" for finding in open_)
        raise NotMet(
            f"the failover of {readiness.site} is not ready: {told}; no server was changed", hint=open_[0].act
        )
