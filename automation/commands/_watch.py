"""A watch of the lab's checkers: from the clients' network and from each site's, over both databases."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from automation.adapters import checker
from automation.commands._command import progress
from automation.commands._session import Session
from automation.model.actions import MakeKeys
from automation.model.catalog import Catalog, PostgresqlStandby, Redeploy, load_catalog
from automation.model.environment import Environment
from automation.model.errors import ConfigError
from automation.recovery.overlap import Record, Writability, fold_writability, read_record


class Databases(NamedTuple):
    """The pair of database nodes that a watch is about, their service and the primary's site."""

    primary: str
    standby: str
    cluster: str
    service: str
    site: str


class Watching(NamedTuple):
    """A watch that was begun, and all that it takes to go on with it."""

    session: Session
    databases: Databases
    hosts: tuple[str, ...]
    watch: checker.Watch
    password: str


def find_databases(environment: Environment) -> Databases:
    """Give the first database of an environment that has a standby.

    Raises:
        ConfigError: none has.
    """
    catalog = load_catalog(environment.folder / "services.yml")
    for name, service in catalog.services.items():
        strategy = service.strategy
        if isinstance(strategy, PostgresqlStandby):
            hosts = strategy.hosts
            primary, standby = hosts[service.primary], hosts[service.recovery]
            return Databases(primary, standby, strategy.cluster, name, service.primary)
    raise ConfigError(
        f"no service of {environment.name} has a database with a standby: there is nothing to watch",
        hint=f"./inv dev.campaign --env {environment.name} without --checker; or name one in services.yml",
    )


def find_vantages(session: Session, catalog: Catalog) -> tuple[str, ...]:
    """Give a host of the clients' network and one of each site's applications."""
    apps = (s.strategy.hosts for s in catalog.services.values() if isinstance(s.strategy, Redeploy))
    hosts = (session.environment.witness.host, *(host for pair in apps for host in pair.values()))
    return tuple(dict.fromkeys(hosts))


def begin_watch(session: Session, watch_id: str) -> Watching:
    """Make the checker's role on the primary and start a checker at every vantage."""
    from automation.adapters import keys

    session.environment.require_lab()
    databases = find_databases(session.environment)
    catalog = load_catalog(session.environment.folder / "services.yml")
    keys.make(MakeKeys(secrets=(checker.SECRET,)), session.context(watch_id))
    password = (session.state / "secrets" / checker.SECRET).read_text().strip()
    nodes = {host: session.inventory.server(host).address for host in (databases.primary, databases.standby)}
    watching = Watching(
        session,
        databases,
        find_vantages(session, catalog),
        checker.Watch(id=watch_id, nodes=nodes),
        password,
    )
    checker.prepare(databases.primary, databases.cluster, password, session.remote(databases.primary))
    start_checkers(watching)
    return watching


def start_checkers(watching: Watching) -> None:
    """Start the checker wherever it does not run: at first, and on hosts that were down."""
    session = watching.session
    networks = session.environment.require_lab().sites

    def start(host: str) -> None:
        server = session.inventory.server(host)
        vantage = checker.Vantage(host=host, address=server.address, network=networks[server.site])
        checker.start(vantage, watching.watch, watching.password, session.remote(host))

    _on_all(start, watching.hosts)


def end_watch(watching: Watching, folder: Path) -> tuple[tuple[Record, ...], Writability]:
    """Stop the checkers, keep their records in a folder, and fold them."""

    def fetch(host: str) -> Record:
        content = checker.collect(host, watching.watch, watching.session.remote(host))
        (folder / f"checker-{host}.jsonl").write_text(content)
        return read_record(content)

    records = _on_all(fetch, watching.hosts)
    folded = fold_writability(records)
    (folder / "writability.json").write_text(folded.model_dump_json(indent=1))
    return records, folded


def let_time_pass(seconds: float, why: str) -> int:
    """Wait; give the moment it began on the monotonic clock, which a lab's hosts share with this machine."""
    began_ns = time.monotonic_ns()
    progress(f"watching for {seconds:g} s: {why}")
    time.sleep(seconds)
    return began_ns


def _on_all(act: Callable[[str], Record | None], hosts: Iterable[str]) -> tuple[Record, ...]:
    with ThreadPoolExecutor() as threads:
        return tuple(answer for answer in threads.map(act, hosts) if answer is not None)
