"""The simulated EC2, asked by a real boto3 client: servers, networks, disks, snapshots and images."""

from typing import Any

import pytest

from tests.programs.aws_asked import (
    FOR_EVER_S,
    HERE,
    OTHER_ACCOUNT,
    THERE,
    as_role,
    assumed,
    error_of,
    launch,
    launched,
    named,
    shown,
    state,
    subnet_of,
)
from tests.programs.simulators import AwsSimulated


@pytest.fixture(autouse=True)
def slow(aws: AwsSimulated) -> None:
    """Nothing changes by itself: a test lets it, by `settle`."""
    aws.pace(FOR_EVER_S)


# --- servers -----------------------------------------------------------------------------------------


def test_an_instance_goes_through_all_its_states_in_their_time(aws: AwsSimulated) -> None:
    ec2, one = aws.client("ec2"), launch(aws)
    seen = [state(aws, one)]
    for call in (None, ec2.stop_instances, ec2.start_instances, ec2.terminate_instances):
        if call is not None:
            call(InstanceIds=[one])
            seen.append(state(aws, one))
        aws.settle()
        seen.append(state(aws, one))
    assert seen == [
        *("pending", "running", "stopping", "stopped"),
        *("pending", "running", "shutting-down", "terminated"),
    ]


def test_as_many_are_launched_as_may_be(aws: AwsSimulated) -> None:
    launch(aws, MinCount=1, MaxCount=3)
    assert len(aws.client("ec2").describe_instances()["Reservations"][0]["Instances"]) == 3


def test_what_is_under_way_ends_by_itself(aws: AwsSimulated) -> None:
    aws.pace(0.05)
    one = launch(aws)
    aws.client("ec2").get_waiter("instance_running").wait(InstanceIds=[one], WaiterConfig={"Delay": 0.05})
    assert state(aws, one) == "running"


def test_an_instance_in_the_wrong_state_is_not_switched_or_resized(aws: AwsSimulated) -> None:
    ec2, one = aws.client("ec2"), launch(aws)
    wrong = ("IncorrectInstanceState", 400)
    assert error_of(ec2.stop_instances, InstanceIds=[one]) == wrong
    aws.settle()
    resize = {"InstanceId": one, "InstanceType": {"Value": "t3.large"}}
    assert error_of(ec2.modify_instance_attribute, **resize) == wrong
    ec2.stop_instances(InstanceIds=[one])
    assert error_of(ec2.start_instances, InstanceIds=[one]) == wrong
    aws.settle()
    ec2.modify_instance_attribute(**resize)
    assert shown(aws, one)["InstanceType"] == "t3.large"
    ec2.terminate_instances(InstanceIds=[one])
    ec2.terminate_instances(InstanceIds=[one])
    assert error_of(ec2.start_instances, InstanceIds=[one]) == wrong


