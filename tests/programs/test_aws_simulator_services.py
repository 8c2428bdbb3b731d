"""RDS, Route 53 and quotas of the simulated AWS, its second life, and the lab's hosts that it powers."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.programs.aws_asked import (
    FOR_EVER_S,
    HERE,
    THERE,
    error_of,
    launch,
    launched,
    shown,
    state,
    subnet_of,
)
from tests.programs.simulators import PATIENCE_S, AwsSimulated, simulated_aws


@pytest.fixture(autouse=True)
def slow(aws: AwsSimulated) -> None:
    """Nothing changes by itself: a test lets it, by `settle`."""
    aws.pace(FOR_EVER_S)


# --- databases ---------------------------------------------------------------------------------------


def database(aws: AwsSimulated, name: str = "portal", **more: Any) -> dict[str, Any]:
    """Make a database that is available."""
    login = {"MasterUsername": "portal", "MasterUserPassword": "not-a-secret"}
    sized = {"Engine": "postgres", "DBInstanceClass": "db.t3.micro", "AllocatedStorage": 20}
    rds = aws.client("rds")
    request = {"DBInstanceIdentifier": name, "BackupRetentionPeriod": 7, **login, **sized}
    made = rds.create_db_instance(**{**request, **more})
    assert made["DBInstance"]["DBInstanceStatus"] == "creating"
    aws.settle()
    return found(aws, name)


def found(aws: AwsSimulated, name: str, region: str = HERE) -> dict[str, Any]:
    shown = aws.client("rds", region).describe_db_instances(DBInstanceIdentifier=name)
    return dict(shown["DBInstances"][0])


def replica_there(aws: AwsSimulated) -> dict[str, Any]:
    """Make a database here and its replica in the other region."""
    source = database(aws)
    there = aws.client("rds", THERE)
    there.create_db_instance_read_replica(
        DBInstanceIdentifier="portal-b", SourceDBInstanceIdentifier=source["DBInstanceArn"]
    )
    return source


def test_a_replica_that_is_promoted_has_no_source_any_more(aws: AwsSimulated) -> None:
    source, there = replica_there(aws), aws.client("rds", THERE)
    promote = {"DBInstanceIdentifier": "portal-b", "BackupRetentionPeriod": 7}
    assert error_of(there.promote_read_replica, **promote)[0] == "InvalidDBInstanceState"
    aws.settle()
    replica = found(aws, "portal-b", THERE)
    assert replica["ReadReplicaSourceDBInstanceIdentifier"] == source["DBInstanceArn"]
    assert found(aws, "portal")["ReadReplicaDBInstanceIdentifiers"] == [replica["DBInstanceArn"]]
    assert replica["DbiResourceId"] != source["DbiResourceId"]
    assert there.promote_read_replica(**promote)["DBInstance"]["DBInstanceStatus"] == "modifying"
    aws.settle()
    promoted = found(aws, "portal-b", THERE)
    assert promoted["DBInstanceStatus"] == "available"
    assert "ReadReplicaSourceDBInstanceIdentifier" not in promoted
    assert promoted["BackupRetentionPeriod"] == 7
    assert found(aws, "portal")["ReadReplicaDBInstanceIdentifiers"] == []
    assert error_of(there.promote_read_replica, **promote) == ("InvalidDBInstanceState", 400)
    unknown = {"DBInstanceIdentifier": "nobody"}
    assert error_of(there.promote_read_replica, **unknown) == ("DBInstanceNotFound", 404)


def test_a_replica_stands_in_the_subnets_of_its_own_region(aws: AwsSimulated) -> None:
    source = replica_there(aws)
    aws.settle()
    replica = found(aws, "portal-b", THERE)
    assert source["DBSubnetGroup"]["DBSubnetGroupName"] == "default"
    assert replica["DBSubnetGroup"]["DBSubnetGroupName"] == "default"
    assert replica["DBSubnetGroup"]["VpcId"] != source["DBSubnetGroup"]["VpcId"]
    groups = [one["VpcSecurityGroupId"] for one in replica["VpcSecurityGroups"]]
    shown = aws.client("ec2", THERE).describe_security_groups(GroupIds=groups)["SecurityGroups"]
    assert [one["VpcId"] for one in shown] == [replica["DBSubnetGroup"]["VpcId"]]


def test_a_replica_that_is_promoted_keeps_backups_for_a_day_so_that_it_can_be_copied(
    aws: AwsSimulated,
) -> None:
    replica_there(aws)
    aws.settle()
    aws.client("rds", THERE).promote_read_replica(DBInstanceIdentifier="portal-b")
    aws.settle()
    promoted = found(aws, "portal-b", THERE)
    assert promoted["BackupRetentionPeriod"] == 1
    again = {"DBInstanceIdentifier": "portal-c", "SourceDBInstanceIdentifier": promoted["DBInstanceArn"]}
    made = aws.client("rds").create_db_instance_read_replica(**again)["DBInstance"]
    assert made["ReadReplicaSourceDBInstanceIdentifier"] == promoted["DBInstanceArn"]


def test_a_database_that_is_renamed_keeps_its_data_and_frees_its_name(aws: AwsSimulated) -> None:
    before = database(aws)
    words = {"DBInstanceIdentifier": "portal", "NewDBInstanceIdentifier": "portal-kept"}
    aws.client("rds").modify_db_instance(**words, ApplyImmediately=True)
    aws.settle()
    assert found(aws, "portal-kept")["DbiResourceId"] == before["DbiResourceId"]
    gone = {"DBInstanceIdentifier": "portal"}
    assert error_of(aws.client("rds").describe_db_instances, **gone)[0] == "DBInstanceNotFound"


def test_a_replica_in_another_region_can_be_deleted(aws: AwsSimulated) -> None:
    replica_there(aws)
    aws.settle()
    there = aws.client("rds", THERE)
    there.delete_db_instance(DBInstanceIdentifier="portal-b", SkipFinalSnapshot=True)
    assert found(aws, "portal-b", THERE)["DBInstanceStatus"] == "deleting"
    again = {"DBInstanceIdentifier": "portal-b", "SkipFinalSnapshot": True}
    assert error_of(there.delete_db_instance, **again)[0] == "InvalidDBInstanceState"
    aws.settle()
    assert error_of(there.describe_db_instances, DBInstanceIdentifier="portal-b")[0] == "DBInstanceNotFound"
    assert found(aws, "portal")["ReadReplicaDBInstanceIdentifiers"] == []


def test_a_replica_needs_a_source_with_backups_that_is_available_and_a_free_name(aws: AwsSimulated) -> None:
    rds = aws.client("rds")
    database(aws)
    taken = {"DBInstanceIdentifier": "portal", "SourceDBInstanceIdentifier": "portal"}
    assert error_of(rds.create_db_instance_read_replica, **taken)[0] == "DBInstanceAlreadyExists"
    rds.modify_db_instance(DBInstanceIdentifier="portal", BackupRetentionPeriod=0, ApplyImmediately=True)
    busy = {"DBInstanceIdentifier": "portal-b", "SourceDBInstanceIdentifier": "portal"}
    assert error_of(rds.create_db_instance_read_replica, **busy)[0] == "InvalidDBInstanceState"
    aws.settle()
    assert error_of(rds.create_db_instance_read_replica, **busy)[0] == "InvalidDBInstanceState"


def test_a_database_snapshot_is_creating_first_and_restores_to_one_of_its_own(aws: AwsSimulated) -> None:
    rds = aws.client("rds")
    source = database(aws)
    rds.create_db_snapshot(DBInstanceIdentifier="portal", DBSnapshotIdentifier="night")
    restore = {"DBInstanceIdentifier": "portal-2", "DBSnapshotIdentifier": "night"}
    assert error_of(rds.restore_db_instance_from_db_snapshot, **restore)[0] == "InvalidDBSnapshotState"
    assert error_of(rds.delete_db_snapshot, DBSnapshotIdentifier="night")[0] == "InvalidDBSnapshotState"
    aws.settle()
    rds.restore_db_instance_from_db_snapshot(**restore)
    aws.settle()
    restored = found(aws, "portal-2")
    assert restored["DBInstanceStatus"] == "available"
    assert restored["DbiResourceId"] != source["DbiResourceId"]


def test_a_database_snapshot_is_copied_to_another_region(aws: AwsSimulated) -> None:
    database(aws)
    made = aws.client("rds").create_db_snapshot(DBInstanceIdentifier="portal", DBSnapshotIdentifier="night")
    there = aws.client("rds", THERE)
    copy = {
        "SourceDBSnapshotIdentifier": made["DBSnapshot"]["DBSnapshotArn"],
        "TargetDBSnapshotIdentifier": "night-copy",
        "SourceRegion": HERE,
    }
    assert error_of(there.copy_db_snapshot, **copy)[0] == "InvalidDBSnapshotState"
    aws.settle()
    assert there.copy_db_snapshot(**copy)["DBSnapshot"]["Status"] == "creating"
    aws.settle()
    shown = there.describe_db_snapshots(DBSnapshotIdentifier="night-copy")["DBSnapshots"][0]
    assert shown["Status"] == "available"


# --- names -------------------------------------------------------------------------------------------


def record(value: str, ttl: int = 60) -> dict[str, Any]:
    return {
        "Name": "portal.city.example.",
        "Type": "CNAME",
        "TTL": ttl,
        "ResourceRecords": [{"Value": value}],
    }


def change(aws: AwsSimulated, zone: str, *batch: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    changes = [{"Action": action, "ResourceRecordSet": one} for action, one in batch]
    names = aws.client("route53")
    answer = names.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    return dict(answer["ChangeInfo"])


@pytest.fixture
def zone(aws: AwsSimulated) -> str:
    made = aws.client("route53").create_hosted_zone(Name="city.example", CallerReference="zone")
    return str(made["HostedZone"]["Id"])


def value_of(aws: AwsSimulated, zone: str) -> list[str]:
    sets = aws.client("route53").list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return [one["ResourceRecords"][0]["Value"] for one in sets if one["Type"] == "CNAME"]


def test_a_swap_is_refused_whole_unless_the_record_is_what_it_says(aws: AwsSimulated, zone: str) -> None:
    change(aws, zone, ("CREATE", record("a.example")))
    change(aws, zone, ("UPSERT", record("b.example")))
    with pytest.raises(ClientError, match="do not match the current values"):
        change(aws, zone, ("DELETE", record("a.example")), ("CREATE", record("c.example")))
    with pytest.raises(ClientError, match="do not match the current values"):
        change(aws, zone, ("DELETE", record("b.example", 300)), ("CREATE", record("c.example")))
    assert value_of(aws, zone) == ["b.example"]
    change(aws, zone, ("DELETE", record("b.example")), ("CREATE", record("c.example")))
    assert value_of(aws, zone) == ["c.example"]


def test_a_record_is_not_made_twice_nor_deleted_when_it_is_not_there(aws: AwsSimulated, zone: str) -> None:
    with pytest.raises(ClientError, match="was not found"):
        change(aws, zone, ("DELETE", record("a.example")))
    change(aws, zone, ("CREATE", record("a.example")))
    with pytest.raises(ClientError, match="already exists"):
        change(aws, zone, ("CREATE", record("b.example")))
    assert value_of(aws, zone) == ["a.example"]


def test_a_change_is_pending_until_all_servers_have_it(aws: AwsSimulated, zone: str) -> None:
    names = aws.client("route53")
    told = change(aws, zone, ("CREATE", record("a.example")))
    assert told["Status"] == "PENDING"
    assert names.get_change(Id=told["Id"])["ChangeInfo"]["Status"] == "PENDING"
    aws.settle()
    assert names.get_change(Id=told["Id"])["ChangeInfo"]["Status"] == "INSYNC"
    assert error_of(names.get_change, Id="C0123456789")[0] == "NoSuchChange"


# --- an AWS of a lab: quotas, another life, and hosts ------------------------------------------------


class Supervisor:
    """The lab's supervisor, as far as a simulator knows it."""

    def __init__(self, path: Path) -> None:
        self.asked: list[dict[str, str]] = []
        self.refuses = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as both:
                self.asked.append(json.loads(both.readline()))
                result = {"host": "portal-1", "host_key": "ssh-ed25519 AAAAhost root@portal-1"}
                refused = {"ok": False, "error": "site cloud has no power"}
                answer = refused if self.refuses else {"ok": True, "result": result}
                both.write(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def in_a_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AwsSimulated, Supervisor]]:
    """A simulated AWS whose one instance is a host of a lab, with room for three small instances."""
    folder = tmp_path_factory.mktemp("lab")
    supervisor = Supervisor(folder / "ctl.sock")
    powers = {f"{HERE}/web-1": {"host": "portal-1", "address": "10.1.1.1", "site": "cloud"}}
    told = {"powers": powers, "supervisor": str(folder / "ctl.sock"), "lab_id": "city", "simulator": "aws"}
    try:
        with simulated_aws(folder, **told, quotas={"L-1216C47A": 6}) as aws:
            yield aws, supervisor
    finally:
        supervisor.close()


