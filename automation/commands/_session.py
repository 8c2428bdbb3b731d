"""What most commands begin with: the environment, its inventory, its state, a run."""

import getpass
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from automation.commands._beginning import refuse_frozen_beginning
from automation.commands._command import ROOT, progress
from automation.commands._onlooker import Story, looking_on
from automation.commands._subject import describe, leave_subject
from automation.commands._table import ask_table
from automation.engine.admission import changes, guarded
from automation.engine.authorisation import Granted, require_still
from automation.engine.context import RunContext
from automation.engine.control_node import require_control_node
from automation.engine.finished import Finished
from automation.engine.fold import Folded, fold
from automation.engine.hooks import Hooks
from automation.engine.jobs import JOBS
from automation.engine.journal import read_journal
from automation.engine.lock import hold
from automation.engine.retention import let_go
from automation.engine.run import (
    Decision,
    abort_run,
    make_run_folder,
    new_run_id,
    read_plan,
    resume_run,
    run_plan,
)
from automation.model.actions import AskPlayers, Inject
from automation.model.environment import Environment, Inventory, load_environment, state_root
from automation.model.errors import ConfigError, PreflightError
from automation.model.plan import Plan, Step
from automation.model.records import (
    Body,
    Event,
    GateAnswered,
    Remote,
)
from automation.recovery.failover import override_requests
from automation.recovery.lint_steps import refuse_unsafe
from automation.recovery.report_subject import Subject

# Nobody waits for old folders to be removed while a site is lost, or while that is measured.
HURRIED = ("failover", "failback", "planned-migration", "exercise")


@dataclass(frozen=True)
class Session:
    """An environment that a command works on."""

    environment: Environment
    inventory: Inventory
    state: Path
    images: Path
    remote: Callable[[str], Remote]
    context: Callable[[str], RunContext]
    say: Callable[[str], None] = progress

    def run(
        self,
        plan: Plan,
        *,
        narrate: Callable[[Event], None] | None = None,
        look: Callable[[], None] = lambda: None,
        granted: Granted | None = None,
        subject: Subject | None = None,
        story: Story | None = None,
    ) -> Finished:
        """Run a plan in a new run folder; says which.

        Args:
            look: called under the run's locks before its first step; what it raises leaves all as it was.
            granted: the standing authorisation of a job that nobody watches, for this plan.
            subject: what a drill or a failover is about, for its report.
            story: told instead of a line a step.
        """
        from automation.commands._copy_baselines import leave_standard

        refuse_unsafe(plan, lab=self.environment.kind == "lab")
        if changes(plan):
            require_control_node(self.environment)
        if plan.mode not in HURRIED:
            self.make_room()
        if granted is not None and granted.plan_digest != plan.digest:
            raise PreflightError(f"what was authorised is another plan than {plan.name}; nothing was changed")
        run_id = new_run_id(datetime.now(UTC))
        folder = make_run_folder(self.state, run_id)
        known = describe(self.environment, self.inventory, plan, subject)
        leave_subject(folder, known)
        leave_standard(self, plan, known, folder)
        self.say(f"run {run_id}: {plan.name}, {len(plan.steps)} steps")
        ctx = self.context(run_id)
        with self.hooks(ctx, plan, narrate, story) as hooks, self._alone(granted):

            def admit(plan: Plan, folded: Folded) -> Sequence[Body]:
                look()
                used = [granted.leave(ctx.artifacts.parent)] if granted else []
                return [*used, *hooks.admit(plan, folded)]

            return run_plan(plan, ctx, actor=actor(), hooks=replace(hooks, admit=admit))

    def _alone(self, granted: Granted | None) -> AbstractContextManager[None]:
        """Keep another run from using up the same day of an authorisation meanwhile."""
        if granted is None or not JOBS[granted.asked.command].daily:
            return nullcontext()
        name = granted.authorisation.name
        reason = f"{granted.asked.command} is limited by the day"
        return hold(self.state / "locks", [f"authorisation:{name}"], holder=actor(), reason=reason)

    def make_room(self) -> None:
        """Let run folders go that environment.yml keeps no longer; says which.

        What they say of backups is taken in before: a failed proof freezes a rotation for longer than a
        folder is kept.
        """
        from automation.adapters.declaration import list_suspicions
        from automation.commands._ledger import read_ledger

        if (self.environment.folder / "backups.yml").is_file():
            try:
                read_ledger(self.state)
            except PreflightError as exc:
                progress(f"old run folders stay: {exc}")
                return

        suspected = {one.run_id for one in list_suspicions(self.state).values()}
        let_go(self.state, self.environment.runs, now=datetime.now(UTC), keep=suspected, say=progress)

    def resume(self, run_id: str, decisions: Sequence[Decision] = ()) -> Finished:
        """Go on with a run that stopped."""
        from automation.commands._resumed_enforcing import refuse_accepted
        from automation.commands._resumed_rotation import refuse_stale

        ctx = self.existing(run_id)
        refuse_unwatched(ctx)
        plan = read_plan(ctx.artifacts.parent)
        refuse_stale(self, plan, ctx.artifacts.parent)
        refuse_accepted(self, plan, ctx.artifacts.parent)
        refuse_frozen_beginning(ctx.artifacts.parent, plan, datetime.now(UTC))
        progress(f"run {run_id} goes on")
        with self.hooks(ctx, plan) as hooks:
            return resume_run(ctx, actor=actor(), decisions=decisions, hooks=hooks)

    def abort(self, run_id: str, *, reason: str, undo: bool, decisions: Sequence[Decision] = ()) -> Finished:
        """Give a run up, and take back what can be if asked to."""
        require_control_node(self.environment)
        ctx = self.existing(run_id)
        progress(f"run {run_id} is given up")
        with self.hooks(ctx, read_plan(ctx.artifacts.parent)) as hooks:
            return abort_run(ctx, actor=actor(), reason=reason, undo=undo, decisions=decisions, hooks=hooks)

    def existing(self, run_id: str) -> RunContext:
        """Give the context of a run that has a folder.

        Raises:
            ConfigError: there is no such run.
        """
        if "/" in run_id or not (self.state / "runs" / run_id / "plan.json").is_file():
            name = self.environment.name
            raise ConfigError(f"there is no run {run_id!r} in {name}", hint=f"./inv run.list --env {name}")
        return self.context(run_id)

    @contextmanager
    def hooks(
        self,
        ctx: RunContext,
        plan: Plan,
        narrate: Callable[[Event], None] | None = None,
        story: Story | None = None,
    ) -> Iterator[Hooks]:
        """Give what every run of this environment has beside its steps, and show it while it goes."""
        from automation.adapters import keys

        keys.make_control_node(self.state)
        ask = ask_person if sys.stdin.isatty() else None
        folder = ctx.artifacts.parent
        with looking_on(
            plan, folder, self.environment, remote=self.remote, ask=ask, narrate=narrate, story=story
        ) as onlooker:
            yield guarded(Hooks(on_event=onlooker.on_event, ask=onlooker.ask), ctx, override_requests)


