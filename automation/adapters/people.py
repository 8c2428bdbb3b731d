"""What people do. Their words stand in the journal, as the answer of the step's gate; nothing acts here."""

from automation.model.actions import AskPlayers, Confirm, Inject
from automation.model.records import Context, Outcome


def confirm(action: Confirm, ctx: Context) -> Outcome:
    """Say that a person has confirmed it; the gate was answered with yes, or it would not have started."""
    return Outcome(changed=False, summary=f"{action.of} confirmed: {action.task}")


def inject(action: Inject, ctx: Context) -> Outcome:
    """Say that the players did what was expected of them."""
    return Outcome(changed=False, summary=f"{action.to} did what was expected: {action.expect}")


def ask_players(action: AskPlayers, ctx: Context) -> Outcome:
    """Say that the table was asked."""
    return Outcome(changed=False, summary=f"{action.about} written down")
