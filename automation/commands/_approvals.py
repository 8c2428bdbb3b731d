"""Approving a run: what it is in words, a question on the terminal, a signature."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from automation.commands._command import progress
from automation.commands._session import Session
from automation.engine.approval import Expected, inventory_digest, sign, verify
from automation.engine.approval_files import UsedNonces, keep, requests
from automation.engine.approval_words import fill_in
from automation.engine.run import read_plan
from automation.engine.signers import Signers, load_signers
from automation.model.approvals import Approval, Request
from automation.model.base import format_duration, parse_duration_s
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan

# Long enough for a night's work; a plan may allow less, and never more than it says.
VALID_FOR_S = 4 * 3600.0
# A longer plan is shown by its steps that destroy or cannot be taken back, and a count of the others.
LISTED = 25


class Answer(NamedTuple):
    """What a person gave on the command line; empty is not given."""

    run: str
    key: Path
    step: str = ""
    role: str = ""
    reason: str = ""
    valid: str = ""


def approve(session: Session, answer: Answer, *, confirm: Callable[[], bool] | None = None) -> Path:
    """Say what would be approved, ask, sign, and leave the approval with the run.

    Args:
        confirm: asks the person; the terminal does by default.

    Raises:
        ConfigError: no such run, step, role or key.
        PreflightError: the run waits for nothing, it would not accept this signature, or the person said no.
    """
    folder = session.existing(answer.run).artifacts.parent
    plan, request = read_plan(folder), _choose(requests(folder), answer)
    if request.plan_digest != plan.digest:
        raise PreflightError(f"plan.json of run {answer.run} was changed since it asked; nothing was signed")
    environment = session.environment
    signers = load_signers(environment.approvals.allowed_signers, checkout=environment.folder.parents[1])
    expected = Expected(request, inventory_digest(environment, session.inventory))
    now = datetime.now(UTC)
    words = _words(expected, answer, signers, now)
    for line in describe(plan, request, words):
        progress(line)
    if not (confirm or ask_terminal)():
        raise PreflightError(f"run {answer.run} was not approved; nothing was signed")
    signed = sign(words, answer.key)
    used = UsedNonces(session.state / "used-approvals")
    verify(signed, expected, allowed_signers=signers, now=datetime.now(UTC), used=used)
    return keep(folder, signed)


def describe(plan: Plan, request: Request, words: Approval) -> Iterator[str]:
    """Say in words what a signature would agree to."""
    yield f"{request.requester} asks you, as {', '.join(words.roles)}, to approve:"
    yield f"  run {request.run_id} of plan {plan.name}, mode {plan.mode}, environment {plan.environment}"
    if request.kind == "run":
        yield from _effects(plan)
    else:
        yield f"  step {request.step}: {request.question}"
    if request.observed is not None:
        yield f"  you accept what was observed: {request.observed}"
    if words.reason:
        yield f"  your reason: {words.reason}"
    yield f"  plan {plan.digest[:16]}, inventory {words.inventory_digest[:16]}: any later edit voids this"
    yield f"  valid until {words.expires_at:%Y-%m-%d %H:%M:%S %Z}, for this run alone, once"


def _effects(plan: Plan) -> Iterator[str]:
    counted = {
        effect: sum(1 for step in plan.steps if step.run.effect == effect)
        for effect in ("read", "change", "destroy", "fault")
    }
    yield f"  {len(plan.steps)} steps: {', '.join(f'{n} {effect}' for effect, n in counted.items() if n)}"
    changing = [step for step in plan.steps if step.run.effect != "read"]
    grave = [step for step in changing if step.run.irreversible or step.run.effect in ("destroy", "fault")]
    shown = changing if len(changing) <= LISTED else grave
    for step in shown:
        word = "; CANNOT BE TAKEN BACK" if step.run.irreversible else ""
        yield f"    {step.id} ({step.run.do}): {step.why}{word}"
    if len(shown) < len(changing):
        yield f"    and {len(changing) - len(shown)} more that change something; plan.json has all"


def ask_terminal() -> bool:
    """Ask the person; only the word yes is one.

    Raises:
        PreflightError: nobody sits at a terminal.
    """
    if not sys.stdin.isatty():
        raise PreflightError(
            "an approval is given at a terminal, and this is none; nothing was signed",
            hint="a person runs this command, in a shell of their own",
        )
    print("Type yes to sign this: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _choose(waiting: tuple[Request, ...], answer: Answer) -> Request:
    """Pick the request that is meant: of a step, or of the run, or the only one."""
    if not waiting:
        raise PreflightError(
            f"run {answer.run} waits for no approval; nothing was signed",
            hint="a run asks when it is started or resumed",
        )
    if answer.step:
        found = [one for one in waiting if one.step == answer.step]
    else:
        found = [one for one in waiting if one.step is None] or list(waiting)
    if len(found) == 1:
        return found[0]
    steps = ", ".join(one.step for one in waiting if one.step)
    raise ConfigError(f"run {answer.run} does not wait for this; nothing was signed", hint=f"--step: {steps}")


def _words(expected: Expected, answer: Answer, signers: Signers, now: datetime) -> Approval:
    request = expected.request
    if request.kind == "override" and not answer.reason.strip():
        raise ConfigError("--reason is missing: it stands beside what you accept; nothing was signed")
    valid_s = min(_seconds(answer.valid), request.rule.valid_for_s)
    return fill_in(
        request,
        role=_role(request, answer),
        inventory_digest=expected.inventory_digest,
        signers_digest=signers.digest,
        expires_at=(now + timedelta(seconds=valid_s)).replace(microsecond=0),
        reason=answer.reason or None,
    )


def _role(request: Request, answer: Answer) -> str:
    roles = request.rule.roles
    if not answer.role and len(roles) == 1:
        return roles[0]
    if answer.role not in roles:
        raise ConfigError(
            "--role names none of the roles; nothing was signed", hint=f"--role: {', '.join(roles)}"
        )
    return answer.role


def _seconds(valid: str) -> float:
    if not valid:
        return VALID_FOR_S
    try:
        seconds = float(str(parse_duration_s(valid)))
    except ValueError as exc:
        raise ConfigError(f"--valid: {exc}; nothing was signed") from exc
    if seconds < 60:
        raise ConfigError(f"--valid {format_duration(seconds)} is over before anybody can use it")
    return seconds
