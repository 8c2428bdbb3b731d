"""One run: its folder, its locks, its plan written down, its journal, its end, and its going on."""

import json
import os
import secrets
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import automation
from automation.engine.abort import abort
from automation.engine.attempt import Message, Work
from automation.engine.context import RunContext
from automation.engine.control_node import require_control_node
from automation.engine.dispatch import load
from automation.engine.executor import STOP, execute, in_doubt, may_be_settled_done
from automation.engine.finished import Finished as Finished
from automation.engine.finished import finished
from automation.engine.fold import Folded, fold
from automation.engine.hooks import Hooks
from automation.engine.interrupt import catching
from automation.engine.journal import Journal, read_journal
from automation.engine.lock import hold
from automation.engine.watching import beating, keep_progress
from automation.model.actions import Action, RunPlaybook
from automation.model.environment import Inventory
from automation.model.errors import AutomationError, ConfigError, PreflightError
from automation.model.plan import PLAN_FORMAT, Plan, Step
from automation.model.records import (
    AbortStarted,
    Body,
    GateAnswered,
    RunClosed,
    RunOpened,
    RunResumed,
    StepSettled,
)

# Less room than this and the journal of a run may not come to its end.
MIN_FREE_BYTES = 4 * 2**20

Decision = GateAnswered | StepSettled


def new_run_id(now: datetime) -> str:
    """Make an id that sorts by time and does not collide."""
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def make_run_folder(state: Path, run_id: str) -> Path:
    """Make `runs/<id>/artifacts` under the environment's state.

    Raises:
        PreflightError: the disk is full or cannot be written.
    """
    folder = state / "runs" / run_id
    with _writing(folder):
        (folder / "artifacts").mkdir(mode=0o700, parents=True)
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES:
            raise OSError(f"{free} bytes are free, {MIN_FREE_BYTES} are needed")
    return folder


def run_plan(
    plan: Plan, ctx: RunContext, *, actor: str, hooks: Hooks | None = None, work: Work | None = None
) -> Finished:
    """Take the locks, write the plan and run it; the folder of `ctx.artifacts` holds the evidence.

    Raises:
        Busy: another run holds a service or host of this plan; nothing was changed.
        PreflightError: it was not admitted, or its folder cannot be written; nothing was changed.
        StepFailed: the journal cannot be written; what ran has ended or will be looked at.
    """
    refuse_faults(plan, ctx.environment.kind)
    for address in {action.do for step in plan.steps for action in _actions(step)}:
        load(address)  # now, not in the middle of an outage
    with _locked(plan, ctx, actor, plan.name):
        with _writing(ctx.artifacts.parent):
            _write_plan(ctx.artifacts.parent / "plan.json", plan)
        with _opened(plan, ctx, hooks or Hooks()) as run:
            run.append(_opening(plan, ctx.run_id, actor))
            return _go_on(run, work)


def refuse_faults(plan: Plan, kind: str) -> None:
    """Refuse a plan that breaks things anywhere but in a lab.

    Raises:
        ConfigError: names the step; nothing was started.
    """
    faults = [step.id for step in plan.steps if any(action.effect == "fault" for action in _actions(step))]
    if faults and kind != "lab":
        raise ConfigError(
            f"step {faults[0]} puts a fault into {plan.environment}, which is no lab; nothing was done"
        )


def resume_run(
    ctx: RunContext,
    *,
    actor: str,
    decisions: Sequence[Decision] = (),
    hooks: Hooks | None = None,
    work: Work | None = None,
) -> Finished:
    """Go on with a run where its journal ends: look at steps that have no end, try failed ones again.

    Args:
        decisions: answers of gates, and what a person found of steps whose effect was unknown.

    Raises:
        Busy: it runs still, or another run holds what it needs.
        PreflightError: it cannot be resumed: ended, aborted, of another format, or its plan was changed.
    """
    plan = read_plan(ctx.artifacts.parent)
    with _locked(plan, ctx, actor, f"{plan.name}, resumed"), _opened(plan, ctx, hooks or Hooks()) as run:
        _check_resumable(run, decisions)
        run.append(_resumption(actor, run.journal.torn_bytes))
        for decision in decisions:
            run.append(decision)
        return _go_on(run, work)


