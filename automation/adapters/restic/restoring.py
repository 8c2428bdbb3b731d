"""Files restored for people: below a folder, or over their originals, which are kept."""

from automation.adapters.restic.door import progress_of
from automation.model.actions.restic import ClearScratch, RestoreFiles
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress


def restore(action: RestoreFiles, ctx: Context) -> Outcome:
    """Restore and compare with the manifest; evidence PointRestored."""
    raise AdapterError(f"{action.do} is not built yet; nothing was changed")


def verify_restore(action: RestoreFiles, ctx: Context) -> Progress:
    """Say how far it came."""
    return progress_of(ctx, action.host)


def clear_scratch(action: ClearScratch, ctx: Context) -> Outcome:
    """Remove a scratch folder that bears our marker; one that is not there is done."""
    raise AdapterError(f"{action.do} is not built yet; nothing was changed")
