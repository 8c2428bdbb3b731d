"""RDS instances of a pilot light: promoted, restored, blocked, and those of a test removed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from automation.adapters.aws.cut_off import GROUPS
from automation.adapters.aws.database_parts import (
    delete_and_wait,
    find_subnet_group,
    have_subnet_group,
    marks_for,
    told_of,
)
from automation.adapters.aws.faults import was_never_judged
from automation.adapters.aws.guarding import fenced_group
from automation.adapters.aws.instances import deadline_of, done_once, made_once
from automation.adapters.aws.marks import as_tags
from automation.adapters.aws.places import places_of
from automation.adapters.aws.rds import (
    address_of,
    await_available,
    await_groups,
    find_database,
    groups_of,
    holds_all_up_to,
    rds_tags,
    refuse_late,
    replicates,
    require_database,
    source_of,
    status_of,
)
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import BlockDatabase, PromoteReplica, RemoveDatabase, RestoreDatabase
from automation.model.errors import AdapterError, OutcomeUnknown
from automation.model.evidence import ServerState
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import RUN

_POLL_S, _LONGEST_POLL_S = 0.5, 15.0
_BUSY = ("backing-up", "modifying")  # RDS promotes none meanwhile; of any other state it is left to judge
_PROMOTING = ("modifying", "rebooting")  # what RDS says of a replica until it is a database of its own
_SERVES_TOO = ("storage-optimization",)  # for hours, and it takes writes


# --- promote -----------------------------------------------------------------------------------------


def promote_replica(action: PromoteReplica, ctx: Context) -> Outcome:
    """Make a read replica a database of its own, and wait until it takes writes.

    RDS promotes none that it backs up or changes just then: that is waited for first.

    Raises:
        AdapterError: it is the replica of another, or of none, or not ready in time; nothing was changed.
            Any error after RDS was asked says `unknown`: a promotion that it took must not be called failed.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    with _not_asked_for(action.database):
        region.require_account()
        replica = _await_ready(region, action, deadline)
    point_at = None
    if source_of(replica):
        point_at = holds_all_up_to(region, action.database)
        _begin(region, action.database)
    with _perhaps_promoted(action.database):
        return _promoted(region, action, _await_own(region, action.database, deadline), point_at)


