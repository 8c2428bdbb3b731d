"""A look at what stands ready in a region, as a step whose journal keeps what was seen."""

from automation.adapters.aws.pilot import look_at_pilot
from automation.model.actions import LookAtPilot
from automation.model.records import Context, Outcome


def look_at_ready(action: LookAtPilot, ctx: Context) -> Outcome:
    """See which image, replica and snapshot a service could come back from; changes nothing.

    Raises:
        AdapterError: the region does not answer, or does not let us look.
    """
    databases = action.database, action.replica
    seen = look_at_pilot(ctx.environment, action.site, ctx.state, action.images, databases)
    there = {"an image": seen.image, "a replica": seen.replica, "a snapshot": seen.snapshot}
    said = ", ".join(words for words, one in there.items() if one is not None) or "nothing"
    return Outcome(changed=False, summary=f"{action.site} has {said} ready", evidence=seen)
