"""A restore for people: which point, from which store, to where, as which steps. Pure.

Nothing is ever put over what is there, but for files in place, which a signed approval alone allows.
"""

from collections.abc import Sequence
from datetime import datetime
from shlex import quote
from typing import NamedTuple

from automation.backups.places import dump_file, repository
from automation.backups.proof_steps import cluster_of, stanza
from automation.backups.proving import Moments, patience_s
from automation.backups.resources import DeviceConfig, Files, Postgresql, PostgresqlDump
from automation.backups.spec import Backups
from automation.model.actions import LoadDump, RestoreCluster, RestoreFiles
from automation.model.actions.databases import RESTORED_MARKERS
from automation.model.actions.restic import Repository
from automation.model.base import Model
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step
from automation.model.recovery_points import Proof, RecoveryPoint

PLAN_NAME = "backup-restore"
FOLDER = "/var/lib/mainstay/restored-files"


class Target(NamedTuple):
    """Where a restore goes; without a path, to a place of its own."""

    host: str
    path: str = ""


class Asked(NamedTuple):
    """What a person asked for; `at` of None is the newest there is."""

    resource: str
    at: datetime | None
    to: Target
    include: tuple[str, ...] = ()
    in_place: bool = False
    store: str = ""
    url: str = ""  # of a recovered copy, opened with the credentials of the store


class Where(Model):
    """What a restore leaves on its target."""

    host: str
    folder: str = ""
    cluster: str = ""
    port: int = 0
    include: tuple[str, ...] = ()
    in_place: bool = False


class Choice(Model):
    """What will be restored, from where to where; `until` of a database is the moment, None its end."""

    resource: str
    kind: str
    store: str
    point: str
    claimed_at: datetime
    until: datetime | None = None
    size_bytes: int
    where: Where


def parse_target(text: str) -> Target:
    """Read `HOST` or `HOST:/path`.

    Raises:
        ConfigError: the path is not absolute, or is the whole disk.
    """
    host, colon, path = text.partition(":")
    clean = path.rstrip("/")
    if not host or (colon and not clean.startswith("/")) or "/../" in f"{clean}/":
        raise ConfigError(
            f"--to {text} is no target; nothing was touched", hint="--to HOST, or --to HOST:/new/folder"
        )
    return Target(host, clean)


def refuse_misfit(asked: Asked, backups: Backups) -> None:
    """See that the resource can be restored in the way that was asked for.

    Raises:
        ConfigError: names the flag that does not fit.
        PreflightError: in place, where nobody may sign for it.
    """
    resource = backups.resources[asked.resource]
    kind = resource.source.kind
    if not isinstance(resource.source, Files | Postgresql | PostgresqlDump | DeviceConfig):
        raise ConfigError(
            f"{asked.resource} is {kind}, which no host of the inventory takes; nothing was touched",
            hint="a recovery plan launches it, where its service has the strategy aws-pilot-light",
        )
    if isinstance(resource.source, Postgresql) and asked.to.path:
        raise ConfigError(
            f"{asked.resource} is a cluster, which {asked.to.host} keeps among its own; nothing was touched",
            hint=f"--to {asked.to.host}",
        )
    if asked.include and kind not in ("files", "device-config"):
        raise ConfigError(f"--include picks files, and {asked.resource} is {kind}; nothing was touched")
    if asked.url and kind == "postgresql":
        raise ConfigError("--repository is for copies of restic's alone; nothing was touched")
    if not asked.in_place:
        return
    if kind != "files":
        raise ConfigError(
            f"--in-place is for files, and {asked.resource} is {kind}; nothing was touched",
            hint="restore it beside what runs, look at it, then switch over",
        )
    if backups.in_place is None:
        raise PreflightError(
            "backups.yml names nobody who may approve a restore over the original; nothing was changed",
            hint="restore to another folder, or say who: in_place: {roles: [ROLE]}",
        )


def order_stores(backups: Backups, resource: str, site: str) -> tuple[str, ...]:
    """Give a resource's stores, the nearest first: those of the target's site, then in their own order."""
    named = backups.resources[resource].to
    return tuple(sorted(named, key=lambda store: backups.stores[store].site != site))


def choose_point(points: Sequence[RecoveryPoint], at: datetime | None) -> RecoveryPoint | None:
    """Give the newest good point that is not after a moment; None: there is none."""
    good = [p for p in points if p.status == "ok" and (at is None or p.claimed_at <= at)]
    return max(good, key=lambda point: (point.claimed_at, point.id), default=None)


def refuse_unreachable(moments: Sequence[Moments], at: datetime, store: str) -> None:
    """See that a database can be recovered to a moment.

    Raises:
        PreflightError: names the moments before and after that can be reached.
    """
    if any(one.first <= at <= one.last for one in moments):
        return
    before = max((one.last for one in moments if one.last < at), default=None)
    after = min((one.first for one in moments if one.first > at), default=None)
    near = [
        f"{word} {moment:%Y-%m-%dT%H:%M:%SZ}"
        for word, moment in (("up to", before), ("from", after))
        if moment
    ]
    raise PreflightError(
        f"{store} cannot recover to {at:%Y-%m-%d %H:%M:%S} UTC: no WAL of that moment is there; nothing was "
        "changed",
        hint=f"it reaches {' and '.join(near)}" if near else "no moment can be reached; try another --store",
    )


def best_proof(proofs: Sequence[Proof], point: str, now: datetime) -> Proof | None:
    """Give the proof of a point that says most: the highest level, then the newest; suspended ones too."""
    mine = [proof for proof in proofs if proof.point == point and proof.at <= now]
    return max(mine, key=lambda proof: (not proof.suspended, proof.level, proof.at), default=None)


