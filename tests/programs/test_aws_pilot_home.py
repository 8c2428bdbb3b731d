"""A pilot light's way home against a simulated AWS: databases kept aside, replicas made and waited for."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automation.adapters import aws as adapter
from automation.model.actions import (
    AwaitReplica,
    CreateReplica,
    CreateSubnet,
    DeleteDatabase,
    PromoteReplica,
    ReleaseDatabase,
    RemoveDatabase,
    RenameDatabase,
    SaveDatabase,
)
from automation.model.errors import AdapterError
from automation.model.replicas import DatabaseChange
from tests.programs.aws_city import OTHER_SITE, REGION_OF, SITE, environment_of, network, step_of
from tests.programs.simulators import AwsSimulated

pytestmark = pytest.mark.lab
WEST = REGION_OF[OTHER_SITE]
OLD, SERVES, KEPT = "portal-db", "portal-db-west", "portal-db-kept-20261122-030000"
LIKE = {"site": SITE, "database": OLD, "source_site": OTHER_SITE, "source": SERVES}


def make(aws: AwsSimulated, *places: tuple[str, str]) -> None:
    """Make databases, each a region and a name; all at once, because each takes its time."""
    for region, name in places:
        aws.client("rds", region).create_db_instance(
            DBInstanceIdentifier=name,
            Engine="postgres",
            DBInstanceClass="db.t3.small",
            AllocatedStorage=20,
            MasterUsername="postgres",
            MasterUserPassword="not-a-secret",
        )
    for region, name in places:
        waiter = aws.client("rds", region).get_waiter("db_instance_available")
        waiter.wait(DBInstanceIdentifier=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})


@pytest.fixture
def away(aws: AwsSimulated) -> AwsSimulated:
    """After a failover: the old database in the east, and in the west the one that serves."""
    make(aws, (REGION_OF[SITE], OLD), (WEST, SERVES))
    return aws


def shown(aws: AwsSimulated, name: str, region: str = REGION_OF[SITE]) -> dict[str, Any]:
    return dict(aws.client("rds", region).describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0])


def names(aws: AwsSimulated, region: str = REGION_OF[SITE]) -> set[str]:
    found = aws.client("rds", region).describe_db_instances()["DBInstances"]
    return {one["DBInstanceIdentifier"] for one in found}


def groups(aws: AwsSimulated, name: str) -> list[str]:
    return sorted(one["VpcSecurityGroupId"] for one in shown(aws, name)["VpcSecurityGroups"])


def tags(aws: AwsSimulated, name: str) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in shown(aws, name)["TagList"]}


def parameters(aws: AwsSimulated, name: str, group: str) -> None:
    rds, told = (
        aws.client("rds", REGION_OF[SITE]),
        {"DBParameterGroupFamily": "postgres16", "Description": "d"},
    )
    rds.create_db_parameter_group(DBParameterGroupName=group, **told)
    rds.modify_db_instance(DBInstanceIdentifier=name, DBParameterGroupName=group, ApplyImmediately=True)
    rds.get_waiter("db_instance_available").wait(
        DBInstanceIdentifier=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100}
    )


def save(name: str = OLD, snapshot: str = KEPT) -> SaveDatabase:
    return SaveDatabase(site=SITE, database=name, snapshot=snapshot)


def rename(**more: object) -> RenameDatabase:
    words = {"site": SITE, "database": OLD, "to": KEPT, "snapshot": KEPT, **more}
    return RenameDatabase.model_validate(words)


def keep(aws: AwsSimulated) -> None:
    adapter.save_database(save(), step_of(aws))
    adapter.rename_database(rename(), step_of(aws))


def patiently(perform: Callable[[], object]) -> None:
    """Do it again after an error that passes, as the executor or a resumed run does."""
    try:
        perform()
    except AdapterError as exc:
        if not (exc.transient or exc.unknown):
            raise
        perform()


def measure(aws: AwsSimulated, name: str, lag_s: float, at: datetime) -> None:
    point = {
        "MetricName": "ReplicaLag",
        "Dimensions": [{"Name": "DBInstanceIdentifier", "Value": name}],
        "Timestamp": at,
        "Value": lag_s,
    }
    aws.client("cloudwatch").put_metric_data(Namespace="AWS/RDS", MetricData=[point])


# --- kept aside -----------------------------------------------------------------------------------


def test_a_database_is_saved_once_and_the_moment_is_told(away: AwsSimulated) -> None:
    first, again = adapter.save_database(save(), step_of(away)), adapter.save_database(save(), step_of(away))
    assert (first.changed, again.changed) == (True, False)
    assert isinstance(first.evidence, DatabaseChange)
    assert (first.evidence.verb, first.evidence.of, first.evidence.source) == ("saved", KEPT, "simulated")
    assert first.evidence.point_at is not None
    assert adapter.verify_save_database(save(), step_of(away)).state == "done"


def test_what_a_move_saved_is_no_snapshot_that_a_failover_would_restore(away: AwsSimulated) -> None:
    """Both regions know their database by one name; what people save of it counts."""
    environment, state, both = environment_of(away), away.state, (OLD, OLD)
    adapter.save_database(save(), step_of(away))
    assert adapter.look_at_pilot(environment, SITE, state, "portal-images", both).snapshot is None
    rds = away.client("rds", REGION_OF[SITE])
    rds.create_db_snapshot(DBInstanceIdentifier=OLD, DBSnapshotIdentifier="by-people")
    rds.get_waiter("db_snapshot_available").wait(
        DBSnapshotIdentifier="by-people", WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    newest = adapter.look_at_pilot(environment, SITE, state, "portal-images", both).snapshot
    assert newest is not None
    assert newest.id == "by-people"


def test_a_snapshot_of_another_instance_under_that_name_is_refused(away: AwsSimulated) -> None:
    make(away, (REGION_OF[SITE], "other-db"))
    adapter.save_database(save("other-db"), step_of(away))
    with pytest.raises(AdapterError, match="is of another instance than portal-db is now"):
        adapter.save_database(save(), step_of(away))
    with pytest.raises(AdapterError, match="nothing was renamed"):
        adapter.rename_database(rename(), step_of(away))
    assert OLD in names(away)


def test_nothing_is_renamed_without_a_snapshot(away: AwsSimulated) -> None:
    with pytest.raises(AdapterError, match="is not there; nothing was renamed"):
        adapter.rename_database(rename(), step_of(away))
    assert names(away) == {OLD}


def test_what_is_kept_has_another_name_our_mark_and_lets_nobody_in(away: AwsSimulated) -> None:
    own = groups(away, OLD)
    keep(away)
    assert names(away) == {KEPT}
    assert (tags(away, KEPT)["mainstay:environment"], tags(away, KEPT)["mainstay:name"]) == ("city", KEPT)
    assert groups(away, KEPT) != own
    assert adapter.rename_database(rename(), step_of(away)).changed is False
    released = adapter.release_database(ReleaseDatabase(site=SITE, database=KEPT), step_of(away))
    assert (released.changed, groups(away, KEPT)) == (True, own)
    again = adapter.release_database(ReleaseDatabase(site=SITE, database=KEPT), step_of(away))
    assert again.changed is False


def test_keeping_survives_calls_whose_answers_are_lost(away: AwsSimulated) -> None:
    for action, mode in (("CreateDBSnapshot", "applied-then-500"), ("ModifyDBInstance", "drop")):
        away.faults({"mode": mode, "service": "rds", "action": action, "times": 1})
        patiently(lambda: adapter.save_database(save(), step_of(away)))
        patiently(lambda: adapter.rename_database(rename(), step_of(away)))
        assert names(away) == {KEPT}
        adapter.rename_database(rename(database=KEPT, to=OLD, aside=False), step_of(away))
        adapter.release_database(ReleaseDatabase(site=SITE, database=OLD), step_of(away))
    found = away.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    assert [one["DBSnapshotIdentifier"] for one in found] == [KEPT]


# --- replicas -------------------------------------------------------------------------------------


def test_a_replica_takes_the_place_of_what_was_kept_and_is_ours(away: AwsSimulated) -> None:
    own, subnets = groups(away, OLD), shown(away, OLD)["DBSubnetGroup"]
    with pytest.raises(AdapterError, match="is no replica of portal-db-west that this run made"):
        adapter.create_replica(CreateReplica(**LIKE, like=OLD), step_of(away))
    parameters(away, OLD, "city-portal")
    keep(away)
    made = CreateReplica(**LIKE, like=KEPT)
    first, again = adapter.create_replica(made, step_of(away)), adapter.create_replica(made, step_of(away))
    assert (first.changed, again.changed) == (True, False)
    assert shown(away, OLD)["DBParameterGroups"][0]["DBParameterGroupName"] == "city-portal"
    assert groups(away, OLD) == own
    assert shown(away, OLD)["DBSubnetGroup"]["DBSubnetGroupName"] == subnets["DBSubnetGroupName"]
    assert shown(away, OLD)["DBSubnetGroup"]["VpcId"] == subnets["VpcId"]
    assert shown(away, OLD)["ReadReplicaSourceDBInstanceIdentifier"].endswith(f":db:{SERVES}")
    assert tags(away, OLD)["mainstay:run"] == "run-1"
    assert adapter.verify_create_replica(made, step_of(away)).state == "done"
    parameters(away, KEPT, "other")  # as when a run was killed before it gave them
    assert adapter.verify_create_replica(made, step_of(away)).state == "not_done"


@pytest.mark.parametrize("mode", ["applied-then-500", "drop"])
def test_a_replica_whose_answer_was_lost_is_found_and_made_once(away: AwsSimulated, mode: str) -> None:
    keep(away)
    made = CreateReplica(**LIKE, like=KEPT)
    away.faults({"mode": mode, "service": "rds", "action": "CreateDBInstanceReadReplica", "times": 1})
    adapter.create_replica(made, step_of(away))
    assert names(away) == {OLD, KEPT}


def test_a_replica_without_a_model_stands_in_a_network_of_ours(aws: AwsSimulated) -> None:
    make(aws, (WEST, SERVES))
    portal = network("portal", site=SITE, part_of="portal")
    adapter.create_network(CreateSubnet(network=portal), step_of(aws, step="net"))
    adapter.create_replica(CreateReplica(**LIKE, network="portal"), step_of(aws))
    assert shown(aws, OLD)["DBSubnetGroup"]["DBSubnetGroupName"] == f"mainstay-city-{OLD}"


@pytest.fixture
def copied(away: AwsSimulated) -> AwsSimulated:
    keep(away)
    adapter.create_replica(CreateReplica(**LIKE, like=KEPT), step_of(away))
    return away


def wait(**more: object) -> AwaitReplica:
    return AwaitReplica.model_validate({"site": SITE, "database": OLD, "expect_source": SERVES, **more})


def test_a_replica_is_waited_for_until_it_holds_all_since_the_wait_began(copied: AwsSimulated) -> None:
    with pytest.raises(AdapterError, match="is a replica of portal-db-west, expected was one of other-db"):
        adapter.await_replica(wait(expect_source="other-db"), step_of(copied))
    with pytest.raises(AdapterError, match="holds nothing that CloudWatch shows") as told:
        adapter.await_replica(wait(), step_of(copied, timeout_s=0.5))
    assert told.value.transient
    first = datetime.now(UTC) - timedelta(seconds=150)
    measure(copied, OLD, 42.0, first)
    with pytest.raises(AdapterError, match="holds all up to"):
        adapter.await_replica(wait(behind_s=120.0), step_of(copied, timeout_s=0.5))
    assert adapter.await_replica(wait(behind_s=300.0), step_of(copied)).changed is False
    at = first + timedelta(minutes=3)  # the simulator's minutes begin with the first measurement
    measure(copied, OLD, 0.0, at)
    evidence = adapter.await_replica(wait(), step_of(copied)).evidence
    assert isinstance(evidence, DatabaseChange)
    assert evidence.point_at is not None
    assert abs((evidence.point_at - at).total_seconds()) < 1
    assert evidence.source == "simulated"


# --- what goes ------------------------------------------------------------------------------------


def test_a_replica_that_was_promoted_is_not_removed_by_a_way_back(copied: AwsSimulated) -> None:
    remove = RemoveDatabase(site=SITE, database=OLD, expect_source=SERVES)
    promote = PromoteReplica(site=SITE, database=OLD, expect_source=SERVES)
    adapter.promote_replica(promote, step_of(copied))
    with pytest.raises(AdapterError, match="is no replica any more"):
        adapter.remove_database(remove, step_of(copied))
    assert OLD in names(copied)


def test_a_replica_is_removed_by_a_way_back_and_then_the_name_is_given_back(copied: AwsSimulated) -> None:
    adapter.remove_database(RemoveDatabase(site=SITE, database=OLD, expect_source=SERVES), step_of(copied))
    back = rename(database=KEPT, to=OLD, aside=False)
    assert adapter.rename_database(back, step_of(copied)).changed
    assert names(copied) == {OLD}
    assert "mainstay:environment" not in tags(copied, OLD)
    assert adapter.rename_database(back, step_of(copied)).changed is False


def test_only_what_was_kept_aside_is_deleted_and_its_snapshot_stays(away: AwsSimulated) -> None:
    with pytest.raises(AdapterError, match="does not bear the mark of what was kept aside"):
        adapter.delete_database(DeleteDatabase(site=SITE, database=OLD, snapshot=KEPT), step_of(away))
    keep(away)
    with pytest.raises(AdapterError, match="is not there; nothing was deleted"):
        adapter.delete_database(DeleteDatabase(site=SITE, database=KEPT, snapshot="none"), step_of(away))
    delete = DeleteDatabase(site=SITE, database=KEPT, snapshot=KEPT)
    first, again = (
        adapter.delete_database(delete, step_of(away)),
        adapter.delete_database(delete, step_of(away)),
    )
    assert (first.changed, again.changed, names(away)) == (True, False, set())
    found = away.client("rds").describe_db_snapshots(DBSnapshotIdentifier=KEPT)["DBSnapshots"]
    assert found[0]["Status"] == "available"
    assert adapter.verify_delete_database(delete, step_of(away)).state == "done"


def test_an_old_database_in_the_way_is_told_apart_from_a_replica(away: AwsSimulated) -> None:
    environment = environment_of(away)
    seen = adapter.look_at_pilot(environment, SITE, away.state, "portal-images", (SERVES, OLD))
    assert (seen.standing, seen.replica) == (OLD, None)
    keep(away)
    adapter.create_replica(CreateReplica(**LIKE, like=KEPT), step_of(away))
    seen = adapter.look_at_pilot(environment, SITE, away.state, "portal-images", (SERVES, OLD))
    assert seen.standing == ""
    assert seen.replica is not None


def test_a_name_is_looked_up_in_its_zone(aws: AwsSimulated) -> None:
    route53 = aws.client("route53")
    made = route53.create_hosted_zone(Name="city.example", CallerReference="one")["HostedZone"]["Id"]
    values = [{"Value": "10.1.0.2"}, {"Value": "10.1.0.1"}]
    record = {"Name": "portal.city.example", "Type": "A", "TTL": 30, "ResourceRecords": values}
    changes = [{"Action": "CREATE", "ResourceRecordSet": record}]
    route53.change_resource_record_sets(HostedZoneId=made, ChangeBatch={"Changes": changes})
    zone = str(made).rpartition("/")[2]
    found = adapter.look_at_record(environment_of(aws), SITE, aws.state, zone, "portal.city.example")
    assert found == ("10.1.0.1", "10.1.0.2")
