"""How every resource stands now: what could be restored, how far that is proven, what is wrong."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from automation.backups.proof_steps import stanza
from automation.backups.sighting import strangers
from automation.backups.standing import BackupStanding, Facts, Place, Reach, ResourceStanding, stand
from automation.backups.stores import PgbackrestStore
from automation.commands._backups import Area, choose, load_area, look, look_at_archiving, rpo_of
from automation.commands._clouds import simulated_stores
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import EXIT_PARTIAL, AdapterError, NotMet
from automation.model.recovery_points import RecoveryPoint


class ListedPoint(Model):
    """One recovery point as a store has it, and how far it is proven."""

    resource: str
    store: str
    point: RecoveryPoint
    level: str
    suspended: bool = False


class Listing(Model):
    """Every point of some resources, newest first, and the stores that could not be looked at."""

    points: tuple[ListedPoint, ...]
    problems: tuple[str, ...]
    strangers: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        return EXIT_PARTIAL if self.problems else 0


def look_at_standing(session: Session, resource: str = "") -> BackupStanding:
    """Judge every resource, or one; changes nothing.

    Raises:
        ConfigError: the files have faults, or there is no such resource.
    """
    backups, catalog = load_area(session)
    named = choose(backups, resource.replace(" ", "").split(","))
    rpos = {name: rpo_of(backups, catalog, name) for name in named}
    with ThreadPoolExecutor(1) as pool:  # the stores are looked at meanwhile
        archivers = pool.submit(look_at_archiving, session, backups, catalog, named)
        area = look(session, named)
        reach = look_at_reach(session, area, named)
    observed = replace(area.observed, archivers=archivers.result())
    facts = Facts(area.backups, area.ledger, observed, reach, simulated_stores(session, area.backups))
    return BackupStanding(
        environment=session.environment.name,
        at=area.observed.at,
        resources=tuple(stand(facts, name, rpos[name]) for name in named),
        strangers=tuple(_strangers(area)),
    )


def judge(standing: BackupStanding) -> int:
    """Give the exit code of a standing.

    Raises:
        NotMet: something is red.
    """
    red = [row for row in standing.resources if row.state == "red"]
    if red:
        told = "; ".join(f"{row.resource}: {row.wrong[0]}" for row in red[:3])
        more = f"; and {len(red) - 3} more" if len(red) > 3 else ""
        raise NotMet(
            f"{len(red)} of {len(standing.resources)} resources are red: {told}{more}",
            hint=_act(red[0], standing),
        )
    return EXIT_PARTIAL if any(row.state == "unknown" for row in standing.resources) else 0


def list_points(session: Session, resource: str = "", store: str = "") -> Listing:
    """Give the points of every resource, or of some; changes nothing."""
    area = look(session, resource.replace(" ", "").split(","))
    named = choose(area.backups, resource.replace(" ", "").split(","))
    found = []
    for name in named:
        for place in area.backups.resources[name].to:
            if store in ("", place):
                found += _listed(area, name, place)
    problems = [
        f"{one.store}: {one.problem}"
        for one in area.observed.stores.values()
        if one.problem and store in ("", one.store)
    ]
    return Listing(points=tuple(found), problems=tuple(problems), strangers=tuple(_strangers(area)))


def look_at_reach(session: Session, area: Area, resources: Iterable[str]) -> dict[Place, Reach]:
    """Look how far each database can be restored by its WAL; what cannot be seen is left out."""
    places = [
        (name, store)
        for name in resources
        for store in area.backups.resources[name].to
        if isinstance(area.backups.stores[store], PgbackrestStore) and area.observed.points(name, store)
    ]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda place: _reach(session, area, place[1]), places)
        return {place: reach for place, reach in zip(places, found, strict=True) if reach is not None}


def _reach(session: Session, area: Area, store: str) -> Reach | None:
    from automation.adapters import pgbackrest

    known = area.backups.stores[store]
    assert isinstance(known, PgbackrestStore)
    try:
        window = pgbackrest.look_at_window(session.remote(known.keeper.host), stanza(area.backups, store))
    except AdapterError:
        return None
    gaps = (f"{gap.first:%Y-%m-%d %H:%M:%S} to {gap.last:%Y-%m-%d %H:%M:%S} UTC" for gap in window.gaps)
    return Reach(window.latest, tuple(gaps))


def _listed(area: Area, resource: str, store: str) -> list[ListedPoint]:
    points = area.observed.points(resource, store) or ()
    best = {point.id: "L0" for point in points}
    for proof in area.ledger.proofs(resource, store, area.backups.resources[resource]):
        if proof.point in best:
            best[proof.point] = max(best[proof.point], proof.level.name)
    suspended = bool(area.ledger.suspended(store))
    return [
        ListedPoint(resource=resource, store=store, point=one, level=best[one.id], suspended=suspended)
        for one in points
    ]


def _strangers(area: Area) -> Iterable[str]:
    for (resource, store), count in strangers(area.backups, area.observed).items():
        yield f"{store} has {count} points of {resource}, which backups.yml does not have there: not touched"


def _act(row: ResourceStanding, standing: BackupStanding) -> str:
    """Say what to type about the first thing that is wrong."""
    env, name, first = standing.environment, row.resource, row.wrong[0]
    if first.startswith(("strange figures", "points gone", "take failed", "proof failed")):
        return f"./inv backup.clear --env {env} --resource {name} shows it; with --reason a person clears it"
    if first.startswith("archive_"):
        return f"set it in postgresql_settings of the inventory; ./inv provision.converge --env {env}"
    if first.startswith("WAL waits"):
        return (
            "the log of PostgreSQL there says why; "
            f"./inv provision.converge --env {env} sets archive_command as declared"
        )
    if "proven" in first or "no proof" in first:
        return f"./inv backup.verify --env {env} --resource {name}"
    if "lock" in first or "immutable" in first:
        return f"./inv backup.canary --env {env}"
    return f"./inv backup.run --env {env} --resource {name}; ./inv run.list --env {env} shows what failed"