def folder_of(asked: Asked, point: RecoveryPoint) -> str:
    """Give the folder that a restore goes to: the one asked for, or one named after the point."""
    if asked.in_place:
        return "/"
    return asked.to.path or f"{FOLDER}/{asked.resource}-{point.claimed_at:%Y%m%d-%H%M%S}"


def cluster_name(asked: Asked, backups: Backups, moment: datetime) -> str:
    """Name the cluster that a database is restored to; empty where files alone are restored."""
    source = backups.resources[asked.resource].source
    loads = isinstance(source, PostgresqlDump) and not asked.to.path
    if not loads and not isinstance(source, Postgresql):
        return ""
    return cluster_of(source.cluster, f"{asked.resource}_{moment:%Y%m%d_%H%M%S}")  # type: ignore[union-attr]


def plan_restore(choice: Choice, asked: Asked, backups: Backups, *, environment: str) -> Plan:
    """Compile a restore; in place it needs the signatures that backups.yml asks for."""
    resource = backups.resources[choice.resource]
    steps = (
        _cluster_steps(choice, backups)
        if choice.kind == "postgresql"
        else _file_steps(choice, asked, backups)
    )
    if choice.where.in_place:
        steps = tuple(step.model_copy(update={"service": resource.service}) for step in steps)
    return Plan(
        name=PLAN_NAME,
        environment=environment,
        mode="apply",
        steps=steps,
        approvals=backups.in_place if choice.where.in_place else None,
    )


def repository_of(asked: Asked, backups: Backups, store: str) -> Repository:
    """Give a restic store as the target reaches it, or the recovered copy that a person named."""
    if asked.url:
        return Repository(store=f"{store}-recovered", url=asked.url, credentials=store)
    return repository(backups, store, asked.to.host)


def _file_steps(choice: Choice, asked: Asked, backups: Backups) -> tuple[Step, ...]:
    restore = RestoreFiles(
        host=choice.where.host,
        resource=choice.resource,
        of=repository_of(asked, backups, choice.store),
        point=choice.point,
        folder=choice.where.folder,
        include=choice.where.include,
        in_place=choice.where.in_place,
    )
    why = (
        "over the originals, whose state is saved first" if choice.where.in_place else "beside what is there"
    )
    first = Step(
        id=f"{choice.resource}/restore",
        run=restore,
        why=why,
        timeout_s=patience_s(choice.size_bytes),
        retries=2,
    )
    source = backups.resources[choice.resource].source
    if not choice.where.cluster or not isinstance(source, PostgresqlDump):
        return (first,)
    load = LoadDump(
        host=choice.where.host,
        file=f"{choice.where.folder}{dump_file(choice.resource)}",
        database=source.database,
        cluster=choice.where.cluster,
        port=choice.where.port,
    )
    loaded = Step(
        id=f"{choice.resource}/load",
        run=load,
        why="into a cluster of its own, beside what runs",
        needs=(first.id,),
        timeout_s=patience_s(choice.size_bytes * 7),
    )
    return first, loaded


def _cluster_steps(choice: Choice, backups: Backups) -> tuple[Step, ...]:
    run = RestoreCluster(
        host=choice.where.host,
        resource=choice.resource,
        of=stanza(backups, choice.store),
        cluster=choice.where.cluster,
        point=choice.point,
        until=choice.until,
        port=choice.where.port,
    )
    why = "a cluster of its own, that archives nothing and that nobody else reaches"
    timeout_s = patience_s(choice.size_bytes * 2)
    return (Step(id=f"{choice.resource}/restore", run=run, why=why, timeout_s=timeout_s, retries=2),)


# --- afterwards ------------------------------------------------------------------------------------


def where_of(plan: Plan) -> Where:
    """Say what a plan of a restore leaves on its target."""
    acts = [step.run for step in plan.steps]
    files = next((act for act in acts if isinstance(act, RestoreFiles)), None)
    cluster = next((act for act in acts if isinstance(act, RestoreCluster | LoadDump)), None)
    host = files.host if files else cluster.host if cluster else ""
    return Where(
        host=host,
        folder=files.folder if files else "",
        cluster=cluster.cluster if cluster else "",
        port=cluster.port if cluster else 0,
        include=files.include if files else (),
        in_place=files.in_place if files else False,
    )


def ways_to_check(where: Where) -> tuple[str, ...]:
    """Give the commands, on the target, by which a person sees that it is what was wanted."""
    if where.cluster:
        ask = f"sudo -u postgres psql -p {where.port}"
        return (
            f"pg_lsclusters {where.cluster.replace('/', ' ')}",
            f"{ask} -l",
            f"{ask} -d DATABASE -c '\\dt+'",
        )
    below = where.folder.rstrip("/")
    if where.include:
        return tuple(f"sudo ls -lR {quote(below + path)}" for path in where.include)
    return () if where.in_place else (f"sudo ls -lR {quote(below)}", f"sudo du -sh {quote(below)}")


def ways_to_remove(where: Where) -> tuple[str, ...]:
    """Give the commands, on the target, that remove what was restored; none for what is in place."""
    if where.in_place:
        return ()
    found: list[str] = []
    if where.cluster:
        found.append(f"sudo pg_dropcluster --stop {where.cluster.replace('/', ' ')}")
        found.append(f"sudo rm -f {RESTORED_MARKERS}/{where.cluster.replace('/', '-')}")
    if where.folder:
        found.append(f"sudo rm -r {quote(where.folder)}")
    return tuple(found)
