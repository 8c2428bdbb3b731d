"""A cluster restored under a name of its own, beside whatever else a host has."""

from automation.model.actions import RestoreCluster
from automation.model.records import Context, Outcome, Progress


def restore(action: RestoreCluster, ctx: Context) -> Outcome:
    """Restore a cluster, recover it to a moment, and open it there."""
    raise NotImplementedError


def verify_restore(action: RestoreCluster, ctx: Context) -> Progress:
    """Say how far a restore came."""
    raise NotImplementedError
