"""Rotation of 10,000 EBS snapshots and 500 AMIs: the right set, by ids, killed half-way, in-use kept.

    .venv/bin/python -m bench.cloud_rotation --sets 2500 --disks 4 --images 500

A simulated AWS is filled through its own API with points of the past, as jobs would have left them. Then
`backup.rotate` runs as a command does, with its journal and under its guards, which let half of the points go
in one run: it is killed with kill -9 in the middle of the first run, and throttled at first. What is left is
compared with what a plain reading of the rules keeps, written here anew; every deletion is counted by AWS's
side. Times are of a simulator on the same machine, and say nothing of AWS.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from automation.commands._rotation import RotateFlags, close_unfinished, decide_now, rotate
from automation.commands._session import Session
from tests.programs.points_city import (
    POLICY,
    make_server,
    mark,
    past_image,
    past_set,
    remember_points,
    session_of,
)
from tests.programs.simulators import AwsSimulated, simulated_aws

ROOT = Path(__file__).resolve().parents[1]
RULES = {"daily": 30, "weekly": 26, "monthly": 24}
PERIOD: Mapping[str, Callable[[datetime], object]] = {
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
}
RESOURCES = ("disks", "images")
THROTTLED = 15


def policy() -> str:
    """The test's own, with more rules and one server."""
    rules = ", ".join(f"{name}: {count}" for name, count in RULES.items())
    text = POLICY.replace("{daily: 7, keep_oldest: false}", f"{{{rules}, keep_oldest: false}}")
    return text.replace("servers: [web-1, web-2]", "servers: [web-1]")


def kept_by_rules(points: Mapping[str, datetime]) -> set[str]:
    """Say which points stay: of each rule the newest of each of its newest periods."""
    kept = set()
    for rule, count in RULES.items():
        newest: dict[object, str] = {}
        for point, at in sorted(points.items(), key=lambda one: one[1], reverse=True):
            newest.setdefault(PERIOD[rule](at), point)
        kept |= set(list(newest.values())[:count])
    return kept


def fill(aws: AwsSimulated, sets: int, disks: int, images: int) -> dict[str, dict[str, datetime]]:
    """Make all points of the past; give when each was taken."""
    web, golden = make_server(aws, "web-1", disks=disks), make_server(aws, "golden", disks=1)
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    taken = {
        "disks": {f"pt-d{number:05}": now - number * timedelta(hours=6) for number in range(sets)},
        "images": {f"pt-i{number:05}": now - number * timedelta(days=1) for number in range(images)},
    }
    ec2 = aws.client("ec2", retries={"total_max_attempts": 5}, read_timeout=120)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: past_set(ec2, web, "disks", *one, disks), taken["disks"].items()))
        list(pool.map(lambda one: past_image(ec2, golden, "images", *one, 2), taken["images"].items()))
    return taken


def use_some(aws: AwsSimulated) -> set[str]:
    """Launch from some old images, name some in templates, some in auto-scaling groups; give their points."""
    ec2, scaling = aws.client("ec2", read_timeout=120), aws.client("autoscaling", read_timeout=120)
    shown = ec2.describe_images(Owners=["self"])["Images"]
    ids = {tag["Value"]: one["ImageId"] for one in shown for tag in one.get("Tags", ()) if _is_point(tag)}
    old = sorted(ids)[-75:]
    for point in old[:25]:
        ec2.run_instances(ImageId=ids[point], MinCount=1, MaxCount=1)
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": ids[old[25]]})
    for point in old[26:50]:
        data = {"ImageId": ids[point]}
        ec2.create_launch_template_version(LaunchTemplateName="web", LaunchTemplateData=data)
    for point in old[50:]:
        name = f"config-{point}"
        scaling.create_launch_configuration(
            LaunchConfigurationName=name, ImageId=ids[point], InstanceType="t3.small"
        )
        scaling.create_auto_scaling_group(
            AutoScalingGroupName=f"group-{point}",
            LaunchConfigurationName=name,
            MinSize=0,
            MaxSize=0,
            AvailabilityZones=["us-east-1a"],
        )
    return set(old)


def _is_point(tag: Mapping[str, str]) -> bool:
    return tag["Key"] == "mainstay:point"


