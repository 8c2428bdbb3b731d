"""How the ledger is put together from its entries. Pure.

Entries may come in any order and more than once: they are sorted by time and each is taken once, so that a
ledger is the same however it was read.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from automation.backups.entries import Entry, PointsGoing, PointsMissed, PointsSeen
from automation.backups.ledger import Appeared, Checked, Cleared, Failed, Ledger, Taken
from automation.model.backup_evidence import (
    CanaryRefused,
    DoubtCleared,
    LocksLengthened,
    NotImmutable,
    PointProven,
    PointsCopied,
    PointsDeleted,
    PointsMarked,
    PointTaken,
    PolicyAccepted,
    ProofFailed,
    RepositoryChecked,
    SpaceReclaimed,
    TakeFailed,
)

# What speaks for a point or its store, and was made at a simulator or at the real one.
SPEAKING = (PointProven, RepositoryChecked, CanaryRefused, LocksLengthened)


def of_the_real(entries: Iterable[Entry], simulated: Collection[str]) -> Iterator[Entry]:
    """Leave out what a simulator showed of a store that is real now: it speaks for no point of that one.

    What stands against a store stays, wherever it was seen.

    Args:
        simulated: stores at which a simulator answers now.
    """
    for entry in entries:
        noted = entry.noted
        if not isinstance(noted, SPEAKING) or noted.source == "real" or noted.store in simulated:
            yield entry


def fold(entries: Iterable[Entry]) -> Ledger:
    """Fold entries of any order, of which some may stand twice."""
    once = {entry.key: entry for entry in entries}
    ledger = Ledger()
    for entry in sorted(once.values(), key=lambda entry: (entry.at, *entry.key)):
        for part in (_came, _went, _judged, _said):
            part(ledger, entry)
    return ledger


def _came(ledger: Ledger, entry: Entry) -> None:
    noted = entry.noted
    match noted:
        case PointTaken():
            _take(ledger, entry, noted)
        case TakeFailed():
            ledger.failed_takes[noted.resource].append(Failed(entry.at, entry.run_id, noted))
        case PointsCopied():
            place = noted.resource, noted.store
            ledger.copied_at[place] = entry.at
            for point, source in noted.points.items():
                ledger.origins[place].setdefault(point, (noted.source, source))
                ledger.appeared[place].setdefault(point, Appeared(None, entry.at))
        case PointsSeen():
            appeared = ledger.appeared[noted.resource, noted.store]
            for point in noted.points:
                appeared.setdefault(point, Appeared(noted.since, entry.at))
            ledger.gone[noted.resource, noted.store] -= set(noted.points)


def _take(ledger: Ledger, entry: Entry, noted: PointTaken) -> None:
    began = entry.began_at or entry.at - timedelta(seconds=max(noted.seconds, 0.0))
    place = noted.resource, noted.store
    taken = Taken(
        resource=noted.resource,
        store=noted.store,
        point=noted.point,
        claimed_at=noted.claimed_at,
        began_at=began,
        at=entry.at,
        status=noted.status,
        figures=noted.figures,
        seconds=noted.seconds,
        manifest=noted.manifest,
        run_id=entry.run_id,
        source=noted.source,
    )
    ledger.takes[place].setdefault(noted.point, taken)
    # A listing may have shown it before its step ended; that it was taken says more.
    ledger.appeared[place][noted.point] = Appeared(began, entry.at)


def _went(ledger: Ledger, entry: Entry) -> None:
    noted = entry.noted
    match noted:
        case PointsGoing():
            ledger.gone[noted.resource, noted.store] |= set(noted.points)
        case PointsDeleted():
            ledger.gone[noted.resource, noted.store] |= set(noted.points)
            ledger.deleted_at[noted.store].append(entry.at)
        case PointsMissed():
            place = noted.resource, noted.store
            ledger.gone[place] |= set(noted.points)
            ledger.missed[place] |= dict.fromkeys(noted.points, entry.at)
        case SpaceReclaimed():
            ledger.reclaimed_at[noted.store] = entry.at


def _judged(ledger: Ledger, entry: Entry) -> None:
    noted = entry.noted
    match noted:
        case RepositoryChecked():
            _check(ledger, Checked(entry.at, entry.run_id, noted))
        case PointProven():
            ledger.proven[noted.resource, noted.store].append((entry, noted))
        case ProofFailed():
            failed = Failed(entry.at, entry.run_id, noted)
            ledger.failed_proofs[noted.store].append(failed)
            ledger.suspensions[noted.store] = failed
            if not noted.point:
                ledger.checks.pop(noted.store, None)  # what was read before it says nothing any more
        case CanaryRefused():
            ledger.canaries[noted.store], ledger.canaries_at[noted.store] = noted, entry.at
            ledger.unlocked.pop(noted.store, None)
        case NotImmutable():
            ledger.unlocked[noted.store] = noted
            ledger.canaries.pop(noted.store, None)  # what it refused before it would not refuse now
            ledger.canaries_at.pop(noted.store, None)
        case LocksLengthened():
            ledger.lengthened[noted.store] = noted


def _check(ledger: Ledger, check: Checked) -> None:
    """Keep the last look at each part; when all are later than what suspended the store, that ends."""
    store = check.found.store
    ledger.checks[store] = [one for one in ledger.checks[store] if one.subject != check.subject] + [check]
    failed, whole = ledger.suspensions.get(store), ledger.coverage(store).whole_since
    if failed is not None and whole is not None and whole > failed.at:
        del ledger.suspensions[store]


def _said(ledger: Ledger, entry: Entry) -> None:
    noted = entry.noted
    match noted:
        case PointsMarked():
            before = ledger.marks.get((noted.resource, noted.store), {})
            marks = {point: before.get(point, entry.at) for point in noted.points}
            ledger.marks[noted.resource, noted.store] = marks
        case PolicyAccepted():
            ledger.accepted[noted.resource, noted.store] = noted.policy_digest
        case DoubtCleared():
            ledger.cleared.append(Cleared(entry.at, noted))
            if noted.store and not noted.resource:
                ledger.suspensions.pop(noted.store, None)
