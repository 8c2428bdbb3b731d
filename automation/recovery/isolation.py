"""Where a test failover happens: its server, what that may not reach, what is listed around it. Pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from automation.model.actions import (
    Action,
    AwaitReady,
    CreateIsolated,
    ListArchive,
    ListClusters,
    ListFolders,
    ListServers,
    LookAtRecords,
    ProveIsolated,
    RunPlaybook,
    Target,
)
from automation.model.catalog import PostgresqlStandby, RestoreFromBackup, Service
from automation.model.environment import UNMANAGED, Server
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Step
from automation.model.restorable import Copy, Restorable
from automation.model.secrets import SecretRef
from automation.recovery.planner import City
from automation.recovery.spec import Drill, Isolation

ISOLATES = frozenset({"nspawn"})
DNS_PORT = 53
LOOPBACK = "127.0.0.1"
# What a drill could leave on a host that it speaks to; its own server is removed with all that is on it.
FOLDERS = ("/var/lib/mainstay", "/var/lib/mainstay/scratch", "/etc/postgresql", "/var/lib/postgresql")
CREATE, READY, PROOF, PREPARE, REMOVE = (
    "drill/create",
    "drill/ready",
    "drill/isolated",
    "drill/prepare",
    "drill/remove",
)

Database = PostgresqlStandby | RestoreFromBackup


class Source(NamedTuple):
    """What a database is restored from, and every copy of it whose archive must stay as it is."""

    restorable: Restorable
    copies: tuple[Copy, ...]


class Given(NamedTuple):
    """What a test failover is made from, beside its files."""

    sources: Mapping[str, Source]
    secrets: Mapping[str, SecretRef]
    seed: int


class Scene(NamedTuple):
    """A test failover while it is compiled."""

    drill: Drill
    isolation: Isolation
    city: City
    services: Mapping[str, Service]
    given: Given
    server: Server

    @property
    def keepers(self) -> dict[str, str]:
        """Name to address of the hosts that keep what is restored: all that the server may reach."""
        names = {one.restorable.kept.keeper for one in self.given.sources.values()}
        return {name: self.city.inventory.server(name).address for name in sorted(names)}


def refuse_server(scene: Scene) -> None:
    """See that the drill's server is its own, can be isolated, and does not stand on what is lost.

    Raises:
        ConfigError: it is not on demand, or the copy stands at the site that is lost.
        PreflightError: nothing of ours isolates a server of its provider.
    """
    server, isolation = scene.server, scene.isolation
    if not server.on_demand:
        raise ConfigError(
            f"{server.name} is not declared on demand: a drill makes and removes its server; "
            "nothing was touched",
            hint=f"give {server.name} server_on_demand: true in the inventory, or name another",
        )
    if server.provider not in ISOLATES:
        provider = "unmanaged" if server.provider == UNMANAGED else server.provider
        raise PreflightError(
            f"{server.name}: nothing of ours isolates a server of provider {provider}: an isolated network "
            "has to be given there; nothing was changed",
            hint="declare a server of a lab (nspawn) for the drill",
        )
    for name, source in scene.given.sources.items():
        if source.restorable.site == scene.drill.site:
            raise ConfigError(
                f"{name}: {isolation.store} stands at {scene.drill.site}, which is lost in this drill; "
                "nothing was touched",
                hint="isolation: store: a copy at another site",
            )


# --- what is there before, and after -------------------------------------------------------------


def list_all(scene: Scene, when: str) -> Iterator[Step]:
    """List servers, clusters, archives, names and folders, side by side."""
    why = (
        "a drill leaves everything as it was" if when == "before" else "what is not as it was, is a leftover"
    )
    for what, action in _looks(scene, when):
        yield Step(id=f"{when}/{what}", run=action, why=why, timeout_s=120, on_failure="halt", retries=1)


def _looks(scene: Scene, when: str) -> Iterator[tuple[str, Action]]:
    sites = scene.city.catalog.sites.values()
    names = [one.name for service in scene.services.values() for one in service.endpoints.values()]
    yield "servers", ListServers()
    servers = tuple(site.dns_server for site in sites)
    yield "names", LookAtRecords(names=tuple(names), servers=servers, required=servers)
    hosts = _database_hosts(scene)
    for host in hosts:
        yield f"clusters-{host}", ListClusters(host=host)
    for copy in _copies(scene):
        artifact = f"archive-{copy.of.store}-{when}.txt"
        yield f"archive-{copy.of.store}", ListArchive(host=copy.keeper, of=copy.of, artifact=artifact)
    for host in dict.fromkeys((*hosts, *(copy.keeper for copy in _copies(scene)))):
        yield f"folders-{host}", ListFolders(host=host, folders=FOLDERS)


def _database_hosts(scene: Scene) -> tuple[str, ...]:
    hosts = (
        host
        for service in scene.services.values()
        if isinstance(service.strategy, Database)
        for host in service.strategy.hosts.values()
    )
    return tuple(dict.fromkeys(hosts))


def _copies(scene: Scene) -> tuple[Copy, ...]:
    return tuple(dict.fromkeys(copy for one in scene.given.sources.values() for copy in one.copies))


# --- the isolated server -------------------------------------------------------------------------


def set_up(scene: Scene, listed: tuple[str, ...]) -> tuple[Step, ...]:
    """Make the server, prove that it is isolated, then set it up."""
    server = scene.server
    names = {e.name: LOOPBACK for service in scene.services.values() for e in service.endpoints.values()}
    create = Step(
        id=CREATE,
        run=CreateIsolated(
            host=server.name,
            site=server.site,
            address=server.address,
            image=server.image,
            reach=scene.keepers,
            names=names,
        ),
        why="a copy of production must reach nothing of it, from its first packet on",
        needs=listed,
        timeout_s=60,
        on_failure="halt",
    )
    ready = Step(id=READY, run=AwaitReady(host=server.name), why="up is what answers", needs=(CREATE,))
    proof = Step(
        id=PROOF,
        run=_proof(scene),
        why="an isolation that nobody tried is a hope",
        needs=(READY,),
        timeout_s=60,
        on_failure="halt",
    )
    prepare = Step(
        id=PREPARE,
        run=RunPlaybook(
            playbook=scene.isolation.prepare,
            limit=server.name,
            variables={"mainstay_services": ",".join(scene.services)},
            secrets=scene.given.secrets,
        ),
        why="what services need there, with every link out of them cut",
        needs=(PROOF,),
        timeout_s=600,
    )
    return (create, ready, proof, prepare)


def _proof(scene: Scene) -> ProveIsolated:
    inventory, keepers = scene.city.inventory, scene.keepers
    vantage = _vantage(scene)
    outsiders = [vantage, *(scene.services[name].hosts_at(scene.drill.site)[0] for name in scene.services)]
    return ProveIsolated(
        host=scene.server.name,
        address=scene.server.address,
        refused=tuple(_production(scene)),
        reached=tuple(
            Target(what=f"{name}, which keeps the backups", address=address, port=inventory.server(name).port)
            for name, address in keepers.items()
        ),
        vantage=vantage,
        outsiders=tuple(dict.fromkeys(outsiders)),
    )


def _vantage(scene: Scene) -> str:
    """A production host beside the isolated server: what answers it would answer the server, too."""
    for service in scene.services.values():
        for host in service.hosts_at(service.recovery):
            if host not in scene.keepers:
                return host
    return scene.city.environment.witness.host


def _production(scene: Scene) -> Iterator[Target]:
    """What must be out of reach: the services where they run, their other hosts, names, links."""
    inventory, seen = scene.city.inventory, set(scene.keepers.values())
    for name, service in scene.services.items():
        primary = inventory.server(service.hosts_at(service.primary)[0])
        for endpoint_id, endpoint in service.endpoints.items():
            what = f"{endpoint_id} of {name} on {primary.name}"
            yield Target(what=what, address=primary.address, port=endpoint.port)
    for host in _others(scene):
        server = inventory.server(host)
        if server.address not in seen:
            seen.add(server.address)
            yield Target(what=f"{host} at {server.site}", address=server.address, port=server.port)
    for site in scene.city.catalog.sites.values():
        server = inventory.server(site.dns_server)
        what = f"name server {server.name}"
        yield Target(what=what, address=server.address, port=DNS_PORT, kind="dns")
    for name, place in scene.isolation.links.items():
        host, _, port = place.rpartition(":")
        known = inventory.servers.get(host)
        yield Target(what=f"link {name}", address=known.address if known else host, port=int(port))


def _others(scene: Scene) -> Iterator[str]:
    """Hosts of the services at both sites, one of every other site, and the client's."""
    for service in scene.services.values():
        for site in (service.primary, service.recovery):
            yield from service.hosts_at(site)
    yield scene.city.environment.witness.host
    first: dict[str, str] = {}
    for name, server in scene.city.inventory.standing.items():
        if name not in scene.keepers:
            first.setdefault(server.site, name)
    yield from first.values()
