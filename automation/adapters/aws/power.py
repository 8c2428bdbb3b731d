"""Starting, stopping and adopting EC2 instances of ours."""

import time

from automation.adapters.aws.disks import name_adopted
from automation.adapters.aws.instances import (
    await_state,
    by_id,
    deadline_of,
    find,
    require,
    state_of,
    told,
)
from automation.adapters.aws.marks import Marks, as_tags, tags_of
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import AdoptInstance, StartInstance, StopInstance
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import OWNER, ROLE

# --- power -------------------------------------------------------------------------------------------


def start_instance(action: StartInstance, ctx: Context) -> Outcome:
    """Start a server of ours, and wait until it runs."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    instance = require(region, action.host)
    changed = state_of(instance) != "running"
    instance = start(region, instance, action.host, deadline)
    return _powered(region, instance, action.host, "started", changed=changed)


def verify_start_instance(action: StartInstance, ctx: Context) -> Progress:
    """Say whether it runs."""
    region = region_of(ctx, action.site)
    instance = require(region, action.host)
    if state_of(instance) != "running":
        return Progress(state="not_done", why=f"server {action.host} is {state_of(instance)}")
    return Progress(state="done", outcome=_powered(region, instance, action.host, "started", changed=True))


def stop_instance(action: StopInstance, ctx: Context) -> Outcome:
    """Stop a server of ours; when its guest does not end in time, its power is cut."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    instance = require(region, action.host)
    changed = state_of(instance) != "stopped"
    if changed:
        instance = stop(region, instance, action.host, deadline, action.patience_s)
    return _powered(region, instance, action.host, "stopped", changed=changed)


def verify_stop_instance(action: StopInstance, ctx: Context) -> Progress:
    """Say whether it stands."""
    region = region_of(ctx, action.site)
    instance = require(region, action.host)
    if state_of(instance) != "stopped":
        return Progress(state="not_done", why=f"server {action.host} is {state_of(instance)}")
    return Progress(state="done", outcome=_powered(region, instance, action.host, "stopped", changed=True))


def start(region: Region, instance: Shown, name: str, deadline: float) -> Shown:
    """Start an instance, whatever it was about to do; give it when it runs."""
    if state_of(instance) == "stopping":
        instance = await_state(region, instance, "stopped", name, deadline)
    if state_of(instance) == "stopped":
        region.change(
            "ec2.start_instances",
            f"server {name} could not be started",
            InstanceIds=[instance["InstanceId"]],
        )
    return await_state(region, instance, "running", name, deadline)


def stop(region: Region, instance: Shown, name: str, deadline: float, patience_s: float) -> Shown:
    """Stop an instance; give it when it stands."""
    what, here = f"server {name} could not be stopped", [instance["InstanceId"]]
    if state_of(instance) == "pending":
        instance = await_state(region, instance, "running", name, deadline)
    region.change("ec2.stop_instances", what, InstanceIds=here)
    try:
        patient = min(deadline, time.monotonic() + patience_s)
        return await_state(region, instance, "stopped", name, patient)
    except AdapterError as exc:
        if not exc.transient or time.monotonic() > deadline:
            raise
    region.change("ec2.stop_instances", what, InstanceIds=here, Force=True)
    return await_state(region, instance, "stopped", name, deadline)


def _powered(region: Region, instance: Shown, name: str, verb: str, *, changed: bool) -> Outcome:
    evidence = told(region, instance, name, verb if changed else "found")
    said = verb if changed else f"is {state_of(instance)} already"
    return Outcome(changed=changed, summary=f"server {name} {said}", evidence=evidence)


# --- whose it is -------------------------------------------------------------------------------------


def adopt_instance(action: AdoptInstance, ctx: Context) -> Outcome:
    """Mark an instance, its disks and its ports as ours in one call; whoever's mark it bears keeps it.

    The same call says which of its disks are the declared ones.
    """
    region = region_of(ctx, action.site)
    instance = _adoptable(region, action)
    changed = not _is_adopted(instance, region, action)
    if changed:
        _require_free_name(region, action)
        spec = ctx.inventory.specs.get(action.host)
        disks = name_adopted(region, instance, spec.disks if spec else (), action.host)
        marks = Marks(region.environment, action.host, ctx.run_id).tags(disks)
        region.change(
            "ec2.create_tags",
            f"server {action.host} ({action.id}) could not be marked",
            Resources=_parts(instance),
            Tags=[tag for tag in marks if tag["Key"] != "Name"],
        )
        instance = {**instance, "Tags": as_tags(tags_of(instance) | disks)}
    return _adopted(region, instance, action, changed=changed)


def verify_adopt_instance(action: AdoptInstance, ctx: Context) -> Progress:
    """Say whether it bears our mark."""
    region = region_of(ctx, action.site)
    instance = _adoptable(region, action)
    if not _is_adopted(instance, region, action):
        return Progress(state="not_done", why=f"{action.id} bears nobody's mark")
    return Progress(state="done", outcome=_adopted(region, instance, action, changed=True))


def _adoptable(region: Region, action: AdoptInstance) -> Shown:
    instance = by_id(region, action.id, action.host)
    if instance is None or state_of(instance) in ("shutting-down", "terminated"):
        raise AdapterError(f"server {action.host}: {action.id} is not there; nothing was changed")
    tags = tags_of(instance)
    theirs = (tags.get(OWNER), tags.get(ROLE))
    if tags.get(OWNER) and theirs != (region.environment, action.host):
        raise AdapterError(
            f"server {action.host}: {action.id} bears the mark of {theirs[0]} as {theirs[1]}; nothing was "
            "changed",
            hint=f"its owner takes the tag {OWNER} away first",
        )
    return instance


def _is_adopted(instance: Shown, region: Region, action: AdoptInstance) -> bool:
    return tags_of(instance).get(OWNER) == region.environment


def _require_free_name(region: Region, action: AdoptInstance) -> None:
    other = find(region, action.host)
    if other is not None:
        raise AdapterError(
            f"server {action.host} is {other['InstanceId']} already; {action.id} was not adopted",
            hint="give the one that is adopted another name in the inventory",
        )


def _parts(instance: Shown) -> list[str]:
    disks = [one["Ebs"]["VolumeId"] for one in instance.get("BlockDeviceMappings", ())]
    ports = [one["NetworkInterfaceId"] for one in instance.get("NetworkInterfaces", ())]
    return [instance["InstanceId"], *disks, *ports]


def _adopted(region: Region, instance: Shown, action: AdoptInstance, *, changed: bool) -> Outcome:
    evidence = told(region, instance, action.host, "adopted" if changed else "found")
    said = "is ours from now on" if changed else "is ours already"
    return Outcome(changed=changed, summary=f"server {action.host} ({action.id}) {said}", evidence=evidence)
