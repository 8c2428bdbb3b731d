"""When a resource was proven last in one store, against the rule that asks for most. Pure."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from automation.backups.ledger import SHELF_LIVES, Ledger
from automation.backups.resources import Resource, Verify
from automation.model.recovery_points import Level, Proof


class ProofAge(NamedTuple):
    """The last proof that reaches what is demanded; `best` is the highest level that counts now."""

    rule: Verify
    limit_s: float
    at: datetime | None
    by: str
    best: Level | None
    suspended: str
    simulated: bool


def proof_age(spec: Resource, ledger: Ledger, place: tuple[str, str], now: datetime) -> ProofAge:
    """Say how old the proof of a resource in a store is, by its highest rule and of equal ones the strictest.

    Args:
        place: resource and store.
    """
    rule = max(spec.verify, key=lambda one: (one.level, -one.every.about_s))
    proofs = ledger.proofs(*place, spec)
    at = last_proven(ledger, place[1], rule, proofs)
    reach = [one for one in proofs if one.level >= rule.level]
    last = max(reach, key=lambda one: one.at, default=None)
    return ProofAge(
        rule=rule,
        limit_s=SHELF_LIVES * rule.every.about_s,
        at=at,
        by=last.by if last else "a look at the store",
        best=max((one.level for one in proofs if one.is_current(now)), default=None),
        suspended=ledger.suspended(place[1]),
        simulated=last is not None and last.source == "simulated",
    )


def demanded_at_will(spec: Resource) -> Level:
    """Give how far `backup.verify` proves a resource; what only a drill proves stands beside that."""
    return max((one.level for one in spec.verify if one.by == "verify"), default=Level.L1)


def is_proven(
    spec: Resource, ledger: Ledger, place: tuple[str, str], points: Collection[str], now: datetime
) -> bool:
    """Whether all of these points in a store are proven now as far as `backup.verify` proves them.

    Of several that claim the same second nobody knows which is the newest.

    Args:
        place: resource and store.
    """
    demanded, proofs = demanded_at_will(spec), ledger.proofs(*place, spec)
    proven = {one.point for one in proofs if one.level >= demanded and one.is_current(now)}
    return bool(points) and proven.issuperset(points)


def last_proven(ledger: Ledger, store: str, rule: Verify, proofs: Sequence[Proof]) -> datetime | None:
    """Give when a level was proven last; of a repository read in parts, when the last part was."""
    if rule.level <= Level.L2:
        looks = ledger.checks.get(store, ())
        return max((one.at for one in looks if one.found.level >= rule.level), default=None)
    return max((one.at for one in proofs if one.level >= rule.level), default=None)
