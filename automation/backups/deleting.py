"""The deletion of points, as the program or provider that keeps them takes it: always by full ids. Pure."""

from collections.abc import Sequence
from datetime import datetime

from automation.backups.clouds import FAMILIES, vault
from automation.backups.places import repository
from automation.backups.proof_steps import stanza
from automation.backups.resources import VsphereSnapshots
from automation.backups.spec import Backups
from automation.backups.stores import PgbackrestStore, ResticStore
from automation.model.actions import DeleteVaultPoints, ExpireBackups, ForgetPoints, RemoveRollbacks
from automation.model.actions.points import Deletion
from automation.model.recovery_points import RecoveryPoint


def deletion_of(
    backups: Backups,
    place: tuple[str, str],
    going: Sequence[RecoveryPoint],
    stay: tuple[str, ...],
    now: datetime,
) -> Deletion:
    """Give the action that deletes points of a resource in a store; those that stay must be there then."""
    resource, store = place
    known, points = backups.stores[store], tuple(sorted({point.id for point in going}))
    match known:
        case ResticStore():
            host, of = known.keeper.host, repository(backups, store, known.keeper.host)
            return ForgetPoints(host=host, resource=resource, of=of, points=points, stay=stay)
        case PgbackrestStore():
            return ExpireBackups(
                host=known.keeper.host,
                resource=resource,
                of=stanza(backups, store),
                points=points,
                stay=stay,
                pitr_since=backups.pitr_since(store, now),
            )
    return _of_cloud(backups, place, going, points, stay)


def _of_cloud(
    backups: Backups,
    place: tuple[str, str],
    going: Sequence[RecoveryPoint],
    points: tuple[str, ...],
    stay: tuple[str, ...],
) -> Deletion:
    """Name all that each point consists of: the provider deletes parts, and no points."""
    resource, of = place[0], vault(backups, place[1])
    source = backups.resources[resource].source
    members = {point.id: point.members for point in sorted(going, key=lambda one: one.id)}
    if isinstance(source, VsphereSnapshots):
        return RemoveRollbacks(
            resource=resource, of=of, vm=source.vm, points=points, members=members, stay=stay
        )
    family = FAMILIES[source.kind]
    return DeleteVaultPoints(
        resource=resource, family=family, of=of, points=points, members=members, stay=stay
    )
