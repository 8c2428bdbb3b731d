"""A pilot light against a simulated AWS: fences, promotion, restore, the swap of a name, a test's network."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation.adapters import aws as adapter
from automation.model.actions import (
    BlockDatabase,
    BlockInstance,
    CreateInstance,
    CreateSubnet,
    FenceInstance,
    ListRegion,
    PromoteReplica,
    ProveSubnet,
    ReleaseInstance,
    RemoveDatabase,
    RemoveInstance,
    RestoreDatabase,
    SwapRecord,
)
from automation.model.drill_evidence import Listing
from automation.model.environment import Inventory, Server
from automation.model.errors import AdapterError
from automation.model.evidence import DnsChange, ServerState
from automation.model.replicas import DatabaseChange, NetworkProven
from tests.programs.aws_city import OTHER_SITE, REGION_OF, SITE, environment_of, network, server, step_of
from tests.programs.simulators import AwsSimulated

pytestmark = pytest.mark.lab
WEST = REGION_OF[OTHER_SITE]
TEST = network("test", site=OTHER_SITE, cidr="10.99.1.0/24", part_of="test", isolated=True, rules=())


@pytest.fixture
def web(aws: AwsSimulated) -> AwsSimulated:
    """A region with a network and one server that runs."""
    adapter.create_network(CreateSubnet(network=network()), step_of(aws, step="net"))
    made = CreateInstance(host="web-1", site=SITE, spec=server("web-1"))
    adapter.create_instance(made, step_of(aws, step="web-1"))
    return aws


def groups_of(aws: AwsSimulated, host: str) -> list[str]:
    shown = aws.client("ec2").describe_instances(
        Filters=[
            {"Name": "tag:mainstay:name", "Values": [host]},
            {"Name": "instance-state-name", "Values": ["running", "stopped"]},
        ]
    )
    (instance,) = (one for page in shown["Reservations"] for one in page["Instances"])
    return [one["GroupName"] for port in instance["NetworkInterfaces"] for one in port["Groups"]]


# --- fences ---------------------------------------------------------------------------------------


def test_a_fenced_instance_is_stopped_and_both_times_read_back(web: AwsSimulated) -> None:
    fence = FenceInstance(host="web-1", site=SITE)
    first, again = adapter.fence_instance(fence, step_of(web)), adapter.fence_instance(fence, step_of(web))
    assert (first.changed, again.changed) == (True, False)
    for outcome in (first, again):
        assert isinstance(outcome.evidence, ServerState)
        assert (outcome.evidence.power, outcome.evidence.autostart) == ("off", False)
        assert outcome.evidence.source == "simulated"


def test_a_blocked_instance_has_a_group_without_rules_and_gets_its_own_back(web: AwsSimulated) -> None:
    before = groups_of(web, "web-1")
    blocked = adapter.block_instance(BlockInstance(host="web-1", site=SITE), step_of(web))
    assert isinstance(blocked.evidence, ServerState)
    assert blocked.evidence.network == "blocked"
    assert groups_of(web, "web-1") == ["mainstay:city:fenced"]
    found = web.client("ec2").describe_security_groups(
        Filters=[{"Name": "group-name", "Values": ["mainstay:city:fenced"]}]
    )
    (group,) = found["SecurityGroups"]
    assert (group["IpPermissions"], group["IpPermissionsEgress"]) == ([], [])
    assert adapter.block_instance(BlockInstance(host="web-1", site=SITE), step_of(web)).changed is False
    released = adapter.release_instance(ReleaseInstance(host="web-1", site=SITE), step_of(web))
    assert released.changed
    assert groups_of(web, "web-1") == before


def test_a_cut_off_instance_is_not_launched_before_it_is_released(web: AwsSimulated) -> None:
    launch = CreateInstance(host="web-1", site=SITE, spec=server("web-1"))
    release = ReleaseInstance(host="web-1", site=SITE, absent_is_free=True)
    before = groups_of(web, "web-1")
    adapter.fence_instance(FenceInstance(host="web-1", site=SITE), step_of(web))
    adapter.block_instance(BlockInstance(host="web-1", site=SITE), step_of(web))
    with pytest.raises(AdapterError, match="is there, cut off by a fence of ours; nothing was changed"):
        adapter.create_instance(launch, step_of(web))
    assert adapter.release_instance(release, step_of(web)).changed
    assert "running" in adapter.create_instance(launch, step_of(web)).summary
    assert groups_of(web, "web-1") == before


def test_nothing_is_released_of_an_instance_that_is_made_only_then(web: AwsSimulated) -> None:
    release = ReleaseInstance(host="web-2", site=SITE)
    absent = release.model_copy(update={"absent_is_free": True})
    assert adapter.release_instance(absent, step_of(web)).changed is False
    with pytest.raises(AdapterError, match="bears the mark"):
        adapter.release_instance(release, step_of(web))


@pytest.mark.parametrize("kind", [FenceInstance, BlockInstance], ids=["power", "network"])
def test_what_was_never_made_is_fenced_and_what_lost_its_mark_is_not(
    web: AwsSimulated, kind: type[FenceInstance | BlockInstance]
) -> None:
    fence = adapter.fence_instance if kind is FenceInstance else adapter.block_instance
    gone = fence(kind(host="web-2", site=SITE, absent_is_off=True), step_of(web))
    assert isinstance(gone.evidence, ServerState)
    assert (gone.changed, gone.evidence.power) == (False, "absent")
    client, known = web.client("ec2"), step_of(web)
    (instance,) = (one for page in client.describe_instances()["Reservations"] for one in page["Instances"])
    place = {"site": SITE, "provider": "aws", "address": instance["PrivateIpAddress"]}
    known.inventory = Inventory(servers={"web-1": Server.model_validate({"name": "web-1", **place})})  # type: ignore[misc]
    for tag, ctx in (("mainstay:environment", step_of(web)), ("Name", known)):
        client.delete_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": tag}])
        with pytest.raises(AdapterError, match="has its name or address at us-east-1, and nobody's mark"):
            fence(kind(host="web-1", site=SITE, absent_is_off=True), ctx)


@pytest.mark.parametrize("kind", [FenceInstance, BlockInstance], ids=["power", "network"])
def test_one_that_runs_under_another_mark_is_not_taken_for_gone(
    web: AwsSimulated, kind: type[FenceInstance | BlockInstance]
) -> None:
    client = web.client("ec2")
    (instance,) = (one for page in client.describe_instances()["Reservations"] for one in page["Instances"])
    client.create_tags(Resources=[instance["InstanceId"]], Tags=[{"Key": "mainstay:name", "Value": "web-9"}])
    fence = adapter.fence_instance if kind is FenceInstance else adapter.block_instance
    with pytest.raises(
        AdapterError, match="the mark of web-9 of city: it is not fenced; nothing was changed"
    ):
        fence(kind(host="web-1", site=SITE, absent_is_off=True), step_of(web))


def patiently(perform: Callable[[], object]) -> None:
    """Do it again after an error that passes, as the executor or a resumed run does."""
    try:
        perform()
    except AdapterError as exc:
        if not (exc.transient or exc.unknown):
            raise
        perform()


@pytest.mark.parametrize("mode", ["throttle", "applied-then-500", "drop"])
@pytest.mark.parametrize(
    "action", ["CreateSecurityGroup", "ModifyNetworkInterfaceAttribute", "StopInstances"]
)
def test_a_fence_survives_a_call_that_fails_once(web: AwsSimulated, action: str, mode: str) -> None:
    web.faults({"mode": mode, "service": "ec2", "action": action, "times": 1})
    block, fence = BlockInstance(host="web-1", site=SITE), FenceInstance(host="web-1", site=SITE)
    patiently(lambda: adapter.block_instance(block, step_of(web)))
    patiently(lambda: adapter.fence_instance(fence, step_of(web)))
    assert groups_of(web, "web-1") == ["mainstay:city:fenced"]
    filters = [{"Name": "group-name", "Values": ["mainstay:city:fenced"]}]
    assert len(web.client("ec2").describe_security_groups(Filters=filters)["SecurityGroups"]) == 1


def test_a_server_that_is_not_ours_is_fenced_by_nobody(web: AwsSimulated) -> None:
    with pytest.raises(AdapterError, match="bears the mark of city"):
        adapter.fence_instance(FenceInstance(host="web-2", site=SITE), step_of(web))


def test_what_another_run_made_is_not_removed(web: AwsSimulated) -> None:
    remove = RemoveInstance(host="web-1", site=SITE)
    with pytest.raises(AdapterError, match="was not made by this run but by run-1"):
        adapter.remove_instance(remove, step_of(web, run="run-2"))
    assert groups_of(web, "web-1")
    assert adapter.remove_instance(remove, step_of(web, run="run-1")).changed
    assert adapter.remove_instance(remove, step_of(web, run="run-1")).changed is False


# --- databases ------------------------------------------------------------------------------------


def await_it(client: Any, state: str, **what: str) -> None:
    client.get_waiter(state).wait(**what, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})


@pytest.fixture
def databases(aws: AwsSimulated) -> AwsSimulated:
    """A database in the east with a replica and a copied snapshot in the west."""
    east, west = aws.client("rds"), aws.client("rds", WEST)
    made = east.create_db_instance(
        DBInstanceIdentifier="portal-db",
        Engine="postgres",
        DBInstanceClass="db.t3.small",
        AllocatedStorage=20,
        MasterUsername="postgres",
        MasterUserPassword="not-a-secret",
    )["DBInstance"]
    await_it(east, "db_instance_available", DBInstanceIdentifier="portal-db")
    west.create_db_instance_read_replica(
        DBInstanceIdentifier="portal-db-west",
        SourceDBInstanceIdentifier=made["DBInstanceArn"],
        SourceRegion=REGION_OF[SITE],
    )
    await_it(west, "db_instance_available", DBInstanceIdentifier="portal-db-west")
    taken = east.create_db_snapshot(DBSnapshotIdentifier="portal-1", DBInstanceIdentifier="portal-db")
    await_it(east, "db_snapshot_available", DBSnapshotIdentifier="portal-1")
    west.copy_db_snapshot(
        SourceDBSnapshotIdentifier=taken["DBSnapshot"]["DBSnapshotArn"],
        TargetDBSnapshotIdentifier="portal-1-west",
        SourceRegion=REGION_OF[SITE],
    )
    await_it(west, "db_snapshot_available", DBSnapshotIdentifier="portal-1-west")
    adapter.create_network(
        CreateSubnet(network=network("portal", site=OTHER_SITE, part_of="portal")), step_of(aws, step="net")
    )
    return aws


def restore(**more: object) -> RestoreDatabase:
    words: dict[str, Any] = {
        "site": OTHER_SITE,
        "database": "portal-db-test",
        "snapshot": "portal-1-west",
        "taken_at": datetime(2026, 11, 22, 3, 0, tzinfo=UTC),
        "network": "portal",
    }
    return RestoreDatabase.model_validate({**words, **more})


def test_a_replica_is_promoted_once_and_copies_nobody_then(databases: AwsSimulated) -> None:
    action = PromoteReplica(site=OTHER_SITE, database="portal-db-west", expect_source="portal-db")
    done = adapter.promote_replica(action, step_of(databases))
    assert isinstance(done.evidence, DatabaseChange)
    assert (done.evidence.verb, done.evidence.of, done.evidence.source) == (
        "promoted",
        "portal-db",
        "simulated",
    )
    shown = databases.client("rds", WEST).describe_db_instances(DBInstanceIdentifier="portal-db-west")
    assert not shown["DBInstances"][0].get("ReadReplicaSourceDBInstanceIdentifier")
    assert adapter.verify_promote_replica(action, step_of(databases)).state == "done"
    with pytest.raises(AdapterError, match="is no replica, expected was one of portal-db"):
        adapter.promote_replica(action, step_of(databases))


def test_a_replica_of_another_database_is_not_promoted(databases: AwsSimulated) -> None:
    action = PromoteReplica(site=OTHER_SITE, database="portal-db-west", expect_source="other-db")
    with pytest.raises(AdapterError, match="is a replica of portal-db, expected was one of other-db"):
        adapter.promote_replica(action, step_of(databases))
    assert databases.calls().get("rds.PromoteReadReplica", 0) == 0


def test_a_promotion_whose_answer_was_lost_is_found_done(databases: AwsSimulated) -> None:
    databases.forget_calls()
    databases.faults(
        {"mode": "applied-then-500", "service": "rds", "action": "PromoteReadReplica", "times": 1}
    )
    action = PromoteReplica(site=OTHER_SITE, database="portal-db-west", expect_source="portal-db")
    assert adapter.promote_replica(action, step_of(databases)).changed
    assert databases.calls()["rds.PromoteReadReplica"] == 1


@pytest.mark.parametrize(("after", "asked", "state"), [(0, 0, "not_done"), (1, 1, "done")])
def test_a_look_that_is_denied_calls_nothing_failed_that_was_asked_for(
    after: int, asked: int, state: str, databases: AwsSimulated
) -> None:
    databases.forget_calls()
    call = {"service": "rds", "action": "DescribeDBInstances", "region": WEST}
    databases.faults({"mode": "denied", **call, "after": after, "times": 1})
    action = PromoteReplica(site=OTHER_SITE, database="portal-db-west", expect_source="portal-db")
    with pytest.raises(AdapterError, match="asked to promote") as caught:
        adapter.promote_replica(action, step_of(databases))
    assert (caught.value.unknown, databases.calls().get("rds.PromoteReadReplica", 0)) == (asked == 1, asked)
    assert ("nothing was changed" in str(caught.value)) is (asked == 0)
    assert adapter.verify_promote_replica(action, step_of(databases)).state == state


def test_a_snapshot_is_restored_once_in_the_groups_of_our_network(databases: AwsSimulated) -> None:
    mode = {"mode": "applied-then-500", "service": "rds", "times": 1}
    databases.faults({**mode, "action": "RestoreDBInstanceFromDBSnapshot"})
    made = adapter.restore_database(restore(), step_of(databases))
    assert isinstance(made.evidence, DatabaseChange)
    assert made.evidence.point_at == restore().taken_at
    again = adapter.restore_database(restore(), step_of(databases))
    assert (made.changed, again.changed) == (True, False)
    with pytest.raises(AdapterError, match="this run did not make it"):
        adapter.restore_database(restore(), step_of(databases, run="run-2"))


def test_a_test_database_is_removed_with_its_subnet_group_and_another_is_not(databases: AwsSimulated) -> None:
    before = listed(databases)
    adapter.restore_database(restore(), step_of(databases))
    remove = RemoveDatabase(site=OTHER_SITE, database="portal-db-test")
    with pytest.raises(AdapterError, match="was not made by this run"):
        adapter.remove_database(
            RemoveDatabase(site=OTHER_SITE, database="portal-db-west"), step_of(databases)
        )
    assert adapter.remove_database(remove, step_of(databases)).changed
    assert adapter.verify_remove_database(remove, step_of(databases)).state == "done"
    assert listed(databases) == before


def test_a_blocked_database_is_in_the_group_without_rules_alone(databases: AwsSimulated) -> None:
    adapter.restore_database(restore(), step_of(databases))
    block = BlockDatabase(site=OTHER_SITE, database="portal-db-test")
    first = adapter.block_database(block, step_of(databases))
    again = adapter.block_database(block, step_of(databases))
    assert (first.changed, again.changed) == (True, False)
    assert isinstance(first.evidence, ServerState)
    assert first.evidence.network == "blocked"


def test_what_stands_ready_is_seen_with_the_moment_that_it_reaches(databases: AwsSimulated) -> None:
    environment = environment_of(databases)
    names = ("portal-db", "portal-db-west")
    seen = adapter.look_at_pilot(environment, OTHER_SITE, databases.state, "portal-images", names)
    assert seen.replica is not None
    assert seen.snapshot is not None
    assert (seen.replica.of, seen.replica.at, seen.snapshot.id) == ("portal-db", None, "portal-1-west")
    assert (seen.image, seen.source) == (None, "simulated")
    at = datetime.now(UTC).replace(second=0, microsecond=0)
    databases.client("cloudwatch", WEST).put_metric_data(
        Namespace="AWS/RDS",
        MetricData=[
            {
                "MetricName": "ReplicaLag",
                "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": "portal-db-west"}],
                "Timestamp": at,
                "Value": 42.0,
            }
        ],
    )
    seen = adapter.look_at_pilot(environment, OTHER_SITE, databases.state, "portal-images", names)
    assert seen.replica is not None
    assert seen.replica.at == at - timedelta(seconds=42)


# --- names ----------------------------------------------------------------------------------------


@pytest.fixture
def zone(aws: AwsSimulated) -> str:
    route53 = aws.client("route53")
    made = route53.create_hosted_zone(Name="city.example", CallerReference="one")["HostedZone"]["Id"]
    record = {
        "Name": "portal.city.example",
        "Type": "A",
        "TTL": 30,
        "ResourceRecords": [{"Value": "10.1.0.1"}],
    }
    changes = [{"Action": "CREATE", "ResourceRecordSet": record}]
    route53.change_resource_record_sets(HostedZoneId=made, ChangeBatch={"Changes": changes})
    return str(made).rpartition("/")[2]


def swap(zone: str, **more: object) -> SwapRecord:
    words: dict[str, Any] = {"old": ("10.1.0.1",), "new": ("10.2.0.1", "10.2.0.2"), **more}
    return SwapRecord(site=OTHER_SITE, zone=zone, name="portal.city.example", **words)


def held(aws: AwsSimulated, zone: str) -> tuple[int, list[str]]:
    found = aws.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    (record,) = (one for one in found if one["Type"] == "A")
    return record["TTL"], sorted(one["Value"] for one in record["ResourceRecords"])


def test_a_name_is_moved_in_one_batch_and_keeps_its_time_to_live(aws: AwsSimulated, zone: str) -> None:
    aws.forget_calls()
    done = adapter.swap_record(swap(zone), step_of(aws))
    assert isinstance(done.evidence, DnsChange)
    assert done.evidence.source == "simulated"
    assert held(aws, zone) == (30, ["10.2.0.1", "10.2.0.2"])
    assert adapter.swap_record(swap(zone), step_of(aws)).changed is False
    assert aws.calls()["route53.ChangeResourceRecordSets"] == 1


def test_a_name_that_somebody_moved_meanwhile_is_left_alone(aws: AwsSimulated, zone: str) -> None:
    with pytest.raises(AdapterError, match=r"holds 10\.1\.0\.1 in zone .*, expected 10\.9\.9\.9; nothing"):
        adapter.swap_record(swap(zone, old=("10.9.9.9",)), step_of(aws))
    assert held(aws, zone) == (30, ["10.1.0.1"])
    assert adapter.verify_swap_record(swap(zone), step_of(aws)).state == "not_done"


def test_a_name_of_one_that_never_scaled_out_is_moved_all_the_same(aws: AwsSimulated, zone: str) -> None:
    action = swap(zone, old=("10.1.0.1", "10.1.0.2"))
    with pytest.raises(AdapterError, match="nothing was changed"):
        adapter.swap_record(action, step_of(aws))
    assert adapter.swap_record(action.model_copy(update={"half": ("10.1.0.1",)}), step_of(aws)).changed
    assert held(aws, zone) == (30, ["10.2.0.1", "10.2.0.2"])


def test_a_name_that_is_not_there_is_not_made(aws: AwsSimulated, zone: str) -> None:
    action = swap(zone).model_copy(update={"name": "other.city.example"})
    with pytest.raises(AdapterError, match="has no A record"):
        adapter.swap_record(action, step_of(aws))


def test_a_move_whose_answer_was_lost_is_found_done(aws: AwsSimulated, zone: str) -> None:
    call = {"service": "route53", "action": "ChangeResourceRecordSets"}
    aws.faults({"mode": "applied-then-500", **call, "times": 1})
    assert adapter.swap_record(swap(zone), step_of(aws)).changed
    assert held(aws, zone) == (30, ["10.2.0.1", "10.2.0.2"])


# --- a test's network -----------------------------------------------------------------------------


def listed(aws: AwsSimulated) -> dict[str, str]:
    evidence = adapter.list_all(ListRegion(site=OTHER_SITE), step_of(aws)).evidence
    assert isinstance(evidence, Listing)
    return dict(evidence.items)


def test_an_isolated_network_is_proven_and_one_with_a_gateway_is_not(aws: AwsSimulated) -> None:
    adapter.create_network(CreateSubnet(network=TEST), step_of(aws, step="net"))
    proof = ProveSubnet(site=OTHER_SITE, name="test")
    evidence = adapter.prove_network(proof, step_of(aws)).evidence
    assert isinstance(evidence, NetworkProven)
    assert evidence.source == "simulated"
    ec2 = aws.client("ec2", WEST)
    (subnet,) = ec2.describe_subnets(SubnetIds=[evidence.id])["Subnets"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=subnet["VpcId"])
    with pytest.raises(AdapterError, match="is not isolated: an internet gateway"):
        adapter.prove_network(proof, step_of(aws))


def test_an_isolated_network_whose_group_lets_anybody_in_is_refused(aws: AwsSimulated) -> None:
    adapter.create_network(CreateSubnet(network=TEST), step_of(aws, step="net"))
    ec2 = aws.client("ec2", WEST)
    found = ec2.describe_security_groups(Filters=[{"Name": "tag:mainstay:name", "Values": ["test"]}])
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    group = found["SecurityGroups"][0]["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    with pytest.raises(AdapterError, match=r"a rule in for 10\.0\.0\.0/8"):
        adapter.prove_network(ProveSubnet(site=OTHER_SITE, name="test"), step_of(aws))


def test_what_a_test_made_is_seen_until_it_is_removed(aws: AwsSimulated) -> None:
    adapter.create_network(CreateSubnet(network=TEST), step_of(aws, step="net"))
    before = listed(aws)
    spec = server("web-test", site=OTHER_SITE, networks=("test",))
    adapter.create_instance(CreateInstance(host="web-test", site=OTHER_SITE, spec=spec), step_of(aws))
    assert {thing.partition(" i-")[0] for thing in listed(aws).keys() - before.keys()} >= {"server"}
    adapter.remove_instance(RemoveInstance(host="web-test", site=OTHER_SITE), step_of(aws))
    assert listed(aws) == before
