"""An account of the simulated AWS where no control holds, and how people mend what is theirs to mend."""

import json
from collections.abc import Mapping
from typing import Any

from tests.programs.simulators import ACCOUNT, REGIONS, AwsSimulated

EAST, WEST = REGIONS
STALE_DAYS = 80
ALL = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
TRAIL = f"arn:aws:cloudtrail:{EAST}:{ACCOUNT}:trail/main"
GROUP = f"arn:aws:logs:{EAST}:{ACCOUNT}:log-group:trail"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/logs"
DATABASE = f"arn:aws:rds:{EAST}:{ACCOUNT}:db:portal"
POLICY = f"arn:aws:iam::{ACCOUNT}:policy/everything"
BUCKET = "photos"


def plant(aws: AwsSimulated) -> Mapping[str, str]:
    """Make an account where every control fails; give the names of what it made that AWS named."""
    _empty_default_groups(aws)
    return {**_plant_people(aws), **_plant_servers(aws), **_plant_stores(aws), **_plant_records(aws)}


def mend(aws: AwsSimulated) -> None:
    """Do what no program does: root, second factors, policies, locked copies."""
    iam = aws.client("iam")
    aws.plant(root={"AccountAccessKeysPresent": 0, "AccountMFAEnabled": 1})
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="bob")["VirtualMFADevice"]["SerialNumber"]
    codes = {"AuthenticationCode1": "123456", "AuthenticationCode2": "654321"}
    iam.enable_mfa_device(UserName="bob", SerialNumber=device, **codes)
    iam.detach_user_policy(UserName="bob", PolicyArn=POLICY)
    backup = aws.client("backup")
    backup.put_backup_vault_lock_configuration(BackupVaultName="main", MinRetentionDays=30)
    aws.client("backup", WEST).create_backup_vault(BackupVaultName="copies")
    (point,) = backup.list_recovery_points_by_backup_vault(BackupVaultName="main")["RecoveryPoints"]
    backup.start_copy_job(
        RecoveryPointArn=point["RecoveryPointArn"],
        SourceBackupVaultName="main",
        DestinationBackupVaultArn=f"arn:aws:backup:{WEST}:{ACCOUNT}:backup-vault:copies",
        IamRoleArn=ROLE,
    )


def s3(aws: AwsSimulated) -> Any:
    return aws.client("s3", s3={"addressing_style": "path"})


def _empty_default_groups(aws: AwsSimulated) -> None:
    for region in REGIONS:
        ec2 = aws.client("ec2", region)
        for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]:
            ec2.revoke_security_group_egress(
                GroupId=rule["GroupId"], SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]]
            )


def _plant_people(aws: AwsSimulated) -> dict[str, str]:
    """One who is gone for long and has a key; one without a second factor, who may do everything."""
    iam = aws.client("iam")
    for name in ("ana", "bob"):
        iam.create_user(UserName=name)
        iam.create_login_profile(UserName=name, Password="a long one for tests 1A")
    key = str(iam.create_access_key(UserName="ana")["AccessKey"]["AccessKeyId"])
    aws.plant(
        logins={"ana": STALE_DAYS, "bob": 1}, keys={key: STALE_DAYS}, root={"AccountAccessKeysPresent": 1}
    )
    iam.create_policy(PolicyName="everything", PolicyDocument=json.dumps(ALL))
    iam.attach_user_policy(UserName="bob", PolicyArn=POLICY)
    return {"key": key}


def _plant_servers(aws: AwsSimulated) -> dict[str, str]:
    ec2 = aws.client("ec2")
    vpc = str(ec2.describe_vpcs()["Vpcs"][0]["VpcId"])
    group = str(ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"])
    source = {"CidrIp": "0.0.0.0/0", "Description": "until the move"}
    ports = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [source]}
    web = {**ports, "FromPort": 443, "ToPort": 443}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ports, web])
    made = ec2.run_instances(ImageId=aws.image(), MinCount=1, MaxCount=1, InstanceType="t3.micro")
    server = str(made["Instances"][0]["InstanceId"])
    return {"vpc": vpc, "group": group, "server": server}


def _plant_stores(aws: AwsSimulated) -> dict[str, str]:
    """A bucket without a policy, a database that the world reaches, copies of it and a disk for all."""
    s3(aws).create_bucket(Bucket=BUCKET)
    rds = aws.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="portal",
        DBInstanceClass="db.t3.small",
        Engine="postgres",
        MasterUsername="portal",
        MasterUserPassword="a long one for tests",
        AllocatedStorage=20,
        StorageEncrypted=True,
        PubliclyAccessible=True,
    )
    aws.settle()
    rds.create_db_snapshot(DBInstanceIdentifier="portal", DBSnapshotIdentifier="given-away")
    aws.settle()
    rds.modify_db_snapshot_attribute(
        DBSnapshotIdentifier="given-away", AttributeName="restore", ValuesToAdd=["all", "210987654321"]
    )
    ec2 = aws.client("ec2")
    disk = ec2.create_volume(AvailabilityZone=f"{EAST}a", Size=1)["VolumeId"]
    aws.settle()
    snapshot = str(ec2.create_snapshot(VolumeId=disk)["SnapshotId"])
    aws.settle()
    shared = {"Attribute": "createVolumePermission", "OperationType": "add"}
    ec2.modify_snapshot_attribute(SnapshotId=snapshot, GroupNames=["all"], **shared)
    return {"snapshot": snapshot}


def _plant_records(aws: AwsSimulated) -> dict[str, str]:
    """A trail that stands still, logs of one network of two, kept for a month, and one unlocked backup."""
    ec2, logs = aws.client("ec2"), aws.client("logs")
    aws.client("iam").create_role(RoleName="logs", AssumeRolePolicyDocument=json.dumps({"Statement": []}))
    logs.create_log_group(logGroupName="trail")
    logs.put_retention_policy(logGroupName="trail", retentionInDays=30)
    aws.client("cloudtrail").create_trail(
        Name="main",
        S3BucketName=BUCKET,
        IsMultiRegionTrail=True,
        KmsKeyId=f"arn:aws:kms:{EAST}:{ACCOUNT}:key/trail",
        CloudWatchLogsLogGroupArn=f"{GROUP}:*",
        CloudWatchLogsRoleArn=ROLE,
    )
    logged = str(ec2.describe_vpcs()["Vpcs"][0]["VpcId"])
    ec2.create_flow_logs(
        ResourceIds=[logged],
        ResourceType="VPC",
        TrafficType="ALL",
        LogDestinationType="s3",
        LogDestination=f"arn:aws:s3:::{BUCKET}",
    )
    backup = aws.client("backup")
    backup.create_backup_vault(BackupVaultName="main")
    backup.start_backup_job(BackupVaultName="main", ResourceArn=DATABASE, IamRoleArn=ROLE)
    quiet = str(aws.client("ec2", WEST).describe_vpcs()["Vpcs"][0]["VpcId"])
    return {"quiet": quiet}
