"""What a repository holds, as pgBackRest tells it."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from automation.adapters.pgbackrest.door import ask
from automation.model.actions.databases import Stanza
from automation.model.errors import AdapterError
from automation.model.records import Remote
from automation.model.recovery_points import RecoveryPoint

# Of `info`: what is there can be read, though it may be that there is no backup yet.
_READABLE = {0, 2}
ANNOTATION = "mainstay"  # run and step that took a backup


class Backup(NamedTuple):
    """One backup, as `info` has it."""

    label: str
    type: str
    needs: tuple[str, ...]
    started_at: datetime
    stopped_at: datetime
    wal: tuple[str, str]
    lsn: tuple[str, str]
    database: int
    size_bytes: int
    added_bytes: int
    stored_bytes: int
    damaged: bool
    taken_by: str


class Told(NamedTuple):
    """What `info` says of one stanza in one repository."""

    backups: tuple[Backup, ...]
    system_identifiers: Mapping[int, str]
    archives: Mapping[int, str]
    backup_runs: bool

    @property
    def system_identifier(self) -> str:
        """Of the cluster that the stanza is for now: the newest one."""
        return self.system_identifiers[max(self.system_identifiers)]

    def of_now(self) -> tuple[Backup, ...]:
        """Backups of the cluster that the stanza is for now, oldest first."""
        newest = max(self.system_identifiers)
        return tuple(backup for backup in self.backups if backup.database == newest)


def list_points(remote: Remote, of: Stanza, resource: str) -> tuple[RecoveryPoint, ...]:
    """List the backups of a stanza in one repository, oldest first; asked at its keeper.

    A backup in which pages were found damaged has failed, though pgBackRest keeps it.

    Raises:
        AdapterError: the stanza or its repository cannot be read.
    """
    return tuple(_point(backup, of, resource) for backup in read_info(remote, of).backups)


def _point(backup: Backup, of: Stanza, resource: str) -> RecoveryPoint:
    return RecoveryPoint(
        id=backup.label,
        resource=resource,
        copy=of.store,
        claimed_at=backup.stopped_at,
        status="failed" if backup.damaged else "ok",
        size_bytes=backup.stored_bytes,
        depends_on=backup.needs,
        tags=(backup.type,),
    )


def read_info(remote: Remote, of: Stanza, *settings: str) -> Told:
    """Ask a repository what it holds; `settings`: other ones than the host's own.

    Raises:
        AdapterError: the stanza or its repository cannot be read.
    """
    return parse_info(ask(remote, of, "info", "--output=json", *settings), of)


def parse_info(text: str, of: Stanza) -> Told:
    """Read the JSON of `info`, which ends with exit code 0 whatever it found.

    Raises:
        AdapterError: it tells of no such stanza, or of a repository that cannot be read.
    """
    where = f"{of.store}: stanza {of.stanza} in repository {of.repo}"
    try:
        found = [stanza for stanza in json.loads(text) if stanza["name"] == of.stanza]
    except ValueError as exc:
        raise AdapterError(f"{where}: pgbackrest info gave no JSON; nothing was changed") from exc
    told = [repo["status"] for stanza in found for repo in stanza.get("repo", ()) if repo["key"] == of.repo]
    if not told or told[0]["code"] not in _READABLE:
        why = told[0]["message"] if told else "not there"
        raise AdapterError(
            f"{where}: {why}; nothing was changed",
            hint=f"pgbackrest --stanza={of.stanza} info on its keeper, as postgres",
        )
    return _told(found[0], of.repo)


def _told(stanza: Mapping[str, Any], repo: int) -> Told:
    mine = [one for one in stanza["backup"] if one["database"]["repo-key"] == repo]
    prior = {one["label"]: one["prior"] for one in mine}
    backups = [_backup(one, prior) for one in mine]
    return Told(
        backups=tuple(sorted(backups, key=lambda one: (one.stopped_at, one.label))),
        system_identifiers={
            one["id"]: str(one["system-id"]) for one in stanza["db"] if one["repo-key"] == repo
        },
        archives={
            one["database"]["id"]: one["id"]
            for one in stanza["archive"]
            if one["database"]["repo-key"] == repo
        },
        backup_runs=bool(stanza["status"].get("lock", {}).get("backup", {}).get("held")),
    )


def _backup(one: Mapping[str, Any], prior: Mapping[str, str | None]) -> Backup:
    return Backup(
        label=one["label"],
        type=one["type"],
        needs=tuple(sorted({*_chain(one["label"], prior), *(one["reference"] or ())})),
        started_at=_at(one["timestamp"]["start"]),
        stopped_at=_at(one["timestamp"]["stop"]),
        wal=(one["archive"]["start"], one["archive"]["stop"]),
        lsn=(one["lsn"]["start"], one["lsn"]["stop"]) if one.get("lsn") else ("", ""),
        database=one["database"]["id"],
        size_bytes=one["info"]["size"],
        added_bytes=one["info"]["delta"],
        stored_bytes=one["info"]["repository"]["delta"],
        damaged=bool(one.get("error")),
        taken_by=(one.get("annotation") or {}).get(ANNOTATION, ""),
    )


def _chain(label: str, prior: Mapping[str, str | None]) -> Iterable[str]:
    """Every backup that an expiry of would take this one along."""
    while above := prior.get(label):
        yield above
        label = above


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
