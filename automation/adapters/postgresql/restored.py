"""Clusters made by a restore of ours: found by their marker, removed by it alone."""

from automation.model.actions import RemoveCluster
from automation.model.records import Context, Outcome, Progress


def remove_restored(action: RemoveCluster, ctx: Context) -> Outcome:
    """Remove a cluster that bears the marker of a restore; nothing else."""
    raise NotImplementedError


def verify_remove_restored(action: RemoveCluster, ctx: Context) -> Progress:
    """Say whether it is gone."""
    raise NotImplementedError
