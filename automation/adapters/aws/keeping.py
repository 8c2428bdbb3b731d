"""RDS instances that give way to a replica: saved, renamed, released from their block, at last deleted."""

import time
from datetime import datetime

from automation.adapters.aws.cut_off import GROUPS
from automation.adapters.aws.database_parts import (
    delete_and_wait,
    find_snapshot,
    marks_for,
    require_snapshot,
    told_of,
)
from automation.adapters.aws.databases import shut_database
from automation.adapters.aws.instances import deadline_of, done_once, made_once
from automation.adapters.aws.rds import (
    await_available,
    await_groups,
    find_database,
    rds_tags,
    refuse_late,
)
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import DeleteDatabase, ReleaseDatabase, RenameDatabase, SaveDatabase
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import OWNER, ROLE, RUN

_POLL_S, _LONGEST_POLL_S = 0.5, 15.0


# --- save --------------------------------------------------------------------------------------------


def save_database(action: SaveDatabase, ctx: Context) -> Outcome:
    """Take a snapshot under a name, once, and wait until RDS says that it is whole.

    Raises:
        AdapterError: a snapshot of that name is another instance's, or this one failed.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    seen = await_available(region, action.database, deadline)
    changed = find_snapshot(region, action.snapshot) is None
    if changed:
        _take(region, action, ctx)
    _await_whole(region, action, deadline)
    return _saved(region, action, require_snapshot(region, seen, action.snapshot, "changed"), changed=changed)


def verify_save_database(action: SaveDatabase, ctx: Context) -> Progress:
    """Say whether it is there and whole; one that is being taken is waited for."""
    region = region_of(ctx, action.site)
    found = find_snapshot(region, action.snapshot)
    if found is None or found["Status"] != "available":
        return Progress(state="not_done", why="to take it, or to wait for it, is safe")
    return Progress(state="done", outcome=_saved(region, action, found, changed=True))


def _take(region: Region, action: SaveDatabase, ctx: Context) -> None:
    what = f"a snapshot of database {action.database} could not be taken"
    tags = marks_for(region, action.snapshot, ctx)

    def make() -> Shown:
        return region.change(
            "rds.create_db_snapshot",
            what,
            once=True,
            DBInstanceIdentifier=action.database,
            DBSnapshotIdentifier=action.snapshot,
            Tags=tags,
        )

    made_once(region, what, make, lambda: find_snapshot(region, action.snapshot))


def _await_whole(region: Region, action: SaveDatabase, deadline: float) -> None:
    pause_s = _POLL_S
    while (found := find_snapshot(region, action.snapshot)) is None or found["Status"] != "available":
        if found is not None and found["Status"] == "failed":
            raise AdapterError(
                f"snapshot {action.snapshot} of database {action.database} failed at AWS; nothing else was "
                "changed",
                hint="see its events at AWS, remove it there, then resume the run",
            )
        refuse_late(action.database, "is being saved", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)


def _saved(region: Region, action: SaveDatabase, found: Shown, *, changed: bool) -> Outcome:
    at: datetime = found.get("OriginalSnapshotCreateTime") or found["SnapshotCreateTime"]
    evidence = told_of(
        region, action.database, "saved" if changed else "found", of=action.snapshot, point_at=at
    )
    size = f"{found.get('AllocatedStorage', 0)} GiB"
    summary = f"database {action.database} is saved as {action.snapshot}: whole, of {size}"
    return Outcome(changed=changed, summary=summary, evidence=evidence)


# --- rename ------------------------------------------------------------------------------------------


def rename_database(action: RenameDatabase, ctx: Context) -> Outcome:
    """Give an instance another name and our mark, and have it let nobody in; its data stays as it is.

    One that gets its name back stays cut off: what fenced it before is not released by that.

    Raises:
        AdapterError: its snapshot is not whole, or the other name is another instance's; nothing was changed.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    there = find_database(region, action.to)
    if there is not None:
        require_snapshot(region, there, action.snapshot, "renamed")
        await_available(region, action.to, deadline)
        return _renamed(region, action, _cut_off(region, action, ctx, deadline))
    seen = await_available(region, action.database, deadline)
    require_snapshot(region, seen, action.snapshot, "renamed")
    _mark(region, seen, action, ctx)
    what = f"database {action.database} could not be renamed to {action.to}"
    done_once(
        lambda: region.change(
            "rds.modify_db_instance",
            what,
            once=True,
            DBInstanceIdentifier=action.database,
            NewDBInstanceIdentifier=action.to,
            ApplyImmediately=True,
        ),
        lambda: _has_moved(region, action),
    )
    _await_named(region, action, deadline)
    _cut_off(region, action, ctx, deadline)
    return _renamed(region, action, changed=True)


def verify_rename_database(action: RenameDatabase, ctx: Context) -> Progress:
    """Both names are looked at before it is renamed: doing it again does what is left."""
    return Progress(state="not_done", why="to rename what still has its name is safe")


