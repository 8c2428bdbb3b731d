"""What tests of the simulated AWS ask it: instances that are launched, errors that calls end with."""

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.programs.simulators import REGIONS, AwsSimulated

FOR_EVER_S = 3600.0
HERE, THERE = REGIONS
OTHER_ACCOUNT = "210987654321"


def error_of(call: Callable[..., Any], **arguments: Any) -> tuple[str, int]:
    """Give the code and the status of the error that a call ends with."""
    with pytest.raises(ClientError) as told:
        call(**arguments)
    answer = told.value.response
    return str(answer["Error"]["Code"]), int(answer["ResponseMetadata"]["HTTPStatusCode"])


def named(kind: str, name: str) -> list[dict[str, Any]]:
    """Give the tags of a call that makes something, with our name in them."""
    return [{"ResourceType": kind, "Tags": [{"Key": "mainstay:name", "Value": name}]}]


def launch(aws: AwsSimulated, name: str = "web-1", **more: Any) -> str:
    """Launch an instance that is `pending`, and give its id."""
    request = {"ImageId": aws.image(), "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.medium"}
    request |= {"TagSpecifications": named("instance", name)}
    made = aws.client("ec2").run_instances(**{**request, **more})
    return str(made["Instances"][0]["InstanceId"])


def launched(aws: AwsSimulated, name: str = "web-1", **more: Any) -> str:
    """Launch an instance and let it run."""
    made = launch(aws, name, **more)
    aws.settle()
    return made


def shown(aws: AwsSimulated, instance: str) -> dict[str, Any]:
    """Give an instance as it is described."""
    found = aws.client("ec2").describe_instances(InstanceIds=[instance])["Reservations"]
    return dict(found[0]["Instances"][0])


def state(aws: AwsSimulated, instance: str) -> str:
    """Give the state of an instance by its name."""
    return str(shown(aws, instance)["State"]["Name"])


def assumed(aws: AwsSimulated) -> dict[str, Any]:
    """Assume a role in another account."""
    role = f"arn:aws:iam::{OTHER_ACCOUNT}:role/mainstay"
    return dict(aws.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"])


def as_role(aws: AwsSimulated, service: str, credentials: dict[str, Any], region: str = HERE) -> Any:
    """Give a boto3 client that acts as an assumed role."""
    return boto3.session.Session().client(
        service,
        region_name=region,
        endpoint_url=aws.endpoint,
        verify=str(aws.ca),
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def subnet_of(aws: AwsSimulated, cidr: str = "10.30.1.0/24") -> tuple[str, str, str]:
    """Make a VPC, a subnet and a security group; give their ids."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.30.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=cidr)["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc)["GroupId"]
    return vpc, subnet, group
