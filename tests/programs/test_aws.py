"""Servers and networks at AWS, against the simulated one: once, found again, and nobody else's touched."""

import os
import random
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from automation.adapters import aws as adapter
from automation.adapters.aws import list_kept
from automation.adapters.aws.session import forget_sessions
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
    LearnInstanceKey,
    StartInstance,
    StopInstance,
    TerminateInstance,
)
from automation.model.environment import Inventory
from automation.model.errors import AdapterError
from automation.model.machine_evidence import HostKeyLearned, ProviderChange
from automation.model.records import Context, Outcome
from automation.model.servers import Disk, FoundServer, NetworkSpec, ProviderView, ServerSpec
from automation.provisioning.decisions import compare
from tests.programs.aws_city import (
    SITE,
    environment_of,
    make_login,
    marked,
    network,
    server,
    step_of,
)
from tests.programs.simulators import AwsSimulated, free_port, make_keys

pytestmark = pytest.mark.lab
FAULT_RUNS = int(os.environ.get("MAINSTAY_FAULT_RUNS", "3"))
DISK = {"name": "data", "size": "10 GiB"}
LOSSES = ("applied-then-500", "applied-then-drop", "500", "drop")


@pytest.fixture
def city(aws: AwsSimulated) -> Iterator[AwsSimulated]:
    """A region with nothing in it, by sessions that no test before has slowed down."""
    make_login(aws.state)
    forget_sessions()
    yield aws
    (aws.state / "known_hosts").unlink(missing_ok=True)


def look(
    aws: AwsSimulated, *servers: ServerSpec, networks: Sequence[NetworkSpec] = (), **provider: object
) -> ProviderView:
    return adapter.look(environment_of(aws, **cast("Any", provider)), SITE, aws.state, servers, networks)


def found(aws: AwsSimulated, name: str) -> FoundServer:
    (one,) = [one for one in look(aws).servers if one.name == name]
    return one


def create(spec: ServerSpec, **more: Any) -> CreateInstance:
    return CreateInstance(host=spec.name, site=SITE, spec=spec, **more)


def change(spec: ServerSpec, *changes: str, restart: bool = False) -> ChangeInstance:
    return ChangeInstance(host=spec.name, site=SITE, spec=spec, changes=changes, restart=restart)


def perform(aws: AwsSimulated, action: Action, **more: Any) -> Outcome:
    return dispatch.perform(action, step_of(aws, step=str(getattr(action, "host", "network")), **more))


def change_of(outcome: Outcome) -> ProviderChange:
    assert isinstance(outcome.evidence, ProviderChange)
    return outcome.evidence


def make_city(aws: AwsSimulated, *specs: ServerSpec) -> list[Outcome]:
    perform(aws, CreateSubnet(network=network()))
    return [perform(aws, create(spec)) for spec in specs]


def stranger(aws: AwsSimulated, tags: Mapping[str, str]) -> str:
    """An instance that somebody else made."""
    client = aws.client("ec2")
    shown = [{"Key": key, "Value": value} for key, value in tags.items()]
    marks = [{"ResourceType": "instance", "Tags": shown}] if shown else []
    made = client.run_instances(ImageId=aws.image(), MinCount=1, MaxCount=1, TagSpecifications=marks)
    instance_id = str(made["Instances"][0]["InstanceId"])
    client.get_waiter("instance_running").wait(InstanceIds=[instance_id], WaiterConfig={"Delay": 1})
    return instance_id


# --- making ------------------------------------------------------------------------------------------


def test_a_server_is_made_with_its_parts_and_a_second_time_found(city: AwsSimulated) -> None:
    spec = server("web-1", disks=(DISK,), address="10.20.1.20", tags={"team": "portal"})
    (made,) = make_city(city, spec)
    ids = change_of(made).ids
    assert (made.changed, change_of(made).verb, change_of(made).source) == (True, "created", "simulated")
    assert set(ids) == {"server", "disk:system", "disk:data", "address:eth0"}
    again = perform(city, create(spec), run="another")
    assert (again.changed, change_of(again).verb, change_of(again).ids) == (False, "found", ids)
    there = marked(city.client("ec2"))
    assert there["server"] == {ids["server"]}
    assert there["disk"] == {ids["disk:system"], ids["disk:data"]}


