"""What most commands begin with: the environment, its inventory, its state, a run."""

import getpass
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from automation.commands._command import ROOT, progress
from automation.engine.context import RunContext
from automation.engine.run import Finished, make_run_folder, new_run_id, run_plan
from automation.model.environment import Environment, Inventory, load_environment, state_root
from automation.model.plan import Plan
from automation.model.records import Event, Remote, StepEnded, StepStarted


@dataclass(frozen=True)
class Session:
    """An environment that a command works on."""

    environment: Environment
    inventory: Inventory
    state: Path
    images: Path
    remote: Callable[[str], Remote]
    context: Callable[[str], RunContext]

    def run(self, plan: Plan, *, narrate: Callable[[Event], None] | None = None) -> Finished:
        """Run a plan in a new run folder; says which."""
        run_id = new_run_id(datetime.now(UTC))
        make_run_folder(self.state, run_id)
        progress(f"run {run_id}: {plan.name}, {len(plan.steps)} steps")
        return run_plan(plan, self.context(run_id), actor=actor(), on_event=narrate or Narrator(plan))


@contextmanager
def open_session(name: str) -> Iterator[Session]:
    """Load an environment and keep its connections until the block ends.

    Raises:
        ConfigError: the environment or its inventory has faults.
    """
    from automation.adapters.ansible import list_inventory
    from automation.adapters.ssh import Connections

    environment = load_environment(ROOT, name)
    root = state_root()
    state, images = root / name, root / "images"
    for folder in (root, state, images):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    inventory = list_inventory(environment.inventory_files, state)
    connections = Connections(
        inventory, environment.automation_user, state / "ssh/id_ed25519", state / "known_hosts"
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
            progress=lambda step, text: progress(f"         {step}: {text}" if step else text),
        )

    try:
        yield Session(environment, inventory, state, images, connections.remote, context)
    finally:
        connections.close()


def actor() -> str:
    """Name the person: who called sudo, else who is logged in."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


class Narrator:
    """Prints one line on stderr as each step ends; on a terminal also what is running."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = time.monotonic()
        self._started: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event.body, StepStarted):
            self._started[event.body.step] = now
        elif isinstance(event.body, StepEnded):
            self._ended(event.body, now)

    def _ended(self, end: StepEnded, now: float) -> None:
        mark = "ok  " if end.status == "succeeded" else "FAIL"
        text = end.outcome.summary if end.outcome else end.failure.message if end.failure else ""
        took = now - self._started.get(end.step, now)
        progress(f"{now - self._began:7.2f}s {mark} {end.step}: {text} ({took:.2f} s)")