def left(aws: AwsSimulated) -> dict[str, set[str]]:
    """Give the points of which any part is left, by resource, as EC2 itself says."""
    found: dict[str, set[str]] = {name: set() for name in RESOURCES}
    ec2 = aws.client("ec2", read_timeout=300)
    pages = ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"])
    shown = [one for page in pages for one in page["Snapshots"]]
    for one in [*shown, *ec2.describe_images(Owners=["self"])["Images"]]:
        tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
        if "mainstay:point" in tags:
            found[tags["mainstay:resource"]].add(tags["mainstay:point"])
    return found


def turn(session: Session) -> int:
    """Rotate once, as the command does; give how many points went."""
    close_unfinished(session)
    flags = RotateFlags(resource=",".join(RESOURCES), store="east")
    return rotate(session, decide_now(session, flags), flags).deletes


CHILD = """
import sys
from pathlib import Path
from bench.cloud_rotation import policy, turn
from tests.programs.points_city import session_of
from tests.programs.simulators import AwsSimulated
turn(session_of(AwsSimulated(Path(sys.argv[1]), int(sys.argv[2]), None), Path(sys.argv[3]), policy()))
"""


def killed_turn(aws: AwsSimulated, folder: Path, after: int) -> int:
    """Begin a rotation in a process of its own, and kill it after so many deletions; give how many came."""
    argv = [sys.executable, "-c", CHILD, str(aws.state), str(aws.port), str(folder)]
    child = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while aws.calls().get("ec2.DeleteSnapshot", 0) < after:
        if child.poll() is not None:
            raise SystemExit("the rotation ended before it could be killed")
        time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return aws.calls()["ec2.DeleteSnapshot"]


def measure(aws: AwsSimulated, folder: Path, sets: int, disks: int, images: int) -> dict[str, object]:
    """Fill, rotate, kill, rotate to the end; compare."""
    session = session_of(aws, folder, policy())
    filled_s, taken = timed(lambda: fill(aws, sets, disks, images))
    used = use_some(aws)
    expected = {name: kept_by_rules(points) for name, points in taken.items()}
    expected["images"] |= used
    for name, points in taken.items():
        remember_points(session, name, "east", points, proven=max(points, key=lambda one: points[one]))
        mark(session, name, "east", points.keys() - kept_by_rules(points))
    aws.forget_calls()
    flags = RotateFlags(resource=",".join(RESOURCES), store="east")
    planned_s, decided = timed(lambda: decide_now(session, flags))
    pages = {call: count for call, count in sorted(aws.calls().items()) if "Describe" in call}
    aws.forget_calls()
    aws.faults({"service": "ec2", "action": "DeleteSnapshot", "mode": "throttle", "times": THROTTLED})
    killed_after = killed_turn(aws, folder, after=min(1000, sets))
    runs: list[int] = []
    rotated_s = 0.0
    while not runs or runs[-1]:
        seconds, gone = timed(lambda: turn(session))
        runs.append(gone)
        rotated_s += seconds
    calls, there = aws.calls(), left(aws)
    return {
        "snapshots": sets * disks + images,
        "images": images,
        "in use": len(used),
        "filled in s": round(filled_s, 1),
        "decided in s, with the listing": round(planned_s, 1),
        "round trips of one look": pages,
        "first run deletes": decided.shown.deletes,
        "killed after so many calls": killed_after,
        "later runs delete": runs,
        "rotated in s": round(rotated_s, 1),
        "throttled": THROTTLED,
        "calls": {
            call: calls[call] for call in ("ec2.DeleteSnapshot", "ec2.DeregisterImage") if call in calls
        },
        "left": {name: len(points) for name, points in there.items()},
        "lost that had to stay": differing(expected, there),
        "stayed that had to go": differing(there, expected),
    }


def differing(one: Mapping[str, set[str]], other: Mapping[str, set[str]]) -> Iterable[str]:
    """List what the first has and the second has not."""
    return sorted(point for name in RESOURCES for point in one[name] - other[name])


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.monotonic()
    done = act()
    return time.monotonic() - began, done


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=2500)
    parser.add_argument("--disks", type=int, default=4)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--json", type=Path, help="write the result there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cloud-rotation-") as name:
        state, folder = Path(name) / "state", Path(name) / "city"
        state.mkdir()
        folder.mkdir()
        with simulated_aws(state, changes_take_s=0.0) as aws:
            result = measure(aws, folder, asked.sets, asked.disks, asked.images)
    text = json.dumps(result, indent=1)
    print(text)
    if asked.json:
        asked.json.write_text(f"{text}\n")
    return 1 if result["lost that had to stay"] or result["stayed that had to go"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
