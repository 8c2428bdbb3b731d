"""Why a point stays, and until when; or why it may go, and what holds it."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from automation.backups.due import gap_s
from automation.backups.forecast import departures
from automation.backups.rotating import Decision, decide_one
from automation.commands._backups import Area, look, rpo_of
from automation.commands._rotation import why_held
from automation.commands._session import Session
from automation.model.base import Model
from automation.model.errors import ConfigError
from automation.model.recovery_points import RecoveryPoint

LOOK_AHEAD_DAYS = 400


class Explained(Model):
    """Why one point in one store stays, or may go."""

    point: str
    resource: str
    store: str
    claimed_at: datetime
    sentence: str
    kept: bool
    until: datetime | None = None
    proof: str = ""


class Explanation(Model):
    """A point in every store that has it."""

    stores: tuple[Explained, ...]


def explain(session: Session, point: str, resource: str = "") -> tuple[Explained, ...]:
    """Say of a point, by the beginning of its id, why it stays; in every store that has it.

    Raises:
        ConfigError: no point, or points of different ids, begin so.
    """
    area = look(session, [resource] if resource else ())
    found = [one for one in area.observed.find(point) if resource in ("", one.resource)]
    ids = sorted({one.id for one in found})
    if len(ids) != 1:
        what = (
            f"{len(ids)} points begin with {point}: {', '.join(i[:16] for i in ids[:5])}"
            if ids
            else f"no point begins with {point!r}"
        )
        env = session.environment.name
        raise ConfigError(
            f"{what}; nothing was touched", hint=f"./inv backup.list --env {env} shows every id"
        )
    return tuple(_explain(session, area, one) for one in found)


def _explain(session: Session, area: Area, point: RecoveryPoint) -> Explained:
    known = area.backups.resources.get(point.resource)
    said = "backups.yml has no such resource there: nothing of ours ever deletes it"
    plain = Explained(
        point=point.id,
        resource=point.resource,
        store=point.copy_name,
        claimed_at=point.claimed_at,
        sentence=said,
        kept=True,
    )
    if known is None or point.copy_name not in known.to:
        return plain
    rpo_s = rpo_of(area.backups, area.catalog, point.resource)
    place = (point.resource, point.copy_name)
    one = decide_one(area.backups, area.ledger, area.observed, place, rpo_s)
    assert one.case is not None
    zone, until = ZoneInfo(area.backups.tz), None
    if point.id in one.case.retention.reasons:
        until = _departure(area, one, point)
    going = {point.id for point in one.rotation.delete} if one.rotation else set()
    return plain.model_copy(
        update={
            "sentence": _sentence(one, point, until, zone),
            "kept": point.id not in going,
            "until": until,
            "proof": _proof(area, point),
        }
    )


def _sentence(one: Decision, point: RecoveryPoint, until: datetime | None, zone: ZoneInfo) -> str:
    assert one.case is not None
    assert one.rotation is not None
    retention = one.case.retention
    why = retention.why(point)
    if point.id in retention.reasons:
        end = (
            f"until about {until.astimezone(zone):%Y-%m-%d}"
            if until
            else f"for more than {LOOK_AHEAD_DAYS} days"
        )
        return f"kept {end}: {why}"
    if point.id in {going.id for going in one.rotation.delete}:
        return f"the next rotation deletes it: {why}"
    return f"expired ({why}), and held by {why_held(point, one.rotation.rulings)}"


def _departure(area: Area, one: Decision, point: RecoveryPoint) -> datetime | None:
    assert one.case is not None
    retention = one.case.retention
    every_s = gap_s(area.backups, point.resource, retention.now)
    until = retention.now + timedelta(days=LOOK_AHEAD_DAYS)
    return departures(retention, every_s, until).get(point.id)


def _proof(area: Area, point: RecoveryPoint) -> str:
    spec = area.backups.resources[point.resource]
    proofs = [
        one for one in area.ledger.proofs(point.resource, point.copy_name, spec) if one.point == point.id
    ]
    best = max(proofs, key=lambda one: (one.level, one.at), default=None)
    if best is None:
        return "never proven"
    state = (
        f"suspended: {best.suspended}"
        if best.suspended
        else "expired"
        if best.expires <= area.observed.at
        else "believed"
    )
    return f"{best.level.name}, {best.at:%Y-%m-%d %H:%M} UTC by {best.by}; {state}"
