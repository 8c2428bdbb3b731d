"""How far the backups are proven that services would be brought back from: for readiness."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from automation.backups.proof_age import proof_age
from automation.backups.spec import Backups
from automation.commands._backups import ledger_of, load_area
from automation.commands._clouds import simulated_stores
from automation.commands._provable import provable_in
from automation.commands._session import Session
from automation.model.catalog import AwsPilotLight, RestoreFromBackup, Service
from automation.recovery.readiness_copies import Proven

Place = tuple[str, str]  # resource and store


def proven_of(session: Session, services: Mapping[str, Service], now: datetime) -> tuple[Proven, ...]:
    """Give the last proof of every backup that a strategy restores or launches from; asks no store.

    Raises:
        ConfigError: backups.yml has faults.
        PreflightError: the ledger cannot be read.
    """
    restoring = {
        n: s for n, s in services.items() if isinstance(s.strategy, RestoreFromBackup | AwsPilotLight)
    }
    if not restoring or not (session.environment.folder / "backups.yml").is_file():
        return ()
    backups, _ = load_area(session)
    ledger, simulated = ledger_of(session, backups, now), simulated_stores(session, backups)
    found = []
    for name, service in restoring.items():
        for resource, store in places_of(backups, service):
            age = proof_age(backups.resources[resource], ledger, (resource, store), now)
            found.append(
                Proven(
                    service=name,
                    resource=resource,
                    store=store,
                    demanded=age.rule.level,
                    limit_s=age.limit_s,
                    by_drill=age.rule.by == "drill",
                    at=age.at,
                    by=age.by,
                    best=age.best,
                    suspended=age.suspended,
                    source="simulated" if age.simulated or store in simulated else "real",
                )
            )
    return tuple(found)


def places_of(backups: Backups, service: Service) -> Iterator[Place]:
    """Give where what a service is brought back from is kept; nothing where backups.yml does not have it."""
    strategy = service.strategy
    if isinstance(strategy, RestoreFromBackup) and strategy.resource in backups.resources:
        yield strategy.resource, strategy.store
    if isinstance(strategy, AwsPilotLight):
        provable = provable_in(backups, service, strategy)
        yield from ((one.resource, one.store) for one in (*provable.images, *provable.snapshots))
