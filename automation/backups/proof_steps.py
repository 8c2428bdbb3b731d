"""The steps that restore one point to the scratch host, look at it, and remove it again. Pure.

Every step is passed over when it fails, so that what stands behind it, above all the removal of what was
restored, is done all the same. A look at something whose restore failed finds nothing there, and says so.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from automation.backups.places import config_folder, dump_file, repository, scratch_folder
from automation.backups.resources import Assertion as Wanted
from automation.backups.resources import DeviceConfig, Postgresql, PostgresqlDump, Sample
from automation.backups.spec import Backups
from automation.backups.stores import PgbackrestStore
from automation.backups.verifying import Duty
from automation.model.actions import (
    Action,
    ClearScratch,
    ExamineCluster,
    LoadDump,
    ProveConfig,
    ProveFiles,
    RemoveCluster,
    RestoreCluster,
    RestoreFiles,
)
from automation.model.actions.databases import Assertion, Stanza
from automation.model.plan import Step
from automation.model.recovery_points import Level, RecoveryPoint

_QUICK_S = 900.0
SCRATCH_PORT = 5499


class Chosen(NamedTuple):
    """A point, and of a database the moment to recover to; without one, as the point goes."""

    point: RecoveryPoint
    until: datetime | None


class Proof(NamedTuple):
    """One proof to be compiled: what, of where, under which names."""

    backups: Backups
    duty: Duty
    chosen: Chosen
    name: str  # before the slash of its steps' ids
    token: str  # of what it restores
    seed: int
    why: str
    devices: tuple[str, ...]
    primary: str  # of its database now; empty: as declared
    patience_s: float
    simulated: bool  # whether a simulator answers as the store

    @property
    def host(self) -> str:
        """The scratch host."""
        return self.backups.scratch or ""

    @property
    def folder(self) -> str:
        """Where files are restored."""
        return scratch_folder(self.token)

    def step(self, word: str, run: Action, why: str, *needs: str, patience_s: float = _QUICK_S) -> Step:
        """Make one of its steps."""
        return Step(
            id=f"{self.name}/{word}",
            run=run,
            why=why,
            needs=tuple(f"{self.name}/{need}" for need in needs),
            timeout_s=patience_s,
            on_failure="continue",
            retries=0 if run.effect == "destroy" else 2,
        )

    def removal(self, word: str, run: Action, why: str, after: Iterable[Step]) -> Step:
        """Make the step that removes what others restored."""
        step = self.step(word, run, why)
        return step.model_copy(update={"after": tuple(one.id for one in after), "cleanup": True})


def steps_of(proof: Proof) -> tuple[Step, ...]:
    """Compile one proof of a point."""
    source = proof.backups.resources[proof.duty.resource].source
    if isinstance(source, Postgresql):
        return _of_cluster(proof, source)
    if isinstance(source, PostgresqlDump) and proof.duty.level >= Level.L4:
        return _of_dump(proof, source)
    if isinstance(source, DeviceConfig) and proof.duty.level >= Level.L4:
        return _of_devices(proof, source)
    return _of_files(proof)


def _of_files(proof: Proof) -> tuple[Step, ...]:
    sample = proof.duty.rule.sample
    some = sample if isinstance(sample, Sample) else None
    run = ProveFiles(
        host=proof.host,
        resource=proof.duty.resource,
        of=repository(proof.backups, proof.duty.store, proof.host),
        point=proof.chosen.point.id,
        folder=proof.folder,
        files=some.files if some else None,
        max_bytes=some.max_bytes if some else None,
        newest=some.newest if some else 0.5,
        must_hold=tuple(one.file for one in proof.duty.rule.asserts if one.file),
        seed=proof.seed,
    )
    prove = proof.step("prove", run, proof.why, patience_s=proof.patience_s)
    return prove, _clear(proof, (prove,))


def _of_devices(proof: Proof, source: DeviceConfig) -> tuple[Step, ...]:
    restore = _restore_files(proof)
    look = ProveConfig(
        host=proof.host,
        resource=proof.duty.resource,
        store=proof.duty.store,
        point=proof.chosen.point.id,
        vendor=source.vendor,
        folder=f"{proof.folder}{config_folder(proof.duty.resource)}",
        devices=proof.devices,
        simulated=proof.simulated,
    )
    prove = proof.step("prove", look, f"the checker of {source.vendor} reads them", "restore")
    return restore, prove, _clear(proof, (restore, prove))


def _of_dump(proof: Proof, source: PostgresqlDump) -> tuple[Step, ...]:
    cluster = cluster_of(source.cluster, proof.token)
    restore = _restore_files(proof)
    run = LoadDump(
        host=proof.host,
        file=f"{proof.folder}{dump_file(proof.duty.resource)}",
        database=source.database,
        resource=proof.duty.resource,
        store=proof.duty.store,
        point=proof.chosen.point.id,
        cluster=cluster,
        port=SCRATCH_PORT,
    )
    load = proof.step("load", run, "all of it can be loaded", "restore", patience_s=proof.patience_s)
    examine = _examine(proof, source, cluster, "load")
    done = (restore, load, examine)
    remove = _remove(proof, cluster, done)
    return *done, remove, _clear(proof, (*done, remove))


def _of_cluster(proof: Proof, source: Postgresql) -> tuple[Step, ...]:
    cluster = cluster_of(source.cluster, proof.token)
    run = RestoreCluster(
        host=proof.host,
        resource=proof.duty.resource,
        of=stanza(proof.backups, proof.duty.store),
        cluster=cluster,
        point=proof.chosen.point.id,
        until=proof.chosen.until,
        port=SCRATCH_PORT,
    )
    restore = proof.step("restore", run, proof.why, patience_s=proof.patience_s)
    examine = _examine(proof, source, cluster, "restore")
    return restore, examine, _remove(proof, cluster, (restore, examine))


def stanza(backups: Backups, name: str) -> Stanza:
    """Give a repository of pgBackRest as actions name it."""
    store = backups.stores[name]
    if not isinstance(store, PgbackrestStore):
        raise TypeError(f"{name} is no repository of pgBackRest")
    return Stanza(store=name, stanza=store.stanza, repo=store.repo)


def cluster_of(original: str, token: str) -> str:
    """Name a cluster that is restored beside others, of the version of its original."""
    return f"{original.partition('/')[0]}/restored_{token.replace('-', '_')}"


def _restore_files(proof: Proof) -> Step:
    run = RestoreFiles(
        host=proof.host,
        resource=proof.duty.resource,
        of=repository(proof.backups, proof.duty.store, proof.host),
        point=proof.chosen.point.id,
        folder=proof.folder,
    )
    return proof.step("restore", run, proof.why, patience_s=proof.patience_s)


def _examine(proof: Proof, source: Postgresql | PostgresqlDump, cluster: str, needs: str) -> Step:
    wanted = proof.duty.rule.asserts or (Wanted(amcheck="all"),)
    compared = any(one.share_of_source is not None for one in wanted)
    database = source.database if isinstance(source, PostgresqlDump) else ""
    run = ExamineCluster(
        host=proof.host,
        resource=proof.duty.resource,
        store=proof.duty.store,
        point=proof.chosen.point.id,
        cluster=cluster,
        until=proof.chosen.until,
        assertions=_assertions(wanted, database),
        source=(proof.primary or source.host) if compared else None,
        source_cluster=source.cluster if compared else None,
        simulated=proof.simulated,
    )
    why = "it is whole, and holds what it must"
    return proof.step("examine", run, why, needs, patience_s=proof.patience_s)


def _assertions(wanted: Sequence[Wanted], database: str) -> tuple[Assertion, ...]:
    return tuple(
        Assertion(
            sql=one.sql,
            database=database,
            minimum=one.minimum,
            share_of_source=one.share_of_source,
            not_older_s=one.not_older_s,
            amcheck=one.amcheck is not None,
        )
        for one in wanted
        if one.sql or one.amcheck
    )


def _clear(proof: Proof, after: Iterable[Step]) -> Step:
    run = ClearScratch(host=proof.host, folder=proof.folder)
    return proof.removal("clear", run, "nothing of it stays on the scratch host", after)


def _remove(proof: Proof, cluster: str, after: Iterable[Step]) -> Step:
    run = RemoveCluster(host=proof.host, cluster=cluster)
    return proof.removal("remove", run, "nothing of it stays on the scratch host", after)
