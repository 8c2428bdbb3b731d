"""Jobs: the commands that may run with nobody watching, and how far each may go."""

import re
from collections.abc import Mapping
from posixpath import normpath
from typing import NamedTuple

from automation.model.actions import (
    Action,
    LoadDump,
    RestoreCluster,
    RestoreFiles,
)
from automation.model.actions.databases import RESTORED
from automation.model.actions.points import Deletion
from automation.model.actions.restic import SCRATCH
from automation.model.approvals import Asked
from automation.model.errors import PreflightError
from automation.model.plan import Plan


class Job(NamedTuple):
    """A command that may run with nobody watching.

    `guards` are the amounts that limit it, and those in `daily` are limited within 24 hours, however often it
    runs. `policy` are the files and folders of the checkout that say what it does, `own` those beside
    environment.yml. `changes` are the addresses of the only actions by which it may change something (None:
    any), `destroys` those by which it may destroy something. A job that `resumes` goes on with a run that was
    cut off, under what that was begun under; any other begins anew, or a person goes on.
    """

    guards: tuple[str, ...]
    policy: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    changes: tuple[str, ...] | None = None
    destroys: tuple[str, ...] = ()
    daily: tuple[str, ...] = ()
    resumes: bool = False


# The whole list. Failover, failback, restore in place and the removal of servers are no jobs, and
# `refuse_plan` sees that no job contains one. A lock that was left behind is broken by a person alone.
# What a service may lose decides when a rotation freezes, so the catalog is policy of it.
JOBS: Mapping[str, Job] = {
    "provision.apply": Job(
        guards=("created", "started"),
        policy=("playbooks", "ansible.cfg"),
        own=("networks.yml",),
        changes=(
            *("keys.make", "nspawn.build_image", "nspawn.start_lab", "nspawn.start_simulator"),
            *("nspawn.create_server", "nspawn.start_server"),
            *("aws.create_network", "aws.create_instance", "aws.start_instance", "aws.learn_host_key"),
            *("vsphere.create_network", "vsphere.create_vm", "vsphere.power_on_vm", "vsphere.learn_host_key"),
        ),
    ),
    "provision.converge": Job(guards=("hosts",), policy=("playbooks", "ansible.cfg")),
    "backup.run": Job(
        guards=("points",),
        own=("backups.yml",),
        changes=(
            "restic.take",
            "restic.copy",
            "pgbackrest.take",
            "postgresql.dump",
            "devices.fetch",
            "aws.take_snapshots",
            "aws.take_image",
            "aws.take_database_snapshot",
            "aws.copy_points",
            "vsphere.take_rollback",
        ),
        resumes=True,
    ),
    "backup.rotate": Job(
        guards=("deleted",),
        own=("backups.yml", "services.yml", "services"),
        changes=(),
        destroys=(
            "restic.forget",
            "restic.reclaim",
            "pgbackrest.expire",
            "aws.delete_points",
            "vsphere.remove_rollbacks",
        ),
        daily=("deleted",),
    ),
    "backup.verify": Job(
        guards=("restores",),
        own=("backups.yml",),
        changes=("restic.restore", "restic.prove", "pgbackrest.restore", "postgresql.load_dump"),
        destroys=("restic.clear_scratch", "postgresql.remove_restored"),
        resumes=True,
    ),
    "backup.canary": Job(
        guards=("stores",),
        own=("backups.yml",),
        changes=("object_store.try_delete", "object_store.lengthen_locks"),
    ),
}


def refuse_plan(plan: Plan, asked: Asked) -> None:
    """Refuse what no standing authorisation can allow, whatever was signed.

    Raises:
        PreflightError: names the step, or the deletions that the job does not say.
    """
    job = JOBS.get(asked.command)
    if job is None or plan.mode != "apply":
        what = f"{asked.command} in mode {plan.mode}"
        raise PreflightError(f"{what} is never done with nobody watching; nothing was changed")
    acts = [(step, run) for step in plan.steps for run in (step.run, step.undo) if run is not None]
    for step, run in acts:
        destroys = run.effect == "destroy" and run.do not in job.destroys
        changes = run.effect == "change" and job.changes is not None and run.do not in job.changes
        if destroys or changes or _beyond_scratch(run) or run.irreversible or run.effect == "fault":
            raise PreflightError(
                f"step {step.id} ({run.do}) of {asked.command} is never done with nobody watching; "
                "nothing was changed"
            )
    deleted = sum(len(run.points) for _, run in acts if isinstance(run, Deletion))
    if deleted > asked.amounts.get("deleted", 0):
        raise PreflightError(
            f"{asked.command} would delete {deleted} points, which is more than it says; nothing was changed"
        )


def _beyond_scratch(run: Action) -> bool:
    """Whether something is restored to where people or others use it."""
    match run:
        case RestoreFiles():
            return run.in_place or not normpath(run.folder).startswith(f"{SCRATCH}/")
        case RestoreCluster() | LoadDump():
            listens = isinstance(run, RestoreCluster) and bool(run.listen)
            return listens or re.fullmatch(RESTORED, run.cluster) is None
    return False
