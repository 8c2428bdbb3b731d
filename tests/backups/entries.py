"""Lines of a ledger, and small policies, that a test changes in one respect."""

from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from automation.backups.entries import Entry, Noted
from automation.backups.spec import Backups
from automation.model.backup_evidence import (
    CanaryRefused,
    DoubtCleared,
    Figures,
    PointProven,
    PointsCopied,
    PointTaken,
    ProofFailed,
    RepositoryChecked,
    TakeFailed,
)
from automation.model.loading import read_document
from automation.model.recovery_points import Level

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
USUAL = Figures(
    files=2000, new_files=10, changed_files=10, total_bytes=10**9, added_bytes=10**8, stored_bytes=26 * 10**6
)
POLICY = """\
version: 1
tz: America/New_York
stores:
  nas: {type: restic, repository: "sftp:b@nas:/main", keeper: {host: bk-a, repository: /main}, site: hall}
  eoc:
    type: restic
    repository: "sftp:b@eoc:/main"
    keeper: {host: bk-b, repository: /main}
    site: eoc
    copy_of: nas
  vault:
    type: restic
    repository: s3:https://s3.example/b
    keeper: {host: bk-a}
    site: cloud
    medium: object-store
    lock: {mode: compliance, for: 35 days}
    copy_of: nas
  pg: {type: pgbackrest, stanza: main, repo: 1, keeper: {host: bk-a}, site: hall}
  pg-vault:
    type: pgbackrest
    stanza: main
    repo: 2
    keeper: {host: bk-b}
    site: cloud
    medium: object-store
    lock: {mode: compliance, for: 35 days}
retention:
  standard: {last: 3, daily: 7, keep_oldest: false}
guards: {min_keep: 2, max_delete: {percent: 50, count: 100}}
scratch: bk-b
resources:
  share:
    source: {kind: files, host: files-a, paths: [/srv/share], must_exist: [/srv/share/.here]}
    rpo: 24 h
    take: {every: 1 day}
    to: [nas, eoc, vault]
    keep: {profile: standard}
    verify:
      - {level: L2, every: 1 day, part: 1/3}
      - {level: L3, every: 1 week}
  ledger-db:
    source: {kind: postgresql, host: pg-a, cluster: 15/main}
    rpo: 5 min
    take: {full: "sun 01:00", diff: "daily 01:00", wal: continuous}
    to: [pg, pg-vault]
    keep: {profile: standard, pitr_window: 3 days}
    verify:
      - {level: L4, every: 1 week, assert: [{amcheck: all}]}
  ledger-dump:
    source: {kind: postgresql-dump, host: pg-a, cluster: 15/main, database: ledger}
    rpo: 24 h
    take: {at: "daily 02:00"}
    to: [nas, eoc, vault]
    keep: {profile: standard}
    verify: [{level: L3, every: 1 week}]
  routers:
    source: {kind: device-config, devices: [rtr-a, rtr_b], vendor: frr}
    rpo: 24 h
    take: {every: 1 day}
    to: [nas, eoc, vault]
    keep: {profile: standard}
    verify: [{level: L4, every: 1 day, assert: [{parse: vendor}]}]
"""
_RUNS = count(1)


def make_backups(folder: Path, text: str = POLICY) -> Backups:
    path = folder / "backups.yml"
    path.write_text(text)
    return Backups.model_validate(read_document(path).require())


def entry(noted: Noted, at: datetime = NOW, *, run: str = "", took: float = 60.0, number: int = 3) -> Entry:
    return Entry(
        at=at,
        began_at=at - timedelta(seconds=took),
        run_id=run or f"run-{next(_RUNS)}",
        sequence=number,
        actor="ana",
        noted=noted,
    )


def taken(point: str, at: datetime = NOW, store: str = "nas", **more: Any) -> Entry:
    figures = USUAL.model_copy(update=more.pop("figures", {}))
    words = {"resource": "share", "claimed_at": at - timedelta(seconds=30), "seconds": 50.0, **more}
    return entry(PointTaken(store=store, point=point, figures=figures, **words), at)


def copied(points: dict[str, str], at: datetime = NOW, store: str = "eoc", resource: str = "share") -> Entry:
    return entry(PointsCopied(resource=resource, store=store, source="nas", points=points, seconds=1.0), at)


def proven(point: str, at: datetime = NOW, store: str = "nas", level: Level = Level.L3, **more: Any) -> Entry:
    words = {"resource": "share", "seconds": 9.0, "size_bytes": 1000, "found": ("equal",), "host": "bk-b"}
    return entry(PointProven(store=store, point=point, level=level, **(words | more)), at)


def take_failed(
    at: datetime = NOW, resource: str = "share", fault: str = "missing source /srv/share"
) -> Entry:
    return entry(TakeFailed(resource=resource, store="nas", faults=(fault,)), at)


def proof_failed(at: datetime = NOW, store: str = "nas", level: Level = Level.L2, **more: str) -> Entry:
    return entry(ProofFailed(store=store, level=level, found=("pack 4 is damaged",), **more), at)


def checked(
    part: int, parts: int, at: datetime = NOW, points: tuple[str, ...] = (), level: Level = Level.L2
) -> Entry:
    found = RepositoryChecked(
        store="nas", level=level, part=part, parts=parts, seconds=2.0, size_bytes=100, points=points
    )
    return entry(found, at)


def cleared(at: datetime = NOW, resource: str = "", store: str = "") -> Entry:
    words = DoubtCleared(resource=resource, store=store, doubts=("x",), reason="looked", by="ana")
    return entry(words, at)


def canary(store: str, at: datetime = NOW) -> Entry:
    found = CanaryRefused(
        store=store, key="k", version="v", locked_until=at + timedelta(days=1), refused_with="AccessDenied"
    )
    return entry(found, at)
