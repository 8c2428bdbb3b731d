"""A database dumped to a file that is read once, and a dump loaded into a cluster of its own."""

import re

from automation.adapters.postgresql.dump_scripts import DUMP, EXAMINE, LOAD
from automation.adapters.postgresql.script import progress_of, read_script, run_script
from automation.model.actions import DumpDatabase, LoadDump
from automation.model.actions.databases import RESTORED_MARKERS
from automation.model.backup_evidence import DatabaseDumped, ProofFailed
from automation.model.base import Model
from automation.model.errors import AdapterError
from automation.model.records import Completed, Context, Outcome, Progress, Remote
from automation.model.recovery_points import Level

NOT_TAKEN = 31
# What says nothing of the dump: a disk, a memory or a server that gave up, an extension that this host lacks.
_OF_THE_HOST = re.compile(
    r"no space left on device|out of memory|connection to server|server closed the connection"
    r"|terminating connection|extension \S+ is not available|could not open extension control file",
    re.IGNORECASE,
)


class DumpSeen(Model):
    """What a dump was found to be, after all of it was read."""

    format: str
    tables: int
    size_bytes: int


def dump(action: DumpDatabase, ctx: Context) -> Outcome:
    """Dump one database to a file, whole or not at all: until it was read once, the old file stays.

    Raises:
        AdapterError: pg_dump failed, or what it wrote cannot be read to its end.
    """
    done = run_script(ctx, action.host, DUMP, [action.cluster, action.database, action.file])
    if done.exit_code:
        raise AdapterError(
            f"{action.database} of {action.cluster} on {action.host} was not dumped: {done.stderr.strip()}; "
            f"{action.file} is as it was"
        )
    size, tables, seconds = done.stdout.split()[-3:]
    evidence = DatabaseDumped(
        host=action.host,
        database=action.database,
        file=action.file,
        size_bytes=int(size),
        tables=int(tables),
        seconds=float(seconds),
    )
    summary = f"{action.database} dumped to {action.file}: {tables} tables, {int(size) / 2**20:.1f} MiB"
    return Outcome(changed=True, summary=summary, evidence=evidence)


def verify_dump(action: DumpDatabase, ctx: Context) -> Progress:
    """Say how far a dump came; one that was cut off has left the old file alone."""
    return progress_of(ctx, action.host)


def examine_dump(remote: Remote, host: str, cluster: str, file: str) -> DumpSeen:
    """Read a dump of any format to its end: custom, plain (also packed), directory, tar.

    `pg_restore -l` and `psql` are content with a dump that was cut off; of a directory pg_restore itself is,
    too. Rows inside a plain dump are not checked: only a load does that.

    Raises:
        AdapterError: it is not whole; says what is wrong.
    """
    try:
        said = read_script(remote, host, EXAMINE, [cluster, file])
    except AdapterError as exc:
        raise AdapterError(f"{file}: {exc}") from exc
    form, tables, size = said.split()[-3:]
    return DumpSeen(format=form, tables=int(tables), size_bytes=int(size))


def load_dump(action: LoadDump, ctx: Context) -> Outcome:
    """Load a dump into a fresh cluster that listens on its own socket alone, stopping at the first error.

    Owners and rights are left out: their roles are not in a dump of one database.

    Raises:
        AdapterError: refused before anything was made; or a statement failed: then all is removed again.
    """
    own = f"{ctx.run_id}/{ctx.step_id}"
    marker = f"{RESTORED_MARKERS}/{action.cluster.replace('/', '-')}"
    words = [action.cluster, action.file, action.database, str(action.port), marker, own]
    done = run_script(ctx, action.host, LOAD, words)
    if done.exit_code:
        raise AdapterError(
            f"{action.file} was not loaded into {action.cluster} on {action.host}: {done.stderr.strip()}; "
            "what was made is removed again",
            evidence=_bad(action, done),
        )
    tables, seconds = done.stdout.split()[-2:]
    summary = f"{action.file} loaded into {action.cluster} on {action.host}: {tables} tables, {seconds} s"
    return Outcome(changed=True, summary=summary)


def _bad(action: LoadDump, done: Completed) -> ProofFailed | None:
    """A dump whose file is whole, and that a server that runs does not take, is bad."""
    said = done.stderr.strip()
    if not action.point or done.exit_code != NOT_TAKEN or _OF_THE_HOST.search(said):
        return None
    return ProofFailed(
        resource=action.resource,
        store=action.store,
        point=action.point,
        level=Level.L4,
        found=(f"it cannot be loaded: {said[-300:]}",),
    )


def verify_load_dump(action: LoadDump, ctx: Context) -> Progress:
    """Say how far a load came; a half-made cluster bears the marker and can be removed."""
    return progress_of(ctx, action.host)