def verify_promote_replica(action: PromoteReplica, ctx: Context) -> Progress:
    """Say whether it copies nobody any more, when that is certain to be shown.

    One that may be on the way there is waited for: to begin again beside a promotion that shows only then
    would find a replica no more. One that surely is not holds nothing up: clients may wait for a take-back.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    for _ in region.settled():
        seen = _await_judged(region, action.database, deadline)
        if not source_of(seen):
            seen = await_available(region, action.database, deadline, or_in=_SERVES_TOO)
            return Progress(state="done", outcome=_promoted(region, action, seen, None))
    how = f"copies {source_of(seen)}, and is {status_of(seen)}"
    return Progress(state="not_done", why=f"{action.database} {how}")


def _await_judged(region: Region, name: str, deadline: float) -> Shown:
    """Wait while a replica may be on its way to be a database of its own."""
    seen, pause_s = require_database(region, name), _POLL_S
    while source_of(seen) and _may_be_promoted_now(seen):
        refuse_late(name, f"is {status_of(seen)} and still copies {source_of(seen)}", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        seen = require_database(region, name)
    return seen


def _may_be_promoted_now(seen: Shown) -> bool:
    """RDS may back one up as it promotes it; it does not copy its source any more by then."""
    return status_of(seen) in _PROMOTING or (status_of(seen) == "backing-up" and not replicates(seen))


def _await_ready(region: Region, action: PromoteReplica, deadline: float) -> Shown:
    """Wait while RDS is busy with the replica, for as long as clients may be without it."""
    seen, pause_s = require_database(region, action.database), _POLL_S
    _require_replica(seen, action)
    until = min(deadline, time.monotonic() + action.ready_within_s)
    while source_of(seen) and status_of(seen) in _BUSY:
        if time.monotonic() > until:
            raise AdapterError(
                f"database {action.database} is {status_of(seen)} for too long",
                hint="RDS promotes none that it backs up or changes: see how far it is, then again",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        seen = require_database(region, action.database)
    return seen


def _require_replica(seen: Shown, action: PromoteReplica) -> None:
    source = source_of(seen)
    if source != action.expect_source:
        held = f"is a replica of {source}" if source else "is no replica"
        raise AdapterError(
            f"database {action.database} {held}, expected was one of {action.expect_source}; nothing was "
            "changed",
            hint="somebody promoted or made it anew meanwhile: plan anew",
        )


def _begin(region: Region, name: str) -> None:
    """Ask for the promotion; an error counts for nothing once it is seen to have begun."""
    what = f"database {name} could not be promoted"
    try:
        region.change("rds.promote_read_replica", what, once=True, DBInstanceIdentifier=name)
    except AdapterError as exc:
        if not _has_begun(region, name, exc):
            raise AdapterError(str(exc), unknown=exc.unknown, hint=exc.hint) from exc


def _has_begun(region: Region, name: str, refused: AdapterError) -> bool:
    """Look whether a promotion is on its way all the same."""
    if was_never_judged(refused):
        return False
    with _perhaps_promoted(name):
        looks = (require_database(region, name) for _ in (region.settled() if refused.unknown else (None,)))
        return any(not source_of(one) or status_of(one) in _PROMOTING for one in looks)


def _await_own(region: Region, name: str, deadline: float) -> Shown:
    seen = await_available(region, name, deadline, or_in=_SERVES_TOO)
    pause_s = _POLL_S
    while source_of(seen):
        refuse_late(name, f"still copies {source_of(seen)}", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        seen = await_available(region, name, deadline, or_in=_SERVES_TOO)
    return seen


@contextmanager
def _not_asked_for(name: str) -> Iterator[None]:
    """Say of every error that no promotion was asked for: what a move has stopped may serve again."""
    try:
        yield
    except AdapterError as exc:
        said = f"{_bare(exc)}; {name} was not asked to promote: nothing was changed"
        raise AdapterError(said, hint=exc.hint) from exc


@contextmanager
def _perhaps_promoted(name: str) -> Iterator[None]:
    """Say of every error that RDS was asked, and may have done it: what it is then is looked at first."""
    try:
        yield
    except (AdapterError, OutcomeUnknown) as exc:
        said = f"database {name} was asked to promote, and whether it is by now is not known: {_bare(exc)}"
        raise AdapterError(said, unknown=True, hint=exc.hint) from exc


def _bare(exc: Exception) -> str:
    """Leave out what an error says of changes: that is another thing for the whole of a promotion."""
    return str(exc).removesuffix(" by this call").removesuffix("; nothing was changed")


def _promoted(region: Region, action: PromoteReplica, seen: Shown, point_at: datetime | None) -> Outcome:
    evidence = told_of(region, action.database, "promoted", of=action.expect_source, point_at=point_at)
    return Outcome(
        changed=True,
        summary=f"database {action.database} takes writes at {region.provider.region}, and copies nobody: "
        f"{address_of(seen)}",
        evidence=evidence,
    )


# --- restore -----------------------------------------------------------------------------------------


def restore_database(action: RestoreDatabase, ctx: Context) -> Outcome:
    """Make a database of a snapshot, in the VPC of a network of ours, and wait until it serves."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    seen = find_database(region, action.database)
    changed = seen is None
    if seen is None:
        _make(region, action, ctx)
    elif rds_tags(seen).get(RUN) != ctx.run_id:
        raise AdapterError(
            f"database {action.database} is at {region.provider.region} already, and this run did not make "
            "it; nothing was changed",
            hint="see whose it is: a restore makes a new one, under a name that is free",
        )
    return _restored(region, action, await_available(region, action.database, deadline), changed=changed)


def verify_restore_database(action: RestoreDatabase, ctx: Context) -> Progress:
    """Say whether this run's database is there; one that is being made is waited for."""
    region = region_of(ctx, action.site)
    seen = find_database(region, action.database)
    if seen is None or rds_tags(seen).get(RUN) != ctx.run_id or status_of(seen) != "available":
        return Progress(state="not_done", why="to make it, or to wait for it, is safe")
    return Progress(state="done", outcome=_restored(region, action, seen, changed=True))


def _make(region: Region, action: RestoreDatabase, ctx: Context) -> None:
    (place,) = places_of(region, (action.network,), action.database)
    what = f"database {action.database} could not be restored from {action.snapshot}"
    tags = marks_for(region, action.database, ctx)
    subnets = have_subnet_group(region, action.database, action.network, ctx)

    def make() -> Shown:
        return region.change(
            "rds.restore_db_instance_from_db_snapshot",
            what,
            once=True,
            DBInstanceIdentifier=action.database,
            DBSnapshotIdentifier=action.snapshot,
            DBSubnetGroupName=subnets,
            VpcSecurityGroupIds=[place.group_id],
            PubliclyAccessible=False,
            CopyTagsToSnapshot=True,
            Tags=tags,
        )

    made_once(region, what, make, lambda: find_database(region, action.database))


