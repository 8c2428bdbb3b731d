"""A database dumped to a file that is read once, and a dump loaded into a cluster of its own."""

from automation.model.actions import DumpDatabase, LoadDump
from automation.model.records import Context, Outcome, Progress


def dump(action: DumpDatabase, ctx: Context) -> Outcome:
    """Dump one database to a file, whole or not at all."""
    raise NotImplementedError


def verify_dump(action: DumpDatabase, ctx: Context) -> Progress:
    """Say how far a dump came."""
    raise NotImplementedError


def load_dump(action: LoadDump, ctx: Context) -> Outcome:
    """Load a dump into a fresh cluster, stopping at the first error."""
    raise NotImplementedError


def verify_load_dump(action: LoadDump, ctx: Context) -> Progress:
    """Say how far a load came."""
    raise NotImplementedError
