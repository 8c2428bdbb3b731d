"""What a person sees of a restore before it is done; nothing of it has to be guessed."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from automation.backups.ledger import Ledger
from automation.backups.proving import Moments
from automation.backups.restoring import Asked, Choice, best_proof
from automation.backups.spec import Backups
from automation.model.base import format_duration, format_size


class Scene(NamedTuple):
    """A restore that was chosen, and what is known of it."""

    backups: Backups
    asked: Asked
    choice: Choice
    moments: Sequence[Moments]
    ledger: Ledger
    free: int | None
    now: datetime


def shown(scene: Scene) -> Sequence[str]:
    """Say what will be done: the point and its age, how far it is proven, from where, to where."""
    choice, zone = scene.choice, ZoneInfo(scene.backups.tz)
    spec = scene.backups.stores[choice.store]
    where = choice.where
    place = "over the originals" if where.in_place else where.cluster or where.folder
    port = f", port {where.port}" if where.port else ""
    free = f"; {format_size(scene.free)} are free there" if scene.free is not None else ""
    size = f"{format_size(choice.size_bytes)}" if choice.size_bytes else "unknown"
    here = scene.asked.url or f"{choice.store} at {spec.site}"
    said = {
        "point": f"{choice.point[:12] if len(choice.point) == 64 else choice.point}, of "
        f"{_local(choice.claimed_at, zone)}, {_ago(scene.now, choice.claimed_at)}",
        "moment": _moment(scene, zone),
        "proof": _proof(scene),
        "from": here,
        "size": f"{size}{' packed' if choice.kind == 'postgresql' else ''}{free}",
        "to": f"{where.host}, {place}{port}",
        "files": ", ".join(where.include) or "all",
        "overwrites": f"what differs on {where.host}; its state is saved first"
        if where.in_place
        else "nothing",
    }
    return [
        f"{choice.resource}: a restore",
        *(f"  {word:<11} {text}" for word, text in said.items() if text),
    ]


def _local(at: datetime, zone: ZoneInfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _moment(scene: Scene, zone: ZoneInfo) -> str:
    """Say which moment the restored shows, beside the one that was asked for."""
    if scene.moments:
        if scene.choice.until is not None:
            return f"{_local(scene.choice.until, zone)}, as asked for"
        return f"the end of the WAL, {_local(scene.moments[-1].last, zone)}"
    if scene.asked.at is None:
        return "the newest there is"
    earlier = (scene.asked.at - scene.choice.claimed_at).total_seconds()
    return f"{format_duration(earlier)} before {_local(scene.asked.at, zone)}: what came between is not in it"


def _proof(scene: Scene) -> str:
    choice = scene.choice
    spec = scene.backups.resources[choice.resource]
    proofs = scene.ledger.proofs(choice.resource, choice.store, spec)
    proof = best_proof(proofs, choice.point, scene.now)
    if proof is None:
        newest = max((one.at for one in proofs if not one.suspended), default=None)
        other = f"; the last proof of another point here was {_ago(scene.now, newest)}" if newest else ""
        return f"NONE: nobody has restored this point yet{other}"
    doubt = f"; NOT BELIEVED: {proof.suspended}" if proof.suspended else ""
    return f"{proof.level.name}, {_ago(scene.now, proof.at)}{doubt}"


def _ago(now: datetime, at: datetime) -> str:
    return f"{format_duration((now - at).total_seconds())} ago"
