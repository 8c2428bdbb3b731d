"""Disks, snapshots and images of the simulated EC2: states that take their time, and what moto leaves out."""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from aws_changes import Changes
from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError, InvalidSnapshotIdError
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.elastic_block_store import Snapshot, Volume, VolumeAttachment
from moto.ec2.utils import random_snapshot_id

ROOT_GIB = 8
COPIED_FROM = "vol-ffffffff"  # AWS names it as the volume of every copied snapshot
LOCKED = ("governance", "compliance", "compliance-cooloff")


def refuse(code: str, message: str) -> EC2ClientError:
    """Give an error of EC2's own for moto to tell."""
    return EC2ClientError(code, message)


class Storage:
    """What a region keeps; mixed into moto's own."""

    changes: ClassVar[Changes]
    amis: dict[str, Ami]
    snapshots: dict[str, Snapshot]
    volumes: dict[str, Volume]
    account_id: str
    region_name: str

    # --- volumes -------------------------------------------------------------------------------------

    def create_volume(self, *args: Any, **more: Any) -> Volume:
        if (snapshot_id := more.get("snapshot_id")) and self.get_snapshot(snapshot_id).status != "completed":
            raise refuse("IncorrectState", f"Snapshot {snapshot_id} is in invalid state - pending")
        return super().create_volume(*args, **more)  # type: ignore[misc]

    def begin_volume(self, volume: Volume) -> None:
        """Let a volume that a client made be `creating` for its time."""
        volume.under_way = "creating"
        self.changes.later(_arrive, volume)

    def attach_volume(
        self, volume_id: str, instance_id: str, device_path: str, delete_on_termination: bool = False
    ) -> VolumeAttachment | None:
        volume = self.get_volume(volume_id)  # type: ignore[attr-defined]
        instance = self.get_instance(instance_id)  # type: ignore[attr-defined]
        if volume.status == "in-use":
            raise refuse("VolumeInUse", f"{volume_id} is already attached to an instance")
        if volume.status != "available":
            raise refuse("IncorrectState", f"Volume '{volume_id}' is not 'available'.")
        if device_path in instance.block_device_mapping:
            message = f"Invalid value '{device_path}' for unixDevice. Attachment point is already in use"
            raise refuse("InvalidParameterValue", message)
        if instance.state not in ("pending", "running", "stopped", "stopping"):
            raise refuse("IncorrectState", f"Instance '{instance_id}' is not 'running'.")
        return super().attach_volume(volume_id, instance_id, device_path, delete_on_termination)  # type: ignore[misc]

    # --- snapshots -----------------------------------------------------------------------------------

    def create_snapshot(self, volume_id: str, *args: Any, **more: Any) -> Snapshot:
        snapshot = super().create_snapshot(volume_id, *args, **more)  # type: ignore[misc]
        snapshot.volume = copy.copy(snapshot.volume)  # its size is that of this moment
        return self._begin(snapshot, "pending", "completed")

    def copy_snapshot(
        self, source_snapshot_id: str, source_region: str, description: str, kms_key_id: str | None
    ) -> Snapshot:
        source = self._shared_snapshot(source_snapshot_id, source_region)
        if source.status != "completed":
            raise refuse("IncorrectState", f"Snapshot {source_snapshot_id} is in invalid state - pending")
        return self._copy(source, description, kms_key_id)

    def delete_snapshot(self, snapshot_id: str) -> Snapshot:
        snapshot = self.get_snapshot(snapshot_id)  # type: ignore[attr-defined]
        if lock_of(snapshot).get("LockState") in LOCKED:
            message = f"Snapshot {snapshot_id} is locked and cannot be deleted"
            raise refuse("SnapshotLocked", message)
        return super().delete_snapshot(snapshot_id)  # type: ignore[misc]

    def _shared_snapshot(self, snapshot_id: str, region: str) -> Snapshot:
        for account, backend in _of_region(region):
            found = backend.snapshots.get(snapshot_id)
            if found and (
                account == self.account_id or self.account_id in found.create_volume_permission_userids
            ):
                return found
        raise InvalidSnapshotIdError

    def _copy(self, source: Snapshot, description: str, kms_key_id: str | None = None) -> Snapshot:
        volume = copy.copy(source.volume)
        volume.id = COPIED_FROM
        made = Snapshot(self, random_snapshot_id(), volume, description, source.encrypted, kms_key_id)
        self.snapshots[made.id] = made
        return self._begin(made, "pending", "completed")

    # --- images --------------------------------------------------------------------------------------

    def seed_image(self, name: str) -> None:
        """Put an image there that was always there, under an id that never changes."""
        digest = hashlib.sha256(f"{self.account_id}/{self.region_name}/{name}".encode()).hexdigest()
        if f"ami-{digest[:17]}" in self.amis:
            return
        image = Ami(
            self, f"ami-{digest[:17]}", name=name, description=name, public=True, virtualization_type="hvm",
            architecture="x86_64", root_device_type="ebs", region_name=f"{self.region_name}a",
        )  # fmt: skip
        image.mappings = [_mapping(image.root_device_name, image.ebs_snapshot, ROOT_GIB, True)]
        image.ebs_snapshot.status = "completed"
        self.amis[image.id] = image

    def launchable(self, image_id: str) -> Ami:
        """Give an image that instances can be made of: one of ours, or shared with us."""
        image = self._shared_image(image_id, self.region_name)
        if image.state != "available":
            message = f"The image ID '{image_id}' is not available (state: {image.state})."
            raise refuse("InvalidAMIID.Unavailable", message)
        return image

    def disks_of(self, image: Ami, wanted: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Give the disks of an instance: those of its image, changed and added to as was asked."""
        disks = {one["DeviceName"]: copy.deepcopy(one) for one in image.block_device_mappings}
        for one in wanted:
            if one.get("NoDevice") == "":
                disks.pop(one["DeviceName"], None)
                continue
            told = {key: value for key, value in one["Ebs"].items() if value is not None}
            device = disks.setdefault(one["DeviceName"], {"DeviceName": one["DeviceName"], "Ebs": {}})
            device["Ebs"] |= told
        for disk in disks.values():
            disk["Ebs"].setdefault("Encrypted", False)
            if disk["Ebs"].get("SnapshotId") not in self.snapshots:
                disk["Ebs"].pop("SnapshotId", None)  # of another account: its content is not ours to keep
        return list(disks.values())

    def create_image(
        self, instance_id: str, name: str, description: str, tag_specifications: Sequence[Mapping[str, Any]]
    ) -> Ami:
        """Make an image of all disks of an instance, with a snapshot of each."""
        self._check_name(name)
        tags = {one["ResourceType"]: one["Tags"] for one in tag_specifications}
        own = [one for one in tag_specifications if one["ResourceType"] == "image"]
        image = super().create_image(instance_id, name, description, own)  # type: ignore[misc]
        self.snapshots.pop(image.ebs_snapshot.id)
        image.mappings = []
        instance = self.get_instance(instance_id)  # type: ignore[attr-defined]
        for device, block in instance.get_block_device_mapping:
            said = f"Created by CreateImage({instance_id}) for {image.id}"
            snapshot = self.create_snapshot(block.volume_id, said, from_ami=image.id)
            snapshot.add_tags({tag["Key"]: tag["Value"] for tag in tags.get("snapshot", ())})
            root = device == instance.root_device_name
            image.mappings.append(_mapping(device, snapshot, block.size, root))
        return self._begin_image(image)

    def copy_image(
        self,
        source_image_id: str,
        source_region: str,
        name: str | None = None,
        description: str | None = None,
    ) -> Ami:
        """Copy an image and its snapshots here, from another region or account."""
        source = self._shared_image(source_image_id, source_region)
        self._check_name(name)
        if source.state != "available":
            raise refuse("InvalidAMIID.Unavailable", f"The image ID '{source_image_id}' is not available")
        image = super().register_image(name, description)  # type: ignore[misc]
        self.snapshots.pop(image.ebs_snapshot.id)
        for field in ("virtualization_type", "architecture", "root_device_name", "root_device_type"):
            setattr(image, field, getattr(source, field))
        image.mappings = [self._copied(one, source, image) for one in source.block_device_mappings]
        return self._begin_image(image)

    def _copied(self, mapping: Mapping[str, Any], source: Ami, image: Ami) -> dict[str, Any]:
        origin = source.ec2_backend.snapshots[mapping["Ebs"]["SnapshotId"]]
        made = self._copy(origin, f"Copied for DestinationAmi {image.id} from SourceAmi {source.id}")
        made.from_ami = image.id
        return {**mapping, "Ebs": {**mapping["Ebs"], "SnapshotId": made.id}}

    def _shared_image(self, image_id: str, region: str) -> Ami:
        for account, backend in _of_region(region):
            image = backend.amis.get(image_id)
            allowed = image and (image.is_public or {"UserId": self.account_id} in image.launch_permissions)
            if image and (account == self.account_id or allowed):
                return image
        raise InvalidAMIIdError([image_id])

    def _check_name(self, name: str | None) -> None:
        if any(image.name == name for image in self.amis.values()):
            raise refuse("InvalidAMIName.Duplicate", f"AMI name {name} is already in use")

    def _begin_image(self, image: Ami) -> Ami:
        image.state = "pending"
        self.changes.later(_become, image, "state", "pending", "available")
        return image

    def _begin(self, snapshot: Snapshot, via: str, to: str) -> Snapshot:
        snapshot.status = via
        self.changes.later(_become, snapshot, "status", via, to)
        return snapshot


def install_storage() -> None:
    """Have moto's volumes, snapshots and images tell what they become."""
    Volume.status = property(_status_of)
    Snapshot.progress = property(_progress_of)
    Ami.block_device_mappings = property(_mappings_of)


def lock_of(snapshot: Snapshot) -> dict[str, Any]:
    """Give the lock of a snapshot as of now; empty: it has none."""
    lock: dict[str, Any] = dict(getattr(snapshot, "lock", {}))
    if not lock:
        return lock
    now = datetime.now(UTC)
    if lock["LockExpiresOn"] <= now:
        return lock | {"LockState": "expired"}
    cooling = lock.get("CoolOffPeriodExpiresOn")
    if lock["LockMode"] == "compliance":
        return lock | {"LockState": "compliance-cooloff" if cooling and cooling > now else "compliance"}
    return lock | {"LockState": "governance"}


def lock(snapshot: Snapshot, told: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Lock a snapshot, or lengthen its lock.

    Raises:
        EC2ClientError: a compliance lock would be shortened or eased, or how long is not told.

    Source: "Lock Amazon EBS snapshots" of the EBS user guide.
    """
    days, until, mode = told.get("LockDuration"), told.get("ExpirationDate"), told["LockMode"]
    if (days is None) == (until is None):
        raise refuse("InvalidParameterCombination", "either LockDuration or ExpirationDate must be told")
    expires = until if until is not None else now + timedelta(days=int(days or 0))
    known = lock_of(snapshot)
    if known.get("LockState") == "compliance" and (mode != "compliance" or expires < known["LockExpiresOn"]):
        message = f"Snapshot {snapshot.id} is locked in compliance mode; its lock can only be lengthened"
        raise refuse("SnapshotLocked", message)
    made = {
        "LockMode": mode,
        "LockCreatedOn": known.get("LockCreatedOn", now),
        "LockDurationStartTime": snapshot.start_time,
        "LockExpiresOn": expires,
        "LockDuration": days if days is not None else max(1, (expires - now).days),
    }
    if hours := told.get("CoolOffPeriod"):
        made["CoolOffPeriod"] = hours
        made["CoolOffPeriodExpiresOn"] = now + timedelta(hours=int(hours))
    snapshot.lock = made
    return lock_of(snapshot)


def unlock(snapshot: Snapshot) -> None:
    """Lift a lock that may be lifted.

    Raises:
        EC2ClientError: it has none, or one in compliance mode.
    """
    known = lock_of(snapshot)
    if not known:
        raise refuse("SnapshotNotLocked", f"Snapshot {snapshot.id} is not locked")
    if known["LockState"] == "compliance":
        message = f"Snapshot {snapshot.id} is locked in compliance mode"
        raise refuse("SnapshotLocked", message)
    snapshot.lock = {}


def _of_region(region: str) -> Iterator[tuple[str, Any]]:
    for account, backends in list(ec2_backends.items()):
        if region in backends.keys():  # noqa: SIM118  # moto's own `in` tells what could be there
            yield account, backends[region]


def _become(thing: Any, field: str, via: str, to: str) -> None:
    if getattr(thing, field) == via:
        setattr(thing, field, to)


def _arrive(volume: Volume) -> None:
    volume.under_way = ""


def _mapping(device: str, snapshot: Snapshot, size_gib: int, goes_with_it: bool) -> dict[str, Any]:
    ebs = {"SnapshotId": snapshot.id, "VolumeSize": size_gib, "VolumeType": "gp3"}
    return {"DeviceName": device, "Ebs": ebs | {"DeleteOnTermination": goes_with_it, "Encrypted": False}}


def _status_of(volume: Volume) -> str:
    return "in-use" if volume.attachment else getattr(volume, "under_way", "") or "available"


def _progress_of(snapshot: Snapshot) -> str:
    return "100%" if snapshot.status == "completed" else "0%"


def _mappings_of(image: Ami) -> list[dict[str, Any]]:
    return list(getattr(image, "mappings", ()))
