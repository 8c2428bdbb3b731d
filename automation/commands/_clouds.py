"""Looking at stores of cloud providers: what a region or a vCenter holds, and whether it is simulated."""

from automation.backups.clouds import families_in, vault
from automation.backups.copies import bucket_of
from automation.backups.sighting import StoreSeen
from automation.backups.spec import Backups
from automation.backups.stores import AwsStore, VsphereStore
from automation.commands._session import Session
from automation.model.environment import Environment
from automation.model.errors import AdapterError, ConfigError
from automation.model.providers import AwsProvider
from automation.model.simulators import VcenterSimulator


def look_at_cloud(session: Session, backups: Backups, store: str) -> StoreSeen:
    """List what is ours in a store at a provider; with a problem nothing is known of it."""
    known = backups.stores[store]
    try:
        if isinstance(known, AwsStore):
            return _look_at_region(session, backups, store)
        return _look_at_vcenter(session, backups, store)
    except (AdapterError, ConfigError) as exc:
        return StoreSeen(store=store, problem=str(exc))


def simulated_stores(session: Session, backups: Backups) -> frozenset[str]:
    """Name the stores at which a simulator of the lab answers."""
    places = {name: bucket_of(store) for name, store in backups.stores.items()}
    at_buckets = {name for name, url in places.items() if session.environment.simulator_at(url)}
    return frozenset(at_buckets | _simulated_clouds(session, backups))


def _simulated_clouds(session: Session, backups: Backups) -> frozenset[str]:
    """Name the stores whose provider is a simulator of the lab."""
    return frozenset(
        name
        for name, store in backups.stores.items()
        if isinstance(store, AwsStore | VsphereStore) and _is_simulated(session.environment, store)
    )


def _look_at_region(session: Session, backups: Backups, store: str) -> StoreSeen:
    from automation.adapters.aws import list_points

    seen = list_points(vault(backups, store), families_in(backups, store), session.context("look"))
    return StoreSeen(
        store=store, points=seen.points, locked_until=seen.locked_until, locks_problem=seen.locks_problem
    )


def _look_at_vcenter(session: Session, backups: Backups, store: str) -> StoreSeen:
    from automation.adapters.vsphere import list_alarms, list_rollbacks

    of, ctx = vault(backups, store), session.context("look")
    return StoreSeen(store=store, points=list_rollbacks(of, ctx), alarms=list_alarms(of, ctx))


def _is_simulated(environment: Environment, store: AwsStore | VsphereStore) -> bool:
    """Whether a provider is none of the world: an endpoint is declared for simulators alone."""
    known = next(
        (p for p in environment.providers.values() if (p.kind, p.site) == (store.type, store.site)), None
    )
    if isinstance(known, AwsProvider):
        return bool(known.endpoint)
    simulators = environment.lab.simulators.values() if environment.lab else ()
    names = {one.name for one in simulators if isinstance(one, VcenterSimulator)}
    return known is not None and known.address in names
