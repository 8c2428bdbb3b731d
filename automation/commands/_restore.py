"""A restore for people: what will be done is shown first, and how to check and remove it afterwards."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.moments import parse_moment
from automation.backups.proof_steps import stanza
from automation.backups.proving import WHOLE_SECOND, Moments, room_for, size_of
from automation.backups.resources import Postgresql
from automation.backups.restoring import (
    PLAN_NAME,
    Asked,
    Choice,
    Target,
    Where,
    choose_point,
    cluster_name,
    folder_of,
    order_stores,
    parse_target,
    plan_restore,
    refuse_misfit,
    refuse_unreachable,
    repository_of,
    ways_to_check,
    ways_to_remove,
    where_of,
)
from automation.backups.spec import Backups
from automation.backups.stores import PgbackrestStore
from automation.commands._backups import choose, ledger_of, load_area
from automation.commands._command import progress
from automation.commands._hosts_seen import clusters_of, free_bytes, holds_something, moments_of
from automation.commands._restore_shown import Scene, shown
from automation.commands._session import Session
from automation.commands._unfinished import list_unfinished
from automation.engine.finished import Finished
from automation.engine.journal import read_journal
from automation.engine.run import read_plan
from automation.model.backup_evidence import PointRestored
from automation.model.base import Model, format_size
from automation.model.errors import AdapterError, ConfigError, PreflightError
from automation.model.plan import Plan
from automation.model.records import StepEnded
from automation.model.recovery_points import RecoveryPoint

FIRST_PORT = 5433


class RestoreFlags(NamedTuple):
    """A restore as it was asked for on the command line."""

    resource: str
    at: str
    to: str = ""
    include: str = ""
    in_place: bool = False
    store: str = ""
    repository: str = ""
    yes: bool = False


class Prepared(NamedTuple):
    """A restore that is ready to run, and what is shown of it before."""

    plan: Plan
    lines: tuple[str, ...]


class Restored(Model):
    """What a restore left, and what to do with it."""

    run: str
    resource: str
    store: str
    point: str
    until: datetime | None
    host: str
    to: str
    seconds: float
    size_bytes: int
    files: int
    said: str
    check: tuple[str, ...]
    remove: tuple[str, ...]


def prepare(session: Session, flags: RestoreFlags, now: datetime) -> Prepared:
    """Choose point, store and place; changes nothing.

    Raises:
        ConfigError: the flags or files have faults.
        PreflightError: there is no such point, no store answers, or the target is not empty or too small.
    """
    backups, _ = load_area(session)
    asked = _read(session, backups, flags, now)
    refuse_misfit(asked, backups)
    found, passed_over = _find(session, backups, asked)
    where = _place(session, backups, asked, found)
    choice = Choice(
        resource=asked.resource,
        kind=backups.resources[asked.resource].source.kind,
        store=found.store,
        point=found.point.id,
        claimed_at=found.point.claimed_at,
        until=asked.at if found.moments else None,
        size_bytes=found.size_bytes,
        where=where,
    )
    free = _refuse_no_room(session, choice)
    plan = plan_restore(choice, asked, backups, environment=session.environment.name)
    ledger = ledger_of(session, backups)
    lines = (*passed_over, *shown(Scene(backups, asked, choice, found.moments, ledger, free, now)))
    return Prepared(plan, lines)


def restore(session: Session, flags: RestoreFlags, *, ask: Callable[[], bool] | None) -> Finished:
    """Show what will be done, ask, and do it.

    Args:
        ask: puts the question to a person; None when nobody sits at a terminal.

    Raises:
        PreflightError: refused, or the person said no: nothing was changed.
    """
    if flags.in_place and flags.yes:
        raise ConfigError(
            "--yes answers no question of a restore in place: people sign for it; nothing was touched",
            hint="leave --yes out; the command says who must sign, and how",
        )
    prepared = prepare(session, flags, datetime.now(UTC))
    for line in prepared.lines:
        progress(line)
    if not flags.yes and not flags.in_place and not _agreed(ask):
        raise PreflightError("nobody said yes; nothing was restored")
    return session.run(prepared.plan)


def conclude_restore(finished: Finished) -> Restored:
    """Say what a restore left, and how to check and remove it.

    Raises:
        StepFailed, OutcomeUnknown, NotMet, KeyboardInterrupt: it did not end well.
    """
    finished.raise_for_status()
    where = where_of(read_plan(finished.folder))
    bodies = (event.body for event in read_journal(finished.folder / "journal.jsonl"))
    ended = [body for body in bodies if isinstance(body, StepEnded)]
    good = [body.outcome.evidence for body in ended if body.outcome]
    found = [one for one in good if isinstance(one, PointRestored)][-1]
    return Restored(
        run=finished.folder.name,
        resource=found.resource,
        store=found.store,
        point=found.point,
        until=found.until,
        host=where.host,
        to=where.cluster or where.folder,
        seconds=found.seconds,
        size_bytes=found.size_bytes,
        files=found.files,
        said=next(body.outcome.summary for body in ended if body.outcome and body.outcome.evidence == found),
        check=ways_to_check(where),
        remove=ways_to_remove(where),
    )


def ask_yes() -> bool:
    """Ask at the terminal; only the word yes is one."""
    print("Type yes to restore this: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _agreed(ask: Callable[[], bool] | None) -> bool:
    if ask is None:
        raise PreflightError(
            "nobody sits at a terminal to say yes to this; nothing was restored", hint="give --yes"
        )
    return ask()


# --- what was asked for ----------------------------------------------------------------------------


def _read(session: Session, backups: Backups, flags: RestoreFlags, now: datetime) -> Asked:
    (resource,) = choose(backups, [flags.resource])
    source = backups.resources[resource].source
    if flags.in_place == bool(flags.to):
        raise ConfigError(
            "give --to HOST[:/folder], or --in-place with a signed approval, one of both; nothing was touched"
        )
    to = Target(getattr(source, "host", "")) if flags.in_place else parse_target(flags.to)
    if to.host not in session.inventory.servers:
        raise ConfigError(
            f"there is no server {to.host!r}; nothing was touched",
            hint=f"servers: {', '.join(session.inventory.servers)}",
        )
    if flags.store and flags.store not in backups.resources[resource].to:
        stores = ", ".join(backups.resources[resource].to)
        raise ConfigError(
            f"{resource} is not kept in {flags.store}; nothing was touched", hint=f"--store {stores}"
        )
    if flags.repository and not flags.store:
        raise ConfigError("--repository needs --store, whose credentials open it; nothing was touched")
    try:
        at = parse_moment(flags.at, ZoneInfo(backups.tz), now)
    except ValueError as exc:
        raise ConfigError(f"--at: {exc}; nothing was touched") from exc
    include = tuple(path.strip() for path in flags.include.split(",") if path.strip())
    return Asked(resource, at, to, include, flags.in_place, flags.store, flags.repository)


# --- from where ------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """The point that was chosen, and the store that has it; `moments` of a database."""

    store: str
    point: RecoveryPoint
    size_bytes: int
    moments: tuple[Moments, ...] = ()


def _find(session: Session, backups: Backups, asked: Asked) -> tuple[_Found, tuple[str, ...]]:
    """Ask the stores, the nearest first, by the target itself: it must reach what it restores from."""
    site = session.inventory.servers[asked.to.host].site
    stores = (asked.store,) if asked.store else order_stores(backups, asked.resource, site)
    why_not: list[str] = []
    hint = None
    for store in stores:
        try:
            return _find_in(session, backups, asked, store), tuple(f"passed over {one}" for one in why_not)
        except (AdapterError, PreflightError) as exc:
            why_not.append(f"{store}: {exc}")
            hint = hint or exc.hint
    raise PreflightError(
        f"{asked.resource} cannot be restored to {asked.to.host}: {' | '.join(why_not)}",
        hint=hint or f"./inv backup.list --env {session.environment.name} --resource {asked.resource}",
    )


def _find_in(session: Session, backups: Backups, asked: Asked, store: str) -> _Found:
    remote = session.remote(asked.to.host)
    if isinstance(backups.stores[store], PgbackrestStore):
        from automation.adapters import pgbackrest

        points = pgbackrest.list_points(remote, stanza(backups, store), asked.resource)
        moments = moments_of(session, backups, store, asked.to.host)
        if asked.at is not None:
            refuse_unreachable(moments, asked.at, store)
    else:
        from automation.adapters import restic

        points, moments = restic.list_points(remote, repository_of(asked, backups, store), asked.resource), ()
    before = asked.at - WHOLE_SECOND if asked.at is not None and moments else asked.at
    point = choose_point(points, before)
    if point is None:
        oldest = min((one.claimed_at for one in points), default=None)
        said = f"its oldest is of {oldest:%Y-%m-%d %H:%M} UTC" if oldest else "it has none at all"
        raise PreflightError(f"no good point of {asked.resource} is that old, {said}; nothing was changed")
    return _Found(store, point, size_of(point, points), moments)


# --- to where --------------------------------------------------------------------------------------


def _place(session: Session, backups: Backups, asked: Asked, found: _Found) -> Where:
    """Choose a folder and, of a database, a name and a port that are free.

    Raises:
        PreflightError: something is there already.
    """
    name = cluster_name(asked, backups, asked.at or found.point.claimed_at)
    folder = (
        ""
        if isinstance(backups.resources[asked.resource].source, Postgresql)
        else folder_of(asked, found.point)
    )
    port = 0
    if name:
        names, ports = clusters_of(session, asked.to.host)
        if name in names:
            raise _taken(session, asked, f"cluster {name}", name)
        port = next(port for port in range(FIRST_PORT, 65536) if port not in ports)
    if folder and not asked.in_place and holds_something(session, asked.to.host, folder):
        raise _taken(session, asked, folder, folder)
    return Where(
        host=asked.to.host,
        folder=folder,
        cluster=name,
        port=port,
        include=asked.include,
        in_place=asked.in_place,
    )


def _taken(session: Session, asked: Asked, what: str, mark: str) -> PreflightError:
    """Say what is there, and whose it is: a restore that was cut off goes on."""
    env, host = session.environment.name, asked.to.host
    message = f"{what} is there already on {host}, and nothing is ever put over it; nothing was changed"
    for run_id in list_unfinished(session.state, PLAN_NAME, datetime.now(UTC)):
        where = where_of(read_plan(session.state / "runs" / run_id))
        if where.host == host and mark in (where.folder, where.cluster):
            return PreflightError(
                f"{message}; run {run_id} began it and was cut off",
                hint=f"./inv run.resume --env {env} --run {run_id} finishes it",
            )
    return PreflightError(message, hint="remove it, or name another place: --to HOST:/new/folder")


def _refuse_no_room(session: Session, choice: Choice) -> int | None:
    free = free_bytes(session, choice.where.host, choice.where.folder or "/var/lib/postgresql")
    needed = room_for(choice.kind, choice.size_bytes)
    if choice.size_bytes and free is not None and free < needed and not choice.where.include:
        raise PreflightError(
            f"{choice.where.host} has {format_size(free)} free, and {format_size(needed)} are needed; "
            "nothing was changed",
            hint="--to another host, or --include what you need",
        )
    return free