def _cut_off(region: Region, action: RenameDatabase, ctx: Context, deadline: float) -> bool:
    return action.aside and shut_database(region, action.to, ctx, deadline)[1]


def _mark(region: Region, seen: Shown, action: RenameDatabase, ctx: Context) -> None:
    """Mark what is kept, so that it alone can be deleted later; a way back takes the mark away."""
    what, arn = f"database {action.database} could not be marked", seen["DBInstanceArn"]
    if action.aside:
        # Its `Name` is the city's own.
        tags = [one for one in marks_for(region, action.to, ctx) if one["Key"] in (OWNER, ROLE, RUN)]
        region.change("rds.add_tags_to_resource", what, ResourceName=arn, Tags=tags)
    else:
        keys = [OWNER, ROLE, RUN]
        region.change("rds.remove_tags_from_resource", what, ResourceName=arn, TagKeys=keys)


def _has_moved(region: Region, action: RenameDatabase) -> bool:
    """Whether RDS took it, though its answer was lost: it has the new name, or is no more available."""
    seen = find_database(region, action.database)
    return seen is None or str(seen["DBInstanceStatus"]) != "available"


def _await_named(region: Region, action: RenameDatabase, deadline: float) -> None:
    pause_s = _POLL_S
    while find_database(region, action.to) is None or find_database(region, action.database) is not None:
        refuse_late(action.database, f"is being renamed to {action.to}", deadline)
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
    await_available(region, action.to, deadline)


def _renamed(region: Region, action: RenameDatabase, changed: bool) -> Outcome:
    return Outcome(
        changed=changed,
        summary=f"database {action.database} is {action.to} now; snapshot {action.snapshot} of it is whole",
        evidence=told_of(region, action.to, "renamed" if changed else "found", of=action.database),
    )


# --- release, delete ---------------------------------------------------------------------------------


def release_database(action: ReleaseDatabase, ctx: Context) -> Outcome:
    """Give a database back the groups that its block took; what was not blocked is left alone."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    seen = await_available(region, action.database, deadline)
    taken = sorted(filter(None, rds_tags(seen).get(GROUPS, "").split("/")))
    what = f"database {action.database} could not be released"
    if taken:
        region.change(
            "rds.modify_db_instance",
            what,
            DBInstanceIdentifier=action.database,
            VpcSecurityGroupIds=taken,
            ApplyImmediately=True,
        )
        await_groups(region, action.database, taken, deadline)
        arn = seen["DBInstanceArn"]
        region.change("rds.remove_tags_from_resource", what, ResourceName=arn, TagKeys=[GROUPS])
    return Outcome(
        changed=bool(taken),
        summary=f"database {action.database} has its own groups again",
        evidence=told_of(region, action.database, "released" if taken else "found"),
    )


def verify_release_database(action: ReleaseDatabase, ctx: Context) -> Progress:
    """What its block took is written on it until it is given back: doing it again does what is left."""
    return Progress(state="not_done", why="to give back what still is taken is safe")


def delete_database(action: DeleteDatabase, ctx: Context) -> Outcome:
    """Delete an instance that a run of ours has kept aside, once its snapshot is seen to be whole.

    Raises:
        AdapterError: it does not bear the mark of what was kept, others copy it, or its snapshot is not
            whole; nothing was changed.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    seen = find_database(region, action.database)
    if seen is not None:
        _require_kept(region, seen, action)
        require_snapshot(region, seen, action.snapshot, "deleted")
        delete_and_wait(region, action.database, deadline, keep_backups=True)
    return _deleted(region, action, changed=seen is not None)


def verify_delete_database(action: DeleteDatabase, ctx: Context) -> Progress:
    """Say whether it is gone; one that stands is looked at again before it is deleted."""
    region = region_of(ctx, action.site)
    if find_database(region, action.database) is not None:
        return Progress(state="not_done", why=f"database {action.database} is there")
    return Progress(state="done", outcome=_deleted(region, action, changed=True))


def _require_kept(region: Region, seen: Shown, action: DeleteDatabase) -> None:
    tags = rds_tags(seen)
    if (tags.get(OWNER), tags.get(ROLE)) != (region.environment, action.database):
        raise AdapterError(
            f"database {action.database} does not bear the mark of what was kept aside; nothing was changed",
            hint="a run deletes what a run has replaced, and nothing else",
        )
    if copies := seen.get("ReadReplicaDBInstanceIdentifiers"):
        raise AdapterError(
            f"database {action.database} is copied by {', '.join(map(str, copies))}; nothing was changed",
            hint="see what they are for before it goes",
        )


def _deleted(region: Region, action: DeleteDatabase, *, changed: bool) -> Outcome:
    return Outcome(
        changed=changed,
        summary=f"database {action.database} is gone; snapshot {action.snapshot} of it stays",
        evidence=told_of(region, action.database, "deleted", of=action.snapshot),
    )
