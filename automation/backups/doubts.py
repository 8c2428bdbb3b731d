"""What stops the rotation of a resource until a proof or a person says otherwise. Pure.

A failed job, and a proof that failed, are cleared by a good later point that is proven at the level that the
guards ask for, or by a person. Figures that look like a lost or encrypted source, points that are gone though
no rotation deleted them, and a clock that was wrong while a point was made are cleared by a person alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from statistics import median
from typing import Literal, NamedTuple

from automation.backups.guard_settings import GuardSettings
from automation.backups.guards import Signals, oddities
from automation.backups.ledger import Ledger, Taken
from automation.backups.spec import Backups
from automation.model.backup_evidence import TakeFailed
from automation.model.recovery_points import Level

# So many jobs before say what is usual.
USUAL_OF = 10
# How far new data shrinks says something when it is so much of the whole.
TELLING_SHARE = 0.05

Kind = Literal["take failed", "proof failed", "strange figures", "points gone", "strange time"]


class Doubt(NamedTuple):
    """One thing that was seen, and whether a proof can clear it."""

    kind: Kind
    resource: str
    store: str
    at: datetime
    words: str
    by_proof: bool

    @property
    def line(self) -> str:
        """It for people."""
        return f"{self.kind}: {self.words}"


def doubts_of(ledger: Ledger, backups: Backups, resource: str) -> tuple[Doubt, ...]:
    """Give what stands against a resource now, oldest first."""
    level = backups.guards_of(resource).never_drop_last_verified
    found = [
        *_failed_takes(ledger, resource, level),
        *_failed_proofs(ledger, resource, level),
        *_missed(ledger, resource),
        *_strange(ledger, backups, resource),
        *_untimely(ledger, backups, resource),
    ]
    return tuple(sorted((one for one in found if not _is_cleared(ledger, one)), key=lambda one: one.at))


def first_store(backups: Backups, resource: str, store: str) -> str:
    """Give the store of a resource into which the points of a store were taken at first."""
    named = backups.resources[resource].to
    while (of := backups.copied_by(store)) in named:
        if of in (named[0], store):
            return of
        store = of
    return store


def signals_of(ledger: Ledger, backups: Backups, resource: str, store: str) -> Signals | None:
    """Give the figures to judge by: of the first strange job that nobody cleared, else of the newest one.

    None: no job of ours ever saved it there.
    """
    last: Signals | None = None
    for taken, signals in _judged(ledger, backups, resource, store):
        last = signals
        if _odd(signals, backups.guards):
            by = _cleared_by(ledger, resource, taken.store, taken.at)
            if not by:
                return signals
            last = signals.model_copy(update={"cleared_by": by})
    return last


# --- what was seen --------------------------------------------------------------------------------


def _failed_takes(ledger: Ledger, resource: str, level: Level) -> Iterator[Doubt]:
    for failed in ledger.failed_takes.get(resource, ()):
        if isinstance(failed.found, TakeFailed) and not _proven_after(ledger, resource, level, failed.at):
            yield Doubt("take failed", resource, failed.found.store, failed.at, failed.words, by_proof=True)


def _failed_proofs(ledger: Ledger, resource: str, level: Level) -> Iterator[Doubt]:
    for store, all_failed in ledger.failed_proofs.items():
        for failed in all_failed:
            about = failed.found.resource == resource
            if about and not _proven_after(ledger, resource, level, failed.at, store, again=True):
                yield Doubt("proof failed", resource, store, failed.at, failed.words, by_proof=True)


def _missed(ledger: Ledger, resource: str) -> Iterator[Doubt]:
    for (owner, store), points in ledger.missed.items():
        for at in sorted(set(points.values())) if owner == resource else ():
            gone = sorted(point for point, when in points.items() if when == at)
            said = f"{len(gone)} of {store} that no rotation deleted: {_few(gone)}"
            yield Doubt("points gone", resource, store, at, said, by_proof=False)


def _strange(ledger: Ledger, backups: Backups, resource: str) -> Iterator[Doubt]:
    for store in dict.fromkeys(first_store(backups, resource, to) for to in backups.resources[resource].to):
        for taken, signals in _judged(ledger, backups, resource, store):
            if odd := _odd(signals, backups.guards):
                said = f"{odd} (point {taken.point[:12]}, run {taken.run_id})"
                yield Doubt("strange figures", resource, store, taken.at, said, by_proof=False)


def _untimely(ledger: Ledger, backups: Backups, resource: str) -> Iterator[Doubt]:
    """Points of ours whose own time is not that of the run which made them: some clock is wrong."""
    limit_s = backups.guards.time_trust.max_skew.about_s
    for store in dict.fromkeys(first_store(backups, resource, to) for to in backups.resources[resource].to):
        for taken in ledger.taken(resource, store):
            late_s = (taken.claimed_at - taken.at).total_seconds()
            early_s = (taken.began_at - taken.claimed_at).total_seconds()
            if max(late_s, early_s) > limit_s:
                said = (
                    f"point {taken.point[:12]} says that it is of {taken.claimed_at:%Y-%m-%d %H:%M} UTC, and "
                    f"was made {taken.at:%Y-%m-%d %H:%M} by run {taken.run_id}: a clock is wrong, on the "
                    "host that saved it or here; the point stays, and stands in for no other"
                )
                yield Doubt("strange time", resource, store, taken.at, said, by_proof=False)


def _odd(signals: Signals, settings: GuardSettings) -> str:
    return "; ".join(oddities(signals, settings))


# --- what clears it --------------------------------------------------------------------------------


def _proven_after(
    ledger: Ledger, resource: str, level: Level, at: datetime, store: str = "", *, again: bool = False
) -> bool:
    """Whether a point that came to be later was proven; `again`: or any point, in that store, later.

    One of which nobody knows since when it is there may be older.
    """
    for (owner, place), found in ledger.proven.items():
        if owner != resource or (store and place != store):
            continue
        for entry, proof in found:
            if proof.level < level or entry.at <= at:
                continue
            appeared = ledger.when_appeared(resource, place, proof.point)
            if again or (appeared is not None and appeared.after is not None and appeared.after > at):
                return True
    return False


def _is_cleared(ledger: Ledger, doubt: Doubt) -> bool:
    return bool(_cleared_by(ledger, doubt.resource, doubt.store, doubt.at))


def _cleared_by(ledger: Ledger, resource: str, store: str, at: datetime) -> str:
    """Name who cleared what was seen of a resource in a store at a time; empty: nobody did."""
    return next(
        (
            one.found.by
            for one in reversed(ledger.cleared)
            if one.at > at
            and (one.found.resource == resource or (one.found.store == store and not one.found.resource))
        ),
        "",
    )


# --- figures ---------------------------------------------------------------------------------------


def _judged(ledger: Ledger, backups: Backups, resource: str, store: str) -> Iterator[tuple[Taken, Signals]]:
    """Hold each job against what was usual before it.

    A strange one never becomes the usual; one that a person cleared is what is usual from then on.
    """
    files = backups.resources[resource].source.kind == "files"
    usual: list[Taken] = []
    for taken in ledger.taken(resource, first_store(backups, resource, store)):
        signals = _signals(taken, usual[-USUAL_OF:], files=files)
        yield taken, signals
        if not _odd(signals, backups.guards):
            usual.append(taken)
        elif _cleared_by(ledger, resource, taken.store, taken.at):
            usual = [taken]


def _signals(taken: Taken, usual: Sequence[Taken], *, files: bool) -> Signals:
    """Compare a job; of a dump or a device, which is new each time, only how many files there are."""
    figures = taken.figures
    changed = (figures.new_files + figures.changed_files) / max(figures.files, 1)
    return Signals(
        files=figures.files,
        usual_files=round(median(one.figures.files for one in usual)) if usual else 0,
        changed_share=changed if usual and files else 0.0,
        stored_ratio=_ratio(taken) or 0.0,
        usual_stored_ratio=median(_ratios(usual) or [0.0]) if files else 0.0,
        dump_bytes=figures.dump_bytes,
    )


def _ratios(taken: Iterable[Taken]) -> list[float]:
    return [ratio for one in taken if (ratio := _ratio(one)) is not None]


def _ratio(taken: Taken) -> float | None:
    """How far new data shrank; None where there was too little of it to tell."""
    figures = taken.figures
    if figures.added_bytes < max(1, figures.total_bytes * TELLING_SHARE):
        return None
    return figures.stored_bytes / figures.added_bytes


def _few(points: Sequence[str]) -> str:
    named = ", ".join(point[:12] for point in points[:3])
    return f"{named} and {len(points) - 3} more" if len(points) > 3 else named
