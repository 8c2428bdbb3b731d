"""Approvals: SSH signatures of people over exactly what a run is about to do.

A run that needs one calls `require`; a person gives one by `approve`. Both work offline: a
signature is made and checked by ssh-keygen alone.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from automation.engine.context import RunContext
from automation.engine.signers import Signers
from automation.model.approvals import Approval, Request, SignedApproval, Verified
from automation.model.environment import Environment, Inventory


def require_control_node(environment: Environment, node: str | None = None) -> None:
    """See that this machine may change the environment; `control_nodes` empty means any, for labs alone.

    Raises:
        PreflightError: it may not.
    """
    raise NotImplementedError


def ask(folder: Path, request: Request) -> None:
    """Leave a request in a run's folder; `run.approve` answers it, `require` waits for it."""
    raise NotImplementedError


def requests(folder: Path) -> tuple[Request, ...]:
    """Give every request of a run's folder."""
    raise NotImplementedError


def require(request: Request, ctx: RunContext, *, now: datetime) -> tuple[Verified, ...]:
    """See that a request was approved by enough people; each approval is used up by it.

    A request that stands in no approval yet is left in the run's folder for `run.approve`.

    Returns:
        One for each role of the request's rule; the caller journals them (`ApprovalRecorded`).

    Raises:
        PreflightError: what is missing or wrong with what is there, and the command that gives it.
    """
    raise NotImplementedError


def sign(approval: Approval, key: Path) -> SignedApproval:
    """Sign with a private key, or by its public half through an agent; ssh-keygen may ask a passphrase.

    Raises:
        ConfigError: ssh-keygen could not sign with that key.
    """
    raise NotImplementedError


def verify(
    signed: SignedApproval,
    expected: Approval,
    *,
    allowed_signers: Signers,
    now: datetime,
    used: Collection[str] | Mapping[str, str],
) -> Verified:
    """Check one approval against what it must say; a wrong one is refused with the reason.

    Raises:
        PreflightError: which of its words, or its signature, does not hold.
    """
    raise NotImplementedError


def gather(folder: Path) -> tuple[SignedApproval, ...]:
    """Give every approval that lies in a run's folder."""
    raise NotImplementedError


def inventory_digest(environment: Environment, inventory: Inventory) -> str:
    """sha256 over the resolved inventory and the environment's own settings."""
    raise NotImplementedError
