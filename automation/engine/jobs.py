"""Jobs: the commands that may run with nobody watching, and how far each may go."""

from collections.abc import Mapping
from typing import NamedTuple


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
# `_refuse_plan` sees that no job contains one. A lock that was left behind is broken by a person alone.
# What a service may lose decides when a rotation freezes, so the catalog is policy of it.
JOBS: Mapping[str, Job] = {
    "provision.apply": Job(guards=("created", "started"), policy=("playbooks", "ansible.cfg")),
    "provision.converge": Job(guards=("hosts",), policy=("playbooks", "ansible.cfg")),
    "backup.run": Job(
        guards=("points",),
        own=("backups.yml",),
        changes=("restic.take", "restic.copy", "pgbackrest.take", "postgresql.dump", "devices.fetch"),
        resumes=True,
    ),
    "backup.rotate": Job(
        guards=("deleted",),
        own=("backups.yml", "services.yml", "services"),
        changes=(),
        destroys=("restic.forget", "restic.reclaim", "pgbackrest.expire"),
        daily=("deleted",),
    ),
    "backup.verify": Job(
        guards=("restores",),
        own=("backups.yml",),
        changes=("restic.restore", "restic.prove", "pgbackrest.restore", "postgresql.load_dump"),
        destroys=("restic.clear_scratch", "postgresql.remove_restored"),
        resumes=True,
    ),
    "backup.canary": Job(guards=("stores",), own=("backups.yml",), changes=("object_store.try_delete",)),
}
