"""Fences of EC2 instances: stopped, and in a security group that lets nothing through; both read back."""

from collections.abc import Sequence

from automation.adapters.aws.absent import absent
from automation.adapters.aws.cut_off import (
    FENCED,
    GROUPS,
    groups_of,
    is_cut_off,
    kept_groups,
    ports_of,
    taken_from,
)
from automation.adapters.aws.disks import volumes_of
from automation.adapters.aws.instances import (
    await_state,
    deadline_of,
    done_once,
    find,
    is_ours,
    made_by,
    made_once,
    require,
    state_of,
)
from automation.adapters.aws.marks import Marks, as_tags, named, specified, tags_of
from automation.adapters.aws.power import stop
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import BlockInstance, FenceInstance, ReleaseInstance, RemoveInstance
from automation.model.errors import AdapterError
from automation.model.evidence import ServerState
from automation.model.machine_evidence import ProviderChange
from automation.model.records import Context, Outcome, Progress

_PATIENCE_S = 5.0  # a fence does not wait for a guest to end by itself


# --- actions -----------------------------------------------------------------------------------------


def fence_instance(action: FenceInstance, ctx: Context) -> Outcome:
    """Stop a server of ours, by force if need be; EC2 starts nothing again by itself."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    if (gone := absent(region, action, ctx)) is not None:
        return gone
    instance = require(region, action.host)
    changed = state_of(instance) != "stopped"
    if changed:
        instance = stop(region, instance, action.host, deadline, _PATIENCE_S)
    return Outcome(
        changed=changed,
        summary=f"server {action.host} ({instance['InstanceId']}) is stopped, and stays so",
        evidence=_state(region, instance, action.host),
    )


def verify_fence_instance(action: FenceInstance, ctx: Context) -> Progress:
    """Say whether it stands, or is gone where it may be."""
    region = region_of(ctx, action.site)
    if (gone := absent(region, action, ctx)) is not None:
        return Progress(state="done", outcome=gone)
    instance = require(region, action.host)
    if state_of(instance) != "stopped":
        return Progress(state="not_done", why=f"server {action.host} is {state_of(instance)}")
    return Progress(state="done", outcome=fence_instance(action, ctx))


def block_instance(action: BlockInstance, ctx: Context) -> Outcome:
    """Put every port of a server of ours into the group that lets nothing through."""
    region = region_of(ctx, action.site)
    if (gone := absent(region, action, ctx)) is not None:
        return gone
    instance = require(region, action.host)
    group = fenced_group(region, instance["VpcId"], ctx)
    changed = [port for port in ports_of(instance) if groups_of(port) != [group]]
    for port in changed:
        _move(region, port, [group], action.host, keep=True)
    instance = require(region, action.host)
    if any(groups_of(port) != [group] for port in ports_of(instance)):
        raise AdapterError(
            f"server {action.host} is not blocked: a port of it is in another group than {group}",
            transient=True,
        )
    return Outcome(
        changed=bool(changed),
        summary=f"server {action.host} is cut off: all of its ports are in {group} alone, which has no rule",
        evidence=_state(region, instance, action.host, group),
    )


def verify_block_instance(action: BlockInstance, ctx: Context) -> Progress:
    """Each port is looked at before it is moved: doing it again does what is left."""
    return Progress(state="not_done", why="to block what still is not is safe")


def release_instance(action: ReleaseInstance, ctx: Context) -> Outcome:
    """Give the ports of a server back the groups that its block took; what was not blocked is left alone."""
    region = region_of(ctx, action.site)
    if action.absent_is_free and find(region, action.host) is None:
        return Outcome(changed=False, summary=f"server {action.host} is not there: nothing cuts it off")
    taken = taken_from(region, lambda: require(region, action.host))
    for port, groups in taken:
        _move(region, port, groups, action.host, keep=False)
    return Outcome(
        changed=bool(taken),
        summary=f"server {action.host} has its own groups again",
        evidence=_state(region, require(region, action.host), action.host),
    )


def verify_release_instance(action: ReleaseInstance, ctx: Context) -> Progress:
    """What it took is marked until it is given back: doing it again does what is left."""
    return Progress(state="not_done", why="to give back what still is taken is safe")


def remove_instance(action: RemoveInstance, ctx: Context) -> Outcome:
    """Terminate a server that this run made, and its disks with it."""
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    instance = find(region, action.host)
    if instance is None:
        return _removed(region, action, {})
    _require_own(instance, action, ctx)
    disks = volumes_of(region, instance, action.host)
    what = f"server {action.host} ({instance['InstanceId']}) could not be removed"
    region.change("ec2.terminate_instances", what, InstanceIds=[instance["InstanceId"]])
    await_state(region, instance, "terminated", action.host, deadline)
    ids = {"server": str(instance["InstanceId"])}
    for disk in disks:
        if is_ours(disk, region, action.host):
            ids[f"disk:{disk['VolumeId']}"] = disk["VolumeId"]
            _remove_disk(region, disk["VolumeId"], what)
    return _removed(region, action, ids)


def verify_remove_instance(action: RemoveInstance, ctx: Context) -> Progress:
    """Say whether it is gone; one that stands is removed by doing it again."""
    region = region_of(ctx, action.site)
    if find(region, action.host) is not None:
        return Progress(state="not_done", why=f"server {action.host} is there")
    return Progress(state="done", outcome=_removed(region, action, {}))


# --- the group that lets nothing through -------------------------------------------------------------


def fenced_group(region: Region, vpc_id: str, ctx: Context) -> str:
    """Give the id of a VPC's group without rules; it is made when it is missing."""
    what = f"the group that fences in {vpc_id} could not be made"

    def look() -> Shown | None:
        filters = [*Marks(region.environment, FENCED, "").filters(), named("vpc-id", vpc_id)]
        found = region.read("ec2.describe_security_groups", what, Filters=filters)["SecurityGroups"]
        return found[0] if found else None

    def make() -> Shown:
        tags = Marks(region.environment, FENCED, ctx.run_id).tags()
        return region.change(
            "ec2.create_security_group",
            what,
            once=True,
            VpcId=vpc_id,
            GroupName=f"mainstay:{region.environment}:{FENCED}",
            Description="lets nothing in or out: what is fenced",
            TagSpecifications=specified(("security-group",), tags),
        )

    group_id = str((look() or made_once(region, what, make, look))["GroupId"])
    for way in ("ingress", "egress"):
        _clear(region, group_id, way, what)
    return group_id