def abort_run(
    ctx: RunContext,
    *,
    actor: str,
    reason: str,
    undo: bool,
    decisions: Sequence[Decision] = (),
    hooks: Hooks | None = None,
    work: Work | None = None,
) -> Finished:
    """Give a run up: look at steps without an end, take back what can be, clean up; again if it failed.

    Raises:
        Busy: it runs still.
        PreflightError: it has ended, its plan was changed, or this machine may not; nothing was changed.
    """
    require_control_node(ctx.environment)
    plan = read_plan(ctx.artifacts.parent)
    with _locked(plan, ctx, actor, f"{plan.name}, aborted"), _opened(plan, ctx, hooks or Hooks()) as run:
        _check_unchanged(run)
        closed = run.folded.closed
        if closed is not None and closed.status in ("succeeded", "aborted"):
            raise PreflightError(f"run {ctx.run_id} has {closed.status}; there is nothing to abort")
        _check_decisions(run, decisions)
        run.append(_resumption(actor, run.journal.torn_bytes))
        for decision in decisions:
            run.append(decision)
        run.append(AbortStarted(actor=actor, reason=reason, undo=undo))
        messages: SimpleQueue[Message] = SimpleQueue()
        with catching(lambda: messages.put(STOP)):
            run.append(abort(plan, run.ctx, run.folded, run.append, work or Work(), messages))
        return run.end()


def read_plan(folder: Path) -> Plan:
    """Read the plan that a run was opened with.

    Raises:
        PreflightError: there is none, or it is of another format than this version's.
    """
    if not (folder / "journal.jsonl").exists():
        raise PreflightError(
            f"run {folder.name} was never opened; nothing was changed", hint="start a new run"
        )
    try:
        written = json.loads((folder / "plan.json").read_text())
        found = written["format"]
    except (OSError, ValueError, KeyError) as exc:
        raise PreflightError(
            f"run {folder.name} has no plan that can be read ({exc}); nothing was changed"
        ) from exc
    if found != PLAN_FORMAT:
        raise PreflightError(
            f"run {folder.name} is of plan format {found}, version {automation.__version__} goes on with "
            f"format {PLAN_FORMAT}; nothing was changed",
            hint=f"version {_made_by(folder)} of Mainstay made it and can resume it",
        )
    return Plan.model_validate(written)


def _made_by(folder: Path) -> str:
    try:
        opened = next(read_journal(folder / "journal.jsonl")).body
    except (OSError, StopIteration, AutomationError):
        return "unknown"
    return opened.version if isinstance(opened, RunOpened) else "unknown"


def locks_of(plan: Plan, inventory: Inventory) -> tuple[str, ...]:
    """Every service of a plan, and every host, or else the environment, that its steps change.

    A playbook changes the environment and every host that it may reach; what only saves from a host locks
    the resource that it saves, and holds no failover back. What changes how a host is reached locks those
    that are saved from it, too, and what changes an account or a vCenter every server there.
    """
    names = {f"service:{step.service}" for step in plan.steps if step.service}
    for action in (action for step in plan.steps for action in _actions(step)):
        if action.effect != "read" and action.locks:
            host = getattr(action, "host", None)
            names.add(f"host:{host}" if host else f"environment:{plan.environment}")
        elif action.effect != "read" and (resource := getattr(action, "resource", None)):
            names.add(f"resource:{resource}")
        names |= {f"resource:{one}" for one in getattr(action, "resources", ())}
        names |= {f"host:{one}" for one in getattr(action, "servers_there", ())}
        if isinstance(action, RunPlaybook) and not action.check:
            names |= {f"host:{server}" for server in inventory.covered(action.limit)}
    return tuple(sorted(names))


def _actions(step: Step) -> tuple[Action, ...]:
    return (step.run,) if step.undo is None else (step.run, step.undo)


class _Run(NamedTuple):
    """A run whose locks are held and whose journal is open."""

    plan: Plan
    ctx: RunContext
    journal: Journal
    folded: Folded
    hooks: Hooks

    def append(self, body: Body) -> None:
        event = self.journal.append(body)
        self.folded.add(event)
        with suppress(Exception):  # as in the executor
            self.hooks.on_event(event)

    def end(self) -> Finished:
        """Seal what was closed."""
        if self.hooks.seal is not None:
            try:
                self.append(self.hooks.seal(self.journal.head.hash))
            except AutomationError as exc:
                self.ctx.progress("", f"run {self.ctx.run_id} is closed and not sealed: {exc}")
        return finished(self.journal.path.parent, self.folded)


@contextmanager
def _locked(plan: Plan, ctx: RunContext, actor: str, reason: str) -> Iterator[None]:
    names = (f"run:{ctx.run_id}", *locks_of(plan, ctx.inventory))
    with hold(ctx.state / "locks", names, holder=f"run {ctx.run_id} of {actor}", reason=reason):
        yield


