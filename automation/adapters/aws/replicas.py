"""Read replicas of RDS instances of another region: made, and waited for until they hold all."""

import time
from datetime import datetime, timedelta
from typing import Any

from automation.adapters.aws.cut_off import GROUPS
from automation.adapters.aws.database_parts import have_subnet_group, marks_for, now_there, told_of
from automation.adapters.aws.instances import deadline_of, made_once
from automation.adapters.aws.places import places_of
from automation.adapters.aws.rds import (
    address_of,
    await_available,
    find_database,
    groups_of,
    holds_all_up_to,
    rds_tags,
    refuse_late,
    require_database,
    source_of,
    status_of,
)
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import AwaitReplica, CreateReplica
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import RUN

_POLL_S, _LONGEST_POLL_S = 1.0, 10.0


# --- make --------------------------------------------------------------------------------------------


def create_replica(action: CreateReplica, ctx: Context) -> Outcome:
    """Make a replica of a database of another region, and wait until it is available.

    Raises:
        AdapterError: its name is taken by what this run did not make; nothing was changed.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    seen = find_database(region, action.database)
    changed = seen is None
    if seen is None:
        _make(region, action, ctx)
    elif rds_tags(seen).get(RUN) != ctx.run_id or source_of(seen) != action.source:
        raise AdapterError(
            f"database {action.database} is at {region.provider.region} already, and is no replica of "
            f"{action.source} that this run made; nothing was changed",
            hint="somebody made it meanwhile: plan anew",
        )
    seen = _give_parameters(region, action, await_available(region, action.database, deadline), deadline)
    return _replicated(region, action, seen, changed=changed)


def verify_create_replica(action: CreateReplica, ctx: Context) -> Progress:
    """Say whether this run's replica is there, with its parameters; one that is being made is waited for."""
    region = region_of(ctx, action.site)
    seen = find_database(region, action.database)
    if seen is None or rds_tags(seen).get(RUN) != ctx.run_id or status_of(seen) != "available":
        return Progress(state="not_done", why="to make it, or to wait for it, is safe")
    like = find_database(region, action.like) if action.like else None
    if like is not None and lacking_parameters(seen, like):
        return Progress(state="not_done", why="its parameters are not those of what it replaces")
    return Progress(state="done", outcome=_replicated(region, action, seen, changed=True))


def _make(region: Region, action: CreateReplica, ctx: Context) -> None:
    source = require_database(region_of(ctx, action.source_site), action.source)
    what = f"replica {action.database} of {action.source} could not be made"
    tags = marks_for(region, action.database, ctx)
    place = _place_like(region, action, source) if action.like else _place(region, action, ctx, source)

    def make() -> Shown:
        return region.change(
            "rds.create_db_instance_read_replica",
            what,
            once=True,
            DBInstanceIdentifier=action.database,
            SourceDBInstanceIdentifier=source["DBInstanceArn"],
            SourceRegion=region_of(ctx, action.source_site).provider.region,
            PubliclyAccessible=False,
            CopyTagsToSnapshot=True,
            Tags=tags,
            **place,
        )

    made_once(region, what, make, lambda: find_database(region, action.database))


def _place(region: Region, action: CreateReplica, ctx: Context, source: Shown) -> dict[str, Any]:
    """Put it into a network of ours, in the class of its source."""
    (place,) = places_of(region, (action.network,), action.database)
    return {
        "DBSubnetGroupName": have_subnet_group(region, action.database, action.network, ctx),
        "VpcSecurityGroupIds": [place.group_id],
        **({"KmsKeyId": "alias/aws/rds"} if source.get("StorageEncrypted") else {}),
    }


def _place_like(region: Region, action: CreateReplica, source: Shown) -> dict[str, Any]:
    """Put it where another instance stands, with the groups that this one had before it was blocked."""
    like = require_database(region, action.like)
    key = (like.get("KmsKeyId") if like.get("StorageEncrypted") else "") or "alias/aws/rds"
    return {
        "DBInstanceClass": like["DBInstanceClass"],
        "DBSubnetGroupName": like["DBSubnetGroup"]["DBSubnetGroupName"],
        "VpcSecurityGroupIds": own_groups(like),
        **({"MultiAZ": True} if like.get("MultiAZ") else {}),
        **({"KmsKeyId": key} if source.get("StorageEncrypted") else {}),
    }


