"""Stores of restic that are only lists: a host answers `restic snapshots`, and steps add and remove ids.

Contract with the real adapters, held by tests/lab/test_backups.py: a take adds one snapshot of the resource
and fails where its source is not there; a copy adds what the other store lacks; a deletion removes exactly
the ids it is given, and refuses if one that must stay is not there; nobody else removes anything.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from automation.engine.context import RunContext
from automation.model.actions import Action, CopyPoints, ForgetPoints, ReclaimSpace, TakeFiles
from automation.model.backup_evidence import (
    Figures,
    PointsCopied,
    PointsDeleted,
    PointTaken,
    SpaceReclaimed,
    TakeFailed,
)
from automation.model.errors import AdapterError
from automation.model.records import Completed, Outcome


@dataclass
class Snapshot:
    """One point of a list."""

    id: str
    resource: str
    at: datetime


@dataclass
class FakeStores:
    """Stores by name, the host that lists each, and what is wrong with them."""

    keepers: dict[str, str]
    lists: dict[str, list[Snapshot]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    figures: Figures = field(
        default_factory=lambda: Figures(
            files=2000, new_files=9, total_bytes=10**9, added_bytes=10**8, stored_bytes=26 * 10**6
        )
    )
    clock: timedelta = timedelta()
    made: int = 0

    def add(self, store: str, resource: str, at: datetime) -> str:
        """Put a snapshot into a list, as any program could; gives its id."""
        self.made += 1
        name = hashlib.sha256(f"{store}{resource}{self.made}".encode()).hexdigest()
        self.lists.setdefault(store, []).append(Snapshot(name, resource, at))
        return name

    def ids(self, store: str, resource: str = "share") -> set[str]:
        """Name what a store has of a resource."""
        return {one.id for one in self.lists.get(store, []) if one.resource == resource}

    # --- what a host answers ------------------------------------------------------------------------

    def remote(self, host: str) -> "FakeHost":
        return FakeHost(self, host)

    def fresh(self, host: str) -> AbstractContextManager["FakeHost"]:
        return nullcontext(self.remote(host))

    def answer(self, host: str, argv: Sequence[str], stdin: str) -> Completed:
        words = f"{' '.join(argv)}\n{stdin}"
        if "df" in argv:
            return Completed(exit_code=0, stdout="Use%\n 40%\n", stderr="")
        store = next((s for s, keeper in self.keepers.items() if keeper == host and f"/{s}" in words), "")
        if "restic snapshots" not in words or not store or store in self.silent:
            raise AdapterError(f"{host} does not answer")
        told = [
            {"id": one.id, "time": one.at.isoformat(), "hostname": one.resource, "paths": ["/srv"]}
            for one in self.lists.get(store, [])
        ]
        return Completed(exit_code=0, stdout=json.dumps(told), stderr="")

    # --- what steps do ------------------------------------------------------------------------------

    def perform(self, action: Action, ctx: RunContext) -> Outcome | None:
        """Do what an action of restic does; None for any other."""
        match action:
            case TakeFiles():
                return self._take(action)
            case CopyPoints():
                return self._copy(action)
            case ForgetPoints():
                return self._forget(action)
            case ReclaimSpace():
                store = action.of.store
                found = SpaceReclaimed(store=store, before_bytes=9, after_bytes=1)
                return Outcome(changed=True, summary="reclaimed", evidence=found)
        return None

    def _take(self, action: TakeFiles) -> Outcome:
        store = action.to.store
        if faults := tuple(f"missing source {path}" for path in action.must_exist if path in self.missing):
            found = TakeFailed(resource=action.resource, store=store, faults=faults)
            raise AdapterError(f"{faults[0]}; nothing was saved", evidence=found)
        at = datetime.now(UTC) + self.clock
        point = self.add(store, action.resource, at)
        taken = PointTaken(
            resource=action.resource,
            store=store,
            point=point,
            claimed_at=at,
            figures=self.figures,
            seconds=0.1,
        )
        return Outcome(changed=True, summary=f"taken as {point[:12]}", evidence=taken)

    def _copy(self, action: CopyPoints) -> Outcome:
        source, target = action.source.store, action.target.store
        there = {one.at for one in self.lists.get(target, []) if one.resource == action.resource}
        lacking = [
            one
            for one in self.lists.get(source, [])
            if one.resource == action.resource and one.at not in there
        ]
        made = {self.add(target, action.resource, one.at): one.id for one in lacking}
        copied = PointsCopied(resource=action.resource, store=target, source=source, points=made, seconds=0.1)
        return Outcome(changed=bool(made), summary=f"{len(made)} copied", evidence=copied)

    def _forget(self, action: ForgetPoints) -> Outcome:
        store = action.of.store
        if lacking := set(action.stay) - self.ids(store, action.resource):
            raise AdapterError(f"{lacking} is not there; nothing was deleted")
        gone = set(action.points)
        self.lists[store] = [one for one in self.lists[store] if one.id not in gone]
        left = len(self.ids(store, action.resource))
        deleted = PointsDeleted(resource=action.resource, store=store, points=action.points, left=left)
        return Outcome(changed=True, summary=f"{len(gone)} deleted", evidence=deleted)


@dataclass
class FakeHost:
    """One host; all it knows is to list."""

    stores: FakeStores
    host: str

    def run(self, argv: Sequence[str], stdin: str | None = None, timeout_s: float = 30.0) -> Completed:
        return self.stores.answer(self.host, argv, stdin or "")

    def put(self, path: str, content: bytes, mode: int = 0o600) -> None:
        raise AdapterError(f"{self.host} does not answer")

    def get(self, path: str) -> bytes:
        raise AdapterError(f"{self.host} does not answer")
