"""Backups deleted by label, and nothing else."""

from automation.model.actions import ExpireBackups
from automation.model.records import Context, Outcome, Progress


def expire(action: ExpireBackups, ctx: Context) -> Outcome:
    """Delete the named backups, each by its label, and see by listing again that no other went."""
    raise NotImplementedError


def verify_expire(action: ExpireBackups, ctx: Context) -> Progress:
    """Say which of them are gone."""
    raise NotImplementedError
