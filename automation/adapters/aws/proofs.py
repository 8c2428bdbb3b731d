"""What copies that a test made prove of their recovery points: good where they are well, bad where not.

Nobody logs in there: a test's network leads nowhere. What counts is what AWS says of a copy, and the proof
repeats it. A copy of which AWS says nothing in time proves nothing, neither good nor bad.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from automation.adapters.aws.instances import find, made_by
from automation.adapters.aws.marks import Marks, named, tags_of
from automation.adapters.aws.rds import find_database, list_kind, rds_tags, status_of
from automation.adapters.aws.session import Region, Shown, region_of
from automation.model.actions import ProveImage, ProveSnapshot
from automation.model.actions.points import POINT, RESOURCE
from automation.model.backup_evidence import PointProven, ProofFailed
from automation.model.errors import AdapterError
from automation.model.records import Context, Outcome
from automation.model.recovery_points import Level
from automation.model.servers import OWNER, RUN

GIB = 2**30
_POLL_S = 5.0
# The verdict must be told before the step's time is over, or it is none.
_SHARE_OF_TIME = 0.9
_WORDS = {True: "good", False: "BAD", None: "not known"}
_UNOPENED = ("failed", "incompatible-restore", "restore-error")
# EC2's reasons to end an instance at its launch that name what its image is made of; others tell of EC2.
_OF_THE_IMAGE = ("Client.InvalidSnapshot.NotFound",)


class Looked(NamedTuple):
    """What AWS says of a copy: `good` is None as long as it says nothing that counts."""

    good: bool | None
    says: str


def prove_image(action: ProveImage, ctx: Context) -> Outcome:
    """Wait for EC2's own checks of every server that was launched from an image, and judge the image by them.

    Raises:
        AdapterError: a server failed the check of its system, or ended at its launch because of the image:
            its evidence is the failed proof. Or one is not there or came to no verdict in time: that proves
            nothing, and comes without evidence.
    """
    region, deadline = region_of(ctx, action.site), _deadline(ctx)
    what = f"image {action.image} could not be looked for"
    shown = region.read("ec2.describe_images", what, ImageIds=[action.image]).get("Images", ())
    image: Shown = next(iter(shown), {})
    point = _point_of(region, action.resource, tags_of(image))
    if not point:
        return _nothing(action.image, action.resource)
    looked = [_await_server(region, action, host, (ctx.run_id, deadline)) for host in action.servers]
    disks = (one.get("Ebs", {}) for one in image.get("BlockDeviceMappings", ()))
    size_bytes = sum(one.get("VolumeSize", 0) for one in disks) * GIB
    return _judge(region, action, (point, size_bytes), looked)


def prove_snapshot(action: ProveSnapshot, ctx: Context) -> Outcome:
    """See that RDS opened the database that it made of a snapshot, and judge the snapshot by that.

    Raises:
        AdapterError: it could not be opened; its evidence is the failed proof. Or it is not there, or on its
            way still: that proves nothing, and comes without evidence.
    """
    region = region_of(ctx, action.site)
    what = f"snapshot {action.snapshot} could not be looked for"
    found = list_kind(region, "snapshots", what, DBSnapshotIdentifier=action.snapshot, SnapshotType="manual")
    snapshot = found[0] if found else {}
    point = _point_of(region, action.resource, rds_tags(snapshot))
    if not point:
        return _nothing(action.snapshot, action.resource)
    looked = _await_database(region, action, ctx)
    size_bytes = int(snapshot.get("AllocatedStorage", 0)) * GIB
    return _judge(region, action, (point, size_bytes), [looked])


def _point_of(region: Region, resource: str, tags: Mapping[str, str]) -> str:
    """Give the point of ours that something is part of; empty: of none, or of another resource."""
    ours = tags.get(OWNER) == region.environment and tags.get(RESOURCE) == resource
    return tags.get(POINT, "") if ours else ""


def _nothing(part: str, resource: str) -> Outcome:
    said = f"{part} bears no mark of a point of {resource}: nothing is proven of one"
    return Outcome(changed=False, summary=said)


# --- what AWS says ---------------------------------------------------------------------------------


def _await_server(region: Region, action: ProveImage, host: str, by: tuple[str, float]) -> Looked:
    """Wait for one server of this run; all of them together until the same deadline."""
    (run_id, deadline), instance = by, find(region, host)
    if instance is None and (ended := _ended_at_launch(region, action, host, run_id)) is not None:
        return ended
    if instance is None or made_by(instance) != run_id or instance.get("ImageId") != action.image:
        raise AdapterError(
            f"server {host} is not there as this run launched it from {action.image}: nothing is proven, "
            "and nothing was changed"
        )
    while True:
        looked = _look_at_server(region, host, instance["InstanceId"])
        if looked.good or time.monotonic() > deadline:
            return looked
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))


def _ended_at_launch(region: Region, action: ProveImage, host: str, run_id: str) -> Looked | None:
    """Judge a server of this run that EC2 ended at its launch, where its reason is the image."""
    what = f"what became of {host} could not be looked for"
    filters = [*Marks(region.environment, host, "").filters(), named("image-id", action.image)]
    pages = region.pages("ec2.describe_instances", "Reservations", what, Filters=filters)
    for one in (instance for page in pages for instance in page["Instances"]):
        if made_by(one) == run_id and (looked := read_end(host, one)).good is False:
            return looked
    return None


def read_end(host: str, shown: Shown) -> Looked:
    """Read why EC2 ended an instance: because of its image, or for what proves nothing of it. Pure."""
    reason = shown.get("StateReason", {})
    says = (
        f"{host} ({shown.get('InstanceId')}): EC2 ended it: {reason.get('Message') or 'it gives no reason'}"
    )
    return Looked(False if reason.get("Code") in _OF_THE_IMAGE else None, says)


def _look_at_server(region: Region, host: str, instance_id: str) -> Looked:
    what = f"the status of {host} could not be read"
    answer = region.read("ec2.describe_instance_status", what, InstanceIds=[instance_id])
    return read_status(host, next(iter(answer.get("InstanceStatuses", ())), {}))


def read_status(host: str, shown: Shown) -> Looked:
    """Read EC2's two checks: of the machine below (system), and whether the guest answers (instance). Pure.

    The second is a verdict on the image, where the first is well.
    """
    system, guest = (
        str(shown.get(key, {}).get("Status", "none")) for key in ("SystemStatus", "InstanceStatus")
    )
    instance = shown.get("InstanceId", "no instance that runs")
    says = f"{host} ({instance}): EC2's checks say system {system}, instance {guest}"
    good = {"ok": True, "impaired": False}.get(guest) if system == "ok" else None
    return Looked(good, says)


def _await_database(region: Region, action: ProveSnapshot, ctx: Context) -> Looked:
    deadline = _deadline(ctx)
    while True:
        seen = find_database(region, action.database)
        if seen is None or rds_tags(seen).get(RUN) != ctx.run_id:
            raise AdapterError(
                f"database {action.database} is not there as this run restored it: nothing is proven, and "
                "nothing was changed"
            )
        status = status_of(seen)
        says = f"{action.database} of {action.snapshot}: {seen.get('Engine', 'its engine')} is {status}"
        good = True if status == "available" else False if status in _UNOPENED else None
        if good is not None or time.monotonic() > deadline:
            return Looked(good, says)
        time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))


def _deadline(ctx: Context) -> float:
    return time.monotonic() + _SHARE_OF_TIME * ctx.timeout_s


# --- what that proves ------------------------------------------------------------------------------


def _judge(
    region: Region,
    action: ProveImage | ProveSnapshot,
    of: tuple[str, int],
    looked: Sequence[Looked],
) -> Outcome:
    point, size_bytes = of
    says = tuple(one.says for one in looked)
    if any(one.good is False for one in looked):
        raise _failed(region, action, point, looked)
    if not all(one.good for one in looked):
        raise AdapterError(
            f"{action.resource}: {'; '.join(says)}; nothing is proven of {point}, and nothing was changed",
            transient=True,
            hint=f"see how {region.provider.region} is, then run the drill again",
        )
    evidence = PointProven(
        resource=action.resource,
        store=action.store,
        point=point,
        level=Level.L4,
        seconds=0.0,
        size_bytes=size_bytes,
        found=says,
        host=", ".join(action.servers) if isinstance(action, ProveImage) else action.database,
        source=region.source,
    )
    return Outcome(changed=False, summary=f"{point} is proven at L4: {'; '.join(says)}", evidence=evidence)


def _failed(
    region: Region, action: ProveImage | ProveSnapshot, point: str, looked: Sequence[Looked]
) -> AdapterError:
    bad = "; ".join(one.says for one in looked if one.good is False)
    said = tuple(f"{_WORDS[one.good]}: {one.says}" for one in looked)
    return AdapterError(
        f"{action.resource}: {point} is bad: {bad}; what was made of it is a drill's copy, nothing else was "
        "touched",
        hint=f"every proof of {action.store} is suspended and nothing is deleted there: "
        f"./inv backup.status --env {region.environment}",
        evidence=ProofFailed(
            resource=action.resource, store=action.store, point=point, level=Level.L4, found=said
        ),
    )
