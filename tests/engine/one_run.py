"""A controller of its own process: one run of waits, ended as a command ends it.

one_run.py STATE RUN ACTOR SECONDS SERVICE|host:NAME|playbook:LIMIT|resume
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from invoke import Exit  # noqa: E402

from automation.commands._command import command  # noqa: E402
from automation.engine.attempt import Work  # noqa: E402
from automation.engine.context import RunContext  # noqa: E402
from automation.engine.run import make_run_folder, resume_run, run_plan  # noqa: E402
from automation.model.actions import RunPlaybook, StartUnit, Wait  # noqa: E402
from automation.model.environment import Inventory, Server, load_environment  # noqa: E402
from automation.model.plan import Plan, Step  # noqa: E402
from automation.model.records import Outcome  # noqa: E402


def server(name: str) -> Server:
    return Server(name=name, address="192.0.2.1", site="city-hall", provider="nspawn", image="debian-12")


@command(help={}, leaves="a run")
def one_run(context: object) -> None:
    """Run one plan."""
    state, run_id, actor, seconds, service = sys.argv[1:]
    ctx = RunContext(
        run_id=run_id,
        environment=load_environment(ROOT, "lab"),
        inventory=Inventory(servers={name: server(name) for name in ("pg-a", "pg-b")}),
        state=Path(state),
        images=Path(state),
        artifacts=Path(state) / "runs" / run_id / "artifacts",
        connections=None,  # type: ignore[arg-type]
        progress=lambda step, text: print(step, text, flush=True),
    )
    if service == "resume":
        resume_run(ctx, actor=actor).raise_for_status()
        return
    make_run_folder(Path(state), run_id)
    steps = (
        first_step(service, float(seconds)),
        Step(id="b", run=Wait(seconds=0), why="test", needs=("a",)),
    )
    plan = Plan(name="rotation", environment="lab", mode="apply", steps=steps)
    work = Work(perform=hold_out(float(seconds))) if ":" in service else None
    run_plan(plan, ctx, actor=actor, work=work).raise_for_status()


def first_step(what: str, seconds: float) -> Step:
    """A step that waits: for a service, or as if it changed a host or ran a playbook."""
    kind, _, name = what.partition(":")
    if kind == "host":
        return Step(id="a", run=StartUnit(host=name, unit="x"), why="test")
    if kind == "playbook":
        run = RunPlaybook(playbook="playbooks/site.yml", limit=name or None)
        return Step(id="a", run=run, why="test")
    return Step(id="a", run=Wait(seconds=seconds), why="test", service=what)


def hold_out(seconds: float) -> Callable[[Step, RunContext], Outcome]:
    """Do nothing for so long in the first step."""

    def perform(step: Step, ctx: RunContext) -> Outcome:
        time.sleep(seconds if step.id == "a" else 0)
        return Outcome(changed=False, summary="waited")

    return perform


try:
    one_run(object())
except Exit as ending:
    sys.exit(ending.code)
