"""`backups.yml`: stores, retention profiles, resources, guards, and the rule that the copies follow."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError

from automation.backups.guard_settings import GuardSettings
from automation.backups.resources import (
    DeviceConfig,
    EbsSnapshots,
    MachineImage,
    RdsSnapshots,
    Resource,
    VsphereSnapshots,
)
from automation.backups.rules import RetentionPolicy, RetentionRules, Zone
from automation.backups.stores import AwsStore, PgbackrestStore, ResticStore, Store
from automation.model.actions.devices import WITH_CHECKER
from automation.model.actions.points import OLDEST_ROLLBACK_S
from automation.model.approvals import ApprovalRule
from automation.model.base import Model
from automation.model.loading import raise_problems, read_document, validation_problems
from automation.model.recovery_points import Hold, Level
from automation.model.refusals import Where, near
from automation.model.strategy import HostName, Name

_SHORTEST_LOCK_S = 86400.0


class CopyRule(Model):
    """3-2-1-1-0: copies with the original, media, offsite, immutable, unverified."""

    copies: int = Field(default=3, ge=1, le=20, strict=True, description="with the original")
    media: int = Field(default=2, ge=1, le=3, strict=True, description="kinds of medium, with the original's")
    offsite: int = Field(default=1, ge=0, le=20, strict=True, description="copies at another site")
    immutable: int = Field(default=1, ge=0, le=20, strict=True, description="copies that nobody can delete")
    unverified: Literal[0] = Field(default=0, description="resources that nobody ever restores")


class Backups(Model):
    """`backups.yml` of an environment."""

    version: Literal[1] = Field(description="of this form of file: 1")
    tz: Zone
    stores: Mapping[Name, Store] = Field(min_length=1, description="where points are kept, by name")
    rule: CopyRule = Field(default=CopyRule(), description="how many copies, where, and how safe")
    guards: GuardSettings = Field(default=GuardSettings(), description="what forbids a deletion")
    retention: Mapping[Name, RetentionRules] = Field(min_length=1, description="profiles, by name")
    resources: Mapping[Name, Resource] = Field(min_length=1, description="what is saved, by name")
    scratch: HostName | None = Field(
        default=None, description="host on which points are restored to be looked at; nothing else of worth"
    )
    in_place: ApprovalRule | None = Field(
        default=None,
        description="who must sign before files are restored over their originals; none: nobody may",
    )

    def policy(self, resource: str, store: str) -> RetentionPolicy:
        """Give the retention policy of one resource in one store."""
        keep = self.resources[resource].keep
        profile = self.retention[keep.copies.get(store, keep.profile)]
        return RetentionPolicy(tz=self.tz, keep=profile, max_skew=self.guards.time_trust.max_skew)

    def guards_of(self, resource: str) -> GuardSettings:
        """Give what the guards of one resource are told."""
        own = self.resources[resource].keep.never_drop_last_verified
        words = {} if own is None else {"never_drop_last_verified": own}
        return self.guards.model_copy(update=words)

    def copied_by(self, store: str) -> str:
        """Give the store whose points a store takes over; empty: it takes over none."""
        known = self.stores.get(store)
        return known.copy_of or "" if isinstance(known, ResticStore | AwsStore) else ""

    def policy_digest(self, resource: str, store: str) -> str:
        """Give a hash of what decides on deletions there: the policy, what is held, and the guards."""
        parts = (self.policy(resource, store), self.resources[resource].keep, self.guards)
        text = "".join(part.model_dump_json() for part in parts)
        return sha256(text.encode()).hexdigest()

    def pitr_since(self, store: str, now: datetime) -> datetime | None:
        """Since when every moment of a store's databases must stay reachable; none: since its oldest backup.

        The beginning of a day, so that a plan made again a moment later is the same.
        """
        saved = [
            one for one in self.resources.values() if one.source.kind == "postgresql" and store in one.to
        ]
        windows = [one.keep.pitr_window for one in saved if one.keep.pitr_window is not None]
        if not saved or len(windows) < len(saved):
            return None
        zone = ZoneInfo(self.tz)
        begins = min(window.before(now, zone) for window in windows).astimezone(zone)
        return datetime.combine(begins.date(), time(), zone).astimezone(UTC)

    def holds(self, resource: str) -> tuple[Hold, ...]:
        """Give what people keep of a resource; a day is held to its end."""
        zone = ZoneInfo(self.tz)
        return tuple(
            Hold(
                owner=rule.owner,
                reason=rule.reason,
                tag=rule.tag,
                until=None
                if rule.until is None
                else datetime.combine(rule.until + timedelta(days=1), time(), zone),
            )
            for rule in self.resources[resource].keep.holds
        )


class Finding(NamedTuple):
    """One fault between parts of the file: the path of its key, and what to do."""

    where: Where
    message: str


def load_backups(path: Path) -> Backups:
    """Read `backups.yml`.

    Raises:
        ConfigError: every fault of the file, each with its line and key.
    """
    document = read_document(path)
    tree = document.require()
    try:
        backups = Backups.model_validate(tree)
    except ValidationError as exc:
        raise_problems(path.name, validation_problems(document, Backups, exc), exc)
    if found := tuple(check_backups(backups)):
        raise_problems(path.name, [document.problem(one.where, one.message) for one in found])
    return backups


def check_backups(backups: Backups) -> Iterator[Finding]:
    """Find names that are not declared, engines that do not fit, and resources that break the rule."""
    for name, store in backups.stores.items():
        if store.lock and store.lock.span.about_s < _SHORTEST_LOCK_S:
            message = f"{store.lock.span.words} is too short for a lock; object stores lock for whole days"
            yield Finding(("stores", name, "lock", "for"), message)
        if of := backups.copied_by(name):
            where = ("stores", name, "copy_of")
            stores = backups.stores.items()
            others = [one for one, other in stores if one != name and other.type == store.type]
            if of not in others:
                yield Finding(where, f"{of} is no other store of type {store.type}; {near(of, others)}")
    yield from _same_places(backups)
    for name, resource in backups.resources.items():
        unknown = tuple(_unknown_names(name, resource, backups))
        yield from unknown
        if not unknown:
            yield from _misfits(name, resource, backups)


def _same_places(backups: Backups) -> Iterator[Finding]:
    """Find what is declared as two and is one: each of the two would delete what the other keeps."""
    places: dict[tuple[str, ...], str] = {}
    for name, store in backups.stores.items():
        mine = _place_of(store)
        if other := next((places[one] for one in mine if one in places), ""):
            yield Finding(("stores", name), f"is the same repository as {other}; delete one of the two")
        places |= dict.fromkeys(mine, name)
    owners: dict[str, str] = {}
    for name, resource in backups.resources.items():
        for place, to in enumerate(resource.to):
            owner = owners.setdefault(to, name)
            if owner != name and isinstance(backups.stores.get(to), PgbackrestStore):
                message = (
                    f"{to} is of {owner}: a stanza is one cluster; give {name} a store of its own stanza"
                )
                yield Finding(("resources", name, "to", place), message)


def _place_of(store: Store) -> tuple[tuple[str, ...], ...]:
    match store:
        case ResticStore():
            return ("repository", store.repository), (store.keeper.host, store.kept_at)
        case PgbackrestStore():
            return ((store.keeper.host, store.stanza, str(store.repo)),)
        case _:  # what locks keeps other resources than what does not
            return ((store.type, store.site, "locks" if store.lock else ""),)


def _unknown_names(name: str, resource: Resource, backups: Backups) -> Iterator[Finding]:
    here = ("resources", name)
    for place, store in enumerate(resource.to):
        if store not in backups.stores:
            yield Finding((*here, "to", place), f"no store {store}; {near(store, tuple(backups.stores))}")
        elif store in resource.to[:place]:
            yield Finding((*here, "to", place), f"{store} stands twice; delete one")
    profiles = tuple(backups.retention)
    if resource.keep.profile not in profiles:
        message = f"no profile {resource.keep.profile}; {near(resource.keep.profile, profiles)}"
        yield Finding((*here, "keep", "profile"), message)
    for store, profile in resource.keep.copies.items():
        if store not in resource.to:
            yield Finding((*here, "keep", "copies", store), f"not in `to`; {near(store, resource.to)}")
        elif profile not in profiles:
            yield Finding(
                (*here, "keep", "copies", store), f"no profile {profile}; {near(profile, profiles)}"
            )


def _misfits(name: str, resource: Resource, backups: Backups) -> Iterator[Finding]:
    here = ("resources", name)
    engine = ENGINES.get(resource.source.kind, "restic")
    for place, store in enumerate(resource.to):
        if backups.stores[store].type != engine:
            message = f"{store} is {backups.stores[store].type}; {resource.source.kind} needs {engine}"
            yield Finding((*here, "to", place), message)
    if engine != "pgbackrest" and (resource.keep.pitr_window or resource.take.wal or resource.take.full):
        yield Finding(here, "pitr_window, wal and full are of postgresql alone")
    yield from _of_clouds(name, resource, backups)
    if resource.service is None and resource.rpo_s is None:
        yield Finding(here, "has neither service nor rpo; give what may be lost: rpo: 24 h")
    if isinstance(resource.source, VsphereSnapshots):
        return
    if resource.take.on_demand:
        yield Finding((*here, "take", "on_demand"), f"{resource.source.kind} is taken by the clock")
    needed = backups.guards_of(name).never_drop_last_verified
    if resource.proven_to < needed:
        message = f"never proven at {needed.name}, without which nothing would ever be deleted; verify so far"
        yield Finding((*here, "verify"), message)
    restored = any(rule.level >= Level.L3 and rule.by == "verify" for rule in resource.verify)
    if backups.scratch is None and restored:
        yield Finding(
            (*here, "verify"),
            f"{resource.proven_to.name} restores it; give the file a host for that: scratch: NAME",
        )
    yield from _unasserted(name, resource)
    yield from _breaks(name, resource, backups)


def _of_profile(name: str, resource: Resource, backups: Backups) -> Iterator[Finding]:
    """Find a profile that would have a snapshot of a VM stay for longer than it may."""
    rules = tuple(backups.retention[resource.keep.profile].counted())
    span = rules[0].span if len(rules) == 1 and rules[0].name == "all_for" else None
    if span is None or span.about_s > OLDEST_ROLLBACK_S:
        hours = OLDEST_ROLLBACK_S / 3600
        message = f"snapshots of a VM stay for {hours:.0f} h at most; name a profile of all_for alone"
        yield Finding(("resources", name, "keep", "profile"), message)


def _of_clouds(name: str, resource: Resource, backups: Backups) -> Iterator[Finding]:
    """Find what no provider can do: a lock of an RDS snapshot, a restore that only a drill makes."""
    here, source = ("resources", name), resource.source
    cloud = isinstance(source, EbsSnapshots | MachineImage | RdsSnapshots)
    for place, rule in enumerate(resource.verify):
        if rule.by == "drill" and not cloud:
            message = f"{source.kind} is proven by `backup.verify`; leave by: drill out"
            yield Finding((*here, "verify", place, "by"), message)
        if cloud and rule.by == "verify" and rule.level is not Level.L1:
            message = f"{source.kind} is proven at L1, and at L4 by: drill; nothing else is tried"
            yield Finding((*here, "verify", place, "level"), message)
    places = [_place_of(backups.stores[store])[0][:2] for store in resource.to]
    if cloud and len(set(places)) < len(places):
        yield Finding((*here, "to"), "two stores of one region are one copy; delete one of the two")
    if isinstance(source, RdsSnapshots):
        for place, store in enumerate(resource.to):
            if backups.stores[store].lock is not None:
                yield Finding((*here, "to", place), f"{store} locks; snapshots of RDS cannot be locked")
    if isinstance(source, VsphereSnapshots):
        yield from _of_rollbacks(name, resource)
        yield from _of_profile(name, resource, backups)


def _of_rollbacks(name: str, resource: Resource) -> Iterator[Finding]:
    here, keep = ("resources", name), resource.keep
    if len(resource.to) > 1 or keep.copies or keep.pitr_window:
        yield Finding((*here, "to"), "a snapshot of a VM is nowhere but at its vCenter; name that one store")
    if not resource.take.on_demand:
        yield Finding((*here, "take"), "snapshots of a VM are for a change at hand; write on_demand: true")
    if any(rule.level is not Level.L0 for rule in resource.verify):
        yield Finding((*here, "verify"), "a snapshot to roll back with is no backup; write level: L0 alone")


ENGINES = {
    "postgresql": "pgbackrest",
    "ebs-snapshots": "aws",
    "machine-image": "aws",
    "rds-snapshots": "aws",
    "vsphere-snapshots": "vsphere",
}
_ASSERTED = {
    "files": ("file",),
    "postgresql": ("sql", "amcheck"),
    "postgresql-dump": ("sql", "amcheck"),
    "device-config": ("parse",),
}


def _unasserted(name: str, resource: Resource) -> Iterator[Finding]:
    """Find what nobody could see after a restore of that kind: a query of a file share."""
    kind = resource.source.kind
    for place, rule in enumerate(resource.verify):
        here = ("resources", name, "verify", place)
        for number, one in enumerate(rule.asserts):
            word = next(iter(one.model_dump(exclude_none=True)))
            if word not in (fit := _ASSERTED.get(kind, ())):
                message = f"{word} says nothing of {kind}; write {' or '.join(fit) or 'none'}"
                yield Finding((*here, "assert", number), message)
        source = resource.source
        if isinstance(source, DeviceConfig) and rule.level > Level.L3 and source.vendor not in WITH_CHECKER:
            message = f"no free program reads a configuration of {source.vendor}; write L3, without assert"
            yield Finding((*here, "level"), message)
        if kind != "postgresql" and any(pick.moment == "random" for pick in rule.pick):
            yield Finding((*here, "pick"), f"{kind} has points and no moments between them; leave moment out")


def _breaks(name: str, resource: Resource, backups: Backups) -> Iterator[Finding]:
    """Hold the copies to the rule; the original is a copy on disk, at the first store's site."""
    stores, rule = [backups.stores[store] for store in resource.to], backups.rule
    counts = {
        "copies": (1 + len(stores), rule.copies),
        "media": (len({"disk", *(store.medium for store in stores)}), rule.media),
        "offsite": (sum(store.site != stores[0].site for store in stores), rule.offsite),
        "immutable": (sum(store.lock is not None for store in stores), rule.immutable),
    }
    for word, (there, wanted) in counts.items():
        if there >= wanted and word in resource.exempt:
            message = f"{word}: {there}, and {wanted} is wanted; delete what exempts it"
            yield Finding(("resources", name, "exempt", word), message)
        if there < wanted and word not in resource.exempt:
            message = f"{word}: {there} instead of {wanted} that `rule` wants; add a store or change the rule"
            yield Finding(("resources", name, "to"), message)
