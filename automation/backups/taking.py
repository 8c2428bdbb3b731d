"""The steps of a backup: each resource is taken into its first store, then copied to the others. Pure.

What fails of one resource stops no other; older points are copied though a new one could not be taken.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.clouds import CLOUD_MAKERS, copy_of, take_of
from automation.backups.due import Due, judge
from automation.backups.entries import TAKE_PLAN
from automation.backups.ledger import Ledger
from automation.backups.places import config_folder, dump_file, repository
from automation.backups.proof_steps import stanza
from automation.backups.resources import (
    CloudSource,
    DeviceConfig,
    Files,
    Postgresql,
    PostgresqlDump,
    VsphereSnapshots,
)
from automation.backups.sighting import Observed
from automation.backups.spec import Backups
from automation.backups.stores import PgbackrestStore, ResticStore
from automation.model.actions import (
    Action,
    CopyPoints,
    DumpDatabase,
    FetchConfig,
    TakeBackup,
    TakeFiles,
)
from automation.model.base import Model
from automation.model.plan import Limits, Plan, Step
from automation.model.recovery_points import RecoveryPoint

FETCH_S, DUMP_S, TAKE_S, COPY_S = 120.0, 6 * 3600.0, 24 * 3600.0, 24 * 3600.0
RETRIES = 2
LIMITS = Limits(total=16, per_host=2)


class Places(NamedTuple):
    """Where things are now: the primary of each database, and the devices of each resource.

    What could not be found out has its reason in `unknown`, by resource.
    """

    primaries: Mapping[str, str]
    devices: Mapping[str, tuple[str, ...]]
    unknown: Mapping[str, str]


class Seen(NamedTuple):
    """What the stores show, and what the ledger knows."""

    observed: Observed
    ledger: Ledger


class Wanted(NamedTuple):
    """What is asked for: some resources or all, only what is due, a full backup whatever is due."""

    resources: tuple[str, ...]
    due_only: bool = False
    full: bool = False


class LeftOut(Model):
    """A resource of which nothing is taken into a store, and why; `is_fault` if it should have been."""

    resource: str
    store: str
    reason: str
    is_fault: bool = False


class Backup(NamedTuple):
    """The plan of a backup, and what it leaves out."""

    plan: Plan
    left_out: tuple[LeftOut, ...]

    @property
    def points(self) -> int:
        """How many points it takes or copies, each copy being one at least."""
        makers = (TakeFiles, TakeBackup, CopyPoints, *CLOUD_MAKERS)
        return sum(isinstance(step.run, makers) for step in self.plan.steps)


def plan_backup(backups: Backups, wanted: Wanted, seen: Seen, places: Places, *, environment: str) -> Backup:
    """Compile what is wanted into one plan; the time is that of the look at the stores."""
    steps: list[Step] = []
    left_out: list[LeftOut] = []
    for name in wanted.resources:
        if name in places.unknown:
            left_out.append(LeftOut(resource=name, store="", reason=places.unknown[name], is_fault=True))
            continue
        dues = _dues(backups, name, wanted, seen)
        left_out += [
            LeftOut(resource=name, store=store, reason=due.why) for store, due in dues.items() if not due.now
        ]
        now = {store: due for store, due in dues.items() if due.now}
        # What a copy lacks is copied though no new point is due.
        to = [one for one in _to(backups, name) if now or _lacks(backups, name, one, seen.observed)]
        steps += [*_steps(backups, name, now, places), *_copied(backups, name, now, to, seen.ledger)]
    plan = Plan(name=TAKE_PLAN, environment=environment, mode="apply", steps=tuple(steps), limits=LIMITS)
    return Backup(plan, tuple(left_out))


def taken_into(backups: Backups, resource: str) -> tuple[str, ...]:
    """Give the stores that a resource is taken into; the others of its stores copy from them."""
    stores = backups.resources[resource].to
    return tuple(store for store in stores if not _copies(backups, store, stores))


def _copies(backups: Backups, store: str, stores: Sequence[str]) -> bool:
    return backups.copied_by(store) in stores and store != stores[0]


def _dues(backups: Backups, name: str, wanted: Wanted, seen: Seen) -> dict[str, Due]:
    """Say for each store that is taken into what is due there, or asked for."""
    resource, zone = backups.resources[name], ZoneInfo(backups.tz)
    dues = {}
    for store in taken_into(backups, name):
        points = seen.observed.points(name, store)
        known = _known(seen.ledger, name, store) if points is None else points
        due = judge(resource.take, known, seen.observed.at, zone)
        if not wanted.due_only:
            due = due._replace(now=True, why="asked for" if not due.now else due.why)
        dues[store] = due._replace(type="full") if wanted.full else due
    return dues


def _known(ledger: Ledger, resource: str, store: str) -> tuple[RecoveryPoint, ...]:
    """Give what jobs of ours made in a store that cannot be looked at now; it is not taken for empty."""
    words = (
        {
            "id": one.point,
            "resource": resource,
            "copy": store,
            "claimed_at": one.claimed_at,
            "status": one.status,
            "depends_on": (one.point.partition("_")[0],) if "_" in one.point else (),  # of pgBackRest
        }
        for one in ledger.taken(resource, store)
        if one.point in ledger.known(resource, store)
    )
    return tuple(map(RecoveryPoint.model_validate, words))


def _steps(backups: Backups, name: str, dues: Mapping[str, Due], places: Places) -> Iterator[Step]:
    if not dues:
        return
    source = backups.resources[name].source
    if isinstance(source, CloudSource | VsphereSnapshots):
        for store, due in dues.items():
            action = take_of(backups, name, store)
            yield _step(f"{name}/take-{store}", action, f"into {store}: {due.why}", TAKE_S)
        return
    if isinstance(source, Postgresql):
        yield from _clusters(backups, name, source, dues, places.primaries[name])
        return
    yield from _prepared(backups, name, places)
    before = ""
    for store, due in dues.items():
        step = _take(backups, name, store, due, places)
        # The first store is the one that restores come from: it is taken first.
        yield step.model_copy(update={"after": (*step.after, *([before] if before else []))})
        before = step.id


def _step(step_id: str, run: Action, why: str, timeout_s: float, **more: tuple[str, ...]) -> Step:
    return Step(
        id=step_id,
        run=run,
        why=why,
        timeout_s=timeout_s,
        retries=RETRIES,
        **more,  # type: ignore[arg-type]
    )


def _clusters(
    backups: Backups, name: str, source: Postgresql, dues: Mapping[str, Due], primary: str
) -> Iterator[Step]:
    before: tuple[str, ...] = ()
    for store, due in dues.items():
        known = backups.stores[store]
        assert isinstance(known, PgbackrestStore)
        action = TakeBackup(
            host=known.keeper.host,
            resource=name,
            primary=primary,
            cluster=source.cluster,
            to=stanza(backups, store),
            type=due.type,
        )
        why = f"{due.type} into {store}: {due.why}"
        step = _step(f"{name}/take-{store}", action, why, TAKE_S, after=before)
        yield step
        before = (step.id,)


def _prepared(backups: Backups, name: str, places: Places) -> Iterator[Step]:
    """What is made before it is saved: a dump, or the configuration of each device."""
    source = backups.resources[name].source
    if isinstance(source, PostgresqlDump):
        action = DumpDatabase(
            host=places.primaries[name],
            cluster=source.cluster,
            database=source.database,
            file=dump_file(name),
        )
        yield _step(f"{name}/dump", action, f"database {source.database} is saved from a whole file", DUMP_S)
    elif isinstance(source, DeviceConfig):
        for device in places.devices[name]:
            fetch = FetchConfig(
                host=_host(backups, name, places),
                device=device,
                vendor=source.vendor,
                folder=config_folder(name),
                split_secrets=source.split_secrets,
                login=source.login,
            )
            yield _step(_fetch_id(name, device), fetch, f"what {device} runs with now", FETCH_S)


def _take(backups: Backups, name: str, store: str, due: Due, places: Places) -> Step:
    source = backups.resources[name].source
    host = _host(backups, name, places)
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    must_exist: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    if isinstance(source, Files):
        paths, must_exist, exclude = source.paths, source.must_exist, source.exclude
    elif isinstance(source, PostgresqlDump):
        paths, must_exist, needs = (dump_file(name),), (dump_file(name),), (f"{name}/dump",)
    elif isinstance(source, DeviceConfig):
        devices = places.devices[name]
        paths = (config_folder(name),)
        must_exist = tuple(f"{config_folder(name)}/{device}.conf" for device in devices)
        # One silent device is told by its own step, and keeps no other from being saved.
        after = tuple(_fetch_id(name, device) for device in devices)
    action = TakeFiles(
        host=host,
        resource=name,
        to=repository(backups, store, host),
        paths=paths,
        exclude=exclude,
        must_exist=must_exist,
    )
    return _step(f"{name}/take-{store}", action, f"into {store}: {due.why}", TAKE_S, needs=needs, after=after)


def _fetch_id(name: str, device: str) -> str:
    return f"{name}/fetch-{device.lower().replace('_', '-')}"


def _host(backups: Backups, name: str, places: Places) -> str:
    """Give the host from which a resource is saved by restic."""
    source = backups.resources[name].source
    if isinstance(source, Files):
        return source.host
    if isinstance(source, PostgresqlDump):
        return places.primaries[name]
    first = backups.stores[backups.resources[name].to[0]]
    assert isinstance(first, ResticStore)
    return first.keeper.host


def _to(backups: Backups, name: str) -> tuple[str, ...]:
    """Give the stores that copy, of a resource, each after the one that it copies."""
    ready = list(taken_into(backups, name))
    waiting = [store for store in backups.resources[name].to if store not in ready]
    while more := [store for store in waiting if backups.copied_by(store) in ready]:
        ready += more
        waiting = [store for store in waiting if store not in more]
    return tuple(ready[len(taken_into(backups, name)) :])


def _copied(
    backups: Backups, name: str, taken: Iterable[str], to: Iterable[str], ledger: Ledger
) -> Iterator[Step]:
    """Copy to the other stores, each after what is made in the one that it copies."""
    made = {store: f"{name}/take-{store}" for store in taken}
    for store in to:
        origin = backups.copied_by(store)
        leave = ledger.given_up(name, store, origin)
        action: Action
        if isinstance(known := backups.stores[origin], ResticStore):
            host = known.keeper.host
            action = CopyPoints(
                host=host,
                resource=name,
                source=repository(backups, origin, host),
                target=repository(backups, store, host),
                leave=leave,
            )
        else:
            action = copy_of(backups, name, origin, store, leave)
        after = (made[origin],) if origin in made else ()
        made[store] = f"{name}/copy-{store}"
        yield _step(made[store], action, f"{store} takes over what {origin} has", COPY_S, after=after)


def _lacks(backups: Backups, name: str, store: str, observed: Observed) -> bool:
    """Whether a store is seen not to have the newest point of the one that it copies."""
    here, there = observed.points(name, store), observed.points(name, backups.copied_by(store))
    if here is None or not there:
        return False
    return not here or max(one.claimed_at for one in here) < max(one.claimed_at for one in there)


def due_at(backups: Backups, resource: str, observed: Observed) -> datetime | None:
    """Give when a resource's next backup is due in its first store; what is overdue is due now."""
    points = observed.points(resource, taken_into(backups, resource)[0])
    if points is None:
        return None
    due = judge(backups.resources[resource].take, points, observed.at, ZoneInfo(backups.tz))
    return due.at if not due.now else observed.at
