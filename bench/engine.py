"""What the executor costs a step: a plan of steps that do nothing, each event synced to the disk.

    .venv/bin/python -m bench.engine --steps 10000 --folder /var/tmp

Prints the median of three runs, in ms a step, and what of it is the disk: as many plain writes and syncs
of lines as long. Also how long it takes to fold the journal back, which is what a resume begins with.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from automation.engine.attempt import Work
from automation.engine.context import RunContext
from automation.engine.executor import execute
from automation.engine.fold import fold
from automation.engine.journal import Journal, read_journal
from automation.model.actions import Wait
from automation.model.plan import Plan, Step
from automation.model.records import Outcome

NOTHING = Work(perform=lambda step, ctx: Outcome(changed=False, summary="nothing"))


def make_plan(count: int, width: int) -> Plan:
    """Chains side by side, so that steps wait for each other and also run together."""
    steps = [
        Step(
            id=f"s{number}",
            run=Wait(seconds=0),
            why="bench",
            needs=(f"s{number - width}",) if number >= width else (),
        )
        for number in range(count)
    ]
    return Plan(name="bench", environment="lab", mode="apply", steps=tuple(steps))


def run(plan: Plan, folder: Path) -> float:
    ctx = RunContext("bench", None, None, folder, folder, folder, None, lambda s, t: None)  # type: ignore[arg-type]
    journal = Journal(folder / "journal.jsonl")
    began = time.perf_counter()
    closed = execute(plan, ctx, journal, work=NOTHING)
    took = time.perf_counter() - began
    journal.close()
    assert closed.status == "succeeded"
    return took


def sync_alone(folder: Path, lines: int, size: int) -> float:
    file = os.open(folder / "plain", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    began = time.perf_counter()
    for _ in range(lines):
        os.write(file, b"x" * size)
        os.fdatasync(file)
    took = time.perf_counter() - began
    os.close(file)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    asked = parser.parse_args()
    plan = make_plan(asked.steps, asked.width)
    took, disk, folding = [], [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory(dir=asked.folder) as name:
            folder = Path(name)
            took.append(run(plan, folder))
            path = folder / "journal.jsonl"
            lines = 2 * asked.steps
            disk.append(sync_alone(folder, lines, path.stat().st_size // lines))
            began = time.perf_counter()
            fold(read_journal(path))
            folding.append(time.perf_counter() - began)
    each = [1000 * statistics.median(one) / asked.steps for one in (took, disk, folding)]
    print(f"{asked.steps} steps, {asked.width} side by side, in {asked.folder}")
    print(f"executor: {each[0]:.2f} ms a step, of which the disk alone: {each[1]:.2f} ms")
    print(f"folding back: {each[2]:.3f} ms a step")


if __name__ == "__main__":
    main()