def _clear(region: Region, group_id: str, way: str, what: str) -> None:
    """Take every rule of one direction out; EC2 gives each new group one that lets all go out."""
    key = "IpPermissionsEgress" if way == "egress" else "IpPermissions"

    def rules() -> Sequence[Shown]:
        filters = [named("group-id", group_id)]
        found = region.read("ec2.describe_security_groups", what, Filters=filters)["SecurityGroups"]
        return tuple(found[0].get(key, ())) if found else ()

    if has := rules():
        call = f"ec2.revoke_security_group_{way}"
        done_once(
            lambda: region.change(call, what, GroupId=group_id, IpPermissions=list(has)), lambda: not rules()
        )


# --- ports -------------------------------------------------------------------------------------------


def _move(region: Region, port: Shown, groups: Sequence[str], host: str, *, keep: bool) -> None:
    """Give a port other groups; what it had is written down before, and forgotten after it is given back."""
    port_id, what = port["NetworkInterfaceId"], f"server {host}: its groups could not be changed"
    tags = as_tags({GROUPS: "/".join(groups_of(port))})
    if keep and not kept_groups(region, port):
        region.change("ec2.create_tags", what, Resources=[port_id], Tags=tags)
    region.change(
        "ec2.modify_network_interface_attribute", what, NetworkInterfaceId=port_id, Groups=list(groups)
    )
    if not keep:
        region.change("ec2.delete_tags", what, Resources=[port_id], Tags=[{"Key": GROUPS}])


# --- telling -----------------------------------------------------------------------------------------


def _state(region: Region, instance: Shown, host: str, group: str = "") -> ServerState:
    ports = list(ports_of(instance))
    blocked = bool(ports) and all(groups_of(port) == [group] or is_cut_off(port) for port in ports)
    off = state_of(instance) in ("stopped", "stopping")
    return ServerState(
        server=host,
        power="off" if off else "on",
        autostart=False,
        network="blocked" if blocked else "connected",
        source=region.source,
    )


def _require_own(instance: Shown, action: RemoveInstance, ctx: Context) -> None:
    if made_by(instance) != ctx.run_id:
        raise AdapterError(
            f"server {action.host} ({instance['InstanceId']}) was not made by this run but by "
            f"{tags_of(instance).get('mainstay:run') or 'nobody that it tells of'}; nothing was changed",
            hint="a test removes what it made alone; see whose it is before you remove it",
        )


def _remove_disk(region: Region, volume_id: str, what: str) -> None:
    """Delete a disk that did not go with its server; most do."""

    def is_gone() -> bool:
        filters = [named("volume-id", volume_id)]
        return not region.read("ec2.describe_volumes", what, Filters=filters)["Volumes"]

    if not is_gone():
        done_once(lambda: region.change("ec2.delete_volume", what, VolumeId=volume_id), is_gone)


def _removed(region: Region, action: RemoveInstance, ids: dict[str, str]) -> Outcome:
    evidence = ProviderChange(
        provider="aws",
        site=region.provider.site,
        what="server",
        name=action.host,
        verb="deleted",
        ids=ids,
        source=region.source,
    )
    said = f"removed with {len(ids) - 1} disks" if ids else "is not there"
    return Outcome(changed=bool(ids), summary=f"server {action.host} {said}", evidence=evidence)