def test_an_instance_has_its_image_s_disk_beside_those_asked_for(aws: AwsSimulated) -> None:
    ebs = {"VolumeSize": 20, "VolumeType": "gp3", "DeleteOnTermination": False}
    disk = {"DeviceName": "/dev/sdf", "Ebs": ebs}
    tags = [*named("instance", "web-1"), *named("volume", "web-1"), *named("network-interface", "web-1")]
    one = launched(aws, BlockDeviceMappings=[disk], TagSpecifications=tags)
    ec2 = aws.client("ec2")
    ours = [{"Name": "tag:mainstay:name", "Values": ["web-1"]}]
    volumes = {one["Attachments"][0]["Device"]: one for one in ec2.describe_volumes(Filters=ours)["Volumes"]}
    assert {name: one["Size"] for name, one in volumes.items()} == {"/dev/sda1": 8, "/dev/sdf": 20}
    assert len(ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"]) == 1
    ec2.terminate_instances(InstanceIds=[one])
    assert [one["VolumeId"] for one in ec2.describe_volumes(Filters=ours)["Volumes"]] == [
        volumes["/dev/sdf"]["VolumeId"]
    ]
    assert ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"] == []


def test_an_unknown_image_or_type_is_refused_and_leaves_nothing(aws: AwsSimulated) -> None:
    assert error_of(launch, aws=aws, ImageId="ami-0123456789abcdef0")[0] == "InvalidAMIID.NotFound"
    assert error_of(launch, aws=aws, InstanceType="t3.enormous")[0] == "InvalidInstanceType.NotFound"
    ec2 = aws.client("ec2")
    assert ec2.describe_instances()["Reservations"] == []
    assert ec2.describe_volumes()["Volumes"] == []


def test_an_address_is_one_instance_s_until_it_is_terminated(aws: AwsSimulated) -> None:
    _, subnet, _ = subnet_of(aws)
    port = {"SubnetId": subnet, "PrivateIpAddress": "10.30.1.20"}
    one = launched(aws, **port)
    assert error_of(launch, aws=aws, **port)[0] == "InvalidIPAddress.InUse"
    outside = {**port, "PrivateIpAddress": "10.31.1.20"}
    assert error_of(launch, aws=aws, **outside)[0] == "InvalidParameterValue"
    aws.client("ec2").terminate_instances(InstanceIds=[one])
    again = launch(aws, **port)
    assert shown(aws, again)["PrivateIpAddress"] == "10.30.1.20"


def test_a_network_that_is_in_use_is_not_removed(aws: AwsSimulated) -> None:
    vpc, subnet, group = subnet_of(aws)
    ec2 = aws.client("ec2")
    one = launched(aws, SubnetId=subnet, SecurityGroupIds=[group])
    in_use = ("DependencyViolation", 400)
    assert error_of(ec2.delete_subnet, SubnetId=subnet) == in_use
    assert error_of(ec2.delete_security_group, GroupId=group) == in_use
    assert error_of(ec2.delete_vpc, VpcId=vpc) == in_use
    ec2.terminate_instances(InstanceIds=[one])
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_security_group(GroupId=group)
    ec2.delete_vpc(VpcId=vpc)


def test_a_group_that_another_one_s_rule_names_is_not_removed(aws: AwsSimulated) -> None:
    vpc, _, group = subnet_of(aws)
    ec2 = aws.client("ec2")
    other = ec2.create_security_group(GroupName="db", Description="db", VpcId=vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": group}]}
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[rule])
    assert error_of(ec2.delete_security_group, GroupId=group) == ("DependencyViolation", 400)
    ec2.delete_security_group(GroupId=other)
    ec2.delete_security_group(GroupId=group)


def test_the_console_shows_one_host_key_once_the_instance_ran(aws: AwsSimulated) -> None:
    one, ec2 = launch(aws), aws.client("ec2")
    assert "Output" not in ec2.get_console_output(InstanceId=one)
    aws.settle()
    first, second = (ec2.get_console_output(InstanceId=one)["Output"] for _ in range(2))
    assert first == second
    block = first.partition("-----BEGIN SSH HOST KEY KEYS-----")[2].partition("-----END")[0]
    kind, key, comment = block.split()
    assert (kind, comment) == ("ssh-ed25519", "root@web-1")
    assert len(key) == 68


def test_the_console_shows_the_host_key_that_cloud_init_was_given(aws: AwsSimulated) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDTKAGYvgwgzvkOdDulC06quqtSM84Ay7Cx/H3rf+ffp given"
    one = launched(aws, UserData=f"#cloud-config\nssh_keys:\n  ed25519_public: {key}\n")
    assert key in aws.client("ec2").get_console_output(InstanceId=one)["Output"]


# --- disks, snapshots, images ------------------------------------------------------------------------


def disk(aws: AwsSimulated, size: int = 1) -> str:
    ec2 = aws.client("ec2")
    made = ec2.create_volume(AvailabilityZone=f"{HERE}a", Size=size)["VolumeId"]
    aws.settle()
    return str(made)


def snapshot(aws: AwsSimulated, **more: Any) -> str:
    """Make a snapshot that is complete."""
    made = aws.client("ec2").create_snapshot(VolumeId=disk(aws), **more)["SnapshotId"]
    aws.settle()
    return str(made)


def test_a_volume_is_not_attached_before_it_is_there_nor_twice(aws: AwsSimulated) -> None:
    ec2, one = aws.client("ec2"), launched(aws)
    volume = ec2.create_volume(AvailabilityZone=f"{HERE}a", Size=1)["VolumeId"]
    attach = {"InstanceId": one, "VolumeId": volume, "Device": "/dev/sdg"}
    assert ec2.describe_volumes(VolumeIds=[volume])["Volumes"][0]["State"] == "creating"
    assert error_of(ec2.attach_volume, **attach)[0] == "IncorrectState"
    aws.settle()
    ec2.attach_volume(**attach)
    assert error_of(ec2.attach_volume, **attach)[0] == "VolumeInUse"
    other = {**attach, "VolumeId": disk(aws)}
    assert error_of(ec2.attach_volume, **other)[0] == "InvalidParameterValue"


def test_a_snapshot_is_pending_first_and_keeps_the_size_of_its_moment(aws: AwsSimulated) -> None:
    ec2, volume = aws.client("ec2"), disk(aws)
    made = ec2.create_snapshot(VolumeId=volume)
    restore = {"SnapshotId": made["SnapshotId"], "AvailabilityZone": f"{HERE}a"}
    assert (made["State"], made["Progress"]) == ("pending", "0%")
    assert error_of(ec2.create_volume, **restore)[0] == "IncorrectState"
    aws.settle()
    ec2.modify_volume(VolumeId=volume, Size=9)
    found = ec2.describe_snapshots(SnapshotIds=[made["SnapshotId"]])["Snapshots"][0]
    assert (found["State"], found["Progress"], found["VolumeSize"]) == ("completed", "100%", 1)
    assert ec2.create_volume(**restore)["Size"] == 1


def test_snapshots_of_oneself_are_not_those_of_others(aws: AwsSimulated) -> None:
    ec2, one = aws.client("ec2"), snapshot(aws)
    owned = [found["SnapshotId"] for found in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]]
    assert one in owned
    assert ec2.describe_snapshots(OwnerIds=[OTHER_ACCOUNT])["Snapshots"] == []


