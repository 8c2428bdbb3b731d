"""The check of a repository: its list and its WAL, or every byte."""

from automation.model.actions import CheckStanza
from automation.model.records import Context, Outcome


def check(action: CheckStanza, ctx: Context) -> Outcome:
    """See that every backup is listed well and no WAL is missing; L2: read every file."""
    raise NotImplementedError
