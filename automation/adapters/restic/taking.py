"""One point of a host's files: looked at before, saved, and compared with what was there."""

from automation.adapters.restic.door import progress_of
from automation.model.actions.restic import TakeFiles
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress


def take(action: TakeFiles, ctx: Context) -> Outcome:
    """Save the paths with their manifest; evidence PointTaken, or TakeFailed in the error."""
    raise AdapterError(f"{action.do} is not built yet; nothing was changed")


def verify_take(action: TakeFiles, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)
