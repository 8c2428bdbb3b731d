"""Which resources of backups.yml a test on copies proves: what its images and snapshots are points of."""

from collections.abc import Iterator, Mapping

from automation.backups.resources import RdsSnapshots
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore
from automation.commands._backups import load_area
from automation.commands._session import Session
from automation.model.catalog import AwsPilotLight, Service
from automation.recovery.proving_copies import Kept, Provable


def provable_of(session: Session, services: Mapping[str, Service]) -> dict[str, Provable]:
    """Give by service what a test of it proves; nothing where backups.yml is not there.

    Raises:
        ConfigError: the files have faults.
    """
    if not (session.environment.folder / "backups.yml").is_file():
        return {}
    backups, _ = load_area(session)
    return {
        name: provable_in(backups, service, service.strategy)
        for name, service in services.items()
        if isinstance(service.strategy, AwsPilotLight)
    }


def provable_in(backups: Backups, service: Service, strategy: AwsPilotLight) -> Provable:
    """Give the resources whose points in the recovery region one service is launched from."""
    site, database = service.recovery, strategy.database_at(service.primary)
    saved = [
        name
        for name, spec in backups.resources.items()
        if database and isinstance(spec.source, RdsSnapshots) and spec.source.database == database
    ]
    return Provable(
        images=tuple(_kept(backups, strategy.images, site)),
        snapshots=tuple(kept for name in saved for kept in _kept(backups, name, site)),
    )


def _kept(backups: Backups, resource: str, site: str) -> Iterator[Kept]:
    """The store of a resource at a site: backups.yml lets it have one in a region at most."""
    for store in backups.resources[resource].to if resource in backups.resources else ():
        known = backups.stores[store]
        if isinstance(known, AwsStore) and known.site == site:
            yield Kept(resource, store)
