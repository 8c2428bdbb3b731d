"""The IAM policy that `provision.permissions` prints for servers, tried: a life with it and nothing else."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from automation.adapters.aws import list_kept, look
from automation.adapters.aws.session import forget_sessions
from automation.commands._permissions import permissions_of
from automation.engine import dispatch
from automation.model.actions import (
    Action,
    AdoptInstance,
    ChangeInstance,
    ChangeSubnet,
    CreateInstance,
    CreateSubnet,
    DeleteKept,
    DeleteSubnet,
    StopInstance,
    TerminateInstance,
)
from automation.model.errors import AdapterError
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Outcome
from tests.programs.aws_asked import error_of
from tests.programs.aws_city import SITE, environment_of, make_login, marked, network, server, step_of
from tests.programs.simulators import ACCOUNT, AwsSimulated

pytestmark = pytest.mark.lab
LOGIN = {"login": {"file": "secrets/mainstay"}}
DISK = {"name": "data", "size": "10 GiB"}
ADMIN = network("admin", cidr="10.20.2.0/24")
CHANGES = ("size", "disks", "networks", "tags")
MORE = server(
    "web-1",
    size={"type": "t3.medium"},
    disks=({**DISK, "size": "20 GiB"}, {"name": "wal", "size": "5 GiB"}),
    networks=("web", "admin"),
    tags={"team": "portal"},
)
# What making a network and a server needs beyond reading, in its order.
MAKING = {
    "aws.create_network": (
        "ec2:CreateVpc",
        "ec2:CreateTags",
        "ec2:CreateSubnet",
        "ec2:CreateSecurityGroup",
        "ec2:AuthorizeSecurityGroupIngress",
    ),
    "aws.create_instance": ("ec2:RunInstances",),
}
# What is needed where an answer was lost, somebody changed something, or a host tells its key.
NOT_MET = {
    "ec2:DeleteRoute",
    "ec2:GetConsoleOutput",
    "ec2:ReplaceRouteTableAssociation",
}


@pytest.fixture
def city(aws: AwsSimulated) -> Iterator[AwsSimulated]:
    """A region, and a user of it to whom the printed policy is attached."""
    make_login(aws.state)
    forget_sessions()
    allow(aws, printed(aws))
    aws.needed()
    yield aws
    forget_sessions()


def allow(aws: AwsSimulated, document: object) -> None:
    """Make a user with a policy, and the login that the environment names."""
    iam = aws.client("iam")
    iam.create_user(UserName="mainstay")
    made = iam.create_policy(PolicyName="mainstay", PolicyDocument=json.dumps(document))["Policy"]
    iam.attach_user_policy(UserName="mainstay", PolicyArn=made["Arn"])
    key = iam.create_access_key(UserName="mainstay")["AccessKey"]
    lines = f"AWS_ACCESS_KEY_ID={key['AccessKeyId']}\nAWS_SECRET_ACCESS_KEY={key['SecretAccessKey']}\n"
    (aws.state / "secrets/mainstay").write_text(lines)


def perform(aws: AwsSimulated, action: Action) -> Outcome:
    return dispatch.perform(action, step_of(aws, step=str(getattr(action, "host", "network")), **LOGIN))


def id_of(outcome: Outcome, part: str = "server") -> str:
    assert isinstance(outcome.evidence, ProviderChange)
    return outcome.evidence.ids[part]


@contextmanager
def without(aws: AwsSimulated, action: str) -> Iterator[None]:
    """Take one action out of the user's policy, until the end of the block."""
    iam, arn = aws.client("iam"), f"arn:aws:iam::{ACCOUNT}:policy/mainstay"
    document = printed(aws)
    for statement in document["Statement"]:
        statement["Action"] = [one for one in statement["Action"] if one != action]
    document["Statement"] = [one for one in document["Statement"] if one["Action"]]
    made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(document), SetAsDefault=True)[
        "PolicyVersion"
    ]
    try:
        yield
    finally:
        iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
        iam.delete_policy_version(PolicyArn=arn, VersionId=made["VersionId"])


def printed(aws: AwsSimulated) -> Any:
    return json.loads(permissions_of(environment_of(aws), "aws", "provisioning"))


