"""EC2's servers and networks of the simulated AWS: moto's, held to what it leaves out."""

import copy
from ipaddress import ip_address
from typing import Any, ClassVar

import moto.ec2.models
import moto.ec2.urls
from aws_changes import Changes
from aws_ec2_calls import Calls
from aws_power import Power, Powers, Switched
from aws_quotas import processors_allowed, processors_of
from aws_storage import Storage, install_storage, refuse
from moto.ec2.exceptions import DependencyViolationError
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instances import Instance, InstanceState, Reservation, StateReason
from moto.ec2.models.subnets import Subnet

NAME = "mainstay:name"
PENDING, RUNNING, STOPPING = (0, "pending"), (16, "running"), (64, "stopping")
STOPPED, SHUTTING_DOWN, TERMINATED = (80, "stopped"), (32, "shutting-down"), (48, "terminated")
_POWERS: dict[tuple[int, str], Power] = {RUNNING: "on", TERMINATED: "gone"}
NEED_STOPPED = {"instance_type", "user_data", "kernel", "ramdisk", "ebs_optimized"}


class Ec2(Storage, EC2Backend):  # type: ignore[misc]  # moto has no types
    """One region: states take their time, what is in use cannot go, addresses are free again."""

    __module__ = "moto.ec2.models"  # by which moto finds the paths, and pickle finds it again
    changes: ClassVar[Changes]
    powers: ClassVar[Powers]

    # --- servers -------------------------------------------------------------------------------------

    def run_instances(
        self, image_id: str, count: int, user_data: Any, security_group_names: list[str], **kwargs: Any
    ) -> Reservation:
        """Launch, with the image's own disks beside those that were asked for; pending at first."""
        if not kwargs.get("launch_template"):
            image = self.launchable(image_id)
            wanted = kwargs.get("block_device_mappings", [])
            kwargs["block_device_mappings"] = self.disks_of(image, wanted)
        self._check_addresses(kwargs)
        self._check_processors(kwargs.get("instance_type", "m1.small"), count)
        tags = kwargs.get("tags", {}).get("network-interface", {})
        before = set(self.reservations)
        try:
            made = super().run_instances(image_id, count, user_data, security_group_names, **kwargs)
        except BaseException:
            for half in set(self.reservations) - before:  # moto keeps what it could not finish
                del self.reservations[half]
            raise
        asked = {int(nic.get("DeviceIndex", 0)): nic for nic in kwargs.get("nics", [])}
        for instance in made.instances:
            for index, nic in instance.nics.items():
                nic.add_tags(tags)
                spec = asked.get(index, {})
                if "NetworkInterfaceId" not in spec:
                    nic.delete_on_termination = spec.get("DeleteOnTermination") is not False
            self._go(instance, PENDING, RUNNING)
        return made

    def start_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        instances = self.get_multi_instances_by_id(instance_ids)
        _check_states(instances, ("stopped", "pending", "running"), "started")
        for one in instances:
            if one.state == "stopped":
                self._check_processors(one.instance_type, 1)
        return [self._switch(one, ("stopped",), PENDING, RUNNING) for one in instances]

    def stop_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        instances = self.get_multi_instances_by_id(instance_ids)
        _check_states(instances, ("running", "stopping", "stopped"), "stopped")
        before = {one.id: one.state for one in instances}
        kept = {one.id: copy.copy(one._state) for one in instances}
        super().stop_instances([one.id for one in instances if before[one.id] == "running"])
        for one in instances:
            if before[one.id] == "running":
                self._go(one, STOPPING, STOPPED)
        return [(one, kept[one.id]) for one in instances]

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        instances = self.get_multi_instances_by_id(instance_ids)
        kept = {one.id: copy.copy(one._state) for one in instances}
        alive = [one for one in instances if one.state not in ("shutting-down", "terminated")]
        if alive:
            super().terminate_instances([one.id for one in alive])
        for one in alive:
            self._free_addresses(one)
            self._go(one, SHUTTING_DOWN, TERMINATED)
        return [(one, kept[one.id]) for one in instances]

    def reboot_instances(self, instance_ids: list[str]) -> list[Instance]:
        _check_states(self.get_multi_instances_by_id(instance_ids), ("running",), "rebooted")
        return list(super().reboot_instances(instance_ids))

    def modify_instance_attribute(self, instance_id: str, key: str, value: Any) -> Instance:
        instance = self.get_instance(instance_id)
        if key in NEED_STOPPED and instance.state != "stopped":
            message = f"The instance '{instance_id}' is not in the 'stopped' state."
            raise refuse("IncorrectInstanceState", message)
        return super().modify_instance_attribute(instance_id, key, value)

    def _switch(
        self, one: Instance, wanted: tuple[str, ...], via: tuple[int, str], to: tuple[int, str]
    ) -> tuple[Instance, InstanceState]:
        before = copy.copy(one._state)
        if one.state in wanted:
            one.start()
            self._go(one, via, to)
        return one, before

    def _go(self, instance: Instance, via: tuple[int, str], to: tuple[int, str]) -> None:
        instance._state = InstanceState(via[1], via[0])
        self.changes.later(self.arrive, instance, instance._state, to)

    def arrive(self, instance: Instance, left: InstanceState, to: tuple[int, str]) -> None:
        """Switch the host that an instance stands for, then let the instance be where it was going."""

        def then(switched: Switched) -> None:
            with self.changes.lock:
                instance.host_keys = switched.host_key or getattr(instance, "host_keys", "")
                if instance._state is left:  # nothing else was asked of it meanwhile
                    _end(instance, to, switched.error)

        name, subnet = self.tags.get(instance.id, {}).get(NAME, ""), instance.subnet_id
        network = self.tags.get(subnet, {}).get(NAME, subnet or "")
        forced = getattr(instance, "forced", False)
        power: Power = _POWERS.get(to) or ("off" if forced else "down")
        self.powers.switch(f"{self.region_name}/{name}", power, network, then)

    def _check_addresses(self, kwargs: Any) -> None:
        asked = [(kwargs.get("subnet_id"), kwargs.get("private_ip"))]
        asked += [(nic.get("SubnetId"), nic.get("PrivateIpAddress")) for nic in kwargs.get("nics", [])]
        for subnet_id, address in asked:
            if subnet_id and address:
                _check_address(self.get_subnet(subnet_id), address)

    def _check_processors(self, instance_type: str, count: int) -> None:
        alive = [one for one in self.all_instances() if one.state in ("pending", "running")]
        used = sum(processors_of(one.instance_type) for one in alive)
        if used + count * processors_of(instance_type) > processors_allowed():
            message = (
                f"You have requested more vCPU capacity than your current vCPU limit of "
                f"{processors_allowed():.0f} allows for the instance bucket that the specified instance type "
                "belongs to."
            )
            raise refuse("VcpuLimitExceeded", message)

    def _free_addresses(self, instance: Instance) -> None:
        for subnet in (one for zone in self.subnets.values() for one in zone.values()):
            for address in [a for a, holder in subnet._subnet_ips.items() if holder is instance]:
                subnet.del_subnet_ip(address)

    # --- networks ------------------------------------------------------------------------------------

    def delete_subnet(self, subnet_id: str) -> Subnet:
        if any(eni.subnet.id == subnet_id for eni in self.enis.values()):
            message = f"The subnet '{subnet_id}' has dependencies and cannot be deleted."
            raise DependencyViolationError(message)
        return super().delete_subnet(subnet_id)

    def delete_security_group(self, name: str | None = None, group_id: str | None = None) -> None:
        group = self.get_security_group_by_name_or_id(group_id or name)
        if group and (self._uses(group.id) or self._refers(group.id)):
            raise DependencyViolationError(f"resource {group.id} has a dependent object")
        super().delete_security_group(name, group_id)

    def _uses(self, group_id: str) -> bool:
        return any(group_id in {group.id for group in eni.group_set} for eni in self.enis.values())

    def _refers(self, group_id: str) -> bool:
        """Tell whether a rule of another group names a group."""
        others = (one for groups in self.groups.values() for one in groups.values() if one.id != group_id)
        return any(
            rule.source_group.get("GroupId") == group_id
            for other in others
            for rule in (*other.ingress_rules, *other.egress_rules)
        )


