"""A controller of its own process: one run of waits, ended as a command ends it.

one_run.py STATE RUN ACTOR SECONDS SERVICE|resume
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from invoke import Exit  # noqa: E402

from automation.commands._command import command  # noqa: E402
from automation.engine.context import RunContext  # noqa: E402
from automation.engine.run import make_run_folder, resume_run, run_plan  # noqa: E402
from automation.model.actions import Wait  # noqa: E402
from automation.model.environment import Inventory, load_environment  # noqa: E402
from automation.model.plan import Plan, Step  # noqa: E402


@command(help={}, leaves="a run")
def one_run(context: object) -> None:
    """Run one plan."""
    state, run_id, actor, seconds, service = sys.argv[1:]
    ctx = RunContext(
        run_id=run_id,
        environment=load_environment(ROOT, "lab"),
        inventory=Inventory(servers={}),
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
        Step(id="a", run=Wait(seconds=float(seconds)), why="test", service=service),
        Step(id="b", run=Wait(seconds=0), why="test", needs=("a",)),
    )
    plan = Plan(name="rotation", environment="lab", mode="apply", steps=steps)
    run_plan(plan, ctx, actor=actor).raise_for_status()


try:
    one_run(object())
except Exit as ending:
    sys.exit(ending.code)
