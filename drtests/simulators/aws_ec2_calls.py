"""Calls of the simulated EC2 that moto does not know, answers by the page, and console output."""

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import aws_storage
from aws_console import console_of
from moto.core.responses import ActionResult
from moto.core.types import Base64EncodedString
from moto.ec2.responses import EC2Response

PAGE, PAGES_KEPT = 1000, 2000
_pages: OrderedDict[str, Sequence[Any]] = OrderedDict()
_numbers = itertools.count(1)


class Calls(EC2Response):  # type: ignore[misc]  # moto has no types
    """Answers one request to EC2."""

    regions: ClassVar[tuple[str, ...]] = ()

    def describe_regions(self) -> ActionResult:
        """Name the regions that are on: those of the settings."""
        known = super().describe_regions().result["Regions"]
        return ActionResult({"Regions": [one for one in known if one.name in self.regions]})

    # --- by the page -----------------------------------------------------------------------------------

    def describe_snapshots(self) -> ActionResult:
        def listed() -> Sequence[Any]:
            found = super(Calls, self).describe_snapshots().result["Snapshots"]
            owners = {self._account(one) for one in self._get_param("OwnerIds", [])}
            restorable = set(self._get_param("RestorableByUserIds", []))
            return [
                one
                for one in found
                if (not owners or one.owner_id in owners) and _is_restorable(one, restorable)
            ]

        return self._page("Snapshots", listed)

    def describe_volumes(self) -> ActionResult:
        return self._page("Volumes", lambda: super(Calls, self).describe_volumes().result["Volumes"])

    def describe_images(self) -> ActionResult:
        return self._page("Images", lambda: super(Calls, self).describe_images().result["Images"])

    def describe_subnets(self) -> ActionResult:
        return self._page("Subnets", lambda: super(Calls, self).describe_subnets().result["Subnets"])

    def describe_vpcs(self) -> ActionResult:
        return self._page("Vpcs", lambda: super(Calls, self).describe_vpcs().result["Vpcs"])

    def describe_instances(self) -> ActionResult:
        """Answer by instances, as AWS does; moto counts reservations, and filters anew for each page."""
        if self._get_param("InstanceIds", []):
            return super().describe_instances()

        def listed() -> Sequence[Any]:
            return self.ec2_backend.describe_instances(filters=self._filters_from_querystring())

        return self._page("Reservations", listed)

    def _page(self, name: str, listed: Any) -> ActionResult:
        """Give a page, and a token that stands for what follows as it was when it was asked for."""
        token, size = self._get_param("NextToken"), int(self._get_param("MaxResults") or PAGE)
        if token and token not in _pages:
            raise aws_storage.refuse("InvalidParameterValue", f"NextToken {token} is not valid")
        rest = _pages[token] if token else listed()
        result: dict[str, Any] = {name: rest[: min(size, PAGE)]}
        if following := rest[min(size, PAGE) :]:
            result["NextToken"] = f"page-{next(_numbers)}"
            _pages[result["NextToken"]] = following
            while len(_pages) > PAGES_KEPT:
                _pages.popitem(last=False)
        return ActionResult(result)

    def _account(self, owner: str) -> str:
        return self.current_account if owner == "self" else owner

    # --- volumes and snapshots -----------------------------------------------------------------------

    def create_volume(self) -> ActionResult:
        made = super().create_volume()
        self.ec2_backend.begin_volume(made.result)
        return made

    def copy_image(self) -> ActionResult:
        """Copy an image with the tags that the call gives it and its snapshots."""
        made = super().copy_image()
        image = self.ec2_backend.amis[made.result["ImageId"]]
        tags = self._parse_tag_specification()
        image.add_tags(tags.get("image", {}))
        for mapping in image.block_device_mappings:
            self.ec2_backend.snapshots[mapping["Ebs"]["SnapshotId"]].add_tags(tags.get("snapshot", {}))
        return made

    def lock_snapshot(self) -> ActionResult:
        snapshot = self.ec2_backend.get_snapshot(self._get_param("SnapshotId"))
        names = ("LockMode", "LockDuration", "ExpirationDate", "CoolOffPeriod")
        told = {name: self._get_param(name) for name in names if self._get_param(name) is not None}
        made = aws_storage.lock(snapshot, told, datetime.now(UTC))
        return ActionResult({"SnapshotId": snapshot.id, **made})

    def unlock_snapshot(self) -> ActionResult:
        snapshot = self.ec2_backend.get_snapshot(self._get_param("SnapshotId"))
        aws_storage.unlock(snapshot)
        return ActionResult({"SnapshotId": snapshot.id})

    def describe_locked_snapshots(self) -> ActionResult:
        ids = set(self._get_param("SnapshotIds", []))
        states = set(self._filters_from_querystring().get("lock-state", []))

        def listed() -> Sequence[Any]:
            every = self.ec2_backend.snapshots.values()
            asked = [one for one in every if not ids or one.id in ids]
            locks = [(one, aws_storage.lock_of(one)) for one in asked]
            return [
                {"SnapshotId": one.id, "OwnerId": one.owner_id, **lock}
                for one, lock in locks
                if lock and (not states or lock["LockState"] in states)
            ]

        return self._page("Snapshots", listed)

    # --- servers -------------------------------------------------------------------------------------

    def run_instances(self) -> ActionResult:
        """Launch as many as may be, as AWS does; moto launches as few."""
        self.params["MinCount"] = self._get_param("MaxCount")
        return super().run_instances()

    def stop_instances(self) -> ActionResult:
        """Remember by which of two ways an instance is stopped: its host is cut, or shuts down."""
        for instance in self.ec2_backend.get_multi_instances_by_id(self._get_param("InstanceIds", [])):
            instance.forced = bool(self._get_param("Force"))
        return super().stop_instances()

    def get_console_output(self) -> ActionResult:
        """Give what an instance said when it booted: empty until it runs."""
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        output = console_of(instance)
        result: dict[str, Any] = {"InstanceId": instance.id, "Timestamp": datetime.now(UTC)}
        if output:
            result["Output"] = Base64EncodedString.from_raw_string(output)
        return ActionResult(result)


def _is_restorable(snapshot: Any, by: set[str]) -> bool:
    """Tell whether a snapshot is shared with one of some accounts, or with `all`."""
    shared = {*snapshot.create_volume_permission_userids, *snapshot.create_volume_permission_groups}
    return not by or bool(shared & by)