def install_ec2(changes: Changes, powers: Powers) -> None:
    """Have moto make regions of ours, and answer what it does not know by itself."""
    Ec2.changes, Ec2.powers = changes, powers
    install_storage()
    ec2_backends.backend = moto.ec2.models.Ec2 = Ec2
    moto.ec2.urls.url_paths = {"{0}/": Calls.dispatch}
    TaggedEC2Resource.get_tags = _tags_of  # moto's looks through all tags of all that there is


def _tags_of(self: TaggedEC2Resource) -> list[dict[str, str]]:
    tags = self.ec2_backend.tags.get(self.id, {}) if self.id else {}
    return [{"key": key, "value": value} for key, value in tags.items()]


def _end(instance: Instance, to: tuple[int, str], error: str) -> None:
    """Let an instance be where it was going: one that could not start stands, one that could not end runs."""
    if error:
        instance.state_reason = StateReason(f"Server.InternalError: {error}", "Server.InternalError")
    if not error or to == RUNNING:
        instance._state = InstanceState(*reversed(STOPPED if error else to))


def _check_states(instances: list[Instance], allowed: tuple[str, ...], done: str) -> None:
    for one in instances:
        if one.state not in allowed:
            message = f"The instance '{one.id}' is not in a state from which it can be {done}."
            raise refuse("IncorrectInstanceState", message)


def _check_address(subnet: Subnet, address: str) -> None:
    if address in subnet._subnet_ips:
        raise refuse("InvalidIPAddress.InUse", f"Address {address} is in use.")
    if not subnet.cidr.network_address < ip_address(address) < subnet.cidr.broadcast_address:
        message = f"Address {address} does not fall within the subnet's address range"
        raise refuse("InvalidParameterValue", message)
