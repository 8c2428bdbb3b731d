"""Runs that went another way than planned, from a drill's story: killed, tried again, given up, waiting."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from automation.model.plan import Gate, Plan
from automation.model.records import (
    AbortStarted,
    ApprovalRecorded,
    Body,
    Event,
    Failure,
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
    UndoStarted,
)
from automation.recovery.report_fold import Facts

Told = Sequence[tuple[datetime, Body]]
PROMOTE = "payments-db/promote"
FENCE = "payments-db/fence-power"
GAP = timedelta(seconds=40)


def retold(facts: Facts, tell: Callable[[Told], Told]) -> Facts:
    """Give the facts with another journal."""
    told = tell([(event.at, event.body) for event in facts.events])
    events = (
        Event(sequence=number, at=at, body=body, previous="", hash="")
        for number, (at, body) in enumerate(told)
    )
    return facts._replace(events=tuple(events))


def place(told: Told, body_kind: type[Body], step: str) -> int:
    """Where a step's event stands."""
    return next(
        n
        for n, (_, body) in enumerate(told)
        if isinstance(body, body_kind) and getattr(body, "step", "") == step
    )


def resumed(actor: str = "coordinator") -> RunResumed:
    return RunResumed(actor=actor, node="control", version="0.1.0")


def killed_and_resumed(facts: Facts) -> Facts:
    """The controller dies in the promotion; the resume finds it in progress and goes on."""

    def tell(told: Told) -> Told:
        cut = place(told, StepStarted, PROMOTE) + 1
        before, after = told[:cut], [(at + GAP, body) for at, body in told[cut:]]
        since = before[-1][0] + GAP
        looked = StepVerified(step=PROMOTE, progress="in_progress", why="its unit runs")
        return [*before, (since, resumed()), (since, looked), *after]

    return retold(facts, tell)


def tried_again(facts: Facts) -> Facts:
    """A fence fails once, transiently, is tried again, and is done once more before the promotion."""

    def tell(told: Told) -> Told:
        start, end = place(told, StepStarted, FENCE), place(told, StepEnded, FENCE)
        at = told[end][0]
        failure = Failure(error="AdapterError", message="no answer", transient=True)
        retry = StepRetried(step=FENCE, attempt=1, failure=failure, wait_s=0.5)
        again = [(at, StepStarted(step=FENCE)), told[end]]
        return [
            *told[: start + 1],
            (told[start][0], retry),
            *told[start + 1 : end + 1],
            *again,
            *told[end + 1 :],
        ]

    return retold(facts, tell)


def aborted(facts: Facts) -> Facts:
    """It stops at the proof; a person gives it up and has a step taken back."""

    def tell(told: Told) -> Told:
        cut = place(told, StepStarted, "payments-db/fence-proof") + 1
        at = told[cut - 1][0] + GAP
        failed = Failure(error="StepFailed", message="given up: not done")
        return [
            *told[:cut],
            (at, resumed("alex")),
            (at, AbortStarted(actor="alex", reason="the power came back", undo=True)),
            (at, StepVerified(step="payments-db/fence-proof", progress="not_done")),
            (at, StepEnded(step="payments-db/fence-proof", status="failed", failure=failed)),
            (at, UndoStarted(step="payments/start")),
            (at, StepUndone(step="payments/start", status="succeeded")),
            (at, RunClosed(status="aborted")),
        ]

    return retold(facts, tell)


def settled_by_a_person(facts: Facts) -> Facts:
    """The promotion's effect is unknown; a person looks and says that it is done."""

    def tell(told: Told) -> Told:
        cut = place(told, StepStarted, PROMOTE) + 1
        end = place(told, StepEnded, PROMOTE)
        at = told[cut - 1][0] + timedelta(seconds=2)
        unknown = Failure(error="OutcomeUnknown", message="it began and nobody saw its end", known=False)
        stop = [
            (at, StepEnded(step=PROMOTE, status="failed", failure=unknown)),
            (at, RunClosed(status="halted", not_started=("payments-db/dns-sql",))),
            (at + GAP, resumed("alex")),
            (at + GAP, StepSettled(step=PROMOTE, progress="done", by="alex", reason="pg-b takes writes")),
        ]
        later = [(max(when, at + GAP), body) for when, body in told[end + 1 :]]
        return [*told[:cut], *stop, *later]

    return retold(facts, tell)


def waiting_at_a_gate(facts: Facts) -> Facts:
    """Everything before the promotion is done; it waits for a person's yes."""
    gate = Gate(role="database-owner", ask="Is the old site really lost?")

    def tell(told: Told) -> Told:
        cut = place(told, StepStarted, PROMOTE)
        begun = {body.step for _, body in told[:cut] if isinstance(body, StepStarted)}
        rest = [(at, body) for at, body in told[cut:] if isinstance(body, StepEnded) and body.step in begun]
        closed = RunClosed(status="paused", not_started=(PROMOTE,), gates=(PROMOTE,))
        return [*told[:cut], *rest, (rest[-1][0], closed)]

    return retold(facts._replace(plan=_with_gate(facts.plan, gate)), tell)


def answered_and_signed(facts: Facts) -> Facts:
    """Approved before it began; its gate was answered with a signature; two people bore a risk."""
    gate = Gate(role="database-owner", ask="Is the old site really lost?")

    def approval(person: str, role: str, nonce: str) -> ApprovalRecorded:
        expires = facts.events[-1].at + timedelta(hours=1)
        return ApprovalRecorded(
            principal=person, roles=(role,), nonce=nonce, approval_digest="d", expires_at=expires
        )

    def tell(told: Told) -> Told:
        cut = place(told, StepStarted, PROMOTE)
        at = told[cut][0]
        answer = GateAnswered(
            step=PROMOTE, answer="yes", by="sam", roles=("database-owner",), reason="I saw it"
        )
        risk = OverrideRecorded(
            step="payments-db/fence-proof",
            observed="pg-a may not be fenced",
            reason="nobody can be there",
            principals=("sam", "kim"),
            nonces=("3" * 32, "4" * 32),
        )
        return [
            told[0],
            (told[0][0], approval("kim", "dr-coordinator", "1" * 32)),
            (told[0][0], risk),
            *told[1:cut],
            (at, approval("sam", "database-owner", "2" * 32)),
            (at, answer),
            *told[cut:],
        ]

    return retold(facts._replace(plan=_with_gate(facts.plan, gate)), tell)


def _with_gate(plan: Plan, gate: Gate) -> Plan:
    steps = tuple(s.model_copy(update={"gate": gate}) if s.id == PROMOTE else s for s in plan.steps)
    return plan.model_copy(update={"steps": steps})
