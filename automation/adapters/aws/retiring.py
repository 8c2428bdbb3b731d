"""Terminating an EC2 instance of ours: the right one, stopped, its disks kept as snapshots."""

import time
from datetime import UTC, datetime

from automation.adapters.aws.disks import volumes_of
from automation.adapters.aws.instances import (
    SYSTEM,
    Doing,
    await_state,
    by_id,
    deadline_of,
    disk_of,
    find,
    is_ours,
    made_once,
    state_of,
    told,
)
from automation.adapters.aws.kept import last_day
from automation.adapters.aws.marks import DISK, RETIRED, UNTIL, Marks, named, specified, tags_of
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import TerminateInstance
from automation.model.errors import AdapterError
from automation.model.known_hosts import forget
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import OWNER, RUN

_POLL_S, _LONGEST_POLL_S = 0.25, 10.0


def terminate_instance(action: TerminateInstance, ctx: Context) -> Outcome:
    """Terminate the one instance that the plan saw, with its disks and ports."""
    region, doing = region_of(ctx, action.site), Doing.of(ctx)
    instance = by_id(region, action.id, action.host)
    if instance is None or state_of(instance) in ("terminated", "shutting-down"):
        return _gone(region, instance, action, ctx, doing.deadline)
    _require_right(region, instance, action)
    volumes = volumes_of(region, instance, action.host)
    if action.keep_snapshot:
        _keep(region, instance, volumes, action, doing)
    _bind_parts(region, instance, volumes, action)
    what = f"server {action.host} ({action.id}) could not be terminated"
    region.change("ec2.terminate_instances", what, InstanceIds=[action.id])
    return _gone(region, instance, action, ctx, doing.deadline)


def verify_terminate_instance(action: TerminateInstance, ctx: Context) -> Progress:
    """Say whether it is gone; one that stands is terminated by doing it again."""
    region = region_of(ctx, action.site)
    instance = by_id(region, action.id, action.host)
    if instance is None or state_of(instance) == "terminated":
        return Progress(state="done", outcome=_gone(region, instance, action, ctx, deadline_of(ctx)))
    if state_of(instance) == "shutting-down":
        return Progress(state="in_progress", why=f"{action.id} is shutting down")
    _require_right(region, instance, action)
    return Progress(state="not_done", why=f"{action.id} is there, {state_of(instance)}")


def _require_right(region: Region, instance: Shown, action: TerminateInstance) -> None:
    if not is_ours(instance, region, action.host):
        raise AdapterError(
            f"server {action.host}: {action.id} does not bear its mark of {region.environment}; nothing was "
            "changed",
            hint=f"./inv provision.plan --env {region.environment} looks again",
        )
    if state_of(instance) != "stopped":
        raise AdapterError(
            f"server {action.host} ({action.id}) is {state_of(instance)}, and only one that stands is "
            "terminated; nothing was changed",
            hint=f"./inv provision.retire --env {region.environment} stops it first",
        )


# --- what is kept ------------------------------------------------------------------------------------


def _keep(
    region: Region, instance: Shown, volumes: list[Shown], action: TerminateInstance, doing: Doing
) -> None:
    """Have a complete snapshot of every disk, one each, whatever was begun before."""
    has = {tags_of(one).get(RETIRED, ""): one for one in _kept(region, action, doing)}
    for volume in volumes:
        if volume["VolumeId"] not in has:
            has[volume["VolumeId"]] = _snapshot(region, instance, volume, action, doing)
    pause_s = _POLL_S
    while pending := [one for one in has.values() if one["State"] != "completed"]:
        if failed := [one["SnapshotId"] for one in pending if one["State"] == "error"]:
            raise AdapterError(
                f"server {action.host}: snapshot {', '.join(failed)} failed at AWS; nothing was terminated",
                hint="remove it, then resume the run",
            )
        if time.monotonic() > doing.deadline:
            raise AdapterError(
                f"server {action.host}: {len(pending)} snapshots are not complete; nothing was terminated",
                transient=True,
                hint="a resumed run goes on waiting",
            )
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        has |= {tags_of(one).get(RETIRED, ""): one for one in _kept(region, action, doing)}


def _kept(region: Region, action: TerminateInstance, doing: Doing) -> list[Shown]:
    """List the snapshots that this run has of the instance's disks."""
    marks = Marks(region.environment, action.host, doing.run_id)
    filters = [*marks.filters(), named(f"tag:{RUN}", doing.run_id), named("tag-key", RETIRED)]
    what = f"snapshots of {action.host} could not be listed"
    return list(region.pages("ec2.describe_snapshots", "Snapshots", what, OwnerIds=["self"], Filters=filters))


