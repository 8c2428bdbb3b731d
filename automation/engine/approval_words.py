"""The words of approvals: what a run asks for, what a person signs, what is journalled of it. Pure."""

import secrets
from collections.abc import Sequence
from datetime import datetime

from automation.model.approvals import Approval, ApprovalKind, ApprovalRule, Request, Verified
from automation.model.plan import Plan, Step
from automation.model.records import ApprovalRecorded, GateAnswered, OverrideRecorded


def run_request(plan: Plan, run_id: str, requester: str) -> Request | None:
    """Ask for the approval that a plan says its run needs; None where it says none."""
    if plan.approvals is None:
        return None
    question = f"run {plan.name} in mode {plan.mode} on {plan.environment}: {len(plan.steps)} steps"
    return _request("run", plan, run_id, requester, plan.approvals, question)


def gate_request(plan: Plan, step: Step, run_id: str, requester: str) -> Request | None:
    """Ask for the signed answer to a step's gate; None where it has no gate."""
    if step.gate is None:
        return None
    rule = ApprovalRule(roles=(step.gate.role,), requester_may_approve=True)
    request = _request("gate", plan, run_id, requester, rule, step.gate.ask)
    return request.model_copy(update={"step": step.id})


def override_request(
    plan: Plan, run_id: str, requester: str, *, step: str, observed: str, rule: ApprovalRule, question: str
) -> Request:
    """Ask people to accept, by name of step and word for word, what a guard refused."""
    request = _request("override", plan, run_id, requester, rule, question)
    return request.model_copy(update={"step": step, "observed": observed})


def fill_in(
    request: Request,
    *,
    role: str,
    inventory_digest: str,
    signers_digest: str,
    expires_at: datetime,
    reason: str | None,
) -> Approval:
    """Make the words that one person signs in answer to a request, with a nonce of their own."""
    words = request.model_dump(exclude={"rule", "question"})
    return Approval(
        **words,
        inventory_digest=inventory_digest,
        signers_digest=signers_digest,
        nonce=secrets.token_hex(16),
        expires_at=expires_at,
        roles=(role,),
        reason=reason,
    )


def approval_record(verified: Verified) -> ApprovalRecorded:
    """Give the journal's record of an approval that was used."""
    return ApprovalRecorded(
        principal=verified.principal,
        roles=verified.roles,
        nonce=verified.approval.nonce,
        approval_digest=verified.digest,
        expires_at=verified.approval.expires_at,
    )


def gate_answer(request: Request, verified: Verified) -> GateAnswered:
    """Give the journal's record of a gate that was answered with a signature."""
    return GateAnswered(
        step=request.step or "",
        answer="yes",
        by=verified.principal,
        roles=verified.roles,
        reason=verified.approval.reason or "",
    )


def override_record(request: Request, verified: Sequence[Verified]) -> OverrideRecorded:
    """Give the journal's record of an override that was signed."""
    reasons = dict.fromkeys(one.approval.reason or "" for one in verified)
    return OverrideRecorded(
        step=request.step or "",
        observed=request.observed or "",
        reason=" | ".join(reasons),
        principals=tuple(one.principal for one in verified),
        nonces=tuple(one.approval.nonce for one in verified),
        approval_digests=tuple(one.digest for one in verified),
    )


def _request(
    kind: ApprovalKind, plan: Plan, run_id: str, requester: str, rule: ApprovalRule, question: str
) -> Request:
    return Request(
        kind=kind,
        environment=plan.environment,
        mode=plan.mode,
        run_id=run_id,
        plan_digest=plan.digest,
        rule=rule,
        requester=requester,
        question=question,
    )
