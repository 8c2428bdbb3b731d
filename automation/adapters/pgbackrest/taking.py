"""A backup taken into one repository."""

from automation.model.actions import TakeBackup
from automation.model.records import Context, Outcome, Progress


def take(action: TakeBackup, ctx: Context) -> Outcome:
    """Take a backup of the primary, after a look at both and at the archive."""
    raise NotImplementedError


def verify_take(action: TakeBackup, ctx: Context) -> Progress:
    """Say how far a backup came."""
    raise NotImplementedError
