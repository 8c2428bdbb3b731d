"""A VM's disks and network adapters: what is there, and changes to what was declared. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pyVmomi import vim

from automation.model.errors import AdapterError
from automation.model.servers import Disk, FoundDisk

_GIB = 2**30
_KIB = 1024
_RESERVED_UNIT, _UNITS = 7, 16  # of a SCSI controller: itself; as many as the oldest kind has
_SPEC = vim.vm.device.VirtualDeviceSpec
_DISK, _CARD = vim.vm.device.VirtualDisk, vim.vm.device.VirtualEthernetCard


class Port(NamedTuple):
    """A network as an adapter is put into it."""

    name: str
    ref: Any
    portgroup_key: str = ""  # of a distributed switch alone
    switch_uuid: str = ""


class DiskChanges(NamedTuple):
    """Changes of devices, and where each declared disk then is."""

    changes: tuple[Any, ...]
    places: Mapping[str, str]


def disks(devices: Iterable[Any]) -> list[Any]:
    """Give the disks among devices, that of the system first."""
    return [one for one in devices if isinstance(one, _DISK)]


def cards(devices: Iterable[Any]) -> list[Any]:
    """Give the network adapters among devices, in the order of their ports."""
    return sorted((one for one in devices if isinstance(one, _CARD)), key=lambda one: one.key)


def place(disk: Any) -> str:
    """Where a disk is: `controller:unit`, which a VM keeps for life and on the way to another vCenter."""
    return f"{disk.controllerKey}:{disk.unitNumber}"


def size_bytes(disk: Any) -> int:
    """Give the size of a disk."""
    return int(disk.capacityInBytes or disk.capacityInKB * _KIB)


def found_disks(moid: str, devices: Iterable[Any], named: Mapping[str, str]) -> tuple[FoundDisk, ...]:
    """Give every disk; one that was declared has its name, that of the system has none."""
    names = {where: name for name, where in named.items()}
    return tuple(
        FoundDisk(
            id=f"{moid}/{place(one)}",
            name=names.get(place(one), ""),
            size_bytes=size_bytes(one),
            kind=_kind(one),
        )
        for one in disks(devices)
    )


def _kind(disk: Any) -> str:
    backing = disk.backing
    if getattr(backing, "eagerlyScrub", False):
        return "eager"
    return "thin" if getattr(backing, "thinProvisioned", False) else "thick"


# --- disks ----------------------------------------------------------------------------------------


def plan_disks(
    name: str, devices: Sequence[Any], named: Mapping[str, str], wanted: Sequence[Disk]
) -> DiskChanges:
    """Give the changes that add what is missing and let grow what is too small.

    A disk that is declared no more is left: whoever wants it gone removes it by hand.

    Raises:
        AdapterError: a disk would have to shrink.
    """
    there = {place(one): one for one in disks(devices)}
    changes: list[Any] = []
    places = {known: at for known, at in named.items() if at in there}
    for disk in wanted:
        at = places.get(disk.name)
        if at is None:
            added = _added(name, disk, devices, [*there.values(), *(one.device for one in changes)])
            changes.append(added)
            places[disk.name] = place(added.device)
        elif size_bytes(there[at]) < disk.size_bytes:
            changes.append(_grown(there[at], disk.size_bytes))
        elif size_bytes(there[at]) > disk.size_bytes:
            raise AdapterError(
                f"VM {name}: disk {disk.name} has {size_bytes(there[at]) // _GIB} GiB and is declared with "
                f"{disk.size_bytes // _GIB}; a disk does not shrink; nothing was changed"
            )
    return DiskChanges(tuple(changes), places)


def _added(name: str, disk: Disk, devices: Sequence[Any], others: Sequence[Any]) -> Any:
    controller = _controller(name, devices)
    taken = {one.unitNumber for one in others if one.controllerKey == controller}
    free = [unit for unit in range(_UNITS) if unit not in taken and unit != _RESERVED_UNIT]
    if not free:
        raise AdapterError(f"VM {name}: no room for disk {disk.name} at its controller; nothing was changed")
    backing = _DISK.FlatVer2BackingInfo(
        diskMode="persistent",
        thinProvisioned=disk.kind in ("", "thin"),
        eagerlyScrub=disk.kind == "eager",
        fileName="",
    )
    device = vim.vm.device.VirtualDisk(
        key=-100 - free[0],
        controllerKey=controller,
        unitNumber=free[0],
        backing=backing,
        capacityInKB=disk.size_bytes // _KIB,
        capacityInBytes=disk.size_bytes,
    )
    return _SPEC(operation="add", fileOperation="create", device=device)


def _controller(name: str, devices: Sequence[Any]) -> int:
    """Where its first disk is, there are the others put."""
    first = next(iter(disks(devices)), None)
    if first is None:
        raise AdapterError(f"VM {name}: its template has no disk; nothing was changed")
    return int(first.controllerKey)


def _grown(disk: Any, to_bytes: int) -> Any:
    device = vim.vm.device.VirtualDisk(
        key=disk.key,
        controllerKey=disk.controllerKey,
        unitNumber=disk.unitNumber,
        backing=disk.backing,
        capacityInKB=to_bytes // _KIB,
        capacityInBytes=to_bytes,
    )
    return _SPEC(operation="edit", device=device)


# --- network adapters -----------------------------------------------------------------------------


def plan_cards(devices: Sequence[Any], wanted: Sequence[Port]) -> tuple[Any, ...]:
    """Give the changes that put the adapters, in their order, into networks, and no more than those."""
    there = cards(devices)
    changes = [
        _SPEC(operation="edit", device=_moved(card, port))
        for card, port in zip(there, wanted, strict=False)
        if network_of(card) != _address(port)
    ]
    changes += [
        _SPEC(operation="add", device=_new_card(number, port))
        for number, port in enumerate(wanted[len(there) :])
    ]
    changes += [_SPEC(operation="remove", device=card) for card in there[len(wanted) :]]
    return tuple(changes)


def plan_connections(devices: Sequence[Any], *, connected: bool, running: bool) -> tuple[Any, ...]:
    """Give the changes that connect or disconnect every adapter, at power-on and, of a running VM, now."""
    return tuple(
        _SPEC(operation="edit", device=_switched(card, connected=connected, running=running))
        for card in cards(devices)
        if not is_switched(card, connected=connected, running=running)
    )


def is_switched(card: Any, *, connected: bool, running: bool) -> bool:
    """Whether an adapter is connected, or not, at power-on and, of a running VM, now."""
    state = card.connectable
    if state is None:
        return False
    return state.startConnected == connected and (not running or state.connected == connected)


def network_of(card: Any) -> str:
    """Name what network an adapter is in: a network's id, or the key of a distributed port group."""
    backing = card.backing
    port = getattr(backing, "port", None)
    if port is not None:
        return str(port.portgroupKey)
    ref = getattr(backing, "network", None)
    return str(ref._moId) if ref is not None else ""