def own_groups(like: Shown) -> list[str]:
    """Give the groups that an instance had before it was blocked, or has. Pure."""
    return sorted(filter(None, rds_tags(like).get(GROUPS, "").split("/"))) or groups_of(like)


def _give_parameters(region: Region, action: CreateReplica, seen: Shown, deadline: float) -> Shown:
    """Give it the city's own parameter group, if it runs the same release of its engine.

    RDS takes it when a replica is made of few engines alone; a promotion starts the database anew with it.
    """
    wanted = lacking_parameters(seen, require_database(region, action.like)) if action.like else ""
    if not wanted:
        return seen
    region.change(
        "rds.modify_db_instance",
        f"replica {action.database} could not be given the parameters {wanted}",
        DBInstanceIdentifier=action.database,
        DBParameterGroupName=wanted,
        ApplyImmediately=True,
    )
    return await_available(region, action.database, deadline)


def lacking_parameters(replica: Shown, like: Shown) -> str:
    """Name the parameter group that a replica lacks of what it is like; empty: none that fits it. Pure."""
    own = [name for name in _parameters(like) if not name.startswith("default.")]
    if not own or own[0] in _parameters(replica) or _release(like) != _release(replica):
        return ""
    return own[0]


def _parameters(database: Shown) -> list[str]:
    return [str(one["DBParameterGroupName"]) for one in database.get("DBParameterGroups", ())]


def _release(database: Shown) -> tuple[str, str]:
    return str(database.get("Engine")), str(database.get("EngineVersion", "")).partition(".")[0]


def _replicated(region: Region, action: CreateReplica, seen: Shown, *, changed: bool) -> Outcome:
    if source_of(seen) != action.source:
        raise AdapterError(f"database {action.database} copies {source_of(seen) or 'nobody'} by now")
    verb = "replicated" if changed else "found"
    return Outcome(
        changed=changed,
        summary=f"{action.database} copies {action.source} at {region.provider.region}: {address_of(seen)}",
        evidence=told_of(region, action.database, verb, of=action.source),
    )


# --- wait --------------------------------------------------------------------------------------------


def await_replica(action: AwaitReplica, ctx: Context) -> Outcome:
    """Wait until a replica holds all up to when this wait began, less what it may be behind.

    RDS tells that once a minute. Of PostgreSQL it counts from the last transaction that was replayed, and
    where nobody writes RDS itself writes every five minutes: so long the wait may be.

    Raises:
        AdapterError: it copies another or nobody, or CloudWatch does not show it in time.
    """
    region, deadline, pause_s = region_of(ctx, action.site), deadline_of(ctx), _POLL_S
    _require_copy(region, action)
    wanted = now_there(region) - timedelta(seconds=action.behind_s)
    while (holds := _holds(region, action)) is None or holds < wanted:
        shown = "nothing that CloudWatch shows" if holds is None else f"all up to {holds:%H:%M:%S} UTC"
        refuse_late(action.database, f"holds {shown}, wanted is {wanted:%H:%M:%S}", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
    evidence = told_of(region, action.database, "found", of=action.expect_source, point_at=holds)
    summary = f"{action.database} holds all that {action.expect_source} had at {holds:%Y-%m-%d %H:%M:%S} UTC"
    return Outcome(changed=False, summary=summary, evidence=evidence)


def _holds(region: Region, action: AwaitReplica) -> datetime | None:
    seen = _require_copy(region, action)
    return holds_all_up_to(region, action.database) if status_of(seen) == "available" else None


def _require_copy(region: Region, action: AwaitReplica) -> Shown:
    seen = require_database(region, action.database)
    if source_of(seen) != action.expect_source:
        held = f"is a replica of {source_of(seen)}" if source_of(seen) else "is no replica"
        raise AdapterError(
            f"database {action.database} {held}, expected was one of {action.expect_source}; nothing was "
            "changed",
            hint="somebody promoted or made it anew meanwhile: plan anew",
        )
    return seen
