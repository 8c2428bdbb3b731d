"""What every change of an RDS instance needs: its marks, a subnet group, its end, and how it is told."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from automation.adapters.aws.instances import done_once
from automation.adapters.aws.marks import Marks, named, tags_of
from automation.adapters.aws.rds import find_database, list_kind, refuse_late, status_of
from automation.adapters.aws.session import Region, Shown
from automation.model.errors import AdapterError
from automation.model.records import Context
from automation.model.replicas import DatabaseChange
from automation.model.servers import RUN

_POLL_S, _LONGEST_POLL_S = 0.5, 15.0


def marks_for(region: Region, name: str, ctx: Context) -> list[dict[str, str]]:
    """Give the tags of what this run makes or keeps under a name."""
    return Marks(region.environment, name, ctx.run_id).tags()


def told_of(
    region: Region, name: str, verb: str, *, of: str = "", point_at: datetime | None = None
) -> DatabaseChange:
    """Say for the journal what became of a database; the time is by the provider's clock."""
    return DatabaseChange.model_validate(
        {
            "site": region.provider.site,
            "database": name,
            "verb": verb,
            "of": of,
            "point_at": point_at,
            "available_at": now_there(region),
            "source": region.source,
        }
    )


def now_there(region: Region) -> datetime:
    """Give the time by the provider's clock, as far as its answers tell."""
    return datetime.now(UTC) + timedelta(seconds=region.clock_skew_s)


# --- snapshots ---------------------------------------------------------------------------------------


def find_snapshot(region: Region, name: str) -> Shown | None:
    """Give a manual snapshot by its identifier; None when it is not there."""
    what = f"snapshot {name} could not be looked for"
    found = list_kind(region, "snapshots", what, SnapshotType="manual")
    return next((one for one in found if one["DBSnapshotIdentifier"] == name), None)


def require_snapshot(region: Region, database: Shown, name: str, undone: str) -> Shown:
    """Give the whole snapshot of this very instance, whatever it was called when it was taken.

    Args:
        undone: what was not done: renamed, deleted.

    Raises:
        AdapterError: it is not there, not whole, or of another.
    """
    found = find_snapshot(region, name)
    of = str(database["DBInstanceIdentifier"])
    if found is None or found["Status"] != "available":
        how = "is not there" if found is None else f"is {found['Status']}"
        raise AdapterError(f"snapshot {name} of database {of} {how}; nothing was {undone}")
    if found.get("DbiResourceId") != database.get("DbiResourceId"):
        raise AdapterError(
            f"snapshot {name} is of another instance than {of} is now; nothing was {undone}",
            hint="somebody made it anew meanwhile: plan anew",
        )
    return found


# --- subnet groups -----------------------------------------------------------------------------------


def have_subnet_group(region: Region, database: str, network: str, ctx: Context) -> str:
    """Give the group of all subnets of ours in the network's VPC; that RDS wants two zones, RDS says."""
    name = f"mainstay-{region.environment}-{database}"
    what = f"the subnet group of database {database} could not be made"
    if find_subnet_group(region, name) is None:
        own = _subnets(region, Marks(region.environment, network, "").filters(), what)
        beside = _subnets(region, [named("vpc-id", own[0]["VpcId"])], what)
        request = {
            "DBSubnetGroupName": name,
            "DBSubnetGroupDescription": f"of {database}",
            "SubnetIds": sorted(one["SubnetId"] for one in beside if tags_of(one).get(RUN)),
            "Tags": marks_for(region, database, ctx),
        }
        done_once(
            lambda: region.change("rds.create_db_subnet_group", what, once=True, **request),
            lambda: find_subnet_group(region, name) is not None,
        )
    return name


def find_subnet_group(region: Region, name: str) -> Shown | None:
    """Give a subnet group by its name; None when it is not there."""
    what = "subnet groups of databases could not be listed"
    return next(
        (one for one in list_kind(region, "subnet_groups", what) if one["DBSubnetGroupName"] == name), None
    )


def _subnets(region: Region, filters: list[dict[str, Any]], what: str) -> list[Shown]:
    return list(region.pages("ec2.describe_subnets", "Subnets", what, Filters=filters))


# --- the end -----------------------------------------------------------------------------------------


def delete_and_wait(region: Region, name: str, deadline: float, *, keep_backups: bool) -> None:
    """Delete an RDS instance without a last snapshot, and wait until it is gone."""
    what, pause_s = f"database {name} could not be removed", _POLL_S
    seen = find_database(region, name)
    if seen is not None and status_of(seen) != "deleting":
        done_once(
            lambda: region.change(
                "rds.delete_db_instance",
                what,
                DBInstanceIdentifier=name,
                SkipFinalSnapshot=True,
                DeleteAutomatedBackups=not keep_backups,
            ),
            lambda: (one := find_database(region, name)) is None or status_of(one) == "deleting",
        )
    while find_database(region, name) is not None:
        refuse_late(name, "is being deleted", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
