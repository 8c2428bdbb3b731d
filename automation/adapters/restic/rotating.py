"""Points deleted by full id and seen to be gone; space that nothing needs given back."""

from automation.adapters.restic.door import progress_of
from automation.model.actions.restic import ForgetPoints, ReclaimSpace
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress


def forget(action: ForgetPoints, ctx: Context) -> Outcome:
    """Delete exactly these points; evidence PointsDeleted, OutcomeUnknown if any other is gone."""
    raise AdapterError(f"{action.do} is not built yet; nothing was changed")


def verify_forget(action: ForgetPoints, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)


def reclaim(action: ReclaimSpace, ctx: Context) -> Outcome:
    """Remove what no point needs; evidence SpaceReclaimed."""
    raise AdapterError(f"{action.do} is not built yet; nothing was changed")


def verify_reclaim(action: ReclaimSpace, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)