def test_a_shared_snapshot_is_copied_to_another_account_and_region(aws: AwsSimulated) -> None:
    one, ec2 = snapshot(aws), aws.client("ec2")
    theirs = as_role(aws, "ec2", assumed(aws), THERE)
    copy = {"SourceSnapshotId": one, "SourceRegion": HERE, "TagSpecifications": named("snapshot", "copy")}
    assert error_of(theirs.copy_snapshot, **copy)[0] == "InvalidSnapshot.NotFound"
    allowed = {"Attribute": "createVolumePermission", "OperationType": "add", "UserIds": [OTHER_ACCOUNT]}
    ec2.modify_snapshot_attribute(SnapshotId=one, **allowed)
    made = theirs.copy_snapshot(**copy)["SnapshotId"]
    aws.settle()
    found = theirs.describe_snapshots(SnapshotIds=[made])["Snapshots"][0]
    assert (found["State"], found["OwnerId"]) == ("completed", OTHER_ACCOUNT)
    assert found["VolumeId"] == "vol-ffffffff"
    assert found["Tags"] == named("snapshot", "copy")[0]["Tags"]


def test_a_locked_snapshot_is_not_deleted(aws: AwsSimulated) -> None:
    one, ec2 = snapshot(aws), aws.client("ec2")
    lock = {"SnapshotId": one, "LockMode": "governance", "LockDuration": 3}
    assert ec2.lock_snapshot(**lock)["LockState"] == "governance"
    assert error_of(ec2.delete_snapshot, SnapshotId=one)[0] == "SnapshotLocked"
    locked = ec2.describe_locked_snapshots()["Snapshots"]
    assert [(found["SnapshotId"], found["LockState"], found["LockDuration"]) for found in locked] == [
        (one, "governance", 3)
    ]
    ec2.unlock_snapshot(SnapshotId=one)
    ec2.delete_snapshot(SnapshotId=one)
    assert ec2.describe_locked_snapshots()["Snapshots"] == []


def test_a_compliance_lock_is_lengthened_only(aws: AwsSimulated) -> None:
    one, ec2 = snapshot(aws), aws.client("ec2")
    lock = {"SnapshotId": one, "LockMode": "compliance"}
    assert ec2.lock_snapshot(LockDuration=10, CoolOffPeriod=1, **lock)["LockState"] == "compliance-cooloff"
    ec2.lock_snapshot(LockDuration=10, **lock)
    assert error_of(ec2.unlock_snapshot, SnapshotId=one)[0] == "SnapshotLocked"
    assert error_of(ec2.lock_snapshot, LockDuration=2, **lock)[0] == "SnapshotLocked"
    eased = {"SnapshotId": one, "LockMode": "governance", "LockDuration": 20}
    assert error_of(ec2.lock_snapshot, **eased)[0] == "SnapshotLocked"
    assert ec2.lock_snapshot(LockDuration=20, **lock)["LockDuration"] == 20
    assert error_of(ec2.delete_snapshot, SnapshotId=one)[0] == "SnapshotLocked"