def _restored(region: Region, action: RestoreDatabase, seen: Shown, *, changed: bool) -> Outcome:
    evidence = told_of(
        region,
        action.database,
        "restored" if changed else "found",
        of=action.snapshot,
        point_at=action.taken_at,
    )
    return Outcome(
        changed=changed,
        summary=f"database {action.database} of {action.snapshot} serves at {address_of(seen)}: all up to "
        f"{action.taken_at:%Y-%m-%d %H:%M:%S} UTC",
        evidence=evidence,
    )


# --- block, remove -----------------------------------------------------------------------------------


def block_database(action: BlockDatabase, ctx: Context) -> Outcome:
    """Give a database the group that lets nothing in, alone; what it had is written on it before."""
    region = region_of(ctx, action.site)
    group, changed = shut_database(region, action.database, ctx, deadline_of(ctx))
    return Outcome(
        changed=changed,
        summary=f"database {action.database} lets nobody in: it is in {group} alone, which has no rule",
        evidence=ServerState(
            server=action.database, power="on", autostart=True, network="blocked", source=region.source
        ),
    )


def shut_database(region: Region, name: str, ctx: Context, deadline: float) -> tuple[str, bool]:
    """Leave a database in the group without rules alone; give that group, and whether it was not so."""
    seen = await_available(region, name, deadline)
    group = fenced_group(region, seen["DBSubnetGroup"]["VpcId"], ctx)
    if groups_of(seen) == [group]:
        return group, False
    what = f"database {name} could not be blocked"
    if GROUPS not in rds_tags(seen):
        tags = as_tags({GROUPS: "/".join(groups_of(seen))})
        region.change("rds.add_tags_to_resource", what, ResourceName=seen["DBInstanceArn"], Tags=tags)
    region.change(
        "rds.modify_db_instance",
        what,
        DBInstanceIdentifier=name,
        VpcSecurityGroupIds=[group],
        ApplyImmediately=True,
    )
    await_groups(region, name, [group], deadline)
    return group, True


def verify_block_database(action: BlockDatabase, ctx: Context) -> Progress:
    """It is looked at before it is changed: doing it again does what is left."""
    return Progress(state="not_done", why="to block what still is not is safe")


def remove_database(action: RemoveDatabase, ctx: Context) -> Outcome:
    """Delete a database that this run made, and the subnet group that it made for it."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    seen = find_database(region, action.database)
    if seen is not None:
        _delete(region, seen, action, ctx, deadline)
    group = find_subnet_group(region, f"mainstay-{region.environment}-{action.database}")
    if group is not None and seen is not None:
        name, what = group["DBSubnetGroupName"], f"the subnet group of {action.database} could not be removed"
        done_once(
            lambda: region.change("rds.delete_db_subnet_group", what, DBSubnetGroupName=name),
            lambda: find_subnet_group(region, name) is None,
        )
    said = "is removed" if seen is not None else "is not there"
    return Outcome(
        changed=seen is not None,
        summary=f"database {action.database} {said}",
        evidence=told_of(region, action.database, "deleted"),
    )


def verify_remove_database(action: RemoveDatabase, ctx: Context) -> Progress:
    """Say whether it is gone; one that stands is removed by doing it again."""
    region = region_of(ctx, action.site)
    if find_database(region, action.database) is not None:
        return Progress(state="not_done", why=f"database {action.database} is there")
    return Progress(state="done", outcome=remove_database(action, ctx))


def _delete(region: Region, seen: Shown, action: RemoveDatabase, ctx: Context, deadline: float) -> None:
    if rds_tags(seen).get(RUN) != ctx.run_id:
        raise AdapterError(
            f"database {action.database} was not made by this run; nothing was changed",
            hint="a run removes what it made alone; see whose it is before you remove it",
        )
    if status_of(seen) != "deleting" and action.expect_source not in ("", source_of(seen)):
        held = f"is a replica of {source_of(seen)}" if source_of(seen) else "is no replica any more"
        raise AdapterError(
            f"database {action.database} {held}, expected was one of {action.expect_source}; nothing was "
            "changed",
            hint="it may hold what no other does: look at it before you remove it",
        )
    delete_and_wait(region, action.database, deadline, keep_backups=False)