@pytest.fixture
def lab(in_a_lab: tuple[AwsSimulated, Supervisor]) -> tuple[AwsSimulated, Supervisor]:
    """The same, as it was when it started."""
    aws, supervisor = in_a_lab
    aws.reset()
    supervisor.asked.clear()
    supervisor.refuses = False
    return in_a_lab


def until(aws: AwsSimulated, instance: str, wanted: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while state(aws, instance) != wanted:
        assert time.monotonic() < deadline, f"{instance} does not get {wanted}"
        time.sleep(0.05)


def test_quotas_are_told_and_that_of_processors_is_held(lab: tuple[AwsSimulated, Supervisor]) -> None:
    aws, _ = lab
    quotas = aws.client("service-quotas")
    told = quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]
    assert told["Value"] == 6
    assert quotas.list_service_quotas(ServiceCode="vpc")["Quotas"]
    made = [launch(aws, f"web-{number}") for number in range(2, 5)]
    assert error_of(launch, aws=aws, name="web-5") == ("VcpuLimitExceeded", 400)
    aws.client("ec2").terminate_instances(InstanceIds=made[:1])
    launch(aws, "web-5")


def test_the_lab_s_host_follows_the_power_of_its_instance_and_of_no_other(
    lab: tuple[AwsSimulated, Supervisor],
) -> None:
    aws, supervisor = lab
    ec2 = aws.client("ec2")
    until(aws, launch(aws, "web-2"), "running")
    one = launch(aws)
    until(aws, one, "running")
    assert "ssh-ed25519 AAAAhost" in ec2.get_console_output(InstanceId=one)["Output"]
    for force in (False, True):
        ec2.stop_instances(InstanceIds=[one], Force=force)
        until(aws, one, "stopped")
        ec2.start_instances(InstanceIds=[one])
        until(aws, one, "running")
    ec2.terminate_instances(InstanceIds=[one])
    until(aws, one, "terminated")
    assert [asked["power"] for asked in supervisor.asked] == ["on", "down", "on", "off", "on", "gone"]
    first = supervisor.asked[0]
    assert (first["request"], first["machine"]) == ("power_machine", f"{HERE}/web-1")
    assert (first["lab_id"], first["simulator"]) == ("city", "aws")


