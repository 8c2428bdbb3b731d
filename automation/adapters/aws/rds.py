"""RDS instances as they are: found, listed, waited for."""

import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

from automation.adapters.aws.marks import tags_of
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError, OutcomeUnknown

_POLL_S, _LONGEST_POLL_S = 0.5, 15.0
_FAILED = (
    "failed",
    "incompatible-network",
    "incompatible-parameters",
    "incompatible-restore",
    "restore-error",
)
_NAMED = "db-instance-id"
_LAG_WITHIN = timedelta(minutes=10)  # an older measurement says nothing of now
_MINUTE_S = 60


def find_database(region: Region, name: str) -> Shown | None:
    """Give an RDS instance by its identifier; None when it is not there."""
    what = f"database {name} could not be looked for"
    filters = [{"Name": _NAMED, "Values": [name]}]
    found = list(list_kind(region, "instances", what, Filters=filters))
    return found[0] if found else None


_KINDS = {
    "instances": ("rds.describe_db_instances", "DBInstances"),
    "snapshots": ("rds.describe_db_snapshots", "DBSnapshots"),
    "subnet_groups": ("rds.describe_db_subnet_groups", "DBSubnetGroups"),
}


def list_kind(region: Region, kind: str, what: str, **parameters: object) -> list[Shown]:
    """List all of a kind; RDS pages by `Marker`."""
    (call, key), found, more = _KINDS[kind], list[Shown](), dict[str, object]()
    while True:
        answer = region.read(call, what, MaxRecords=100, **parameters, **more)
        found += answer.get(key, ())
        if not answer.get("Marker"):
            return found
        more = {"Marker": answer["Marker"]}


def list_databases(region: Region) -> Mapping[str, str]:
    """Give everything of RDS in a region with its state, for a comparison before and after."""
    what = "databases could not be listed"
    items = {
        f"database {one['DBInstanceIdentifier']}": status_of(one)
        for one in list_kind(region, "instances", what)
    }
    for one in list_kind(region, "snapshots", what, SnapshotType="manual"):
        items[f"database snapshot {one['DBSnapshotIdentifier']}"] = str(one["Status"])
    for one in list_kind(region, "subnet_groups", what):
        items[f"subnet group {one['DBSubnetGroupName']}"] = str(one["VpcId"])
    return items


def snapshots_of(region: Region, database: str) -> list[Shown]:
    """List the whole snapshots of a database that are in a region, copies of another region's among them."""
    what = f"snapshots of database {database} could not be listed"
    found = list_kind(region, "snapshots", what, SnapshotType="manual")
    return [one for one in found if one["DBInstanceIdentifier"] == database and one["Status"] == "available"]


def require_database(region: Region, name: str) -> Shown:
    """Give an RDS instance, or refuse."""
    seen = find_database(region, name)
    if seen is None:
        raise AdapterError(f"database {name} is not at {region.provider.region}; nothing was changed")
    return seen


def await_available(region: Region, name: str, deadline: float, *, or_in: Collection[str] = ()) -> Shown:
    """Wait until a database is available, or in a state that will do as well; give how it is then."""
    seen, pause_s = require_database(region, name), _POLL_S
    while status_of(seen) not in ("available", *or_in):
        if status_of(seen) in _FAILED:
            raise OutcomeUnknown(
                f"database {name} is {status_of(seen)}",
                hint="see its events at AWS: RDS does not mend it by itself",
            )
        refuse_late(name, f"is {status_of(seen)}", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        seen = require_database(region, name)
    return seen


def await_groups(region: Region, name: str, groups: list[str], deadline: float) -> Shown:
    """Wait until a database is in these groups alone."""
    seen, pause_s = require_database(region, name), _POLL_S
    while groups_of(seen) != groups:
        refuse_late(name, f"is still in {', '.join(groups_of(seen))}", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        seen = require_database(region, name)
    return seen


def refuse_late(name: str, how: str, deadline: float) -> None:
    """Refuse to wait longer than the step may."""
    if time.monotonic() > deadline:
        raise AdapterError(
            f"database {name} {how}, and the step's time is over",
            transient=True,
            hint="a resumed run goes on waiting",
        )


def status_of(database: Shown) -> str:
    """Give the state of a database in RDS's words."""
    return str(database["DBInstanceStatus"])


def groups_of(database: Shown) -> list[str]:
    """The groups that are in force; one that is being removed still lets in."""
    return sorted(one["VpcSecurityGroupId"] for one in database.get("VpcSecurityGroups", ()))


def rds_tags(database: Shown) -> dict[str, str]:
    """Read the tags of anything that RDS shows."""
    return tags_of({"Tags": database.get("TagList", ())})


def address_of(database: Shown) -> str:
    """Give where a database is reached."""
    endpoint = database.get("Endpoint") or {}
    return f"{endpoint.get('Address', 'no address')}:{endpoint.get('Port', '')}"


def source_of(database: Shown) -> str:
    """Name the database that a replica copies, in whichever region that is; empty: it copies none."""
    return str(database.get("ReadReplicaSourceDBInstanceIdentifier") or "").rpartition(":")[2]


def replicates(database: Shown) -> bool:
    """Whether RDS says of a replica that it copies its source now."""
    return any(one.get("Status") == "replicating" for one in database.get("StatusInfos", ()))


def holds_all_up_to(region: Region, name: str) -> datetime | None:
    """Give the moment up to which a replica holds all: its newest measurement less the lag that it shows.

    None when there is no measurement, or we may not read it: that stops no failover.
    """
    now = datetime.now(UTC)
    try:
        answer = _lag(region, name, now)
    except AdapterError:
        return None
    newest = max(answer.get("Datapoints", ()), key=lambda one: one["Timestamp"], default=None)
    if newest is None or newest["Maximum"] < 0:  # RDS says -1 while it does not replicate
        return None
    at: datetime = newest["Timestamp"]
    return at.astimezone(UTC) - timedelta(seconds=float(newest["Maximum"]))


def _lag(region: Region, name: str, now: datetime) -> Shown:
    return region.read(
        "cloudwatch.get_metric_statistics",
        f"the lag of database {name} could not be read",
        Namespace="AWS/RDS",
        MetricName="ReplicaLag",
        Dimensions=[{"Name": "DBInstanceIdentifier", "Value": name}],
        StartTime=now - _LAG_WITHIN,
        EndTime=now + timedelta(seconds=_MINUTE_S),
        Period=_MINUTE_S,
        Statistics=["Maximum"],
    )
