"""The canary of every locked store, and a clean copy of one that was attacked."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from zoneinfo import ZoneInfo

from automation.backups.copies import (
    bucket_of,
    locked_stores,
    plan_canary,
    plan_recovery,
    restore_from,
    running_out,
)
from automation.backups.moments import parse_moment
from automation.backups.rotating import decide_one
from automation.backups.spec import Backups
from automation.commands._authorisations import ALL, JobFlags, look_again, unattended
from automation.commands._backups import load_area, look, rpo_of
from automation.commands._session import Session
from automation.engine.finished import Finished
from automation.engine.journal import read_journal
from automation.model.backup_evidence import (
    CanaryRefused,
    CopyRecovered,
    LocksLengthened,
    NotImmutable,
    RepositoryChecked,
)
from automation.model.base import Model
from automation.model.catalog import Catalog
from automation.model.errors import ConfigError, NotMet, StepFailed
from automation.model.evidence import Evidence
from automation.model.records import StepEnded

CANARY = "backup.canary"


class Canaries(Model):
    """What the locked stores did when they were asked to delete, and how long they lock what is needed."""

    run: str
    refused: tuple[CanaryRefused, ...]
    failed: tuple[NotImmutable, ...]
    silent: tuple[str, ...]  # neither: they gave no answer
    lengthened: tuple[LocksLengthened, ...]
    not_lengthened: Mapping[str, str]  # store to the reason


class Recovered(Model):
    """A copy that was put together again, and what to do with it."""

    run: str
    copied: CopyRecovered
    checked: RepositoryChecked | None
    next_acts: tuple[str, ...]


def try_locks(session: Session, store: str, authorisation: str) -> Canaries:
    """Try to delete a locked object of our own in every locked store, or in one; lengthen its locks.

    Raises:
        ConfigError: there is no such store, or no store has a lock.
        PreflightError: refused; nothing was changed.
    """
    backups, catalog = load_area(session)
    names = (store,) if store else locked_stores(backups)
    if not names or (store and store not in backups.stores):
        what = f"there is no store {store}" if store else "no store of backups.yml has a lock"
        raise ConfigError(f"{what}; nothing was touched", hint=f"stores: {', '.join(backups.stores)}")
    expired = _running_out(session, backups, catalog, names)
    plan = plan_canary(backups, names, environment=session.environment.name, running_out=expired)
    job = JobFlags(CANARY, authorisation, store or ALL)
    granted = unattended(session, plan, job, {"stores": float(len(names))})
    finished = session.run(plan, look=partial(look_again, session, plan, granted), granted=granted)
    if finished.closed.status == "interrupted":
        finished.raise_for_status()
    said = list(_evidence(finished))
    refused = tuple(one for one in said if isinstance(one, CanaryRefused))
    failed = tuple(one for one in said if isinstance(one, NotImmutable))
    answered = {one.store for one in refused} | {one.store for one in failed}
    lengthened = tuple(one for one in said if isinstance(one, LocksLengthened))
    why_not = _failures(finished)
    return Canaries(
        run=finished.folder.name,
        refused=refused,
        failed=failed,
        silent=tuple(name for name in names if name not in answered),
        lengthened=lengthened,
        not_lengthened={
            name: why_not.get(f"{name}/locks", "it was not begun")
            for name in names
            if name not in {one.store for one in lengthened}
        },
    )


def _running_out(
    session: Session, backups: Backups, catalog: Catalog, stores: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Look which points only the locks of these stores still keep; none where nobody can look."""
    named = [name for name, one in backups.resources.items() if not set(stores).isdisjoint(one.to)]
    if not named:
        return {}
    area = look(session, named)
    places = [(name, to) for name in named for to in backups.resources[name].to if to in stores]
    rpos = {name: rpo_of(backups, catalog, name) for name in named}
    return running_out(
        decide_one(area.backups, area.ledger, area.observed, place, rpos[place[0]]) for place in places
    )


def judge_canaries(session: Session, canaries: Canaries) -> None:
    """Say what follows where a lock did not hold, or will not.

    Raises:
        NotMet: something locked could be deleted, or nothing is locked.
        StepFailed: a store gave no answer, or its locks were not lengthened.
    """
    env = session.environment.name
    if canaries.failed:
        said = "; ".join(f"{one.store}: {', '.join(one.found)}" for one in canaries.failed)
        raise NotMet(
            f"what must be immutable is not: {said}. Only our own canary was touched",
            hint="give the bucket versioning and a default lock, and its writer no right to lift it; then "
            f"./inv {CANARY} --env {env}",
        )
    if canaries.silent:
        raise StepFailed(
            f"no answer of {', '.join(canaries.silent)}: whether the lock holds is not known",
            hint=f"./inv run.show --env {env} --run {canaries.run}",
        )
    if canaries.not_lengthened:
        said = "; ".join(f"{store}: {why}" for store, why in canaries.not_lengthened.items())
        raise StepFailed(
            f"locks were not lengthened, and will end under what is still needed: {said}",
            hint=f"mend that, then ./inv {CANARY} --env {env}",
        )


def recover_copy(session: Session, store: str, as_of: str, to: str) -> Recovered:
    """Put the objects of a moment together in another bucket, and look if it opens.

    Raises:
        ConfigError: flags or files have faults.
        StepFailed, NotMet: it did not come to a good end.
    """
    backups, _ = load_area(session)
    if store not in backups.stores:
        known = ", ".join(name for name, one in backups.stores.items() if bucket_of(one))
        raise ConfigError(f"there is no store {store}; nothing was touched", hint=f"--store {known}")
    try:
        at = parse_moment(as_of, ZoneInfo(backups.tz), datetime.now(UTC))
    except ValueError as exc:
        raise ConfigError(f"--as-of: {exc}; nothing was touched") from exc
    if at is None:
        raise ConfigError(
            "--as-of latest is what the attacker left; give a moment before it; nothing was touched"
        )
    finished = session.run(plan_recovery(backups, store, at, to, environment=session.environment.name))
    finished.raise_for_status()
    said = list(_evidence(finished))
    return Recovered(
        run=finished.folder.name,
        copied=next(one for one in said if isinstance(one, CopyRecovered)),
        checked=next((one for one in said if isinstance(one, RepositoryChecked)), None),
        next_acts=restore_from(store, backups, to, session.environment.name),
    )


def _failures(finished: Finished) -> dict[str, str]:
    """Give the steps that failed last, and why."""
    ends = (event.body for event in read_journal(finished.folder / "journal.jsonl"))
    last = {body.step: body for body in ends if isinstance(body, StepEnded)}
    return {step: body.failure.message for step, body in last.items() if body.failure is not None}


def _evidence(finished: Finished) -> Iterator[Evidence]:
    for event in read_journal(finished.folder / "journal.jsonl"):
        if isinstance(event.body, StepEnded):
            result = event.body.outcome or event.body.failure
            if result is not None and result.evidence is not None:
                yield result.evidence
