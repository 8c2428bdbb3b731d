"""Who agreed to what: rules, requests, approvals, and standing authorisations."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field

from automation.model.base import DurationS, Model

APPROVAL_NAMESPACE = "mainstay-approval"
AUTHORISATION_NAMESPACE = "mainstay-authorisation"
SEAL_NAMESPACE = "mainstay-seal"
WAIVER_NAMESPACE = "mainstay-waiver"

ApprovalKind = Literal["run", "gate", "override"]


class ApprovalSettings(Model):
    """Where an environment keeps who may approve; a file of root's, outside the checkout."""

    allowed_signers: Path = Field(
        default=Path("/etc/mainstay/allowed_signers"),
        description="file of root's, outside the checkout, in OpenSSH's form",
    )
    authorise: Mapping[str, str] = Field(
        default_factory=dict,
        description="job to the role that may let it run with nobody watching; others need a person",
    )


class ApprovalRule(Model):
    """What a plan, a gate or an override asks for: one person for each role, all different people."""

    roles: tuple[str, ...] = Field(min_length=1, description="one person for each")
    requester_may_approve: bool = Field(default=False, description="whether who asks may be one of them")
    valid_for_s: DurationS = Field(
        default=12 * 3600.0, alias="valid_for", gt=0, description="how long a signature holds: 12 h"
    )

    model_config = Model.model_config | {"populate_by_name": True}


class Request(Model):
    """What a run waits for, in the run's folder: what was asked, by whom, and what was observed."""

    kind: ApprovalKind
    environment: str
    mode: str
    run_id: str
    plan_digest: str
    rule: ApprovalRule
    requester: str
    step: str | None = None
    observed: str | None = Field(default=None, description="what an override accepts, word for word")
    question: str = Field(description="what the approver agrees to, for a person")


class Approval(Model):
    """What is signed: one person's agreement, for one run, once, for a while."""

    format: Literal[1] = 1
    kind: ApprovalKind
    environment: str
    mode: str
    run_id: str
    plan_digest: str
    inventory_digest: str = Field(description="of the resolved inventory and environment.yml")
    signers_digest: str = Field(description="of allowed_signers and revoked_signers")
    nonce: str = Field(pattern=r"^[0-9a-f]{32}$")
    expires_at: AwareDatetime
    roles: tuple[str, ...] = Field(min_length=1)
    requester: str
    step: str | None = None
    observed: str | None = None
    reason: str | None = None


class SignedApproval(Model):
    """The exact bytes that were signed, and the signature as ssh-keygen wrote it."""

    content: str
    signature: str

    @property
    def nonce(self) -> str:
        """The nonce it claims to have; empty if it has not the form of an approval."""
        return str(self._words().get("nonce", ""))

    def answers(self, request: Request) -> bool:
        """Say whether it claims to answer a request; what is no approval is no answer to another one."""
        words = self._words()
        return not words or (words.get("kind"), words.get("step")) == (request.kind, request.step)

    def _words(self) -> dict[str, object]:
        try:
            words = json.loads(self.content)
        except ValueError:
            return {}
        return words if isinstance(words, dict) else {}


class Verified(Model):
    """An approval that holds: who signed it, with which key, in which of their roles."""

    principal: str
    fingerprint: str = Field(description="SHA256 of the public key, as ssh-keygen -l shows it")
    roles: tuple[str, ...] = Field(description="those of the approval, all of which the person has")
    digest: str = Field(description="sha256 of the signed file")
    approval: Approval


class Authorisation(Model):
    """A standing permission for an unattended job: this command, on this resource, within these limits."""

    format: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    environment: str
    command: str
    resource: str
    policy_digest: str = Field(description="sha256 over the policy that was agreed to")
    limits: Mapping[str, float] = Field(description="guard to the most it may be")
    role: str
    not_before: AwareDatetime
    expires_at: AwareDatetime
    reason: str


class Asked(Model):
    """What an unattended job is about to do; compared with its standing authorisation."""

    environment: str
    command: str
    resource: str
    policy_digest: str
    amounts: Mapping[str, float] = Field(description="every guard's amount, as this job would have it")


class Seal(Model):
    """What the control node signs when a run closes."""

    run_id: str
    head: str = Field(description="hash of the event before the seal")
    events: int = Field(description="events before the seal")
    journal: str = Field(description="sha256 of the journal up to there: `head -n EVENTS | sha256sum`")
    files: Mapping[str, str] = Field(description="file of the run's folder to its sha256")
    sealed_at: datetime
