"""Drift between two audits: their kept facts are compared; no host is asked."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from automation.baseline.drift import Drift, compare
from automation.commands._baselines import _collected, _facts
from automation.commands._session import Session
from automation.engine.journal import read_journal
from automation.model.base import Model
from automation.model.errors import EXIT_PARTIAL, AutomationError, ConfigError, NotMet
from automation.model.facts import Facts
from automation.model.records import RunClosed, RunOpened

AUDIT = "baseline-audit"


class Drifted(Model):
    """What two audits found to be another way, host by host; a host that one of them lacks is named."""

    before: str
    after: str
    hosts: tuple[Drift, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def drifted(self) -> tuple[Drift, ...]:
        return tuple(one for one in self.hosts if one.changes)


class _Kept(NamedTuple):
    run: str
    facts: dict[str, Facts]


def drift(session: Session, before: str, after: str) -> Drifted:
    """Compare the facts that two audits kept; by default the newest, and the one before it.

    Raises:
        ConfigError: there are no two such audits, or they are not in that order.
        NotMet: facts that one kept are not those that its journal names.
    """
    later = after or _audit_before(session, "~")  # a sign behind all that names of runs have
    earlier = before or _audit_before(session, later)
    if earlier >= later:
        raise ConfigError(
            f"--before {earlier} is no earlier than {later}; nothing was compared",
            hint=f"./inv run.list --env {session.environment.name}",
        )
    old, new = _kept(session, earlier), _kept(session, later)
    return Drifted(
        before=old.run,
        after=new.run,
        hosts=tuple(
            compare(old.facts[host], facts) for host, facts in new.facts.items() if host in old.facts
        ),
        only_before=tuple(host for host in old.facts if host not in new.facts),
        only_after=tuple(host for host in new.facts if host not in old.facts),
    )


def judge_drift(found: Drifted, environment: str) -> int:
    """Give the exit code: 0 no drift, 3 none, but a host could not be compared.

    Raises:
        NotMet: something is another way, or no host could be compared.
    """
    if changes := sum(len(one.changes) for one in found.hosts):
        raise NotMet(
            f"{changes} things on {len(found.drifted)} hosts are not as they were in {found.before}",
            hint=f"./inv baseline.drift --env {environment} --before {found.before} --after {found.after} "
            "--json has all of them",
        )
    if not found.hosts:
        raise NotMet(f"no host gave its facts to {found.before} and to {found.after}")
    return EXIT_PARTIAL if found.only_before or found.only_after else 0


def _audit_before(session: Session, run: str) -> str:
    """Name the newest whole audit that is earlier than a run; names of runs begin with their time."""
    for path in sorted((session.state / "runs").glob("*/journal.jsonl"), reverse=True):
        if path.parent.name < run and _is_whole_audit(path):
            return path.parent.name
    env = session.environment.name
    raise ConfigError(
        f"there are no two audits of {env} to compare; nothing was touched",
        hint=f"./inv baseline.audit --env {env}",
    )


def _is_whole_audit(journal: Path) -> bool:
    """Whether a run is an audit that nobody stopped; a damaged journal is none, and run.list shows it."""
    try:
        events = read_journal(journal)
        opened = next(events, None)
        if opened is None or not isinstance(opened.body, RunOpened) or opened.body.plan_name != AUDIT:
            return False
        closed = (event.body for event in events if isinstance(event.body, RunClosed))
        return any(body.status != "interrupted" for body in closed)
    except AutomationError:
        return False


def _kept(session: Session, run: str) -> _Kept:
    folder = session.existing(run).artifacts.parent
    evidence, _ = _collected(folder)
    if not evidence:
        raise ConfigError(f"run {run} collected no facts; nothing was compared")
    return _Kept(run, dict(_by_subject(_facts(folder, evidence))))


def _by_subject(every: Iterator[Facts]) -> Iterator[tuple[str, Facts]]:
    for facts in every:
        yield facts.subject, facts