def _snapshot(
    region: Region, instance: Shown, volume: Shown, action: TerminateInstance, doing: Doing
) -> Shown:
    name, volume_id = action.host, volume["VolumeId"]
    until = last_day(datetime.now(UTC), region.provider)
    tags = {RETIRED: volume_id, DISK: _disk_name(volume, instance), UNTIL: until.isoformat()}
    what = f"server {name}: no snapshot of {volume_id} could be taken"

    def make() -> Shown:
        return region.change(
            "ec2.create_snapshot",
            what,
            once=True,
            VolumeId=volume_id,
            Description=f"{name}, before it was retired by {doing.run_id}",
            TagSpecifications=specified(
                ("snapshot",), Marks(region.environment, name, doing.run_id).tags(tags)
            ),
        )

    def look() -> Shown | None:
        taken = _kept(region, action, doing)
        return next((one for one in taken if tags_of(one).get(RETIRED) == volume_id), None)

    return made_once(region, what, make, look)


def _disk_name(volume: Shown, instance: Shown) -> str:
    device = next((one["Device"] for one in volume.get("Attachments", ())), "")
    is_system = device == instance.get("RootDeviceName")
    return disk_of(volume, instance) or (SYSTEM if is_system else device)


# --- what goes ---------------------------------------------------------------------------------------


def _bind_parts(region: Region, instance: Shown, volumes: list[Shown], action: TerminateInstance) -> None:
    """Let every disk and port that bears our mark go with the server, so that none is left behind."""
    ours = {one["VolumeId"] for one in volumes if tags_of(one).get(OWNER) == region.environment}
    loose = [
        one["DeviceName"]
        for one in instance.get("BlockDeviceMappings", ())
        if one["Ebs"]["VolumeId"] in ours and not one["Ebs"].get("DeleteOnTermination")
    ]
    what = f"server {action.host}: its parts could not be bound to it"
    if loose:
        bound = [{"DeviceName": one, "Ebs": {"DeleteOnTermination": True}} for one in loose]
        region.change("ec2.modify_instance_attribute", what, InstanceId=action.id, BlockDeviceMappings=bound)
    for port in instance.get("NetworkInterfaces", ()):
        if not port["Attachment"].get("DeleteOnTermination"):
            _bind_port(region, port, what)


def _bind_port(region: Region, port: Shown, what: str) -> None:
    filters = [named("network-interface-id", port["NetworkInterfaceId"])]
    seen = region.read("ec2.describe_network_interfaces", what, Filters=filters)["NetworkInterfaces"]
    if any(tags_of(one).get(OWNER) == region.environment for one in seen):
        region.change(
            "ec2.modify_network_interface_attribute",
            what,
            NetworkInterfaceId=port["NetworkInterfaceId"],
            Attachment={"AttachmentId": port["Attachment"]["AttachmentId"], "DeleteOnTermination": True},
        )


def _gone(
    region: Region, instance: Shown | None, action: TerminateInstance, ctx: Context, deadline: float
) -> Outcome:
    """Wait until it is gone, accept its host key no more, and tell what is kept of it."""
    if instance is not None:
        await_state(region, instance, "terminated", action.host, deadline)
    address = str((instance or {}).get("PrivateIpAddress") or "")
    another = find(region, action.host)  # of that name, made since
    unpinned = "" if another else _unpin(ctx, {action.host, address} - {""})
    tags = {one["SnapshotId"]: tags_of(one) for one in _kept(region, action, Doing.of(ctx))}
    kept = tuple((f"snapshot:{one.get(DISK) or one[RETIRED]}", id_) for id_, one in tags.items())
    until = min((one.get(UNTIL, "") for one in tags.values()), default="")
    evidence = _evidence(region, instance, action, kept)
    days = f" until {until}" if until else ""  # none on those of an older version, in a run that it began
    stays = f"{len(kept)} snapshots are kept{days}" if kept else "nothing of it is kept"
    summary = f"server {action.host} ({action.id}) terminated; {stays}{unpinned}"
    return Outcome(changed=True, summary=summary, evidence=evidence)


def _unpin(ctx: Context, names: set[str]) -> str:
    """Accept its host key no more; say so when that file is not ours to write."""
    path = ctx.environment.known_hosts(ctx.state)
    try:
        forget(path, names)
    except OSError as exc:
        return f"; its host key is still in {path} ({exc.strerror}): take it out"
    return ""


def _evidence(
    region: Region, instance: Shown | None, action: TerminateInstance, kept: tuple[tuple[str, str], ...]
) -> ProviderChange:
    if instance is not None:
        return told(region, instance, action.host, "deleted", more=kept)
    return told(region, {"InstanceId": action.id}, action.host, "deleted", more=kept)
