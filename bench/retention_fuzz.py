"""Whether 100,000 random policies, histories, proofs and guards ever lose what must stay.

    .venv/bin/python -m bench.retention_fuzz --cases 100000

Each case is one of tests/backups/fuzz.py, judged by the rules there: the last verified point and all
it needs, never a whole group, min_keep, suspended repositories, locks, holds, points of the
future. The first case that loses something ends the run with its seed. Writes
bench/results/retention-fuzz.json.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

from bench.compile import describe_machine
from tests.backups.fuzz import check_one

RESULT = Path(__file__).resolve().parent / "results/retention-fuzz.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Judge random cases of rotation.")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=10_000, help="the first seed")
    parser.add_argument("--to", type=Path, default=RESULT)
    asked = parser.parse_args()
    began, deleting, deleted = time.process_time(), 0, 0
    for seed in range(asked.first, asked.first + asked.cases):
        try:
            count = check_one(random.Random(seed))
        except AssertionError as exc:
            sys.exit(f"seed {seed}: {exc}")
        deleting, deleted = deleting + (count > 0), deleted + count
    seconds = time.process_time() - began
    print(
        f"{asked.cases} cases, {deleting} deleted {deleted} points, none that must stay ({seconds:.0f} CPU s)"
    )
    found = {"cases": asked.cases, "first_seed": asked.first, "deleting": deleting, "deleted": deleted}
    whole = {**describe_machine(), **found, "lost": 0, "cpu_s": round(seconds, 1)}
    asked.to.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
