"""Making an EC2 instance: once, marked in the same call, with its disks, and found again after any loss."""

from typing import Any

from automation.adapters.aws.cut_off import stays_cut_off
from automation.adapters.aws.images import image_of
from automation.adapters.aws.instances import (
    LIVING,
    await_state,
    deadline_of,
    find,
    made_by,
    made_once,
    state_of,
    told,
)
from automation.adapters.aws.marks import Marks, device, disk_marks, named, specified, token
from automation.adapters.aws.places import Place, places_of
from automation.adapters.aws.session import Region, Shown, region_of
from automation.adapters.aws.userdata import user_data
from automation.model.actions import CreateInstance
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome, Progress
from automation.model.servers import RUN, ServerSpec

GIB = 2**30
DEFAULT_DISK = "gp3"


def create_instance(action: CreateInstance, ctx: Context) -> Outcome:
    """Make an instance with all its parts, or find the one that is there, and wait until it runs.

    Raises:
        AdapterError: the one that is there is cut off: it would run, and nobody would reach it.
    """
    region, deadline = region_of(ctx, action.site), deadline_of(ctx)
    instance = find(region, action.host)
    if instance is None:
        instance = _make(action, ctx, region)
    elif stays_cut_off(region, lambda: find(region, action.host)):
        raise AdapterError(
            f"server {action.host} ({instance['InstanceId']}) is there, cut off by a fence of ours; "
            "nothing was changed",
            hint=f"a failover or a planned move to {action.site} releases it before it is started",
        )
    instance = _settle(region, instance, action, deadline)
    return _outcome(region, instance, action, ctx)


def verify_create_instance(action: CreateInstance, ctx: Context) -> Progress:
    """Look for the instance by its marks; one on its way is joined."""
    region = region_of(ctx, action.site)
    instance = find(region, action.host)
    if instance is None:
        return Progress(state="not_done", why=f"no server {action.host} bears our marks")
    if state_of(instance) != _wanted(action):
        return Progress(state="in_progress", why=f"server {action.host} is {state_of(instance)}")
    return Progress(state="done", outcome=_outcome(region, instance, action, ctx))


def _make(action: CreateInstance, ctx: Context, region: Region) -> Shown:
    name = action.host
    request = _request(action, ctx, region)
    what = f"server {name} could not be made"

    def make() -> Shown:
        made: Shown = region.change("ec2.run_instances", what, **request)["Instances"][0]
        return made

    return made_once(region, what, make, lambda: find(region, name))


def _request(action: CreateInstance, ctx: Context, region: Region) -> dict[str, Any]:
    spec, provider = action.spec, region.provider
    image = image_of(region, spec.image, spec.name)
    places = places_of(region, spec.networks, spec.name)
    marks = Marks(region.environment, spec.name, ctx.run_id)
    tags = marks.tags({**spec.tags, **disk_marks(spec.name, spec.disks)})
    kinds = ("instance", "volume", "network-interface")
    return {
        "ImageId": image["ImageId"],
        "InstanceType": spec.size.type,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": token(
            ctx.run_id, ctx.step_id, spec.name, region.environment, _generation(region, marks)
        ),
        "BlockDeviceMappings": _disks(spec, image),
        "TagSpecifications": specified(kinds, tags),
        # Without a session token nobody who tricks a service there reads the server's credentials.
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "HttpEndpoint": "enabled",
        },
        "UserData": user_data(spec, ctx),
        **_ports(spec, places),
        **({"IamInstanceProfile": {"Name": provider.instance_profile}} if provider.instance_profile else {}),
        **_zone(region, places),
    }


def _generation(region: Region, marks: Marks) -> int:
    """Count what this run made of that name and is gone: its token would bring the dead one back."""
    filters = [*marks.filters(), named(f"tag:{RUN}", marks.run)]
    what = f"server {marks.name} could not be looked for"
    pages = region.pages("ec2.describe_instances", "Reservations", what, Filters=filters)
    return sum(state_of(one) not in LIVING for page in pages for one in page["Instances"])


def _disks(spec: ServerSpec, image: Shown) -> list[dict[str, Any]]:
    """Give every disk, encrypted and gone with its server; the system's is as large as the image's."""
    root: Shown = next(
        (one for one in image.get("BlockDeviceMappings", ()) if one["DeviceName"] == image["RootDeviceName"]),
        {},
    )
    size = root.get("Ebs", {}).get("VolumeSize")
    always = {"DeleteOnTermination": True, "Encrypted": True, "VolumeType": DEFAULT_DISK}
    system = {"DeviceName": image["RootDeviceName"], "Ebs": always | ({"VolumeSize": size} if size else {})}
    return [system] + [
        {
            "DeviceName": device(place),
            "Ebs": always | {"VolumeSize": disk.size_bytes // GIB, "VolumeType": disk.kind or DEFAULT_DISK},
        }
        for place, disk in enumerate(spec.disks)
    ]


def _ports(spec: ServerSpec, places: tuple[Place, ...]) -> dict[str, Any]:
    address = {"PrivateIpAddress": spec.address} if spec.address else {}
    ports = [
        {
            "DeviceIndex": index,
            "SubnetId": place.subnet_id,
            "Groups": [place.group_id],
            "DeleteOnTermination": True,
            **(address if index == 0 else {}),
        }
        for index, place in enumerate(places)
    ]
    return {"NetworkInterfaces": ports} if ports else address


def _zone(region: Region, places: tuple[Place, ...]) -> dict[str, Any]:
    """Name the zone where no subnet says it."""
    zone = region.provider.availability_zone
    return {"Placement": {"AvailabilityZone": zone}} if zone and not places else {}


def _wanted(action: CreateInstance) -> str:
    return "running" if action.power_on else "stopped"


def _settle(region: Region, instance: Shown, action: CreateInstance, deadline: float) -> Shown:
    """Bring an instance to the power that was asked for; EC2 starts whatever it makes."""
    name, here = action.host, [instance["InstanceId"]]
    if state_of(instance) == "pending":
        instance = await_state(region, instance, "running", name, deadline)
    if state_of(instance) == "stopping":
        instance = await_state(region, instance, "stopped", name, deadline)
    if state_of(instance) != _wanted(action):
        call = "ec2.start_instances" if action.power_on else "ec2.stop_instances"
        region.change(call, f"server {name} could not be brought to {_wanted(action)}", InstanceIds=here)
    return await_state(region, instance, _wanted(action), name, deadline)


def _outcome(region: Region, instance: Shown, action: CreateInstance, ctx: Context) -> Outcome:
    """Tell what is there; it was made by this step if the run's mark stands on it."""
    ours = made_by(instance) == ctx.run_id
    evidence = told(region, instance, action.host, "created" if ours else "found")
    said = "made" if ours else "is there already"
    where = f"{instance['InstanceId']}, {evidence.address or 'no address'}, {state_of(instance)}"
    return Outcome(changed=ours, summary=f"server {action.host} {said}: {where}", evidence=evidence)
