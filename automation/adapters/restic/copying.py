"""Points of one repository taken over by another."""

from automation.adapters.restic.door import progress_of
from automation.model.actions.restic import CopyPoints
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress


def copy(action: CopyPoints, ctx: Context) -> Outcome:
    """Copy what the target lacks, oldest first; evidence PointsCopied."""
    raise AdapterError(f"{action.do} is not built yet; nothing was changed")


def verify_copy(action: CopyPoints, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)
