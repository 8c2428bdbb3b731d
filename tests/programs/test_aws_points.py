"""Recovery points at AWS: taken, copied, proven, rotated by explicit ids, and kept where they are in use."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from automation.adapters import aws as adapter
from automation.commands._backup_status import list_points, look_at_standing
from automation.commands._explaining import explain
from automation.commands._ledger import read_ledger
from automation.commands._rotation import RotateFlags, RotationShown, close_unfinished, decide_now, rotate
from automation.commands._session import Session
from automation.commands._taking import TakeFlags, TakeResult, back_up, raise_failed
from automation.commands._verify import VerifyFlags, verify
from automation.model.actions import DeleteVaultPoints
from automation.model.errors import AdapterError
from automation.model.recovery_points import Level
from tests.conftest import ROOT
from tests.programs.points_city import (
    DAY,
    POLICY,
    make_server,
    mark,
    past_image,
    past_set,
    remember_points,
    session_of,
)
from tests.programs.simulators import REGIONS, AwsSimulated

pytestmark = pytest.mark.lab

EAST, WEST = REGIONS
NOW = datetime.now(UTC)


@pytest.fixture
def city(aws: AwsSimulated, tmp_path: Path) -> Session:
    """A city with two servers at AWS, of two and three disks, and nothing saved yet."""
    for folder in ("runs", "backups", "locks"):
        subprocess.run(["rm", "-rf", "--", str(aws.state / folder)], check=True)
    make_server(aws, "web-1")
    make_server(aws, "web-2", disks=3)
    return session_of(aws, tmp_path)


def take(city: Session, resource: str) -> TakeResult:
    result, _ = back_up(city, TakeFlags(resource))
    raise_failed(result, "city")
    return result


def instance(aws: AwsSimulated, name: str) -> str:
    filters = [{"Name": "tag:mainstay:name", "Values": [name]}]
    found = aws.client("ec2").describe_instances(Filters=filters)["Reservations"]
    return str(found[0]["Instances"][0]["InstanceId"])


def snapshots(aws: AwsSimulated, region: str = EAST) -> dict[str, dict[str, Any]]:
    pages = aws.client("ec2", region).get_paginator("describe_snapshots").paginate(OwnerIds=["self"])
    return {one["SnapshotId"]: one for page in pages for one in page["Snapshots"] if one.get("Tags")}


def images(aws: AwsSimulated, region: str = EAST) -> dict[str, dict[str, Any]]:
    found = aws.client("ec2", region).describe_images(Owners=["self"])["Images"]
    return {one["ImageId"]: one for one in found if one.get("Tags")}


def tag(shown: Mapping[str, Any], key: str) -> str:
    return str({one["Key"]: one["Value"] for one in shown["Tags"]}.get(f"mainstay:{key}", ""))


# --- taking and copying -----------------------------------------------------------------------------


def test_all_disks_of_all_servers_are_one_point_which_is_copied_to_the_other_region(
    city: Session, aws: AwsSimulated
) -> None:
    take(city, "disks")
    points = {one.store: one.point for one in list_points(city, "disks").points}
    assert {store: (point.status, len(point.members)) for store, point in points.items()} == {
        "east": ("ok", 5),
        "west": ("ok", 5),
    }
    assert points["east"].id == points["west"].id
    assert points["east"].claimed_at == points["west"].claimed_at
    here, there = snapshots(aws), snapshots(aws, WEST)
    assert {tag(one, "copied-from") for one in there.values()} == set(here)
    assert {tag(one, "server") for one in here.values()} == {"web-1", "web-2"}


def test_an_image_has_a_snapshot_of_each_disk_and_takes_them_along(city: Session, aws: AwsSimulated) -> None:
    take(city, "images")
    for one in list_points(city, "images").points:
        assert [member.partition("-")[0] for member in one.point.members] == ["ami", "snap", "snap"]
        assert one.point.status == "ok"
    assert {tag(one, "point") for one in images(aws, WEST).values()} == {
        tag(one, "point") for one in images(aws).values()
    }


def test_a_database_is_saved_and_copied(city: Session, aws: AwsSimulated) -> None:
    aws.client("rds").create_db_instance(
        DBInstanceIdentifier="payments",
        Engine="postgres",
        DBInstanceClass="db.t3.micro",
        AllocatedStorage=20,
        StorageEncrypted=True,
        MasterUsername="city",
        MasterUserPassword="not-a-secret-1",
    )
    aws.settle()
    take(city, "payments")
    points = {one.store: one.point for one in list_points(city, "payments").points}
    assert {point.status for point in points.values()} == {"ok"}
    assert points["east"].members[0].split(":")[3] == EAST
    assert points["west"].members[0].split(":")[3] == WEST


@pytest.mark.parametrize(
    ("resource", "call", "mode", "made"),
    [
        ("disks", "CreateSnapshots", "applied-then-drop", 5),
        ("disks", "CopySnapshot", "applied-then-500", 5),
        ("images", "CreateImage", "applied-then-500", 2),
        ("images", "CopyImage", "applied-then-drop", 2),
    ],
)
def test_a_call_whose_answer_was_lost_makes_nothing_twice(
    resource: str, call: str, mode: str, made: int, city: Session, aws: AwsSimulated
) -> None:
    aws.faults({"service": "ec2", "action": call, "mode": mode, "times": 1})
    take(city, resource)
    assert (len(snapshots(aws)), len(snapshots(aws, WEST))) == (made, made)
    assert len({tag(one, "point") for one in snapshots(aws).values()}) == 1


def test_another_account_gets_copies_and_keeps_no_right_to_the_originals(
    city: Session, aws: AwsSimulated
) -> None:
    vault = {"account": "210987654321", "role": "arn:aws:iam::210987654321:role/vault"}
    city = session_of(aws, city.environment.folder, west=vault)
    for resource in ("disks", "images"):
        take(city, resource)
        points = {one.store: one.point for one in list_points(city, resource).points}
        assert {(store, point.status) for store, point in points.items()} == {("east", "ok"), ("west", "ok")}
        assert points["east"].id == points["west"].id
    assert not snapshots(aws, WEST)  # the first account has none there
    ec2 = aws.client("ec2")
    shared = [
        ec2.describe_snapshot_attribute(SnapshotId=one, Attribute="createVolumePermission")
        for one in snapshots(aws)
    ]
    assert not any(one["CreateVolumePermissions"] for one in shared)


# --- rotating -------------------------------------------------------------------------------------


DAYS = 20
FIRST = (NOW - timedelta(hours=1)).replace(hour=1, minute=0, second=0, microsecond=0)  # never to come
PREFIXES = {"disks": "pt-d", "images": "pt-i"}


def point(resource: str, days: int) -> str:
    """Name the point that was taken so many days ago."""
    return f"{PREFIXES[resource]}{days:02}"


def past(city: Session, aws: AwsSimulated, resource: str, days: int = DAYS) -> dict[str, str]:
    """Make a point for each of some days, that jobs took and nobody rotated; give the images of them."""
    ec2, web, made = aws.client("ec2"), instance(aws, "web-1"), {}
    points = {point(resource, number): FIRST - number * DAY for number in range(days)}
    for name, at in points.items():
        if resource == "disks":
            past_set(ec2, web, resource, name, at, 2)
        else:
            made[name] = past_image(ec2, web, resource, name, at, 3)
    remember_points(city, resource, "east", points, proven=point(resource, 0))
    mark(city, resource, "east", points.keys() - kept(resource))
    while any(one.point.status != "ok" for one in list_points(city, resource, "east").points):
        pass  # they take their time; each look is a round trip
    return made


@pytest.fixture
def sets(city: Session, aws: AwsSimulated) -> None:
    """Twenty sets of snapshots, of which thirteen are expired and were marked long enough ago."""
    past(city, aws, "disks")


@pytest.fixture
def pictures(city: Session, aws: AwsSimulated) -> dict[str, str]:
    """The same of images, by their points."""
    return past(city, aws, "images")


def kept(resource: str) -> set[str]:
    """Name the points that the rules keep: the newest of each of seven days."""
    return {point(resource, days) for days in range(7)}


def east(resource: str) -> RotateFlags:
    return RotateFlags(resource=resource, store="east")


def turn(city: Session, resource: str) -> RotationShown:
    close_unfinished(city)
    return rotate(city, decide_now(city, east(resource)), east(resource))


def deletion(city: Session, resource: str) -> DeleteVaultPoints:
    """Give the action by which the next rotation would delete."""
    plan = decide_now(city, east(resource)).plan
    return next(step.run for step in plan.steps if isinstance(step.run, DeleteVaultPoints))


def left(aws: AwsSimulated, resource: str) -> set[str]:
    """Give the points of which any part is left, as EC2 itself says."""
    parts = [*snapshots(aws).values(), *images(aws).values()]
    return {tag(one, "point") for one in parts if one.get("Tags") and tag(one, "resource") == resource}


@pytest.mark.usefixtures("sets")
def test_exactly_what_expired_goes_with_all_its_members(city: Session, aws: AwsSimulated) -> None:
    volume = next(iter(snapshots(aws).values()))["VolumeId"]
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "owner", "Value": "somebody"}]}]
    foreign = aws.client("ec2").create_snapshot(VolumeId=volume, TagSpecifications=tags)
    past(city, aws, "images", days=2)
    assert turn(city, "disks").deletes == 10  # half of twenty: the most for one run; three wait
    assert len(left(aws, "disks")) == 10
    assert kept("disks") < left(aws, "disks")
    turn(city, "disks")
    assert left(aws, "disks") == kept("disks")
    assert foreign["SnapshotId"] in snapshots(aws)
    assert len(left(aws, "images")) == 2


def test_images_in_use_stay_with_a_word_by_what_and_all_others_go_with_their_snapshots(
    city: Session, aws: AwsSimulated, pictures: dict[str, str]
) -> None:
    ec2, scaling = aws.client("ec2"), aws.client("autoscaling")
    ec2.run_instances(ImageId=pictures["pt-i19"], MinCount=1, MaxCount=1)
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": pictures["pt-i18"]})
    ec2.create_launch_template_version(  # an older version of a template is in use, too
        LaunchTemplateName="web", LaunchTemplateData={"ImageId": pictures["pt-i00"]}
    )
    scaling.create_launch_configuration(
        LaunchConfigurationName="old", ImageId=pictures["pt-i17"], InstanceType="t3.small"
    )
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="counter",
        LaunchConfigurationName="old",
        MinSize=0,
        MaxSize=0,
        AvailabilityZones=[f"{EAST}a"],
    )
    row = next(iter(decide_now(city, east("images")).shown.rows))
    said = next(guard.reason for guard in row.guards if guard.guard == "in_use")
    assert "3 expired points are in use, first pt-i17 by auto-scaling group counter" in said
    for _ in range(2):
        turn(city, "images")
    assert left(aws, "images") == kept("images") | {"pt-i17", "pt-i18", "pt-i19"}
    rulings = next(iter(decide_now(city, east("images")).decisions)).rotation
    assert rulings is not None
    assert not rulings.delete
    assert "in_use" in explain(city, "pt-i18", "images")[0].sentence


def test_an_image_that_somebody_launches_after_the_plan_stops_its_deletion(
    city: Session, aws: AwsSimulated, pictures: dict[str, str]
) -> None:
    action = deletion(city, "images")
    aws.client("ec2").run_instances(ImageId=pictures[action.points[-1]], MinCount=1, MaxCount=1)
    with pytest.raises(AdapterError, match="is used by instance i-"):
        adapter.delete_points(action, city.context("20260101-000000-0001"))
    assert left(aws, "images") == set(pictures)


@pytest.mark.usefixtures("sets")
@pytest.mark.parametrize(
    ("what", "why"),
    [("strange", "the plan does not name it"), ("gone", "is gone, which must stay")],
)
def test_a_deletion_whose_points_are_not_as_the_plan_saw_them_deletes_nothing(
    what: str, why: str, city: Session, aws: AwsSimulated
) -> None:
    action, ec2 = deletion(city, "disks"), aws.client("ec2")
    if what == "strange":
        past_set(ec2, instance(aws, "web-2"), "disks", action.points[0], NOW, 3)
    else:
        gone = [key for key, one in snapshots(aws).items() if tag(one, "point") == action.stay[0]]
        for snapshot in gone:
            ec2.delete_snapshot(SnapshotId=snapshot)
    before = set(snapshots(aws))
    with pytest.raises(AdapterError, match=why):
        adapter.delete_points(action, city.context("20260101-000000-0001"))
    assert set(snapshots(aws)) == before


CHILD = """\
import sys
from pathlib import Path
from tests.programs.points_city import session_of
from tests.programs.simulators import AwsSimulated
from tests.programs.test_aws_points import turn
state, port, folder, resource = sys.argv[1:]
aws = AwsSimulated(Path(state), int(port), None)
turn(session_of(aws, Path(folder)), resource)
"""


@pytest.mark.parametrize("resource", ["disks", "images"])
def test_a_rotation_that_was_killed_is_decided_anew_and_ends_where_it_would_have(
    resource: str, city: Session, aws: AwsSimulated
) -> None:
    past(city, aws, resource)
    aws.forget_calls()
    aws.faults(
        {
            "service": "ec2",
            "action": "DeleteSnapshot",
            "mode": "latency",
            "seconds": 60,
            "after": 5,
            "times": 99,
        }
    )
    folder = str(city.environment.folder)
    argv = [sys.executable, "-c", CHILD, str(aws.state), str(aws.port), folder, resource]
    child = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    while aws.calls().get("ec2.DeleteSnapshot", 0) < 6:
        assert child.poll() is None, "it ended before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait()
    aws.no_faults()
    assert kept(resource) < left(aws, resource)
    for _ in range(3):
        turn(city, resource)
    assert left(aws, resource) == kept(resource)
    rows = decide_now(city, east(resource)).shown.rows
    assert not any("points gone" in why for row in rows for why in row.frozen)


@pytest.mark.usefixtures("sets")
def test_what_is_throttled_for_a_while_goes_all_the_same(city: Session, aws: AwsSimulated) -> None:
    aws.faults({"service": "ec2", "action": "DeleteSnapshot", "mode": "throttle", "times": 12})
    assert turn(city, "disks").deletes == 10
    assert len(left(aws, "disks")) == 10


def test_without_a_proof_at_the_level_that_is_asked_for_nothing_goes(
    city: Session, aws: AwsSimulated
) -> None:
    asked = "[{level: L1, every: 1 day}, {level: L4, every: 90 days, by: drill}]"
    policy = POLICY.replace(
        "verified: L1}\n    verify: [{level: L1, every: 1 day}]", f"verified: L4}}\n    verify: {asked}"
    )
    asking = session_of(aws, city.environment.folder, policy)
    take(asking, "disks")
    row = next(iter(decide_now(asking, east("disks")).shown.rows))
    reasons = [guard.reason for guard in row.guards if guard.answer == "refuse"]
    assert any("no point is proven at L4; nothing may go until one is" in reason for reason in reasons)


# --- locks and proofs -------------------------------------------------------------------------------


def test_a_locked_snapshot_is_locked_in_the_copy_alone_and_read_back_from_aws(
    aws: AwsSimulated, city: Session
) -> None:
    locked = "copy_of: east, lock: {mode: governance, for: 7 days}}"
    asked = POLICY.replace("copy_of: east}", locked).replace(
        "to: [east, west]\n    keep: {profile: standard}", "to: [east]\n    keep: {profile: standard}"
    )
    city = session_of(aws, city.environment.folder, asked)
    take(city, "disks")
    points = {one.store: one.point for one in list_points(city, "disks").points}
    until = points["west"].locked_until
    assert points["east"].locked_until is None
    assert until is not None
    assert abs(until - (datetime.now(UTC) + 7 * DAY)) < timedelta(minutes=5)
    with pytest.raises(Exception, match="SnapshotLocked"):
        aws.client("ec2", WEST).delete_snapshot(SnapshotId=points["west"].members[0])
    copies = {copy.store: copy for copy in look_at_standing(city, "disks").resources[0].copies}
    assert copies["west"].locked_until == until


def test_l1_proves_what_is_whole_and_fails_what_is_not_encrypted_or_lacks_a_part(
    city: Session, aws: AwsSimulated
) -> None:
    take(city, "disks")
    proved = verify(city, VerifyFlags(level="L1", resource="disks"))
    assert {(row.store, row.level, row.result) for row in proved.rows} == {
        ("east", Level.L1, "proven"),
        ("west", Level.L1, "proven"),
    }
    standing = look_at_standing(city, "disks").resources[0]
    assert standing.proof is not None
    assert (standing.proof.level, standing.proof.source) == (Level.L1, "simulated")
    aws.client("ec2", WEST).delete_snapshot(SnapshotId=next(iter(snapshots(aws, WEST))))
    proved = verify(city, VerifyFlags(level="L1", resource="disks"))
    failed = {row.store: row.said for row in proved.rows if row.result == "failed"}
    assert list(failed) == ["west"]
    assert "has 4 parts and lacks one" in failed["west"][0]
    assert read_ledger(city.state).suspended("west")
