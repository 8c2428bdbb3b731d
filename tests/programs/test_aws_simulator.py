"""The simulated AWS, asked by real boto3 clients: who asks, client tokens, and faults that a test orders."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.auth
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError, SSLError

from tests.programs.aws_asked import (
    FOR_EVER_S,
    HERE,
    OTHER_ACCOUNT,
    THERE,
    as_role,
    assumed,
    error_of,
    launch,
)
from tests.programs.simulators import ACCOUNT, AwsSimulated


@pytest.fixture(autouse=True)
def slow(aws: AwsSimulated) -> None:
    """Nothing changes by itself: a test lets it, by `settle`."""
    aws.pace(FOR_EVER_S)


# --- who asks ----------------------------------------------------------------------------------------


def client_of(aws: AwsSimulated, service: str, key: str, secret: str) -> Any:
    return boto3.session.Session().client(
        service,
        region_name=HERE,
        endpoint_url=aws.endpoint,
        verify=str(aws.ca),
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.mark.parametrize(
    ("service", "call", "unknown", "wrong"),
    [
        ("ec2", "describe_instances", ("AuthFailure", 401), ("AuthFailure", 401)),
        ("rds", "describe_db_instances", ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403)),
        ("route53", "list_hosted_zones", ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403)),
        ("sts", "get_caller_identity", ("InvalidClientTokenId", 403), ("SignatureDoesNotMatch", 403)),
    ],
)
def test_a_login_that_is_wrong_is_refused_in_the_service_s_own_words(
    aws: AwsSimulated, service: str, call: str, unknown: tuple[str, int], wrong: tuple[str, int]
) -> None:
    lines = dict(line.split("=", 1) for line in aws.login_file().read_text().split())
    nobody = client_of(aws, service, "AKIAIOSFODNN7NOBODY1", "secret")
    assert error_of(getattr(nobody, call)) == unknown
    impostor = client_of(aws, service, lines["AWS_ACCESS_KEY_ID"], "guessed")
    assert error_of(getattr(impostor, call)) == wrong
    getattr(aws.client(service), call)()


def test_a_region_that_is_not_enabled_is_refused(aws: AwsSimulated) -> None:
    assert error_of(aws.client("ec2", "eu-west-1").describe_instances) == ("AuthFailure", 401)


@pytest.mark.parametrize(
    ("service", "call", "error"),
    [
        ("ec2", "describe_instances", ("RequestExpired", 400)),
        ("rds", "describe_db_instances", ("SignatureDoesNotMatch", 403)),
    ],
)
@pytest.mark.parametrize("ahead", [timedelta(minutes=-6), timedelta(minutes=6)], ids=["behind", "ahead"])
def test_a_client_whose_clock_is_wrong_is_refused(
    aws: AwsSimulated,
    monkeypatch: pytest.MonkeyPatch,
    ahead: timedelta,
    service: str,
    call: str,
    error: tuple[str, int],
) -> None:
    wrong = datetime.now(UTC) + ahead
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: wrong.replace(tzinfo=None))
    assert error_of(getattr(aws.client(service), call)) == error


def test_a_client_that_trusts_another_authority_does_not_connect(aws: AwsSimulated) -> None:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    plain = boto3.client("ec2", HERE, endpoint_url=aws.endpoint, **keys)
    with pytest.raises(SSLError):
        plain.describe_instances()


def test_each_login_is_told_who_it_is(aws: AwsSimulated) -> None:
    told = aws.client("sts", login="other").get_caller_identity()
    assert (told["Account"], told["Arn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/other")


def test_an_assumed_role_acts_in_its_own_account(aws: AwsSimulated) -> None:
    credentials = assumed(aws)
    assert as_role(aws, "sts", credentials).get_caller_identity()["Account"] == OTHER_ACCOUNT
    launch(aws)
    assert as_role(aws, "ec2", credentials).describe_instances()["Reservations"] == []
    forged = credentials | {"SessionToken": "another"}
    assert error_of(as_role(aws, "rds", forged).describe_db_instances) == ("InvalidClientTokenId", 403)


# --- client tokens -----------------------------------------------------------------------------------


def test_the_same_launch_under_one_token_is_one_instance(aws: AwsSimulated) -> None:
    first, second = (launch(aws, ClientToken="run-1") for _ in range(2))
    assert first == second
    assert len(aws.client("ec2").describe_instances()["Reservations"]) == 1


def test_another_launch_under_the_token_is_refused(aws: AwsSimulated) -> None:
    launch(aws, ClientToken="run-1")
    assert error_of(launch, aws=aws, ClientToken="run-1", InstanceType="t3.large") == (
        "IdempotentParameterMismatch",
        400,
    )


def test_a_token_is_of_one_region(aws: AwsSimulated) -> None:
    launch(aws, ClientToken="run-1")
    there = {"ImageId": aws.image(region=THERE), "MinCount": 1, "MaxCount": 1, "ClientToken": "run-1"}
    assert aws.client("ec2", THERE).run_instances(InstanceType="t3.medium", **there)["Instances"]


def test_the_token_of_a_terminated_instance_is_refused(aws: AwsSimulated) -> None:
    gone = launch(aws, ClientToken="run-1")
    aws.client("ec2").terminate_instances(InstanceIds=[gone])
    assert error_of(launch, aws=aws, ClientToken="run-1") == ("IdempotentInstanceTerminated", 400)


def test_one_token_makes_one_volume_and_one_copy_of_an_image(aws: AwsSimulated) -> None:
    ec2 = aws.client("ec2")
    volume = {"AvailabilityZone": f"{HERE}a", "Size": 1, "ClientToken": "disk"}
    assert ec2.create_volume(**volume)["VolumeId"] == ec2.create_volume(**volume)["VolumeId"]
    copy = {"SourceImageId": aws.image(), "SourceRegion": HERE, "Name": "copy", "ClientToken": "copy"}
    there = aws.client("ec2", THERE)
    assert there.copy_image(**copy)["ImageId"] == there.copy_image(**copy)["ImageId"]


def test_two_at_once_under_one_token_are_one(aws: AwsSimulated) -> None:
    made: list[str] = []
    image = aws.image()
    threads = [
        threading.Thread(target=lambda: made.append(launch(aws, ImageId=image, ClientToken="both")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1


# --- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("throttle", ("RequestLimitExceeded", 503)),
        ("capacity", ("InsufficientInstanceCapacity", 500)),
        ("500", ("InternalError", 500)),
        ("503", ("Unavailable", 503)),
        ("denied", ("UnauthorizedOperation", 403)),
        ("expired", ("RequestExpired", 400)),
    ],
)
def test_an_error_that_is_ordered_is_that_of_ec2_and_nothing_is_made(
    aws: AwsSimulated, mode: str, error: tuple[str, int]
) -> None:
    image = aws.image()
    aws.faults({"mode": mode, "service": "ec2", "action": "RunInstances"})
    assert error_of(launch, aws=aws, ImageId=image) == error
    assert aws.client("ec2").describe_instances()["Reservations"] == []
    launch(aws)


@pytest.mark.parametrize(
    ("mode", "service", "call", "error"),
    [
        ("throttle", "rds", "describe_db_instances", ("Throttling", 400)),
        ("throttle", "route53", "list_hosted_zones", ("Throttling", 400)),
        ("denied", "rds", "describe_db_instances", ("AccessDenied", 403)),
        ("expired", "rds", "describe_db_instances", ("ExpiredToken", 403)),
        ("500", "route53", "list_hosted_zones", ("InternalFailure", 500)),
    ],
)
def test_other_services_have_words_of_their_own(
    aws: AwsSimulated, mode: str, service: str, call: str, error: tuple[str, int]
) -> None:
    aws.faults({"mode": mode, "service": service})
    assert error_of(getattr(aws.client(service), call)) == error


def test_denied_to_json_is_named_as_json_services_do(aws: AwsSimulated) -> None:
    aws.faults({"mode": "denied", "service": "servicequotas"})
    quotas = aws.client("service-quotas")
    assert error_of(quotas.list_service_quotas, ServiceCode="ec2") == ("AccessDeniedException", 400)


def test_an_answer_that_was_lost_leaves_what_was_done(aws: AwsSimulated) -> None:
    aws.faults({"mode": "applied-then-500", "action": "RunInstances"})
    assert error_of(launch, aws=aws, ClientToken="run-1") == ("InternalError", 500)
    again = launch(aws, ClientToken="run-1")
    found = aws.client("ec2").describe_instances()["Reservations"]
    assert [one["Instances"][0]["InstanceId"] for one in found] == [again]


def test_botocore_s_own_second_try_finds_what_the_lost_one_made(aws: AwsSimulated) -> None:
    aws.faults({"mode": "applied-then-drop", "action": "RunInstances"})
    patient = aws.client("ec2", retries={"total_max_attempts": 3, "mode": "standard"})
    patient.run_instances(ImageId=aws.image(), MinCount=1, MaxCount=1, InstanceType="t3.medium")
    assert aws.calls()["ec2.RunInstances"] == 2
    assert len(patient.describe_instances()["Reservations"]) == 1


def test_a_dropped_connection_did_nothing(aws: AwsSimulated) -> None:
    image = aws.image()
    aws.faults({"mode": "drop", "action": "RunInstances"})
    with pytest.raises(ConnectionClosedError):
        launch(aws, ImageId=image)
    assert aws.client("ec2").describe_instances()["Reservations"] == []


def test_latency_outlasts_a_client_s_patience(aws: AwsSimulated) -> None:
    aws.faults({"mode": "latency", "action": "DescribeVpcs", "seconds": 1.0})
    with pytest.raises(ReadTimeoutError):
        aws.client("ec2", read_timeout=0.3).describe_vpcs()
    assert aws.client("ec2").describe_vpcs()["Vpcs"]


def test_a_shifted_clock_stands_in_the_answer_s_date(aws: AwsSimulated) -> None:
    aws.faults({"mode": "skew", "seconds": -900})
    told = aws.client("ec2").describe_vpcs()["ResponseMetadata"]["HTTPHeaders"]["date"]
    at = datetime.strptime(told, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    assert timedelta(minutes=14) < datetime.now(UTC) - at < timedelta(minutes=16)


def test_a_fault_may_let_some_calls_pass_and_meet_only_one_login_and_region(aws: AwsSimulated) -> None:
    rule = {"mode": "throttle", "action": "DescribeVpcs", "region": HERE, "login": "other"}
    aws.faults({**rule, "after": 1, "times": 2})
    other = aws.client("ec2", login="other")
    aws.client("ec2").describe_vpcs()
    aws.client("ec2", THERE, login="other").describe_vpcs()
    other.describe_vpcs()
    assert [error_of(other.describe_vpcs)[0] for _ in range(2)] == ["RequestLimitExceeded"] * 2
    other.describe_vpcs()


def test_a_fault_for_a_time_meets_every_call_until_it_is_over(aws: AwsSimulated) -> None:
    aws.faults({"mode": "throttle", "action": "DescribeVpcs", "seconds": 1.5})
    ec2 = aws.client("ec2")
    errors = [error_of(ec2.describe_vpcs)[0] for _ in range(3)]
    assert errors == ["RequestLimitExceeded"] * 3
    aws.client("ec2", retries={"total_max_attempts": 12, "mode": "standard"}).describe_vpcs()


def test_a_rule_of_an_unknown_mode_is_refused(aws: AwsSimulated) -> None:
    with pytest.raises(AssertionError, match="none of throttle"):
        aws.faults({"mode": "earthquake"})


def test_calls_are_counted_by_name(aws: AwsSimulated) -> None:
    aws.client("ec2").describe_vpcs()
    aws.client("route53").list_hosted_zones()
    aws.client("service-quotas").list_service_quotas(ServiceCode="ec2")
    wanted = {"ec2.DescribeVpcs": 1, "route53.ListHostedZones": 1, "servicequotas.ListServiceQuotas": 1}
    assert aws.calls() == wanted
    aws.forget_calls()
    assert aws.calls() == {}


@pytest.mark.parametrize(
    "call",
    [
        ("create_volume", {"AvailabilityZone": f"{HERE}a", "Size": 1}),
        ("create_vpc", {"CidrBlock": "10.0.0.0/16"}),
        ("create_snapshot", {"VolumeId": "vol-0123456789abcdef0"}),
        ("create_tags", {"Resources": ["i-0123456789abcdef0"], "Tags": []}),
        ("modify_volume", {"VolumeId": "vol-0123456789abcdef0", "Size": 2}),
    ],
    ids=lambda call: call[0],
)
def test_a_dry_run_makes_nothing_and_says_whether_it_may(
    aws: AwsSimulated, call: tuple[str, dict[str, Any]]
) -> None:
    ec2 = aws.client("ec2")
    before = len(ec2.describe_volumes()["Volumes"]), len(ec2.describe_vpcs()["Vpcs"])
    name, arguments = call
    assert error_of(getattr(ec2, name), DryRun=True, **arguments) == ("DryRunOperation", 412)
    aws.faults({"mode": "denied", "times": None})
    assert error_of(getattr(ec2, name), DryRun=True, **arguments) == ("UnauthorizedOperation", 403)
    aws.no_faults()
    assert (len(ec2.describe_volumes()["Volumes"]), len(ec2.describe_vpcs()["Vpcs"])) == before