def image_of(aws: AwsSimulated, name: str = "web-image") -> str:
    """Make an image of an instance with two disks."""
    extra = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 20, "VolumeType": "gp3"}}
    one = launched(aws, BlockDeviceMappings=[extra])
    tags = [*named("image", "web-1"), *named("snapshot", "web-1")]
    made = aws.client("ec2").create_image(InstanceId=one, Name=name, TagSpecifications=tags)
    return str(made["ImageId"])


def test_an_image_has_a_tagged_snapshot_of_each_disk_and_is_pending_first(aws: AwsSimulated) -> None:
    ec2, one = aws.client("ec2"), image_of(aws)
    assert error_of(launch, aws=aws, ImageId=one)[0] == "InvalidAMIID.Unavailable"
    aws.settle()
    image = ec2.describe_images(ImageIds=[one])["Images"][0]
    sizes = {one["DeviceName"]: one["Ebs"]["VolumeSize"] for one in image["BlockDeviceMappings"]}
    assert (image["State"], sizes) == ("available", {"/dev/sda1": 8, "/dev/sdf": 20})
    ours = ec2.describe_snapshots(Filters=[{"Name": "tag:mainstay:name", "Values": ["web-1"]}])["Snapshots"]
    assert {found["SnapshotId"] for found in ours} == {
        mapping["Ebs"]["SnapshotId"] for mapping in image["BlockDeviceMappings"]
    }
    assert error_of(ec2.delete_snapshot, SnapshotId=ours[0]["SnapshotId"])[0] == "InvalidSnapshot.InUse"
    ec2.deregister_image(ImageId=one)
    ec2.delete_snapshot(SnapshotId=ours[0]["SnapshotId"])


def test_a_name_is_one_image_s(aws: AwsSimulated) -> None:
    image_of(aws)
    assert error_of(image_of, aws=aws)[0] == "InvalidAMIName.Duplicate"


def test_a_copied_image_brings_all_its_disks_and_starts_there(aws: AwsSimulated) -> None:
    one, there = image_of(aws), aws.client("ec2", THERE)
    copy = {"SourceImageId": one, "SourceRegion": HERE, "Name": "copy"}
    assert error_of(there.copy_image, **copy)[0] == "InvalidAMIID.Unavailable"
    aws.settle()
    tags = [*named("image", "copy"), *named("snapshot", "copy")]
    made = there.copy_image(TagSpecifications=tags, **copy)["ImageId"]
    aws.settle()
    by_name = [{"Name": "name", "Values": ["copy"]}]
    image = there.describe_images(Owners=["self"], Filters=by_name)["Images"][0]
    assert image["ImageId"] == made
    assert image["Tags"] == named("image", "copy")[0]["Tags"]
    kept = [mapping["Ebs"]["SnapshotId"] for mapping in image["BlockDeviceMappings"]]
    tagged = there.describe_snapshots(Filters=[{"Name": "tag:mainstay:name", "Values": ["copy"]}])
    assert {found["SnapshotId"] for found in tagged["Snapshots"]} == set(kept)
    started = there.run_instances(ImageId=made, MinCount=1, MaxCount=1, InstanceType="t3.medium")
    ids = [started["Instances"][0]["InstanceId"]]
    devices = there.describe_instances(InstanceIds=ids)["Reservations"][0]["Instances"][0]
    assert {one["DeviceName"] for one in devices["BlockDeviceMappings"]} == {"/dev/sda1", "/dev/sdf"}


def test_an_image_is_there_by_name_in_each_region_under_an_id_that_never_changes(aws: AwsSimulated) -> None:
    before = aws.image(), aws.image(region=THERE)
    aws.reset()
    assert (aws.image(), aws.image(region=THERE)) == before
    assert before[0] != before[1]


def test_many_snapshots_are_shown_by_the_page_once_each(aws: AwsSimulated) -> None:
    ec2, one = aws.client("ec2", max_pool_connections=4), launched(aws)
    made = {
        done["SnapshotId"]
        for _ in range(45)
        for done in ec2.create_snapshots(InstanceSpecification={"InstanceId": one})["Snapshots"]
    }
    filters = [{"Name": "volume-size", "Values": ["8"]}, {"Name": "status", "Values": ["pending"]}]
    pages = list(
        ec2.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=filters, PaginationConfig={"PageSize": 20}
        )
    )
    found = [one["SnapshotId"] for page in pages for one in page["Snapshots"]]
    assert ([len(page["Snapshots"]) for page in pages], len(found)) == ([20, 20, 5], 45)
    assert set(found) == made
    assert error_of(ec2.describe_snapshots, NextToken="page-0")[0] == "InvalidParameterValue"
