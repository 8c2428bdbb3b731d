"""Run folders as a controller leaves them, written by the real journal."""

import json
from datetime import timedelta
from itertools import count
from pathlib import Path

from automation.backups.entries import TAKE_PLAN
from automation.engine.journal import Journal
from automation.model.plan import Plan
from automation.model.records import Body, RunOpened
from tests.backups.entries import NOW


def write_run(state: Path, run_id: str, *bodies: Body, plan: Plan | None = None) -> Path:
    """Write a run of these events, a second apart."""
    folder = state / "runs" / run_id
    folder.mkdir(parents=True)
    ticks = count()
    journal = Journal(folder / "journal.jsonl", clock=lambda: NOW + timedelta(seconds=next(ticks)))
    opened = RunOpened(
        run_id=run_id,
        plan_format=3,
        plan_name=plan.name if plan else TAKE_PLAN,
        plan_digest=plan.digest if plan else "d",
        environment="lab",
        mode="apply",
        actor="ana",
        node="n",
        version="1",
    )
    for body in (opened, *bodies):
        journal.append(body)
    journal.close()
    if plan is not None:
        (folder / "plan.json").write_text(json.dumps(plan.model_dump(mode="json"), indent=1))
    return folder / "journal.jsonl"
