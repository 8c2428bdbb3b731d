"""How long the planner takes for very many recovery points, beside restic's own in the same run.

    .venv/bin/python -m bench.retention

Ours: 1,000,000 points in 2,000 groups (one resource in one copy each), every sixth hour with some jitter,
seen by the store a little later, decided by six rules in America/New_York; objects are made before, deciding
alone is timed. restic's: `forget --dry-run --json --no-lock` of Debian's restic by the same rules on a local
repository of 50,000 snapshots in 50 groups; it opens the repository and reads every snapshot, as it always
does. Also ours for the same 50,000. Wall seconds and CPU seconds: other work on the machine lengthens the
first alone. Writes bench/results/retention.json.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from automation.backups.retention import decide
from automation.backups.rules import RetentionPolicy
from automation.model.recovery_points import RecoveryPoint
from bench.compile import describe_machine
from tests.lab.oracles import ResticOracle, Snapshot, debian_restic

RESULT = Path(__file__).resolve().parent / "results/retention.json"
KEEP = {"last": 3, "hourly": 24, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 3}
POLICY = RetentionPolicy.model_validate({"tz": "America/New_York", "keep": KEEP})
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Timed = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the retention planner beside restic's.")
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=2_000)
    parser.add_argument("--restic", type=int, default=50_000, help="snapshots for restic; 0: none")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--to", type=Path, default=RESULT)
    asked = parser.parse_args()
    results = {"ours": ours(asked.points, asked.groups, asked.rounds)}
    if asked.restic:
        results["ours_same_as_restic"] = ours(asked.restic, 50, asked.rounds)
        results["restic"] = restics(asked.restic, 50, asked.rounds)
    asked.to.write_text(json.dumps({**describe_machine(), "rules": KEEP, **results}, indent=1) + "\n")


def ours(count: int, groups: int, rounds: int) -> dict[str, object]:
    chance = random.Random(1)
    made = [make_group(number, count // groups, chance) for number in range(groups)]
    kept = [0]

    def work() -> None:
        kept[0] = sum(len(decide(points, POLICY, now=NOW).kept) for points in made)

    return tell(f"ours: {count} points in {groups} groups", [timed(work) for _ in range(rounds)], kept[0])


def make_group(number: int, count: int, chance: random.Random) -> list[RecoveryPoint]:
    """Give the history of one resource, newest first, as a store's index lists it."""
    return [
        RecoveryPoint(
            id=f"{chance.getrandbits(256):064x}",
            resource=f"r-{number}",
            copy_name="nas",
            claimed_at=at,
            observed_at=at + timedelta(minutes=5),
            size_bytes=1_000_000,
        )
        for at in times(count, chance)
    ]


def times(count: int, chance: random.Random) -> list[datetime]:
    return [NOW - timedelta(hours=6 * n + 1, seconds=chance.uniform(0, 3000)) for n in range(count)]


def restics(count: int, groups: int, rounds: int) -> dict[str, object]:
    flags = [f"--keep-{name}={number}" for name, number in KEEP.items()]
    chance, kept = random.Random(1), [0]
    with tempfile.TemporaryDirectory() as name:
        oracle = ResticOracle(debian_restic(), Path(name) / "repository")
        for group in range(groups):
            listed = times(count // groups, chance)
            oracle.write(Snapshot(at.isoformat().replace("+00:00", "Z"), f"h-{group}") for at in listed)

        def work() -> None:
            kept[0] = sum(len(keep) for keep, _ in oracle.forget(flags, "America/New_York").values())

        work()  # fills its cache
        said = f"restic {oracle.call('version').split()[1]}: {count} snapshots in {groups} groups"
        return tell(said, [timed(work) for _ in range(rounds)], kept[0])


def timed(work: Callable[[], None]) -> Timed:
    """Give wall and CPU seconds, those of children too."""
    began, cpu = time.perf_counter(), cpu_seconds()
    work()
    return {"wall_s": time.perf_counter() - began, "cpu_s": cpu_seconds() - cpu}


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def tell(what: str, rounds: list[Timed], kept: int) -> dict[str, object]:
    """Print a row and give it for the file."""
    row: dict[str, object] = {"what": what, "kept": kept, "rounds": len(rounds)}
    for clock in ("wall_s", "cpu_s"):
        each = [round(one[clock], 4) for one in rounds]
        row[clock] = {"least": min(each), "median": median(each), "most": max(each)}
    seconds = ", ".join(f"{c} {min(o[c] for o in rounds):.3f}" for c in ("wall_s", "cpu_s"))
    middle = ", ".join(f"{c} {median(o[c] for o in rounds):.3f}" for c in ("wall_s", "cpu_s"))
    print(f"{what}: {kept} kept; least {seconds}; median {middle}")
    return row


if __name__ == "__main__":
    main()