def test_a_server_is_shown_as_it_was_declared(city: AwsSimulated) -> None:
    spec = server("web-1", disks=(DISK,), address="10.20.1.20", tags={"team": "portal"})
    make_city(city, spec)
    seen = found(city, "web-1")
    assert (seen.owner, seen.power, seen.image, seen.size) == ("city", "on", "", spec.size)
    assert (seen.networks, seen.addresses, seen.tags) == (spec.networks, ("10.20.1.20",), {"team": "portal"})
    assert [(one.name, one.size_bytes) for one in seen.disks if one.name] == [("data", 10 * 2**30)]


def test_what_is_made_is_encrypted_and_gives_its_credentials_to_no_stranger(city: AwsSimulated) -> None:
    make_city(city, server("web-1", disks=(DISK,)))
    client = city.client("ec2")
    (reservation,) = client.describe_instances()["Reservations"]
    assert reservation["Instances"][0]["MetadataOptions"]["HttpTokens"] == "required"
    assert {one["Encrypted"] for one in client.describe_volumes()["Volumes"]} == {True}


def test_a_server_may_be_made_and_left_standing(city: AwsSimulated) -> None:
    perform(city, CreateSubnet(network=network()))
    perform(city, create(server("web-1"), power_on=False))
    assert found(city, "web-1").power == "off"