def live(aws: AwsSimulated) -> None:
    """Make networks and servers, change them, adopt one, and let all of it go."""
    isolated = network("far", cidr="10.77.2.0/24", isolated=True, rules=())
    made = {one.name: perform(aws, CreateSubnet(network=one)) for one in (network(), ADMIN, isolated)}
    rules = ({"protocol": "tcp", "ports": "80", "from": "10.0.0.0/8"},)
    perform(aws, ChangeSubnet(network=network(rules=rules), changes=("rules",)))
    web = perform(aws, CreateInstance(host="web-1", site=SITE, spec=server("web-1", disks=(DISK,))))
    change = ChangeInstance(host="web-1", site=SITE, spec=MORE, changes=CHANGES, restart=True)
    perform(aws, change)
    less = MORE.model_copy(update={"networks": ("web",), "tags": {}})
    perform(aws, change.model_copy(update={"spec": less}))
    perform(aws, StopInstance(host="web-1", site=SITE))
    perform(aws, TerminateInstance(host="web-1", site=SITE, id=id_of(web), keep_snapshot=True))
    end_one_kept(aws)
    stranger = make_stranger(aws)
    perform(aws, AdoptInstance(host="old", site=SITE, id=stranger))
    perform(aws, StopInstance(host="old", site=SITE))
    perform(aws, TerminateInstance(host="old", site=SITE, id=stranger, keep_snapshot=False))
    for name in reversed(made):
        perform(aws, DeleteSubnet(name=name, site=SITE, id=id_of(made[name], "subnet")))


def end_one_kept(aws: AwsSimulated) -> None:
    """Let the days of one snapshot be over, and delete it; there is a launch template to be looked at."""
    ec2, environment = aws.client("ec2"), environment_of(aws, **LOGIN)
    ec2.create_launch_template(LaunchTemplateName="web", LaunchTemplateData={"ImageId": aws.image()})
    first = list_kept(environment, SITE, aws.state)[0]
    ec2.create_tags(Resources=[first.id], Tags=[{"Key": "mainstay:until", "Value": "2026-01-31"}])
    over = [one for one in list_kept(environment, SITE, aws.state) if one.id == first.id]
    perform(aws, DeleteKept(host="web-1", site=SITE, snapshots=tuple(over)))


def make_stranger(aws: AwsSimulated) -> str:
    """An instance that somebody else made."""
    wanted = {"ImageId": aws.image(), "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small"}
    instance = aws.client("ec2").run_instances(**wanted)["Instances"][0]["InstanceId"]
    aws.settle()
    return str(instance)


def test_a_life_of_servers_passes_with_what_is_printed_and_needs_nearly_all_of_it(
    city: AwsSimulated,
) -> None:
    look(environment_of(city, **LOGIN), SITE, city.state, [server("web-1")], [network()])
    live(city)
    allowed = {one for statement in printed(city)["Statement"] for one in statement["Action"]}
    assert allowed - {*city.needed()} == NOT_MET
    left = marked(city.client("ec2"))
    assert {kind for kind, ids in left.items() if ids} == {"snapshot"}


def test_each_permission_that_is_missing_is_named_and_leaves_nothing_unaccounted(city: AwsSimulated) -> None:
    spec = server("web-1", disks=(DISK,))
    steps = [CreateSubnet(network=network()), CreateInstance(host="web-1", site=SITE, spec=spec)]
    for step in steps:
        for action in MAKING[step.do]:
            with without(city, action), pytest.raises(AdapterError) as error:
                perform(city, step)
            said = str(error.value)
            assert f"user/mainstay is not authorized to perform: {action} on resource: arn:aws:ec2:" in said
            assert "nothing was changed by this call" in said
            assert len(marked(city.client("ec2"))["server"]) == 0
        perform(city, step)
    assert {kind: len(ids) for kind, ids in marked(city.client("ec2")).items()}["server"] == 1


def test_what_bears_no_mark_of_ours_is_not_touched_even_by_mistake(city: AwsSimulated) -> None:
    client = city.client("ec2", login="mainstay")
    other = make_stranger(city)
    for call in (client.stop_instances, client.terminate_instances):
        assert error_of(call, InstanceIds=[other]) == ("UnauthorizedOperation", 403)
    shown = city.client("ec2").describe_instances(InstanceIds=[other])["Reservations"][0]["Instances"][0]
    assert shown["State"]["Name"] == "running"
