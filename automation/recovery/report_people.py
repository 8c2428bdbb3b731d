"""Who agreed to what, and all that went another way than the plan: deviations and manual acts. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from automation.model.base import format_duration
from automation.model.plan import Plan
from automation.model.records import (
    AbortStarted,
    ApprovalRecorded,
    AuthorisationRecorded,
    Body,
    Event,
    GateAnswered,
    OverrideRecorded,
    RunClosed,
    RunResumed,
    StepEnded,
    StepRetried,
    StepSettled,
    StepStarted,
    StepUndone,
    StepVerified,
)
from automation.recovery.report import Deviation, Signature
from automation.recovery.report_steps import RunLog, text_of
from automation.recovery.report_words import listing


class Signed(NamedTuple):
    """What a signed file says that the journal does not: the key and the roles of who signed."""

    fingerprint: str
    roles: tuple[str, ...]


def signatures(plan: Plan, log: RunLog, signed: Mapping[str, Signed]) -> tuple[Signature, ...]:
    """Give every agreement by the time it was used; a signed answer of a gate is told once.

    Args:
        signed: nonce to what its file says, of those files alone whose hash is the journal's.
    """
    found: list[Signature] = []
    for event in log.events:
        body = event.body
        if isinstance(body, ApprovalRecorded):
            found.append(_approval(event.at, body, signed))
        elif isinstance(body, OverrideRecorded):
            found += _override(event.at, body, signed)
        elif isinstance(body, AuthorisationRecorded):
            found.append(_authorisation(event.at, body))
        elif isinstance(body, GateAnswered):
            approval = _last_approval(found, log, event, body)
            if approval is not None:
                found.remove(approval)
            found.append(_answer(event.at, body, approval, _question(plan, body.step)))
    return tuple(found)


def _approval(at: datetime, body: ApprovalRecorded, signed: Mapping[str, Signed]) -> Signature:
    key = signed.get(body.nonce)
    return Signature(
        kind="approval",
        person=body.principal,
        roles=body.roles,
        fingerprint=key.fingerprint if key else "",
        nonce=body.nonce,
        at=at,
        expires_at=body.expires_at,
    )


def _override(at: datetime, body: OverrideRecorded, signed: Mapping[str, Signed]) -> Iterator[Signature]:
    for person, nonce in zip(body.principals, body.nonces, strict=True):
        key = signed.get(nonce)
        yield Signature(
            kind="override",
            person=person,
            roles=key.roles if key else (),
            fingerprint=key.fingerprint if key else "",
            nonce=nonce,
            at=at,
            step=body.step,
            observed=body.observed,
            reason=body.reason,
        )


def _authorisation(at: datetime, body: AuthorisationRecorded) -> Signature:
    """A standing permission, under which nobody watched."""
    amounts = ", ".join(f"{name} {amount:g}" for name, amount in sorted(body.amounts.items()))
    return Signature(
        kind="authorisation",
        person=body.principal,
        roles=(body.role,),
        fingerprint=body.fingerprint,
        at=at,
        expires_at=body.expires_at,
        observed=amounts,
        reason=f"{body.name}: {body.command} of {body.resource}",
    )


def _question(plan: Plan, step: str) -> str:
    gate = plan.by_id[step].gate if step in plan.by_id else None
    return gate.ask if gate else ""


def _answer(at: datetime, body: GateAnswered, approval: Signature | None, asked: str) -> Signature:
    return Signature(
        kind="gate",
        person=body.by,
        roles=body.roles,
        fingerprint=approval.fingerprint if approval else "",
        nonce=approval.nonce if approval else "",
        at=at,
        expires_at=approval.expires_at if approval else None,
        step=body.step,
        asked=asked,
        answer=body.answer,
        reason=body.reason,
    )


def _last_approval(found: list[Signature], log: RunLog, event: Event, body: GateAnswered) -> Signature | None:
    """The approval that was written down right before an answer, of the same person: its signature."""
    before = log.events[event.sequence - 1].body if event.sequence else None
    if isinstance(before, ApprovalRecorded) and before.principal == body.by and found:
        return found[-1]
    return None


# --- deviations ----------------------------------------------------------------------------------


def deviations(log: RunLog) -> tuple[Deviation, ...]:
    """Give all that the plan did not foresee, by time."""
    teller = _Teller()
    found = []
    for event in log.events:
        found += teller.tell(event)
    return tuple(found)


class _Teller:
    """What one must know of earlier events to say whether one is a deviation."""

    def __init__(self) -> None:
        self.last_at: datetime | None = None
        self.closed: RunClosed | None = None
        self.succeeded: set[str] = set()

    def tell(self, event: Event) -> list[Deviation]:
        if self._as_planned(event.body):  # nearly all events of a large run
            self.last_at = event.at
            return []
        found = [*self._of_step(event), *self._of_person(event), *self._of_run(event)]
        body = event.body
        if isinstance(body, RunClosed | RunResumed):
            self.closed = body if isinstance(body, RunClosed) else None
        self.last_at = event.at
        return found

    def _as_planned(self, body: Body) -> bool:
        if isinstance(body, StepStarted):
            return body.step not in self.succeeded
        if isinstance(body, StepEnded) and body.failure is None:
            self.succeeded.add(body.step)
            return True
        return False

    def _of_step(self, event: Event) -> Iterator[Deviation]:
        at, body = event.at, event.body
        match body:
            case StepStarted() if body.step in self.succeeded:
                text = "done again, because it must hold at the moment of a step that cannot be taken back"
                yield Deviation(at=at, kind="repeated", step=body.step, text=text)
            case StepRetried():
                again = f"tried again after {body.wait_s:g} s"
                text = f"attempt {body.attempt} failed: {body.failure.message}; {again}"
                yield Deviation(at=at, kind="retry", step=body.step, text=text)
            case StepEnded() if body.failure is not None:
                yield Deviation(at=at, kind="failed", step=body.step, text=body.failure.message)
            case StepVerified():
                why = f": {body.why}" if body.why else ""
                found = body.progress.replace("_", " ")
                text = f"its end was not written down; looked at and found {found}{why}"
                yield Deviation(at=at, kind="looked-at", step=body.step, text=text)
            case StepUndone():
                word = "could not be taken back" if body.failure else "taken back"
                yield Deviation(at=at, kind="taken-back", step=body.step, text=f"{word}: {text_of(body)}")
            case _:
                return

    def _of_person(self, event: Event) -> Iterator[Deviation]:
        at, body = event.at, event.body
        match body:
            case GateAnswered():
                why = f": {body.reason}" if body.reason else ""
                yield Deviation(
                    at=at, kind="gate", step=body.step, by=body.by, text=f"answered {body.answer}{why}"
                )
            case OverrideRecorded():
                text = f"risk accepted: {body.observed}; reason: {body.reason}"
                by = ", ".join(body.principals)
                yield Deviation(at=at, kind="override", step=body.step, by=by, text=text)
            case StepSettled():
                said = body.progress.replace("_", " ")
                text = f"its effect was unknown; looked and said {said}: {body.reason}"
                yield Deviation(at=at, kind="settled", step=body.step, by=body.by, text=text)
            case AbortStarted():
                undo = " and had taken back what is safe to take back" if body.undo else ""
                text = f"gave the run up{undo}: {body.reason}"
                yield Deviation(at=at, kind="given-up", by=body.actor, text=text)
            case _:
                return

    def _of_run(self, event: Event) -> Iterator[Deviation]:
        body = event.body
        if isinstance(body, RunClosed) and body.status not in ("succeeded", "aborted"):
            waits = f"; waits for an answer: {listing(body.gates)}" if body.gates else ""
            left = f"; {len(body.not_started)} steps were not started" if body.not_started else ""
            text = f"the run ended {body.status}{waits}{left}"
            yield Deviation(at=event.at, kind="stopped", text=text)
        elif isinstance(body, RunResumed):
            gap_s = (event.at - self.last_at).total_seconds() if self.last_at else 0.0
            was = (
                f"it had ended {self.closed.status}"
                if self.closed
                else "its controller was gone without an end"
            )
            torn = f"; {body.torn_bytes} bytes of a torn line were cut off" if body.torn_bytes else ""
            text = f"taken up again after {format_duration(gap_s)}; {was}{torn}"
            yield Deviation(at=event.at, kind="resumed", by=body.actor, text=text)
