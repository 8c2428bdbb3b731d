"""What people and plans note of recovery points, for the ledger; nothing outside the journal is touched."""

from automation.model.actions.devices import AcceptPolicy, ClearDoubt, MarkPoints
from automation.model.backup_evidence import DoubtCleared, PointsMarked, PolicyAccepted
from automation.model.records import Context, Outcome


def mark(action: MarkPoints, ctx: Context) -> Outcome:
    """Note which points are expired now."""
    evidence = PointsMarked(resource=action.resource, store=action.store, points=action.points)
    said = f"{len(action.points)} points of {action.resource} in {action.store} are marked as expired"
    return Outcome(changed=False, summary=said, evidence=evidence)


def accept_policy(action: AcceptPolicy, ctx: Context) -> Outcome:
    """Note that the effect of a policy was shown."""
    evidence = PolicyAccepted(
        resource=action.resource, store=action.store, policy_digest=action.policy_digest
    )
    said = (
        f"the effect of policy {action.policy_digest[:12]} on {action.resource} in {action.store} was shown"
    )
    return Outcome(changed=False, summary=said, evidence=evidence)


def clear_doubt(action: ClearDoubt, ctx: Context) -> Outcome:
    """Note that a person looked at doubts, and clears them."""
    what = action.resource or f"store {action.store}"
    evidence = DoubtCleared(
        resource=action.resource,
        store=action.store,
        doubts=action.doubts,
        reason=action.reason,
        by=action.by,
    )
    said = f"{action.by} cleared {len(action.doubts)} doubts of {what}: {action.reason}"
    return Outcome(changed=False, summary=said, evidence=evidence)
