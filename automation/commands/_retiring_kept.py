"""What was kept of a retired server's disks: deleted once its days are over and a person says yes."""

from datetime import UTC, date, datetime

from automation.commands._providers import Around, guards_of, resources_of
from automation.commands._provision_views import look_at_kept
from automation.commands._session import Session
from automation.model.errors import AutomationError, PreflightError
from automation.model.servers import KeptSnapshot
from automation.provisioning.retiring import plan_end


def is_kept(session: Session, around: Around, host: str) -> bool:
    """Whether no server of that name was seen, by any provider, and snapshots of its disks are kept."""
    there = any(server.name == host for view in around.seen.views for server in view.servers)
    if there or around.seen.unseen:
        return False
    kept, _ = look_at_kept(session, around)
    return any(one.server == host for one in kept)


def end_kept(session: Session, around: Around, host: str) -> None:
    """Delete the snapshots that were kept of a server, as far as their days are over.

    Raises:
        PreflightError: nothing is kept, or its days are not over.
    """
    over, later = _sorted_out(session, around, host)
    plan = plan_end(session.environment.name, host, over, copies_of(session, host, later))
    session.run(plan).raise_for_status()
    session.say(f"{len(over)} snapshots that were kept of {host} are deleted")
    if later:
        session.say(f"{len(later)} more are kept until {_days(later)}")


def _sorted_out(
    session: Session, around: Around, host: str
) -> tuple[tuple[KeptSnapshot, ...], tuple[KeptSnapshot, ...]]:
    """Give what is kept of a server: those whose days are over, and the others."""
    kept, notes = look_at_kept(session, around)
    mine, today = [one for one in kept if one.server == host], datetime.now(UTC).date()
    over = tuple(one for one in mine if one.is_over(today))
    later = tuple(one for one in mine if not one.is_over(today))
    for note in (*notes, *(f"not looked at: {one}: {why}" for one, why in around.seen.unseen.items())):
        session.say(note)
    if not mine:
        raise PreflightError(
            f"no snapshot of a disk of {host} is seen at AWS; nothing was changed",
            hint=f"./inv provision.show --env {session.environment.name} lists what is kept; disks of a VM a "
            "person removes in the vSphere client",
        )
    if not over:
        raise PreflightError(
            f"{len(later)} snapshots of disks of {host} are kept until {_days(later)}, and may be deleted "
            "after that; nothing was changed",
            hint=f"./inv provision.show --env {session.environment.name} lists them",
        )
    return over, later


def _days(kept: tuple[KeptSnapshot, ...]) -> str:
    days = sorted({one.until or date.max for one in kept})
    return ", ".join("a day that their tag must tell" if one == date.max else str(one) for one in days)


def copies_of(session: Session, host: str, later: tuple[KeptSnapshot, ...]) -> str:
    """Say whether a server is saved elsewhere, or what was kept of its disks is the last copy.

    Args:
        later: snapshots of its disks that stay.
    """
    if later:
        return f"{len(later)} other snapshots of its disks stay until {_days(later)}."
    last = f"This is the last copy of {host} that is known of"
    try:
        named = resources_of(session, host)
        guards = guards_of(session, named)
        taken = {name: _last_good(session, name) for name in named if name not in guards}
    except AutomationError as exc:
        return f"Its backups could not be looked at ({exc}): take this for the last copy of {host}."
    if not taken:
        return f"{last}: no resource of backups.yml saves it."
    good = [f"{name} of {at:%Y-%m-%d}" for name, at in taken.items() if at is not None]
    if not good:
        return f"{last}: no good point of {', '.join(taken)} was seen."
    none = ", ".join(name for name, at in taken.items() if at is None)
    return f"Its newest good backups: {', '.join(good)}{f'; of {none} none was seen' if none else ''}."


def _last_good(session: Session, resource: str) -> datetime | None:
    from automation.commands._backup_status import look_at_standing

    return look_at_standing(session, resource).resources[0].last_good_at
