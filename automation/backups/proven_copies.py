"""Proofs of a point by what was restored from a copy of it, at a provider that copies whole points. Pure."""

from collections.abc import Iterator

from automation.backups.ledger import Ledger
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore
from automation.model.recovery_points import Level, Proof

# From here on something was restored: what a look at a copy shows is the copy's own.
RESTORED = Level.L3


def proofs_by_copies(backups: Backups, ledger: Ledger, place: tuple[str, str]) -> tuple[Proof, ...]:
    """Give proofs of points in a store by restores of copies that AWS made of exactly these points.

    A drill launches in the other region alone, and a copy holds block for block what its point held. It
    counts as long as nothing stands against the copy's store, and a look saw the point whole where it is.

    Args:
        place: resource and store.
    """
    resource, store = place
    spec = backups.resources[resource]
    whole = {one.point for one in ledger.proofs(resource, store, spec) if not one.suspended}
    return tuple(one for one in _restored(backups, ledger, place) if one.point in whole)


def _restored(backups: Backups, ledger: Ledger, place: tuple[str, str]) -> Iterator[Proof]:
    resource, store = place
    spec = backups.resources[resource]
    for other in spec.to:
        if not isinstance(backups.stores[other], AwsStore) or backups.copied_by(other) != store:
            continue
        origins = ledger.origins.get((resource, other), {})
        for proof in ledger.proofs(resource, other, spec):
            origin, point = origins.get(proof.point, ("", ""))
            if origin == store and proof.level >= RESTORED and not proof.suspended:
                yield proof.model_copy(update={"point": point})