@contextmanager
def _opened(plan: Plan, ctx: RunContext, hooks: Hooks) -> Iterator[_Run]:
    """Open the journal; what adapters say is kept beside it, the head is left elsewhere now and then."""
    folder = ctx.artifacts.parent
    with ExitStack() as open_:
        with _writing(folder):
            journal = open_.enter_context(closing(Journal(folder / "journal.jsonl")))
        kept = replace(ctx, progress=keep_progress(folder / "progress.log", ctx.progress))
        if hooks.on_heartbeat is not None:
            open_.enter_context(beating(journal, hooks.on_heartbeat, hooks.heartbeat_s, kept.progress))
        yield _Run(plan, kept, journal, fold(journal.events), hooks)


def _go_on(run: _Run, work: Work | None) -> Finished:
    try:
        for body in run.hooks.admit(run.plan, run.folded):
            run.append(body)
    except PreflightError:
        done = run.folded.succeeded
        waiting = tuple(step.id for step in run.plan.steps if step.id not in done)
        run.append(RunClosed(status="paused", not_started=waiting))
        run.end()
        raise
    messages: SimpleQueue[Message] = SimpleQueue()
    with catching(lambda: messages.put(STOP)):
        execute(
            run.plan,
            run.ctx,
            run.journal,
            folded=run.folded,
            hooks=run.hooks,
            work=work,
            messages=messages,
        )
        return run.end()


def _check_resumable(run: _Run, decisions: Sequence[Decision]) -> None:
    name, folded = run.ctx.run_id, run.folded
    _check_unchanged(run)
    if folded.aborting is not None:
        again = f"./inv run.abort --env {run.plan.environment} --run {name} --reason '...'"
        raise PreflightError(f"run {name} was given up; nothing was changed", hint=again)
    if folded.closed is not None and folded.closed.status == "succeeded":
        raise PreflightError(f"run {name} has succeeded; there is nothing to resume")
    _check_decisions(run, decisions)


def _check_unchanged(run: _Run) -> None:
    """See that the plan is the one that was opened, and approved: nothing else is done or taken back."""
    name, opened = run.ctx.run_id, run.folded.opened
    if opened is None:
        raise PreflightError(f"run {name} was never opened; nothing was changed", hint="start a new run")
    if opened.plan_digest != run.plan.digest:
        raise PreflightError(f"plan.json of run {name} was changed after it was opened; nothing was changed")


def _check_decisions(run: _Run, decisions: Sequence[Decision]) -> None:
    name = run.ctx.run_id
    unsure = {step.id for step in in_doubt(run.plan, run.folded)}
    for decision in decisions:
        if isinstance(decision, StepSettled):
            if decision.step not in unsure:
                raise PreflightError(
                    f"step {decision.step} of run {name} is not in doubt; nothing was changed"
                )
            if decision.progress == "done":
                _check_done(run, run.plan.step(decision.step))
        if isinstance(decision, GateAnswered):
            _check_answer(run, decision)


def _check_done(run: _Run, step: Step) -> None:
    """Take a person's word only where no look can tell and no second attempt is safe; never for a fence."""
    if may_be_settled_done(step) and step.id in run.folded.unseen:
        return
    raise PreflightError(
        f"step {step.id} ({step.run.do}) of run {run.ctx.run_id} is not done because somebody says so: "
        "a resume looks at it or does it again; nothing was changed",
        hint=f"./inv run.resume --env {run.plan.environment} --run {run.ctx.run_id}",
    )


def _check_answer(run: _Run, answer: GateAnswered) -> None:
    step = run.plan.by_id.get(answer.step)
    name = run.ctx.run_id
    if step is None or step.gate is None:
        raise PreflightError(f"step {answer.step} of run {name} has no gate; nothing was changed")
    if run.plan.approvals is not None and step.gate.role not in answer.roles:
        raise PreflightError(
            f"gate {step.id} of run {name} is answered by a signature of role {step.gate.role}; "
            "nothing was changed",
            hint=f"./inv run.approve --env {run.plan.environment} --run {name} --step {step.id} "
            f"--role {step.gate.role} --key KEY",
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise PreflightError(
            f"the state folder of {folder} cannot be written ({exc.strerror or exc}); nothing was changed",
            hint="free space on its disk, then try again",
        ) from exc


def _opening(plan: Plan, run_id: str, actor: str) -> RunOpened:
    return RunOpened(
        run_id=run_id,
        plan_format=plan.format,
        plan_name=plan.name,
        plan_digest=plan.digest,
        environment=plan.environment,
        mode=plan.mode,
        actor=actor,
        node=socket.gethostname(),
        version=automation.__version__,
    )


def _resumption(actor: str, torn_bytes: int) -> RunResumed:
    node, version = socket.gethostname(), automation.__version__
    return RunResumed(actor=actor, node=node, version=version, torn_bytes=torn_bytes)


def _write_plan(path: Path, plan: Plan) -> None:
    content = json.dumps(plan.model_dump(mode="json"), indent=1)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
