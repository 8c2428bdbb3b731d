"""A controller of its own process, made to be killed: runs or resumes one plan in a city's lab.

controller.py FOLDER RUN start PLAN.json | resume
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/lab")]

from city import open_city  # noqa: E402

from automation.engine.run import make_run_folder, resume_run, run_plan  # noqa: E402
from automation.model.plan import Plan  # noqa: E402


def main() -> None:
    folder, run_id, what, *plan = sys.argv[1:]
    city = open_city(Path(folder))
    ctx = city.run_context(run_id)
    if what == "start":
        make_run_folder(city.state, run_id)
        finished = run_plan(Plan.model_validate_json(Path(plan[0]).read_text()), ctx, actor="test")
    else:
        finished = resume_run(ctx, actor="test")
    print(f"{datetime.now(UTC):%H:%M:%S} {finished.closed.status} {finished.failures}")
    city.connections.close()


main()