def _address(port: Port) -> str:
    return port.portgroup_key or str(port.ref._moId)


def backing_of(port: Port) -> Any:
    """Give what puts an adapter into a network."""
    if not port.portgroup_key:
        return _CARD.NetworkBackingInfo(deviceName=port.name, network=port.ref)
    connection = vim.dvs.PortConnection(portgroupKey=port.portgroup_key, switchUuid=port.switch_uuid)
    return _CARD.DistributedVirtualPortBackingInfo(port=connection)


def _moved(card: Any, port: Port) -> Any:
    return _copied(card, backing=backing_of(port), connectable=card.connectable)


def _switched(card: Any, *, connected: bool, running: bool) -> Any:
    return _copied(card, backing=card.backing, connectable=connection(connected=connected, running=running))


def connection(*, connected: bool, running: bool) -> Any:
    """Give the state of an adapter: at power-on, and now."""
    return vim.vm.device.VirtualDevice.ConnectInfo(
        startConnected=connected, allowGuestControl=connected, connected=connected and running
    )


def _copied(card: Any, *, backing: Any, connectable: Any) -> Any:
    """The same adapter: its address and its place stay."""
    return type(card)(
        key=card.key,
        controllerKey=card.controllerKey,
        unitNumber=card.unitNumber,
        macAddress=card.macAddress,
        addressType=card.addressType,
        backing=backing,
        connectable=connectable,
    )


def _new_card(number: int, port: Port) -> Any:
    return vim.vm.device.VirtualVmxnet3(
        key=-200 - number,
        addressType="generated",
        backing=backing_of(port),
        connectable=connection(connected=True, running=True),
    )