@contextmanager
def open_session(
    name: str,
    *,
    say: Callable[[str], None] = progress,
    narrow: Callable[[Environment], Environment] = lambda whole: whole,
) -> Iterator[Session]:
    """Load an environment and keep its connections until the block ends.

    Args:
        say: told what runs and what their steps say between their starts and ends.
        narrow: leaves out what the session has no use for.

    Raises:
        ConfigError: the environment or its inventory has faults.
    """
    from automation.adapters.ansible import list_inventory
    from automation.adapters.ssh import Connections

    environment = narrow(load_environment(ROOT, name))
    root = state_root()
    state, images = root / name, root / "images"
    for folder in (root, state, images):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    inventory = list_inventory(environment.inventory_files, state, environment.reading)
    connections = Connections(
        inventory, environment.automation_user, environment.ssh_key(state), environment.known_hosts(state)
    )

    def context(run_id: str) -> RunContext:
        return RunContext(
            run_id=run_id,
            environment=environment,
            inventory=inventory,
            state=state,
            images=images,
            artifacts=state / "runs" / run_id / "artifacts",
            connections=connections,
            progress=lambda step, text: say(f"         {step}: {text}" if step else text),
            consoles=_consoles(environment, state),
        )

    try:
        yield Session(environment, inventory, state, images, connections.remote, context, say)
    finally:
        connections.close()


def refuse_unwatched(ctx: RunContext) -> None:
    """See that a run which a job began goes on before a person, or still under what it was begun under.

    Raises:
        PreflightError: neither.
    """
    journal = ctx.artifacts.parent / "journal.jsonl"
    if sys.stdin.isatty() or not journal.is_file():
        return
    used = fold(read_journal(journal)).authorised
    if used is None:
        return
    try:
        require_still(
            used,
            read_plan(ctx.artifacts.parent),
            environment=ctx.environment,
            inventory=ctx.inventory,
            state=ctx.state,
            now=datetime.now(UTC),
        )
    except PreflightError as exc:
        raise PreflightError(
            f"run {ctx.run_id} was begun by a job under the standing authorisation {used.name}, and does not "
            f"go on with nobody watching: {exc}",
            hint=f"a person runs this command, or the job starts anew: ./inv {used.command} "
            f"--env {ctx.environment.name} --authorisation {used.name}",
        ) from exc


def _consoles(environment: Environment, state: Path) -> Callable[[str], Remote] | None:
    """Give the way to the consoles of fenced hosts, where the provider has one."""
    if environment.lab is None:
        return None
    from automation.adapters.nspawn.client import Supervisor
    from automation.adapters.nspawn.console import Console

    lab = Supervisor(state, environment.lab.id)
    return lambda host: Console(lab, host)


def actor() -> str:
    """Name the person: who called sudo, else who is logged in."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def ask_person(step: Step) -> GateAnswered | None:
    """Put a gate's question on the terminal; anything but yes or no leaves it open."""
    assert step.gate is not None
    if isinstance(step.run, Inject | AskPlayers):
        return ask_table(
            step, actor(), sys.stdin.readline, partial(print, end="", file=sys.stderr, flush=True)
        )
    print(
        f"gate {step.id} ({step.gate.role}): {step.gate.ask} [yes/no] ", end="", file=sys.stderr, flush=True
    )
    try:
        said = sys.stdin.readline().strip().lower()
    except (OSError, ValueError):
        return None
    if said not in ("yes", "no"):
        return None
    return GateAnswered(step=step.id, answer="yes" if said == "yes" else "no", by=actor())
