"""What an image is used by: what would break, or could not be launched any more, without it."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from automation.adapters.aws.session import Region, Shown

_ALIVE = ("pending", "running", "stopping", "stopped", "shutting-down")
_GROUPS, _TEMPLATES, _VERSIONS = 100, 200, 200


def users_of(region: Region, images: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Say of each image what uses it: instances, every version of launch templates, auto-scaling groups.

    A launch template whose image cannot be read from it (a parameter of SSM) counts as a user of all.
    """
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for image, by in (*_instances(region), *_templates(region), *_groups(region)):
        for one in images if image.startswith("resolve:") else (image,):
            if one in images:
                found[one][by] = None
    return {image: tuple(by) for image, by in found.items()}


def _instances(region: Region) -> Iterator[tuple[str, str]]:
    what = f"instances of {region.provider.site} could not be listed"
    filters = [{"Name": "instance-state-name", "Values": list(_ALIVE)}]
    for reservation in region.pages("ec2.describe_instances", "Reservations", what, Filters=filters):
        for one in reservation.get("Instances", ()):
            yield one.get("ImageId", ""), f"instance {one['InstanceId']}"


def templates_with(region: Region, snapshots: Collection[str]) -> Mapping[str, tuple[str, ...]]:
    """Say of each snapshot which versions of launch templates make a disk of it."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for launch, by in _versions(region):
        for disk in launch.get("BlockDeviceMappings", ()):
            if (id_ := disk.get("Ebs", {}).get("SnapshotId", "")) in snapshots:
                found[id_][by] = None
    return {id_: tuple(by) for id_, by in found.items()}


def _templates(region: Region) -> Iterator[tuple[str, str]]:
    for launch, by in _versions(region):
        yield launch.get("ImageId", ""), by


def _versions(region: Region) -> Iterator[tuple[Shown, str]]:
    """Give what every version of every launch template launches, and its name in words."""
    what = f"launch templates of {region.provider.site} could not be listed"
    for one in region.pages("ec2.describe_launch_templates", "LaunchTemplates", what, page=_TEMPLATES):
        name = one["LaunchTemplateName"]
        for version in region.pages(
            "ec2.describe_launch_template_versions",
            "LaunchTemplateVersions",
            f"versions of launch template {name} could not be listed",
            page=_VERSIONS,
            LaunchTemplateId=one["LaunchTemplateId"],
            ResolveAlias=True,
        ):
            launch = version.get("LaunchTemplateData", {})
            yield launch, f"launch template {name} version {version['VersionNumber']}"


def _groups(region: Region) -> Iterator[tuple[str, str]]:
    """Find images of groups by their launch configurations; those by templates are users already."""
    groups = tuple(_records(region, "autoscaling.describe_auto_scaling_groups", "AutoScalingGroups"))
    named = {one["LaunchConfigurationName"]: one["AutoScalingGroupName"] for one in groups if _plain(one)}
    if not named:
        return
    for one in _records(region, "autoscaling.describe_launch_configurations", "LaunchConfigurations"):
        if (group := named.get(one["LaunchConfigurationName"])) is not None:
            yield one.get("ImageId", ""), f"auto-scaling group {group}"


def _plain(group: Shown) -> bool:
    return bool(group.get("LaunchConfigurationName"))


def _records(region: Region, call: str, key: str) -> Iterator[Shown]:
    what, more = f"auto-scaling of {region.provider.site} could not be looked at", dict[str, object]()
    while True:
        answer = region.read(call, what, MaxRecords=_GROUPS, **more)
        yield from answer.get(key, ())
        if not answer.get("NextToken"):
            return
        more = {"NextToken": answer["NextToken"]}
