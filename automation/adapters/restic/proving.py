"""L3: a point restored to scratch and compared with the manifest of its backup."""

from automation.adapters.restic.door import progress_of
from automation.model.actions.restic import ProveFiles
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress


def prove(action: ProveFiles, ctx: Context) -> Outcome:
    """Restore all or a sample and compare; evidence PointProven, or ProofFailed in the error."""
    raise AdapterError(f"{action.do} is not built yet; nothing was changed")


def verify_prove(action: ProveFiles, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)
