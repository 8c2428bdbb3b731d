"""What is restored from backup, held against backups.yml, the inventory and the disk: no host is asked."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from automation.backups.resources import Postgresql
from automation.backups.spec import Backups, load_backups
from automation.backups.stores import PgbackrestStore
from automation.commands._command import ROOT
from automation.model.catalog import RestoreFromBackup, Service
from automation.model.catalog_checks import Finding
from automation.model.environment import Environment, Inventory
from automation.model.errors import ConfigError, Problem
from automation.model.loading import read_document
from automation.model.refusals import near
from automation.recovery.spec import Drill, Isolation


def lint_strategies(environment: Environment, services: Mapping[str, Service]) -> Iterator[Finding]:
    """Find services that would be restored from what is not saved, or from where it is lost with them."""
    backups = _backups(environment)
    for name, service in services.items():
        if isinstance(service.strategy, RestoreFromBackup):
            for key, message in _strategy(service, service.strategy, backups):
                yield Finding(("services", name, "strategy", key), message)


def lint_drill(
    environment: Environment, inventory: Inventory, services: Mapping[str, Service], drill: Drill
) -> Iterator[Problem]:
    """Find what keeps a test failover from starting; one of another environment is passed over."""
    backups = _backups(environment)
    if drill.isolation is None or backups is None or not set(drill.isolation.services) <= set(services):
        return
    path = ROOT / "drtests/drills" / f"{drill.name}.yml"
    document = read_document(path)
    for key, message in _isolation(drill, drill.isolation, inventory, backups):
        where = ("isolation", key)
        yield Problem(str(path), document.line(where), ".".join(where), message)


def _backups(environment: Environment) -> Backups | None:
    with suppress(ConfigError):  # its own faults are told by the commands of backups
        if (path := environment.folder / "backups.yml").is_file():
            return load_backups(path)
    return None


def _strategy(
    service: Service, strategy: RestoreFromBackup, backups: Backups | None
) -> Iterator[tuple[str, str]]:
    if not (ROOT / strategy.configure).is_file():
        yield "configure", f"there is no playbook {strategy.configure}"
    if backups is None:
        yield "resource", "there is no backups.yml that could be read: nothing says that it is saved"
        return
    resource = backups.resources.get(strategy.resource)
    if resource is None or not isinstance(resource.source, Postgresql):
        known = [name for name, one in backups.resources.items() if isinstance(one.source, Postgresql)]
        yield "resource", f"no resource of kind postgresql; {near(strategy.resource, known)}"
    elif strategy.store not in resource.to:
        yield "store", f"{strategy.resource} is not saved there; {near(strategy.store, resource.to)}"
    elif backups.stores[strategy.store].site == service.primary:
        yield "store", f"stands at {service.primary}, and is lost with the service; name another copy"


def _isolation(
    drill: Drill, isolation: Isolation, inventory: Inventory, backups: Backups
) -> Iterator[tuple[str, str]]:
    server = inventory.servers.get(isolation.host)
    if server is None or not server.on_demand:
        what = "is not in the inventory" if server is None else "is not declared on demand"
        yield "host", f"{isolation.host} {what}; declare it there with server_on_demand: true"
    for path in (isolation.prepare, *isolation.checks):
        if not (ROOT / path).exists():
            yield ("prepare" if path == isolation.prepare else "checks"), f"there is no {path}"
    store = backups.stores.get(isolation.store)
    if not isinstance(store, PgbackrestStore):
        yield "store", f"{isolation.store} is no repository of pgBackRest in backups.yml"
    elif store.site == drill.site:
        yield "store", f"stands at {drill.site}, which is lost in this drill; name another copy"
