"""Whether a run may start, or go on: the right machine, the people's signatures; and how it is sealed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

from automation.engine.approval import require
from automation.engine.approval_files import ask, gather
from automation.engine.approval_words import (
    approval_record,
    gate_answer,
    gate_request,
    override_record,
    run_request,
)
from automation.engine.context import RunContext
from automation.engine.control_node import require_control_node
from automation.engine.fold import Folded
from automation.engine.hooks import Hooks
from automation.engine.journal import read_journal
from automation.engine.seal import KEY, leave_head, seal
from automation.model.approvals import Request
from automation.model.errors import AutomationError
from automation.model.plan import Plan
from automation.model.records import ApprovalRecorded, Body, Event, OverrideRecorded, RunSealed

# How long a closed run waits for the witness host to take its last head.
LAST_HEAD_S = 2.0

Overrides = Callable[[Plan, str, str], Sequence[Request]]


def guarded(hooks: Hooks, ctx: RunContext, overrides: Overrides) -> Hooks:
    """Give a run's hooks the admission, the seal, and the copy of the head on the witness host.

    Args:
        overrides: what must be signed for the risks that a plan accepts: of plan, run id and requester.
    """
    heads = _Heads(ctx)

    def admit_(plan: Plan, folded: Folded) -> Sequence[Body]:
        requester = folded.opened.actor if folded.opened else ""
        return admit(plan, folded, ctx, overrides(plan, ctx.run_id, requester))

    def on_event(event: Event) -> None:
        try:
            hooks.on_event(event)
        finally:  # also of a run whose terminal is gone
            if isinstance(event.body, RunSealed):
                heads.leave_last(event)

    folder = ctx.artifacts.parent
    return replace(
        hooks,
        on_event=on_event,
        admit=admit_,
        on_heartbeat=heads.leave,
        seal=lambda head: seal(folder, head, key=ctx.state / KEY, now=datetime.now(UTC)),
    )


def admit(plan: Plan, folded: Folded, ctx: RunContext, overrides: Sequence[Request] = ()) -> list[Body]:
    """See that a run may start or go on; give what is to be journalled of it.

    Raises:
        PreflightError: this machine may not, or a signature is missing or does not hold.
    """
    if changes(plan):
        require_control_node(ctx.environment)
    requester = folded.opened.actor if folded.opened else ""
    wanted = run_request(plan, ctx.run_id, requester)
    signed_gates = _signed_gates(plan, folded, ctx, requester)
    requests = [*([wanted] if wanted else []), *overrides, *signed_gates]
    recorded = _recorded(ctx.artifacts.parent / "journal.jsonl")
    bodies: list[Body] = []
    for request, verified in zip(
        requests, require(requests, ctx, now=datetime.now(UTC), recorded=recorded), strict=True
    ):
        if request.kind == "run":
            new = [one for one in verified if one.approval.nonce not in recorded]
            bodies += [approval_record(one) for one in new]
        elif request.kind == "gate":
            bodies += [approval_record(verified[0]), gate_answer(request, verified[0])]
        elif request.step not in folded.overrides:
            bodies.append(override_record(request, verified))
    return bodies


def changes(plan: Plan) -> bool:
    """Say whether a plan does more than look."""
    return any(step.run.effect != "read" for step in plan.steps)


def _signed_gates(plan: Plan, folded: Folded, ctx: RunContext, requester: str) -> list[Request]:
    """Leave a request for each gate without an answer; give those that somebody signed an answer to."""
    signed = []
    for step in plan.steps:
        request = gate_request(plan, step, ctx.run_id, requester)
        if request is not None and step.id not in folded.gates:
            request = ask(ctx.artifacts.parent, request)
            if gather(ctx.artifacts.parent, request):
                signed.append(request)
    return signed


def _recorded(journal: Path) -> dict[str, datetime]:
    """Nonces that the run's journal recorded, and when."""
    found: dict[str, datetime] = {}
    for event in read_journal(journal) if journal.is_file() else ():
        if isinstance(event.body, ApprovalRecorded):
            found[event.body.nonce] = event.at
        elif isinstance(event.body, OverrideRecorded):
            found |= dict.fromkeys(event.body.nonces, event.at)
    return found


class _Heads:
    """Leaves heads on the witness host; a lost one holds nothing up."""

    def __init__(self, ctx: RunContext) -> None:
        self._ctx = ctx

    def leave(self, count: int, head: str) -> None:
        host = self._ctx.environment.witness.host
        leave_head(self._ctx.remote(host), self._ctx.run_id, count, head)

    def leave_last(self, event: Event) -> None:
        """Leave the head of a sealed run; wait for it a little, and no longer."""
        thread = Thread(target=self._try, args=(event.sequence + 1, event.hash), name="head", daemon=True)
        thread.start()
        thread.join(timeout=LAST_HEAD_S)

    def _try(self, count: int, head: str) -> None:
        try:
            self.leave(count, head)
        except AutomationError as exc:
            self._ctx.say(f"the witness host has no copy of this run's seal: {exc}")
