"""Approvals: SSH signatures of people over exactly what a run is about to do.

A run that needs one calls `require`; a person gives one by `./inv run.approve`. All of it works
offline: ssh-keygen alone makes and checks a signature, and what was used up stands in the state folder.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from automation.engine.approval_files import UsedNonces, ask, gather
from automation.engine.context import RunContext
from automation.engine.signers import BadSignature, Checked, Signers, check_signature, load_signers, sign_text
from automation.model.approvals import (
    APPROVAL_NAMESPACE,
    Approval,
    ApprovalKind,
    ApprovalRule,
    Request,
    SignedApproval,
    Verified,
)
from automation.model.base import format_duration
from automation.model.environment import Environment, Inventory
from automation.model.errors import PreflightError


class Expected(NamedTuple):
    """What an approval must say to count: its request, and what it would act on now."""

    request: Request
    inventory_digest: str


# --- what a run calls ----------------------------------------------------------------------------


def require(
    requests: Sequence[Request],
    ctx: RunContext,
    *,
    now: datetime,
    recorded: Mapping[str, datetime] | None = None,
) -> tuple[tuple[Verified, ...], ...]:
    """See that enough people approved each request, and use their approvals up: all, or none.

    The requests are left in the run's folder first, so that `run.approve` finds what to ask.

    Args:
        now: aware.
        recorded: nonces that this run's journal recorded, and when: they were used by this run and must
            have been good then, so that a resumed run does not wait for the same people again.

    Returns:
        For each request one approval for each role of its rule, of different people.

    Raises:
        PreflightError: who is missing, what is wrong with what is there, and the commands that help.
        ConfigError: allowed_signers has faulty lines.
    """
    if not requests:
        return ()
    known = recorded or {}
    left = [ask(ctx.artifacts.parent, request) for request in requests]
    _refuse_nobody(left, ctx.environment)
    signers = load_signers(
        ctx.environment.approvals.allowed_signers, checkout=ctx.environment.folder.parents[1]
    )
    used = UsedNonces(ctx.state / "used-approvals", mine=known)
    found = [_look(request, ctx, signers, used, known, now) for request in left]
    if lacking := [one for one in found if one.chosen is None]:
        raise _missing(lacking)
    chosen = tuple(one.chosen or () for one in found)
    for one in (approval for approvals in chosen for approval in approvals):
        if one.approval.nonce not in known:
            used.claim(one.approval.nonce, ctx.run_id)
    return chosen


class _Found(NamedTuple):
    """What lies there for a request: what holds, why the rest does not, and who was chosen."""

    request: Request
    good: tuple[Verified, ...]
    refused: tuple[str, ...]
    chosen: tuple[Verified, ...] | None


def _look(
    request: Request,
    ctx: RunContext,
    signers: Signers,
    used: UsedNonces,
    known: Mapping[str, datetime],
    now: datetime,
) -> _Found:
    expected = Expected(request, inventory_digest(ctx.environment, ctx.inventory))
    good: list[Verified] = []
    refused: list[str] = []
    for signed in gather(ctx.artifacts.parent, request):
        at = known.get(signed.nonce, now)
        try:
            good.append(verify(signed, expected, allowed_signers=signers, now=at, used=used))
        except PreflightError as exc:
            refused.append(str(exc))
    return _Found(request, tuple(good), tuple(refused), choose(request.rule.roles, good))


def _refuse_nobody(requests: Sequence[Request], environment: Environment) -> None:
    """See that who asks is a person: from root alone nobody can tell whether it was the approver."""
    for request in requests:
        strict = environment.kind != "lab" and not request.rule.requester_may_approve
        if strict and request.requester in ("", "root"):
            raise PreflightError(
                f"run {request.run_id} was asked for by {request.requester or 'nobody'}, which is no person, "
                "so nobody can tell whether its approver is another one; nothing was changed",
                hint="log in as yourself and start a new run with sudo",
            )


def choose(roles: Sequence[str], approvals: Sequence[Verified]) -> tuple[Verified, ...] | None:
    """Give each role an approval of another person with another key; None where that cannot be.

    Pure.
    """
    if not roles:
        return ()
    for one in approvals:
        if roles[0] in one.roles:
            others = [a for a in approvals if not _same_person(a, one)]
            rest = choose(roles[1:], others)
            if rest is not None:
                return (one, *rest)
    return None


def inventory_digest(environment: Environment, inventory: Inventory) -> str:
    """sha256 over the resolved inventory and the environment's own settings."""
    content = {
        "environment": environment.model_dump(mode="json", exclude={"folder"}),
        "inventory": inventory.model_dump(mode="json"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


# --- signing and checking ------------------------------------------------------------------------


def sign(approval: Approval, key: Path) -> SignedApproval:
    """Sign with a private key, or by its public half through an agent; ssh-keygen may ask a passphrase.

    Raises:
        ConfigError: ssh-keygen could not sign with that key.
    """
    content = approval.model_dump_json(indent=1) + "\n"
    return SignedApproval(content=content, signature=sign_text(content, key, APPROVAL_NAMESPACE))


def verify(
    signed: SignedApproval,
    expected: Expected,
    *,
    allowed_signers: Signers,
    now: datetime,
    used: UsedNonces,
) -> Verified:
    """Check one approval against what it must say.

    Args:
        now: aware; the moment for which signature, key and expiry must be good.
        used: what was used up before.

    Raises:
        PreflightError: its signature, or which of its words, does not hold.
    """
    try:
        checked = check_signature(
            signed.content, signed.signature, signers=allowed_signers, namespace=APPROVAL_NAMESPACE, now=now
        )
        approval = Approval.model_validate_json(signed.content)
    except BadSignature as exc:
        raise PreflightError(f"an approval is refused: {exc}; nothing was changed") from exc
    except ValueError as exc:
        raise PreflightError("an approval is refused: it has not the form of one") from exc
    wrong = [
        *_wrong_words(approval, expected, allowed_signers),
        *_wrong_time(approval, expected.request.rule, now),
        *_wrong_person(approval, expected.request, checked),
        *_wrong_use(approval, used),
    ]
    if wrong:
        reasons = ", and ".join(wrong)
        raise PreflightError(
            f"the approval of {checked.principal} is refused: {reasons}; nothing was changed"
        )
    return Verified(
        principal=checked.principal,
        fingerprint=checked.fingerprint,
        roles=approval.roles,
        digest=hashlib.sha256(signed.content.encode()).hexdigest(),
        approval=approval,
    )


def _wrong_words(approval: Approval, expected: Expected, signers: Signers) -> Iterator[str]:
    request = expected.request
    if approval.environment != request.environment:
        yield f"it was given for {approval.environment}, not for {request.environment}"
    if approval.run_id != request.run_id:
        yield f"it was given for run {approval.run_id}, not for this one"
    if approval.mode != request.mode:
        yield f"it was given for mode {approval.mode}, not {request.mode}"
    if approval.plan_digest != request.plan_digest:
        yield "the plan is not the one that was approved"
    if approval.inventory_digest != expected.inventory_digest:
        yield "the inventory or environment.yml is not as it was when approved"
    if approval.signers_digest != signers.digest:
        yield f"{signers.path} or its revocations changed since"
    if approval.requester != request.requester:
        yield f"it names {approval.requester} as the one who asked, not {request.requester}"
    if (approval.kind, approval.step) != (request.kind, request.step):
        yield f"it was given for {_place(approval.kind, approval.step)}"
    if approval.observed != request.observed:
        yield f"it accepts {approval.observed!r}, but observed was {request.observed!r}"


def _wrong_time(approval: Approval, rule: ApprovalRule, now: datetime) -> Iterator[str]:
    if now >= approval.expires_at:
        yield f"it expired at {approval.expires_at:%Y-%m-%d %H:%M:%S %Z}"
    if (approval.expires_at - now).total_seconds() > rule.valid_for_s:
        yield f"it is valid for longer than the {format_duration(rule.valid_for_s)} that are allowed"


def _wrong_person(approval: Approval, request: Request, checked: Checked) -> Iterator[str]:
    name = checked.principal
    if lacking := sorted(set(approval.roles) - checked.roles):
        yield f"{name} has not the role {', '.join(lacking)}"
    if not set(approval.roles) & set(request.rule.roles):
        yield f"it is signed as {', '.join(approval.roles)}; needed is {', '.join(request.rule.roles)}"
    if _person(name) == _person(request.requester) and not request.rule.requester_may_approve:
        yield f"{name} asked for this run and may not approve it"


def _wrong_use(approval: Approval, used: UsedNonces) -> Iterator[str]:
    if approval.kind == "override" and not (approval.reason or "").strip():
        yield "it gives no reason"
    if (run := used.user_of(approval.nonce)) is not None:
        yield f"it was used already, by run {run}"


def _person(principal: str) -> str:
    """Alex and alex@city.example are the same person: who asked is known by login name only."""
    return principal.partition("@")[0].casefold()


def _same_person(one: Verified, other: Verified) -> bool:
    return one.fingerprint == other.fingerprint or _person(one.principal) == _person(other.principal)


def _place(kind: ApprovalKind, step: str | None) -> str:
    return f"the {kind} of step {step}" if step else f"the {kind}"


def _missing(lacking: Sequence[_Found]) -> PreflightError:
    run = f"--env {lacking[0].request.environment} --run {lacking[0].request.run_id}"
    needs, commands = [], []
    for one in lacking:
        request, have = one.request, {role for each in one.good for role in each.roles}
        roles = [role for role in request.rule.roles if role not in have] or list(request.rule.roles)
        people = f"{len(request.rule.roles)} different people, " if len(request.rule.roles) > 1 else ""
        place = _place(request.kind, request.step)
        needs.append(
            f"{place} needs the signature of {people}{', '.join(request.rule.roles)}; "
            f"missing: {', '.join(roles)}"
        )
        needs += one.refused
        step = f" --step {request.step}" if request.step else ""
        reason = " --reason WHY" if request.kind == "override" else ""
        commands += [f"./inv run.approve {run}{step} --role {role}{reason} --key FILE" for role in roles]
    commands.append(f"./inv run.resume {run}")
    text = f"run {lacking[0].request.run_id} is not approved; nothing was changed: {' | '.join(needs)}"
    return PreflightError(text, hint="\n      ".join(commands))