def test_an_instance_whose_host_does_not_start_stands_and_says_why(
    lab: tuple[AwsSimulated, Supervisor],
) -> None:
    aws, supervisor = lab
    supervisor.refuses = True
    one = launch(aws)
    until(aws, one, "stopped")
    assert "no power" in shown(aws, one)["StateReason"]["Message"]


def test_an_instance_whose_host_is_not_cut_is_never_called_stopped(
    lab: tuple[AwsSimulated, Supervisor],
) -> None:
    aws, supervisor = lab
    one = launch(aws)
    until(aws, one, "running")
    supervisor.refuses = True
    aws.client("ec2").stop_instances(InstanceIds=[one], Force=True)
    deadline = time.monotonic() + PATIENCE_S
    while "no power" not in shown(aws, one)["StateReason"]["Message"]:
        assert time.monotonic() < deadline, "it does not say why"
        time.sleep(0.05)
    assert state(aws, one) == "stopping"


def test_what_there_was_is_there_again_with_what_was_under_way(lab: tuple[AwsSimulated, Supervisor]) -> None:
    aws, _ = lab
    aws.pace(FOR_EVER_S)
    _, subnet, _ = subnet_of(aws)
    one = launched(aws, "web-2", SubnetId=subnet, ClientToken="run-1")
    database(aws)
    aws.client("ec2").stop_instances(InstanceIds=[one])
    aws.restart()
    aws.pace(FOR_EVER_S)
    assert state(aws, one) == "stopping"
    assert launch(aws, "web-2", SubnetId=subnet, ClientToken="run-1") == one
    assert found(aws, "portal")["DBInstanceStatus"] == "available"
    aws.settle()
    assert state(aws, one) == "stopped"
    address = shown(aws, launch(aws, "web-3", SubnetId=subnet))["PrivateIpAddress"]
    assert address != shown(aws, one)["PrivateIpAddress"]


def test_what_is_not_simulated_says_so(aws: AwsSimulated) -> None:
    code, status = error_of(aws.client("ec2").describe_fast_snapshot_restores)
    assert (code, status) == ("SimulatorLacksThis", 501)
