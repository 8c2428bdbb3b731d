"""Points at cloud providers as actions: how each kind is taken, copied, checked and deleted. Pure."""

from collections.abc import Mapping

from automation.backups.resources import EbsSnapshots, MachineImage, RdsSnapshots, VsphereSnapshots
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore
from automation.model.actions import (
    Action,
    CheckVault,
    CopyVaultPoints,
    TakeDatabaseSnapshot,
    TakeImage,
    TakeRollback,
    TakeSnapshots,
)
from automation.model.actions.points import Family, PointLock, Vault

CLOUD_MAKERS = (TakeSnapshots, TakeImage, TakeDatabaseSnapshot, CopyVaultPoints, TakeRollback)
FAMILIES: Mapping[str, Family] = {
    "ebs-snapshots": "snapshots",
    "machine-image": "images",
    "rds-snapshots": "databases",
}


def vault(backups: Backups, store: str) -> Vault:
    """Give a store at a provider as actions name it."""
    return Vault(store=store, site=backups.stores[store].site)


def families_in(backups: Backups, store: str) -> tuple[Family, ...]:
    """Give the kinds of points that `backups.yml` has in a store of AWS."""
    kinds = (one.source.kind for one in backups.resources.values() if store in one.to)
    return tuple(sorted({FAMILIES[kind] for kind in kinds if kind in FAMILIES}))


def take_of(backups: Backups, resource: str, store: str) -> Action:
    """Give the action that takes a resource into its store."""
    source, to, lock = backups.resources[resource].source, vault(backups, store), _lock(backups, store)
    match source:
        case EbsSnapshots():
            return TakeSnapshots(resource=resource, to=to, lock=lock, servers=source.servers)
        case MachineImage():
            return TakeImage(resource=resource, to=to, lock=lock, server=source.server, reboot=source.reboot)
        case RdsSnapshots():
            return TakeDatabaseSnapshot(resource=resource, to=to, database=source.database)
        case VsphereSnapshots():
            return TakeRollback(resource=resource, to=to, vm=source.vm, quiesce=source.quiesce)
    raise TypeError(f"{source.kind} is at no provider")


def copy_of(backups: Backups, resource: str, origin: str, store: str, leave: tuple[str, ...]) -> Action:
    """Give the action that copies a resource's points to another region or account."""
    target = backups.stores[store]
    assert isinstance(target, AwsStore)
    return CopyVaultPoints(
        resource=resource,
        family=FAMILIES[backups.resources[resource].source.kind],
        source=vault(backups, origin),
        target=vault(backups, store),
        lock=_lock(backups, store),
        kms_key=target.kms_key,
        leave=leave,
    )


def check_of(backups: Backups, store: str) -> CheckVault:
    """Give the look at all points of a store (L1)."""
    known, origin = backups.stores[store], backups.copied_by(store)
    assert isinstance(known, AwsStore)
    return CheckVault(
        of=vault(backups, store),
        families=families_in(backups, store),
        copy_of=vault(backups, origin) if origin else None,
        encrypted=known.encrypted,
    )


def _lock(backups: Backups, store: str) -> PointLock | None:
    lock = backups.stores[store].lock
    return None if lock is None else PointLock(mode=lock.mode, span_s=lock.span.about_s)
