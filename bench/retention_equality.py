"""Whether our account of restic's and borg's retention is theirs, on very many random histories.

    .venv/bin/python -m bench.retention_equality --snapshots 100000

Writes random snapshots (many groups, offsets that change, sub-seconds, tags, some of the future) into a
restic repository, asks `forget --dry-run --json` of two restic versions by random rules in random time zones,
and borg's own prune functions likewise, and counts the groups that our dialects decide otherwise. Snapshots
are counted once however many rules are asked. Equal times are left out: restic does not say which stays.
Ends with 1 if there is a difference. Writes bench/results/retention-equality.json.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from automation.backups.dialects import Dialect
from bench.compile import describe_machine
from tests.lab.equality import Count, compare_with_borg, compare_with_restic, rounds
from tests.lab.oracles import ResticOracle, built_restic, debian_restic

RESULT = Path(__file__).resolve().parent / "results/retention-equality.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare our dialects with restic and borg themselves.")
    parser.add_argument("--snapshots", type=int, default=100_000, help="of each program, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--to", type=Path, default=RESULT)
    asked = parser.parse_args()
    found = {
        "restic-0.14": with_restic("restic-0.14", debian_restic(), asked.snapshots, asked.seed),
        "restic-0.16": with_restic("restic-0.16", built_restic(), asked.snapshots, asked.seed),
        "borg-1.4": with_borg(asked.snapshots, asked.seed),
    }
    text = json.dumps({**describe_machine(), "seed": asked.seed, "programs": found}, indent=1)
    asked.to.write_text(text + "\n")
    sys.exit(any(one["different"] for one in found.values()))


def with_restic(dialect: Dialect, program: str, least: int, seed: int) -> dict[str, object]:
    """Compare until so many snapshots were written; each is judged by two random policies."""
    runs, began, total = 2, time.monotonic(), Count()
    with tempfile.TemporaryDirectory() as name:
        oracle = ResticOracle(program, Path(name) / "repository")
        version = oracle.call("version").split("compiled")[0].strip()
        for chance in rounds(seed):
            total = total.plus(compare_with_restic(oracle, dialect, chance, groups=150, most=60, runs=runs))
            if total.snapshots >= least * runs:
                return told(version, total, runs, time.monotonic() - began)
    raise AssertionError("rounds never end")


def with_borg(least: int, seed: int) -> dict[str, object]:
    began, total = time.monotonic(), Count()
    for chance in rounds(seed):
        total = total.plus(compare_with_borg(chance, cases=1000, most=60))
        if total.snapshots >= least:
            break
    return told("borg 1.4, prune_within and prune_split", total, 1, time.monotonic() - began)


def told(program: str, total: Count, runs: int, seconds: float) -> dict[str, object]:
    """Print a row and give it for the file."""
    asked = f"{total.groups} decisions of a group, {total.snapshots} of a snapshot, {total.kept} kept"
    different = len(total.different)
    print(f"{program}: {total.snapshots // runs} snapshots, {asked}, {different} different ({seconds:.0f} s)")
    for words in total.different[:10]:
        print(f"  {words}")
    return {
        "program": program,
        "snapshots": total.snapshots // runs,
        "policies_for_each": runs,
        "groups_decided": total.groups,
        "kept": total.kept,
        "different": len(total.different),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
