"""Making an EC2 instance of ours what it was declared to be; nothing of it is made smaller."""

from collections.abc import Callable

from automation.adapters.aws.disks import change_disks
from automation.adapters.aws.instances import Doing, by_id, require, state_of, told
from automation.adapters.aws.marks import RESTARTS, as_tags, others, tags_of
from automation.adapters.aws.ports import change_ports
from automation.adapters.aws.power import start, stop
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import ChangeInstance
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress

_GUEST_ENDS_S = 60.0
Changed = tuple[str, ...]


def change_instance(action: ChangeInstance, ctx: Context) -> Outcome:
    """Change what differs, and only that of it which the plan names."""
    region, doing = region_of(ctx, action.site), Doing.of(ctx)
    instance = require(region, action.host)
    done: list[str] = []
    for name, change in _CHANGES.items():
        if name in action.changes:
            done += change(region, instance, action, doing)
    if "size" in action.changes or RESTARTS in tags_of(instance):
        done += _change_size(region, instance, action, doing.deadline)
    return _outcome(region, action, ctx, done)


def verify_change_instance(action: ChangeInstance, ctx: Context) -> Progress:
    """Every part is looked at before it is changed: doing it again does what is left."""
    require(region_of(ctx, action.site), action.host)
    return Progress(state="not_done", why="to change what still differs is safe")


def _change_tags(region: Region, instance: Shown, action: ChangeInstance, doing: Doing) -> Changed:
    """Set every declared tag that differs; other tags are somebody else's."""
    has = others(tags_of(instance))
    wanted = {key: value for key, value in action.spec.tags.items() if has.get(key) != value}
    if wanted:
        region.change(
            "ec2.create_tags",
            f"server {action.host} could not be tagged",
            Resources=[instance["InstanceId"]],
            Tags=as_tags(wanted),
        )
    return tuple(f"tag {key}" for key in wanted)


_CHANGES: dict[str, Callable[[Region, Shown, ChangeInstance, Doing], Changed]] = {
    "tags": _change_tags,
    "disks": change_disks,
    "networks": change_ports,
}


def _change_size(region: Region, instance: Shown, action: ChangeInstance, deadline: float) -> Changed:
    """Stop it, give it its type, and start it if it ran; a mark on it tells the next process that it did."""
    name, here, wanted = action.host, instance["InstanceId"], action.spec.size.type
    restarts = RESTARTS in tags_of(instance)
    differs = bool(wanted) and instance["InstanceType"] != wanted
    if not differs and not restarts:
        return ()
    if differs and state_of(instance) != "stopped":
        _require_restart(action, instance)
        _mark_restart(region, here, name)
        restarts = True
        instance = stop(region, instance, name, deadline, _GUEST_ENDS_S)
    if differs:
        what = f"server {name} could not be made a {wanted}"
        region.change("ec2.modify_instance_attribute", what, InstanceId=here, InstanceType={"Value": wanted})
    if restarts:
        instance = start(region, by_id(region, here, name) or instance, name, deadline)
        what = f"server {name}: its mark {RESTARTS} could not be taken away"
        region.change("ec2.delete_tags", what, Resources=[here], Tags=[{"Key": RESTARTS}])
    return (f"size {wanted}",)


def _require_restart(action: ChangeInstance, instance: Shown) -> None:
    if not action.restart:
        raise AdapterError(
            f"server {action.host} is {state_of(instance)}, and a {instance['InstanceType']} becomes a "
            f"{action.spec.size.type} only while it stands; nothing was changed",
            hint="let the plan restart it, or stop it first",
        )


def _mark_restart(region: Region, instance_id: str, name: str) -> None:
    region.change(
        "ec2.create_tags",
        f"server {name} could not be marked before its restart",
        Resources=[instance_id],
        Tags=as_tags({RESTARTS: "yes"}),
    )


def _outcome(region: Region, action: ChangeInstance, ctx: Context, done: list[str]) -> Outcome:
    instance = require(region, action.host)
    evidence = told(region, instance, action.host, "changed" if done else "found")
    said = f"changed: {', '.join(done)}" if done else "is as it was declared"
    return Outcome(changed=bool(done), summary=f"server {action.host} {said}", evidence=evidence)