def test_two_environments_share_an_account_and_not_a_server(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    for action in (CreateSubnet(network=network(cidr="10.30.1.0/24")), create(server("web-1"))):
        perform(city, action, name="county")
    assert len(look(city).servers) == 2
    assert len(marked(city.client("ec2"))["server"]) == 1


@pytest.mark.parametrize("mode", LOSSES)
def test_whatever_answer_is_lost_there_is_one_of_each(city: AwsSimulated, mode: str) -> None:
    calls = ("CreateVpc", "CreateSubnet", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress")
    calls += ("RunInstances", "DescribeInstances", "CreateVolume", "AttachVolume", "CreateSnapshot")
    calls += ("ModifyInstanceAttribute", "TerminateInstances", "StopInstances")
    city.faults(*({"mode": mode, "service": "ec2", "action": call} for call in calls))
    make_city(city, server("web-1"))
    both = server("web-1", disks=(DISK,))
    perform(city, change(both, "disks"))
    there = marked(city.client("ec2"))
    assert {kind: len(ids) for kind, ids in there.items()} | {"address": 1} == {
        "server": 1,
        "disk": 2,
        "snapshot": 0,
        "address": 1,
        "vpc": 1,
        "subnet": 1,
        "security-group": 1,
        "route-table": 0,
    }
    retire(city, "web-1")
    there = marked(city.client("ec2"))
    assert (len(there["server"]), len(there["disk"]), len(there["snapshot"])) == (0, 0, 2)


def test_an_image_of_a_stranger_is_not_taken_for_ours(city: AwsSimulated) -> None:
    perform(city, CreateSubnet(network=network()))
    with pytest.raises(AdapterError, match=r"image '210987654321/debian-13'.*nothing was changed"):
        perform(city, create(server("web-1", image="210987654321/debian-13")))
    assert marked(city.client("ec2"))["server"] == set()


# --- changing ----------------------------------------------------------------------------------------


def test_a_change_is_made_once_and_then_nothing(city: AwsSimulated) -> None:
    make_city(city, server("web-1", disks=(DISK,)))
    disks = ({**DISK, "size": "20 GiB"}, {"name": "wal", "size": "5 GiB"})
    wanted = server("web-1", size={"type": "t3.medium"}, disks=disks, tags={"team": "portal"})
    action = change(wanted, "size", "disks", "tags", restart=True)
    assert perform(city, action).changed
    seen = found(city, "web-1")
    assert (seen.size, seen.tags, seen.power) == (wanted.size, {"team": "portal"}, "on")
    assert {one.name: one.size_bytes // 2**30 for one in seen.disks if one.name} == {"data": 20, "wal": 5}
    assert not perform(city, action).changed


def test_a_server_is_not_restarted_unless_that_was_said(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    with pytest.raises(AdapterError, match="nothing was changed"):
        perform(city, change(server("web-1", size={"type": "t3.medium"}), "size"))
    assert found(city, "web-1").power == "on"


def test_a_restart_that_was_killed_half_way_ends_with_the_server_on(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    action = change(server("web-1", size={"type": "t3.medium"}), "size", restart=True)
    city.faults({"mode": "denied", "service": "ec2", "action": "StartInstances"})
    with pytest.raises(AdapterError, match="start_instances"):
        perform(city, action)
    assert found(city, "web-1").power == "off"
    perform(city, action)
    seen = found(city, "web-1")
    assert (seen.power, seen.size.type) == ("on", "t3.medium")
    assert not perform(city, action).changed


def test_a_disk_never_becomes_smaller(city: AwsSimulated) -> None:
    make_city(city, server("web-1", disks=(DISK,)))
    with pytest.raises(AdapterError, match="smaller; nothing was changed"):
        perform(city, change(server("web-1", disks=({**DISK, "size": "5 GiB"},)), "disks"))


def test_a_server_gets_and_loses_a_port_and_keeps_its_first(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    perform(city, CreateSubnet(network=network("admin", cidr="10.20.2.0/24")))
    both = server("web-1", networks=("web", "admin"))
    perform(city, change(both, "networks"))
    assert found(city, "web-1").networks == ("web", "admin")
    perform(city, change(server("web-1"), "networks"))
    assert found(city, "web-1").networks == ("web",)
    with pytest.raises(AdapterError, match="first port"):
        perform(city, change(server("web-1", networks=("admin",)), "networks"))


# --- whose it is -------------------------------------------------------------------------------------


def adopt(aws: AwsSimulated, name: str, instance_id: str) -> Outcome:
    return perform(aws, AdoptInstance(host=name, site=SITE, id=instance_id))


def test_what_bears_nobodys_mark_is_adopted_with_its_parts(city: AwsSimulated) -> None:
    instance_id = stranger(city, {"Name": "old portal"})
    outcome = adopt(city, "web-1", instance_id)
    assert change_of(outcome).ids["server"] == instance_id
    there = marked(city.client("ec2"))
    assert (there["server"], len(there["disk"])) == ({instance_id}, 1)
    assert not adopt(city, "web-1", instance_id).changed


def with_disks(aws: AwsSimulated, **devices: int) -> str:
    """An instance that somebody else made, with disks of so many GiB at devices of their own choice."""
    disks = [{"DeviceName": f"/dev/{at}", "Ebs": {"VolumeSize": size}} for at, size in devices.items()]
    request = {"ImageId": aws.image(), "MinCount": 1, "MaxCount": 1, "InstanceType": "t3.small"}
    made = aws.client("ec2").run_instances(**request, BlockDeviceMappings=disks)
    return str(made["Instances"][0]["InstanceId"])


def test_disks_of_an_adopted_server_are_named_grown_and_kept_as_those_of_a_made_one(
    city: AwsSimulated,
) -> None:
    perform(city, CreateSubnet(network=network()))
    spec = server("web-1", networks=(), disks=({"name": "wal", "size": "5 GiB"}, DISK))
    instance_id = with_disks(city, sdb=10, sdc=5)
    step = step_of(city, step="web-1")
    cast("Any", step).inventory = Inventory(servers={}, specs={"web-1": spec})
    adopted = dispatch.perform(AdoptInstance(host="web-1", site=SITE, id=instance_id), step)
    ids = change_of(adopted).ids
    assert {part for part in ids if part.startswith("disk")} == {"disk:system", "disk:data", "disk:wal"}
    seen = found(city, "web-1")
    sizes = {one.name: one.size_bytes // 2**30 for one in seen.disks if one.name}
    assert sizes == {"data": 10, "wal": 5}
    assert [one.key for one in compare(spec, seen, {})] == [], "a plan changes and replaces nothing"
    larger = (*spec.disks, Disk(name="more", size_bytes=2**30))
    wanted = spec.model_copy(update={"disks": larger})
    assert perform(city, change(wanted, "disks")).summary.count("disk") == 1
    kept = change_of(retire(city, "web-1")).ids
    assert {part for part in kept if part.startswith("snapshot")} == {
        f"snapshot:{name}" for name in ("system", "data", "wal", "more")
    }


def test_what_bears_anothers_mark_is_left_alone(city: AwsSimulated) -> None:
    instance_id = stranger(city, {"mainstay:environment": "county", "mainstay:name": "web-1"})
    with pytest.raises(AdapterError, match="bears the mark of county"):
        adopt(city, "web-1", instance_id)
    for action in (
        StopInstance(host="web-1", site=SITE),
        StartInstance(host="web-1", site=SITE),
        TerminateInstance(host="web-1", site=SITE, id=instance_id),
    ):
        with pytest.raises(AdapterError, match="nothing was changed"):
            perform(city, action)
    assert found(city, "web-1").power == "on"


def test_a_name_is_given_once(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    with pytest.raises(AdapterError, match="was not adopted"):
        adopt(city, "web-1", stranger(city, {}))


# --- retiring ----------------------------------------------------------------------------------------


def retire(aws: AwsSimulated, name: str, *, keep_snapshot: bool = True) -> Outcome:
    instance_id = found(aws, name).id
    perform(aws, StopInstance(host=name, site=SITE))
    action = TerminateInstance(host=name, site=SITE, id=instance_id, keep_snapshot=keep_snapshot)
    return perform(aws, action)


def test_a_server_goes_with_its_parts_and_its_disks_are_kept_as_snapshots(city: AwsSimulated) -> None:
    make_city(city, server("web-1", disks=(DISK,)))
    ids = change_of(retire(city, "web-1")).ids
    assert {part for part in ids if part.startswith("snapshot")} == {"snapshot:system", "snapshot:data"}
    there = marked(city.client("ec2"))
    assert there["server"] | there["disk"] | there["address"] == set()
    assert there["snapshot"] == {ids["snapshot:system"], ids["snapshot:data"]}


def test_an_adopted_server_leaves_no_disk_behind(city: AwsSimulated) -> None:
    instance_id = stranger(city, {})
    (disk,) = city.client("ec2").describe_volumes()["Volumes"]
    bound = [{"DeviceName": disk["Attachments"][0]["Device"], "Ebs": {"DeleteOnTermination": False}}]
    city.client("ec2").modify_instance_attribute(InstanceId=instance_id, BlockDeviceMappings=bound)
    adopt(city, "web-1", instance_id)
    retire(city, "web-1", keep_snapshot=False)
    assert city.client("ec2").describe_volumes()["Volumes"] == []


@pytest.mark.parametrize("case", ["running", "another id"])
def test_only_what_was_planned_and_stands_is_terminated(city: AwsSimulated, case: str) -> None:
    make_city(city, server("web-1"))
    if case == "running":
        instance_id = found(city, "web-1").id
    else:
        perform(city, StopInstance(host="web-1", site=SITE))
        instance_id = stranger(city, {})
    with pytest.raises(AdapterError, match="nothing was changed"):
        perform(city, TerminateInstance(host="web-1", site=SITE, id=instance_id))
    assert len(look(city).servers) == (1 if case == "running" else 2)


def test_a_server_that_is_made_again_in_the_same_run_is_a_new_one(city: AwsSimulated) -> None:
    (first,) = make_city(city, server("web-1"))
    retire(city, "web-1", keep_snapshot=False)
    second = perform(city, create(server("web-1")))
    assert change_of(first).ids["server"] != change_of(second).ids["server"]
    assert found(city, "web-1").power == "on"


# --- host keys ---------------------------------------------------------------------------------------


def test_a_host_key_comes_from_the_console_and_goes_with_the_server(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    outcome = perform(city, LearnInstanceKey(host="web-1", site=SITE))
    assert isinstance(outcome.evidence, HostKeyLearned)
    assert outcome.evidence.channel == "console-output"
    known = (city.state / "known_hosts").read_text()
    assert known.startswith(f"web-1,{outcome.evidence.address} ssh-ed25519 ")
    assert not perform(city, LearnInstanceKey(host="web-1", site=SITE)).changed
    retire(city, "web-1", keep_snapshot=False)
    assert (city.state / "known_hosts").read_text() == ""


# --- networks ----------------------------------------------------------------------------------------


def test_a_network_is_made_once_and_goes_with_its_vpc(city: AwsSimulated) -> None:
    made = perform(city, CreateSubnet(network=network()))
    assert set(change_of(made).ids) == {"vpc", "subnet", "security-group"}
    assert not perform(city, CreateSubnet(network=network()), run="another").changed
    perform(city, CreateSubnet(network=network("admin", cidr="10.20.2.0/24")))
    for name in ("web", "admin"):
        (seen,) = [one for one in look(city).networks if one.name == name]
        perform(city, DeleteSubnet(name=name, site=SITE, id=seen.id))
    there = marked(city.client("ec2"))
    assert there["vpc"] | there["subnet"] | there["security-group"] | there["route-table"] == set()


def test_a_rule_that_somebody_added_is_seen_and_taken_away(city: AwsSimulated) -> None:
    made = perform(city, CreateSubnet(network=network()))
    hole = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    city.client("ec2").authorize_security_group_ingress(
        GroupId=change_of(made).ids["security-group"], IpPermissions=[hole]
    )
    (seen,) = look(city).networks
    assert [rule.source for rule in set(seen.rules) - set(network().rules)] == ["0.0.0.0/0"]
    assert perform(city, ChangeSubnet(network=network(), changes=("rules",))).changed
    (seen,) = look(city).networks
    assert set(seen.rules) == set(network().rules)


def test_a_rule_may_name_another_network(city: AwsSimulated) -> None:
    perform(city, CreateSubnet(network=network()))
    rules = ({"protocol": "tcp", "ports": "5432", "from": "web"},)
    base = network("base", cidr="10.20.2.0/24", rules=rules)
    perform(city, CreateSubnet(network=base))
    (seen,) = [one for one in look(city).networks if one.name == "base"]
    assert seen.rules == base.rules


def test_an_isolated_network_has_no_way_out_and_one_that_is_added_is_seen(city: AwsSimulated) -> None:
    isolated = network("drill", isolated=True, rules=(), part_of="drill")
    ids = change_of(perform(city, CreateSubnet(network=isolated))).ids
    (seen,) = look(city).networks
    assert seen.isolated
    client = city.client("ec2")
    gateway = client.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    client.attach_internet_gateway(InternetGatewayId=gateway, VpcId=ids["vpc"])
    client.create_route(RouteTableId=ids["route-table"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    (seen,) = look(city).networks
    assert not seen.isolated
    perform(city, ChangeSubnet(network=isolated, changes=("isolated",)))
    (seen,) = look(city).networks
    assert seen.isolated


def test_a_network_in_use_stays(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    (seen,) = look(city).networks
    assert seen.used_by == 1
    with pytest.raises(AdapterError, match=r"is used by 1 ports.*nothing was changed"):
        perform(city, DeleteSubnet(name="web", site=SITE, id=seen.id))


def test_a_vpc_of_the_city_takes_a_network_and_stays(city: AwsSimulated) -> None:
    client = city.client("ec2")
    vpc = client.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    client.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": "portal"}])
    made = perform(city, CreateSubnet(network=network()))
    assert "vpc" not in change_of(made).ids
    perform(city, DeleteSubnet(name="web", site=SITE, id=change_of(made).ids["subnet"]))
    assert vpc in {one["VpcId"] for one in client.describe_vpcs()["Vpcs"]}


# --- refusals ----------------------------------------------------------------------------------------


def test_another_account_is_refused_before_the_first_change(city: AwsSimulated) -> None:
    with pytest.raises(AdapterError, match=r"declared is 999999999999; nothing was changed"):
        perform(city, CreateSubnet(network=network()), account="999999999999")
    assert marked(city.client("ec2"))["vpc"] == set()


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ({"ca": "other/certificates/ca.crt"}, "its certificate is not trusted"),
        ({"ca": None}, "its certificate is not trusted"),
        ({"login": {"file": "secrets/wrong"}}, "InvalidClientTokenId|AuthFailure"),
        ({"login": {"file": "secrets/none"}}, "secret .* cannot be read"),
        ({"login": None, "profile": "nobody"}, "nobody"),
    ],
    ids=["wrong CA", "the system's CAs", "wrong login", "no login", "no profile"],
)
def test_what_is_wrong_with_a_provider_is_said(
    city: AwsSimulated, provider: dict[str, object], words: str
) -> None:
    make_keys(city.state / "other", certificates=("aws",))
    (city.state / "secrets/wrong").write_text("AWS_ACCESS_KEY_ID=AKIAWRONG\nAWS_SECRET_ACCESS_KEY=wrong\n")
    with pytest.raises(AdapterError, match=words) as caught:
        look(city, **provider)
    assert "nothing was changed" in str(caught.value)


def test_a_certificate_for_another_name_is_refused(city: AwsSimulated) -> None:
    with pytest.raises(AdapterError, match="its certificate is not trusted"):
        look(city, endpoint=city.endpoint.replace("localhost", "127.1"))


def test_a_certificate_that_has_expired_is_refused(city: AwsSimulated) -> None:
    refused = pytest.raises(AdapterError, match=r"its certificate is not trusted.*expired")
    with listening_with_an_expired_certificate(city.state) as endpoint, refused:
        look(city, endpoint=endpoint, ca="expired.crt")


@contextmanager
def listening_with_an_expired_certificate(folder: Path) -> Iterator[str]:
    """Something that answers by a certificate of a day long ago, which is its own authority."""
    _write_expired(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "expired.crt", folder / "expired.key")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever checks it hangs up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _write_expired(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    day = datetime(2020, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, day, day + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = made.sign(key, hashes.SHA256())
    (folder / "expired.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "expired.key").write_bytes(key.private_bytes(*form))


def test_a_region_that_nobody_answers_for_is_said_to_be_unreachable(city: AwsSimulated) -> None:
    with pytest.raises(AdapterError, match="Could not connect") as caught:
        look(city, endpoint=f"https://127.0.0.1:{free_port()}")
    assert caught.value.transient


@pytest.mark.parametrize(
    ("mode", "words", "transient"),
    [
        ("denied", "UnauthorizedOperation", False),
        ("expired", "ExpiredToken|RequestExpired", False),
        ("capacity", "InsufficientInstanceCapacity", True),
    ],
)
def test_a_refusal_changes_nothing_and_says_so(
    city: AwsSimulated, mode: str, words: str, transient: bool
) -> None:
    perform(city, CreateSubnet(network=network()))
    city.faults({"mode": mode, "service": "ec2", "action": "RunInstances", "times": None})
    with pytest.raises(AdapterError, match=words) as caught:
        perform(city, create(server("web-1")))
    assert (caught.value.transient, caught.value.unknown) == (transient, False)
    assert "nothing was changed" in str(caught.value)
    assert marked(city.client("ec2"))["server"] == set()


def test_throttling_is_waited_out(city: AwsSimulated) -> None:
    perform(city, CreateSubnet(network=network()))
    city.faults({"mode": "throttle", "service": "ec2", "action": "RunInstances", "times": 7})
    assert perform(city, create(server("web-1"))).changed
    assert len(marked(city.client("ec2"))["server"]) == 1


def test_what_we_may_not_do_is_known_before(city: AwsSimulated) -> None:
    make_city(city, server("web-1"))
    city.faults({"mode": "denied", "service": "ec2", "action": "TerminateInstances", "times": None})
    view = look(city, server("web-2"), networks=[network()])
    assert list(view.denied) == ["ec2.terminate_instances"]


def test_a_clock_that_is_off_is_seen(city: AwsSimulated) -> None:
    city.faults({"mode": "skew", "seconds": 200, "times": None})
    assert 195 <= look(city).clock_skew_s <= 205


def test_a_role_of_another_account_is_taken(city: AwsSimulated) -> None:
    role = {"role": "arn:aws:iam::210987654321:role/mainstay", "account": "210987654321"}
    view = look(city, **role)
    assert (view.servers, view.source) == ((), "simulated")
    perform(city, CreateSubnet(network=network()), **role)
    assert marked(city.client("ec2"))["vpc"] == set()
    assert [one.name for one in look(city, **role).networks] == ["web"]


def test_looking_asks_for_each_kind_once_a_page(city: AwsSimulated) -> None:
    make_city(city, *(server(f"web-{number}") for number in range(3)))
    city.forget_calls()
    view = look(city)
    calls = {call: times for call, times in city.calls().items() if not call.startswith("sts.")}
    kinds = ("Instances", "Volumes", "Subnets", "SecurityGroups", "RouteTables", "Vpcs")
    assert {call: calls[call] for call in (f"ec2.Describe{kind}" for kind in kinds)} == {
        f"ec2.Describe{kind}": 1 for kind in kinds
    }
    assert view.round_trips == sum(city.calls().values())


# --- kills and faults at random ----------------------------------------------------------------------


def accounted(changes: Sequence[ProviderChange]) -> dict[str, set[str]]:
    """What must be there by what the steps told: all they made or found, less what went with its name."""
    there: dict[tuple[str, str], dict[str, set[str]]] = {}
    ended = {id_ for told in changes if told.what == "snapshots" for id_ in told.ids.values()}
    for told in changes:
        of = there.setdefault((told.what, told.name), {})
        if told.verb == "deleted":
            there[told.what, told.name] = of = {"snapshot": of.get("snapshot", set())}
        for part, id_ in told.ids.items():
            if told.verb != "deleted" or part.startswith("snapshot"):
                of.setdefault(part.partition(":")[0], set()).add(id_)
    kinds = {kind for of in there.values() for kind in of}
    return {kind: set().union(*(of.get(kind, set()) for of in there.values())) - ended for kind in kinds}


class Unlucky:
    """Carries steps out as the engine does, while answers are lost and processes are killed."""

    def __init__(self, aws: AwsSimulated, seed: int) -> None:
        self.aws, self.random, self.told = aws, random.Random(seed), list[ProviderChange]()
        self.faults = self.kills = 0

    def do(self, action: Action) -> None:
        """Do it; after each failure or death look how far it came, and do it again."""
        step = f"{action.do}/{getattr(action, 'host', '')}"
        if self.random.random() < 0.35:
            self.kills += self._killed(action, step_of(self.aws, step=step))
        self._order_faults()
        met = []
        for _ in range(8):
            ctx = step_of(self.aws, step=step)
            try:
                progress = dispatch.verify(action, ctx)
                outcome = progress.outcome or dispatch.perform(action, ctx)
            except AdapterError as exc:
                if not exc.transient and not exc.unknown:
                    raise
                met.append(str(exc))
                continue
            self.told.append(change_of(outcome))
            return
        raise AssertionError(f"{step} does not come to an end: {met}")

    def _order_faults(self) -> None:
        modes = (*LOSSES, "throttle", "capacity")
        rules = [
            {"mode": self.random.choice(modes), "service": "ec2", "after": self.random.randrange(12)}
            for _ in range(self.random.randrange(3))
        ]
        self.faults += len(rules)
        self.aws.faults(*rules)

    def _killed(self, action: Action, ctx: Context) -> bool:
        """Begin it in a process that is killed at any moment; whether it was killed before its end."""
        child = os.fork()
        if child == 0:
            try:
                forget_sessions()
                dispatch.perform(action, ctx)
            finally:
                os._exit(0)
        time.sleep(self.random.uniform(0.02, 1.5))
        os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def end_kept(aws: AwsSimulated, name: str) -> Action:
    """Let the days of two snapshots that were kept be over, and decide to delete them."""
    environment = environment_of(aws)
    first = [one.id for one in list_kept(environment, SITE, aws.state) if one.server == name][:2]
    tag = {"Key": "mainstay:until", "Value": "2026-01-31"}
    aws.client("ec2").create_tags(Resources=first, Tags=[tag])
    over = (one for one in list_kept(environment, SITE, aws.state) if one.id in first)
    return DeleteKept(host=name, site=SITE, snapshots=tuple(over))


def lives_of_a_city(aws: AwsSimulated) -> Iterator[Callable[[], Action]]:
    """The acts of a small city, each decided when its turn comes."""
    one = server("web-1", disks=(DISK,))
    larger = server(
        "web-1", size={"type": "t3.medium"}, disks=(DISK, {"name": "wal", "size": "5 GiB"}), tags={"a": "b"}
    )
    yield lambda: CreateSubnet(network=network())
    yield lambda: CreateSubnet(network=network("drill", isolated=True, rules=(), part_of="drill"))
    yield lambda: create(one)
    yield lambda: create(server("web-2"))
    yield lambda: change(larger, "size", "disks", "tags", restart=True)
    yield lambda: StopInstance(host="web-1", site=SITE)
    yield lambda: TerminateInstance(host="web-1", site=SITE, id=found(aws, "web-1").id)
    yield lambda: end_kept(aws, "web-1")
    yield lambda: DeleteSubnet(
        name="drill", site=SITE, id=next(one.id for one in look(aws).networks if one.name == "drill")
    )
    yield lambda: create(server("web-3", disks=(DISK,)))


@pytest.mark.parametrize("seed", range(FAULT_RUNS))
def test_after_faults_and_kills_at_random_all_that_is_there_was_told(city: AwsSimulated, seed: int) -> None:
    unlucky = Unlucky(city, seed)
    for act in lives_of_a_city(city):
        city.no_faults()
        unlucky.do(act())
    city.no_faults()
    there = marked(city.client("ec2"))
    told = accounted(unlucky.told)
    assert {kind: told.get(kind, set()) for kind in there} == there
    assert {kind: len(ids) for kind, ids in there.items()} == {
        "server": 2,
        "disk": 3,
        "snapshot": 1,
        "address": 2,
        "vpc": 1,
        "subnet": 1,
        "security-group": 1,
        "route-table": 0,
    }
    print(f"seed {seed}: {unlucky.faults} faults, {unlucky.kills} kills")
